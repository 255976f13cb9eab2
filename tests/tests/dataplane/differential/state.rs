//! Everything that a node remembers, and everything that is seen of it when a frame comes.

use std::collections::BTreeMap;

use vip_common::lease::{Acceptor, Renewal};
use vip_common::maps::{self, Event, Group, LockedAcceptor, LockedRenewal, MAX_PEERS, Peer, Role, Stale};
use vip_user::dataplane::{Action, Pins};

use super::super::node::{MAIL, WEB};
use super::bpf::{LOCKED, Map, possible_cpus};

/// The slots that are in use, in the order of [`State`]'s arrays.
pub(super) const SLOTS: [u32; 2] = [WEB, MAIL];

/// What the maps hold.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct State {
    pub(super) groups: [Group; 2],
    pub(super) acceptors: [Acceptor; 2],
    pub(super) renewals: [Renewal; 2],
    pub(super) peers: BTreeMap<u16, Peer>,
    pub(super) counters: [u64; maps::COUNTERS],
}

/// Where a slot is in [`State`]'s arrays.
pub(super) fn index(slot: u32) -> usize {
    SLOTS.iter().position(|used| *used == slot).expect("a slot in use")
}

/// What the daemon does to the node's memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Arm {
        slot: u32,
        until: u64,
    },
    Disarm {
        slot: u32,
    },
    SetRole {
        slot: u32,
        role: Role,
    },
    SetStale {
        slot: u32,
        stale: Stale,
    },
    SetVirtualMac {
        slot: u32,
        mac: [u8; 6],
    },
    SetRenewal {
        slot: u32,
        renewal: Renewal,
    },
    /// A group gets an acceptor without a past, in quarantine until then.
    Quarantine {
        slot: u32,
        until: u64,
    },
}

impl State {
    /// Does as the daemon's own functions say that they do.
    pub(super) fn perform(&mut self, step: &Move) {
        match *step {
            Move::Arm { slot, until } => {
                let word = &mut self.groups[index(slot)].lease_until;
                *word = until.max(*word);
            }
            Move::Disarm { slot } => self.groups[index(slot)].lease_until = 0,
            Move::SetRole { slot, role } => self.groups[index(slot)].role = role as u32,
            Move::SetStale { slot, stale } => self.groups[index(slot)].stale = stale as u32,
            Move::SetVirtualMac { slot, mac } => self.groups[index(slot)].virtual_mac = mac,
            Move::SetRenewal { slot, renewal } => self.renewals[index(slot)] = renewal,
            Move::Quarantine { slot, until } => {
                self.acceptors[index(slot)] = Acceptor { quarantine_until: until, ..Acceptor::default() };
            }
        }
    }

    /// This state with the readings of the clock in `actual`, where they are within `slack` ns of its own.
    fn at_the_times_of(mut self, actual: &Self, slack: u64) -> Self {
        for (own, theirs) in self.groups.iter_mut().zip(&actual.groups) {
            adopt(&mut own.holder_until, theirs.holder_until, slack);
            adopt(&mut own.conflict_at, theirs.conflict_at, slack);
        }
        for (own, theirs) in self.acceptors.iter_mut().zip(&actual.acceptors) {
            adopt(&mut own.expires, theirs.expires, slack);
        }
        for (node, own) in &mut self.peers {
            if let Some(theirs) = actual.peers.get(node) {
                adopt(&mut own.last_heard, theirs.last_heard, slack);
            }
        }
        self
    }
}

/// Takes over a time that differs by no more than the clock moved meanwhile.
pub(super) fn adopt(own: &mut u64, theirs: u64, slack: u64) {
    if own.abs_diff(theirs) <= slack {
        *own = theirs;
    }
}

/// What comes of a frame.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Seen {
    pub(super) action: Action,
    pub(super) frame: Vec<u8>,
    pub(super) events: Vec<Event>,
    /// Afterwards.
    pub(super) state: State,
}

impl Seen {
    pub(super) fn at_the_times_of(mut self, actual: &Self, slack: u64) -> Self {
        self.state = self.state.at_the_times_of(&actual.state, slack);
        self
    }

    /// What differs, a line for each part.
    pub(super) fn difference(&self, actual: &Self) -> String {
        let (own, theirs) = (&self.state, &actual.state);
        [
            difference("action", &self.action, &actual.action),
            difference("frame", &hex(&self.frame), &hex(&actual.frame)),
            difference("events", &self.events, &actual.events),
            difference("groups", &own.groups, &theirs.groups),
            difference("acceptors", &own.acceptors, &theirs.acceptors),
            difference("renewals", &own.renewals, &theirs.renewals),
            difference("peers", &own.peers, &theirs.peers),
            difference("counters", &own.counters, &theirs.counters),
        ]
        .concat()
    }
}

fn difference<T: PartialEq + std::fmt::Debug>(part: &str, expected: &T, actual: &T) -> String {
    if expected == actual {
        return String::new();
    }
    format!("  {part}:\n    expected {expected:?}\n    got      {actual:?}\n")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The maps that a [`State`] is read from.
pub(super) struct Maps {
    pub(super) groups: Map<Group>,
    pub(super) acceptors: Map<LockedAcceptor>,
    renewals: Map<LockedRenewal>,
    peers: Map<Peer>,
    counters: Map<u64>,
    cpus: usize,
}

impl Maps {
    pub(super) fn open(pins: &Pins) -> Self {
        Self {
            groups: Map::open(&pins.map("GROUPS")),
            acceptors: Map::open(&pins.map("ACCEPTORS")),
            renewals: Map::open(&pins.map("RENEWALS")),
            peers: Map::open(&pins.map("PEERS")),
            counters: Map::open(&pins.map("COUNTERS")),
            cpus: possible_cpus(),
        }
    }

    pub(super) fn read(&self) -> State {
        let (nodes, peers) = self.peers.entries(MAX_PEERS, 1);
        let nodes = nodes.into_iter().map(|node| u16::try_from(node).unwrap());
        let (_, counts) = self.counters.entries(maps::COUNTERS, self.cpus);
        let mut counters = [0; maps::COUNTERS];
        for (counter, of_cpus) in counters.iter_mut().zip(counts.chunks(self.cpus)) {
            *counter = of_cpus.iter().sum();
        }
        State {
            groups: SLOTS.map(|slot| self.groups.lookup(slot, 0)),
            acceptors: SLOTS.map(|slot| self.acceptors.lookup(slot, LOCKED).state),
            renewals: SLOTS.map(|slot| self.renewals.lookup(slot, LOCKED).state),
            peers: nodes.zip(peers).collect(),
            counters,
        }
    }

    /// Panics if something was written into a slot that no group has.
    pub(super) fn assert_others_untouched(&self) {
        for slot in (0..u32::try_from(maps::SLOTS).unwrap()).filter(|slot| !SLOTS.contains(slot)) {
            assert_eq!(self.groups.lookup(slot, 0), Group::default(), "slot {slot}");
            assert_eq!(self.acceptors.lookup(slot, LOCKED).state, Acceptor::default(), "slot {slot}");
            assert_eq!(self.renewals.lookup(slot, LOCKED).state, Renewal::default(), "slot {slot}");
        }
    }
}
