//! The memory of [`vip_common::vote`] in plain values, and a clock for it.

use std::cell::Cell;
use std::net::Ipv6Addr;

use vip_common::lease::{Ballot, Decision, Freshness, Request, extension};
use vip_common::maps::{Event, EventKind, MAX_PEERS, Peer, Role};
use vip_common::vote;

use super::super::state::{State, index};
use super::Setting;

/// The clock during a run, known to have begun and to have ended: each reading of it is taken for one or the other.
///
/// An answer that depends on the time is right if it is right for some of these; all others are right for all.
pub(in super::super) struct Clock {
    /// CLOCK_BOOTTIME before and after the run, in ns.
    run: [u64; 2],
    /// Which readings come from the end: bit 0 = the first one.
    late: u32,
    readings: Cell<u32>,
}

impl Clock {
    /// No run reads the clock more often.
    const MAX_READINGS: u32 = 4;

    /// The clocks by which the whole run was at its beginning, and at its end.
    pub(in super::super) fn ends(run: [u64; 2]) -> [Self; 2] {
        [0, Self::ALL_LATE].map(|late| Self::new(run, late))
    }

    /// Every way in which the readings can lie, the likeliest first.
    pub(in super::super) fn all(run: [u64; 2]) -> impl Iterator<Item = Self> {
        let mixed = (1..Self::ALL_LATE).map(move |late| Self::new(run, late));
        Self::ends(run).into_iter().chain(mixed)
    }

    const ALL_LATE: u32 = (1 << Self::MAX_READINGS) - 1;

    fn new(run: [u64; 2], late: u32) -> Self {
        Self { run, late, readings: Cell::new(0) }
    }

    /// How long the run took, in ns.
    pub(in super::super) fn length(&self) -> u64 {
        self.run[1] - self.run[0]
    }

    /// The next reading.
    pub(super) fn read(&self) -> u64 {
        let reading = self.readings.replace(self.readings.get() + 1);
        assert!(reading < Self::MAX_READINGS);
        self.run[usize::from(self.late & (1 << reading) != 0)]
    }
}

/// Where a message came from.
pub(super) struct Source {
    pub(super) mac: [u8; 6],
    /// One of IPv4 is mapped.
    pub(super) address: Ipv6Addr,
}

/// A node's memory, for one message.
pub(super) struct Memory<'a> {
    pub(super) setting: &'a Setting,
    pub(super) clock: &'a Clock,
    pub(super) state: &'a mut State,
    pub(super) source: Source,
    pub(super) events: &'a mut Vec<Event>,
    pub(super) decision: Option<Decision>,
}

impl vote::Memory for Memory<'_> {
    fn now(&self) -> u64 {
        self.clock.read()
    }

    fn slot(&self, group: u32) -> Option<u32> {
        self.setting.groups.get(&group).copied()
    }

    fn admit(&mut self, node: u16, freshness: Freshness, now: u64) -> bool {
        let peers = &mut self.state.peers;
        if peers.len() == MAX_PEERS && !peers.contains_key(&node) {
            return false;
        }
        let peer = peers.entry(node).or_default();
        let latest = peer.freshness;
        if freshness <= latest {
            return false;
        }
        *peer = Peer { freshness, last_heard: now, mac: self.source.mac, ..Peer::default() };
        true
    }

    fn heard(&mut self, node: u16, now: u64) {
        if let Some(peer) = self.state.peers.get_mut(&node) {
            peer.last_heard = now;
        }
    }

    fn decide(&mut self, slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        let acceptor = &mut self.state.acceptors[index(slot)];
        let decision = acceptor.decide(request, now, longest);
        let group = &mut self.state.groups[index(slot)];
        group.holder_until = acceptor.expires;
        group.holder_ballot = acceptor.ballot;
        group.holder = Ballot(acceptor.ballot).node();
        if decision == Decision::Accepted && group.holder_mac != self.source.mac {
            group.former_mac = group.holder_mac;
            group.holder_mac = self.source.mac;
        }
        self.decision = Some(decision);
        decision
    }

    fn accepted(&mut self, slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        self.state.renewals[index(slot)].accepted(voter, ballot, sent_at, now)
    }

    fn extend(&mut self, slot: u32, until: u64) {
        let word = &mut self.state.groups[index(slot)].lease_until;
        *word = extension(*word, until).unwrap_or(*word);
    }

    fn is_holder(&self, slot: u32) -> bool {
        self.state.groups[index(slot)].role == Role::Holder as u32
    }

    fn report(&mut self, kind: EventKind, slot: u32, node: u16, value: u64) {
        let mut event = Event { kind: kind as u32, slot, value, node, ..Event::default() };
        if kind == EventKind::DuplicateId {
            event.mac = self.source.mac;
            event.address = self.source.address.octets();
        }
        self.events.push(event);
    }
}
