//! What becomes of a frame. Reads packets and maps; changes neither, but for conflict events.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use vip_common::forward;
use vip_common::lease::held;
use vip_common::maps::{CONFLICT_INTERVAL, Counter, Event, EventKind, Group, Interface, Stale};

use crate::maps::{CONFIG, EVENTS, GROUPS, INTERFACES, VIPS};
use crate::parse::{Arp, Ethernet, Frame, Packet};
use crate::shared::shared;
use crate::verdict::Verdict;
use crate::vote;

/// Decides on one frame.
#[inline(always)]
pub(crate) fn frame(packet: &Packet<'_>, frame: &Frame) -> Verdict {
    match *frame {
        Frame::Other => Verdict::Pass(Counter::Other),
        Frame::Arp { offset } => arp(packet, offset),
        Frame::Ipv4 { offset, destination, udp_port } => {
            if let Some(config) = CONFIG.get(0)
                && udp_port == u32::from(config.port)
                && let Some(verdict) = vote::message(packet, offset, destination, config)
            {
                return verdict;
            }
            ipv4(packet, destination)
        }
    }
}

/// Packets to a VIP, fragments and options included, reach the stack of the holder alone.
#[inline(always)]
fn ipv4(packet: &Packet<'_>, destination: [u8; 4]) -> Verdict {
    match group_of(destination) {
        None => Verdict::Pass(Counter::Other),
        Some((_, group)) if holds(group) => Verdict::Pass(Counter::VipPassed),
        Some((slot, group)) => stale(packet, slot, group).unwrap_or(Verdict::Drop(Counter::VipFenced)),
    }
}

/// Has a packet sent on to the holder that came here by an old neighbour entry: unicast, and not sent on before. While
/// the lease changes hands, its giver keeps what comes, also from others that do not know yet.
///
/// What is read here may be of two holders after one another. Then the packet is lost; the holder's own fence decides
/// whether it is served.
#[inline(always)]
fn stale(packet: &Packet<'_>, slot: u32, group: *mut Group) -> Option<Verdict> {
    let wish = shared!(group, stale).load();
    if wish == Stale::Drop as u32 {
        return None;
    }
    let (config, interface, ethernet) = (CONFIG.get(0)?, interface(packet)?, packet.at::<Ethernet>(0)?);
    if ethernet.destination != interface.mac {
        return None;
    }
    if wish == Stale::Keep as u32 {
        return Some(Verdict::Keep { slot });
    }
    let to = shared!(group, holder_mac).load();
    let is_new = ethernet.source != to && !forward::was_sent_on(ethernet.source, config.cluster);
    let is_served = to != [0; 6] && to != interface.mac && held(shared!(group, holder_until).load(), now());
    (is_new && is_served)
        .then(|| Verdict::Forward { to, source: forward::source_of(config.cluster, config.node) })
}

#[inline(always)]
fn arp(packet: &Packet<'_>, offset: usize) -> Verdict {
    let (Some(arp), Some(interface)) = (packet.at::<Arp>(offset), interface(packet)) else {
        return Verdict::Pass(Counter::Other);
    };
    let claims = claim(arp, interface);
    if arp.operation.get() == Arp::REQUEST
        && arp.sender_ip != arp.target_ip
        && let Some((slot, group)) = group_of(arp.target_ip)
    {
        // A probe for a held VIP is answered as well: RFC 5227, section 2.1.1 has the prober expect it.
        if holds(group) {
            return Verdict::AnswerArp { arp: offset, interface };
        }
        if !claims {
            return if shared!(group, stale).load() == Stale::Keep as u32 {
                Verdict::Keep { slot }
            } else {
                Verdict::Drop(Counter::ArpFenced)
            };
        }
    }
    Verdict::Pass(if claims { Counter::ArpConflict } else { Counter::Other })
}

/// Whether a foreign MAC address announces a VIP or probes for one (RFC 5227, section 1.1); tells the daemon.
#[inline(always)]
fn claim(arp: &Arp, interface: &Interface) -> bool {
    let is_probe = arp.sender_ip == [0; 4] && arp.operation.get() == Arp::REQUEST;
    let address = if is_probe { arp.target_ip } else { arp.sender_ip };
    let Some((slot, group)) = group_of(address) else { return false };
    let is_holders =
        || shared!(group, holder).load() != 0 && arp.sender_mac == shared!(group, holder_mac).load();
    if arp.sender_mac == interface.mac || is_holders() {
        return false;
    }
    report_conflict(slot, group, address, arp.sender_mac);
    true
}

/// At most one event per group and [`CONFLICT_INTERVAL`]: a flood of claims must not keep the daemon busy.
#[inline(always)]
fn report_conflict(slot: u32, group: *mut Group, address: [u8; 4], mac: [u8; 6]) {
    let (now, last) = (now(), shared!(group, conflict_at));
    // Two CPUs may both find the interval over and send an event each.
    if now.wrapping_sub(last.load()) < CONFLICT_INTERVAL {
        return;
    }
    last.store(now);
    report(Event { kind: EventKind::Conflict as u32, slot, address, mac, ..EMPTY_EVENT });
}

/// An event to be filled in.
pub(crate) const EMPTY_EVENT: Event =
    Event { kind: 0, slot: 0, value: 0, address: [0; 4], mac: [0; 6], node: 0 };

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
    // SAFETY: the daemon changes an entry only before it attaches the program to the interface.
    unsafe { INTERFACES.get(packet.interface()) }
}

#[inline(always)]
pub(crate) fn group_of(address: [u8; 4]) -> Option<(u32, *mut Group)> {
    // SAFETY: an entry deleted meanwhile stays readable until this run of the program ends (RCU).
    let slot = unsafe { VIPS.get(address) }?.slot;
    Some((slot, GROUPS.get_ptr_mut(slot)?))
}

/// Whether this node serves the group, now.
#[inline(always)]
pub(crate) fn holds(group: *mut Group) -> bool {
    held(shared!(group, lease_until).load(), now())
}
