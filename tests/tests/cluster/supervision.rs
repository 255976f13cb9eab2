//! What becomes of a lease when a daemon is killed that something starts again (`--supervise`).

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
    traces::Traces,
    wait,
};

use crate::{
    PATIENCE,
    cluster::watch::{Watch, wait_until},
    three_with, with_long_leases,
};

#[test]
fn a_daemon_that_is_killed_is_started_again_and_goes_on_with_its_lease() {
    let (mut cluster, holder) = three_with(&supervised());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();
    let supervisor = cluster.daemon(holder).unwrap().pid();
    let killed = kill_supervised(&mut cluster, holder);

    let renewed = |status: &Status| status.is_master() && status.groups[0].ballot != before.groups[0].ballot;
    cluster
        .wait_status(holder, "to have renewed its lease under a ballot of its own", PATIENCE, renewed)
        .unwrap();
    wait_successor(&mut cluster, holder, killed);
    assert_eq!(cluster.daemon(holder).unwrap().pid(), supervisor);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.let_it_ask();
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

#[test]
fn one_that_is_killed_again_at_once_is_left_dead_until_another_node_serves_and_comes_back_as_a_backup() {
    // A lease that is shorter than the pause.
    let (mut cluster, holder) =
        three_with(&DaemonOptions { args: vec!["--supervise".into()], ..<_>::default() });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let first = kill_supervised(&mut cluster, holder);
    let second = wait_successor(&mut cluster, holder, first);
    let again = Stamp::now();
    kill(second, Signal::SIGKILL).unwrap();
    let successor = watch.wait_served_after(again, |node| node != holder);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn who_kills_the_supervisor_too_has_the_lease_run_out_and_another_node_serve() {
    let (mut cluster, holder) = three_with(&supervised());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served(|node| node != holder);
    watch.let_it_ask();
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn a_daemon_whose_supervisor_dies_hands_over_and_ends() {
    let (mut cluster, holder) = three_with(&supervised());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let daemon = wait_supervised(&mut cluster, holder);
    cluster.daemon(holder).unwrap().signal(Signal::SIGKILL).unwrap();
    watch.wait_served(|node| node != holder);
    wait_until("the daemon to end", || Ok(kill(daemon, None).is_err()));
    // A lease that had run out would have cost nearly its length.
    let gap = watch.finish();
    assert!(gap < supervised().lease / 4, "{gap:?}");
}

#[test]
fn sigterm_and_sigint_are_passed_on_and_nothing_is_left_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut cluster = Cluster::prepare(1, |_| DaemonOptions { expect: 1, ..supervised() }).unwrap();
        let before = Traces::of(cluster.lab(), 1).unwrap();
        cluster.restart(1).unwrap();
        cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
        let served = wait_supervised(&mut cluster, 1);
        let daemon = cluster.daemon(1).unwrap();
        daemon.signal(signal).unwrap();
        let status = daemon.wait_exit(PATIENCE).unwrap();
        assert!(status.success(), "{signal}: {status}{}", daemon.log_tail());
        assert!(kill(served, None).is_err(), "{signal}: the daemon outlives its supervisor");
        assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before, "{signal}");
    }
}

#[test]
fn a_daemon_that_ends_by_itself_is_not_started_again_and_its_exit_status_is_passed_on() {
    let mut cluster = Cluster::prepare(2, |_| supervised()).unwrap();
    // Input: an id that is taken.
    cluster.options(2).unwrap().id = Some(1);
    cluster.restart(1).unwrap();
    let is_up = |status: &Status| status.members.len() == 1;
    cluster.wait_status(1, "to be up", PATIENCE, is_up).unwrap();
    cluster.restart(2).unwrap();
    let daemon = cluster.daemon(2).unwrap();
    let status = daemon.wait_exit(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(78), "{}", daemon.log_tail());
    assert_eq!(daemon.log().matches("vip-user: ").count(), 1, "{}", daemon.log_tail());
}

/// Leases that a restart on a busy machine does not let lapse.
fn supervised() -> DaemonOptions {
    DaemonOptions { args: vec!["--supervise".into()], ..with_long_leases() }
}

/// Waits until there is a daemon, and gives its process.
fn wait_supervised(cluster: &mut Cluster, node: u8) -> Pid {
    let daemon = cluster.daemon(node).unwrap();
    wait::until("a supervised daemon", PATIENCE, || daemon.supervised()).unwrap()
}

/// Waits until there is another one than `killed`.
fn wait_successor(cluster: &mut Cluster, node: u8, killed: Pid) -> Pid {
    let daemon = cluster.daemon(node).unwrap();
    let successor = || Ok(daemon.supervised()?.filter(|pid| *pid != killed));
    wait::until("the next daemon", PATIENCE, successor).unwrap()
}

/// Kills the daemon of a node, but not its supervisor; gives the process that it was.
fn kill_supervised(cluster: &mut Cluster, node: u8) -> Pid {
    let daemon = wait_supervised(cluster, node);
    kill(daemon, Signal::SIGKILL).unwrap();
    daemon
}
