//! A router whose adverts cannot be sent.

use vip_tests::{cluster::Cluster, net};

use super::case::{Case, Program, wait_state};

#[test]
fn one_whose_adverts_cannot_be_sent_is_at_fault_until_they_can() {
    let case = Case::with(Program::Keepalived);
    let mut cluster = case.cluster(2, 150);
    let other = case.start(&cluster, 2);
    other.wait_state("master");
    // From its start on.
    hold_adverts_back(&cluster);
    cluster.restart(1).unwrap();
    wait_state(&cluster, 1, "fault");
    let said = cluster.daemon(1).unwrap().log();
    assert!(
        said.contains("this node cannot be master: adverts of virtual router 77 cannot be sent: "),
        "{said}"
    );
    assert_eq!(other.state(), "master");
    assert!(!said.contains("this node is master now"), "{said}");
    let_adverts_go(&cluster);
    wait_state(&cluster, 1, "master");
    other.wait_state("backup");
    case.wait_reached(&cluster);
    // While it is master.
    hold_adverts_back(&cluster);
    wait_state(&cluster, 1, "fault");
    other.wait_state("master");
    // It is no fault of one that is not to be master.
    assert!(cluster.order(1, &["maintenance", "on"]).unwrap().status.success());
    wait_state(&cluster, 1, "maintenance");
    assert!(cluster.order(1, &["maintenance", "off"]).unwrap().status.success());
    wait_state(&cluster, 1, "fault");
    let_adverts_go(&cluster);
    wait_state(&cluster, 1, "master");
    other.wait_state("backup");
}

/// The queue before the interface has no room: the kernel refuses what is to be sent. (Answers of XDP pass it by.)
fn hold_adverts_back(cluster: &Cluster) {
    tc(cluster, "qdisc add dev eth0 root pfifo limit 0");
}

fn let_adverts_go(cluster: &Cluster) {
    tc(cluster, "qdisc delete dev eth0 root");
}

fn tc(cluster: &Cluster, arguments: &str) {
    let mut command = cluster.lab().command(1, "tc").unwrap();
    net::run(command.args(arguments.split(' '))).unwrap();
}
