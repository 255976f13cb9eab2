//! Two voters with `cluster.pair`: the one that is left serves while the gateway answers, and no longer.
//!
//! Leases are long enough for a busy machine; a gateway is one more address of the client.

use std::time::Duration;

use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
    net,
};

use crate::{PATIENCE, cluster::watch::Watch, with_long_leases};

const GATEWAY: &str = "10.77.0.254";

#[test]
fn when_the_holder_of_a_pair_dies_the_other_node_serves_and_gives_up_that_right_when_it_is_back() {
    let (mut cluster, holder) = pair();
    let other = other(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let broken = Stamp::now();
    cluster.lab().cable(holder).pull().unwrap();
    let successor = watch.wait_served_after(broken, |node| node == other);
    wait_alone(&cluster, other, true);
    let text = cluster.order(other, &["status"]).unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let warning = format!("ALONE: this node serves without lb{holder}'s vote while {GATEWAY} answers");
    assert!(text.contains(&warning), "{text}");
    assert!(cluster.daemon(other).unwrap().log().contains("ALONE: nothing is heard of"));
    assert!(!is_alone(&cluster.status(holder).unwrap()));

    cluster.lab().cable(holder).plug().unwrap();
    wait_alone(&cluster, other, false);
    cluster.wait_whole(PATIENCE).unwrap();
    watch.wait_served(|_| true);
    watch.finish();
    assert_eq!(successor.node, other);
}

#[test]
fn when_the_backup_of_a_pair_dies_the_holder_goes_on_without_a_gap() {
    let (cluster, holder) = pair();
    let backup = other(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap().groups[0].transitions;
    cluster.lab().cable(backup).pull().unwrap();
    wait_alone(&cluster, holder, true);
    watch.let_it_ask();
    cluster.lab().cable(backup).plug().unwrap();
    wait_alone(&cluster, holder, false);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    let status = cluster.status(holder).unwrap();
    assert_eq!(status.groups[0].transitions, before);
    let outage = watch.finish();
    assert!(outage < Duration::from_millis(300), "{outage:?}");
}

#[test]
fn a_holder_of_a_pair_that_is_told_to_stop_hands_over_and_the_other_node_goes_on_without_a_gap() {
    let (mut cluster, holder) = pair();
    let other = other(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    cluster.daemon(holder).unwrap().terminate().unwrap();
    watch.wait_served(|node| node == other);
    wait_alone(&cluster, other, true);
    cluster.restart(holder).unwrap();
    wait_alone(&cluster, other, false);
    cluster.wait_whole(PATIENCE).unwrap();
    let outage = watch.finish();
    assert!(outage < Duration::from_millis(300), "{outage:?}");
}

#[test]
fn a_survivor_of_a_pair_that_loses_the_gateway_falls_silent_and_serves_when_that_is_back() {
    let (cluster, holder) = pair();
    let watch = Watch::start(cluster.lab());
    cluster.lab().cable(other(holder)).pull().unwrap();
    wait_alone(&cluster, holder, true);
    watch.wait_served(|node| node == holder);
    gateway(&cluster, "del");
    watch.wait_silent();
    let status = wait_alone(&cluster, holder, false);
    assert_eq!(status.pair.unwrap().answers, Some(false));
    gateway(&cluster, "add");
    wait_alone(&cluster, holder, true);
    watch.wait_served(|node| node == holder);
    watch.finish();
}

#[test]
fn of_a_pair_cut_in_two_the_side_with_the_gateway_serves() {
    let (cluster, holder) = pair();
    for cut in [holder, other(holder)] {
        let watch = Watch::start(cluster.lab());
        watch.wait_served(|_| true);
        // Its switch has lost the way to all others, and the node sees no fault in its cable.
        port(&cluster, cut, &["nomaster"]);
        let broken = Stamp::now();
        watch.wait_served_after(broken, |node| node != cut);
        wait_alone(&cluster, other(cut), true);
        let has_none = |status: &Status| status.pair.as_ref().is_some_and(|pair| pair.answers == Some(false));
        let status = cluster.wait_status(cut, "to ask in vain", PATIENCE, has_none).unwrap();
        assert!(!is_alone(&status), "{status:?}");
        watch.let_it_ask();
        assert!(!cluster.status(cut).unwrap().is_master());
        port(&cluster, cut, &["master", "br0"]);
        for node in [1, 2] {
            wait_alone(&cluster, node, false);
        }
        cluster.wait_whole(PATIENCE).unwrap();
        watch.finish();
    }
}

/// Input: a switch that lets each node reach the gateway, and not the other node: what pair mode cannot bear. Expected: it ends
/// when they hear each other again.
#[test]
fn where_the_gateway_answers_both_sides_of_a_cut_one_gives_way_when_they_hear_each_other() {
    let (cluster, _) = pair();
    for isolated in ["on", "off"] {
        for node in [1, 2] {
            port(&cluster, node, &["type", "bridge_slave", "isolated", isolated]);
        }
        for node in [1, 2] {
            wait_alone(&cluster, node, isolated == "on");
        }
    }
    cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|_| true);
    watch.let_it_ask();
    watch.finish();
}

#[test]
fn a_node_of_a_pair_that_starts_by_itself_serves_by_the_configuration_on_its_disk() {
    let (mut cluster, _) = pair();
    for node in [1, 2] {
        cluster.daemon(node).unwrap().terminate().unwrap();
    }
    let watch = Watch::start(cluster.lab());
    cluster.restart(1).unwrap();
    watch.wait_served(|node| node == 1);
    wait_alone(&cluster, 1, true);
    cluster.restart(2).unwrap();
    wait_alone(&cluster, 1, false);
    cluster.wait_whole(PATIENCE).unwrap();
    watch.finish();
}

#[test]
fn without_xdp_a_pair_does_the_same() {
    let (mut cluster, holder) = pair_with("xdp = \"off\"");
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().terminate().unwrap();
    watch.wait_served_after(broken, |node| node != holder);
    wait_alone(&cluster, other(holder), true);
    cluster.restart(holder).unwrap();
    wait_alone(&cluster, other(holder), false);
    cluster.wait_whole(PATIENCE).unwrap();
    watch.finish();
}

#[test]
fn a_third_voter_ends_pair_mode() {
    let cluster = Cluster::start(3, &options("")).unwrap();
    with_gateway(&cluster);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for node in (1..=3).filter(|node| *node != holder) {
        cluster.lab().cable(node).pull().unwrap();
    }
    watch.wait_silent();
    let status = cluster.status(holder).unwrap();
    assert!(!is_alone(&status) && status.pair.unwrap().answers.is_none());
    watch.finish();
}

/// Two nodes with a gateway, whole; and who holds.
fn pair() -> (Cluster, u8) {
    pair_with("")
}

fn pair_with(more_of_node: &str) -> (Cluster, u8) {
    let cluster = Cluster::start(2, &options(more_of_node)).unwrap();
    with_gateway(&cluster);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let status = cluster.status(holder).unwrap().pair.unwrap();
    assert_eq!((status.gateway.as_str(), status.alone), (GATEWAY, false));
    (cluster, holder)
}

fn options(more_of_node: &str) -> DaemonOptions {
    let more_of_cluster = format!("pair = {GATEWAY:?}");
    DaemonOptions { more_of_cluster, more_of_node: more_of_node.to_owned(), ..with_long_leases() }
}

fn with_gateway(cluster: &Cluster) {
    gateway(cluster, "add");
}

fn gateway(cluster: &Cluster, what: &str) {
    let address = format!("{GATEWAY}/24");
    net::ip(&cluster.lab().client_netns(), &["address", what, &address, "dev", "eth0"]).unwrap();
}

fn port(cluster: &Cluster, node: u8, state: &[&str]) {
    let port = cluster.lab().port(node);
    net::ip(&cluster.lab().switch_netns(), &[&["link", "set", "dev", &port], state].concat()).unwrap();
}

fn wait_alone(cluster: &Cluster, node: u8, alone: bool) -> Status {
    let what = format!("to be alone: {alone}");
    cluster.wait_status(node, &what, PATIENCE, |status| is_alone(status) == alone).unwrap()
}

fn is_alone(status: &Status) -> bool {
    status.pair.as_ref().is_some_and(|pair| pair.alone)
}

fn other(node: u8) -> u8 {
    3 - node
}
