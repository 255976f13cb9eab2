//! The data plane of one node: the memory that the XDP program has in its maps, in plain values.
//!
//! What is done with a message is decided by `vip_common::vote`, which the XDP program runs as well. Of the program,
//! only the maps are played here: each call of [`Memory`] is atomic, and the word is extended by compare-and-swap.

use vip_common::lease::{Acceptor, Ballot, Decision, Freshness, Renewal, Request, extension};
use vip_common::maps::{Config, EventKind, Role};
use vip_common::vote::Memory;

/// The number on the wire of the group in slot 0; those of the others follow. 0 is no group's.
pub(crate) const FIRST_GROUP: u32 = 1;

/// The maps of a node.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) config: Config,
    /// By slot.
    pub(crate) groups: Vec<Group>,
    /// By node id.
    peers: Vec<Peer>,
    /// The node's clock, as it is while a message is handled.
    pub(crate) now: u64,
    /// What the daemon has to be told: kind and slot.
    pub(crate) events: Vec<(EventKind, u32)>,
    /// The processor that handles this message loses its time between reading a word and swapping it.
    pub(crate) is_slow: bool,
    /// The swap that such a processor has still to do.
    pub(crate) under_way: Option<Swap>,
}

/// One group's entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) acceptor: Acceptor,
    pub(crate) renewal: Renewal,
    pub(crate) lease_until: u64,
    is_holder: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    freshness: Freshness,
    last_heard: u64,
}

/// An extension of a lease word, the old word read and not yet compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swap {
    slot: u32,
    word: u64,
    until: u64,
}

impl Plane {
    /// Maps that were just made: every acceptor is in quarantine until then.
    pub(crate) fn new(groups: usize, nodes: u16, quarantine_until: u64) -> Self {
        let acceptor = Acceptor { quarantine_until, ..Acceptor::default() };
        Self {
            config: Config::default(),
            groups: vec![Group { acceptor, ..Group::default() }; groups],
            peers: vec![Peer::default(); usize::from(nodes) + 1],
            now: 0,
            events: Vec::new(),
            is_slow: false,
            under_way: None,
        }
    }

    /// When a node was last heard, by this node's clock; 0 = never.
    pub(crate) fn last_heard(&self, node: u16) -> u64 {
        self.peers.get(usize::from(node)).map_or(0, |peer| peer.last_heard)
    }

    /// The daemon lets the group be served until then.
    pub(crate) fn arm(&mut self, slot: usize, until: u64) {
        let word = &mut self.groups[slot].lease_until;
        *word = until.max(*word);
    }

    /// The daemon stops the group from being served.
    pub(crate) fn disarm(&mut self, slot: usize) {
        self.groups[slot].lease_until = 0;
    }

    /// The daemon tells who takes the answers to renewals.
    pub(crate) fn set_role(&mut self, slot: usize, role: Role) {
        self.groups[slot].is_holder = role == Role::Holder;
    }

    /// The processor goes on: compares, and where the word has changed meanwhile, looks at it anew.
    pub(crate) fn finish(&mut self, swap: Swap) {
        let word = self.groups[swap.slot as usize].lease_until;
        if word == swap.word {
            self.swap(swap);
        } else {
            self.extend(swap.slot, swap.until);
        }
    }

    fn swap(&mut self, Swap { slot, word, until }: Swap) {
        if let Some(extended) = extension(word, until) {
            self.groups[slot as usize].lease_until = extended;
        }
    }
}

impl Memory for Plane {
    fn now(&self) -> u64 {
        self.now
    }

    fn slot(&self, group: u32) -> Option<u32> {
        group.checked_sub(FIRST_GROUP).filter(|slot| (*slot as usize) < self.groups.len())
    }

    fn admit(&mut self, node: u16, freshness: Freshness, now: u64) -> bool {
        let Some(peer) = self.peers.get_mut(usize::from(node)) else { return false };
        let fresh = peer.freshness.admit(freshness.incarnation, freshness.sequence);
        if fresh {
            peer.last_heard = now;
        }
        fresh
    }

    fn heard(&mut self, node: u16, now: u64) {
        if let Some(peer) = self.peers.get_mut(usize::from(node)) {
            peer.last_heard = now;
        }
    }

    fn decide(&mut self, slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        self.groups[slot as usize].acceptor.decide(request, now, longest)
    }

    fn accepted(&mut self, slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        self.groups[slot as usize].renewal.accepted(voter, ballot, sent_at, now)
    }

    fn extend(&mut self, slot: u32, until: u64) {
        let swap = Swap { slot, word: self.groups[slot as usize].lease_until, until };
        if self.is_slow {
            self.under_way = Some(swap);
        } else {
            self.swap(swap);
        }
    }

    fn is_holder(&self, slot: u32) -> bool {
        self.groups[slot as usize].is_holder
    }

    fn report(&mut self, kind: EventKind, slot: u32, _node: u16, _value: u64) {
        self.events.push((kind, slot));
    }
}
