//! Carries out verdicts: rewrites frames, counts every outcome, gives the XDP action. Decides nothing.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use vip_common::maps::{Counter, Interface};

use crate::maps::{CONFIG, COUNTERS};
use crate::parse::{Arp, Datagram, Ethernet, Ipv4, Packet};
use crate::verdict::{Answer, Verdict};
use crate::vote::tag_under;

const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// Does what was decided. A frame that cannot be rewritten is dropped: it is ours, and half an answer is none.
#[inline(always)]
pub(crate) fn carry_out(packet: &Packet<'_>, verdict: Verdict) -> u32 {
    let (action, counter) = match verdict {
        Verdict::Pass(counter) => (XDP_PASS, counter),
        Verdict::Drop(counter) => (XDP_DROP, counter),
        Verdict::AnswerArp { arp, interface } => sent(answer_arp(packet, arp, interface), Counter::ArpReply),
        Verdict::AnswerMessage { ipv4, interface, answer } => {
            sent(answer_message(packet, ipv4, interface, &answer), Counter::LeaseReply)
        }
    };
    count(counter);
    action
}

#[inline(always)]
fn sent(written: Option<()>, counter: Counter) -> (u32, Counter) {
    match written {
        Some(()) => (XDP_TX, counter),
        None => (XDP_DROP, Counter::Other),
    }
}

/// The one place that counts.
#[inline(always)]
fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}

/// RFC 826: swap sender and target, fill in the own address, say "reply", and send that to the new target.
#[inline(always)]
fn answer_arp(packet: &Packet<'_>, offset: usize, interface: &Interface) -> Option<()> {
    let ethernet = packet.at::<Ethernet>(0)?;
    let arp = packet.at::<Arp>(offset)?;
    // SAFETY: `at` checked the bounds; headers are packed and take any bytes.
    let (ethernet, arp) = unsafe { (&mut *ethernet, &mut *arp) };
    let vip = arp.target_ip;
    arp.operation = Arp::REPLY.into();
    arp.target_mac = arp.sender_mac;
    arp.target_ip = arp.sender_ip;
    arp.sender_mac = interface.mac;
    arp.sender_ip = vip;
    ethernet.destination = arp.target_mac;
    ethernet.source = interface.mac;
    Some(())
}

/// Puts the answer in place of the request and signs it; through an interface, it goes back to its source.
#[inline(always)]
fn answer_message(
    packet: &Packet<'_>,
    offset: usize,
    interface: Option<&Interface>,
    answer: &Answer,
) -> Option<()> {
    let config = CONFIG.get(0)?;
    let ethernet = packet.at::<Ethernet>(0)?;
    let datagram = packet.at::<Datagram>(offset)?;
    // SAFETY: `at` checked the bounds; headers are packed and take any bytes.
    let (ethernet, datagram) = unsafe { (&mut *ethernet, &mut *datagram) };
    let message = &mut datagram.message;
    message.kind = answer.kind as u8;
    message.reason = answer.reason;
    message.ballot = answer.ballot.0.into();
    message.duration = answer.duration.into();
    message.sender = config.node.into();
    message.epoch = config.epoch.into();
    message.tag = tag_under(message, &config.keys[0]).into();
    if let Some(interface) = interface {
        ethernet.destination = ethernet.source;
        ethernet.source = interface.mac;
        address_back(datagram, interface);
    }
    Some(())
}

#[inline(always)]
fn address_back(datagram: &mut Datagram, interface: &Interface) {
    let ipv4 = &mut datagram.ipv4;
    ipv4.destination = ipv4.source;
    ipv4.source = interface.address;
    ipv4.ttl = TTL;
    ipv4.id = 0.into();
    ipv4.fragment = DONT_FRAGMENT.into();
    ipv4.checksum = 0.into();
    ipv4.checksum = header_checksum(ipv4).into();
    let udp = &mut datagram.udp;
    let port = udp.destination;
    udp.destination = udp.source;
    udp.source = port;
    // RFC 768: 0 = no checksum; the tag protects the message.
    udp.checksum = 0.into();
}

/// RFC 791, section 3.1 (RFC 1071): the complement of the ones' complement sum of a header without options.
#[inline(always)]
fn header_checksum(ipv4: &Ipv4) -> u16 {
    let words = core::ptr::from_ref(ipv4).cast::<[u8; 2]>();
    let mut sum = 0;
    for i in 0..size_of::<Ipv4>() / 2 {
        // SAFETY: `i` stays within the header.
        sum += u32::from(u16::from_be_bytes(unsafe { *words.add(i) }));
    }
    sum = (sum >> 16) + (sum & 0xffff);
    sum += sum >> 16;
    !(sum as u16)
}
