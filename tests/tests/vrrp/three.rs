//! Three routers of the same priority: there is always one master, whoever that is.

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP},
    wait,
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
    keepalived.wait_state("master");
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
            matches!(
                (status.groups[0].state.as_str(), keepalived.state().as_str()),
                ("master", "backup") | ("backup", "master")
            )
        })
        .unwrap();
    assert_eq!(keepalived.complaints(), [""; 0]);
}

fn wait_one_master(cluster: &Cluster) -> u8 {
    let look = || {
        let is_master = [cluster.status(1)?.is_master(), cluster.status(2)?.is_master()];
        Ok(match is_master {
            [true, false] => Some(1),
            [false, true] => Some(2),
            _ => None,
        })
    };
    wait::until_calmly("one master", PATIENCE, look).unwrap()
}

fn wait_follows(cluster: &Cluster, node: u8, master: &str) {
    cluster
        .wait_status(node, "to follow", PATIENCE, |status| {
            let group = &status.groups[0];
            group.state == "backup" && group.holder.as_deref() == Some(master)
        })
        .unwrap();
}
