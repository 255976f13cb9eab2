//! The tee: what comes to some UDP ports of a group reaches the holder's service and, as copies, those of the standby nodes.
//! Here: which datagrams these are, and what a standby makes of a copy. The holder's side is in [`crate::copies`].
//!
//! A copy is the frame itself under other MAC addresses: to the standby's own one, from the holder's own one. So each is known
//! as one by its source, and each node has each datagram once:
//!
//! - **Copies are made of what clients sent, and of nothing else.** Whatever has a source that is the holder's, the former
//!   holder's or a standby's is not copied ([`is_copy`]); so no copy is made of a copy, also on a node that gets it when it has
//!   become the holder meanwhile: that node serves it, and the others have had theirs from the node that made it.
//! - **Copies go nowhere else.** On a node that does not hold, this is asked before stale forwarding and before what comes is
//!   kept for a next holder; what is a copy is let in or dropped. That also holds where this node does not know yet that its
//!   sender holds: it knows it for a standby.
//! - **What a node has sent on to the holder** ([`vip_common::forward`]) has a source that no card has. The holder has not
//!   served it before, and copies it as any other; the node that sent it on is sent a copy. So is what a former holder has kept
//!   and brings to the next one: it has served none of it.
//! - **Between disarming and the next arming** nobody lets a client's datagram in. Those that XDP had let in before are still
//!   copied, on their way up: see [`served_lately`].
//! - **A holder that others do not know for one** does not let datagrams in, and makes no copies: both go by its own lease word.

use vip_common::maps::{FirstFragment, Fragmented, Group, MAX_STANDBYS, Stale, Standbys, Tee, tee_key};
use vip_common::wire::{Be16, Be32};

use crate::decide::{holds, interface, is_home, now};
use crate::mac::Mac;
use crate::maps::{FRAGMENTS, GROUPS, PEERS, STANDBYS, TEES};
use crate::parse::{Bytes, Ethernet, Header, Ip, Ipv4, Ipv6, NO_PORT, PROTOCOL_UDP, Packet, Udp, Version};
use crate::shared::{Shared, shared};

/// How long after a datagram's first fragment the others may come, in ns. They come right behind it; and its number may be
/// another datagram's after the next 65,536.
const FRAGMENTS_COME_WITHIN: u64 = 1_000_000_000;
/// For how long after a copy that was let in the next one is near, in ns.
const FOLLOWS_FOR: u64 = 100_000_000;
/// The port of a fragment whose datagram is not known. No port is that high.
pub(crate) const UNMATCHED: u32 = NO_PORT + 1;

const PROTOCOL_FRAGMENT: u8 = 44;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET6: u16 = 0xfff8;
const MORE_FRAGMENTS6: u16 = 1;

/// RFC 8200, section 4.5.
#[repr(C, packed)]
pub(crate) struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    offset_and_more: Be16,
    id: Be32,
}

// SAFETY: `repr(C, packed)`, made of numbers.
unsafe impl Header for FragmentHeader {}

/// What a packet to a VIP that this node does not hold is to the tee.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Judgement {
    /// Nothing.
    NoCopy = 0,
    /// A copy for this node's service.
    Admitted = 1,
    /// A copy that this node has no use for.
    Refused = 2,
    /// A copy of a fragment, and it is not known of what.
    Unmatched = 3,
}

impl Judgement {
    /// From what [`judge`] gave: the verifier takes numbers.
    #[inline(always)]
    const fn from_u32(number: u32) -> Self {
        match number {
            1 => Self::Admitted,
            2 => Self::Refused,
            3 => Self::Unmatched,
            _ => Self::NoCopy,
        }
    }
}

/// Judges a packet to a VIP of a group that this node does not hold.
#[inline(always)]
pub(crate) fn judged(packet: &Packet<'_>, ip: Ip, slot: u32) -> Judgement {
    match STANDBYS.get_ptr_mut(slot) {
        Some(standbys) if shared!(standbys, ports).load() != 0 => {
            Judgement::from_u32(judge(packet, ip.offset, ip.version == Version::V6, slot))
        }
        _ => Judgement::NoCopy,
    }
}

