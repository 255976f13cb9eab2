//! How nodes reach each other, and whom they believe.

use vip_tests::{clock::Stamp, cluster::Cluster, lab::DaemonOptions};

use crate::{PATIENCE, cluster::watch::Watch, three_with};

#[test]
fn nodes_with_a_list_of_peers_form_a_cluster_and_fail_over() {
    // The list has the node's own address as well, so that all nodes can have the same file.
    let peers = [1, 2, 3].map(|node| std::net::IpAddr::from([10, 77, 0, node])).to_vec();
    let (mut cluster, holder) = three_with(&DaemonOptions { peers, ..DaemonOptions::default() });
    let watch = Watch::start(cluster.lab());
    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn a_cluster_without_a_key_works_and_says_that_it_is_insecure() {
    let (cluster, holder) = three_with(&DaemonOptions { insecure: true, ..DaemonOptions::default() });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    watch.finish();
    for node in 1..=3 {
        assert!(cluster.status(node).unwrap().insecure);
    }
}

#[test]
fn a_cluster_with_a_key_does_not_say_that_it_is_insecure() {
    let (cluster, _) = crate::three_whole();
    assert!(!cluster.status(1).unwrap().insecure);
}

#[test]
fn a_node_with_another_key_is_not_heard_and_cannot_join() {
    let other_key = "ffeeddccbbaa99887766554433221100\n".to_owned();
    let mut cluster = Cluster::prepare(4, |_| DaemonOptions::default()).unwrap();
    cluster.options(4).unwrap().key = other_key;
    for node in [1, 2, 3] {
        cluster.restart(node).unwrap();
    }
    cluster.wait_whole(PATIENCE).unwrap();
    let rejected = |node| cluster.status(node).unwrap().counters["rejected"];
    let before = [1, 2, 3].map(rejected);
    cluster.restart(4).unwrap();

    for (node, before) in [1, 2, 3].into_iter().zip(before) {
        let more = |status: &vip_tests::cluster::Status| status.counters["rejected"] > before + 10;
        let status = cluster.wait_status(node, "to reject messages", PATIENCE, more).unwrap();
        assert!(status.members.iter().all(|member| member.id != 4), "{status:?}");
    }
    let stranger =
        cluster.wait_status(4, "to reject messages", PATIENCE, |status| status.counters["rejected"] > 10);
    let stranger = stranger.unwrap();
    assert_eq!((stranger.epoch, stranger.members.len()), (0, 1), "{stranger:?}");
    cluster.wait_whole_among(&[1, 2, 3], PATIENCE).unwrap();
}
