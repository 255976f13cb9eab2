//! The daemon as a service: what its manager is told, what it may do on the machine, and who sees the cluster's key.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::net::UnixDatagram,
    path::Path,
    time::Duration,
};

use nix::unistd::Pid;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::{BPFFS, DaemonOptions},
    wait,
};

use crate::PATIENCE;

/// User and group of a service, with no rights of its own on the machine.
const NOBODY: u32 = 65_534;
/// As the service has them.
const CAPABILITIES: &str = "+bpf,+net_admin,+net_raw,+perfmon";

#[test]
fn the_service_manager_is_told_that_the_daemon_serves_lives_reloads_and_stops() {
    let (mut cluster, manager) = managed();
    assert_eq!(hear(&manager), "READY=1");
    let mut heard: Vec<String> = Vec::new();
    let count = |heard: &[String], wanted: &str| heard.iter().filter(|line| *line == wanted).count();
    // The lease thread goes round, so that the watchdog is fed again and again.
    while count(&heard, "WATCHDOG=1") < 3 || count(&heard, "STATUS=holds web; 1 of 1 voters alive") == 0 {
        heard.push(hear(&manager));
    }
    let next_but = |manager: &UnixDatagram, begins: [&str; 2]| loop {
        let heard = hear(manager);
        if !begins.iter().any(|begin| heard.starts_with(begin)) {
            break heard;
        }
    };
    assert!(cluster.order(1, &["reload"]).unwrap().status.success());
    let reloading = next_but(&manager, ["WATCHDOG=", "STATUS="]);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(next_but(&manager, ["WATCHDOG=", "STATUS="]), "READY=1");
    cluster.daemon(1).unwrap().terminate().unwrap();
    while hear(&manager) != "STOPPING=1" {}
}

#[test]
fn a_daemon_that_hangs_does_not_tell_that_it_lives() {
    let (mut cluster, manager) = managed();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    cluster.daemon(1).unwrap().stop().unwrap();
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 256]).is_ok() {}
    // Input: twice the time within which it would have to tell.
    manager.set_nonblocking(false).unwrap();
    manager.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
    let error = manager.recv(&mut [0; 256]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    cluster.daemon(1).unwrap().cont().unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    while hear(&manager) != "WATCHDOG=1" {}
}

#[test]
fn a_daemon_of_a_user_of_its_own_serves_and_its_handlers_can_do_nothing() {
    let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
    let (home, pins) = (cluster.lab().home(1), cluster.lab().pins(1));
    let told = home.join("told");
    let options = cluster.options(1).unwrap();
    options.wrapper = as_nobody(&home, &pins);
    options.more_of_group = format!(
        "[[handler]]\non = [\"promoted\"]\nshell = true\nrun = \"cat /proc/self/status > {}\"\n",
        told.display()
    );
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    let status = wait::until("the handler's word", PATIENCE, || {
        Ok(fs::read_to_string(&told).ok().filter(|status| status.contains("CapAmb")))
    });
    let status = status.unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), [NOBODY; 4].map(|uid| uid.to_string()).join("\t"));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0".repeat(16), "{set}");
    }
    let daemon = cluster.daemon(1).unwrap();
    let exit = daemon.terminate().unwrap();
    assert!(exit.success(), "{exit}{}", daemon.log_tail());
}

#[test]
fn the_key_is_where_it_is_needed_and_nowhere_else_in_memory() {
    const KEY: &str = "c3a1b5f27e904d68a7d92b4c10f3e586";
    let options = DaemonOptions { key: format!("{KEY}\n"), args: vec!["--supervise".into()], ..alone() };
    let mut cluster = Cluster::start(1, &options).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    let bytes = u128::from_str_radix(KEY, 16).unwrap().to_be_bytes();
    let daemon = cluster.daemon(1).unwrap();
    let supervised = daemon.supervised().unwrap().unwrap();
    let places = places(supervised, &bytes);
    // The configuration's, by which a reload sees what has changed; the messages'; and the map's that the program reads.
    assert!(places.len() <= 3, "{places:#?}");
    assert_eq!(places.iter().filter(|place| place.contains("bpf-map")).count(), 1, "{places:#?}");
    for process in [daemon.pid(), supervised] {
        assert_eq!(self::places(process, KEY.as_bytes()), [""; 0], "as text, in process {process}");
    }
    assert_eq!(self::places(daemon.pid(), &bytes), [""; 0], "in the supervisor");
    let told = [daemon.log(), daemon.status().unwrap().to_string()];
    assert!(told.iter().all(|text| !text.contains(KEY)));
}

/// A daemon that is started by a service manager, which wants to be told within 0.4 s that it lives; and that manager.
fn managed() -> (Cluster, UnixDatagram) {
    let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
    let address = cluster.lab().home(1).join("notify");
    let manager = UnixDatagram::bind(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [format!("NOTIFY_SOCKET={}", address.display()), "WATCHDOG_USEC=400000".into()];
    cluster.options(1).unwrap().wrapper = [&["env".into()], &environment[..]].concat();
    cluster.restart(1).unwrap();
    (cluster, manager)
}

/// The next thing that the manager is told.
fn hear(manager: &UnixDatagram) -> String {
    let mut heard = [0; 256];
    let length = manager.recv(&mut heard).unwrap();
    String::from_utf8(heard[..length].to_vec()).unwrap()
}

fn alone() -> DaemonOptions {
    DaemonOptions { expect: 1, ..DaemonOptions::default() }
}

/// Starts a program as a service manager does for a user without rights: with the capabilities alone, and with its folders ready.
/// The BPF file system, which may be root's alone on the machine, is one of its own.
fn as_nobody(home: &Path, pins: &Path) -> Vec<String> {
    let (home, pins) = (home.display(), pins.display());
    let script = format!(
        "mount -t bpf bpf {BPFFS} && mkdir -p {pins} && install -m 755 \"$1\" {home}/program && \
         chown -R {NOBODY}:{NOBODY} {home} {pins} && shift && exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \
         --inh-caps=-all,{CAPABILITIES} --ambient-caps=-all,{CAPABILITIES} --bounding-set=-all,{CAPABILITIES} \
         {home}/program \"$@\""
    );
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// The mappings of a process that it can write to and that have these bytes, one for each time.
fn places(process: Pid, wanted: &[u8]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut places = Vec::new();
    for mapping in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = mapping.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        // Some of the kernel's own cannot be read.
        if memory.read_exact(&mut content).is_ok() {
            let count = content.windows(wanted.len()).filter(|window| *window == wanted).count();
            places.extend(vec![mapping.to_owned(); count]);
        }
    }
    places
}
