//! Notify scripts: they are told what keepalived tells its own, in the order in which it happens.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::bail;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Lab, VIP},
    wait,
};

use crate::{PATIENCE, others, with_long_leases};

/// What a node's scripts are to be told that starts, serves, loses its cable, gets it back, serves again and is asked to
/// stop: the script for the state first, and then the one for all.
const LIFE: [&str; 12] = [
    "to backup",
    "INSTANCE web BACKUP 100",
    "to master",
    "INSTANCE web MASTER 100",
    "to fault",
    "INSTANCE web FAULT 100",
    "to backup",
    "INSTANCE web BACKUP 100",
    "to master",
    "INSTANCE web MASTER 100",
    "to stop",
    "INSTANCE web STOP 100",
];
/// What has been told of it when it serves for the first time, has no cable, has it again, and serves again.
const SERVES: usize = 4;
const CUT_OFF: usize = 6;
const BACK: usize = 8;
const SERVES_AGAIN: usize = 10;

/// A script on node `node` that adds its arguments to [`log_of`], as one line.
fn script(lab: &Lab, node: u8) -> PathBuf {
    let path = lab.home(node).join("notify.sh");
    fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n", log_of(lab, node).display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn log_of(lab: &Lab, node: u8) -> PathBuf {
    lab.home(node).join("notified")
}

fn told(lab: &Lab, node: u8) -> Vec<String> {
    let text = fs::read_to_string(log_of(lab, node)).unwrap_or_default();
    // What follows the last end of a line is not whole yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}

fn wait_told(lab: &Lab, node: u8, lines: usize) {
    let look = || match told(lab, node) {
        told if told.len() >= lines => Ok(Some(())),
        told => bail!("{told:#?}"),
    };
    let what = format!("the scripts of node {node} to be told {lines} lines");
    wait::until_calmly(&what, PATIENCE, look).unwrap();
}

/// Both write the keys alike, but for what is between a key and its value.
fn keys(script: &Path, between: &str) -> String {
    let own = ["master", "backup", "fault", "stop"];
    let own = own.map(|state| format!("notify_{state}{between}\"{} 'to {state}'\"\n", script.display()));
    format!("{}notify{between}\"{}\"\n", own.concat(), script.display())
}

fn three_notifying() -> (Cluster, u8) {
    let mut cluster = Cluster::prepare(3, |_| with_long_leases()).unwrap();
    for node in 1..=3 {
        let script = script(cluster.lab(), node);
        cluster.options(node).unwrap().more_of_group = keys(&script, " = ");
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

fn hand_over(cluster: &Cluster, from: u8, to: u8) {
    let output = cluster.order(from, &["handover", "--to", &format!("lb{to}")]).unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn scripts_are_told_of_a_nodes_whole_life() {
    let (mut cluster, node) = three_notifying();
    wait_told(cluster.lab(), node, SERVES);
    cluster.lab().cable(node).pull().unwrap();
    wait_told(cluster.lab(), node, CUT_OFF);
    cluster.lab().cable(node).plug().unwrap();
    wait_told(cluster.lab(), node, BACK);
    let other = cluster.wait_whole(PATIENCE).unwrap();
    wait_told(cluster.lab(), other, SERVES);
    assert_eq!(told(cluster.lab(), other)[..SERVES], LIFE[..SERVES]);
    hand_over(&cluster, other, node);
    wait_told(cluster.lab(), node, SERVES_AGAIN);
    cluster.daemon(node).unwrap().terminate().unwrap();
    // The scripts have been run when the daemon has ended.
    assert_eq!(told(cluster.lab(), node), LIFE);
}

#[test]
fn a_daemon_that_is_started_again_with_its_lease_tells_of_no_backup_before() {
    let mut options = DaemonOptions { args: vec!["--supervise".to_owned()], ..with_long_leases() };
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    for node in 1..=3 {
        options.more_of_group = keys(&script(cluster.lab(), node), " = ");
        cluster.options(node).unwrap().more_of_group.clone_from(&options.more_of_group);
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    wait_told(cluster.lab(), holder, SERVES);
    cluster.daemon(holder).unwrap().signal_supervised(Signal::SIGKILL).unwrap();
    wait_told(cluster.lab(), holder, SERVES + 2);
    assert_eq!(told(cluster.lab(), holder)[SERVES..], LIFE[2..SERVES], "master before, and master again");
    for other in others(holder) {
        wait_told(cluster.lab(), other, 2);
        assert_eq!(told(cluster.lab(), other), LIFE[..2], "they never served");
    }
}

/// keepalived on a node, alone; asked to stop when dropped.
struct Keepalived(Child);

impl Keepalived {
    /// `None`: it is not on this machine.
    fn start(lab: &Lab, node: u8) -> Option<Self> {
        Command::new("keepalived").arg("--version").stderr(Stdio::null()).status().ok()?;
        let home = lab.home(node);
        let config = home.join("keepalived.conf");
        let text = format!(
            "global_defs {{\nrouter_id lb{node}\nvrrp_version 3\nscript_user root\n}}\n\
             vrrp_instance web {{\ninterface eth0\nstate BACKUP\nvirtual_router_id 77\npriority 100\n\
             advert_int 0.1\nvirtual_ipaddress {{\n{VIP}/24\n}}\n{}}}\n",
            keys(&script(lab, node), " ")
        );
        fs::write(&config, text).unwrap();
        let mut command = lab.command(node, "keepalived").unwrap();
        command.args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--use-file"]).arg(config);
        for option in ["pid", "vrrp_pid"] {
            command.arg(format!("--{option}")).arg(home.join(option));
        }
        Some(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}

/// Without keepalived, this says so and passes.
#[test]
fn keepalived_tells_its_scripts_the_same() {
    let lab = Lab::new(1).unwrap();
    let Some(keepalived) = Keepalived::start(&lab, 1) else {
        return eprintln!("not compared: there is no keepalived on this machine");
    };
    wait_told(&lab, 1, SERVES);
    lab.cable(1).pull().unwrap();
    wait_told(&lab, 1, CUT_OFF);
    lab.cable(1).plug().unwrap();
    // Alone, it serves again by itself.
    wait_told(&lab, 1, SERVES_AGAIN);
    drop(keepalived);
    wait_told(&lab, 1, LIFE.len());
    // It starts both scripts of a state at once, and either may be the first to write.
    let in_pairs = |lines: &[String]| -> Vec<Vec<String>> {
        let sorted = |pair: &[String]| {
            let mut pair = pair.to_vec();
            pair.sort();
            pair
        };
        lines.chunks(2).map(sorted).collect()
    };
    assert_eq!(in_pairs(&told(&lab, 1)), in_pairs(&LIFE.map(str::to_owned)));
}
