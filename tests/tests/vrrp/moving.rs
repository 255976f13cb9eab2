//! A running pair of keepalived is moved over node by node, and then from VRRP to the lease: the way that docs/FROM-KEEPALIVED.md has.

use std::time::Duration;

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP},
    prober::{Prober, ProberOptions},
};

use super::keepalived::Keepalived;
use crate::PATIENCE;

const VRRP: &str = "protocol = \"vrrp\"\nvrid = 77\nadvert_interval = \"100ms\"\nvirtual_mac = false\n";
const LEASE: &str = "vrid = 77\nadvert_interval = \"100ms\"\n";

#[test]
fn a_pair_is_moved_by_vrrp_and_then_to_the_lease() {
    let mut cluster = Cluster::prepare(3, |node| DaemonOptions {
        more_of_group: VRRP.to_owned(),
        priority: if node == 3 { 0 } else { 100 },
        ..DaemonOptions::default()
    })
    .unwrap();
    cluster.options(3).unwrap().more_of_group = LEASE.to_owned();
    let keepalived = |cluster: &Cluster, node: u8, priority: u8| {
        let instance = format!("priority {priority}\nadvert_int 0.1\nnopreempt");
        Keepalived::start(cluster.lab(), node, "vrrp_version 3", &instance, &[format!("{VIP}/24")])
    };
    let first = keepalived(&cluster, 1, 150);
    first.wait_state("master");
    let second = keepalived(&cluster, 2, 100);
    second.wait_state("backup");
    let options = ProberOptions { limit: Duration::from_secs(240), rate: 1000, ..ProberOptions::default() };
    let prober = Prober::start(cluster.lab(), &options).unwrap();

    // The backup first: nothing changes for clients.
    second.stop();
    cluster.restart(2).unwrap();
    wait(&cluster, 2, "backup");
    // Then the active one: one failover.
    first.stop();
    wait(&cluster, 2, "master");
    cluster.restart(1).unwrap();
    wait(&cluster, 1, "backup");
    // The witness, and the backup again: they have a quorum, and stand back while the other one advertises.
    cluster.restart(3).unwrap();
    reload(&mut cluster, 1);
    cluster
        .wait_status(1, "to have voters, and stand back", PATIENCE, |status| {
            status.voters().len() == 3 && status.groups[0].state == "backup"
        })
        .unwrap();
    assert!(cluster.status(2).unwrap().is_master());
    // The active one last: its last advert lets the quorum elect.
    reload(&mut cluster, 2);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(holder, 1, "node 2 listens first");
    wait(&cluster, 2, "backup");

    let report = prober.finish();
    let longest = report.outages.iter().map(|outage| outage.duration).max().unwrap_or_default();
    println!("longest outage {longest:?} of {}", report.outages.len());
    assert!(longest < Duration::from_secs(5), "{report:#?}");
}

fn reload(cluster: &mut Cluster, node: u8) {
    cluster.options(node).unwrap().more_of_group = LEASE.to_owned();
    cluster.write_config(node).unwrap();
    let output = cluster.order(node, &["reload"]).unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn wait(cluster: &Cluster, node: u8, state: &str) {
    cluster.wait_status(node, state, PATIENCE, |status| status.groups[0].state == state).unwrap();
}
