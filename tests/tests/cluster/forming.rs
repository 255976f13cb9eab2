//! The first configuration: who is in it, whatever the order of the start, and who is not.

use vip_tests::{cluster::Cluster, lab::DaemonOptions};

use crate::{PATIENCE, cluster::watch::Watch, three_whole};

#[test]
fn three_nodes_that_start_together_form_one_configuration_with_one_master() {
    let (cluster, _) = three_whole();
    assert_one_configuration(&cluster);
}

#[test]
fn three_nodes_form_one_configuration_whatever_the_order_of_their_start() {
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let mut cluster = Cluster::prepare(3, |_| DaemonOptions::default()).unwrap();
        let [first, second, third] = order;
        cluster.restart(first).unwrap();
        cluster.wait_status(first, "to answer", PATIENCE, |_| true).unwrap();
        cluster.restart(second).unwrap();
        for node in [first, second] {
            // Two of the three that are expected: nothing is formed yet, and nobody serves.
            let sees_both = |status: &vip_tests::cluster::Status| status.members.len() == 2;
            let status = cluster.wait_status(node, "to see the other", PATIENCE, sees_both).unwrap();
            assert_eq!(status.epoch, 0, "{status:?}");
            assert!(!status.is_master(), "{status:?}");
        }
        cluster.restart(third).unwrap();
        cluster.wait_whole(PATIENCE).unwrap();
        assert_one_configuration(&cluster);
    }
}

#[test]
fn a_cluster_that_was_stopped_as_a_whole_comes_back_with_its_configuration() {
    let (mut cluster, _) = three_whole();
    for node in 1..=3 {
        assert!(cluster.daemon(node).unwrap().terminate().unwrap().success());
    }
    let watch = Watch::start(cluster.lab());
    watch.wait_silent();
    // Two of three are enough: the configuration is on their disks.
    for node in [2, 3] {
        cluster.restart(node).unwrap();
    }
    cluster.wait_whole_among(&[2, 3], PATIENCE).unwrap();
    watch.wait_served(|node| node != 1);
    cluster.restart(1).unwrap();
    cluster.wait_whole(PATIENCE).unwrap();
    assert_one_configuration(&cluster);
    watch.finish();
}

#[test]
fn a_cluster_whose_daemons_were_all_killed_comes_back_without_a_moment_of_two_holders() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for node in 1..=3 {
        cluster.daemon(node).unwrap().kill().unwrap();
    }
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    watch.wait_served(|node| node == holder);
    assert_one_configuration(&cluster);
    watch.finish();
}

#[test]
fn a_node_that_starts_without_a_carrier_joins_when_it_gets_one() {
    let mut cluster = Cluster::prepare(3, |_| DaemonOptions::default()).unwrap();
    cluster.lab().cable(3).pull().unwrap();
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    let at_fault = |status: &vip_tests::cluster::Status| status.groups[0].state == "fault";
    cluster.wait_status(3, "to be at fault", PATIENCE, at_fault).unwrap();
    cluster.lab().cable(3).plug().unwrap();
    cluster.wait_whole(PATIENCE).unwrap();
    assert_one_configuration(&cluster);
}

/// Every node has the first configuration with all three as voters.
fn assert_one_configuration(cluster: &Cluster) {
    for node in 1..=3 {
        let status = cluster.status(node).unwrap();
        assert_eq!((status.epoch, status.voters()), (1, vec![1, 2, 3]), "{status:?}");
    }
}
