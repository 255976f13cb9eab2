//! What the XDP program takes for a frame of each kind, over an empty program (BPF_PROG_TEST_RUN). `cargo xtask bench packet`
//! runs this; root only.
//!
//! Two measures. *Cold*: one frame, and then one to another VIP, each by a system call of its own, after which little of what
//! the program needs is in the caches. *Hot*: the same frame over and over, as under load; not for frames that are turned into
//! their answers, since the kernel would have the program run on the answer next.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench that cannot measure has nothing to say"
)]

mod empty;
#[expect(dead_code, reason = "of what the tests build, a few kinds of frames")]
#[path = "../../tests/dataplane/frames.rs"]
mod frames;
#[expect(dead_code, reason = "as above")]
#[path = "../../tests/dataplane/node.rs"]
mod node;

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;
use vip_common::maps::{Counter, Vip, Vip6};
use vip_user::dataplane::Action;

use empty::Empty;
use frames::{ETHERTYPE_IPV4, Ipv4, Neighbour, PROTOCOL_UDP, arp_request, ethernet, udp};
use node::{CLIENT, LEASE, LOOPBACK, NODE_HOST, Node, Peer, WEB, multicast, now};

/// VIPs of the group.
const COUNTS: [u32; 2] = [1, 10_000];
/// Each gives a median; the cases take turns.
const ROUNDS: u32 = 100;
/// Cold runs of each case in a round, and hot ones.
const RUNS: u32 = 200;
const HOT_RUNS: u32 = 10_000;
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
        frame: |_, number| Neighbour::solicitation(CLIENT.ip6(), vip6(number)).frame(CLIENT.mac),
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
    cold: Rounds,
    /// None for what is answered.
    hot: Option<Rounds>,
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
    let empty = Empty::load().expect("loading a program: run as root");
    let records: Vec<Record> = COUNTS.into_iter().flat_map(|count| measure(&empty, count)).collect();
    if env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&records).unwrap());
    } else {
        print!("{}", table(&records));
    }
}

fn measure(empty: &Empty, count: u32) -> Vec<Record> {
    let [held, fenced] = [true, false].map(|held| node(count, held));
    let of = |case: &Case| if case.held { &held } else { &fenced };
    let mut peer = Peer::new(2);
    for case in &CASES {
        let outcome = of(case).receives(&(case.frame)(&mut peer, 0));
        assert_eq!((outcome.action, outcome.counter), case.expected, "{}", case.name);
    }
    let (mut cold, mut hot) = (CASES.map(|_| Vec::new()), CASES.map(|_| Vec::new()));
    let mut number = 0;
    for _ in 0..ROUNDS {
        let any = to(NODE_HOST.ip);
        let nothing = middle((0..RUNS).map(|_| ns(empty.time(&any, 1).unwrap())).collect());
        let nothing_hot = ns(empty.time(&any, HOT_RUNS).unwrap());
        for (index, case) in CASES.iter().enumerate() {
            let program = &of(case).plane.program;
            let times = (0..RUNS).map(|_| {
                // Far from the one before, in the order of the addresses.
                number = (number + 7919) % count;
                ns(program.time(&(case.frame)(&mut peer, number), 1).unwrap())
            });
            cold[index].push(middle(times.collect()) - nothing);
            if case.expected.0 != Action::Tx {
                let frame = (case.frame)(&mut peer, number);
                hot[index].push(ns(program.time(&frame, HOT_RUNS).unwrap()) - nothing_hot);
            }
        }
    }
    let rounds = CASES.iter().zip(cold.into_iter().zip(hot));
    let record = |(case, (cold, hot)): (&Case, (_, Vec<f64>))| Record {
        frame: case.name,
        vips: count,
        cold: Rounds::of(cold),
        hot: (!hot.is_empty()).then(|| Rounds::of(hot)),
    };
    rounds.map(record).collect()
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
        let hot = |record: &Record| {
            record.hot.as_ref().map_or("-".to_owned(), |hot| format!("{:.0}", hot.median_ns))
        };
        let (one_hot, many_hot) = (hot(one), hot(many));
        let (one, many) = (one.cold.median_ns, many.cold.median_ns);
        table += &format!("{:<20}{one_hot:>12}{many_hot:>18}{one:>13.0}{many:>19.0}\n", case.name);
    }
    table
}
