//! Another program file takes over from a daemon that serves.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::{DaemonOptions, daemon_binary},
    wait,
};

use crate::{
    PATIENCE,
    cluster::watch::{Watch, wait_until},
    with_long_leases,
};

/// Input: the same program as another file, by command and by signal. Expected: another node serves meanwhile, the process that was
/// started becomes that file, and its next daemon is a node as before.
#[test]
fn another_node_serves_while_a_new_program_file_takes_over_in_place() {
    let mut files = Files::new("in-place");
    let (mut cluster, former) = files.nodes(3);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == former);
    let new = upgrade(&mut cluster, &mut files, former);
    let next = watch.wait_served(|node| node != former).node;
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), next);

    // By a signal to the supervisor, while another file is there already.
    let supervisor = cluster.daemon(former).unwrap().pid();
    let newer = files.replace(former);
    assert_ne!(newer, new);
    cluster.daemon(former).unwrap().signal(Signal::SIGUSR2).unwrap();
    wait_until("the supervisor to be the newer file", || {
        Ok(fs::metadata(format!("/proc/{supervisor}/exe"))?.ino() == newer)
    });
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), next);
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
    // What the former ones have left is not in the way of an orderly end.
    assert!(cluster.daemon(former).unwrap().terminate().unwrap().success());
}

/// Input: a node that nobody can take anything from. Expected: its next daemon goes on with the lease, and no probe is lost.
#[test]
fn what_nobody_can_take_is_served_on_while_a_new_program_file_takes_over() {
    let mut files = Files::new("alone");
    let (mut cluster, holder) = files.nodes(1);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    upgrade(&mut cluster, &mut files, holder);
    let goes_on = |status: &Status| status.is_master();
    cluster.wait_status(holder, "to have renewed its lease", PATIENCE, goes_on).unwrap();
    watch.let_it_ask();
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

/// Has a new file take over from a node's daemon, as the same process; gives the file's inode.
fn upgrade(cluster: &mut Cluster, files: &mut Files, node: u8) -> u64 {
    let supervisor = cluster.daemon(node).unwrap().pid();
    let new = files.replace(node);
    let output = cluster.order(node, &["upgrade"]).unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("has taken over, in place\n"), "{said}");
    assert_eq!(cluster.daemon(node).unwrap().pid(), supervisor);
    for pid in [supervisor, cluster.daemon(node).unwrap().supervised().unwrap().unwrap()] {
        assert_eq!(fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino(), new, "{said}");
    }
    new
}

/// Expected: whoever cannot take over is told of, with the reason, and nothing changes.
#[test]
fn a_file_that_is_no_program_or_refuses_the_configuration_changes_nothing() {
    let mut files = Files::new("refused");
    let (mut cluster, holder) = files.nodes(3);
    let before = cluster.status(holder).unwrap();
    let daemon = cluster.daemon(holder).unwrap().supervised().unwrap();
    let path = files.of(holder);
    let cases = [
        ("no program at all", "cannot be run", 1),
        ("#!/bin/sh\necho something else\n", "is no vip-user that could take over", 1),
        (
            "#!/bin/sh\necho vip-user: vip.toml:1: no >&2\nexit 78\n",
            "would not run with the configuration as it is: vip.toml:1: no",
            78,
        ),
    ];
    for (content, reason, status) in cases {
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = cluster.order_by(&daemon_binary().unwrap(), holder, &["upgrade"]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    // Put back, so that the daemon can be asked by its own file.
    files.replace(holder);
    assert_eq!(cluster.daemon(holder).unwrap().supervised().unwrap(), daemon);
    let lease =
        |status: &Status| (status.is_master(), status.groups[0].ballot.clone(), status.groups[0].transitions);
    assert_eq!(lease(&cluster.status(holder).unwrap()), lease(&before));
}

/// Input: a file that says that it has another XDP program. Expected: another node serves before this one ends, without a gap.
#[test]
fn a_program_with_another_data_plane_takes_over_after_a_handover() {
    let mut files = Files::new("other");
    let (cluster, holder) = files.nodes(3);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let (path, real) = (files.of(holder), daemon_binary().unwrap());
    fs::remove_file(&path).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = check ] && echo vip-user 9.9.9 other && exit\nexec {} \"$@\"\n",
        real.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = cluster.order_by(&real, holder, &["upgrade"]).unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert_eq!(said, "version 9.9.9 has taken over, with another XDP program\n");
    let next = watch.wait_served(|node| node != holder).node;
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), next);
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

#[test]
fn a_daemon_without_a_supervisor_refuses() {
    let mut cluster = Cluster::start(1, &DaemonOptions { expect: 1, ..with_long_leases() }).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    let output = cluster.order(1, &["upgrade"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("without --supervise"), "{said}");
    assert!(cluster.daemon(1).unwrap().is_running().unwrap());
}

/// A program file of each node's own, in a folder that goes with this.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vip-upgrade-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn of(&self, node: u8) -> PathBuf {
        self.0.join(format!("vip-user-{node}"))
    }

    /// Puts a copy of the program in the place of the node's file; gives its inode.
    fn replace(&mut self, node: u8) -> u64 {
        let (path, new) = (self.of(node), self.0.join("new"));
        copy(&daemon_binary().unwrap(), &new);
        fs::rename(&new, &path).unwrap();
        fs::metadata(&path).unwrap().ino()
    }

    /// So many nodes with a supervisor and a program file each, whole; and who holds.
    fn nodes(&mut self, count: u8) -> (Cluster, u8) {
        (1..=count).for_each(|node| {
            self.replace(node);
        });
        let options = |node| DaemonOptions {
            binary: Some(self.of(node)),
            args: vec!["--supervise".into()],
            expect: count,
            ..with_long_leases()
        };
        let cluster = Cluster::start_each(count, options).unwrap();
        let holder = cluster.wait_whole(PATIENCE).unwrap();
        (cluster, holder)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that is still open for writing cannot be run: by a test beside this one that starts a process just then.
fn copy(from: &Path, to: &Path) {
    wait::until("a copy of the program that can be run", PATIENCE, || {
        let _ = fs::remove_file(to);
        fs::copy(from, to)?;
        let run = std::process::Command::new(to).arg("--version").output();
        Ok(run.is_ok_and(|output| output.status.success()).then_some(()))
    })
    .unwrap();
}
