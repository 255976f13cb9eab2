//! Nodes that cannot hear each other: only a majority serves, and a holder without one stops by itself.

use vip_tests::cluster::Cluster;

use crate::{PATIENCE, cluster::watch::Watch, others, three_whole};

#[test]
fn a_holder_that_only_the_client_hears_stops_answering_by_itself() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);

    for node in others(holder) {
        cluster.lab().cable(node).pull().unwrap();
    }
    watch.wait_silent();
    assert!(cluster.daemon(holder).unwrap().is_running().unwrap());
    let status = cluster.status(holder).unwrap();
    assert!(!status.is_master() && status.groups[0].holder.is_none(), "{status:?}");

    for node in others(holder) {
        cluster.lab().cable(node).plug().unwrap();
    }
    cluster.wait_whole(PATIENCE).unwrap();
    watch.wait_served(|_| true);
    watch.finish();
}

#[test]
fn one_of_three_never_becomes_master_and_two_do() {
    let (cluster, holder) = three_whole();
    let [alone, second] = others(holder);
    let watch = Watch::start(cluster.lab());
    for node in [holder, second] {
        cluster.lab().cable(node).pull().unwrap();
    }

    // It asks for the lease, in vain.
    cluster.wait_status(alone, "to stand", PATIENCE, |status| status.groups[0].state == "candidate").unwrap();
    watch.wait_silent();
    let transitions = cluster.status(alone).unwrap().groups[0].transitions;
    watch.let_it_ask();
    let status = cluster.status(alone).unwrap();
    assert!(!status.is_master(), "{status:?}");
    assert_eq!(status.groups[0].transitions, transitions, "it was never master in between: {status:?}");

    cluster.lab().cable(second).plug().unwrap();
    let served = watch.wait_served(|node| node == alone || node == second);
    assert_eq!(cluster.wait_whole_among(&[alone, second], PATIENCE).unwrap(), served.node);
    watch.finish();
}

#[test]
fn a_witness_gives_its_vote_to_others_and_never_holds() {
    let (mut cluster, holder, witness) = with_a_witness();
    let watch = Watch::start(cluster.lab());
    cluster.lab().cable(holder).pull().unwrap();
    let third = others(holder).into_iter().find(|node| *node != witness).unwrap();
    watch.wait_served(|node| node == third);
    cluster.lab().cable(holder).plug().unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), third);

    // Input: both other daemons hang, while their data planes vote. Expected: the witness could be elected, and is not.
    for node in others(witness) {
        cluster.daemon(node).unwrap().stop().unwrap();
    }
    watch.wait_silent();
    assert_eq!(cluster.status(witness).unwrap().groups[0].state, "witness");
    for node in others(witness) {
        cluster.daemon(node).unwrap().cont().unwrap();
    }
    assert_ne!(cluster.wait_whole(PATIENCE).unwrap(), witness);
    watch.finish();
}

/// Three nodes, the third of priority 0: the cluster, who holds, and the witness.
fn with_a_witness() -> (Cluster, u8, u8) {
    let witness = 3;
    let cluster = Cluster::start_each(3, |node| vip_tests::lab::DaemonOptions {
        priority: if node == witness { 0 } else { 100 },
        ..Default::default()
    })
    .unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(cluster.status(witness).unwrap().groups[0].state, "witness");
    (cluster, holder, witness)
}
