//! Stale forwarding: a packet that comes to a node by an old neighbour entry goes on to the holder, once.

use std::net::Ipv4Addr;

use vip_common::lease::Ballot;
use vip_common::maps::{Config, Counter, Interface, Stale};
use vip_common::wire::{Kind, Message};

use super::frames::{
    BROADCAST, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, Mac, Neighbour, PROTOCOL_UDP, arp_request, ethernet,
    ipv6, tagged,
};
use super::node::{
    CLIENT, CLUSTER, EVERYBODY, HOME, LEASE, LOOPBACK, MAIL, MAIL_VIP, MOMENT, NODE, NODE_HOST, Node,
    Outcome, Peer, WEB, WEB_VIP, WEB_VIP6, config, host, now,
};

const HOLDER: u16 = 2;
const OTHER: u16 = 3;
const TCP: u8 = 6;

#[test]
fn a_packet_for_a_vip_of_another_node_goes_on_to_it() {
    let (node, _) = following();
    for protocol in [PROTOCOL_UDP, TCP, 1, 255] {
        let packet = Ipv4::new(CLIENT.ip, WEB_VIP, protocol).around(b"data");
        assert_sent_on(&node, &packet, host(HOLDER).mac);
    }
}

/// The packet itself stays as it is, so its length, options, time to live and checksums do.
#[test]
fn options_fragments_and_long_packets_go_on_as_they_are() {
    let (node, _) = following();
    let base = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP);
    assert_sent_on(&node, &Ipv4 { options: &[1; 40], ..base }.around(b"data"), host(HOLDER).mac);
    assert_sent_on(&node, &Ipv4 { fragment: 0x2000, ..base }.around(&[7; 1480]), host(HOLDER).mac);
    assert_sent_on(&node, &Ipv4 { fragment: 185, ..base }.around(&[7; 20]), host(HOLDER).mac);
    assert_sent_on(&node, &base.around(&vec![7; 3000]), host(HOLDER).mac);
}

#[test]
fn vlan_tags_stay_on_a_packet_that_goes_on() {
    let (node, _) = following();
    for tags in [&[0x8100][..], &[0x88a8, 0x8100]] {
        let frame = tagged(&stale(WEB_VIP), tags);
        let expected = tagged(&sent_on(&udp_to(WEB_VIP), host(HOLDER).mac), tags);
        assert_eq!(node.receives(&frame), Outcome::sent(&expected, Counter::VipForwarded));
    }
}

/// Two nodes that each take the other one for the holder, and one more that takes either for it: what one of them has
/// sent on, nobody sends on again.
#[test]
fn what_was_sent_on_is_never_sent_on_again() {
    let (here, _) = following();
    let Outcome { frame, .. } = here.receives(&stale(WEB_VIP));
    for (id, holder) in [(HOLDER, NODE), (HOLDER, OTHER), (OTHER, NODE), (OTHER, HOLDER)] {
        let there = node_with_id(id);
        there.plane.words.set_stale(WEB, Stale::Forward);
        there.hears(&Peer::new(holder).propose(5, LEASE));
        let to_there = [&host(id).mac[..], &frame[6..]].concat();
        assert_eq!(
            there.receives(&to_there),
            Outcome::dropped(&to_there, Counter::VipFenced),
            "{id} {holder}"
        );
    }
}

#[test]
fn nothing_goes_back_to_the_node_that_it_came_from() {
    let (node, _) = following();
    assert_fenced(&node, &framed(NODE_HOST.mac, host(HOLDER).mac, WEB_VIP));
}

/// A switch that floods, or a card in promiscuous mode, must not make several packets of one.
#[test]
fn only_packets_to_this_nodes_own_mac_address_go_on() {
    let (node, _) = following();
    for destination in [BROADCAST, EVERYBODY.mac, host(OTHER).mac] {
        assert_fenced(&node, &framed(destination, CLIENT.mac, WEB_VIP));
    }
}

#[test]
fn nothing_goes_on_without_the_wish() {
    let (node, _) = following();
    node.plane.words.set_stale(WEB, Stale::Drop);
    assert_fenced(&node, &stale(WEB_VIP));
}

