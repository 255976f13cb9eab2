//! Tells people what was decided: one record for each lease message and each packet of ARP or NDP about a VIP, in the
//! daemon's log at level debug. Traffic, passed or fenced, is counted and not told.

use aya_log_ebpf::debug;
use aya_log_ebpf::macro_support::{Level, level_enabled};
use vip_common::lease::Ballot;
use vip_common::maps::{COUNTERS, Counter};

use crate::parse::ndp::Neighbour;
use crate::parse::{ADVERT, Arp, Datagram, Ethernet, Frame, Ip, Ipv4, Ipv6, Packet, Version};
use crate::verdict::Verdict;

/// Logs what was decided on a frame, before it is carried out. Without logging, the verifier removes this.
#[inline(always)]
pub(crate) fn decision(packet: &Packet<'_>, frame: &Frame, verdict: &Verdict) {
    if !level_enabled(Level::Debug) {
        return;
    }
    let outcome = verdict.counter;
    if matches!(outcome, Counter::Other | Counter::VipPassed | Counter::VipFenced | Counter::VipForwarded) {
        return;
    }
    match *frame {
        Frame::Other => {}
        Frame::Neighbour { offset } => neighbour(packet, offset, outcome as u32),
        Frame::Arp { offset } => arp(packet, offset, outcome as u32),
        // Traffic to a VIP.
        Frame::Ipv4 { .. } | Frame::Ipv6 { .. } if matches!(outcome, Counter::VipKept) => {}
        Frame::Ipv4 { offset, udp_port: ADVERT } => advert(packet, offset, outcome as u32),
        Frame::Ipv6 { offset, udp_port: ADVERT } => advert6(packet, offset, outcome as u32),
        Frame::Ipv4 { offset, .. } => message(packet, offset, outcome as u32),
        Frame::Ipv6 { offset, .. } => message6(packet, offset, outcome as u32),
    }
}

#[inline(always)]
fn arp(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let Some(arp) = packet.at::<Arp>(offset) else { return };
    debug!(
        packet.context(),
        "ARP operation {} of {:i} at {:mac} for {:i}: {}",
        arp.operation.get(),
        arp.sender_ip,
        arp.sender_mac,
        arp.target_ip,
        name(&OUTCOMES, outcome)
    );
}

#[inline(always)]
fn neighbour(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let (Some(ethernet), Some(message)) = (packet.at::<Ethernet>(0), packet.at::<Neighbour>(offset)) else {
        return;
    };
    debug!(
        packet.context(),
        "NDP type {} of {:i} at {:mac} for {:i}: {}",
        message.kind,
        message.ipv6.source,
        ethernet.source,
        message.target,
        name(&OUTCOMES, outcome)
    );
}

#[inline(always)]
fn advert(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let Some(ipv4) = packet.at::<Ipv4>(offset) else { return };
    debug!(packet.context(), "VRRP of {:i}: {}", ipv4.source, name(&OUTCOMES, outcome));
}

#[inline(always)]
fn advert6(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let Some(ipv6) = packet.at::<Ipv6>(offset) else { return };
    debug!(packet.context(), "VRRP of {:i}: {}", ipv6.source, name(&OUTCOMES, outcome));
}

/// Of a lease message from this address, of whatever version.
macro_rules! tell_message {
    ($packet:expr, $message:expr, $source:expr, $outcome:expr) => {{
        let ballot = Ballot($message.ballot.get());
        debug!(
            $packet.context(),
            "{} of node {} at {:i}, group {:x}, ballot {}.{}: {}",
            name(&KINDS, u32::from($message.kind)),
            $message.sender.get(),
            $source,
            $message.group.get(),
            ballot.round(),
            ballot.node(),
            name(&OUTCOMES, $outcome)
        );
    }};
}

#[inline(always)]
fn message(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let ip = Ip { version: Version::V4, offset };
    let (Some(ipv4), Some(Datagram { message, .. })) = (packet.at::<Ipv4>(offset), packet.at(ip.payload()))
    else {
        return;
    };
    tell_message!(packet, message, ipv4.source, outcome);
}

#[inline(always)]
fn message6(packet: &Packet<'_>, offset: usize, outcome: u32) {
    let ip = Ip { version: Version::V6, offset };
    let (Some(ipv6), Some(Datagram { message, .. })) = (packet.at::<Ipv6>(offset), packet.at(ip.payload()))
    else {
        return;
    };
    tell_message!(packet, message, ipv6.source, outcome);
}

/// Names of equal length, which the verifier follows with ease.
type Name = [u8; 17];

/// By [`Counter`].
static OUTCOMES: [Name; COUNTERS] = [
    padded("Other"),
    padded("ArpReply"),
    padded("ArpFenced"),
    padded("ArpConflict"),
    padded("NdReply"),
    padded("NdFenced"),
    padded("NdConflict"),
    padded("NdInvalid"),
    padded("VipPassed"),
    padded("VipFenced"),
    padded("VipForwarded"),
    padded("VipKept"),
    padded("VipSilenced"),
    padded("TeeAdmitted"),
    padded("TeeUnmatched"),
    padded("TeeCopied"),
    padded("TeeFailed"),
    padded("LeaseReply"),
    padded("LeaseSilent"),
    padded("LeaseRenewed"),
    padded("MessagePassed"),
    padded("OwnEcho"),
    padded("RejectedMalformed"),
    padded("RejectedCluster"),
    padded("RejectedTag"),
    padded("RejectedReplay"),
    padded("RejectedSender"),
    padded("RejectedGroup"),
    padded("RejectedEpoch"),
    padded("VrrpAdvert"),
    padded("VrrpWrongTtl"),
    padded("VrrpWrongVersion"),
    padded("VrrpWrongChecksum"),
    padded("VrrpMalformed"),
];

/// By [`Kind`](vip_common::wire::Kind); 0 is none.
static KINDS: [Name; 15] = [
    padded("?"),
    padded("Prepare"),
    padded("Propose"),
    padded("Release"),
    padded("Promise"),
    padded("Accepted"),
    padded("Refused"),
    padded("Hello"),
    padded("Probe"),
    padded("Taken"),
    padded("Transfer"),
    padded("Offer"),
    padded("Ask"),
    padded("Grant"),
    padded("Gossip"),
];

#[inline(always)]
fn name(names: &'static [Name], number: u32) -> &'static str {
    let name = names.get(number as usize).unwrap_or(&names[0]);
    // SAFETY: made of strings and spaces.
    unsafe { core::str::from_utf8_unchecked(name) }
}

const fn padded(name: &str) -> Name {
    let mut padded = [b' '; size_of::<Name>()];
    let mut i = 0;
    while i < name.len() {
        padded[i] = name.as_bytes()[i];
        i += 1;
    }
    padded
}
