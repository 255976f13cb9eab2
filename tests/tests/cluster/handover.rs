//! An operator hands groups over: nobody goes without meanwhile, and what cannot be done is refused with the reason.

use std::{process::Output, time::Duration};

use vip_tests::{
    cluster::{Cluster, Status},
    lab::DaemonOptions,
};

use crate::{PATIENCE, cluster::watch::Watch, others, three_with, with_long_leases};

/// How often a lease goes from one node to the next.
const ROUNDS: usize = 12;
/// The node of [`with_a_witness`] that never holds.
const WITNESS: u8 = 3;

#[test]
fn a_lease_goes_from_node_to_node_and_the_client_is_served_by_one_all_the_time() {
    let (cluster, mut holder) = three_with(&with_long_leases());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for round in 0..ROUNDS {
        // There and back, and on to the third.
        let to = others(holder)[round / 2 % 2];
        assert_done(&hand_over(&cluster, holder, &["web", "--to", &format!("lb{to}")]), &[("web", to)]);
        assert!(!cluster.status(holder).unwrap().is_master());
        cluster.wait_status(to, "to know that it holds", PATIENCE, Status::is_master).unwrap();
        watch.wait_served(|node| node == to);
        holder = to;
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    let gap = watch.finish();
    // Leases that were waited for, or taken anew by an election, would cost more.
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

#[test]
fn with_the_shortest_leases_of_the_demo_a_handover_is_done_or_refused_and_never_serves_twice() {
    let options = DaemonOptions {
        interval: Duration::from_millis(1),
        lease: Duration::from_millis(5),
        ..DaemonOptions::default()
    };
    let (cluster, _) = three_with(&options);
    let watch = Watch::start(cluster.lab());
    let mut done = 0;
    for _ in 0..ROUNDS {
        // On a busy machine such a lease may lapse at any time, so that another node holds than was seen last.
        for node in 1..=3 {
            let output = hand_over(&cluster, node, &["web"]);
            let (text, code) = (said(&output), output.status.code());
            assert!(code == Some(0) && text.contains("holds it now") || code == Some(1), "{text}");
            done += usize::from(code == Some(0));
        }
    }
    assert!(done > 0);
    watch.wait_served(|_| true);
    watch.finish();
}

#[test]
fn all_groups_go_to_the_fittest_other_node_each() {
    // Input: node 3 is the next for "web", nodes 2 and 3 are equals for "api", and both were brought to node 1.
    let options = |node: u8| {
        let web = if node == 3 { 150 } else { 100 };
        let more = format!("priority = {web}\n\n[[group]]\nname = \"api\"\nvips = [\"10.77.0.101/24\"]\n");
        DaemonOptions { more_of_group: more, ..with_long_leases() }
    };
    let cluster = Cluster::start_each(3, options).unwrap();
    let settled = |status: &Status| {
        status.members.len() == 3 && status.groups.iter().all(|group| group.holder.is_some())
    };
    let status = cluster.wait_status(1, "holders", PATIENCE, settled).unwrap();
    for group in status.groups {
        let holder = [1, 2, 3].into_iter().find(|node| group.holder == Some(format!("lb{node}"))).unwrap();
        if holder != 1 {
            let output = hand_over(&cluster, holder, &[&group.name, "--to", "lb1"]);
            assert_done(&output, &[(&group.name, 1)]);
        }
    }
    let holds_both = |status: &Status| status.groups.iter().all(|group| group.state == "master");
    cluster.wait_status(1, "to know that it holds both", PATIENCE, holds_both).unwrap();
    assert_done(&hand_over(&cluster, 1, &[]), &[("web", 3), ("api", 2)]);
    let refused =
        "lb1 holds no group; run this command on the node that does: web is held by lb3, api is held by lb2";
    assert_refused(&hand_over(&cluster, 1, &[]), refused);
}

#[test]
fn what_cannot_be_handed_over_is_refused_with_the_reason_and_stays() {
    let (cluster, holder) = with_a_witness();
    let before = cluster.status(holder).unwrap();
    let me = format!("lb{holder}");
    let itself =
        format!("web: not handed over: {me} is this node: name another one, or none for the fittest");
    let elsewhere = format!("web: not handed over: {me} holds it; run this command there");
    let cases: [(u8, &[&str], &str); 6] = [
        (holder, &["db"], "there is no group \"db\"; there are: web"),
        (
            holder,
            &["--to", "lb9"],
            "web: not handed over: there is no node \"lb9\"; `vip-user members` lists the nodes",
        ),
        (holder, &["--to", &me], &itself),
        (
            holder,
            &["web", "--to", "lb3"],
            "web: not handed over: lb3 has priority 0 in this group, or cannot serve: see `vip-user status` there, or \
             choose another node",
        ),
        (WITNESS, &["web", "--to", "1"], &elsewhere),
        (
            WITNESS,
            &[],
            &format!("lb3 holds no group; run this command on the node that does: web is held by {me}"),
        ),
    ];
    for (node, arguments, reason) in cases {
        assert_refused(&hand_over(&cluster, node, arguments), reason);
    }
    assert_unchanged(&cluster, holder, &before);
}

#[test]
fn a_node_that_has_failed_is_refused_and_so_is_a_wish_that_nobody_can_fulfil() {
    let (cluster, holder) = with_a_witness();
    let gone = others(holder).into_iter().find(|node| *node != WITNESS).unwrap();
    let before = cluster.status(holder).unwrap();
    cluster.lab().cable(gone).pull().unwrap();
    let has_failed = |status: &Status| {
        status.members.iter().any(|member| member.id == u16::from(gone) && member.status == "failed")
    };
    cluster.wait_status(holder, "the other one to have failed", PATIENCE, has_failed).unwrap();

    let named = format!(
        "web: not handed over: lb{gone} is not alive: start its daemon, or choose another node; `vip-user members` \
         lists the nodes"
    );
    assert_refused(&hand_over(&cluster, holder, &["--to", &gone.to_string()]), &named);
    let nobody = "web: not handed over: no other node can take it: that has to be alive, a voter, and of priority above \
                  0 in this group; see `vip-user members`";
    assert_refused(&hand_over(&cluster, holder, &[]), nobody);
    assert_unchanged(&cluster, holder, &before);
}

#[test]
fn where_the_target_does_not_ask_in_time_the_holder_goes_on_and_says_so() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let watch = Watch::start(cluster.lab());
    let before = cluster.status(holder).unwrap();
    let [hung, other] = others(holder);
    cluster.daemon(hung).unwrap().stop().unwrap();
    let to = format!("lb{hung}");
    let reason = format!(
        "web: not handed over: {to} did not ask for it within 2s, so it stays here; its log and `vip-user status` \
         there say why"
    );
    assert_refused(&hand_over(&cluster, holder, &["--to", &to]), &reason);
    assert_unchanged(&cluster, holder, &before);

    // Input: it finds the offers when it goes on. Expected: they are over.
    cluster.daemon(hung).unwrap().cont().unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.let_it_ask();
    assert_unchanged(&cluster, holder, &before);

    let next = format!("lb{other}");
    assert_done(&hand_over(&cluster, holder, &["--to", &next]), &[("web", other)]);
    watch.finish();
}

/// Three nodes, the third of priority 0: the cluster, and who holds.
fn with_a_witness() -> (Cluster, u8) {
    let options =
        |node| DaemonOptions { priority: if node == WITNESS { 0 } else { 100 }, ..with_long_leases() };
    let cluster = Cluster::start_each(3, options).unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

/// `vip-user handover` on this node.
pub(super) fn hand_over(cluster: &Cluster, node: u8, arguments: &[&str]) -> Output {
    let arguments = [&["handover"], arguments].concat();
    cluster.order(node, &arguments).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// The groups went to these nodes, and nothing else was said.
pub(super) fn assert_done(output: &Output, expected: &[(&str, u8)]) {
    let lines: String =
        expected.iter().map(|(group, to)| format!("{group}: lb{to} holds it now\n")).collect();
    assert_eq!((said(output), output.status.code()), (lines, Some(0)));
}

fn assert_refused(output: &Output, reason: &str) {
    let expected = (format!("vip-user: {reason}\n"), Some(1));
    assert_eq!((String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code()), expected);
    assert!(output.stdout.is_empty());
}

/// The holder has kept its lease all the time.
fn assert_unchanged(cluster: &Cluster, holder: u8, before: &Status) {
    let now = cluster.status(holder).unwrap();
    let lease = |status: &Status| {
        let group = &status.groups[0];
        (status.is_master(), group.ballot.clone(), group.transitions)
    };
    assert_eq!(lease(&now), lease(before));
}
