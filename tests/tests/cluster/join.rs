//! Nodes that do not hear each other by multicast: they find the cluster through any one member, by unicast.

use std::{net::IpAddr, process::Output};

use anyhow::Result;
use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
};

use crate::{
    PATIENCE,
    cluster::watch::{Watch, wait_until},
    with_long_leases,
};

/// Four nodes of which three form the cluster; the switch carries no multicast for the fourth, or for any.
fn four(join: &[u8], is_blocked: impl Fn(u8) -> bool) -> Cluster {
    let join: Vec<IpAddr> = join.iter().map(|node| address(*node)).collect();
    let cluster =
        Cluster::prepare(4, |_| DaemonOptions { join: join.clone(), ..with_long_leases() }).unwrap();
    for node in (1..=4).filter(|node| is_blocked(*node)) {
        cluster.lab().block_groups(node).unwrap();
    }
    cluster
}

fn address(node: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, node])
}

fn start(cluster: &mut Cluster, nodes: &[u8]) {
    for node in nodes {
        cluster.restart(*node).unwrap();
    }
}

/// Waits until all four nodes know and hear each other, and all of them vote; gives the holder.
fn wait_all_vote(cluster: &Cluster) -> u8 {
    for node in 1..=4 {
        wait_voters(cluster, node, &[1, 2, 3, 4]);
    }
    cluster.wait_whole(PATIENCE).unwrap()
}

fn wait_voters(cluster: &Cluster, node: u8, voters: &[u16]) {
    let what = format!("to have the voters {voters:?}");
    cluster.wait_status(node, &what, PATIENCE, |status| status.voters() == voters).unwrap();
}

fn alive(status: &Status) -> usize {
    status.members.iter().filter(|member| member.status == "alive").count()
}

/// Waits until each node writes to so many others by unicast, as it says in its log.
fn wait_contacts(cluster: &mut Cluster, count: usize) {
    for node in 1..=4 {
        let daemon = cluster.daemon(node).unwrap();
        wait_until(&format!("node {node} to write to {count} by unicast"), || {
            let log = daemon.log();
            let said =
                log.lines().rfind(|line| line.contains("writing to ") && line.ends_with(" by unicast"));
            let written = said.filter(|line| !line.contains("to no node"));
            Ok(written.map_or(0, |line| line.split(", ").count()) == count)
        });
    }
}

fn join(cluster: &mut Cluster, node: u8, arguments: &[&str]) -> Output {
    cluster.daemon(node).unwrap().order(&[&["join"], arguments].concat()).unwrap()
}

/// The one line that a refused command has said.
fn failure(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("vip-user: ") && stderr.lines().count() == 1, "{stderr}");
    stderr
}

