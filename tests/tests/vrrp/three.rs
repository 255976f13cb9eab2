//! Three routers of the same priority: there is always one master, whoever that is.

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP},
};

use super::keepalived::Keepalived;
use crate::PATIENCE;

#[test]
fn of_three_equals_the_next_takes_over_when_one_is_gone() {
    let group = "protocol = \"vrrp\"\nvrid = 77\nadvert_interval = \"100ms\"\nvirtual_mac = false\n";
    let options = DaemonOptions { more_of_group: group.to_owned(), ..DaemonOptions::default() };
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    // The highest address wins where two begin at once.
    let addresses = [format!("{VIP}/24")];
    let keepalived =
        Keepalived::start(cluster.lab(), 3, "vrrp_version 3", "priority 100\nadvert_int 0.1", &addresses);
    keepalived.wait_state("MASTER");
    for node in [1, 2] {
        cluster.restart(node).unwrap();
        // Equals are not preempted.
        wait_follows(&cluster, node, "10.77.0.3");
    }
    keepalived.stop();
    let master = wait_one_master(&cluster);
    let other = 3 - master;
    wait_follows(&cluster, other, &cluster.lab().address(master).to_string());
    let keepalived =
        Keepalived::start(cluster.lab(), 3, "vrrp_version 3", "priority 100\nadvert_int 0.1", &addresses);
    cluster.daemon(master).unwrap().kill().unwrap();
    // Whichever of the two: the other one follows.
    cluster
        .wait_status(other, "part", PATIENCE, |status| {
            let log = keepalived.log();
            let last = log.rsplit("Entering ").next().unwrap_or_default().to_owned();
            match status.groups[0].state.as_str() {
                "master" => last.starts_with("BACKUP"),
                "backup" => last.starts_with("MASTER"),
                _ => false,
            }
        })
        .unwrap();
    assert_eq!(keepalived.complaints(), [""; 0]);
}

fn wait_one_master(cluster: &Cluster) -> u8 {
    let is_master = |node| cluster.status(node).unwrap().is_master();
    let one = |_: &_| is_master(1) != is_master(2);
    cluster.wait_status(1, "one master", PATIENCE, one).unwrap();
    if is_master(1) { 1 } else { 2 }
}

fn wait_follows(cluster: &Cluster, node: u8, master: &str) {
    cluster
        .wait_status(node, "to follow", PATIENCE, |status| {
            let group = &status.groups[0];
            group.state == "backup" && group.holder.as_deref() == Some(master)
        })
        .unwrap();
}
