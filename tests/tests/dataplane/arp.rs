//! ARP for VIPs: answered by the holder, kept from everybody else's stack, and watched for conflicts.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use vip_common::maps::{CONFLICT_INTERVAL, Counter, EventKind};

use super::frames::{
    ARP_REPLY, ARP_REQUEST, BROADCAST, ETHERTYPE_ARP, Host, arp, arp_request, ethernet, tagged,
};
use super::node::{CLIENT, LEASE, LOOPBACK, MOMENT, NODE_HOST, Node, Outcome, Peer, WEB, WEB_VIP, host, now};

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// A station that has no business with the VIP.
const STRANGER: Host = host(66);

/// Input and Expected: RFC 826, "Packet Reception", by hand. The client 02:77:00:00:00:c8, 10.77.0.200 asks for
/// 10.77.0.100, which the node 02:77:00:00:00:01 holds.
#[test]
fn a_request_for_a_held_vip_is_answered_as_rfc_826_has_it() {
    #[rustfmt::skip]
    let request = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  0x08, 0x06,
        0x00, 0x01,  0x08, 0x00,  6, 4,  0x00, 0x01,
        0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  10, 77, 0, 200,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  10, 77, 0, 100,
    ];
    #[rustfmt::skip]
    let reply = [
        0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  0x02, 0x77, 0x00, 0x00, 0x00, 0x01,  0x08, 0x06,
        0x00, 0x01,  0x08, 0x00,  6, 4,  0x00, 0x02,
        0x02, 0x77, 0x00, 0x00, 0x00, 0x01,  10, 77, 0, 100,
        0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  10, 77, 0, 200,
    ];
    assert_eq!(Node::holding().receives(&request), Outcome::sent(&reply, Counter::ArpReply));
}

#[test]
fn padding_behind_a_request_stays() {
    let padding = [0xaa; 18];
    let request = [&arp_request(CLIENT, WEB_VIP)[..], &padding].concat();
    let reply = [&expected_reply()[..], &padding].concat();
    assert_eq!(Node::holding().receives(&request), Outcome::sent(&reply, Counter::ArpReply));
}

/// Neighbours confirm an entry by a request to the MAC address that they have (RFC 1122, section 2.3.2.1).
#[test]
fn a_unicast_request_is_answered_as_well() {
    let mut request = arp_request(CLIENT, WEB_VIP);
    request[..6].copy_from_slice(&NODE_HOST.mac);
    assert_eq!(Node::holding().receives(&request), Outcome::sent(&expected_reply(), Counter::ArpReply));
}

/// RFC 826: "Send the packet to the (new) target hardware address", which is the sender's that the packet named.
#[test]
fn the_reply_goes_to_the_sender_that_the_request_names() {
    let mut request = arp_request(CLIENT, WEB_VIP);
    request[6..12].copy_from_slice(&STRANGER.mac);
    assert_eq!(Node::holding().receives(&request), Outcome::sent(&expected_reply(), Counter::ArpReply));
}

#[test]
fn a_request_for_a_vip_that_is_not_held_is_dropped() {
    let node = Node::new();
    let request = arp_request(CLIENT, WEB_VIP);
    let fenced = || Outcome::dropped(&request, Counter::ArpFenced);
    assert_eq!(node.receives(&request), fenced(), "never armed");
    node.plane.words.arm(WEB, MOMENT);
    assert_eq!(node.receives(&request), fenced(), "the lease has run out");
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(&request).counter, Counter::ArpReply, "armed");
    node.plane.words.disarm(WEB);
    assert_eq!(node.receives(&request), fenced(), "disarmed");
}

#[test]
fn arp_that_does_not_concern_a_vip_passes() {
    let node = Node::holding();
    for frame in [
        arp_request(CLIENT, NODE_HOST.ip),
        arp_request(CLIENT, Ipv4Addr::new(10, 77, 0, 99)),
        arp(ARP_REPLY, STRANGER, NODE_HOST),
        arp_request(Host { mac: STRANGER.mac, ip: NOBODY }, STRANGER.ip),
    ] {
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
}

/// Expected: the answer that RFC 5227, section 2.1.1, has the prober wait for, with the prober's address of zeros.
#[test]
fn a_probe_for_a_held_vip_is_answered_and_reported() {
    let mut node = Node::holding();
    let prober = Host { mac: STRANGER.mac, ip: NOBODY };
    let outcome = node.receives(&arp_request(prober, WEB_VIP));
    let vip = Host { mac: NODE_HOST.mac, ip: WEB_VIP };
    let mut reply = arp(ARP_REPLY, vip, prober);
    reply[..6].copy_from_slice(&prober.mac);
    assert_eq!(outcome, Outcome::sent(&reply, Counter::ArpReply));
    assert_conflict(&mut node);
}

#[test]
fn a_probe_for_a_vip_that_is_not_held_passes_and_is_reported() {
    let mut node = Node::new();
    let probe = arp_request(Host { mac: STRANGER.mac, ip: NOBODY }, WEB_VIP);
    assert_eq!(node.receives(&probe), Outcome::passed(&probe, Counter::ArpConflict));
    assert_conflict(&mut node);
}

#[test]
fn an_announcement_by_a_foreign_mac_passes_and_is_reported() {
    for mut node in [Node::new(), Node::holding()] {
        for frame in announcements(STRANGER) {
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::ArpConflict));
            assert_conflict(&mut node);
            wait_out_the_interval();
        }
    }
}

