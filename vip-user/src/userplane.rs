//! The data plane of a node without XDP, in this process: the same acceptors, quorums and lease words, by the
//! same rules ([`vip_common::vote`]), over memory that ends with the process.
//!
//! What serves is not a program in the driver, but the VIPs themselves, as addresses of the interface
//! ([`addresses`]): the kernel answers for them, and takes their traffic in. So nothing fences them but this
//! process, and a daemon that is stopped or killed leaves them where they are.
//!
//! The rules take `now` and know no clock and no socket. The lease thread has the plane for itself; what the
//! control plane reads of it is on the [`Board`].

pub mod addresses;
mod board;
pub mod record;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use vip_common::lease::{Acceptor, Ballot, Decision, Freshness, Renewal, Request};
use vip_common::maps::{Config, Counter, Event, EventKind, KeyUse, MAX_PEERS};
use vip_common::siphash::Key;
use vip_common::vote::{self, Memory, Verdict};
use vip_common::wire::{Invalid, Kind, Message};

pub use self::board::Board;
use crate::dataplane::Words;
use crate::ipv6::mapped;
use crate::signer::WireKeys;

/// What a node does without, beside the fence.
pub const MISSING: &str =
    "no stale forwarding, no egress fence, nothing kept in handovers, no notice of others that claim a VIP";

/// Events that may wait for the daemon; more are lost, as in the XDP program's ring.
const MAX_EVENTS: usize = 1024;

/// The memory that the XDP program would have in its maps.
#[derive(Debug)]
pub struct UserPlane {
    config: Config,
    /// Slots by the groups' numbers on the wire.
    slots: BTreeMap<u32, u32>,
    /// By slot.
    groups: BTreeMap<u32, Group>,
    /// By node.
    peers: BTreeMap<u16, Peer>,
    words: Words,
    board: Arc<Board>,
    events: VecDeque<Event>,
}

/// One group's lease, as this node knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    acceptor: Acceptor,
    renewal: Renewal,
}

/// A node that was heard.
#[derive(Clone, Copy, Debug)]
struct Peer {
    freshness: Freshness,
    /// Its place on the board.
    place: usize,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received<'a> {
    /// It is for the daemon: message and body.
    Passed(Message, Kind, &'a [u8]),
    /// This goes back to where it came from.
    Answered(Message),
    /// Nothing: it was taken in, or rejected.
    Done,
}

impl UserPlane {
    /// A plane without a past, for these groups (number on the wire → slot): their acceptors are silent until
    /// `quarantine_until` (CLOCK_BOOTTIME, ns).
    pub fn new(config: Config, slots: BTreeMap<u32, u32>, quarantine_until: u64, words: Words) -> Self {
        let acceptor = Acceptor { quarantine_until, ..Acceptor::default() };
        let groups = slots.values().map(|slot| (*slot, Group { acceptor, ..Group::default() })).collect();
        Self {
            config,
            slots,
            groups,
            peers: BTreeMap::new(),
            words,
            board: Arc::default(),
            events: VecDeque::new(),
        }
    }

    /// What others may read of it.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Decides by the configuration of this epoch from now on, as one of its voters or not.
    pub fn set_epoch(&mut self, epoch: u32, is_voter: bool) {
        self.config.epoch = epoch;
        self.config.observer = (!is_voter).into();
    }

    /// These keys verify from now on, and the first one signs.
    pub fn set_keys(&mut self, keys: &WireKeys) {
        keys.put_into(&mut self.config);
    }

    /// Starts counting answers to a new proposal.
    pub fn set_renewal(&mut self, slot: u32, renewal: Renewal) {
        if let Some(group) = self.groups.get_mut(&slot) {
            group.renewal = renewal;
        }
    }

