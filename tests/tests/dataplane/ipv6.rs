//! IPv6 packets: those to a VIP reach the holder's stack alone, by address and nothing else.

use std::net::Ipv6Addr;

use vip_common::maps::Counter;
use vip_user::dataplane::Action;

use super::frames::{
    ALL_NODES, ETHERTYPE_IPV6, Neighbour, PROTOCOL_ICMPV6, PROTOCOL_UDP, ethernet, ipv6, tagged, udp,
};
use super::ipv4::{assert_fenced_by_lease, assert_follows_the_lease};
use super::node::{CLIENT, LEASE, MAIL, MAIL_VIP6, NODE_HOST, Node, Outcome, PORT, WEB_VIP6, now, vips6};

const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

#[test]
fn packets_to_a_vip_pass_while_it_is_held() {
    assert_follows_the_lease(&packet(TCP));
}

#[test]
fn every_group_has_its_own_lease() {
    let node = Node::new();
    node.plane.words.arm(MAIL, now() + LEASE);
    assert_eq!(node.receives(&to(MAIL_VIP6, TCP, b"data")).counter, Counter::VipPassed);
    assert_eq!(node.receives(&to(WEB_VIP6, TCP, b"data")).counter, Counter::VipFenced);
}

/// RFC 8200, section 4: what follows the header may be any protocol or extension header.
#[test]
fn every_next_header_is_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for next_header in 0..=255 {
        assert_fenced_by_lease(&holding, &other, &packet(next_header));
    }
}

/// RFC 8200, sections 4.3, 4.4 and 4.6, RFC 4302: one extension header of each kind before a datagram, and chains of
/// them.
#[test]
fn extension_headers_are_fenced_like_any_packet() {
    let (holding, other) = (Node::holding(), Node::new());
    let chains: [&[u8]; 8] = [
        &[HOP_BY_HOP],
        &[ROUTING],
        &[DESTINATION_OPTIONS],
        &[AUTHENTICATION],
        &[HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS],
        &[DESTINATION_OPTIONS; 20],
        &[HOP_BY_HOP; 3],
        &[FRAGMENT, FRAGMENT],
    ];
    for chain in chains {
        for last in [TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6, NO_NEXT_HEADER] {
            let payload = behind(chain, last, &udp(1234, PORT, b"data"));
            assert_fenced_by_lease(&holding, &other, &to(WEB_VIP6, chain[0], &payload));
        }
    }
}

/// RFC 8200, section 4.5: the first fragment, one in the middle, the last, a whole datagram in one, and one past 64
/// KiB.
#[test]
fn fragments_are_fenced_like_any_packet() {
    let (holding, other) = (Node::holding(), Node::new());
    for offset_and_more in [0x0001, 0x0009, 0x05a8, 0x0000, 0xfff9] {
        for next_header in [TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6, HOP_BY_HOP] {
            let fragment = fragment(next_header, offset_and_more, &udp(1234, PORT, &[0; 24]));
            assert_fenced_by_lease(&holding, &other, &to(WEB_VIP6, FRAGMENT, &fragment));
        }
    }
}

/// RFC 2675: a jumbo payload option and a length of 0; and RFC 8200, section 3: every length that is wrong.
#[test]
fn packets_with_impossible_lengths_are_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    let jumbo = [PROTOCOL_UDP, 0, 0xc2, 4, 0, 1, 0, 0];
    for len in [0, 1, 7, 8, 15, 17, 0x7fff, 0xffff_u16] {
        for next_header in [HOP_BY_HOP, TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6] {
            let mut frame = to(WEB_VIP6, next_header, &[&jumbo[..], &udp(1, PORT, b"")].concat());
            frame[18..20].copy_from_slice(&len.to_be_bytes());
            assert_fenced_by_lease(&holding, &other, &frame);
        }
    }
}

#[test]
fn short_and_long_packets_are_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for len in [0, 1, 7, 8, 1452, 3000] {
        assert_fenced_by_lease(&holding, &other, &to(WEB_VIP6, PROTOCOL_UDP, &vec![0; len]));
    }
}

/// Input: versions that the stack refuses, on a frame addressed to a VIP.
#[test]
fn packets_of_impossible_versions_are_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for version_and_class in 0..=255 {
        let mut frame = packet(PROTOCOL_UDP);
        frame[14] = version_and_class;
        assert_fenced_by_lease(&holding, &other, &frame);
    }
}