/// Input: the VIP as the source of a request for something else, and of an answer to somebody.
#[test]
fn any_use_of_a_vip_by_a_foreign_mac_is_reported() {
    let impostor = Host { mac: STRANGER.mac, ip: WEB_VIP };
    for frame in [arp_request(impostor, CLIENT.ip), arp(ARP_REPLY, impostor, CLIENT)] {
        let mut node = Node::holding();
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::ArpConflict));
        assert_conflict(&mut node);
    }
}

#[test]
fn conflicts_are_reported_once_an_interval() {
    let mut node = Node::new();
    let [announcement, _] = announcements(STRANGER);
    let claim = |node: &Node| node.receives(&announcement).counter;
    // The first two frames may lie in two intervals on a very busy machine, but not the first and all of these.
    let start = now();
    for _ in 0..20 {
        assert_eq!(claim(&node), Counter::ArpConflict);
    }
    let intervals = (now() - start) / CONFLICT_INTERVAL;
    let events = node.events().len() as u64;
    assert!((1..=intervals + 1).contains(&events), "{events} events in {intervals} whole intervals");

    wait_out_the_interval();
    assert_eq!(claim(&node), Counter::ArpConflict);
    assert_conflict(&mut node);
}

#[test]
fn the_holder_announces_without_conflict() {
    let mut node = Node::new();
    let holder = host(2);
    let [announcement, reply] = announcements(holder);
    assert_eq!(node.receives(&announcement).counter, Counter::ArpConflict, "not the holder yet");
    assert_eq!(node.events().len(), 1);
    wait_out_the_interval();

    node.answer(&Peer::new(2).propose(1, LEASE));
    for frame in [announcement, reply] {
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
    assert_eq!(node.receives(&announcements(STRANGER)[0]).counter, Counter::ArpConflict);
    assert_conflict(&mut node);
}

#[test]
fn the_nodes_own_announcements_are_no_conflict() {
    for mut node in [Node::new(), Node::holding()] {
        for frame in announcements(NODE_HOST) {
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
        }
        assert!(node.events().is_empty());
    }
}

/// Input: an address family, an address length or a hardware type that is not IPv4 over Ethernet.
#[test]
fn arp_of_other_kinds_passes() {
    let node = Node::holding();
    let request = arp_request(CLIENT, WEB_VIP);
    for offset in 14..20 {
        let mut frame = request.clone();
        frame[offset] ^= 0x10;
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "byte {offset}");
    }
}

/// Input: every operation but request and reply that fits a byte, such as reverse ARP's.
#[test]
fn operations_that_ask_nothing_pass() {
    let node = Node::holding();
    for operation in (0..256).filter(|operation| ![ARP_REQUEST, ARP_REPLY].contains(operation)) {
        let frame = arp(operation, CLIENT, Host { mac: [0; 6], ip: WEB_VIP });
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "operation {operation}");
    }
}

#[test]
fn a_request_that_is_cut_short_passes() {
    let node = Node::holding();
    let request = arp_request(CLIENT, WEB_VIP);
    for len in 14..request.len() {
        let frame = &request[..len];
        assert_eq!(node.receives(frame), Outcome::passed(frame, Counter::Other), "{len} bytes");
    }
}

#[test]
fn requests_are_answered_through_up_to_two_vlan_tags() {
    let (holding, other) = (Node::holding(), Node::new());
    let (request, reply) = (arp_request(CLIENT, WEB_VIP), expected_reply());
    for tags in [&[0x8100][..], &[0x88a8], &[0x8100, 0x8100], &[0x88a8, 0x8100], &[0x88a8, 0x88a8]] {
        let (request, reply) = (tagged(&request, tags), tagged(&reply, tags));
        assert_eq!(holding.receives(&request), Outcome::sent(&reply, Counter::ArpReply), "{tags:x?}");
        assert_eq!(other.receives(&request), Outcome::dropped(&request, Counter::ArpFenced), "{tags:x?}");
    }
}

#[test]
fn what_lies_behind_three_vlan_tags_passes() {
    let node = Node::new();
    let frame = tagged(&arp_request(CLIENT, WEB_VIP), &[0x88a8, 0x8100, 0x8100]);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// Without an entry in `INTERFACES` there is no address to answer with.
#[test]
fn an_interface_that_is_not_served_passes_requests() {
    let node = Node::alone();
    let frame = arp_request(CLIENT, WEB_VIP);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// The reply to [`CLIENT`]'s request for [`WEB_VIP`].
fn expected_reply() -> Vec<u8> {
    let packet = &arp(ARP_REPLY, Host { mac: NODE_HOST.mac, ip: WEB_VIP }, CLIENT)[14..];
    ethernet(CLIENT.mac, NODE_HOST.mac, ETHERTYPE_ARP, packet)
}

/// Gratuitous ARP for [`WEB_VIP`] in both usual forms: as a request (RFC 5227, section 1.1) and as a reply.
fn announcements(by: Host) -> [Vec<u8>; 2] {
    let vip = Host { mac: by.mac, ip: WEB_VIP };
    [arp_request(vip, WEB_VIP), arp(ARP_REPLY, vip, Host { mac: BROADCAST, ip: WEB_VIP })]
}

fn assert_conflict(node: &mut Node) {
    let event = node.event(EventKind::Conflict);
    let address = WEB_VIP.to_ipv6_mapped().octets();
    let expected = (WEB, address, STRANGER.mac, u64::from(LOOPBACK), 0);
    assert_eq!((event.slot, event.address, event.mac, event.value, event.node), expected);
}

fn wait_out_the_interval() {
    sleep(Duration::from_nanos(CONFLICT_INTERVAL + 1_000_000));
}
