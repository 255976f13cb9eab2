//! What the XDP program takes for a frame of each kind, over an empty program (BPF_PROG_TEST_RUN). `cargo xtask bench packet`
//! runs this; root only.
//!
//! Two measures. *Hot*: ten thousand frames in a row, each for another VIP, as under load; over an empty program that is given
//! the same frames. *Cold*: one frame, and then one to another VIP, each by a system call of its own, after which little of
//! what the program needs is in the caches.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench that cannot measure has nothing to say"
)]

#[expect(dead_code, reason = "of what the tests build, a few kinds of frames")]
#[path = "../../tests/dataplane/frames.rs"]
mod frames;
#[expect(dead_code, reason = "as above")]
#[path = "../../tests/dataplane/node.rs"]
mod node;
mod replay;

use std::collections::BTreeMap;
use std::env;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::Serialize;
use vip_common::maps::Counter;
use vip_tests::bpf;
use vip_tests::lab::program_that_passes;
use vip_user::dataplane::{Action, Vip, Vip6};

use frames::{ETHERTYPE_IPV4, Ipv4, Neighbour, PROTOCOL_UDP, arp_request, ethernet, link_layer, udp};
use node::{CLIENT, COUNTERS, LEASE, LOOPBACK, NODE_HOST, Node, Peer, WEB, multicast, now};
use replay::{FRAMES, Frames, Replay};

/// VIPs of the group.
const COUNTS: [u32; 2] = [1, 10_000];
/// Each gives a median; the cases take turns.
const ROUNDS: u32 = 100;
/// Cold runs of each case in a round.
const RUNS: usize = 200;
const PAYLOAD: [u8; 18] = [0; 18];

/// A kind of frame.
struct Case {
    name: &'static str,
    held: bool,
    expected: (Action, Counter),
    /// For the VIP of this number, of so many.
    frame: fn(&mut Peer, u32) -> Vec<u8>,
}

const CASES: [Case; 6] = [
    Case {
        name: "other traffic",
        held: true,
        expected: (Action::Pass, Counter::Other),
        frame: |_, _| to(NODE_HOST.ip),
    },
    Case {
        name: "VIP, held",
        held: true,
        expected: (Action::Pass, Counter::VipPassed),
        frame: |_, number| to(vip(number)),
    },
    Case {
        name: "VIP, fenced",
        held: false,
        expected: (Action::Drop, Counter::VipFenced),
        frame: |_, number| to(vip(number)),
    },
    Case {
        name: "ARP, answered",
        held: true,
        expected: (Action::Tx, Counter::ArpReply),
        frame: |_, number| arp_request(CLIENT, vip(number)),
    },
    Case {
        name: "NS, answered",
        held: true,
        expected: (Action::Tx, Counter::NdReply),
        frame: |_, number| {
            let options = &link_layer(1, CLIENT.mac);
            Neighbour { options, ..Neighbour::solicitation(CLIENT.ip6(), vip6(number)) }.frame(CLIENT.mac)
        },
    },
    Case {
        name: "renewal, answered",
        held: true,
        expected: (Action::Tx, Counter::LeaseReply),
        frame: |peer, _| multicast(&peer.propose(3, LEASE)),
    },
];

/// What a case took, in ns over the empty program, with so many VIPs.
#[derive(Serialize)]
struct Record {
    frame: &'static str,
    vips: u32,
    hot: Rounds,
    cold: Rounds,
}

/// What the rounds gave, in order, and the median of that; in ns.
#[derive(Serialize)]
struct Rounds {
    median_ns: f64,
    rounds_ns: Vec<f64>,
}

impl Rounds {
    fn of(rounds_ns: Vec<f64>) -> Self {
        Self { median_ns: middle(rounds_ns.clone()), rounds_ns }
    }
}

fn main() {
    let empty = program_that_passes().expect("loading a program: run as root");
    let records: Vec<Record> = COUNTS.into_iter().flat_map(|count| measure(&empty, count)).collect();
    if env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&records).unwrap());
    } else {
        print!("{}", table(&records));
    }
}

fn measure(empty: &OwnedFd, count: u32) -> Vec<Record> {
    let [held, fenced] = [true, false].map(|held| node(count, held));
    // Each far from the one before, in the order of the addresses.
    let numbers = (0_u64..).map(|run| u32::try_from(run * 7919 % u64::from(count)).unwrap());
    let mut source = Source { peer: Peer::new(2), numbers };
    let mut cases = CASES.map(|case| {
        let node = if case.held { &held } else { &fenced };
        Measured::new(case, node, empty, &mut source)
    });
    for _ in 0..ROUNDS {
        let any = to(NODE_HOST.ip);
        let nothing = cold(empty.as_fd(), iter::repeat_n(any, RUNS));
        for case in &mut cases {
            case.round(nothing, &mut source);
        }
    }
    cases.map(|case| case.record(count)).into()
}

/// Where frames come from.
struct Source<N> {
    peer: Peer,
    /// Of the VIPs that they are for.
    numbers: N,
}

