//! What becomes of a frame. Reads packets and maps; changes neither, but for conflict events.

use core::net::Ipv4Addr;

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use vip_common::forward;
use vip_common::lease::held;
use vip_common::maps::{
    CONFLICT_INTERVAL, Config, Counter, Event, EventKind, Group, Interface, Served, Stale, Vip, Vip6,
};

use crate::advert;
use crate::mac::Mac;
use crate::maps::{EVENTS, GROUPS};
use crate::parse::ndp::{self, Neighbour};
use crate::parse::{ADVERT, Arp, Ethernet, Frame, Ip, Ipv4, Ipv6, Packet, Version};
use crate::shared::shared;
use crate::tables;
use crate::tee::{self, Judgement};
use crate::verdict::{Action, Fate, Verdict};
use crate::vote;

/// Decides on what most frames are, traffic that is let in or kept out; `None` if [`frame`] has to. That gives the same for
/// these, and takes longer: there, the compiler carries along what the other frames need.
#[inline(always)]
pub(crate) fn traffic(packet: &Packet<'_>, frame: &Frame) -> Option<Fate> {
    let decided = match *frame {
        Frame::Other => None,
        Frame::Ipv4 { udp_port, .. } | Frame::Ipv6 { udp_port, .. }
            if is_message_port(packet, udp_port) || udp_port == ADVERT =>
        {
            return None;
        }
        Frame::Ipv4 { offset, .. } => group_of_ipv4(packet, offset)
            .map(|(vip, group)| fate(packet, Ip { version: Version::V4, offset }, vip.slot.into(), group)),
        Frame::Ipv6 { offset, .. } => group_of_ipv6(packet, offset)
            .map(|(vip, group)| fate(packet, Ip { version: Version::V6, offset }, vip.slot.into(), group)),
        Frame::Arp { .. } | Frame::Neighbour { .. } => return None,
    };
    decided.unwrap_or(Some(Fate::pass(Counter::Other)))
}

/// Decides on one frame.
#[inline(always)]
pub(crate) fn frame(packet: &Packet<'_>, frame: &Frame) -> Verdict {
    if let Some(verdict) = message(packet, frame) {
        return verdict;
    }
    match *frame {
        Frame::Other => Verdict::pass(Counter::Other),
        Frame::Arp { offset } => arp(packet, offset),
        Frame::Ipv4 { offset, udp_port } => {
            let ip = Ip { version: Version::V4, offset };
            advert(packet, ip, udp_port, ipv4(packet, offset))
        }
        Frame::Ipv6 { offset, udp_port } => {
            let ip = Ip { version: Version::V6, offset };
            advert(packet, ip, udp_port, ipv6(packet, offset))
        }
        Frame::Neighbour { offset } => neighbour(packet, offset),
    }
}

/// On a lease message, if the frame is one, and for this node.
#[inline(always)]
fn message(packet: &Packet<'_>, frame: &Frame) -> Option<Verdict> {
    let (ip, udp_port) = match *frame {
        Frame::Ipv4 { offset, udp_port } => (Ip { version: Version::V4, offset }, udp_port),
        Frame::Ipv6 { offset, udp_port } => (Ip { version: Version::V6, offset }, udp_port),
        Frame::Other | Frame::Arp { .. } | Frame::Neighbour { .. } => return None,
    };
    if !is_message_port(packet, udp_port) {
        return None;
    }
    vote::message(packet, ip, packet.config())
}

/// Whether a datagram to this port may be a lease message.
#[inline(always)]
fn is_message_port(packet: &Packet<'_>, udp_port: u32) -> bool {
    udp_port == u32::from(packet.config().port)
}

/// Packets to a VIP, fragments and options included, reach the stack of the holder alone.
#[inline(always)]
fn ipv4(packet: &Packet<'_>, offset: usize) -> Verdict {
    match group_of_ipv4(packet, offset) {
        None => Verdict::pass(Counter::Other),
        Some((vip, group)) => to_group(packet, Ip { version: Version::V4, offset }, vip.slot.into(), group),
    }
}

