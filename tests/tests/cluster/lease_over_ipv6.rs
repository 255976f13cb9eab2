//! Nodes that talk IPv6 to each other, by a multicast group or by a list; what they serve is of either version.

use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::{DaemonOptions, VIP6},
    net::ip,
};

use crate::{
    PATIENCE,
    cluster::{
        ipv6::{started_with_ipv6, wait_neighbour, wait_ping},
        watch::Watch,
    },
};

/// Expected: the nodes are at the addresses that the kernel gives them for the link, and wait until these can be used.
#[test]
fn nodes_find_each_other_by_an_ipv6_group_and_fail_over() {
    let group_address = Some("[ff02::5680]:5680".to_owned());
    let options = DaemonOptions { group_address, ..DaemonOptions::default() };
    let mut cluster = started_with_ipv6(|_| options.clone());
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    for address in addresses(&cluster, holder) {
        assert!(address.starts_with("fe80::"), "{address}");
    }
    fails_over_and_hands_over(&mut cluster, holder);
}

/// Input: one of the nodes, a witness, has no XDP, and answers lease messages itself.
#[test]
fn nodes_with_a_list_of_ipv6_peers_fail_over() {
    let peers = ["fd77::1", "fd77::2", "fd77::3"].map(|peer| peer.parse().unwrap()).to_vec();
    let options = DaemonOptions { peers, ..DaemonOptions::default() };
    let without_xdp =
        DaemonOptions { priority: 0, args: vec!["--xdp".to_owned(), "off".to_owned()], ..options.clone() };
    let mut cluster = started_with_ipv6(|node| if node == 3 { without_xdp.clone() } else { options.clone() });
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(addresses(&cluster, holder), ["fd77::1", "fd77::2", "fd77::3"]);
    fails_over_and_hands_over(&mut cluster, holder);
}

/// Input: interfaces without an address of IPv4, and an IPv6 VIP alone.
#[test]
fn nodes_without_ipv4_serve_ipv6() {
    let group_address = Some("[ff05::5680]:5680".to_owned());
    let vips = vec![format!("{VIP6}/64")];
    let options = DaemonOptions { group_address, vips, ..DaemonOptions::default() };
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    cluster.lab().add_ipv6().unwrap();
    for node in 1..=3 {
        ip(&cluster.lab().node_netns(node), &["-4", "address", "flush", "dev", "eth0"]).unwrap();
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(addresses(&cluster, holder), ["fd77::1", "fd77::2", "fd77::3"]);
    wait_ping(&cluster);
    wait_neighbour(&cluster, holder);
    cluster.daemon(holder).unwrap().kill().unwrap();
    let (other, name) = (holder % 3 + 1, format!("lb{holder}"));
    let took_over = |status: &Status| status.groups[0].holder.as_ref().is_some_and(|holder| *holder != name);
    cluster.wait_status(other, "to see another holder", PATIENCE, took_over).unwrap();
    cluster.restart(holder).unwrap();
    let successor = cluster.wait_whole(PATIENCE).unwrap();
    assert_ne!(successor, holder);
    wait_neighbour(&cluster, successor);
    wait_ping(&cluster);
}

/// The members' addresses, as a node shows them.
fn addresses(cluster: &Cluster, node: u8) -> Vec<String> {
    let status = cluster.status(node).unwrap();
    let mut members = status.members;
    members.sort_by_key(|member| member.id);
    members.into_iter().map(|member| member.address).collect()
}

fn fails_over_and_hands_over(cluster: &mut Cluster, holder: u8) {
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    let asked = Stamp::now();
    assert!(cluster.daemon(successor.node).unwrap().terminate().unwrap().success());
    watch.wait_served_after(asked, |node| node != successor.node);
    watch.finish();
}