impl<N: Iterator<Item = u32>> Source<N> {
    fn frames(&mut self, case: &Case) -> impl Iterator<Item = Vec<u8>> {
        let Self { peer, numbers } = self;
        numbers.map(|number| (case.frame)(peer, number))
    }
}

/// A case under way.
struct Measured<'a> {
    case: Case,
    node: &'a Node,
    frames: Frames,
    /// Replays of these, to the program and to the empty one.
    program: Replay,
    nothing: Replay,
    hot: Vec<f64>,
    cold: Vec<f64>,
}

impl<'a> Measured<'a> {
    fn new(
        case: Case,
        node: &'a Node,
        empty: &OwnedFd,
        source: &mut Source<impl Iterator<Item = u32>>,
    ) -> Self {
        let frame = source.frames(&case).next().unwrap();
        let outcome = node.receives(&frame);
        assert_eq!((outcome.action, outcome.counter), case.expected, "{}", case.name);
        assert_eq!(outcome.frame.len(), frame.len(), "{}: the next frame would not fit", case.name);
        let frames = Frames::new(frame.len()).unwrap();
        let program = Replay::new(&frames, node.plane.program.descriptor().unwrap()).unwrap();
        let nothing = Replay::new(&frames, empty).unwrap();
        Self { case, node, frames, program, nothing, hot: Vec::new(), cold: Vec::new() }
    }

    /// `nothing` = what a cold run of the empty program takes.
    fn round(&mut self, nothing: f64, source: &mut Source<impl Iterator<Item = u32>>) {
        let program = self.node.plane.program.descriptor().unwrap();
        self.cold.push(cold(program, source.frames(&self.case).take(RUNS)) - nothing);
        // Once to have the tables in the caches, where the other cases have left theirs.
        self.frames.set(source.frames(&self.case));
        self.all_frames();
        self.frames.set(source.frames(&self.case));
        let nothing = ns(self.nothing.time(&self.frames).unwrap());
        self.hot.push(self.all_frames() - nothing);
    }

    /// What the program takes for each of the frames. Panics unless it does with all of them what it is measured for.
    fn all_frames(&self) -> f64 {
        let counters = || self.node.plane.tables.counters().unwrap();
        let before = counters();
        let time = ns(self.program.time(&self.frames).unwrap());
        let after = counters();
        for counter in COUNTERS {
            let expected = if counter == self.case.expected.1 { FRAMES as u64 } else { 0 };
            let counted = after.get(counter) - before.get(counter);
            assert_eq!(counted, expected, "{}: {counter:?}", self.case.name);
        }
        time
    }

    fn record(self, vips: u32) -> Record {
        let (hot, cold) = (Rounds::of(self.hot), Rounds::of(self.cold));
        Record { frame: self.case.name, vips, hot, cold }
    }
}

/// The median of what the program takes for each of these frames by a system call of its own.
fn cold(program: BorrowedFd<'_>, frames: impl Iterator<Item = Vec<u8>>) -> f64 {
    middle(frames.map(|frame| ns(bpf::time(program, &frame, 1).unwrap())).collect())
}

/// One whose group has so many VIPs of each version.
fn node(count: u32, held: bool) -> Node {
    let mut node = Node::new();
    let tables = &mut node.plane.tables;
    let interface = LOOPBACK;
    let vips: BTreeMap<_, _> = (0..count).map(|number| (vip(number), Vip { slot: WEB, interface })).collect();
    tables.set_vips(&vips).unwrap();
    let vips6: BTreeMap<_, _> =
        (0..count).map(|number| (vip6(number), Vip6 { slot: WEB, router: 0, interface })).collect();
    tables.set_vips6(&vips6).unwrap();
    if held {
        node.plane.words.arm(WEB, now() + LEASE);
    }
    node
}

fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 0, 0).to_bits() + number)
}

fn vip6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(number))
}

/// A small datagram.
fn to(address: Ipv4Addr) -> Vec<u8> {
    let packet = Ipv4::new(CLIENT.ip, address, PROTOCOL_UDP).around(&udp(4000, 80, &PAYLOAD));
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet)
}

fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(records: &[Record]) -> String {
    let heading = format!(
        "{:<20}{:>12}{:>18}{:>13}{:>19}",
        "ns per frame", "hot, 1 VIP", "hot, 10,000 VIPs", "cold, 1 VIP", "cold, 10,000 VIPs"
    );
    let mut table = format!("{heading}\n{}\n", "-".repeat(heading.len()));
    for case in &CASES {
        let [one, many] = COUNTS.map(|count| {
            let record = records.iter().find(|record| record.frame == case.name && record.vips == count);
            record.expect("each case is measured")
        });
        let medians = [&one.hot, &many.hot, &one.cold, &many.cold].map(|rounds| rounds.median_ns);
        let [one_hot, many_hot, one_cold, many_cold] = medians;
        table +=
            &format!("{:<20}{one_hot:>12.0}{many_hot:>18.0}{one_cold:>13.0}{many_cold:>19.0}\n", case.name);
    }
    table
}
