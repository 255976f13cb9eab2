//! FRR's `vrrpd` on a node of a lab, with one virtual router; and one daemon beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, chown},
};
use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Lab, VIP, VIP6},
    net, wait,
};

use super::{beside::wait_state, capture::Capture};
use crate::PATIENCE;

/// Where Debian has the daemons.
const DAEMONS: &str = "/usr/lib/frr";
const USER: &str = "frr";
/// What a line of its log has that says something is wrong with an advert.
const COMPLAINTS: [&str; 4] = ["Bad ", "incorrect", "undersized", "oversized"];

#[test]
fn frr_and_we_take_over_from_each_other_by_ipv4() {
    takes_turns(&Family { json: "v4", macvlan: "vrrp4-2-77", mac: "00:00:5e:00:01:4d", key: "ip" });
}

#[test]
fn frr_and_we_take_over_from_each_other_by_ipv6() {
    takes_turns(&Family { json: "v6", macvlan: "vrrp6-2-77", mac: "00:00:5e:00:02:4d", key: "ipv6" });
}

/// How FRR calls things.
struct Family {
    json: &'static str,
    macvlan: &'static str,
    mac: &'static str,
    key: &'static str,
}

impl Family {
    fn addresses(&self) -> Vec<String> {
        match self.key {
            "ipv6" => vec!["fe80::77/64".to_owned(), format!("{VIP6}/64")],
            _ => vec![format!("{VIP}/24")],
        }
    }

    /// Of node 1.
    fn options(&self) -> DaemonOptions {
        let group = "protocol = \"vrrp\"\nvrid = 77\nadvert_interval = \"100ms\"\npriority = 150\n";
        DaemonOptions {
            vips: self.addresses(),
            more_of_group: group.to_owned(),
            more_of_node: "xdp = \"generic\"".to_owned(),
            ..DaemonOptions::default()
        }
    }
}

fn takes_turns(family: &Family) {
    let mut cluster = Cluster::prepare(2, |_| family.options()).unwrap();
    cluster.lab().add_ipv6().unwrap();
    let capture = Capture::start(cluster.lab());
    let frr = Frr::start(cluster.lab(), family);
    frr.wait_status("Master");

    // Ours is of higher priority, and preempts.
    cluster.restart(1).unwrap();
    wait_state(&cluster, "master");
    frr.wait_status("Backup");
    // One that is killed says nothing.
    cluster.daemon(1).unwrap().kill().unwrap();
    frr.wait_status("Master");
    cluster.restart(1).unwrap();
    wait_state(&cluster, "master");
    frr.wait_status("Backup");
    // One that gives up says so.
    for (order, ours, its) in [("on", "maintenance", "Master"), ("off", "master", "Backup")] {
        assert!(cluster.order(1, &["maintenance", order]).unwrap().status.success());
        wait_state(&cluster, ours);
        frr.wait_status(its);
    }
    // One of lower priority from now on.
    let lower = cluster.options(1).unwrap();
    lower.more_of_group = lower.more_of_group.replace("priority = 150", "priority = 50");
    cluster.write_config(1).unwrap();
    assert!(cluster.order(1, &["reload"]).unwrap().status.success());
    frr.wait_status("Master");
    wait_state(&cluster, "backup");
    assert_eq!(frr.complaints(), [""; 0]);
    frr.kill();
    wait_state(&cluster, "master");
    assert_eq!(cluster.status(1).unwrap().counters["vrrp_invalid"], 0);
    assert!(cluster.status(1).unwrap().counters["vrrp_adverts"] > 0);
    capture.finish(&[]);
}

/// One that runs; killed when dropped.
struct Frr {
    daemons: Vec<Child>,
    netns: String,
    home: PathBuf,
    family: &'static str,
    macvlan: &'static str,
}

impl Frr {
    /// On node 2, with a virtual router of priority 100. FRR wants a macvlan interface with the virtual router's MAC address and
    /// addresses, which it takes up and down.
    fn start(lab: &Lab, family: &Family) -> Self {
        let (home, netns) = (lab.home(2).join("frr"), lab.node_netns(2));
        fs::create_dir_all(&home).unwrap();
        // The user that Debian's runs as: another one must be of a group that has been compiled in.
        let user = User::from_name(USER).unwrap().unwrap();
        chown(&home, Some(user.uid), Some(user.gid)).unwrap();
        let Family { json, macvlan, mac, key } = *family;
        let ip = |arguments: &[&str]| net::ip(&netns, arguments).unwrap();
        ip(&["link", "add", "link", "eth0", "name", macvlan, "type", "macvlan", "mode", "bridge"]);
        ip(&["link", "set", macvlan, "address", mac]);
        let mut config =
            "log stdout debugging\ndebug vrrp\ninterface eth0\nvrrp 77 version 3\nvrrp 77 priority 100\n\
                          vrrp 77 advertisement-interval 100\n"
                .to_owned();
        for address in family.addresses() {
            ip(&["addr", "add", &address, "dev", macvlan]);
            let (address, _) = address.split_once('/').unwrap();
            config += &format!("vrrp 77 {key} {address}\n");
        }
        ip(&["link", "set", macvlan, "up"]);
        fs::write(home.join("frr.conf"), config).unwrap();
        let mut frr = Self { daemons: Vec::new(), netns, home, family: json, macvlan };
        let zebra = frr.run(lab, "zebra", Path::new("/dev/null"));
        frr.daemons.push(zebra);
        let socket = frr.home.join("zebra.sock");
        wait::until("zebra", PATIENCE, || Ok(socket.exists().then_some(()))).unwrap();
        let vrrpd = frr.run(lab, "vrrpd", &frr.home.join("frr.conf"));
        frr.daemons.push(vrrpd);
        frr
    }

    fn run(&self, lab: &Lab, daemon: &str, config: &Path) -> Child {
        let log = File::create(self.home.join(format!("{daemon}.log"))).unwrap();
        let mut command = lab.command(2, Path::new(DAEMONS).join(daemon)).unwrap();
        command.args(["-u", USER, "-g", USER, "-P", "0", "-f"]).arg(config);
        command.arg("-z").arg(self.home.join("zebra.sock")).arg("--vty_socket").arg(&self.home);
        command.arg("-i").arg(self.home.join(format!("{daemon}.pid")));
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log).spawn().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("vrrpd.log")).unwrap_or_default()
    }

    /// Waits until the virtual router is `Master` or `Backup`.
    fn wait_status(&self, status: &str) {
        let waited = wait::until_calmly(&format!("FRR to be {status}"), PATIENCE, || {
            let mut vtysh = Command::new("vtysh");
            vtysh.arg("--vty_socket").arg(&self.home).args(["-d", "vrrpd", "-c", "show vrrp json"]);
            let output = vtysh.output()?;
            let routers: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            Ok((routers[0][self.family]["status"] == status).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    fn complaints(&self) -> Vec<String> {
        let is_one = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
        self.log().lines().filter(is_one).map(str::to_owned).collect()
    }

    /// Kills it, and takes its interface away, which it would answer on.
    fn kill(mut self) {
        self.signal_all();
        net::ip(&self.netns, &["link", "del", self.macvlan]).unwrap();
    }

    fn signal_all(&mut self) {
        for mut daemon in self.daemons.drain(..).rev() {
            kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGKILL).unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.signal_all();
    }
}
