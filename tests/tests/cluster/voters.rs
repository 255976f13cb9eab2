//! Voters change while the VIP is served: nodes join, leave and are forgotten.

use std::{fs, process::Output};

use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
};

use crate::{PATIENCE, cluster::watch::Watch, others, three_whole, three_with, with_long_leases};

#[test]
fn a_fourth_node_that_starts_later_becomes_a_voter_and_the_next_holder() {
    // The fourth is the fittest of all, but does not preempt.
    let options = |node| DaemonOptions { priority: if node == 4 { 200 } else { 100 }, ..with_long_leases() };
    let mut cluster = Cluster::prepare(4, options).unwrap();
    for node in [1, 2, 3] {
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap().groups[0].transitions;

    cluster.restart(4).unwrap();
    for node in 1..=4 {
        wait_voters(&cluster, node, &[1, 2, 3, 4]);
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    let after = cluster.status(holder).unwrap().groups[0].transitions;
    assert_eq!(after, before, "it has served all the while");

    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().terminate().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    assert_eq!(successor.node, 4);
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn a_voter_that_does_not_come_back_is_forgotten_and_one_that_lives_is_not() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let [asked, lost] = others(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);

    let name = format!("lb{lost}");
    let refusal = failure(&run(&mut cluster, asked, &["forget", &name]));
    assert!(refusal.contains(&format!("{name} ({lost}) is alive")) && refusal.contains("leave"), "{refusal}");

    cluster.daemon(lost).unwrap().kill().unwrap();
    cluster.lab().cable(lost).pull().unwrap();
    let has_failed = |status: &Status| status.members.iter().any(|member| member.status == "failed");
    cluster.wait_status(asked, "to miss a node", PATIENCE, has_failed).unwrap();
    let said = success(&run(&mut cluster, asked, &["forget", &name]));
    assert_eq!(said, format!("{name} (id {lost}) is no voter any more\n"));
    for node in [holder, asked] {
        wait_voters(&cluster, node, &sorted([holder, asked]));
    }
    let is_forgotten = |status: &Status| status.members.iter().all(|member| member.id != u16::from(lost));
    cluster.wait_status(holder, "to forget it, too", PATIENCE, is_forgotten).unwrap();
    assert!(failure(&run(&mut cluster, holder, &["forget", &name])).contains("there is no node"));
    assert!(cluster.status(holder).unwrap().is_master());

    // It comes back after all.
    cluster.lab().cable(lost).plug().unwrap();
    cluster.restart(lost).unwrap();
    for node in 1..=3 {
        wait_voters(&cluster, node, &[1, 2, 3]);
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.let_it_ask();
    watch.finish();
}

#[test]
fn a_holder_that_leaves_lets_another_node_serve_and_its_daemon_ends() {
    let (mut cluster, leaver) = three_whole();
    let rest = others(leaver);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == leaver);

    let said = success(&run(&mut cluster, leaver, &["leave"]));
    assert_eq!(said, format!("lb{leaver} (id {leaver}) is no voter any more, and its daemon ends\n"));
    assert!(cluster.daemon(leaver).unwrap().wait_exit(PATIENCE).unwrap().success());
    let successor = watch.wait_served(|node| node != leaver);
    for node in rest {
        let status = wait_voters(&cluster, node, &sorted(rest));
        assert_eq!(status.epoch, 2, "{status:?}");
    }

    // Of two voters one may not be missing; of three one may.
    cluster.restart(leaver).unwrap();
    for node in 1..=3 {
        wait_voters(&cluster, node, &[1, 2, 3]);
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish();
}

#[test]
fn the_only_voter_may_not_leave_and_a_second_node_joins_it() {
    let options = |_| DaemonOptions { expect: 1, ..with_long_leases() };
    let mut cluster = Cluster::prepare(2, options).unwrap();
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    let refusal = failure(&run(&mut cluster, 1, &["leave"]));
    assert!(refusal.contains("lb1 (1) is the only voter"), "{refusal}");

    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == 1);
    let before = cluster.status(1).unwrap().groups[0].transitions;
    cluster.restart(2).unwrap();
    for node in [1, 2] {
        wait_voters(&cluster, node, &[1, 2]);
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), 1);
    assert_eq!(cluster.status(1).unwrap().groups[0].transitions, before);
    success(&run(&mut cluster, 1, &["leave"]));
    watch.wait_served(|node| node == 2);
    assert_eq!(wait_voters(&cluster, 2, &[2]).epoch, 3);
    watch.finish();
}

#[test]
fn voters_do_not_change_without_a_majority() {
    let (mut cluster, holder) = three_whole();
    let lost = others(holder);
    let watch = Watch::start(cluster.lab());
    for node in lost {
        cluster.daemon(node).unwrap().terminate().unwrap();
    }
    let have_left =
        |status: &Status| status.members.iter().filter(|member| member.status == "left").count() == 2;
    cluster.wait_status(holder, "to see both leave", PATIENCE, have_left).unwrap();
    let name = format!("lb{}", lost[0]);
    let refusal = failure(&run(&mut cluster, holder, &["forget", &name]));
    assert!(refusal.contains("only 1 of 3 voters are heard, and 2 have to agree"), "{refusal}");
    assert_eq!(cluster.status(holder).unwrap().voters(), [1, 2, 3]);

    for node in lost {
        cluster.restart(node).unwrap();
    }
    cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(cluster.status(holder).unwrap().epoch, 1);
    watch.finish();
}

#[test]
fn a_node_whose_state_is_lost_comes_back_as_a_new_voter() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let [_, lost] = others(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    cluster.daemon(lost).unwrap().kill().unwrap();
    fs::remove_dir_all(cluster.lab().home(lost).join("state")).unwrap();
    cluster.restart(lost).unwrap();
    for node in 1..=3 {
        // Counted out is the second epoch, taken in again the third.
        let anew = |status: &Status| status.epoch == 3 && status.voters() == [1, 2, 3];
        cluster.wait_status(node, "to have three voters again", PATIENCE, anew).unwrap();
    }
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    assert!(cluster.daemon(lost).unwrap().log().contains("its state directory is empty"));
    watch.let_it_ask();
    watch.finish();
}

fn wait_voters(cluster: &Cluster, node: u8, voters: &[u16]) -> Status {
    let what = format!("to have the voters {voters:?}");
    cluster.wait_status(node, &what, PATIENCE, |status| status.voters() == voters).unwrap()
}

fn run(cluster: &mut Cluster, node: u8, command: &[&str]) -> Output {
    cluster.daemon(node).unwrap().order(command).unwrap()
}

/// What a command that succeeded has said.
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line that a refused command has said.
fn failure(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("vip-user: ") && stderr.lines().count() == 1, "{stderr}");
    stderr
}

fn sorted(nodes: [u8; 2]) -> [u16; 2] {
    let mut ids = nodes.map(u16::from);
    ids.sort_unstable();
    ids
}
