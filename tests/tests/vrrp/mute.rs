//! A router whose adverts cannot be sent, and a node that cannot hear those of others.

use vip_tests::{
    cluster::{Cluster, Status},
    lab::DaemonOptions,
    net, wait,
};

use super::case::{Case, Program, wait_state};
use crate::PATIENCE;

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

/// Input: a group of the lease that heeds a virtual router, on a node that may not join its multicast group; then it may. Expected:
/// to have heard nothing says nothing, so it stands back; then it listens, and serves.
#[test]
fn who_cannot_hear_a_virtual_router_stands_back_until_it_can() {
    let mut cluster = Cluster::prepare(1, |_| DaemonOptions {
        expect: 1,
        peers: vec!["10.77.0.2".parse().unwrap()],
        more_of_group: "vrid = 77\nadvert_interval = \"100ms\"\n".to_owned(),
        ..DaemonOptions::default()
    })
    .unwrap();
    allow_memberships(&cluster, 0);
    cluster.restart(1).unwrap();
    wait::until_calmly("a word about it", PATIENCE, || {
        let log = cluster.daemon(1)?.log();
        Ok(log.contains("not heard, and so this node stands back: joining 224.0.0.18").then_some(()))
    })
    .unwrap();
    let status = cluster.wait_status(1, "to have formed", PATIENCE, |status| status.voters().len() == 1);
    assert_eq!(status.unwrap().groups[0].state, "backup");
    allow_memberships(&cluster, 20);
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
}

fn allow_memberships(cluster: &Cluster, most: u8) {
    let mut command = cluster.lab().command(1, "sysctl").unwrap();
    net::run(command.args(["-q", &format!("net.ipv4.igmp_max_memberships={most}")])).unwrap();
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