/// As [`ipv4`]; extension headers are not even looked at.
#[inline(always)]
fn ipv6(packet: &Packet<'_>, offset: usize) -> Verdict {
    match group_of_ipv6(packet, offset) {
        None => Verdict::pass(Counter::Other),
        Some((vip, group)) => to_group(packet, Ip { version: Version::V6, offset }, vip.slot.into(), group),
    }
}

/// On an advert of VRRP, if the packet is one, and to no VIP: those are fenced like any other.
#[inline(always)]
fn advert(packet: &Packet<'_>, ip: Ip, udp_port: u32, verdict: Verdict) -> Verdict {
    let is_advert = udp_port == ADVERT && matches!(verdict.counter, Counter::Other);
    if is_advert { advert::verdict(packet, ip) } else { verdict }
}

#[inline(always)]
fn to_group(packet: &Packet<'_>, ip: Ip, slot: u32, group: *mut Group) -> Verdict {
    match fate(packet, ip, slot, group) {
        Some(fate) => fate.into(),
        None => stale(packet, slot, group),
    }
}

/// What becomes of a packet to a VIP of this group: it is let in or kept out. `None` if it may have to go elsewhere.
#[inline(always)]
fn fate(packet: &Packet<'_>, ip: Ip, slot: u32, group: *mut Group) -> Option<Fate> {
    if holds(group) {
        return Some(accept(packet, group));
    }
    match tee::judged(packet, ip, slot) {
        Judgement::NoCopy => {}
        Judgement::Admitted => return Some(Fate::pass(Counter::TeeAdmitted)),
        Judgement::Refused => return Some(Fate::drop(Counter::VipFenced)),
        Judgement::Unmatched => return Some(Fate::drop(Counter::TeeUnmatched)),
    }
    let is_dropped = shared!(group, stale).load() == Stale::Drop as u32;
    is_dropped.then_some(Fate::drop(Counter::VipFenced))
}

/// To the stack, which takes frames to its interface's own MAC address.
#[inline(always)]
fn accept(packet: &Packet<'_>, group: *mut Group) -> Fate {
    let virtual_mac = shared!(group, virtual_mac);
    if !virtual_mac.ends_are_zero()
        && let (Some(ethernet), Some(interface)) = (packet.at::<Ethernet>(0), interface(packet))
        && ethernet.destination == virtual_mac.load()
    {
        return Fate::deliver(interface);
    }
    Fate::pass(Counter::VipPassed)
}

/// Where neighbours have the VIPs of a group that is served by way of this interface.
#[inline(always)]
fn mac_of(group: *mut Group, interface: &Interface) -> Mac {
    let virtual_mac = shared!(group, virtual_mac);
    if virtual_mac.ends_are_zero() { Mac::read(&interface.mac) } else { Mac::read(&virtual_mac.load()) }
}

/// Has a packet sent on to the holder that came here by an old neighbour entry: unicast, and not sent on before. While
/// the lease changes hands, its giver keeps what comes, also from others that do not know yet. On the home interface
/// alone: where the holder is on another one, nobody here knows.
///
/// What is read here may be of two holders after one another. Then the packet is lost; the holder's own fence decides
/// whether it is served.
#[inline(always)]
fn stale(packet: &Packet<'_>, slot: u32, group: *mut Group) -> Verdict {
    send_on(packet, slot, group).unwrap_or(Verdict::drop(Counter::VipFenced))
}

#[inline(always)]
fn send_on(packet: &Packet<'_>, slot: u32, group: *mut Group) -> Option<Verdict> {
    let wish = shared!(group, stale).load();
    if wish == Stale::Drop as u32 {
        return None;
    }
    let (config, interface, ethernet) = (packet.config(), interface(packet)?, packet.at::<Ethernet>(0)?);
    if !is_home(interface) {
        return None;
    }
    let is_for_us = ethernet.destination == interface.mac;
    if wish == Stale::Keep as u32
        && (is_for_us || Mac::read(&ethernet.destination) == mac_of(group, interface))
    {
        return Some(Verdict::keep(slot));
    }
    if !is_for_us {
        return None;
    }
    let to = shared!(group, holder_mac).load();
    let is_new = ethernet.source != to && !forward::was_sent_on(ethernet.source, config.cluster);
    let is_served = is_elsewhere(to, interface) && held(shared!(group, holder_until).load(), now());
    let source = forward::source_of(config.cluster, config.node);
    (is_new && is_served).then(|| Verdict::forward(Mac::read(&to), Mac::read(&source)))
}