/// The port of the lease messages is the protocol's on the node's own addresses alone.
#[test]
fn datagrams_to_a_vip_are_its_clients_whatever_the_port() {
    let (holding, other) = (Node::holding(), Node::new());
    for payload in [&[][..], b"a line for a log server", &[0; 200]] {
        assert_fenced_by_lease(&holding, &other, &to(WEB_VIP6, PROTOCOL_UDP, &udp(1234, PORT, payload)));
    }
}

#[test]
fn packets_are_fenced_through_up_to_two_vlan_tags() {
    let (holding, other) = (Node::holding(), Node::new());
    for tags in [&[0x8100][..], &[0x88a8], &[0x8100, 0x8100], &[0x88a8, 0x8100], &[0x88a8, 0x88a8]] {
        assert_fenced_by_lease(&holding, &other, &tagged(&packet(TCP), tags));
    }
    let frame = tagged(&packet(TCP), &[0x8100, 0x8100, 0x8100]);
    assert_eq!(other.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

#[test]
fn packets_to_other_addresses_pass() {
    let node = Node::new();
    let neighbour = WEB_VIP6.to_bits() ^ 1 << 127;
    for to_address in [NODE_HOST.ip6(), CLIENT.ip6(), ALL_NODES, Ipv6Addr::UNSPECIFIED, neighbour.into()] {
        for next_header in [HOP_BY_HOP, FRAGMENT, TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6] {
            let frame = to(to_address, next_header, &udp(1234, 80, b"data"));
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
        }
    }
}

/// The VIP as a source is the holder's traffic on its way through this node.
#[test]
fn packets_from_a_vip_pass() {
    let packet = ipv6(WEB_VIP6, CLIENT.ip6(), TCP, 64, b"data");
    let frame = ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV6, &packet);
    assert_eq!(Node::new().receives(&frame), Outcome::passed(&frame, Counter::Other));
}

#[test]
fn vips_that_are_removed_are_fenced_no_more() {
    let mut node = Node::new();
    let mut rest = vips6();
    rest.remove(&WEB_VIP6);
    node.plane.tables.set_vips6(&rest).unwrap();
    let frame = packet(TCP);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    assert_eq!(node.receives(&to(MAIL_VIP6, TCP, b"data")).counter, Counter::VipFenced);
}

/// Input: every kind of IPv6 frame that concerns the node, cut after every byte.
/// Expected: it passes or is dropped as it came, and counts once (which `receives` checks).
#[test]
fn runts_of_every_length_pass_or_are_dropped() {
    let options = [super::frames::link_layer(1, CLIENT.mac), vec![14, 1, 1, 2, 3, 4, 5, 6]].concat();
    let solicitation = Neighbour { options: &options, ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6) };
    let whole = [
        packet(TCP),
        to(WEB_VIP6, HOP_BY_HOP, &behind(&[HOP_BY_HOP, FRAGMENT], PROTOCOL_UDP, &udp(1, PORT, b"data"))),
        solicitation.frame(CLIENT.mac),
        Neighbour { options: &options, ..Neighbour::advertisement(WEB_VIP6) }.frame(CLIENT.mac),
    ];
    let tags: [&[u16]; 4] = [&[], &[0x8100], &[0x88a8, 0x8100], &[0x8100; 3]];
    for node in [Node::holding(), Node::new()] {
        for frame in whole.iter().flat_map(|frame| tags.map(|tags| tagged(frame, tags))) {
            for len in 14..frame.len() {
                let runt = &frame[..len];
                let outcome = node.receives(runt);
                assert_ne!(outcome.action, Action::Tx, "{len} bytes of {frame:x?}");
                assert_eq!(outcome.frame, runt, "{len} bytes of {frame:x?}");
            }
        }
    }
}

/// A packet from the client to [`WEB_VIP6`].
fn packet(next_header: u8) -> Vec<u8> {
    to(WEB_VIP6, next_header, &udp(1234, 80, b"data"))
}

fn to(destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let packet = ipv6(CLIENT.ip6(), destination, next_header, 64, payload);
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV6, &packet)
}

/// Extension headers of these kinds, 8 bytes each, with a payload of that protocol behind them.
fn behind(kinds: &[u8], last: u8, payload: &[u8]) -> Vec<u8> {
    let nexts = kinds.iter().skip(1).chain([&last]);
    let headers = nexts.flat_map(|next| [*next, 0, 1, 4, 0, 0, 0, 0]).collect();
    [headers, payload.to_vec()].concat()
}

/// A fragment header (RFC 8200, section 4.5) and what follows it.
fn fragment(next_header: u8, offset_and_more: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset_and_more.to_be_bytes();
    [&[next_header, 0, high, low, 0xca, 0xfe, 0, 1][..], payload].concat()
}
