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
fn a_fourth_node_that_starts_later_neither_votes_nor_holds() {
    // The fourth would be the fittest of all.
    let options = |node| DaemonOptions { priority: if node == 4 { 200 } else { 100 }, ..Default::default() };
    let mut cluster = Cluster::prepare(4, options).unwrap();
    for node in [1, 2, 3] {
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    cluster.restart(4).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    for node in 1..=4 {
        let what = "three voters without the fourth node";
        cluster.wait_status(node, what, PATIENCE, |status| status.voters() == [1, 2, 3]).unwrap();
    }

    cluster.daemon(holder).unwrap().terminate().unwrap();
    let successor = watch.wait_served(&cluster, |node| node != holder);
    assert_ne!(successor.node, 4);
    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    assert!(!watch.was_served_by(4, successor.sent));
    assert!(!cluster.daemon(4).unwrap().log().contains("this node is master"));
    watch.finish();
}

/// Every node has the first configuration with all three as voters.
fn assert_one_configuration(cluster: &Cluster) {
    for node in 1..=3 {
        let status = cluster.status(node).unwrap();
        assert_eq!((status.epoch, status.voters()), (1, vec![1, 2, 3]), "{status:?}");
    }
}