#[test]
fn nothing_goes_on_to_a_group_that_nobody_is_known_to_hold() {
    let node = Node::new();
    for slot in [WEB, MAIL] {
        node.plane.words.set_stale(slot, Stale::Forward);
    }
    assert_fenced(&node, &stale(WEB_VIP));
    node.answer(&Peer::new(HOLDER).propose(5, LEASE));
    assert_fenced(&node, &stale(MAIL_VIP));
}

#[test]
fn nothing_goes_on_when_the_holders_lease_is_over_or_given_back() {
    let (node, mut holder) = following();
    node.hears(&holder.release(5));
    assert_fenced(&node, &stale(WEB_VIP));
    node.hears(&holder.propose(5, MOMENT));
    assert_fenced(&node, &stale(WEB_VIP));
}

/// Input: this node's own lease has been disarmed before its end.
#[test]
fn nothing_goes_on_while_the_lease_is_this_nodes_own() {
    let node = Node::alone();
    node.plane.words.set_stale(WEB, Stale::Forward);
    node.answer(&Peer::new(NODE).propose(5, LEASE));
    let node = node.on_the_wire();
    assert_fenced(&node, &stale(WEB_VIP));
}

#[test]
fn what_this_node_serves_stays_here() {
    let (node, _) = following();
    node.plane.words.arm(WEB, now() + LEASE);
    let frame = stale(WEB_VIP);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::VipPassed));
}

/// Who gives a lease away keeps what still comes to it, for the new holder.
#[test]
fn after_a_transfer_packets_go_on_to_the_old_holder_until_the_new_one_renews() {
    for target in [OTHER, NODE] {
        let (node, mut holder) = following();
        node.hears(&transfer(&mut holder, target));
        assert_sent_on(&node, &udp_to(WEB_VIP), host(HOLDER).mac);
    }
    let (node, mut holder) = following();
    node.hears(&transfer(&mut holder, OTHER));
    node.answer(&Peer::new(OTHER).propose(6, LEASE));
    assert_sent_on(&node, &udp_to(WEB_VIP), host(OTHER).mac);
}

/// Input: a client's, and one that another node has sent on.
#[test]
fn while_a_lease_changes_hands_what_comes_for_the_vip_is_kept() {
    let node = Node::new();
    node.plane.words.set_stale(WEB, Stale::Keep);
    let sent_on = sent_on(&udp_to(WEB_VIP), NODE_HOST.mac);
    for frame in [stale(WEB_VIP), sent_on, tagged(&stale(WEB_VIP), &[0x8100]), arp_request(CLIENT, WEB_VIP)] {
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipKept));
    }
    assert_fenced(&node, &stale(MAIL_VIP));
    assert_fenced(&node, &framed(BROADCAST, CLIENT.mac, WEB_VIP));
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(&stale(WEB_VIP)).counter, Counter::VipPassed);
}

#[test]
fn what_was_kept_comes_to_the_daemon_whole_and_with_its_group() {
    let mut node = Node::new();
    for slot in [WEB, MAIL] {
        node.plane.words.set_stale(slot, Stale::Keep);
    }
    let long = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(&vec![7; 1480]);
    let long = ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &long);
    let frames =
        [(WEB, stale(WEB_VIP)), (MAIL, stale(MAIL_VIP)), (WEB, long), (WEB, arp_request(CLIENT, WEB_VIP))];
    for (_, frame) in &frames {
        node.receives(frame);
    }
    let mut kept = Vec::new();
    node.plane.kept.drain(|slot, frame| kept.push((slot, frame)));
    // Of several processors, each has an order of its own.
    kept.sort();
    let mut frames = frames.to_vec();
    frames.sort();
    assert_eq!(kept, frames);
    node.plane.kept.drain(|_, _| panic!("nothing is left"));
}

/// They come to all nodes, so that the next holder has answered them by itself.
#[test]
fn questions_are_not_kept_any_more_when_the_next_holder_has_renewed() {
    let (node, _) = following();
    node.plane.words.set_stale(WEB, Stale::Keep);
    let (arp, solicitation) =
        (arp_request(CLIENT, WEB_VIP), Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac));
    assert_eq!(node.receives(&arp), Outcome::dropped(&arp, Counter::ArpFenced));
    assert_eq!(node.receives(&solicitation), Outcome::dropped(&solicitation, Counter::NdFenced));
    assert_eq!(node.receives(&stale(WEB_VIP)).counter, Counter::VipKept);
}

