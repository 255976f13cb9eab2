//! What daemons' ends do not take away: votes are cast by the data plane, and promises live in pinned maps.

use std::time::Duration;

use vip_tests::{clock::Stamp, lab::DaemonOptions};

use crate::{PATIENCE, cluster::watch::Watch, others, three_whole, three_with, with_long_leases};

#[test]
fn a_holder_keeps_its_lease_by_the_vote_of_a_node_whose_daemon_is_dead() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();
    let [cut_off, dead] = others(holder);

    // Input: one node is cut off, and the daemon of the other is killed. Expected: the dead daemon's data plane votes.
    cluster.lab().cable(cut_off).pull().unwrap();
    cluster.daemon(dead).unwrap().kill().unwrap();
    for _ in 0..6 {
        watch.let_it_ask();
    }
    let after = cluster.status(holder).unwrap();
    assert!(after.is_master());
    assert_eq!(after.groups[0].ballot, before.groups[0].ballot, "the lease was never lost");
    assert_eq!(after.groups[0].transitions, before.groups[0].transitions);

    // Without that vote, it does not.
    cluster.lab().cable(dead).pull().unwrap();
    watch.wait_silent();
    watch.finish();
}

#[test]
fn a_node_is_elected_by_the_data_planes_of_nodes_whose_daemons_hang() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    for node in others(holder) {
        cluster.daemon(node).unwrap().stop().unwrap();
    }
    cluster.daemon(holder).unwrap().kill().unwrap();
    watch.wait_silent();

    cluster.restart(holder).unwrap();
    watch.wait_served(|node| node == holder);
    for node in others(holder) {
        cluster.daemon(node).unwrap().cont().unwrap();
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.finish();
}

#[test]
fn a_holder_that_is_restarted_alone_adopts_its_data_plane_and_does_not_serve() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    for node in others(holder) {
        cluster.lab().cable(node).pull().unwrap();
    }
    cluster.daemon(holder).unwrap().kill().unwrap();
    watch.wait_silent();
    cluster.restart(holder).unwrap();
    let status = cluster
        .wait_status(holder, "to stand", PATIENCE, |status| status.groups[0].state == "candidate")
        .unwrap();
    assert_eq!(status.epoch, 1, "{status:?}");
    assert_eq!(status.voters(), [1, 2, 3], "the absent ones are shown: {status:?}");
    assert!(cluster.daemon(holder).unwrap().log().contains("as a former run has left it"));
    watch.wait_silent();

    for node in others(holder) {
        cluster.lab().cable(node).plug().unwrap();
    }
    cluster.wait_whole(PATIENCE).unwrap();
    watch.wait_served(|_| true);
    watch.finish();
}

#[test]
fn restarted_followers_still_refuse_others_until_the_lease_that_they_granted_ends() {
    // Longer than two daemons take to start on a busy machine.
    let lease = Duration::from_secs(4);
    let (mut cluster, holder) = three_with(&DaemonOptions { lease, ..with_long_leases() });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);

    // Input: all daemons are killed, and the two followers start again, while the holder's data plane serves until
    // its lease ends. Expected: they know of that lease from before, though nobody renews it any more, and nobody
    // else serves before its end.
    let followers = others(holder);
    let broken = Stamp::now();
    for node in [followers[0], followers[1], holder] {
        cluster.daemon(node).unwrap().kill().unwrap();
    }
    for node in followers {
        cluster.restart(node).unwrap();
    }
    for node in followers {
        cluster.wait_status(node, "to start", PATIENCE, |status| status.groups[0].state == "backup").unwrap();
        assert!(cluster.daemon(node).unwrap().log().contains("as a former run has left it"));
    }
    let successor = watch.wait_served_after(broken, |node| node != holder);
    watch.let_it_ask();
    watch.finish_after_takeover(holder, successor);
}
