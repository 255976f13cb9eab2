//! Lease messages where the nodes talk IPv6: taken, answered and rejected as those of IPv4.

use std::net::Ipv6Addr;

use vip_common::maps::{Counter, EventKind};
use vip_common::wire::{Kind, MESSAGE_LEN, Message};
use vip_user::dataplane::Action;

use super::frames::{
    ALL_NODES, ETHERTYPE_IPV6, Host, PROTOCOL_UDP, SOURCE_PORT, checksum_over_ipv6, ethernet, ipv6,
    multicast_mac, payload6, tagged, udp,
};
use super::node::{
    CLUSTER, EVERYBODY, EVERYBODY6, INCARNATION, KEY, LEASE, NODE, NODE_HOST, Node, Outcome, PORT, Peer, WEB,
    WEB_VIP6, host, multicast, with,
};

const ETHERNET: usize = 14;
const IPV6: usize = 40;
const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;

#[test]
fn requests_to_all_nodes_and_to_this_one_are_answered_to_their_sender() {
    let node = Node::talking_ipv6();
    let mut peer = Peer::new(2);
    for to in [EVERYBODY6, ALL_NODES, NODE_HOST.ip6()] {
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            let request = peer.propose(1, LEASE);
            let outcome = node.receives(&tagged(&sent(to, &request, &[]), tags));
            assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply), "to {to}");
            assert_eq!(outcome.frame, tagged(&answered(host(2).ip6(), &outcome.frame), tags), "to {to}");
            let (answer, kind, _) =
                Message::open(payload6(&outcome.frame[tags.len() * 4..]), CLUSTER, &[KEY]).unwrap();
            assert_eq!(
                (kind, answer.sender.get(), { answer.sequence }),
                (Kind::Accepted, NODE, { request.sequence })
            );
        }
    }
}

/// RFC 8200, section 8.1: 0 would say that there is no checksum.
#[test]
fn an_answer_whose_checksum_would_be_0_has_one_of_all_ones() {
    let request = Peer::new(2).prepare(1);
    let from = |source: Ipv6Addr| {
        let frame = sent_from(host(2), source, EVERYBODY6, &request.to_bytes());
        let frame = Node::talking_ipv6().receives(&frame).frame;
        u16::from_be_bytes([frame[ETHERNET + IPV6 + 6], frame[ETHERNET + IPV6 + 7]])
    };
    // The answer is the same, but for its destination: of that, a word of 0 becomes what was missing in the sum.
    let checksum = from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
    assert_eq!(from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, checksum, 2)), 0xffff);
}

#[test]
fn messages_without_an_answer_pass_to_the_daemon() {
    let node = Node::talking_ipv6();
    let mut hello = Peer::new(2).hello();
    hello.seal(&KEY, b"who I am");
    let frame = sent(EVERYBODY6, &hello, b"who I am");
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed));
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedReplay));
}

/// Answers would come from no address, and nobody would listen for them.
#[test]
fn messages_of_the_other_version_are_packets_like_any_other() {
    let request = Peer::new(2).propose(1, LEASE);
    let (four, six) = (multicast(&request), sent(EVERYBODY6, &request, &[]));
    assert_eq!(Node::talking_ipv6().receives(&four), Outcome::passed(&four, Counter::Other));
    assert_eq!(Node::new().receives(&six), Outcome::passed(&six, Counter::Other));
}

#[test]
fn what_is_for_other_addresses_is_not_for_this_node() {
    let node = Node::talking_ipv6();
    let mut peer = Peer::new(2);
    let close = Ipv6Addr::from_bits(NODE_HOST.ip6().to_bits() ^ 1 << 120);
    for to in [host(3).ip6(), close, NODE_HOST.ip.to_ipv6_mapped(), Ipv6Addr::UNSPECIFIED] {
        let frame = sent(to, &peer.propose(1, LEASE), &[]);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "to {to}");
    }
    let frame = sent(WEB_VIP6, &peer.propose(1, LEASE), &[]);
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipFenced));
}

