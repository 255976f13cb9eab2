//! Groups with a virtual MAC address: neighbours never change their entry, and the switch follows the holder.

use anyhow::Result;
use vip_tests::{cluster::Cluster, lab::DaemonOptions, net::command_in, traces::Traces, wait};

use crate::{
    PATIENCE,
    cluster::{
        announcements::neighbour_entry,
        handover::{assert_done, hand_over},
        watch::Watch,
    },
    others, three_with, with_long_leases,
};

/// What IEEE 802c has administrators assign.
const ASSIGNED: &str = "72:";

#[test]
fn the_clients_entry_stays_while_the_vip_moves_and_nothing_is_left_at_the_end() {
    let mut cluster = Cluster::prepare(3, |_| virtual_mac()).unwrap();
    let before: Vec<Traces> = (1..=3).map(|node| Traces::of(cluster.lab(), node).unwrap()).collect();
    (1..=3).for_each(|node| cluster.restart(node).unwrap());
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let entry = wait_entry(&cluster);
    for node in 1..=3 {
        assert!(taken_in(&cluster, node).unwrap().contains(&entry), "node {node} does not take in {entry}");
    }

    let next = others(holder)[0];
    assert_done(&hand_over(&cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
    watch.wait_served(|node| node == next);
    assert_eq!(wait_entry(&cluster), entry);

    cluster.daemon(next).unwrap().kill().unwrap();
    let successor = watch.wait_served(|node| node != next);
    assert_eq!(wait_entry(&cluster), entry);
    cluster.restart(next).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(next, successor);

    for (node, before) in (1..=3).zip(before) {
        assert!(cluster.daemon(node).unwrap().terminate().unwrap().success());
        assert_eq!(Traces::of(cluster.lab(), node).unwrap(), before, "node {node}");
        assert!(!taken_in(&cluster, node).unwrap().contains(&entry), "node {node} still takes in {entry}");
    }
}

/// Leases that had run out, or frames that went to the wrong port, would cost more.
#[test]
fn a_handover_costs_next_to_nothing() {
    let (cluster, mut holder) = three_with(&virtual_mac());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for _ in 0..4 {
        let next = others(holder)[0];
        assert_done(&hand_over(&cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
        watch.wait_served(|node| node == next);
        holder = next;
    }
    let gap = watch.finish();
    assert!(gap < virtual_mac().lease / 4, "{gap:?}");
}

fn virtual_mac() -> DaemonOptions {
    DaemonOptions { more_of_group: "virtual_mac = true\n".to_owned(), ..with_long_leases() }
}

/// The MAC address that the client has for the VIP: a virtual one.
fn wait_entry(cluster: &Cluster) -> String {
    let entry = || Ok(neighbour_entry(cluster)?.filter(|mac| mac.starts_with(ASSIGNED)));
    wait::until("the client to have the VIP at a virtual address", PATIENCE, entry).unwrap()
}

/// The MAC addresses that a node's interface takes in beside its own.
fn taken_in(cluster: &Cluster, node: u8) -> Result<Vec<String>> {
    let mut command = command_in(&cluster.lab().node_netns(node), "bridge")?;
    let output = command.args(["-json", "fdb", "show", "dev", "eth0"]).output()?;
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    Ok(entries.iter().filter_map(|entry| Some(entry["mac"].as_str()?.to_owned())).collect())
}
