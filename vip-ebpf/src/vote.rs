//! Lease messages: verified first, then decided on by the rules of [`vip_common::vote`], whose memory is in the maps.
//!
//! The daemon casts its own vote by running this program on its own message (BPF_PROG_TEST_RUN), so that all votes
//! of a node come from here.

use core::net::Ipv4Addr;

use vip_common::lease::{Ballot, Decision, Freshness, Request, extension};
use vip_common::maps::{Config, Counter, Event, EventKind, Interface, Peer, Role};
use vip_common::vote;
use vip_common::wire::{Invalid, Kind, Message};

use crate::decide::{EMPTY_EVENT, interface, is_home, now, report};
use crate::maps::{ACCEPTORS, GROUPS, PEERS, RENEWALS, SLOTS};
use crate::parse::{Datagram, Ethernet, Packet, is_multicast};
use crate::shared::shared;
use crate::verdict::Verdict;

/// Index of the loopback interface in every network namespace, and so of BPF_PROG_TEST_RUN without a context.
const LOOPBACK: u32 = 1;
/// How often an extension is tried again when another CPU changed the word meanwhile.
const EXTENSION_TRIES: u32 = 4;

/// Where a message came from.
struct Source {
    mac: [u8; 6],
    address: [u8; 4],
}

/// Decides on a datagram to the protocol's port; `None` if it is addressed to nobody here, or came in where the nodes do not
/// talk to each other: it would be answered from the wrong address, and its source taken for where the holder is.
///
/// One that the stack would put right before it reached the daemon, with IP options or in fragments, goes no further:
/// what comes to the daemon has been verified.
#[inline(always)]
pub(crate) fn message(
    packet: &Packet<'_>,
    ipv4: usize,
    destination: [u8; 4],
    config: &Config,
) -> Option<Verdict> {
    let interface = interface(packet);
    let own = interface.is_none() && packet.interface() == LOOPBACK;
    let is_for = |interface: &Interface| {
        is_home(interface) && (is_multicast(destination) || interface.address == destination)
    };
    if !own && !interface.is_some_and(is_for) {
        return None;
    }
    let ethernet = packet.at::<Ethernet>(0)?;
    let Some(datagram) = packet.at::<Datagram>(ipv4) else {
        return Some(Verdict::drop(Counter::RejectedMalformed));
    };
    let message = &datagram.message;
    let kind = match verify(message, datagram, config) {
        Ok(kind) => kind,
        Err(invalid) => return Some(Verdict::drop(rejection(invalid))),
    };
    let mut maps = Maps(Source { mac: ethernet.source, address: datagram.ipv4.source });
    Some(match vote::message(message, kind, own, config, &mut maps) {
        vote::Verdict::Pass(counter) => Verdict::pass(counter),
        vote::Verdict::Drop(counter) => Verdict::drop(counter),
        vote::Verdict::Reply(answer) => Verdict::answer_message(ipv4, interface, answer),
    })
}

/// The tag comes before anything that the message says; protocol and cluster come before the tag only to be counted
/// apart from forgeries.
#[inline(always)]
fn verify(message: &Message, datagram: &Datagram, config: &Config) -> Result<Kind, Invalid> {
    let kind = message.kind_for(config.cluster)?;
    let body_is_as_it_may = message.body_len.get() == 0 || kind.may_have_body();
    if !datagram.ipv4.is_plain() || !datagram.fits_body() || !body_is_as_it_may {
        return Err(Invalid::Malformed);
    }
    let tag = message.tag.get();
    if tag_under(message, &config.keys[0]) == tag {
        return Ok(kind);
    }
    if config.key_count > 1 && tag_under(message, &config.keys[1]) == tag {
        return Ok(kind);
    }
    Err(Invalid::Tag)
}

/// A function of its own, so that the program holds the hash once.
#[inline(never)]
pub(crate) fn tag_under(message: &Message, key: &[u64; 2]) -> u64 {
    message.tag_under(key)
}