#[test]
fn lengths_versions_and_messages_that_do_not_fit_are_rejected() {
    let node = Node::talking_ipv6();
    let request = Peer::new(2).propose(1, LEASE);
    let whole = sent(EVERYBODY6, &request, &[]);
    let rejected = |frame: &[u8], what: &str| {
        let expected = Outcome::dropped(frame, Counter::RejectedMalformed);
        assert_eq!(node.receives(frame), expected, "{what}");
    };
    for at in [ETHERNET + 4, ETHERNET + IPV6 + 4] {
        for length in [0, 1, 87, 89, 128, 1500, 0xffff_u16] {
            let mut frame = whole.clone();
            frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
            rejected(&frame, "lengths");
        }
    }
    for version in (0..=0xf).filter(|version| *version != 6) {
        let mut frame = whole.clone();
        frame[ETHERNET] = version << 4 | 0xc;
        rejected(&frame, "version");
    }
    for payload in 0..MESSAGE_LEN {
        let short = &request.to_bytes()[..payload];
        rejected(&sent_from(host(2), host(2).ip6(), EVERYBODY6, short), "a short message");
    }
    assert_eq!(node.receives(&whole).counter, Counter::LeaseReply, "nothing of that was heard");
}

/// They are for the stack to put right; the daemon takes none that had some.
#[test]
fn what_has_extension_headers_is_no_lease_message() {
    let node = Node::talking_ipv6();
    let datagram = udp(SOURCE_PORT, PORT, &Peer::new(2).propose(1, LEASE).to_bytes());
    for header in [DESTINATION_OPTIONS, FRAGMENT] {
        let payload = [&[PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
        let packet = ipv6(host(2).ip6(), EVERYBODY6, header, 1, &payload);
        let frame = ethernet(EVERYBODY.mac, host(2).mac, ETHERTYPE_IPV6, &packet);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
    assert!(node.plane.tables.peers().unwrap().is_empty());
}

#[test]
fn another_daemon_with_this_nodes_id_is_reported_with_its_address() {
    let mut node = Node::talking_ipv6();
    let message = with(Peer::new(NODE).prepare(1), |message| message.incarnation = (INCARNATION + 1).into());
    let frame = sent_from(host(66), host(66).ip6(), EVERYBODY6, &message.to_bytes());
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedSender));
    let event = node.event(EventKind::DuplicateId);
    assert_eq!((event.address, event.mac), (host(66).ip6().octets(), host(66).mac));
}

#[test]
fn the_lease_decides_as_among_nodes_of_ipv4() {
    let node = Node::talking_ipv6();
    let refused = |outcome: Outcome| {
        let (_, kind, _) = Message::open(payload6(&outcome.frame), CLUSTER, &[KEY]).unwrap();
        kind == Kind::Refused
    };
    assert!(!refused(node.receives(&sent(EVERYBODY6, &Peer::new(2).propose(1, LEASE), &[]))));
    assert!(refused(node.receives(&sent(EVERYBODY6, &Peer::new(3).propose(2, LEASE), &[]))));
    assert_eq!(node.plane.words.read(WEB).holder_ballot.node(), 2);
}

/// A message in a frame of its sender to this address.
fn sent(to: Ipv6Addr, message: &Message, body: &[u8]) -> Vec<u8> {
    let from = host(message.sender.get());
    sent_from(from, from.ip6(), to, &[&message.to_bytes(), body].concat())
}

/// A datagram to the messages' port, from a host that has this address.
fn sent_from(host: Host, source: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let packet = ipv6(source, to, PROTOCOL_UDP, 1, &udp(SOURCE_PORT, PORT, payload));
    ethernet(multicast_mac(to).unwrap_or(NODE_HOST.mac), host.mac, ETHERTYPE_IPV6, &packet)
}

/// The frame in which this node sends the message in `frame` back to who has asked, without VLAN tags.
fn answered(to: Ipv6Addr, frame: &[u8]) -> Vec<u8> {
    let message = &frame[frame.len() - MESSAGE_LEN..];
    let mut datagram = udp(PORT, SOURCE_PORT, message);
    datagram[6..8].fill(0);
    let checksum = !checksum_over_ipv6(NODE_HOST.ip6(), to, PROTOCOL_UDP, &datagram);
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    let packet = ipv6(NODE_HOST.ip6(), to, PROTOCOL_UDP, 64, &datagram);
    ethernet(host(2).mac, NODE_HOST.mac, ETHERTYPE_IPV6, &packet)
}