#[inline(always)]
fn arp(packet: &Packet<'_>, offset: usize) -> Verdict {
    let (Some(arp), Some(served)) = (packet.at::<Arp>(offset), served(packet)) else {
        return Verdict::pass(Counter::Other);
    };
    let interface = &served.interface;
    let claims = claim(packet, arp, interface);
    if arp.operation.get() == Arp::REQUEST
        && arp.sender_ip != arp.target_ip
        && let Some((vip, group)) = group_of(packet.config(), arp.target_ip)
    {
        // A probe for a held VIP is answered as well: RFC 5227, section 2.1.1 has the prober expect it.
        if vip.interface == served.number && holds(group) {
            return Verdict::answer_arp(offset, mac_of(group, interface));
        }
        if !claims {
            return fenced_question(vip.slot.into(), group, interface, Counter::ArpFenced);
        }
    }
    Verdict::pass(if claims { Counter::ArpConflict } else { Counter::Other })
}

/// Whether the nodes talk to each other on this interface.
#[inline(always)]
pub(crate) fn is_home(interface: &Interface) -> bool {
    interface.home != 0
}

/// Whether the MAC address of a holder is another node's.
#[inline(always)]
fn is_elsewhere(holder_mac: [u8; 6], interface: &Interface) -> bool {
    holder_mac != [0; 6] && holder_mac != interface.mac
}

/// Who asks for a VIP that is not held, or lies on another interface, gets no answer from here; from the next holder, while
/// the lease changes hands. Not any more when that has renewed: such questions come to all, and it has answered this one
/// already.
#[inline(always)]
fn fenced_question(slot: u32, group: *mut Group, interface: &Interface, counter: Counter) -> Verdict {
    let is_asked_for = is_home(interface) && shared!(group, stale).load() == Stale::Keep as u32;
    if is_asked_for && !is_elsewhere(shared!(group, holder_mac).load(), interface) {
        Verdict::keep(slot)
    } else {
        Verdict::drop(counter)
    }
}

/// Whether a foreign MAC address announces a VIP or probes for one (RFC 5227, section 1.1); tells the daemon.
#[inline(always)]
fn claim(packet: &Packet<'_>, arp: &Arp, interface: &Interface) -> bool {
    let is_probe = arp.sender_ip == [0; 4] && arp.operation.get() == Arp::REQUEST;
    let address = if is_probe { arp.target_ip } else { arp.sender_ip };
    let Some((vip, group)) = group_of(packet.config(), address) else { return false };
    if !is_foreign(arp.sender_mac, group, interface) {
        return false;
    }
    let address = Ipv4Addr::from(address).to_ipv6_mapped().octets();
    report_conflict(packet, vip.slot.into(), group, address, arp.sender_mac);
    true
}

/// What is not about a VIP, or not on an interface that is served, is a packet like any other.
#[inline(always)]
fn neighbour(packet: &Packet<'_>, offset: usize) -> Verdict {
    let (Some(message), Some(served)) = (packet.at::<Neighbour>(offset), served(packet)) else {
        return ipv6(packet, offset);
    };
    let interface = &served.interface;
    let asked = if message.is_solicitation() { group_of6(packet.config(), message.target) } else { None };
    let claimed = group_of6(packet.config(), message.claimed());
    if asked.is_none() && claimed.is_none() {
        return ipv6(packet, offset);
    }
    let Some(sender) = ndp::sender(packet, offset) else {
        // RFC 4861, section 7.1.1: such a solicitation is to be discarded. No stack may take it for better than it
        // is.
        return if asked.is_some() { Verdict::drop(Counter::NdInvalid) } else { ipv6(packet, offset) };
    };
    let claims = claimed.is_some_and(|vip| claim6(packet, vip, message.claimed(), interface));
    if let Some((vip, group)) = asked
        && message.ipv6.source != message.target
    {
        // As with ARP, a probe is answered as well: RFC 4862, section 5.4.4 has the prober expect it.
        if vip.interface == served.number && holds(group) {
            return Verdict::answer_neighbour(offset, sender, mac_of(group, interface), vip.router);
        }
        if !claims {
            return fenced_question(vip.slot.into(), group, interface, Counter::NdFenced);
        }
    }
    let verdict = ipv6(packet, offset);
    let passes = matches!(verdict.action, Action::Pass | Action::Deliver);
    if claims && passes { Verdict { counter: Counter::NdConflict, ..verdict } } else { verdict }
}