#[inline(always)]
fn rejection(invalid: Invalid) -> Counter {
    match invalid {
        Invalid::Malformed => Counter::RejectedMalformed,
        Invalid::OtherCluster => Counter::RejectedCluster,
        Invalid::Tag => Counter::RejectedTag,
    }
}

/// The node's memory, for one message from this source.
struct Maps(Source);

impl vote::Memory for Maps {
    #[inline(always)]
    fn now(&self) -> u64 {
        now()
    }

    #[inline(always)]
    fn slot(&self, group: u32) -> Option<u32> {
        // SAFETY: an entry deleted meanwhile stays readable until this run of the program ends (RCU).
        unsafe { SLOTS.get(group) }.copied()
    }

    #[inline(always)]
    fn admit(&mut self, node: u16, freshness: Freshness, now: u64) -> bool {
        let Freshness { incarnation, sequence } = freshness;
        let Some(peer) = peer(u32::from(node)) else { return false };
        let latest = shared!(peer, freshness);
        let fresh = latest.locked(shared!(peer, lock), |latest| latest.admit(incarnation, sequence));
        if fresh {
            shared!(peer, last_heard).store(now);
            shared!(peer, mac).store(self.0.mac);
            shared!(peer, address).store(self.0.address);
        }
        fresh
    }

    #[inline(always)]
    fn heard(&mut self, node: u16, now: u64) {
        if let Some(peer) = PEERS.get_ptr_mut(u32::from(node)) {
            shared!(peer, last_heard).store(now);
        }
    }

    #[inline(always)]
    fn decide(&mut self, slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        let (Some(acceptor), Some(group)) = (ACCEPTORS.get_ptr_mut(slot), GROUPS.get_ptr_mut(slot)) else {
            return Decision::Silent;
        };
        shared!(acceptor, state).locked(shared!(acceptor, lock), |acceptor| {
            let decision = acceptor.decide(request, now, longest);
            shared!(group, holder_until).store(acceptor.expires);
            shared!(group, holder_ballot).store(acceptor.ballot);
            shared!(group, holder).store(Ballot(acceptor.ballot).node());
            if matches!(decision, Decision::Accepted) {
                shared!(group, holder_mac).store(self.0.mac);
            }
            decision
        })
    }

    #[inline(always)]
    fn accepted(&mut self, slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        let renewal = RENEWALS.get_ptr_mut(slot)?;
        shared!(renewal, state)
            .locked(shared!(renewal, lock), |renewal| renewal.accepted(voter, ballot, sent_at, now))
    }

    /// Never from 0 and never back, whoever else changes the word meanwhile.
    #[inline(always)]
    fn extend(&mut self, slot: u32, until: u64) {
        let Some(group) = GROUPS.get_ptr_mut(slot) else { return };
        let lease_until = shared!(group, lease_until);
        for _ in 0..EXTENSION_TRIES {
            let word = lease_until.load();
            let Some(new) = extension(word, until) else { return };
            if lease_until.compare_and_swap(word, new) {
                return;
            }
        }
    }

    #[inline(always)]
    fn is_holder(&self, slot: u32) -> bool {
        GROUPS.get_ptr_mut(slot).is_some_and(|group| shared!(group, role).load() == Role::Holder as u32)
    }

    #[inline(always)]
    fn report(&mut self, kind: EventKind, slot: u32, node: u16, value: u64) {
        let event = Event { kind: kind as u32, slot, node, value, ..EMPTY_EVENT };
        report(match kind {
            EventKind::DuplicateId => {
                let address = Ipv4Addr::from(self.0.address).to_ipv6_mapped().octets();
                Event { address, mac: self.0.mac, ..event }
            }
            _ => event,
        });
    }
}

/// The entry of a node, made at its first message.
#[inline(always)]
fn peer(node: u32) -> Option<*mut Peer> {
    const NO_EXIST: u64 = 1;
    if let Some(peer) = PEERS.get_ptr_mut(node) {
        return Some(peer);
    }
    let _ = PEERS.insert(node, Peer::default(), NO_EXIST);
    PEERS.get_ptr_mut(node)
}
