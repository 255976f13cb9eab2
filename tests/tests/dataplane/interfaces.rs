//! Several interfaces on one set of maps: what holds of those where the nodes do not talk to each other, and of VIPs that
//! lie elsewhere than a frame comes in.

use vip_common::maps::{Counter, EventKind, Stale};
use vip_user::dataplane::{Action, Vip, Vip6};

use super::frames::{ETHERTYPE_IPV4, Host, Ipv4, Neighbour, PROTOCOL_UDP, arp_request, ethernet};
use super::node::{
    CLIENT, HOME, LEASE, LOOPBACK, NODE_HOST, Node, Outcome, Peer, SIDE, WEB, WEB_VIP, WEB_VIP6, host,
    multicast, now,
};

/// Not the one that frames come in on.
const ELSEWHERE: u32 = LOOPBACK + 1;

#[test]
fn questions_are_answered_on_the_interface_alone_where_the_vip_lies() {
    let mut node = Node::holding();
    let solicitation = Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac);
    let questions = [
        (arp_request(CLIENT, WEB_VIP), Counter::ArpFenced, Counter::ArpReply),
        (solicitation, Counter::NdFenced, Counter::NdReply),
    ];
    for (question, fenced, answered) in questions {
        lies_on(&mut node, ELSEWHERE);
        assert_eq!(node.receives(&question), Outcome::dropped(&question, fenced));
        lies_on(&mut node, LOOPBACK);
        let outcome = node.receives(&question);
        assert_eq!((outcome.action, outcome.counter), (Action::Tx, answered));
    }
}

/// Routers bring what is for a front address in by the back as well.
#[test]
fn packets_to_a_vip_are_let_in_and_fenced_by_every_interface() {
    let mut node = Node::new();
    lies_on(&mut node, ELSEWHERE);
    let packet = packet_to_vip();
    assert_eq!(node.receives(&packet), Outcome::dropped(&packet, Counter::VipFenced));
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(&packet), Outcome::passed(&packet, Counter::VipPassed));
}

/// Expected: neither an answer, nor a vote, nor a holder at that MAC address.
#[test]
fn a_lease_message_where_the_nodes_do_not_talk_is_a_packet_like_any_other() {
    let node = on_the_side();
    let propose = Peer::new(2).propose(1, LEASE);
    let frame = multicast(&propose);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    assert_eq!(node.plane.words.read(WEB).holder_until, 0);
    assert_eq!(node.plane.words.holder_mac(WEB), [0; 6]);
    assert!(node.plane.tables.peers().unwrap().is_empty());
}

/// Input: a holder that is known where the nodes talk, and a packet by an old neighbour entry elsewhere.
#[test]
fn nothing_is_sent_on_to_a_mac_address_of_another_segment() {
    let mut node = Node::new();
    node.answer(&Peer::new(2).propose(1, LEASE));
    let frame = packet_to_vip();
    for stale in [Stale::Forward, Stale::Keep] {
        node.plane.words.set_stale(WEB, stale);
        let question = arp_request(CLIENT, WEB_VIP);
        node.plane.tables.set_interface(LOOPBACK, SIDE).unwrap();
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipFenced), "{stale:?}");
        assert_eq!(node.receives(&question), Outcome::dropped(&question, Counter::ArpFenced), "{stale:?}");
        node.plane.tables.set_interface(LOOPBACK, HOME).unwrap();
        assert_ne!(node.receives(&frame).counter, Counter::VipFenced, "{stale:?}");
    }
    assert!(node.events().is_empty());
}

/// The holder announces the VIP from an address that backups do not know there; whoever does it while they hold is foreign.
#[test]
fn where_the_nodes_do_not_talk_only_the_holder_sees_a_conflict() {
    let mut node = on_the_side();
    let announcement = arp_request(Host { mac: host(66).mac, ip: WEB_VIP }, WEB_VIP);
    assert_eq!(node.receives(&announcement), Outcome::passed(&announcement, Counter::Other));
    assert!(node.events().is_empty());
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(&announcement), Outcome::passed(&announcement, Counter::ArpConflict));
    assert_eq!(node.event(EventKind::Conflict).value, u64::from(LOOPBACK));
}

#[test]
fn an_interface_that_is_not_kept_is_not_served_any_more() {
    let mut node = Node::holding();
    node.plane.tables.set_interfaces(&[(ELSEWHERE, SIDE), (LOOPBACK, HOME)].into()).unwrap();
    assert_eq!(node.receives(&arp_request(CLIENT, WEB_VIP)).counter, Counter::ArpReply);
    node.plane.tables.set_interfaces(&[(ELSEWHERE, SIDE)].into()).unwrap();
    assert_eq!(node.receives(&arp_request(CLIENT, WEB_VIP)).counter, Counter::Other);
}

fn on_the_side() -> Node {
    let mut node = Node::new();
    node.plane.tables.set_interface(LOOPBACK, SIDE).unwrap();
    node
}

fn lies_on(node: &mut Node, interface: u32) {
    node.plane.tables.set_vips(&[(WEB_VIP, Vip { slot: WEB, interface })].into()).unwrap();
    node.plane.tables.set_vips6(&[(WEB_VIP6, Vip6 { slot: WEB, router: 0, interface })].into()).unwrap();
}

fn packet_to_vip() -> Vec<u8> {
    let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(b"payload");
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet)
}
