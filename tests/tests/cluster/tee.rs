//! The tee: the services of all nodes hear the same, the holder's answers, and whoever takes over goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read as _},
    iter,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::{DaemonOptions, Lab, VIP, VIP6},
    net::in_netns,
    oracle::packet_socket,
    tally::{Feeder, PORT, State, Tally, state_at},
    wait,
};

use crate::{PATIENCE, cluster::ipv6::three_with_ipv6, others, three_with, with_long_leases};

const PERIOD: Duration = Duration::from_micros(500);
const HANDOVERS: usize = 6;
const TEE: &str = "[[tee]]\ngroup = \"web\"\nport = 5000\n";

#[test]
fn standbys_hear_what_the_holder_hears_and_go_on_when_it_dies() {
    let more_of_group = TEE.to_owned();
    let (mut cluster, first) = three_with(&DaemonOptions { more_of_group, ..with_long_leases() });
    let services = services(cluster.lab(), VIP.into(), |node| cluster.lab().address(node).into());
    wait_for_standbys(&cluster, first, 2);

    // Input: numbers, some in fragments, while a packet socket listens at the holder's cable.
    let wire = Wire::listen(cluster.lab(), first);
    let feeder = Feeder::start(cluster.lab(), VIP.into(), 0, PERIOD).unwrap();
    wait_for_numbers(&feeder, 1000);
    let fed = feeder.finish();
    let all = State { count: fed.sent, sum: (1..=fed.sent).sum(), doubles: 0 };
    for node in 1..=3 {
        let look = || state_at(cluster.lab(), cluster.lab().address(node).into());
        wait::until_equal(&format!("all numbers at node {node}"), PATIENCE, &all, look).unwrap();
    }
    assert_eq!(fed.answers, (1..=fed.sent).map(|number| (number, vec![first])).collect::<BTreeMap<_, _>>());
    let each_once: BTreeMap<u64, u32> = (1..=fed.sent).map(|number| (number, 1)).collect();
    assert_eq!(wire.copies(), others(first).map(|standby| (standby, each_once.clone())).into());

    // Planned moves, there and back: what one node has, all have, and nothing twice.
    let feeder = Feeder::start(cluster.lab(), VIP.into(), fed.sent, PERIOD).unwrap();
    let mut holder = first;
    for _ in 0..HANDOVERS {
        let to = if holder == first { others(first)[0] } else { first };
        let output = cluster.order(holder, &["handover", "web", "--to", &format!("lb{to}")]).unwrap();
        assert!(output.status.success(), "{output:?}");
        cluster.wait_status(to, "to know that it holds", PATIENCE, Status::is_master).unwrap();
        holder = to;
        wait_for_answer(&feeder, feeder.sent(), &[holder]);
    }
    let fed = feeder.finish();
    assert_same(&cluster, &services, &[1, 2, 3]);

    // The holder dies. Expected: its successor goes on, and the survivors lack no more than what came while nobody held.
    let feeder = Feeder::start(cluster.lab(), VIP.into(), fed.sent, PERIOD).unwrap();
    wait_for_answer(&feeder, fed.sent + 200, &[holder]);
    let (begun, last_before) = (fed.sent + 1, feeder.sent() - 1);
    cluster.daemon(holder).unwrap().kill().unwrap();
    let survivors = others(holder);
    let first_after = wait_for_answer(&feeder, last_before, &survivors);
    wait_for_numbers(&feeder, first_after + 500);
    let fed = feeder.finish();
    let heard = assert_same(&cluster, &services, &survivors);
    let missing: Vec<u64> = (begun..=fed.sent).filter(|number| !heard.contains(number)).collect();
    let gap = last_before..first_after;
    assert!(missing.iter().all(|number| gap.contains(number)), "{missing:?} of the gap {gap:?}");
}

