//! Builds frames byte by byte, and takes lease answers apart. Knows nothing of the program's own header layouts.

use std::net::Ipv4Addr;

use vip_common::wire::Message;

pub(super) type Mac = [u8; 6];

pub(super) const BROADCAST: Mac = [0xff; 6];
pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const PROTOCOL_UDP: u8 = 17;
pub(super) const ETHERNET_LEN: usize = 14;
/// In the fragment field of an IPv4 header (RFC 791, section 3.1), beside the offset in units of 8 bytes.
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;

/// A station on the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Host {
    pub(super) mac: Mac,
    pub(super) ip: Ipv4Addr,
}

pub(super) fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with VLAN tags of these EtherTypes, outermost first (IEEE 802.1Q).
pub(super) fn tagged(frame: &[u8], ethertypes: &[u16]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let tags: Vec<u8> = ethertypes.iter().flat_map(|tag| [tag.to_be_bytes(), [0x20, 10]].concat()).collect();
    [addresses, &tags, rest].concat()
}

pub(super) const ARP_REQUEST: u16 = 1;
pub(super) const ARP_REPLY: u16 = 2;

/// An ARP packet in a broadcast frame of its sender (RFC 826).
pub(super) fn arp(operation: u16, sender: Host, target: Host) -> Vec<u8> {
    let packet = [
        &[0, 1, 8, 0, 6, 4][..],
        &operation.to_be_bytes(),
        &sender.mac,
        &sender.ip.octets(),
        &target.mac,
        &target.ip.octets(),
    ];
    ethernet(BROADCAST, sender.mac, ETHERTYPE_ARP, &packet.concat())
}

/// Who has `target`? Tell `sender`.
pub(super) fn arp_request(sender: Host, target: Ipv4Addr) -> Vec<u8> {
    arp(ARP_REQUEST, sender, Host { mac: [0; 6], ip: target })
}

/// An IPv4 packet that is to be built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv4<'a> {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) protocol: u8,
    pub(super) fragment: u16,
    /// A multiple of 4 bytes.
    pub(super) options: &'a [u8],
}

impl Ipv4<'_> {
    pub(super) fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self { source, destination, protocol, fragment: DONT_FRAGMENT, options: &[] }
    }

    /// The packet with its checksum.
    pub(super) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total_len = u16::try_from(header_len + payload.len()).unwrap().to_be_bytes();
        let version_and_len = 0x40 | u8::try_from(header_len / 4).unwrap();
        let [fragment_high, fragment_low] = self.fragment.to_be_bytes();
        let mut packet = vec![version_and_len, 0, total_len[0], total_len[1], 0x12, 0x34];
        packet.extend([fragment_high, fragment_low, 1, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(self.options);
        let checksum = !ones_complement_sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// RFC 768, with a checksum that is wrong, as between the ends of a veth pair, where no card completes it.
pub(super) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    [&[source, destination, len, 0xc5c5].map(u16::to_be_bytes).concat()[..], payload].concat()
}

/// The sum of the 16-bit words of RFC 1071; 0xffff over a header with a valid checksum.
pub(super) fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The port that a node sends from: not the one that it sends to, so that the test sees them swapped.
pub(super) const SOURCE_PORT: u16 = 40_000;

/// A sealed message and its body in a frame from one host to another's `port`.
pub(super) fn lease(from: Host, to: Host, port: u16, message: &Message, body: &[u8]) -> Vec<u8> {
    let datagram = udp(SOURCE_PORT, port, &[&message.to_bytes(), body].concat());
    let packet = Ipv4::new(from.ip, to.ip, PROTOCOL_UDP).around(&datagram);
    ethernet(to.mac, from.mac, ETHERTYPE_IPV4, &packet)
}

/// The UDP payload of a frame without VLAN tags and IP options.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    &frame[ETHERNET_LEN + 20 + 8..]
}
