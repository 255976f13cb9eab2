//! Interfaces that are not a card's: the VIP is served there, and fails over, in the best mode that works.

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Stack},
};

use crate::{
    PATIENCE,
    cluster::{
        handover::{assert_done, hand_over},
        watch::Watch,
    },
    others, with_long_leases,
};

#[test]
fn a_vip_on_a_vlan_is_served_and_fails_over() {
    serves_and_fails_over(Stack::Vlan, "generic");
}

#[test]
fn a_vip_on_a_bond_is_served_and_fails_over() {
    serves_and_fails_over(Stack::Bond, "generic");
}

#[test]
fn a_vip_on_a_macvlan_is_served_and_fails_over() {
    serves_and_fails_over(Stack::Macvlan, "generic");
}

#[test]
fn a_vip_on_the_parent_of_a_macvlan_is_served_and_fails_over() {
    serves_and_fails_over(Stack::MacvlanParent, "native");
}

/// Input: one cluster on a VLAN, a bond and a macvlan. Expected: each of them serves, in the mode that auto finds, and
/// without XDP; and another one when the holder ends.
#[test]
fn a_vip_moves_from_a_vlan_to_a_bond_and_a_macvlan() {
    let kinds = [(1, Stack::Vlan, "generic"), (2, Stack::Bond, "generic"), (3, Stack::Macvlan, "generic")];
    for mode in ["auto", "off"] {
        let args = vec!["--xdp".to_owned(), mode.to_owned()];
        let mut cluster =
            Cluster::prepare(3, |_| DaemonOptions { args: args.clone(), ..with_long_leases() }).unwrap();
        for (node, kind, _) in kinds {
            if let Err(reason) = cluster.lab().stack(node, kind).unwrap() {
                return println!("skipped: {reason}");
            }
        }
        (1..=3).for_each(|node| cluster.restart(node).unwrap());
        let first = cluster.wait_whole(PATIENCE).unwrap();
        for (node, _, best) in kinds {
            let expected = if mode == "off" { "off" } else { best };
            assert_eq!(cluster.status(node).unwrap().xdp, expected, "node {node}");
        }

        let watch = Watch::start(cluster.lab());
        let mut holder = first;
        for next in others(first).into_iter().chain([first]) {
            watch.wait_served(|node| node == holder);
            assert_done(&hand_over(&cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
            holder = next;
        }
        watch.wait_served(|node| node == first);
        assert!(cluster.daemon(first).unwrap().terminate().unwrap().success());
        let successor = watch.wait_served(|node| node != first);
        watch.finish_after_takeover(first, successor);
    }
}

/// Frames to all stations would come in by the parent, past the program.
#[test]
fn a_macvlan_beside_its_parent_is_refused_with_xdp_and_the_parents_name() {
    let options = DaemonOptions { expect: 1, ..DaemonOptions::default() };
    let mut cluster = Cluster::prepare(1, |_| options.clone()).unwrap();
    if let Err(reason) = cluster.lab().stack(1, Stack::MacvlanBesideParent).unwrap() {
        return println!("skipped: {reason}");
    }
    cluster.restart(1).unwrap();
    let daemon = cluster.daemon(1).unwrap();
    assert_eq!(daemon.wait_exit(PATIENCE).unwrap().code(), Some(78), "{}", daemon.log_tail());
    assert!(daemon.log().contains("serve lower itself, or set node.xdp to off"), "{}", daemon.log_tail());
}

/// Input: three nodes on such interfaces, and one that dies. Expected: the mode that auto finds, with a
/// reason if it is not the best one; and the same service without XDP.
fn serves_and_fails_over(kind: Stack, best: &str) {
    for mode in ["auto", "off"] {
        let args = vec!["--xdp".to_owned(), mode.to_owned()];
        let mut cluster =
            Cluster::prepare(3, |_| DaemonOptions { args: args.clone(), ..with_long_leases() }).unwrap();
        for node in 1..=3 {
            if let Err(reason) = cluster.lab().stack(node, kind).unwrap() {
                return println!("skipped: {reason}");
            }
        }
        (1..=3).for_each(|node| cluster.restart(node).unwrap());
        let victim = cluster.wait_whole(PATIENCE).unwrap();
        let status = cluster.daemon(victim).unwrap().status().unwrap();
        let expected = if mode == "off" { "off" } else { best };
        assert_eq!(status["xdp"], expected, "{status}");
        assert_eq!(status["xdp_reason"].is_null(), expected == "native", "{status}");

        let watch = Watch::start(cluster.lab());
        watch.wait_served(|node| node == victim);
        assert!(cluster.daemon(victim).unwrap().terminate().unwrap().success());
        let successor = watch.wait_served(|node| node != victim);
        cluster.restart(victim).unwrap();
        assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
        watch.finish_after_takeover(victim, successor);
    }
}
