//! Checks that fail and operators who want a machine free move groups, and nobody goes without meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
    net,
};

use crate::{
    PATIENCE,
    cluster::{handover::hand_over, watch::Watch},
    others, with_long_leases,
};

/// A node fails this check as long as its file is there.
fn drained(file: &Path, weight: i16) -> String {
    format!(
        "\n[[check]]\nname = \"drain\"\ntype = \"file\"\nfile = {file:?}\nabsent = true\ninterval = \"5ms\"\nweight = {weight}\n"
    )
}

fn drain(cluster: &Cluster, node: u8) -> PathBuf {
    cluster.lab().home(node).join("drain")
}

/// Three nodes, each with such a check: the cluster, and who holds.
fn three_drainable(options: &DaemonOptions, weight: i16) -> (Cluster, u8) {
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    for node in 1..=3 {
        let section = drained(&drain(&cluster, node), weight);
        cluster.options(node).unwrap().more_of_group.push_str(&section);
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

fn state(status: &Status) -> &str {
    &status.groups[0].state
}

fn wait_state(cluster: &Cluster, node: u8, wanted: &str) {
    let what = format!("to be in the state {wanted}");
    cluster.wait_status(node, &what, PATIENCE, |status| state(status) == wanted).unwrap();
}

/// Who holds, as this node knows.
fn holder_at(cluster: &Cluster, node: u8) -> Option<String> {
    cluster.status(node).unwrap().groups[0].holder.clone()
}

fn assert_seamless(gap: Duration) {
    // Leases that were waited for, or taken anew by an election, would cost more.
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

/// Input: another interface of the holder, to its servers perhaps, loses its carrier, and has it back.
#[test]
fn a_group_leaves_a_node_whose_other_interface_has_no_carrier() {
    let mut cluster = Cluster::prepare(3, |_| with_long_leases()).unwrap();
    let section =
        "\n[[check]]\nname = \"uplink\"\ntype = \"interface\"\ninterface = \"uplink\"\ninterval = \"10ms\"\n";
    for node in 1..=3 {
        let netns = cluster.lab().node_netns(node);
        net::ip(&netns, &["link", "add", "uplink", "type", "veth", "peer", "name", "far"]).unwrap();
        for end in ["uplink", "far"] {
            net::ip(&netns, &["link", "set", end, "up"]).unwrap();
        }
        cluster.options(node).unwrap().more_of_group.push_str(section);
        cluster.restart(node).unwrap();
    }
    let first = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    let netns = cluster.lab().node_netns(first);
    net::ip(&netns, &["link", "set", "far", "down"]).unwrap();
    watch.wait_served(|node| node != first);
    wait_state(&cluster, first, "fault");
    net::ip(&netns, &["link", "set", "far", "up"]).unwrap();
    wait_state(&cluster, first, "backup");
    assert_seamless(watch.finish());
}

#[test]
fn a_check_that_fails_moves_the_group_until_nobody_is_left_and_the_first_one_that_recovers_serves() {
    let (cluster, first) = three_drainable(&with_long_leases(), 0);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    fs::write(drain(&cluster, first), "").unwrap();
    let second = watch.wait_served(|node| node != first).node;
    wait_state(&cluster, first, "fault");
    fs::write(drain(&cluster, second), "").unwrap();
    let third = watch.wait_served(|node| node != first && node != second).node;
    wait_state(&cluster, second, "fault");
    assert_seamless(watch.finish());

    // Input: the last one fails, too. Expected: nobody serves what no node can serve, and nobody tries.
    let watch = Watch::start(cluster.lab());
    fs::write(drain(&cluster, third), "").unwrap();
    watch.wait_silent();
    for node in 1..=3 {
        wait_state(&cluster, node, "fault");
    }
    fs::remove_file(drain(&cluster, second)).unwrap();
    watch.wait_served(|node| node == second);
    // Nobody takes it from there, since nobody preempts.
    fs::remove_file(drain(&cluster, first)).unwrap();
    wait_state(&cluster, first, "backup");
    watch.let_it_ask();
    assert_eq!(holder_at(&cluster, first), Some(format!("lb{second}")));
    watch.finish();
}

#[test]
fn a_lowered_priority_sends_the_group_to_a_fitter_node_and_an_equal_one_leaves_it() {
    let (cluster, first) = three_drainable(&with_long_leases(), -30);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    fs::write(drain(&cluster, first), "").unwrap();
    let second = watch.wait_served(|node| node != first).node;
    // Input: all are lowered, so that nobody is better. Expected: the last one stays.
    fs::write(drain(&cluster, second), "").unwrap();
    let third = watch.wait_served(|node| node != first && node != second).node;
    fs::write(drain(&cluster, third), "").unwrap();
    cluster.wait_status(third, "to be lowered", PATIENCE, |status| status.groups[0].priority == 70).unwrap();
    watch.let_it_ask();
    wait_state(&cluster, third, "master");
    assert_seamless(watch.finish());
}

#[test]
fn checks_that_come_and_go_everywhere_do_not_send_a_group_round_and_round() {
    let (cluster, _) = three_drainable(&with_long_leases(), -30);
    let watch = Watch::start(cluster.lab());
    let end = Instant::now() + Duration::from_secs(4);
    // Each node in turn is the only one that is well.
    for well in (1..=3).cycle() {
        if Instant::now() >= end {
            break;
        }
        for node in (1..=3).filter(|node| *node != well) {
            fs::write(drain(&cluster, node), "").unwrap();
        }
        let _ = fs::remove_file(drain(&cluster, well));
        std::thread::sleep(Duration::from_millis(70));
    }
    let given: usize = (1..=3)
        .map(|node| cluster.status(node).unwrap().groups[0].transitions)
        .map(|transitions| usize::try_from(transitions).unwrap())
        .sum();
    // Within four seconds a node gives way at once, after a second, and after two more; and each time two nodes change their
    // state. Each came to its first state by two or three changes.
    assert!(given <= 3 * 3 * 2 + 3 * 3, "{given} transitions");
    assert_seamless(watch.finish());
}

#[test]
fn a_node_that_is_not_known_to_be_well_takes_nothing_and_gives_up_nothing() {
    // Input: node 3 is the fittest, and its check ends when there is a file; until then nobody knows.
    let mut cluster = Cluster::prepare(3, |node| DaemonOptions {
        priority: if node == 3 { 200 } else { 100 },
        more_of_group: "preempt = true\npreempt_delay = \"0ms\"".to_owned(),
        ..with_long_leases()
    })
    .unwrap();
    let ready = drain(&cluster, 3);
    let script = format!("until test -e {}; do sleep 0.02; done", ready.display());
    cluster.options(3).unwrap().more_of_group.push_str(&format!(
        "\n[[check]]\nname = \"ready\"\ntype = \"exec\"\nshell = true\nrun = {script:?}\ninterval = \"10ms\"\ntimeout = \"10m\"\n"
    ));
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    let first = cluster.wait_whole(PATIENCE).unwrap();
    assert_ne!(first, 3);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    fs::write(&ready, "").unwrap();
    watch.wait_served(|node| node == 3);
    assert_seamless(watch.finish());

    // Input: its daemon is started again while nobody knows any more. Expected: it goes on with its lease.
    let before = cluster.wait_status(3, "to hold", PATIENCE, Status::is_master).unwrap();
    fs::remove_file(&ready).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == 3);
    cluster.restart(3).unwrap();
    let renewed = |status: &Status| status.is_master() && status.groups[0].ballot != before.groups[0].ballot;
    cluster.wait_status(3, "to have renewed its lease", PATIENCE, renewed).unwrap();
    watch.let_it_ask();
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

#[test]
fn a_reload_brings_a_check_and_takes_it_away() {
    let mut cluster = Cluster::start(3, &with_long_leases()).unwrap();
    let first = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    let file = drain(&cluster, first);
    fs::write(&file, "").unwrap();
    reload(&mut cluster, first, drained(&file, 0));
    watch.wait_served(|node| node != first);
    wait_state(&cluster, first, "fault");
    reload(&mut cluster, first, String::new());
    wait_state(&cluster, first, "backup");
    assert_seamless(watch.finish());
}

/// Has the daemon of this node follow a configuration with these further sections.
fn reload(cluster: &mut Cluster, node: u8, sections: String) {
    cluster.options(node).unwrap().more_of_group = sections;
    cluster.write_config(node).unwrap();
    let output = cluster.order(node, &["reload"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `vip-user maintenance` on this node.
fn maintain(cluster: &Cluster, node: u8, switch: &str) -> (String, Option<i32>) {
    let Output { stdout, stderr, status } = cluster.order(node, &["maintenance", switch]).unwrap();
    ([stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(), status.code())
}

#[test]
fn maintenance_frees_a_node_over_restarts_and_leaves_nobody_without_service() {
    let mut cluster = Cluster::start(3, &with_long_leases()).unwrap();
    let first = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == first);
    let on =
        |node: u8| format!("lb{node} is in maintenance: it takes nothing until `vip-user maintenance off`\n");
    let (said, code) = maintain(&cluster, first, "on");
    let second =
        others(first).into_iter().find(|node| said == format!("{}web: lb{node} holds it now\n", on(first)));
    let second = second.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(code, Some(0));
    watch.wait_served(|node| node == second);
    wait_state(&cluster, first, "maintenance");
    assert_eq!(maintain(&cluster, first, "on"), (on(first), Some(0)), "again");

    let third = others(first).into_iter().find(|node| *node != second).unwrap();
    assert_eq!(maintain(&cluster, third, "on"), (on(third), Some(0)));
    let refused = hand_over(&cluster, second, &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no other node can take it"));

    // Input: the one that serves is to be freed, too. Expected: it goes on, until another one is back.
    let (said, code) = maintain(&cluster, second, "on");
    let stays = "web: served here until another node can take it: no other node can take it: ";
    assert!(said.contains(stays) && said.ends_with("vip-user: this node still serves web\n"), "{said}");
    assert_eq!(code, Some(1));
    watch.let_it_ask();
    wait_state(&cluster, second, "master");

    // Input: the first one is started again. Expected: it knows, and still takes nothing.
    cluster.daemon(first).unwrap().terminate().unwrap();
    cluster.restart(first).unwrap();
    assert_eq!(
        cluster.wait_status(first, "to know the others", PATIENCE, alive(3)).unwrap().node,
        format!("lb{first}")
    );
    wait_state(&cluster, first, "maintenance");
    let off = (format!("lb{first} is not in maintenance\n"), Some(0));
    assert_eq!(maintain(&cluster, first, "off"), off);
    watch.wait_served(|node| node == first);
    wait_state(&cluster, second, "maintenance");
    assert_eq!(maintain(&cluster, first, "off"), off, "again");
    assert_seamless(watch.finish());
}

#[test]
fn a_node_that_is_in_maintenance_or_has_just_recovered_does_not_preempt() {
    // Input: the fittest node preempts after a second of being well, and is freed, drained and let go again.
    let eager = "preempt = true\npreempt_delay = \"1s\"";
    let mut cluster = Cluster::prepare(3, |node| DaemonOptions {
        priority: if node == 3 { 200 } else { 100 },
        more_of_group: eager.to_owned(),
        ..with_long_leases()
    })
    .unwrap();
    for node in 1..=3 {
        let section = drained(&drain(&cluster, node), 0);
        cluster.options(node).unwrap().more_of_group.push_str(&section);
        cluster.restart(node).unwrap();
    }
    cluster.wait_status(3, "to hold", PATIENCE, Status::is_master).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), 3);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == 3);
    let (said, code) = maintain(&cluster, 3, "on");
    assert_eq!(code, Some(0), "{said}");
    let freed = Stamp::now();
    fs::write(drain(&cluster, 3), "").unwrap();
    wait_state(&cluster, 3, "fault");
    assert_eq!(maintain(&cluster, 3, "off").1, Some(0));
    for _ in 0..4 {
        watch.let_it_ask();
    }
    assert!(!watch.was_served_by(3, freed));
    let recovered = Stamp::now();
    fs::remove_file(drain(&cluster, 3)).unwrap();
    let back = watch.wait_served_after(recovered, |node| node == 3);
    let waited = back.sent.since(recovered);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_seamless(watch.finish());
}

fn alive(count: usize) -> impl Fn(&Status) -> bool {
    move |status| status.members.iter().filter(|member| member.status == "alive").count() == count
}
