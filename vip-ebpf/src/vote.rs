//! Lease messages: verified first, then decided on by the rules of [`vip_common::vote`], whose memory is in the maps.
//!
//! The daemon casts its own vote by running this program on its own message (BPF_PROG_TEST_RUN), so that all votes
//! of a node come from here.

use core::net::Ipv4Addr;
use core::ptr;

use vip_common::lease::{Ballot, Decision, Freshness, Request, extension};
use vip_common::maps::{Config, Counter, Event, EventKind, Interface, KeyUse, Peer, Role};
use vip_common::vote;
use vip_common::wire::{Invalid, Kind, Message};

use crate::decide::{EMPTY_EVENT, interface, now, report};
use crate::mac::Mac;
use crate::maps::{ACCEPTORS, GROUPS, PEERS, RENEWALS, SLOTS};
use crate::parse::ndp::is_multicast;
use crate::parse::{Datagram, Ethernet, Ip, Ipv4, Ipv6, Packet, Version};
use crate::shared::shared;
use crate::verdict::Verdict;

/// Index of the loopback interface in every network namespace, and so of BPF_PROG_TEST_RUN without a context.
const LOOPBACK: u32 = 1;
/// How often an extension is tried again when another CPU changed the word meanwhile.
const EXTENSION_TRIES: u32 = 4;

/// Decides on a datagram to the protocol's port; `None` if it is addressed to nobody here, or came in where the nodes do not
/// talk to each other: it would be answered from the wrong address, and its source taken for where the holder is.
///
/// One that the stack would put right before it reached the daemon, with IP options or in fragments, goes no further:
/// what comes to the daemon has been verified. One with IPv6 extension headers is a packet like any other here; the daemon
/// takes none that had some.
#[inline(always)]
pub(crate) fn message(packet: &Packet<'_>, ip: Ip, config: &Config) -> Option<Verdict> {
    let interface = interface(packet);
    let own = interface.is_none() && packet.interface() == LOOPBACK;
    if !own && !interface.is_some_and(|interface| is_for(packet, ip, interface).unwrap_or(false)) {
        return None;
    }
    let ethernet = packet.at::<Ethernet>(0)?;
    let Some(datagram) = packet.at::<Datagram>(ip.payload()) else {
        return Some(Verdict::drop(Counter::RejectedMalformed));
    };
    let message = &datagram.message;
    let kind = match verify(message, is_whole(packet, ip, datagram).unwrap_or(false), config) {
        Ok(kind) => kind,
        Err(invalid) => return Some(Verdict::drop(rejection(invalid))),
    };
    let mut maps = Maps { packet, ip, mac: ethernet.source };
    Some(match vote::message(message, kind, own, config, &mut maps) {
        vote::Verdict::Pass(counter) => Verdict::pass(counter),
        vote::Verdict::Drop(counter) => Verdict::drop(counter),
        vote::Verdict::Reply(answer) => Verdict::answer_message(ip, interface, answer),
    })
}

/// Whether a packet is for all nodes, or for this one, where they talk to each other by this version of IP.
#[inline(always)]
fn is_for(packet: &Packet<'_>, ip: Ip, interface: &Interface) -> Option<bool> {
    if interface.home != ip.version as u16 {
        return Some(false);
    }
    Some(match ip.version {
        Version::V4 => {
            let destination = packet.at::<Ipv4>(ip.offset)?.destination;
            // RFC 5771.
            Ipv4Addr::from(destination).is_multicast() || destination == interface.ipv4()
        }
        Version::V6 => {
            let destination = packet.at::<Ipv6>(ip.offset)?.destination;
            is_multicast(destination)
                || u128::from_ne_bytes(destination) == u128::from_ne_bytes(interface.address)
        }
    })
}

/// Whether the datagram is all that the packet carries, and all of it is in the packet.
#[inline(always)]
fn is_whole(packet: &Packet<'_>, ip: Ip, datagram: &Datagram) -> Option<bool> {
    Some(match ip.version {
        Version::V4 => {
            let ipv4 = packet.at::<Ipv4>(ip.offset)?;
            let payload_len = usize::from(ipv4.total_len.get()).checked_sub(size_of::<Ipv4>())?;
            ipv4.is_plain() && datagram.fits(payload_len)
        }
        Version::V6 => {
            let ipv6 = packet.at::<Ipv6>(ip.offset)?;
            ipv6.is_version_6() && datagram.fits(usize::from(ipv6.payload_len.get()))
        }
    })
}

/// The tag comes before anything that the message says; protocol and cluster come before the tag only to be counted
/// apart from forgeries.
#[inline(always)]
fn verify(message: &Message, is_whole: bool, config: &Config) -> Result<Kind, Invalid> {
    let kind = message.kind_for(config.cluster)?;
    let body_is_as_it_may = message.body_len.get() == 0 || kind.may_have_body();
    if !is_whole || !body_is_as_it_may {
        return Err(Invalid::Malformed);
    }
    let tag = message.tag.get();
    let in_use = keys_in_use(config);
    if in_use.verifies(0) && tag_under(message, &config.keys[0]) == tag {
        return Ok(kind);
    }
    if in_use.verifies(1) && tag_under(message, &config.keys[1]) == tag {
        return Ok(kind);
    }
    Err(Invalid::Tag)
}

/// Which keys count, at this time: the daemon may change that meanwhile. It leaves keys that have been read here as they are until
/// this run of the program is over.
#[inline(always)]
fn keys_in_use(config: &Config) -> KeyUse {
    // SAFETY: a reference.
    KeyUse(unsafe { ptr::from_ref(&config.keys_in_use).read_volatile() })
}

/// Signs an answer.
#[inline(always)]
pub(crate) fn sign(message: &mut Message, config: &Config) {
    message.tag = tag_under(message, &config.keys[keys_in_use(config).signing()]).into();
}

/// A function of its own, so that the program holds the hash once.
#[inline(never)]
fn tag_under(message: &Message, key: &[u64; 2]) -> u64 {
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

/// ::ffff:0:0, before an IPv4 address (RFC 4291, section 2.5.5.2).
const MAPPED: u128 = 0xffff_0000_0000;

/// The node's memory, for the message behind this IP header, which came from this MAC address.
struct Maps<'a> {
    packet: &'a Packet<'a>,
    ip: Ip,
    mac: [u8; 6],
}

impl Maps<'_> {
    /// In network order, as a number, which is moved in words. One of IPv4 is mapped.
    #[inline(always)]
    fn source_address(&self) -> Option<u128> {
        Some(match self.ip.version {
            Version::V4 => {
                let source = self.packet.at::<Ipv4>(self.ip.offset)?.source;
                (MAPPED | u128::from(u32::from_be_bytes(source))).to_be()
            }
            Version::V6 => u128::from_ne_bytes(self.packet.at::<Ipv6>(self.ip.offset)?.source),
        })
    }
}

impl vote::Memory for Maps<'_> {
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
            shared!(peer, mac).store(self.mac);
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
                let former = shared!(group, holder_mac).load();
                if Mac::read(&former) != Mac::read(&self.mac) {
                    shared!(group, former_mac).store(former);
                    shared!(group, holder_mac).store(self.mac);
                }
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
                let address = self.source_address().unwrap_or(0).to_ne_bytes();
                Event { address, mac: self.mac, ..event }
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