/// RFC 8200: the packet itself stays as it is, its hop limit and extension headers too.
#[test]
fn ipv6_packets_go_on_and_are_kept_like_those_of_ipv4() {
    let (node, _) = following();
    let packet = |next_header| ipv6(CLIENT.ip6(), WEB_VIP6, next_header, 64, &[59, 0, 1, 4, 0, 0, 0, 0]);
    let frame = |next_header| ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV6, &packet(next_header));
    for next_header in [TCP, PROTOCOL_UDP, 0, 44, 60] {
        let mut expected = sent_on(&packet(next_header), host(HOLDER).mac);
        expected[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
        assert_eq!(node.receives(&frame(next_header)), Outcome::sent(&expected, Counter::VipForwarded));
    }
    node.plane.words.set_stale(WEB, Stale::Keep);
    assert_eq!(node.receives(&frame(TCP)), Outcome::dropped(&frame(TCP), Counter::VipKept));
}

#[test]
fn neighbour_solicitations_do_not_go_on_and_are_kept_while_a_lease_changes_hands() {
    let (node, _) = following();
    let mut frame = Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac);
    frame[..6].copy_from_slice(&NODE_HOST.mac);
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::NdFenced));
    let node = Node::new();
    node.plane.words.set_stale(WEB, Stale::Keep);
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipKept));
}

/// ARP by old entries is the neighbours' own check of them: without an answer here, they ask all.
#[test]
fn arp_requests_do_not_go_on() {
    let (node, _) = following();
    let mut frame = arp_request(CLIENT, WEB_VIP);
    frame[..6].copy_from_slice(&NODE_HOST.mac);
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::ArpFenced));
}

#[test]
fn other_traffic_does_not_go_on() {
    let (node, _) = following();
    let frame = stale(Ipv4Addr::new(10, 77, 0, 9));
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// A node that knows of the holder's lease of group "web" and sends on, and the holder.
fn following() -> (Node, Peer) {
    let (node, mut holder) = (Node::new(), Peer::new(HOLDER));
    node.plane.words.set_stale(WEB, Stale::Forward);
    node.answer(&holder.propose(5, LEASE));
    (node, holder)
}

/// Another node than this one.
fn node_with_id(id: u16) -> Node {
    let mut node = Node::new();
    let tables = &mut node.plane.tables;
    tables.set_config(Config { node: id, ..config() }).unwrap();
    let interface = Interface { mac: host(id).mac, address: host(id).ip.to_ipv6_mapped().octets(), ..HOME };
    tables.set_interface(LOOPBACK, interface).unwrap();
    node
}

fn transfer(holder: &mut Peer, to: u16) -> Message {
    holder.request(Kind::Transfer, 5, |message| {
        message.ballot = Ballot::new(6, to).0.into();
        message.duration = LEASE.into();
    })
}

fn udp_to(vip: Ipv4Addr) -> Vec<u8> {
    Ipv4::new(CLIENT.ip, vip, PROTOCOL_UDP).around(b"datagram")
}

/// A datagram of a client that takes this node for the VIP's.
fn stale(vip: Ipv4Addr) -> Vec<u8> {
    framed(NODE_HOST.mac, CLIENT.mac, vip)
}

fn framed(destination: Mac, source: Mac, vip: Ipv4Addr) -> Vec<u8> {
    ethernet(destination, source, ETHERTYPE_IPV4, &udp_to(vip))
}

/// As this node sends it on: the source is made of the cluster and the node.
fn sent_on(packet: &[u8], to: Mac) -> Vec<u8> {
    let [_, a, b, c] = CLUSTER.to_be_bytes();
    let [high, low] = NODE.to_be_bytes();
    ethernet(to, [0x76, a, b, c, high, low], ETHERTYPE_IPV4, packet)
}

fn assert_sent_on(node: &Node, packet: &[u8], to: Mac) {
    let frame = ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, packet);
    assert_eq!(node.receives(&frame), Outcome::sent(&sent_on(packet, to), Counter::VipForwarded));
}

fn assert_fenced(node: &Node, frame: &[u8]) {
    assert_eq!(node.receives(frame), Outcome::dropped(frame, Counter::VipFenced));
}
