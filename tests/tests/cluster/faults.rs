//! The holder fails in every way it can: another node serves, never two do, and the former holder does not come back
//! to serve by itself.

use anyhow::Result;
use nix::sys::signal::Signal;
use vip_tests::{clock::Stamp, cluster::Cluster};

use crate::{PATIENCE, cluster::watch::Watch, three_whole};

#[test]
fn when_the_holder_is_terminated_another_node_serves_and_keeps_serving() {
    fails_over(
        |cluster, victim| {
            assert!(cluster.daemon(victim)?.terminate()?.success());
            Ok(())
        },
        Cluster::restart,
    );
}

#[test]
fn when_the_holder_is_killed_another_node_serves_and_keeps_serving() {
    fails_over(|cluster, victim| cluster.daemon(victim)?.kill(), Cluster::restart);
}

#[test]
fn when_the_holder_hangs_another_node_serves_and_keeps_serving() {
    fails_over(
        |cluster, victim| cluster.daemon(victim)?.stop(),
        |cluster, victim| cluster.daemon(victim)?.cont(),
    );
}

#[test]
fn when_the_holders_cable_is_pulled_another_node_serves_and_keeps_serving() {
    fails_over(
        |cluster, victim| cluster.lab().cable(victim).pull(),
        |cluster, victim| cluster.lab().cable(victim).plug(),
    );
}

#[test]
fn when_one_holder_after_the_other_fails_the_client_is_always_served_by_one() {
    let (mut cluster, mut holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        let broken = Stamp::now();
        let victim = holder;
        cluster.daemon(victim).unwrap().signal(signal).unwrap();
        cluster.daemon(victim).unwrap().wait_exit(PATIENCE).unwrap();
        let successor = watch.wait_served_after(broken, |node| node != victim);
        cluster.restart(victim).unwrap();
        holder = cluster.wait_whole(PATIENCE).unwrap();
        assert_eq!(holder, successor.node);
    }
    watch.finish();
}

/// Input: the holder of three nodes with the product's defaults.
fn fails_over(inflict: Change, repair: Change) {
    let (cluster, victim) = three_whole();
    for node in 1..=3 {
        assert_eq!(cluster.status(node).unwrap().xdp, "native");
    }
    another_serves(cluster, victim, inflict, repair, |_, _| ());
}

pub(super) type Change = fn(&mut Cluster, u8) -> Result<()>;

/// Input: a holder that fails, and is put right once another node serves. Expected: `must_hold` of that other node; it
/// still holds when all is whole (`preempt` is off), and from its first answer on the former holder has not answered.
pub(super) fn another_serves(
    mut cluster: Cluster,
    victim: u8,
    inflict: Change,
    repair: Change,
    must_hold: impl Fn(&Cluster, u8),
) {
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == victim);
    let broken = Stamp::now();
    inflict(&mut cluster, victim).unwrap();
    let successor = watch.wait_served_after(broken, |node| node != victim);
    must_hold(&cluster, successor.node);
    watch.let_it_ask();
    repair(&mut cluster, victim).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.let_it_ask();
    assert!(watch.was_served_by(successor.node, successor.sent));
    watch.finish_after_takeover(victim, successor);
}