/// As [`claim`], where the message says that its sender has this VIP.
#[inline(always)]
fn claim6(
    packet: &Packet<'_>,
    (vip, group): (&Vip6, *mut Group),
    address: [u8; 16],
    interface: &Interface,
) -> bool {
    let Some(ethernet) = packet.at::<Ethernet>(0) else { return false };
    if !is_foreign(ethernet.source, group, interface) {
        return false;
    }
    report_conflict(packet, vip.slot.into(), group, address, ethernet.source);
    true
}

/// Whether a MAC address is neither this node's nor the group's nor that of the group's holder. The latter is known on the
/// home interface alone; on others, only the holder itself can tell.
#[inline(always)]
fn is_foreign(mac: [u8; 6], group: *mut Group, interface: &Interface) -> bool {
    let may_be_holders = || {
        if is_home(interface) {
            shared!(group, holder).load() != 0 && mac == shared!(group, holder_mac).load()
        } else {
            !holds(group)
        }
    };
    mac != interface.mac && Mac::read(&mac) != mac_of(group, interface) && !may_be_holders()
}

/// At most one event per group and [`CONFLICT_INTERVAL`]: a flood of claims must not keep the daemon busy.
#[inline(always)]
fn report_conflict(packet: &Packet<'_>, slot: u32, group: *mut Group, address: [u8; 16], mac: [u8; 6]) {
    let (now, last) = (now(), shared!(group, conflict_at));
    // Two CPUs may both find the interval over and send an event each.
    if now.wrapping_sub(last.load()) < CONFLICT_INTERVAL {
        return;
    }
    last.store(now);
    let value = u64::from(packet.interface());
    report(Event { kind: EventKind::Conflict as u32, slot, value, address, mac, ..EMPTY_EVENT });
}

/// An event to be filled in.
pub(crate) const EMPTY_EVENT: Event =
    Event { kind: 0, slot: 0, value: 0, address: [0; 16], mac: [0; 6], node: 0 };

/// Tells the daemon. A full ring loses the event: it is for a daemon that does not read.
#[inline(always)]
pub(crate) fn report(event: Event) {
    let _ = EVENTS.output(event, 0);
}

/// CLOCK_BOOTTIME in ns (Linux 5.8).
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The interface that a frame came in on, if the daemon serves it.
#[inline(always)]
pub(crate) fn interface(packet: &Packet<'_>) -> Option<&'static Interface> {
    served(packet).map(|served| &served.interface)
}

#[inline(always)]
pub(crate) fn served(packet: &Packet<'_>) -> Option<&'static Served> {
    tables::served(packet.config(), packet.interface())
}

#[inline(always)]
pub(crate) fn group_of(config: &Config, address: [u8; 4]) -> Option<(&'static Vip, *mut Group)> {
    let vip = tables::vip(config, address)?;
    Some((vip, GROUPS.get_ptr_mut(vip.slot.into())?))
}

#[inline(always)]
pub(crate) fn group_of6(config: &Config, address: [u8; 16]) -> Option<(&'static Vip6, *mut Group)> {
    let vip = tables::vip6(config, address)?;
    Some((vip, GROUPS.get_ptr_mut(vip.slot.into())?))
}

#[inline(always)]
fn group_of_ipv4(packet: &Packet<'_>, offset: usize) -> Option<(&'static Vip, *mut Group)> {
    group_of(packet.config(), packet.at::<Ipv4>(offset)?.destination)
}

#[inline(always)]
fn group_of_ipv6(packet: &Packet<'_>, offset: usize) -> Option<(&'static Vip6, *mut Group)> {
    group_of6(packet.config(), packet.at::<Ipv6>(offset)?.destination)
}

/// Whether this node serves the group, now.
#[inline(always)]
pub(crate) fn holds(group: *mut Group) -> bool {
    held(shared!(group, lease_until).load(), now())
}
