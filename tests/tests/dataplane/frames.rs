//! Builds frames byte by byte, and takes lease answers apart. Knows nothing of the program's own header layouts.

use std::net::{Ipv4Addr, Ipv6Addr};

use vip_common::wire::Message;

pub(super) type Mac = [u8; 6];

pub(super) const BROADCAST: Mac = [0xff; 6];
pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(super) const PROTOCOL_UDP: u8 = 17;
pub(super) const PROTOCOL_ICMPV6: u8 = 58;
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

impl Host {
    /// Its IPv6 address: the other one, in fd77::/96.
    pub(super) const fn ip6(self) -> Ipv6Addr {
        let [a, b, c, d] = self.ip.octets();
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, high, low)
    }
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
    pub(super) ttl: u8,
    pub(super) fragment: u16,
    /// A multiple of 4 bytes.
    pub(super) options: &'a [u8],
}

impl Ipv4<'_> {
    pub(super) fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self { source, destination, protocol, ttl: 1, fragment: DONT_FRAGMENT, options: &[] }
    }

    /// The packet with its checksum.
    pub(super) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total_len = u16::try_from(header_len + payload.len()).unwrap().to_be_bytes();
        let version_and_len = 0x40 | u8::try_from(header_len / 4).unwrap();
        let [fragment_high, fragment_low] = self.fragment.to_be_bytes();
        let mut packet = vec![version_and_len, 0, total_len[0], total_len[1], 0x12, 0x34];
        packet.extend([fragment_high, fragment_low, self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(self.options);
        let checksum = !ones_complement_sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// An IPv6 packet (RFC 8200, section 3) of some class and flow.
pub(super) fn ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [0x6c, 0x01, 0x23, 0x45, len[0], len[1], next_header, hop_limit];
    [&head[..], &source.octets(), &destination.octets(), payload].concat()
}

/// Neighbour discovery that is to be built (RFC 4861, sections 4.3 and 4.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour<'a> {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) flags: u32,
    pub(super) target: Ipv6Addr,
    pub(super) options: &'a [u8],
}

pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
pub(super) const ROUTER: u32 = 1 << 31;
pub(super) const SOLICITED: u32 = 1 << 30;
pub(super) const OVERRIDE: u32 = 1 << 29;
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Neighbour<'_> {
    /// A question for a target, to its solicited-node group; without options.
    pub(super) fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Self {
        let destination = solicited_node(target);
        Self {
            source,
            destination,
            hop_limit: 255,
            kind: SOLICITATION,
            code: 0,
            flags: 0,
            target,
            options: &[],
        }
    }

    /// Unasked news for all nodes; without options.
    pub(super) fn advertisement(target: Ipv6Addr) -> Self {
        let unasked = Self::solicitation(target, target);
        Self { destination: ALL_NODES, kind: ADVERTISEMENT, flags: OVERRIDE, ..unasked }
    }

    /// The packet with its checksum, in a frame from this MAC address to where the destination is on Ethernet.
    pub(super) fn frame(&self, from: Mac) -> Vec<u8> {
        let to = multicast_mac(self.destination).unwrap_or(NOBODYS_MAC);
        ethernet(to, from, ETHERTYPE_IPV6, &self.packet())
    }

    pub(super) fn packet(&self) -> Vec<u8> {
        let Self { source, destination, target, .. } = *self;
        let mut message = [&[self.kind, self.code, 0, 0][..], &self.flags.to_be_bytes()].concat();
        message.extend(target.octets());
        message.extend(self.options);
        let checksum = !checksum_over_ipv6(source, destination, PROTOCOL_ICMPV6, &message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        ipv6(source, destination, PROTOCOL_ICMPV6, self.hop_limit, &message)
    }
}

/// The destination of unicast frames where it does not matter.
const NOBODYS_MAC: Mac = [0x02, 0, 0, 0, 0, 0];

/// An option that names a MAC address: the source's (1) or the target's (2).
pub(super) fn link_layer(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// RFC 4291, section 2.7.1.
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// RFC 2464, section 7.
pub(super) fn multicast_mac(group: Ipv6Addr) -> Option<Mac> {
    let [.., a, b, c, d] = group.octets();
    group.is_multicast().then_some([0x33, 0x33, a, b, c, d])
}

/// RFC 8200, section 8.1: the sum over pseudo-header and message; 0xffff with a valid checksum in it.
pub(super) fn checksum_over_ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    message: &[u8],
) -> u16 {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let padding: &[u8] = if message.len().is_multiple_of(2) { &[] } else { &[0] };
    let parts =
        [&source.octets()[..], &destination.octets(), &len, &[0, 0, 0, next_header], message, padding];
    ones_complement_sum(&parts.concat())
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

/// The same of a frame without IPv6 extension headers.
pub(super) fn payload6(frame: &[u8]) -> &[u8] {
    &frame[ETHERNET_LEN + 40 + 8..]
}
