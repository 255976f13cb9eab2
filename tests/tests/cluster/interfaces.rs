//! Groups whose VIPs lie on two interfaces, front (eth0) and back (eth1): one node serves both, and one that has lost either
//! serves none.

use std::{net::UdpSocket, os::fd::OwnedFd, time::Duration};

use nix::sys::signal::Signal;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::{BACK_VIP, BACK_VIP6, DaemonOptions, Lab, VIP},
    net::{self, in_netns},
    responder::{PORT, PROBE_LEN, Responder, parse_answer},
    traces::Traces,
};

use crate::{
    PATIENCE,
    cluster::{
        handover::{assert_done, hand_over},
        ipv6::{wait_neighbour_of, wait_ping_of},
        watch::{Watch, wait_until},
    },
    others, with_long_leases,
};

#[test]
fn both_sides_are_served_by_one_node_and_move_with_one_lease() {
    let (Back { mut cluster, _responders, cables: _cables }, mut holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    for _ in 0..3 {
        watch.wait_served(|node| node == holder);
        wait_back_served(&cluster, holder);
        let next = others(holder)[0];
        assert_done(&hand_over(&cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
        holder = next;
    }
    watch.wait_served(|node| node == holder);
    wait_back_served(&cluster, holder);
    watch.finish();
    for node in 1..=3 {
        // All have heard the others' announcements on both sides.
        assert!(!cluster.daemon(node).unwrap().log().contains("claims the VIP"));
    }
}

#[test]
fn the_status_says_where_the_vips_lie_and_how_the_interfaces_are() {
    let mut back = Back::of(1, DaemonOptions { expect: 1, ..on_both_sides() });
    back.start();
    let cluster = &mut back.cluster;
    cluster.wait_status(1, "to be master", PATIENCE, Status::is_master).unwrap();
    let status = cluster.daemon(1).unwrap().status().unwrap();
    assert_eq!(status["groups"][0]["vips"], serde_json::json!(["10.77.0.100/24", "10.88.0.100/24 dev eth1"]));
    let interface = |name: &str| serde_json::json!({"name": name, "xdp": "native", "state": "up"});
    assert_eq!(status["interfaces"], serde_json::json!([interface("eth0"), interface("eth1")]));
}

/// Expected: the client never has another entry for the VIP at the back, and the card there takes in what is for it.
#[test]
fn a_virtual_mac_address_is_that_of_both_sides() {
    let more_of_group = "virtual_mac = true\n".to_owned();
    let mut back = Back::of(2, DaemonOptions { more_of_group, expect: 2, ..on_both_sides() });
    back.start();
    let cluster = &mut back.cluster;
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    wait_back_served(cluster, holder);
    let client = cluster.lab().client_netns();
    let entry = shown(&client, "ip", &["neigh", "show", &BACK_VIP.to_string(), "dev", "eth1"]);
    let mac = entry.split(' ').find(|word| word.starts_with("72:")).expect(&entry);

    let next = 3 - holder;
    assert_done(&hand_over(cluster, holder, &["--to", &format!("lb{next}")]), &[("web", next)]);
    wait_back_served(cluster, next);
    assert!(shown(&client, "ip", &["neigh", "show", "dev", "eth1"]).contains(mac));
    for node in 1..=2 {
        let netns = cluster.lab().node_netns(node);
        let taken_in = || shown(&netns, "bridge", &["fdb", "show", "dev", "eth1"]).contains(mac);
        assert!(taken_in());
        assert!(cluster.daemon(node).unwrap().terminate().unwrap().success());
        assert!(!taken_in());
    }
}

/// Expected: nobody waits for the end of a lease, as the nodes still reach each other; the node that has lost the interface is
/// no candidate, and goes on voting.
#[test]
fn a_holder_that_loses_the_carrier_of_one_side_hands_over_and_votes_on() {
    let (Back { mut cluster, _responders, cables: _cables }, victim) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == victim);
    cluster.lab().back_cable(victim).pull().unwrap();
    let successor = watch.wait_served(|node| node != victim);
    wait_back_served(&cluster, successor.node);
    let is_in_fault = |status: &Status| status.groups[0].state == "fault";
    cluster.wait_status(victim, "to be in fault", PATIENCE, is_in_fault).unwrap();
    let log = cluster.daemon(victim).unwrap().log();
    assert!(log.contains("no carrier, so this node cannot serve iface=eth1"), "{log}");
    assert!(log.contains(&handed_over_to(successor.node)), "{log}");

    let refused = hand_over(&cluster, successor.node, &["--to", &format!("lb{victim}")]);
    let reason =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && reason.contains("cannot serve"), "{reason}");

    // With two of three nodes, the holder needs the vote of the one in fault.
    let third = others(victim).into_iter().find(|node| *node != successor.node).unwrap();
    cluster.daemon(third).unwrap().kill().unwrap();
    watch.let_it_ask();
    cluster.wait_status(successor.node, "to hold on", PATIENCE, Status::is_master).unwrap();
    cluster.restart(third).unwrap();

    cluster.lab().back_cable(victim).plug().unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    wait_back_served(&cluster, successor.node);
    // A lease that had run out would have cost nearly its length.
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

/// Expected: the client reaches the VIP at the back, at the MAC of the holder there, whichever of the holder's cables is pulled.
#[test]
fn an_ipv6_vip_at_the_back_is_answered_there_and_moves_when_either_cable_is_pulled() {
    let vips = vec![format!("{VIP}/24"), format!("{BACK_VIP6}/64 dev eth1")];
    let mut back = Back::of(3, DaemonOptions { vips, ..with_long_leases() });
    back.cluster.lab().add_back_ipv6().unwrap();
    back.start();
    let cluster = &back.cluster;
    let lab = cluster.lab();
    let mut holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(lab);
    let assert_served = |by| {
        watch.wait_served(|node| node == by);
        wait_ping_of(cluster, BACK_VIP6);
        wait_neighbour_of(cluster, BACK_VIP6, lab.back_mac(by));
    };
    assert_served(holder);
    for cable_of in [Lab::cable, Lab::back_cable] {
        let cable = cable_of(lab, holder);
        cable.pull().unwrap();
        let successor = watch.wait_served(|node| node != holder).node;
        assert_served(successor);
        cable.plug().unwrap();
        assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor);
        holder = successor;
    }
    assert_served(holder);
    assert!(cluster.status(holder).unwrap().counters["nd_replies"] > 0);
    watch.finish();
}

/// Input: the back's switch is gone. Expected: nobody serves one side alone; whoever was master is it no more.
#[test]
fn without_one_side_nobody_serves_the_other_and_all_come_back_by_themselves() {
    let (Back { cluster, _responders, cables: _cables }, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for node in 1..=3 {
        net::ip(&cluster.lab().node_netns(node), &["link", "set", "dev", "eth1", "down"]).unwrap();
    }
    watch.wait_silent();
    for node in 1..=3 {
        let is_in_fault = |status: &Status| status.groups[0].state == "fault";
        cluster.wait_status(node, "to be in fault", PATIENCE, is_in_fault).unwrap();
        net::ip(&cluster.lab().node_netns(node), &["link", "set", "dev", "eth1", "up"]).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    watch.wait_served(|node| node == holder);
    wait_back_served(&cluster, holder);
    watch.finish();
}

#[test]
fn a_node_whose_second_interface_is_removed_hands_over_ends_and_serves_when_it_is_back() {
    let (mut back, victim) = three_whole();
    ends_and_returns(
        &mut back,
        victim,
        |back| back.cluster.lab().back_cable(victim).remove().unwrap(),
        |back| {
            back.cables.push(back.cluster.lab().back_cable(victim).renew().unwrap());
        },
    );
}

#[test]
fn a_node_whose_second_interface_is_renamed_hands_over_ends_and_serves_when_that_is_undone() {
    let (mut back, victim) = three_whole();
    let rename = move |back: &Back, from: &str, to: &str| {
        let netns = back.cluster.lab().node_netns(victim);
        net::ip(&netns, &["link", "set", "dev", from, "name", to]).unwrap();
    };
    ends_and_returns(
        &mut back,
        victim,
        |back| rename(back, "eth1", "eth9"),
        |back| rename(back, "eth9", "eth1"),
    );
}

#[test]
fn a_node_whose_program_is_taken_off_the_second_interface_hands_over_and_ends() {
    let (mut back, victim) = three_whole();
    ends_and_returns(&mut back, victim, |back| back.cluster.lab().detach_back_xdp(victim).unwrap(), |_| ());
}

/// Expected: a fence on both interfaces that outlives the daemon, and nothing of it after an orderly end.
#[test]
fn a_start_goes_on_with_what_a_killed_daemon_left_on_both_interfaces() {
    let options = DaemonOptions { args: vec!["--supervise".into()], expect: 1, ..on_both_sides() };
    let mut back = Back::of(1, options);
    let before = Traces::of(back.cluster.lab(), 1).unwrap();
    back.start();
    let cluster = &mut back.cluster;
    cluster.wait_status(1, "to be master", PATIENCE, Status::is_master).unwrap();
    let during = Traces::of(cluster.lab(), 1).unwrap();
    for interface in ["eth0", "eth1"] {
        assert!(during.links[interface].xdp && !before.links[interface].xdp);
        let sysctl = format!("{interface}/arp_ignore");
        assert_ne!(during.sysctls[&sysctl], before.sysctls[&sysctl]);
        for pin in ["link", "egress"].map(|kind| format!("{kind}-{interface}")) {
            assert!(during.pins.iter().any(|path| path.ends_with(&pin)), "{pin}: {during:?}");
        }
    }

    // The supervisor starts it again, and then the next one does, after its own death.
    let resumed = |cluster: &mut Cluster| {
        let log = cluster.daemon(1).unwrap().log();
        log.matches("VIPs on eth1, too, native XDP, as a former run has left it").count()
    };
    cluster.daemon(1).unwrap().signal_supervised(Signal::SIGKILL).unwrap();
    vip_tests::wait::until("the next daemon", PATIENCE, || Ok((resumed(cluster) == 1).then_some(())))
        .unwrap();
    cluster.daemon(1).unwrap().kill().unwrap();
    let left = Traces::of(cluster.lab(), 1).unwrap();
    assert!(left.links["eth0"].xdp && left.links["eth1"].xdp);
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to be master", PATIENCE, Status::is_master).unwrap();
    assert_eq!(resumed(cluster), 2);
    wait_back_served(cluster, 1);

    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

#[test]
fn an_interface_that_a_killed_daemon_served_and_the_next_one_does_not_is_left_as_it_was() {
    let mut back = Back::of(1, DaemonOptions { expect: 1, ..on_both_sides() });
    let before = Traces::of(back.cluster.lab(), 1).unwrap();
    back.start();
    let cluster = &mut back.cluster;
    cluster.wait_status(1, "to be master", PATIENCE, Status::is_master).unwrap();
    cluster.daemon(1).unwrap().kill().unwrap();
    cluster.options(1).unwrap().vips.pop();
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to be master", PATIENCE, Status::is_master).unwrap();
    // The kernel takes the program off in the background.
    wait_until("eth1 to be left alone", || Ok(!Traces::of(cluster.lab(), 1)?.links["eth1"].xdp));
    let during = Traces::of(cluster.lab(), 1).unwrap();
    assert!(during.links["eth0"].xdp);
    assert_eq!(during.sysctls["eth1/arp_ignore"], before.sysctls["eth1/arp_ignore"]);
    assert!(!during.pins.iter().any(|pin| pin.display().to_string().ends_with("-eth1")), "{:?}", during.pins);
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

/// Nodes and a client with a second interface each, and an echo service behind the VIP there.
struct Back {
    _responders: Vec<Responder>,
    cluster: Cluster,
    cables: Vec<OwnedFd>,
}

impl Back {
    /// No daemon is started yet.
    fn of(nodes: u8, options: DaemonOptions) -> Self {
        let cluster = Cluster::prepare(nodes, |_| options.clone()).unwrap();
        let lab = cluster.lab();
        let cables = lab.add_back().unwrap();
        let responders = lab.nodes().map(|node| Responder::start(lab, node, BACK_VIP).unwrap());
        Self { _responders: responders.collect(), cables, cluster }
    }

    fn start(&mut self) {
        let nodes: Vec<u8> = self.cluster.lab().nodes().collect();
        nodes.into_iter().for_each(|node| self.cluster.restart(node).unwrap());
    }
}

fn on_both_sides() -> DaemonOptions {
    let vips = vec![format!("{VIP}/24"), format!("{BACK_VIP}/24 dev eth1")];
    DaemonOptions { vips, ..with_long_leases() }
}

fn three_whole() -> (Back, u8) {
    let mut back = Back::of(3, on_both_sides());
    back.start();
    let holder = back.cluster.wait_whole(PATIENCE).unwrap();
    (back, holder)
}

/// What a command says that shows something of a namespace.
fn shown(netns: &str, program: &str, arguments: &[&str]) -> String {
    let output = net::command_in(netns, program).unwrap().args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the client is answered by this node when it asks the VIP at the back.
fn wait_back_served(cluster: &Cluster, by: u8) {
    wait_until("the holder to serve the back", || {
        let answer = in_netns(&cluster.lab().client_netns(), || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            socket.send_to(&[0; PROBE_LEN], (BACK_VIP, PORT))?;
            let mut answer = [0; PROBE_LEN + 1];
            Ok(socket.recv(&mut answer).ok().and_then(|length| parse_answer(&answer[..length])))
        })?;
        Ok(answer.is_some_and(|(_, node)| node == by))
    });
}

/// What a holder logs that did not let go before another node had its lease.
fn handed_over_to(node: u8) -> String {
    format!("it has handed the lease over to lb{node}")
}

/// Input: a holder that loses eth1 for good. Expected: another node serves both sides at once; the daemon ends and says why,
/// with nothing left; put right and started again, it is a backup like any other.
fn ends_and_returns(back: &mut Back, victim: u8, inflict: impl Fn(&mut Back), repair: impl Fn(&mut Back)) {
    let watch = Watch::start(back.cluster.lab());
    watch.wait_served(|node| node == victim);
    inflict(back);
    let successor = watch.wait_served(|node| node != victim);
    wait_back_served(&back.cluster, successor.node);
    let daemon = back.cluster.daemon(victim).unwrap();
    let status = daemon.wait_exit(PATIENCE).unwrap();
    let log = daemon.log();
    let reason = log.lines().last().unwrap();
    assert!(status.code() == Some(1) && reason.contains("eth1"), "{status}: {reason}");
    assert!(log.contains(&handed_over_to(successor.node)), "{log}");
    let left = Traces::of(back.cluster.lab(), victim).unwrap();
    assert!(!left.links.contains_key("vip-eth0") && left.pins.is_empty(), "{left:?}");

    repair(back);
    back.cluster.restart(victim).unwrap();
    assert_eq!(back.cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    // A lease that had run out would have cost nearly its length.
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}