/// Input: IPv6, with fragments.
#[test]
fn a_tee_comes_and_goes_with_a_reload() {
    let (mut cluster, holder) = three_with_ipv6(&with_long_leases());
    let services = services(cluster.lab(), VIP6.into(), |node| cluster.lab().address6(node).into());
    let mut last = 0;
    for (text, said, standbys) in [
        ("", "", 0),
        (TEE, "tee of UDP port 5000 of web: added\n", 2),
        ("", "tee of UDP port 5000 of web: removed\n", 0),
    ] {
        for node in 1..=3 {
            cluster.options(node).unwrap().more_of_group = text.to_owned();
            cluster.write_config(node).unwrap();
            let output = cluster.order(node, &["reload"]).unwrap();
            assert!(output.status.success(), "{output:?}");
            let said = if said.is_empty() { "nothing has changed\n" } else { said };
            assert_eq!(String::from_utf8(output.stdout).unwrap(), said);
        }
        wait_for_standbys(&cluster, holder, standbys);
        let feeder = Feeder::start(cluster.lab(), VIP6.into(), last, PERIOD).unwrap();
        wait_for_answer(&feeder, last + 100, &[holder]);
        let fed = feeder.finish();
        let new = (last + 1..=fed.sent).collect::<BTreeSet<_>>();
        let heard = |node: u8| services[&node].numbers().intersection(&new).count();
        wait::until_equal("the holder to hear", PATIENCE, &new.len(), || Ok(heard(holder))).unwrap();
        let expected = if standbys > 0 { new.len() } else { 0 };
        for node in others(holder) {
            wait::until_equal("the standbys to hear", PATIENCE, &expected, || Ok(heard(node))).unwrap();
        }
        assert!(fed.answers.values().all(|nodes| *nodes == [holder]));
        last = fed.sent;
    }
}

/// Input: a standby whose service hangs; then its cable has no room either.
#[test]
fn an_overloaded_standby_slows_neither_the_holder_nor_the_other_standby() {
    let (cluster, holder) =
        three_with(&DaemonOptions { more_of_group: TEE.to_owned(), ..with_long_leases() });
    let [overloaded, other] = others(holder);
    let start =
        |node| Tally::start(cluster.lab(), node, VIP.into(), cluster.lab().address(node).into()).unwrap();
    let services = [holder, other].map(start);
    let hung = hung_service(cluster.lab(), overloaded);
    wait_for_standbys(&cluster, holder, 2);

    let served = |last: u64| {
        let admitted = || cluster.status(overloaded).unwrap().tees[0].admitted;
        let before = admitted();
        let feeder = Feeder::start(cluster.lab(), VIP.into(), last, PERIOD).unwrap();
        wait_for_numbers(&feeder, last + 1000);
        let fed = feeder.finish();
        assert_eq!(fed.answers, (last + 1..=fed.sent).map(|number| (number, vec![holder])).collect());
        let all: BTreeSet<u64> = (1..=fed.sent).collect();
        for service in &services {
            wait::until_equal("all numbers", PATIENCE, &all, || Ok(service.numbers())).unwrap();
        }
        (fed.sent, fed.sent - last, admitted() - before)
    };
    let (last, sent, admitted) = served(0);
    assert!(admitted >= sent, "{admitted} copies let in of {sent} datagrams, and of fragments");
    let heard = iter::from_fn(|| hung.recv(&mut [0; 16]).ok()).count() as u64;
    assert!((1..sent / 10).contains(&heard), "the service that hangs had room for {heard} of {sent}");

    cluster.lab().throttle(overloaded).unwrap();
    let (last, sent, admitted) = served(last);
    assert!(admitted < sent / 10, "{admitted} copies let in of {sent} datagrams, by a cable without room");
    let copied = cluster.status(holder).unwrap().tees[0].copied;
    assert!(
        copied >= 2 * last,
        "{copied} copies of {last} datagrams: one for each standby, whatever becomes of it"
    );
}

/// A service that takes nothing from its socket, which has room for a few datagrams.
fn hung_service(lab: &Lab, node: u8) -> UdpSocket {
    let socket = in_netns(&lab.node_netns(node), || Ok(UdpSocket::bind((VIP, PORT))?)).unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &0).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A service on each node, which is asked at the address that `own` gives.
