//! Who takes a group from a live holder, and who does not.

use vip_tests::{
    cluster::{Cluster, Status},
    lab::DaemonOptions,
};

use crate::{
    PATIENCE,
    cluster::{handover::hand_over, watch::Watch},
    with_long_leases,
};

/// The node that is fitter than the others.
const FIT: u8 = 3;

#[test]
fn a_fitter_node_that_comes_back_takes_over_if_preemption_is_on() {
    let (cluster, _) = fitter_node_back("preempt = true\npreempt_delay = \"300ms\"");
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == FIT);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), FIT);
    watch.finish();
}

#[test]
fn a_fitter_node_takes_over_without_a_gap_worth_naming() {
    let (mut cluster, holder) = fitter_node_back("preempt = true\npreempt_delay = \"3s\"");
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    watch.wait_served(|node| node == FIT);
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
    let log = cluster.daemon(holder).unwrap().log();
    assert!(log.contains("it has handed the lease over to lb3"), "{log}");
}

#[test]
fn a_fitter_node_waits_for_the_whole_delay() {
    stays_backup("preempt = true\npreempt_delay = \"60m\"");
}

#[test]
fn a_fitter_node_that_comes_back_stays_backup_if_preemption_is_off() {
    stays_backup("preempt = false\npreempt_delay = \"0ms\"");
}

/// Input: an operator moves a group away from a node that preempts. Expected: it goes there, and comes back at once, without an
/// election: who gives it back is served first.
#[test]
fn a_group_that_is_moved_from_a_node_that_preempts_comes_back_without_a_gap_worth_naming() {
    let eager = "preempt = true\npreempt_delay = \"0s\"";
    let options = |node| DaemonOptions {
        priority: if node == FIT { 200 } else { 100 },
        more_of_group: eager.to_owned(),
        ..with_long_leases()
    };
    let cluster = Cluster::start_each(3, options).unwrap();
    cluster.wait_status(FIT, "to hold", PATIENCE, Status::is_master).unwrap();
    cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == FIT);
    let there = hand_over(&cluster, FIT, &["web", "--to", "lb1"]);
    assert!(there.status.success(), "{there:?}");
    watch.wait_served(|node| node == FIT);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), FIT);
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

#[test]
fn groups_with_different_priorities_have_different_masters() {
    // Input: node 1 is the fittest for "web", node 2 for "api". Expected: each holds its own.
    let options = |node: u8| {
        let eager = "preempt = true\npreempt_delay = \"100ms\"";
        let [web, api] = [1, 2].map(|fittest| if node == fittest { 200 } else { 100 });
        let more = format!(
            "priority = {web}\n{eager}\n\n[[group]]\nname = \"api\"\nvips = [\"10.77.0.101/24\"]\npriority = {api}\n\
             {eager}\n"
        );
        DaemonOptions { more_of_group: more, ..DaemonOptions::default() }
    };
    let cluster = Cluster::start_each(3, options).unwrap();
    for node in 1..=3 {
        let holders = [("web", Some("lb1")), ("api", Some("lb2"))];
        let what = "lb1 to hold web and lb2 to hold api";
        let status = cluster.wait_status(node, what, PATIENCE, |status| {
            status.groups.iter().map(|group| (group.name.as_str(), group.holder.as_deref())).eq(holders)
        });
        status.unwrap();
    }
    let masters = |node: u8| -> Vec<String> {
        let groups = cluster.status(node).unwrap().groups;
        groups.into_iter().filter(|group| group.state == "master").map(|group| group.name).collect()
    };
    assert_eq!([1, 2, 3].map(masters), [vec!["web".to_owned()], vec!["api".to_owned()], vec![]]);
}

fn stays_backup(group: &str) {
    let (cluster, holder) = fitter_node_back(group);
    let watch = Watch::start(cluster.lab());
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    for _ in 0..4 {
        watch.let_it_ask();
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.finish();
}

/// Three nodes of which the fittest ended, lost its group to another one, and was started again: and that other one.
fn fitter_node_back(group: &str) -> (Cluster, u8) {
    let options = |node| DaemonOptions {
        priority: if node == FIT { 200 } else { 100 },
        more_of_group: group.to_owned(),
        // Long, so that on a busy machine no lease is lost for want of time.
        ..with_long_leases()
    };
    let mut cluster = Cluster::start_each(3, options).unwrap();
    cluster.wait_whole(PATIENCE).unwrap();
    cluster.daemon(FIT).unwrap().terminate().unwrap();
    let holder = cluster.wait_whole_among(&[1, 2], PATIENCE).unwrap();
    cluster.restart(FIT).unwrap();
    (cluster, holder)
}
