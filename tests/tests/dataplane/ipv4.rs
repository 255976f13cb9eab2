//! IPv4 packets: those to a VIP reach the holder's stack alone, by address and nothing else.

use std::net::Ipv4Addr;

use vip_common::maps::Counter;
use vip_user::dataplane::Action;

use super::frames::{
    DONT_FRAGMENT, ETHERTYPE_IPV4, Host, Ipv4, MORE_FRAGMENTS, PROTOCOL_UDP, arp_request, ethernet, tagged,
    udp,
};
use super::node::{
    CLIENT, LEASE, MAIL, MAIL_VIP, MOMENT, NODE_HOST, Node, Outcome, PORT, Peer, WEB, WEB_VIP, multicast,
    now, vips,
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
/// The frame that TEST_RUN takes at most on a machine with pages of 4 KiB is a little longer.
const LONG_PAYLOAD: usize = 3000;

#[test]
fn packets_to_a_vip_pass_while_it_is_held() {
    assert_follows_the_lease(&packet(TCP));
}

/// Input: a lease that ends while packets come in. Expected: none passes that came in after its end.
#[test]
fn the_fence_closes_when_the_lease_ends_without_anybody_doing_anything() {
    let node = Node::new();
    let frame = packet(TCP);
    let end = now() + 20_000_000;
    node.plane.words.arm(WEB, end);
    loop {
        let sent = now();
        let passed = node.receives(&frame).action == Action::Pass;
        let answered = now();
        assert!(!passed || sent < end, "passed {} ns after the end", sent - end);
        assert!(passed || answered >= end, "fenced {} ns before the end", end - answered);
        if sent > end {
            break;
        }
    }
}

#[test]
fn every_group_has_its_own_lease() {
    let node = Node::new();
    node.plane.words.arm(MAIL, now() + LEASE);
    let to = |vip| ethernet_of(&Ipv4::new(CLIENT.ip, vip, TCP).around(b"data"));
    assert_eq!(node.receives(&to(MAIL_VIP)).counter, Counter::VipPassed);
    assert_eq!(node.receives(&to(WEB_VIP)).counter, Counter::VipFenced);
}

#[test]
fn every_protocol_is_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for protocol in 0..=255 {
        assert_fenced_by_lease(&holding, &other, &packet(protocol));
    }
}

#[test]
fn options_and_fragments_are_fenced_like_any_packet() {
    let (holding, other) = (Node::holding(), Node::new());
    let router_alert = [0x94, 4, 0, 0];
    let no_operation = [1; 40];
    for protocol in [ICMP, TCP, PROTOCOL_UDP] {
        for options in [&[][..], &router_alert, &no_operation] {
            for fragment in [0, DONT_FRAGMENT, MORE_FRAGMENTS, MORE_FRAGMENTS | 1, 185, 0x1fff] {
                let base = Ipv4::new(CLIENT.ip, WEB_VIP, protocol);
                let packet = Ipv4 { fragment, options, ..base }.around(&udp(1234, 80, b"data"));
                assert_fenced_by_lease(&holding, &other, &ethernet_of(&packet));
            }
        }
    }
}

#[test]
fn short_and_long_packets_are_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for len in [0, 1, 7, 8, 1480, LONG_PAYLOAD] {
        let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(&vec![0; len]);
        assert_fenced_by_lease(&holding, &other, &ethernet_of(&packet));
    }
}

/// Input: header lengths and versions that the stack refuses, on a frame addressed to a VIP.
#[test]
fn packets_with_impossible_headers_are_fenced() {
    let (holding, other) = (Node::holding(), Node::new());
    for version_and_len in 0..=255 {
        let mut frame = packet(PROTOCOL_UDP);
        frame[14] = version_and_len;
        assert_fenced_by_lease(&holding, &other, &frame);
    }
}

/// The port of the lease messages is the protocol's on the node's own addresses alone.
#[test]
fn datagrams_to_a_vip_are_its_clients_whatever_the_port() {
    let (holding, other) = (Node::holding(), Node::new());
    for payload in [&[][..], b"a line for a log server", &[0; 200]] {
        let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(&udp(1234, PORT, payload));
        assert_fenced_by_lease(&holding, &other, &ethernet_of(&packet));
    }
}

#[test]
fn packets_are_fenced_through_up_to_two_vlan_tags() {
    let (holding, other) = (Node::holding(), Node::new());
    for tags in [&[0x8100][..], &[0x88a8], &[0x8100, 0x8100], &[0x88a8, 0x8100], &[0x88a8, 0x88a8]] {
        assert_fenced_by_lease(&holding, &other, &tagged(&packet(TCP), tags));
    }
}

#[test]
fn what_lies_behind_three_vlan_tags_passes() {
    let frame = tagged(&packet(TCP), &[0x8100, 0x8100, 0x8100]);
    assert_eq!(Node::new().receives(&frame), Outcome::passed(&frame, Counter::Other));
}

#[test]
fn packets_to_other_addresses_pass() {
    let node = Node::new();
    let broadcast = Ipv4Addr::BROADCAST;
    for to in [NODE_HOST.ip, CLIENT.ip, Ipv4Addr::new(10, 77, 0, 255), broadcast, Ipv4Addr::new(224, 0, 0, 1)]
    {
        for protocol in [ICMP, TCP, PROTOCOL_UDP] {
            let frame = ethernet_of(&Ipv4::new(CLIENT.ip, to, protocol).around(&udp(1234, 80, b"data")));
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
        }
    }
}