#[test]
fn nodes_without_multicast_that_know_one_of_them_form_a_cluster_and_fail_over() {
    // The same file on all, the named node's own among them. It is not the first to start.
    let mut cluster = four(&[2], |_| true);
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    cluster.restart(4).unwrap();
    assert_eq!(wait_all_vote(&cluster), holder);

    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn a_fourth_node_joins_three_that_have_multicast_through_one_of_them_by_a_flag() {
    let mut cluster = four(&[], |node| node == 4);
    cluster.options(4).unwrap().args = ["--join", "10.77.0.3"].map(str::to_owned).to_vec();
    start(&mut cluster, &[1, 2, 3]);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    start(&mut cluster, &[4]);
    assert_eq!(wait_all_vote(&cluster), holder);

    // Killed or stopped, it comes back and is heard.
    cluster.daemon(4).unwrap().kill().unwrap();
    start(&mut cluster, &[4]);
    cluster.wait_whole(PATIENCE).unwrap();
    assert!(cluster.daemon(4).unwrap().terminate().unwrap().success());
    start(&mut cluster, &[4]);
    assert_eq!(wait_all_vote(&cluster), holder);
    // None of them hears anything twice: that would be rejected, many times a second.
    let rejected =
        || (1..=4).map(|node| Ok(cluster.status(node)?.counters["rejected"])).collect::<Result<Vec<_>>>();
    wait_until("nothing to be rejected any more", || {
        let before = rejected()?;
        watch.let_it_ask();
        Ok(rejected()? == before)
    });
    watch.finish();
}

#[test]
fn a_running_node_joins_through_a_member_that_an_operator_names() {
    let mut cluster = four(&[], |node| node == 4);
    start(&mut cluster, &[1, 2, 3, 4]);
    let holder = cluster.wait_whole_among(&[1, 2, 3], PATIENCE).unwrap();
    cluster.wait_status(4, "to be alone", PATIENCE, |status| alive(status) == 1).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);

    let output = join(&mut cluster, 4, &["10.77.0.2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said, "10.77.0.2: joined: 4 members\n");
    assert_eq!(wait_all_vote(&cluster), holder);

    // Who is heard already need not be joined; that is no failure.
    for (node, named) in [(4, ["10.77.0.1", "10.77.0.3"]), (1, ["10.77.0.4", "10.77.0.2"])] {
        let output = join(&mut cluster, node, &named);
        let expected = named.map(|name| format!("{name}: joined: 4 members\n")).concat();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
    }
    // It knows nobody by its configuration. But the others have not forgotten it.
    cluster.daemon(4).unwrap().kill().unwrap();
    start(&mut cluster, &[4]);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    assert!(cluster.daemon(4).unwrap().terminate().unwrap().success());
    let has_left = |status: &Status| status.members.iter().any(|member| member.status == "left");
    cluster.wait_status(1, "to see it leave", PATIENCE, has_left).unwrap();
    start(&mut cluster, &[4]);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    watch.finish();
}

#[test]
fn a_node_with_one_peer_learns_of_the_others() {
    let mut cluster = four(&[], |node| node == 4);
    cluster.options(4).unwrap().peers = vec![address(1)];
    start(&mut cluster, &[4, 3, 2, 1]);
    let holder = wait_all_vote(&cluster);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    watch.finish();
}

/// Input: the same file on all nodes, with one peer, which is the last one to start.
#[test]
fn nodes_that_all_have_one_peer_form_a_cluster() {
    let mut cluster = four(&[], |_| false);
    for node in 1..=4 {
        cluster.options(node).unwrap().peers = vec![address(4)];
    }
    start(&mut cluster, &[2, 1, 3, 4]);
    let holder = wait_all_vote(&cluster);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    watch.finish();
}

/// Input: a node that has the id of one that the member knows by multicast, and that is not asked itself. Expected: it does not
/// start, or ends when it is told to join; it says where the other one is, and nobody else notices.
#[test]
fn a_node_whose_id_another_one_has_does_not_join() {
    let mut cluster = four(&[], |node| node == 4);
    let options = cluster.options(4).unwrap();
    options.id = Some(2);
    options.args = ["--join", "10.77.0.1"].map(str::to_owned).to_vec();
    start(&mut cluster, &[1, 2, 3]);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    start(&mut cluster, &[4]);
    assert_eq!(cluster.daemon(4).unwrap().wait_exit(PATIENCE).unwrap().code(), Some(78));
    let taken = "node id 2 is taken by the node at 10.77.0.2";
    assert!(cluster.daemon(4).unwrap().log().contains(taken));

    cluster.options(4).unwrap().args.clear();
    start(&mut cluster, &[4]);
    cluster.wait_status(4, "to run", PATIENCE, |_| true).unwrap();
    assert!(!join(&mut cluster, 4, &["10.77.0.1"]).status.success());
    assert_eq!(cluster.daemon(4).unwrap().wait_exit(PATIENCE).unwrap().code(), Some(78));
    assert_eq!(cluster.daemon(4).unwrap().log().matches(taken).count(), 2);
    assert_eq!(cluster.wait_whole_among(&[1, 2, 3], PATIENCE).unwrap(), holder);
}

#[test]
fn the_rest_hear_each_other_when_the_node_that_they_joined_through_dies() {
    let mut cluster = four(&[1], |_| true);
    start(&mut cluster, &[4, 3, 2, 1]);
    wait_all_vote(&cluster);
    let watch = Watch::start(cluster.lab());
    let broken = Stamp::now();
    // The machine, and not only its daemon: its data plane would go on voting.
    cluster.daemon(1).unwrap().kill().unwrap();
    cluster.lab().cable(1).pull().unwrap();
    watch.wait_served_after(broken, |node| node != 1);
    let missed = |status: &Status| alive(status) == 3;
    for node in 2..=4 {
        cluster.wait_status(node, "to miss the first", PATIENCE, missed).unwrap();
    }
    cluster.wait_whole_among(&[2, 3, 4], PATIENCE).unwrap();
    // It comes back, and knows nobody.
    cluster.lab().cable(1).plug().unwrap();
    start(&mut cluster, &[1]);
    cluster.wait_whole(PATIENCE).unwrap();
    watch.finish();
}

#[test]
fn where_multicast_comes_and_goes_the_nodes_go_on_hearing_each_other() {
    let mut cluster = four(&[1], |_| true);
    for node in 1..=4 {
        let log = "--log=info,vip_user::daemon::contacts=debug";
        cluster.options(node).unwrap().args = vec![log.to_owned()];
    }
    start(&mut cluster, &[1, 2, 3, 4]);
    let holder = wait_all_vote(&cluster);
    wait_contacts(&mut cluster, 3);
    let watch = Watch::start(cluster.lab());
    for node in 1..=4 {
        cluster.lab().unblock_groups(node).unwrap();
    }
    wait_contacts(&mut cluster, 0);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    for node in 1..=4 {
        cluster.lab().block_groups(node).unwrap();
    }
    wait_contacts(&mut cluster, 3);
    cluster.wait_whole(PATIENCE).unwrap();
    watch.finish();
}

/// Input: a witness without XDP, and without the VIPs in its configuration, behind a router; two nodes that serve. Expected:
/// it votes, and so one of the two is enough.
#[test]
fn a_witness_behind_a_router_lets_one_of_two_nodes_take_over() {
    takes_over_with_a_witness_behind_a_router("off");
}

/// As above, where the witness' data plane votes: what it answers goes back by the router.
#[test]
fn a_witness_behind_a_router_may_have_xdp() {
    takes_over_with_a_witness_behind_a_router("generic");
}

fn takes_over_with_a_witness_behind_a_router(xdp: &str) {
    let witness = DaemonOptions {
        priority: 0,
        vips: vec![],
        join: vec![address(1), address(2)],
        args: ["--xdp", xdp].map(str::to_owned).to_vec(),
        ..with_long_leases()
    };
    let options = |node| if node == 3 { witness.clone() } else { with_long_leases() };
    let mut cluster = Cluster::prepare(3, options).unwrap();
    cluster.lab().move_behind_router(3).unwrap();
    start(&mut cluster, &[1, 3, 2]);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    for node in 1..=2 {
        let status = cluster.status(node).unwrap();
        let behind = cluster.lab().address_behind_router(3).to_string();
        assert!(status.members.iter().any(|member| member.id == 3 && member.address == behind), "{status:?}");
    }
    let witness = cluster.status(3).unwrap();
    assert_eq!((witness.xdp.as_str(), witness.groups[0].state.as_str()), (xdp, "witness"));

    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    assert_eq!(successor.node, 3 - holder);
    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(holder, successor);
}

#[test]
fn a_join_that_finds_nobody_says_what_to_look_at() {
    let mut cluster = four(&[], |_| true);
    cluster.options(2).unwrap().key = "ffeeddccbbaa99887766554433221100\n".to_owned();
    cluster.options(3).unwrap().cluster = "other".to_owned();
    start(&mut cluster, &[1, 2, 3]);
    for node in 1..=3 {
        cluster.wait_status(node, "to run", PATIENCE, |_| true).unwrap();
    }
    // Another key, another cluster, and nobody.
    for named in ["10.77.0.2", "10.77.0.3", "10.77.0.4"] {
        let said = failure(&join(&mut cluster, 1, &[named]));
        assert_eq!(
            said,
            format!(
                "vip-user: no answer from {named} within 5 s: is a daemon of cluster \"lab\" there, does it have the same \
                 key, does a firewall drop UDP port 5680?\n"
            )
        );
    }
    for (named, why) in [
        ("10.77.0.1", "is this node's own address"),
        ("10.77.0.100", "is a VIP"),
        ("fd77::1", "is of another version of IP"),
    ] {
        let said = failure(&join(&mut cluster, 1, &[named]));
        assert!(said.contains(named) && said.contains(why), "{said}");
    }
    let output = join(&mut cluster, 1, &["lb2"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    cluster.daemon(1).unwrap().kill().unwrap();
    assert_eq!(join(&mut cluster, 1, &["10.77.0.2"]).status.code(), Some(69));
}

/// Input: nodes that have IPv6, where the switch carries no multicast messages; the group reaches further than the link.
#[test]
fn nodes_that_talk_ipv6_join_through_one_of_them() {
    let options = DaemonOptions {
        group_address: Some("[ff05::5680]:5680".to_owned()),
        join: vec!["fd77::3".parse().unwrap()],
        ..with_long_leases()
    };
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    cluster.lab().add_ipv6().unwrap();
    for node in 1..=3 {
        cluster.lab().block_groups(node).unwrap();
    }
    start(&mut cluster, &[1, 2, 3]);
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let status = cluster.status(holder).unwrap();
    assert!(status.members.iter().all(|member| member.address.starts_with("fd77::")), "{status:?}");
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    watch.finish();
}
