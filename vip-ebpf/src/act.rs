//! Carries out verdicts: rewrites frames, counts every outcome, gives the XDP action. Decides nothing.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use vip_common::maps::{Counter, Interface, KeptHead};
use vip_common::vote::Answer;
use vip_common::wire::Be16;

use crate::maps::{CONFIG, COUNTERS, KEPT};
use crate::parse::{Arp, Datagram, Ethernet, Ipv4, Packet};
use crate::verdict::Verdict;
use crate::vote::tag_under;

const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// Does what was decided. A frame that cannot be rewritten is dropped: it is ours, and half an answer is none.
#[inline(always)]
pub(crate) fn carry_out(packet: &mut Packet<'_>, verdict: Verdict) -> u32 {
    let (action, counter) = match verdict {
        Verdict::Pass(counter) => (XDP_PASS, counter),
        Verdict::Drop(counter) => (XDP_DROP, counter),
        Verdict::Forward { to, source } => sent(readdress(packet, to, source), Counter::VipForwarded),
        Verdict::Keep { slot } => {
            keep(packet, slot);
            (XDP_DROP, Counter::VipKept)
        }
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
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's own value, which only the daemon reads besides.
        let value = unsafe { &mut *value };
        *value = value.wrapping_add(1);
    }
}

/// RFC 826: swap sender and target, fill in the own address, say "reply", and send that to the new target.
#[inline(always)]
fn answer_arp(packet: &mut Packet<'_>, offset: usize, interface: &Interface) -> Option<()> {
    let arp = packet.at_mut::<Arp>(offset)?;
    let vip = arp.target_ip;
    arp.operation = Arp::REPLY.into();
    arp.target_mac = arp.sender_mac;
    arp.target_ip = arp.sender_ip;
    arp.sender_mac = interface.mac;
    arp.sender_ip = vip;
    let target = arp.target_mac;
    readdress(packet, target, interface.mac)
}

/// Full buffers lose it.
#[inline(always)]
fn keep(packet: &Packet<'_>, slot: u32) {
    let len = packet.len();
    KEPT.output(packet.context(), &KeptHead { slot, len }, len);
}

#[inline(always)]
fn readdress(packet: &mut Packet<'_>, destination: [u8; 6], source: [u8; 6]) -> Option<()> {
    let ethernet = packet.at_mut::<Ethernet>(0)?;
    ethernet.destination = destination;
    ethernet.source = source;
    Some(())
}

/// Puts the answer in place of the request and signs it; through an interface, it goes back to its source.
#[inline(always)]
fn answer_message(
    packet: &mut Packet<'_>,
    offset: usize,
    interface: Option<&Interface>,
    answer: &Answer,
) -> Option<()> {
    let config = CONFIG.get(0)?;
    let datagram = packet.at_mut::<Datagram>(offset)?;
    let message = &mut datagram.message;
    answer.put_into(message, config);
    message.tag = tag_under(message, &config.keys[0]).into();
    if let Some(interface) = interface {
        address_back(datagram, interface);
        let requester = packet.at::<Ethernet>(0)?.source;
        readdress(packet, requester, interface.mac)?;
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
    (udp.source, udp.destination) = (udp.destination, udp.source);
    // RFC 768: 0 = no checksum; the tag protects the message.
    udp.checksum = 0.into();
}

/// RFC 791, section 3.1 (RFC 1071): the complement of the ones' complement sum of a header without options.
#[inline(always)]
fn header_checksum(ipv4: &Ipv4) -> u16 {
    let words = core::ptr::from_ref(ipv4).cast::<[Be16; size_of::<Ipv4>() / size_of::<Be16>()]>();
    // SAFETY: the words are exactly the header, and the read asks for no alignment.
    let words = unsafe { words.read_unaligned() };
    let mut sum = 0;
    for word in words {
        sum += u32::from(word.get());
    }
    sum = (sum >> 16) + (sum & 0xffff);
    sum += sum >> 16;
    !((sum & 0xffff) as u16)
}
