//! Many groups under one configuration, each with a lease and a holder of its own.

use std::fmt::Write as _;

use vip_tests::{
    cluster::{Cluster, Status},
    lab::DaemonOptions,
};

use crate::{PATIENCE, with_long_leases};

/// As many as a configuration may have; the lab's own one, "web", is the first.
const GROUPS: u8 = 64;
const NODES: u8 = 3;

/// Input: groups that each prefer one of the nodes. Expected: each is served by the node that it prefers; and when a node
/// dies, its groups go to the others, and theirs stay where they are.
#[test]
fn sixty_four_groups_share_the_nodes_and_those_of_a_dead_node_move() {
    let mut cluster = Cluster::start_each(NODES, options).unwrap();
    for node in 1..=NODES {
        let has_its_share =
            |status: &Status| (0..GROUPS).all(|group| holds(status, group) == (prefers(group) == node));
        cluster.wait_status(node, "to hold its share", PATIENCE, has_its_share).unwrap();
    }
    let before: Vec<Status> = [2, 3].map(|node| cluster.status(node).unwrap()).into();

    cluster.daemon(1).unwrap().kill().unwrap();
    let all_held = |status: &Status| {
        status.groups.iter().all(|group| matches!(group.holder.as_deref(), Some("lb2" | "lb3")))
    };
    for node in [2, 3] {
        cluster.wait_status(node, "to see all groups held by the living", PATIENCE, all_held).unwrap();
    }
    for (node, before) in [2, 3].into_iter().zip(before) {
        let now = cluster.status(node).unwrap();
        for group in (0..GROUPS).filter(|group| prefers(*group) == node) {
            let lease = |status: &Status| {
                let group = &status.groups[usize::from(group)];
                (group.state.clone(), group.ballot.clone(), group.transitions)
            };
            assert_eq!(lease(&now), lease(&before), "group {group} of node {node}");
        }
    }
}

/// The node of the highest priority in a group.
fn prefers(group: u8) -> u8 {
    1 + group % NODES
}

fn holds(status: &Status, group: u8) -> bool {
    status.groups[usize::from(group)].state == "master"
}

fn options(node: u8) -> DaemonOptions {
    let priority = |group: u8| if prefers(group) == node { 150 } else { 100 };
    let mut more = format!("priority = {}\npreempt = true\npreempt_delay = \"0s\"\n", priority(0));
    for group in 1..GROUPS {
        // Writing to a string does not fail.
        let _ = write!(
            more,
            "\n[[group]]\nname = \"g{group}\"\nvips = [\"10.77.2.{group}/24\"]\npriority = {}\npreempt = true\n\
             preempt_delay = \"0s\"\n",
            priority(group)
        );
    }
    DaemonOptions { more_of_group: more, ..with_long_leases() }
}