fn services(lab: &Lab, vip: IpAddr, own: impl Fn(u8) -> IpAddr) -> BTreeMap<u8, Tally> {
    (1..=3).map(|node| (node, Tally::start(lab, node, vip, own(node)).unwrap())).collect()
}

fn wait_for_standbys(cluster: &Cluster, holder: u8, count: usize) {
    let sends = |status: &Status| {
        let standbys = status.tees.first().map_or(0, |tee| tee.standbys.len());
        standbys == count && status.tees.iter().all(|tee| tee.fault.is_none())
    };
    cluster.wait_status(holder, "to send copies", PATIENCE, sends).unwrap();
}

fn wait_for_numbers(feeder: &Feeder, number: u64) {
    wait::until("more numbers", PATIENCE, || Ok((feeder.sent() >= number).then_some(()))).unwrap();
}

/// Gives the number of the first answer by one of these nodes to a later number than this.
fn wait_for_answer(feeder: &Feeder, after: u64, nodes: &[u8]) -> u64 {
    let answer = || Ok(nodes.iter().filter_map(|node| feeder.answer_after(after, *node)).min());
    wait::until("an answer", PATIENCE, answer).unwrap()
}

/// Waits until the nodes have the same state, and nothing twice; gives the numbers that make it.
fn assert_same(cluster: &Cluster, services: &BTreeMap<u8, Tally>, nodes: &[u8]) -> BTreeSet<u64> {
    let states = || {
        let states = nodes.iter().map(|node| state_at(cluster.lab(), cluster.lab().address(*node).into()));
        states.collect::<Result<Vec<_>, _>>()
    };
    let same = wait::until("equal states", PATIENCE, || {
        let states = states()?;
        Ok(states.iter().all(|state| *state == states[0]).then_some(states[0]))
    });
    let Ok(state) = same else {
        let sets: Vec<_> = nodes.iter().map(|node| services[node].numbers()).collect();
        let apart: Vec<_> =
            sets.iter().map(|set| sets[0].symmetric_difference(set).collect::<Vec<_>>()).collect();
        panic!("{nodes:?}: {:?}, apart in {apart:?}", states());
    };
    assert_eq!(state.doubles, 0, "{state:?}");
    services[&nodes[0]].numbers()
}

/// What leaves a node.
struct Wire {
    socket: Socket,
    node: u8,
}

impl Wire {
    fn listen(lab: &Lab, node: u8) -> Self {
        let socket =
            in_netns(&lab.node_netns(node), || packet_socket("eth0", Some(libc::ETH_P_ALL))).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, node }
    }

    /// How often each number has gone to each node.
    fn copies(mut self) -> BTreeMap<u8, BTreeMap<u64, u32>> {
        let mut copies: BTreeMap<u8, BTreeMap<u64, u32>> = BTreeMap::new();
        let mut frame = [0; 2048];
        loop {
            match self.socket.read(&mut frame) {
                Ok(len) => {
                    if let Some((to, number)) = self.copy(&frame[..len]) {
                        *copies.entry(to).or_default().entry(number).or_default() += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return copies,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// To which node a frame of this one brings which number: of a datagram, or of its first fragment.
    fn copy(&self, frame: &[u8]) -> Option<(u8, u64)> {
        let (addresses, packet) = (frame.first_chunk::<12>()?, frame.get(14..)?);
        let (to, from) = addresses.split_first_chunk::<6>()?;
        let is_first =
            frame.get(12..14)? == [8, 0] && packet.get(9) == Some(&17) && packet.get(6)? & 0x1f == 0;
        let is_data = is_first && packet.get(7) == Some(&0) && packet.get(22..24)? == 5000_u16.to_be_bytes();
        if !is_data || Lab::node_of_mac(from.try_into().ok()?) != Some(self.node) {
            return None;
        }
        Some((Lab::node_of_mac(*to)?, u64::from_be_bytes(*packet.get(28..)?.first_chunk()?)))
    }
}