/// A function of its own, so that the program holds it once.
#[inline(never)]
fn judge(packet: &Packet<'_>, offset: usize, is_v6: bool, slot: u32) -> u32 {
    let ip = Ip { version: if is_v6 { Version::V6 } else { Version::V4 }, offset };
    judgement(packet, ip, slot).unwrap_or(Judgement::NoCopy) as u32
}

#[inline(always)]
fn judgement(packet: &Packet<'_>, ip: Ip, slot: u32) -> Option<Judgement> {
    let (group, standbys) = (GROUPS.get_ptr_mut(slot)?, STANDBYS.get_ptr_mut(slot)?);
    let ethernet = packet.at::<Ethernet>(0)?;
    let source = Mac::read(&ethernet.source);
    let is_holders = is_holders(group, source);
    if !is_holders && !is_standbys(standbys, source) {
        return None;
    }
    let port = port(packet, ip);
    if port == UNMATCHED {
        return Some(Judgement::Unmatched);
    }
    let tee = tee(slot, port)?;
    let interface = interface(packet)?;
    let is_for_us = Mac::read(&ethernet.destination) == Mac::read(&interface.mac);
    if !is_holders || !is_for_us || !is_home(interface) {
        return Some(Judgement::Refused);
    }
    if gives_away(group) {
        shared!(standbys, followed_at).store(now());
    }
    add_one(shared!(tee, admitted));
    Some(Judgement::Admitted)
}

/// Whether a frame for a group was made by another node of it: each has a client's source otherwise. No client has a node's own
/// address: a node is a host, and what its programs send to a VIP reaches the node itself.
#[inline(always)]
pub(crate) fn is_copy(group: *mut Group, standbys: *mut Standbys, source: Mac) -> bool {
    is_holders(group, source) || is_standbys(standbys, source)
}

/// Whether this is the address of the node that holds a group, by what this node knows: that has renewed last, or was given the
/// lease since; or the one before, whose last copies are under way.
#[inline(always)]
fn is_holders(group: *mut Group, source: Mac) -> bool {
    if source == Mac::NONE {
        return false;
    }
    if source == Mac::read(&shared!(group, holder_mac).load())
        || source == Mac::read(&shared!(group, former_mac).load())
    {
        return true;
    }
    let holder = shared!(group, holder).load();
    PEERS.get_ptr_mut(u32::from(holder)).is_some_and(|peer| source == Mac::read(&shared!(peer, mac).load()))
}

#[inline(always)]
fn is_standbys(standbys: *mut Standbys, source: Mac) -> bool {
    (0..MAX_STANDBYS).any(|index| standby(standbys, index) == source && source != Mac::NONE)
}

/// The address at this place; [`Mac::NONE`] if it is free.
#[inline(always)]
pub(crate) fn standby(standbys: *mut Standbys, index: usize) -> Mac {
    // SAFETY: a field of a map value.
    let macs = unsafe { &raw mut (*standbys).macs }.cast::<u64>();
    // SAFETY: the callers' indices are below the length.
    Mac::from_bits(unsafe { Shared::new(macs.wrapping_add(index)) }.load())
}

/// Whether this node serves a group, or has just given it away: what comes up from XDP it has let in before.
#[inline(always)]
pub(crate) fn served_lately(group: *mut Group) -> bool {
    holds(group) || gives_away(group)
}

/// Whether this node is giving a group away, or has a moment ago.
#[inline(always)]
pub(crate) fn gives_away(group: *mut Group) -> bool {
    shared!(group, stale).load() == Stale::Keep as u32
}

/// Whether this node, which gives a group away, has had copies from the next holder: that answers from now on.
#[inline(always)]
pub(crate) fn follows(slot: u32) -> bool {
    let Some(standbys) = STANDBYS.get_ptr_mut(slot) else { return false };
    let at = shared!(standbys, followed_at).load();
    at != 0 && now().wrapping_sub(at) < FOLLOWS_FOR
}

