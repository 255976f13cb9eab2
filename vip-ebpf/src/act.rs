//! Carries out verdicts: rewrites frames, counts every outcome, gives the XDP action. Decides nothing.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use vip_common::maps::{Counter, Interface, KeptHead};
use vip_common::vote::Answer;

use crate::mac::Mac;
use crate::maps::{COUNTERS, KEPT};
use crate::parse::ndp::{self, ADDRESSES, Advertisement, LinkLayerAddress, Neighbour};
use crate::parse::{
    Arp, Datagram, Ethernet, Ip, Ipv4, Ipv6, PROTOCOL_ICMPV6, PROTOCOL_UDP, Packet, Udp, Version,
};
use crate::verdict::{Action, Fate, Verdict};
use crate::vote::sign;
use vip_common::checksum::Sum;

const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// Does what was decided. A frame that cannot be rewritten is dropped: it is ours, and half an answer is none.
#[inline(always)]
pub(crate) fn carry_out(packet: &mut Packet<'_>, verdict: Verdict) -> u32 {
    let Verdict { offset, counter, to, source, .. } = verdict;
    let (action, counter) = match verdict.action {
        Action::Pass => (XDP_PASS, counter),
        Action::Deliver => {
            deliver(packet, verdict.interface);
            (XDP_PASS, counter)
        }
        Action::Drop => (XDP_DROP, counter),
        Action::Forward => sent(readdress(packet, to, source), counter),
        Action::Keep => {
            keep(packet, verdict.slot);
            (XDP_DROP, counter)
        }
        Action::AnswerArp => sent(answer_arp(packet, offset, source), counter),
        Action::AnswerNeighbour => {
            sent(answer_neighbour(packet, offset, to, source, verdict.router), counter)
        }
        Action::AnswerMessage => {
            let ip = Ip { version: verdict.version, offset };
            sent(answer_message(packet, ip, verdict.interface, &verdict.answer), counter)
        }
    };
    count(counter);
    action
}

