//! Groups whose VIPs neighbours have at one MAC address, whichever node serves them.

use vip_common::maps::{Counter, Stale};
use vip_user::dataplane::Action;

use super::frames::{
    ARP_REPLY, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Host, Ipv4, Neighbour, PROTOCOL_UDP, arp, arp_request,
    ethernet, ipv6,
};
use super::node::{CLIENT, LEASE, NODE_HOST, Node, Outcome, WEB, WEB_VIP, WEB_VIP6, host, now};

const VIRTUAL: [u8; 6] = [0x72, 0x12, 0x34, 0x56, 0x78, 0x9a];

/// Expected: the answer says that the VIP is at the virtual address, and comes from there, so that switches learn it.
#[test]
fn an_arp_request_is_answered_with_the_virtual_address() {
    let mut reply = arp(ARP_REPLY, Host { mac: VIRTUAL, ip: WEB_VIP }, CLIENT);
    reply[..6].copy_from_slice(&CLIENT.mac);
    assert_eq!(holding().receives(&arp_request(CLIENT, WEB_VIP)), Outcome::sent(&reply, Counter::ArpReply));
}

#[test]
fn a_neighbour_solicitation_is_answered_with_the_virtual_address() {
    let outcome = holding().receives(&Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac));
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::NdReply));
    assert_eq!(outcome.frame[6..12], VIRTUAL);
    assert_eq!(outcome.frame[outcome.frame.len() - 6..], VIRTUAL, "the option");
}

/// The stack takes frames to its interface's own address alone.
#[test]
fn packets_to_the_virtual_address_reach_the_stack_of_the_holder_under_its_own() {
    for packet in packets() {
        let node = holding();
        let expected = Outcome::passed(&packet(NODE_HOST.mac), Counter::VipPassed);
        assert_eq!(node.receives(&packet(VIRTUAL)), expected);
        assert_eq!(node.receives(&packet(NODE_HOST.mac)), expected);
        let stray = packet(host(66).mac);
        assert_eq!(
            node.receives(&stray),
            Outcome::passed(&stray, Counter::VipPassed),
            "not for us to readdress"
        );
    }
}

/// A switch that does not know where the virtual address is floods: whoever sent such frames on would double them.
#[test]
fn packets_to_the_virtual_address_are_not_sent_on_by_who_does_not_hold() {
    let node = node();
    node.plane.words.set_stale(WEB, Stale::Forward);
    for packet in packets() {
        let frame = packet(VIRTUAL);
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipFenced));
    }
}

/// Input: the lease changes hands, and the switch does not know yet.
#[test]
fn packets_to_the_virtual_address_are_kept_for_the_next_holder() {
    let node = node();
    node.plane.words.set_stale(WEB, Stale::Keep);
    for packet in packets() {
        let frame = packet(VIRTUAL);
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipKept));
    }
}

/// The holder says it where others have not heard yet who that is.
#[test]
fn who_announces_the_vip_at_the_virtual_address_is_in_no_conflict() {
    let node = node();
    let announcement = arp_request(Host { mac: VIRTUAL, ip: WEB_VIP }, WEB_VIP);
    assert_eq!(node.receives(&announcement), Outcome::passed(&announcement, Counter::Other));
    let stranger = arp_request(Host { mac: host(66).mac, ip: WEB_VIP }, WEB_VIP);
    assert_eq!(node.receives(&stranger).counter, Counter::ArpConflict);
}

#[test]
fn a_group_without_a_virtual_address_is_at_the_interfaces_own_again() {
    let node = holding();
    node.plane.words.set_virtual_mac(WEB, [0; 6]);
    let outcome = node.receives(&arp_request(CLIENT, WEB_VIP));
    assert_eq!((outcome.counter, &outcome.frame[6..12]), (Counter::ArpReply, &NODE_HOST.mac[..]));
}

fn node() -> Node {
    let node = Node::new();
    node.plane.words.set_virtual_mac(WEB, VIRTUAL);
    node
}

fn holding() -> Node {
    let node = node();
    node.plane.words.arm(WEB, now() + LEASE);
    node
}

/// Packets to the VIP of each version, by their destination on the wire.
fn packets() -> [fn([u8; 6]) -> Vec<u8>; 2] {
    [
        |to| {
            let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(b"payload");
            ethernet(to, CLIENT.mac, ETHERTYPE_IPV4, &packet)
        },
        |to| {
            ethernet(
                to,
                CLIENT.mac,
                ETHERTYPE_IPV6,
                &ipv6(CLIENT.ip6(), WEB_VIP6, PROTOCOL_UDP, 64, b"payload"),
            )
        },
    ]
}