    /// Verifies a datagram that came from this address, decides on it, and counts what came of it. `now` is
    /// CLOCK_BOOTTIME in ns, read after it came.
    pub fn receive<'a>(&mut self, datagram: &'a [u8], source: IpAddr, now: u64) -> Received<'a> {
        let (message, kind, body) = match Message::open(datagram, self.config.cluster, self.keys()) {
            Ok(opened) => opened,
            Err(invalid) => {
                self.board.count(match invalid {
                    Invalid::Malformed => Counter::RejectedMalformed,
                    Invalid::OtherCluster => Counter::RejectedCluster,
                    Invalid::Tag => Counter::RejectedTag,
                });
                return Received::Done;
            }
        };
        match self.decide_on(&message, kind, Some(source), now) {
            Verdict::Pass(_) => Received::Passed(message, kind, body),
            Verdict::Drop(_) => Received::Done,
            Verdict::Reply(answer) => Received::Answered(self.answered(message, answer)),
        }
    }

    /// Asks this node's own acceptor; `None` if it has nothing to say, as in quarantine. `now` as in
    /// [`Self::receive`], read after the message was stamped.
    pub fn cast(&mut self, message: &Message, now: u64) -> Option<Message> {
        let kind = message.kind_for(self.config.cluster).ok()?;
        match self.decide_on(message, kind, None, now) {
            Verdict::Reply(answer) => Some(self.answered(*message, answer)),
            Verdict::Pass(_) | Verdict::Drop(_) => None,
        }
    }

    /// What there is to tell the daemon, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn keys(&self) -> &[Key] {
        // The first one signs: see `WireKeys`.
        let count = if KeyUse(self.config.keys_in_use).verifies(1) { 2 } else { 1 };
        &self.config.keys[..count]
    }

    /// Without a source, the message is this node's own daemon's.
    fn decide_on(&mut self, message: &Message, kind: Kind, source: Option<IpAddr>, now: u64) -> Verdict {
        let config = self.config;
        let verdict =
            vote::message(message, kind, source.is_none(), &config, &mut At { plane: self, source, now });
        self.board.count(match verdict {
            Verdict::Pass(counter) | Verdict::Drop(counter) => counter,
            Verdict::Reply(_) => Counter::LeaseReply,
        });
        verdict
    }

    fn answered(&self, mut message: Message, answer: vote::Answer) -> Message {
        answer.put_into(&mut message, &self.config);
        message.tag = message.tag_under(&self.config.keys[0]).into();
        message
    }
}

/// The plane while it decides on one message.
struct At<'a> {
    plane: &'a mut UserPlane,
    source: Option<IpAddr>,
    now: u64,
}

impl Memory for At<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn slot(&self, group: u32) -> Option<u32> {
        self.plane.slots.get(&group).copied()
    }

    fn admit(&mut self, node: u16, freshness: Freshness, now: u64) -> bool {
        let peers = &mut self.plane.peers;
        let place = peers.len();
        if place == MAX_PEERS && !peers.contains_key(&node) {
            return false;
        }
        let peer = peers.entry(node).or_insert(Peer { freshness: Freshness::default(), place });
        let is_fresh = peer.freshness.admit(freshness.incarnation, freshness.sequence);
        if is_fresh {
            self.plane.board.heard(peer.place, node, now);
        }
        is_fresh
    }

    fn heard(&mut self, node: u16, now: u64) {
        if let Some(peer) = self.plane.peers.get(&node) {
            self.plane.board.heard(peer.place, node, now);
        }
    }

    fn decide(&mut self, slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        let Some(Group { acceptor, .. }) = self.plane.groups.get_mut(&slot) else { return Decision::Silent };
        let decision = acceptor.decide(request, now, longest);
        self.plane.words.show(slot, acceptor);
        decision
    }

    fn accepted(&mut self, slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        self.plane.groups.get_mut(&slot)?.renewal.accepted(voter, ballot, sent_at, now)
    }

    fn extend(&mut self, slot: u32, until: u64) {
        self.plane.words.extend(slot, until);
    }

    fn is_holder(&self, slot: u32) -> bool {
        self.plane.words.is_holder(slot)
    }

    fn report(&mut self, kind: EventKind, slot: u32, node: u16, value: u64) {
        let address = match (kind, self.source) {
            (EventKind::DuplicateId, Some(source)) => mapped(source).octets(),
            _ => [0; 16],
        };
        if self.plane.events.len() == MAX_EVENTS {
            return;
        }
        self.plane.events.push_back(Event { kind: kind as u32, slot, node, value, address, mac: [0; 6] });
    }
}

#[cfg(test)]
mod tests;