/// As [`carry_out`].
#[inline(always)]
pub(crate) fn let_be(packet: &mut Packet<'_>, fate: &Fate) -> u32 {
    count(fate.counter);
    match fate.action {
        Action::Pass => XDP_PASS,
        Action::Deliver => {
            deliver(packet, fate.interface);
            XDP_PASS
        }
        _ => XDP_DROP,
    }
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

/// RFC 826: swap sender and target, fill in where the VIP is, say "reply", and send that to the new target.
#[inline(always)]
fn answer_arp(packet: &mut Packet<'_>, offset: usize, mac: Mac) -> Option<()> {
    let arp = packet.at_mut::<Arp>(offset)?;
    let (asker, asker_ip, vip) = (Mac::read(&arp.sender_mac), arp.sender_ip, arp.target_ip);
    arp.operation = Arp::REPLY.into();
    mac.write(&mut arp.sender_mac);
    arp.sender_ip = vip;
    asker.write(&mut arp.target_mac);
    arp.target_ip = asker_ip;
    readdress(packet, asker, mac)
}

/// Full buffers lose it.
#[inline(always)]
fn keep(packet: &Packet<'_>, slot: u32) {
    let len = packet.len();
    KEPT.output(packet.context(), &KeptHead { slot, len }, len);
}

#[inline(always)]
fn deliver(packet: &mut Packet<'_>, interface: Option<&Interface>) {
    if let (Some(ethernet), Some(interface)) = (packet.at_mut::<Ethernet>(0), interface) {
        Mac::read(&interface.mac).write(&mut ethernet.destination);
    }
}

#[inline(always)]
fn readdress(packet: &mut Packet<'_>, destination: Mac, source: Mac) -> Option<()> {
    let ethernet = packet.at_mut::<Ethernet>(0)?;
    destination.write(&mut ethernet.destination);
    source.write(&mut ethernet.source);
    Some(())
}

/// ff02::1, and the group of it on Ethernet (RFC 2464, section 7).
const ALL_NODES: u128 = u128::from_ne_bytes([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// RFC 4861, section 7.2.4: the target's link-layer address in place of whatever options there were, to who has
/// asked. A station that has no address yet is answered by telling all nodes, unasked.
#[inline(always)]
fn answer_neighbour(packet: &mut Packet<'_>, offset: usize, asker: Mac, own: Mac, router: u32) -> Option<()> {
    let asked = packet.at::<Neighbour>(offset)?;
    // As numbers, which are moved in words.
    let (vip, source) = (u128::from_ne_bytes(asked.target), u128::from_ne_bytes(asked.ipv6.source));
    let (destination, mac, solicited) = if asked.is_probe() {
        (ALL_NODES, Mac::read(&ALL_NODES_MAC), 0)
    } else {
        (source, asker, Neighbour::SOLICITED)
    };
    let router = if router == 0 { 0 } else { Neighbour::ROUTER };
    resize(packet, offset + size_of::<Advertisement>())?;

    let Advertisement { header, target } = packet.at_mut::<Advertisement>(offset)?;
    header.ipv6.version_class_flow = Ipv6::PLAIN.into();
    header.ipv6.payload_len = ADVERTISEMENT_LEN.into();
    header.ipv6.next_header = PROTOCOL_ICMPV6;
    header.ipv6.hop_limit = ndp::HOP_LIMIT;
    header.ipv6.source = vip.to_ne_bytes();
    header.ipv6.destination = destination.to_ne_bytes();
    header.kind = Neighbour::ADVERTISEMENT;
    header.code = 0;
    header.checksum = [0; 2];
    header.flags = (router | solicited | Neighbour::OVERRIDE).into();
    header.target = vip.to_ne_bytes();
    target.kind = LinkLayerAddress::TARGET;
    target.len = 1;
    own.write(&mut target.address);
    let covered = packet.at::<[u8; COVERED_LEN]>(offset + ADDRESSES)?;
    let checksum = Sum::of_pseudo_header(PROTOCOL_ICMPV6, ADVERTISEMENT_LEN).and(covered).checksum();
    packet.at_mut::<Neighbour>(offset)?.checksum = checksum.to_ne_bytes();
    readdress(packet, mac, own)
}

/// Bytes behind the IPv6 header, and of what the checksum covers, in an [`Advertisement`].
const ADVERTISEMENT_LEN: u16 = 32;
const COVERED_LEN: usize = size_of::<Advertisement>() - ADDRESSES;
const _: () = assert!(size_of::<Advertisement>() - size_of::<Ipv6>() == ADVERTISEMENT_LEN as usize);

/// Makes the frame this long. A driver can refuse to make it longer.
#[inline(always)]
fn resize(packet: &mut Packet<'_>, len: usize) -> Option<()> {
    let context = packet.context();
    #[expect(clippy::cast_possible_truncation, reason = "frames are shorter than 64 KiB")]
    let more = len as i32 - (context.data_end() - context.data()) as i32;
    // SAFETY: the context is the program's own, and the frame borrowed: nobody has an address in it.
    let refused = more != 0 && unsafe { bpf_xdp_adjust_tail(context.ctx, more) } != 0;
    if refused { None } else { Some(()) }
}

/// Puts the answer in place of the request and signs it; through an interface, it goes back to its source.
#[inline(always)]
fn answer_message(
    packet: &mut Packet<'_>,
    ip: Ip,
    interface: Option<&Interface>,
    answer: &Answer,
) -> Option<()> {
    let config = packet.config();
    let Datagram { udp, message } = packet.at_mut::<Datagram>(ip.payload())?;
    answer.put_into(message, config);
    sign(message, config);
    let Some(interface) = interface else { return Some(()) };

    (udp.source, udp.destination) = (udp.destination, udp.source);
    // RFC 768: 0 = no checksum; the tag protects the message.
    udp.checksum = 0.into();
    match ip.version {
        Version::V4 => address_back(packet.at_mut::<Ipv4>(ip.offset)?, interface),
        Version::V6 => address_back6(packet, ip.offset, interface)?,
    }
    let requester = Mac::read(&packet.at::<Ethernet>(0)?.source);
    readdress(packet, requester, Mac::read(&interface.mac))
}

#[inline(always)]
fn address_back(ipv4: &mut Ipv4, interface: &Interface) {
    ipv4.destination = ipv4.source;
    ipv4.source = interface.ipv4();
    ipv4.ttl = TTL;
    ipv4.id = 0.into();
    ipv4.fragment = DONT_FRAGMENT.into();
    ipv4.checksum = 0.into();
    ipv4.checksum = u16::from_be(Sum::default().and(ipv4.bytes()).checksum()).into();
}

/// Here, the datagram has to have a checksum (RFC 8200, section 8.1).
#[inline(always)]
fn address_back6(packet: &mut Packet<'_>, offset: usize, interface: &Interface) -> Option<()> {
    let ipv6 = packet.at_mut::<Ipv6>(offset)?;
    let source = u128::from_ne_bytes(ipv6.source);
    ipv6.destination = source.to_ne_bytes();
    ipv6.source = u128::from_ne_bytes(interface.address).to_ne_bytes();
    ipv6.hop_limit = TTL;

    let covered = packet.at::<[u8; ANSWER_COVERED_LEN]>(offset + ADDRESSES)?;
    let checksum = match Sum::of_pseudo_header(PROTOCOL_UDP, ANSWER_LEN).and(covered).checksum() {
        0 => u16::MAX,
        checksum => checksum,
    };
    packet.at_mut::<Udp>(offset + size_of::<Ipv6>())?.checksum = u16::from_be(checksum).into();
    Some(())
}

/// Bytes behind the IPv6 header, and of what the checksum covers, in an answer to a lease message: it has no body.
const ANSWER_LEN: u16 = 88;
const ANSWER_COVERED_LEN: usize = size_of::<Ipv6>() - ADDRESSES + size_of::<Datagram>();
const _: () = assert!(size_of::<Datagram>() == ANSWER_LEN as usize);
