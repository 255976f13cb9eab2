//! VIPs that are addresses of a machine only while it holds them (`presence = "held"`).

use std::net::UdpSocket;
use std::time::Duration;

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP},
    net::in_netns,
    responder::{PORT, PROBE_LEN, parse_answer},
    traces::Traces,
};

use crate::{
    PATIENCE,
    cluster::{
        handover::{assert_done, hand_over},
        watch::{Watch, wait_until},
    },
    others, three_with, with_long_leases,
};

const DUMMY: &str = "vip-eth0";

/// Expected: the VIP is an address of the holder alone, before and after it moves; and a program on a backup that asks the
/// VIP is answered by the holder, and not by its own machine.
#[test]
fn the_vip_is_on_the_holder_alone_and_programs_on_backups_reach_it() {
    let (mut cluster, holder) = three_with(&held());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    wait_on(&cluster, holder);
    wait_answered(&cluster, holder);

    let next = others(holder)[0];
    assert_done(&hand_over(&cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
    watch.wait_served(|node| node == next);
    wait_on(&cluster, next);
    wait_answered(&cluster, next);

    // Input: a holder that dies with its supervisor, if it has one. Expected: its VIP is off again when it is back.
    cluster.daemon(next).unwrap().kill().unwrap();
    let successor = watch.wait_served(|node| node != next).node;
    cluster.restart(next).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor);
    wait_on(&cluster, successor);
    watch.finish();
}

/// The address is there all the time.
#[test]
fn a_daemon_that_is_started_again_on_a_running_lease_leaves_the_vip_where_it_is() {
    let options = DaemonOptions { args: vec!["--supervise".into()], ..held() };
    let (mut cluster, holder) = three_with(&options);
    let watch = Watch::start(cluster.lab());
    wait_on(&cluster, holder);
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap().groups[0].ballot.clone();
    let probed = vip_tests::clock::Stamp::now();
    cluster.daemon(holder).unwrap().signal_supervised(nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster
        .wait_status(holder, "to hold anew", PATIENCE, |status| {
            status.is_master() && status.groups[0].ballot != before
        })
        .unwrap();
    watch.wait_served_after(probed, |node| node == holder);
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

fn held() -> DaemonOptions {
    DaemonOptions { more_of_group: "presence = \"held\"\n".to_owned(), ..with_long_leases() }
}

/// Waits until the VIP is an address of this node, and of no other.
fn wait_on(cluster: &Cluster, holder: u8) {
    wait_until("the VIP to be on the holder alone", || {
        let is_on = |node| Ok(!Traces::of(cluster.lab(), node)?.links[DUMMY].addresses.is_empty());
        let on = (1..=3).map(is_on).collect::<anyhow::Result<Vec<bool>>>()?;
        Ok(on == [1, 2, 3].map(|node| node == holder))
    });
}

/// Waits until a program on each node, asking the VIP, is answered by the holder.
fn wait_answered(cluster: &Cluster, holder: u8) {
    for node in 1..=3 {
        wait_until("an answer by the holder", || {
            let answer = in_netns(&cluster.lab().node_netns(node), || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_read_timeout(Some(Duration::from_millis(200)))?;
                socket.send_to(&[0; PROBE_LEN], (VIP, PORT))?;
                let mut answer = [0; PROBE_LEN + 1];
                Ok(socket.recv(&mut answer).map(|length| parse_answer(&answer[..length])))
            })?;
            Ok(answer.ok().flatten().is_some_and(|(_, by)| by == holder))
        });
    }
}