/// This processor's numbers of a tee, if the port is teed.
#[inline(always)]
pub(crate) fn tee(slot: u32, port: u32) -> Option<*mut Tee> {
    let port = u16::try_from(port).ok()?;
    TEES.get_ptr_mut(tee_key(slot, port))
}

/// On a number of this processor.
#[inline(always)]
pub(crate) fn add_one(number: Shared<u64>) {
    number.store(number.load().wrapping_add(1));
}

/// The destination port of the UDP datagram that a packet is or is a part of; [`NO_PORT`] if it is none, or if IPv6 extension
/// headers other than one for a fragment come before it; [`UNMATCHED`] if that is not known.
#[inline(always)]
pub(crate) fn port(bytes: &impl Bytes, ip: Ip) -> u32 {
    let port = match ip.version {
        Version::V4 => port4(bytes, ip.offset),
        Version::V6 => port6(bytes, ip.offset),
    };
    port.unwrap_or(NO_PORT)
}

#[inline(always)]
fn port4(bytes: &impl Bytes, offset: usize) -> Option<u32> {
    let ipv4 = bytes.at::<Ipv4>(offset)?;
    let header_len = ipv4.header_len();
    if ipv4.protocol != PROTOCOL_UDP || header_len < size_of::<Ipv4>() {
        return None;
    }
    let fragment = ipv4.fragment.get();
    let key = || Fragmented {
        source: [u32::from_ne_bytes(ipv4.source).into(), 0],
        destination: [u32::from_ne_bytes(ipv4.destination).into(), 0],
        id: ipv4.id.get().into(),
        version: Version::V4 as u32,
    };
    if fragment & FRAGMENT_OFFSET != 0 {
        return Some(recalled(&key()));
    }
    let port = bytes.at::<Udp>(offset + header_len)?.destination.get();
    if fragment & MORE_FRAGMENTS != 0 {
        remember(&key(), port);
    }
    Some(port.into())
}

#[inline(always)]
fn port6(bytes: &impl Bytes, offset: usize) -> Option<u32> {
    let ipv6 = bytes.at::<Ipv6>(offset)?;
    let behind = offset + size_of::<Ipv6>();
    if ipv6.next_header == PROTOCOL_UDP {
        return Some(bytes.at::<Udp>(behind)?.destination.get().into());
    }
    if ipv6.next_header != PROTOCOL_FRAGMENT {
        return None;
    }
    let header = bytes.at::<FragmentHeader>(behind)?;
    if header.next_header != PROTOCOL_UDP {
        return None;
    }
    let fragment = header.offset_and_more.get();
    let key = || Fragmented {
        source: halves(ipv6.source),
        destination: halves(ipv6.destination),
        id: header.id.get(),
        version: Version::V6 as u32,
    };
    if fragment & OFFSET6 != 0 {
        return Some(recalled(&key()));
    }
    let port = bytes.at::<Udp>(behind + size_of::<FragmentHeader>())?.destination.get();
    if fragment & MORE_FRAGMENTS6 != 0 {
        remember(&key(), port);
    }
    Some(port.into())
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two halves")]
fn halves(address: [u8; 16]) -> [u64; 2] {
    let address = u128::from_ne_bytes(address);
    [address as u64, (address >> 64) as u64]
}

/// Where there is no room, the other fragments are not known.
#[inline(always)]
fn remember(key: &Fragmented, port: u16) {
    let _ = FRAGMENTS.insert(key, FirstFragment { at: now(), port: port.into(), reserved: 0 }, 0);
}

#[inline(always)]
fn recalled(key: &Fragmented) -> u32 {
    let Some(first) = FRAGMENTS.get_ptr_mut(key) else { return UNMATCHED };
    if now().wrapping_sub(shared!(first, at).load()) > FRAGMENTS_COME_WITHIN {
        return UNMATCHED;
    }
    shared!(first, port).load()
}