/// Input: a fragment of somebody's datagram to this node, whose data look like a header for the protocol's port.
#[test]
fn the_data_of_later_fragments_are_data() {
    let base = Ipv4::new(CLIENT.ip, NODE_HOST.ip, PROTOCOL_UDP);
    for fragment in [1, MORE_FRAGMENTS | 1, 0x1fff] {
        let frame = ethernet_of(&Ipv4 { fragment, ..base }.around(&udp(1234, PORT, &[0; 100])));
        assert_eq!(Node::new().receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
}

/// Input: header lengths of less than a header, with the protocol's port where a datagram would begin: in the total
/// length, the checksum and the source address.
#[test]
fn a_header_that_is_too_short_leads_to_no_datagram() {
    let node = Node::new();
    for words in [0, 2, 3] {
        let mut frame = ethernet_of(&Ipv4::new(CLIENT.ip, NODE_HOST.ip, PROTOCOL_UDP).around(&[0; 100]));
        frame[14] = 0x40 | words;
        let port_at = 14 + 4 * usize::from(words) + 2;
        frame[port_at..port_at + 2].copy_from_slice(&PORT.to_be_bytes());
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "{words} words");
    }
}

/// The VIP as a source is the holder's traffic on its way through this node.
#[test]
fn packets_from_a_vip_pass() {
    let frame = ethernet_of(&Ipv4::new(WEB_VIP, CLIENT.ip, TCP).around(b"data"));
    assert_eq!(Node::new().receives(&frame), Outcome::passed(&frame, Counter::Other));
}

#[test]
fn vips_that_are_removed_are_fenced_no_more() {
    let mut node = Node::new();
    let frame = packet(TCP);
    node.plane.tables.set_vips(&[(MAIL_VIP, vips()[&MAIL_VIP])].into()).unwrap();
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

#[test]
fn other_ethertypes_pass() {
    let node = Node::new();
    let inside = Ipv4::new(CLIENT.ip, WEB_VIP, TCP).around(b"data");
    for ethertype in [0x0000, 0x0026, 0x05dc, 0x0801, 0x0842, 0x8035, 0x86dd, 0x8847, 0x88cc, 0xffff] {
        let frame = ethernet(NODE_HOST.mac, CLIENT.mac, ethertype, &inside);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "{ethertype:#x}");
    }
}

/// Input: every kind of frame that concerns the node, cut after every byte. The kernel has no shorter frames than an
/// Ethernet header.
/// Expected: it passes or is dropped as it came, and counts once (which `receives` checks).
#[test]
fn runts_of_every_length_pass_or_are_dropped() {
    let node = Node::holding();
    let options = Ipv4 { options: &[1; 40], ..Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP) };
    let whole = [
        packet(TCP),
        ethernet_of(&options.around(&udp(1, PORT, b"data"))),
        arp_request(CLIENT, WEB_VIP),
        multicast(&Peer::new(2).prepare(1)),
    ];
    let tags: [&[u16]; 4] = [&[], &[0x8100], &[0x88a8, 0x8100], &[0x8100; 3]];
    for frame in whole.iter().flat_map(|frame| tags.map(|tags| tagged(frame, tags))) {
        for len in 14..frame.len() {
            let runt = &frame[..len];
            let outcome = node.receives(runt);
            assert_ne!(outcome.action, Action::Tx, "{len} bytes of {frame:x?}");
            assert_eq!(outcome.frame, runt, "{len} bytes of {frame:x?}");
        }
    }
}

/// A packet from the client to [`WEB_VIP`].
fn packet(protocol: u8) -> Vec<u8> {
    ethernet_of(&Ipv4::new(CLIENT.ip, WEB_VIP, protocol).around(&udp(1234, 80, b"data")))
}

fn ethernet_of(packet: &[u8]) -> Vec<u8> {
    let Host { mac, .. } = NODE_HOST;
    ethernet(mac, CLIENT.mac, ETHERTYPE_IPV4, packet)
}

/// A packet to the VIP of "web" passes while the lease word is armed, and not before or after.
pub(super) fn assert_follows_the_lease(frame: &[u8]) {
    let node = Node::new();
    let fenced = || Outcome::dropped(frame, Counter::VipFenced);
    assert_eq!(node.receives(frame), fenced(), "never armed");
    node.plane.words.arm(WEB, MOMENT);
    assert_eq!(node.receives(frame), fenced(), "the lease has run out");
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(frame), Outcome::passed(frame, Counter::VipPassed), "armed");
    node.plane.words.disarm(WEB);
    assert_eq!(node.receives(frame), fenced(), "disarmed");
}

/// The one node holds the VIP, and the other does not.
pub(super) fn assert_fenced_by_lease(holding: &Node, other: &Node, frame: &[u8]) {
    assert_eq!(holding.receives(frame), Outcome::passed(frame, Counter::VipPassed));
    assert_eq!(other.receives(frame), Outcome::dropped(frame, Counter::VipFenced));
}
