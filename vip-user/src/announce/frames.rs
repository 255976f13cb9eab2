//! The frames that announce VIPs, ready to send.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use pnet::packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations};
use pnet::packet::ethernet::EtherTypes;
use pnet::packet::icmpv6::Icmpv6Types;
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::util::ipv6_checksum;

type Mac = [u8; 6];

/// Lengths of a MAC address and of an IPv4 address in bytes.
const HARDWARE_LENGTH: u8 = 6;
const PROTOCOL_LENGTH: u8 = 4;

const BROADCAST: Mac = [0xff; 6];

/// ff02::1, and its group on Ethernet (RFC 2464, section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// RFC 4861, section 4.4: flags of an advertisement.
const ROUTER: u32 = 1 << 31;
const OVERRIDE: u32 = 1 << 29;
/// RFC 4861, section 4.4: the hop limit of all neighbour discovery.
const HOP_LIMIT: u8 = 255;
/// RFC 4861, section 4.6.1: an option with the target's MAC address, in one unit of 8 bytes.
const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
/// Of an advertisement with that option, in bytes.
const ADVERTISEMENT_LENGTH: u16 = 32;

/// The frames of a group: first one for each of its VIPs, in their order, for IPv4 in request form; then one in reply form
/// for each of IPv4. So the last of many VIPs is announced in half of the time. The driver pads them.
#[derive(Debug)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
    /// The first frame of each VIP.
    firsts: HashMap<IpAddr, usize>,
}

impl Frames {
    pub(super) fn build(mac: Mac, vips: &[IpAddr], router: bool) -> Self {
        let mut frames = Self { bytes: Vec::new(), ends: Vec::new(), firsts: HashMap::new() };
        let mut replies = Vec::new();
        for vip in vips {
            frames.firsts.insert(*vip, frames.count());
            match vip {
                IpAddr::V4(vip) => {
                    let [request, reply] = gratuitous_arp(mac, *vip);
                    frames.push(&request);
                    replies.push(reply);
                }
                IpAddr::V6(vip) => frames.push(&unsolicited_advertisement(mac, *vip, router)),
            }
        }
        replies.iter().for_each(|reply| frames.push(reply));
        frames
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// These frames, as far as they are there.
    pub(super) fn of(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        range.filter_map(|number| {
            let start = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
            self.bytes.get(start..*self.ends.get(number)?)
        })
    }

    /// The announcement of a VIP alone, for IPv4 in request form.
    pub(super) fn of_vip(&self, vip: IpAddr) -> Option<&[u8]> {
        let first = *self.firsts.get(&vip)?;
        self.of(first..first + 1).next()
    }

    fn push(&mut self, frame: &[u8]) {
        self.bytes.extend(frame);
        self.ends.push(self.bytes.len());
    }
}

/// Hosts differ in the form they listen to. The request form is the ARP Announcement of RFC 5227 section 2.3, whose
/// target hardware address is zero (2.1.1); section 3 has the reasons for it. In the reply form that address is the
/// sender's own, as RFC 5944 section 4.6 has it: only then does Linux take a reply for gratuitous (`arp_is_garp` in
/// net/ipv4/arp.c), which lets it replace an entry at once. With a broadcast address there it would not.
fn gratuitous_arp(mac: Mac, vip: Ipv4Addr) -> [Vec<u8>; 2] {
    [arp(mac, vip, ArpOperations::Request, [0; 6]), arp(mac, vip, ArpOperations::Reply, mac)]
}

/// The order of the fields is that of RFC 894 and RFC 826 ("Packet format").
fn arp(mac: Mac, vip: Ipv4Addr, operation: ArpOperation, target: Mac) -> Vec<u8> {
    let fields: [&[u8]; 11] = [
        &BROADCAST,
        &mac,
        &EtherTypes::Arp.0.to_be_bytes(),
        &ArpHardwareTypes::Ethernet.0.to_be_bytes(),
        &EtherTypes::Ipv4.0.to_be_bytes(),
        &[HARDWARE_LENGTH, PROTOCOL_LENGTH],
        &operation.0.to_be_bytes(),
        &mac,
        &vip.octets(),
        &target,
        &vip.octets(),
    ];
    fields.concat()
}

/// RFC 4861, section 7.2.6: to all nodes, from the VIP itself, in place of what they knew. The order of the fields is
/// that of RFC 2464, RFC 8200 and RFC 4861, section 4.4.
fn unsolicited_advertisement(mac: Mac, vip: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let mut message = [
        &[Icmpv6Types::NeighborAdvert.0, 0, 0, 0][..],
        &flags.to_be_bytes(),
        &vip.octets(),
        &TARGET_LINK_LAYER_ADDRESS,
        &mac,
    ]
    .concat();
    let checksum = ipv6_checksum(&message, 1, &[], &vip, &ALL_NODES, IpNextHeaderProtocols::Icmpv6);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let fields: [&[u8]; 9] = [
        &ALL_NODES_MAC,
        &mac,
        &EtherTypes::Ipv6.0.to_be_bytes(),
        &[0x60, 0, 0, 0],
        &ADVERTISEMENT_LENGTH.to_be_bytes(),
        &[IpNextHeaderProtocols::Icmpv6.0, HOP_LIMIT],
        &vip.octets(),
        &ALL_NODES.octets(),
        &message,
    ];
    fields.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn each_ipv4_vip_has_its_frames_in_both_forms_and_no_second_one_goes_before_anothers_first() {
        let vips = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let frames = Frames::build(MAC, &vips.map(IpAddr::V4), false);
        let shown: Vec<(u8, &[u8])> = frames.of(0..9).map(|frame| (frame[21], &frame[38..])).collect();
        let [first, second] = [vips[0].octets(), vips[1].octets()];
        assert_eq!(shown, [(1, &first[..]), (1, &second), (2, &first), (2, &second)]);
    }

    #[test]
    fn frames_of_both_families_are_found_by_their_number() {
        let vips: Vec<IpAddr> = ["fd77::1", "10.0.0.1", "fd77::2"].map(|vip| vip.parse().unwrap()).to_vec();
        let frames = Frames::build(MAC, &vips, false);
        assert_eq!(frames.count(), 4);
        let lengths = |range| frames.of(range).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0..4), [86, 42, 86, 42]);
        assert_eq!(lengths(1..3), [42, 86]);
        assert_eq!(frames.of(2..3).next().map(|frame| frame[37]), Some(2), "the last byte of the source");
    }

    #[test]
    fn only_a_router_says_that_it_is_one() {
        let flags = |router| unsolicited_advertisement(MAC, Ipv6Addr::LOCALHOST, router)[58];
        assert_eq!([flags(false), flags(true)], [0x20, 0xa0]);
    }
}
