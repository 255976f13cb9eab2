//! Three programs of the same priority on one segment: a daemon, keepalived and FRR.

use std::{collections::BTreeMap, thread};

use anyhow::bail;
use vip_tests::{cluster::Cluster, net, wait};

use super::{
    capture::Capture,
    case::{Case, Other, Program, errors},
};
use crate::PATIENCE;

/// What runs on a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Theirs(Program),
}

const OURS: Who = Who::Ours;
const KEEPALIVED: Who = Who::Theirs(Program::Keepalived);
const FRR: Who = Who::Theirs(Program::Frr);

/// The version, whether it is by IPv6, and who is on nodes 1, 2 and 3, in the order of the addresses that they send from. (By IPv6,
/// FRR sends from the virtual router's own address here, the lowest.)
const SEGMENTS: [(u8, bool, [Who; 3]); 5] = [
    (3, false, [OURS, FRR, KEEPALIVED]),
    (3, false, [KEEPALIVED, OURS, FRR]),
    (3, false, [FRR, KEEPALIVED, OURS]),
    (2, false, [FRR, KEEPALIVED, OURS]),
    (3, true, [FRR, KEEPALIVED, OURS]),
];

#[test]
fn of_three_programs_that_meet_as_masters_the_one_of_the_highest_address_stays() {
    thread::scope(|scope| {
        for (version, ipv6, places) in SEGMENTS {
            // In which order they take over is looked at: on a busy machine nobody may be late by three intervals.
            let case = Case { version, ipv6, interval: 1000, ..Case::with(Program::Keepalived) };
            scope.spawn(move || meet(case, places));
        }
    });
}

fn meet(case: Case, places: [Who; 3]) {
    let cluster = case.cluster(3, 100);
    let capture = Capture::start(cluster.lab(), &cluster.lab().client_netns());
    let mut segment = Segment { cluster, case, places, others: BTreeMap::new() };
    // Each is master of its own, for they do not hear each other.
    segment.isolate("on");
    (1..=3).for_each(|node| segment.start(node));
    segment.wait("all to be masters", |states| *states == ["master"; 3]);
    segment.isolate("off");
    segment.wait("the highest address to win", |states| *states == ["backup", "backup", "master"]);

    // One of the others takes over, and the third is not preferred when it is back: equals are not preempted.
    segment.stop(3);
    segment.wait("one master", |states| is_settled(states, 2));
    segment.start(3);
    segment.wait("the third to follow", |states| is_settled(states, 3) && states[2] == "backup");

    // Each gives up in its turn.
    for left in (1..=3).rev() {
        let states = segment.wait("one master", |states| is_settled(states, left));
        let (master, _) = (1..).zip(&states).find(|(_, state)| *state == "master").unwrap();
        segment.stop(master);
    }
    capture.finish(segment.ours());
}

/// So many run, one of them as master and the others as backups.
fn is_settled(states: &[String; 3], running: usize) -> bool {
    let count = |wanted| states.iter().filter(|state| *state == wanted).count();
    (count("master"), count("backup")) == (1, running - 1)
}

/// Nodes 1 to 3.
struct Segment {
    cluster: Cluster,
    case: Case,
    places: [Who; 3],
    /// Those that run.
    others: BTreeMap<u8, Other>,
}

impl Segment {
    fn who(&self, node: u8) -> Who {
        self.places[usize::from(node) - 1]
    }

    fn ours(&self) -> u8 {
        (1..=3).find(|node| self.who(*node) == OURS).unwrap()
    }

    fn start(&mut self, node: u8) {
        match self.who(node) {
            Who::Ours => self.cluster.restart(node).unwrap(),
            Who::Theirs(program) => {
                let other = Case { program, ..self.case }.start(&self.cluster, node);
                self.others.insert(node, other);
            }
        }
    }

    /// In good order; it has had nothing to complain of.
    fn stop(&mut self, node: u8) {
        if let Some(other) = self.others.remove(&node) {
            assert_eq!(other.complaints(), [""; 0]);
            other.stop();
        } else {
            assert_eq!(self.cluster.status(node).unwrap().counters["vrrp_invalid"], 0);
            assert_eq!(errors(&mut self.cluster, node), [""; 0]);
            assert!(self.cluster.daemon(node).unwrap().terminate().unwrap().success());
        }
    }

    /// Of nodes 1 to 3; nothing of those that do not run, or do not say.
    fn states(&self) -> [String; 3] {
        [1, 2, 3].map(|node| match (self.who(node), self.others.get(&node)) {
            (Who::Theirs(_), other) => other.map(Other::state).unwrap_or_default(),
            (Who::Ours, _) => {
                self.cluster.status(node).map(|status| status.groups[0].state.clone()).unwrap_or_default()
            }
        })
    }

    /// Gives the states when they are as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&[String; 3]) -> bool) -> [String; 3] {
        let waited = wait::until_calmly(what, PATIENCE, || {
            let states = self.states();
            if wanted(&states) { Ok(Some(states)) } else { bail!("{states:?}") }
        });
        waited.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Whether the switch carries nothing from one node to another; the client reaches all of them.
    fn isolate(&self, on: &str) {
        let lab = self.cluster.lab();
        for node in 1..=3 {
            let port = lab.port(node);
            net::ip(
                &lab.switch_netns(),
                &["link", "set", "dev", &port, "type", "bridge_slave", "isolated", on],
            )
            .unwrap();
        }
    }
}
