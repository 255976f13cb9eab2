//! Hello, Probe and this node's own id on the wire: what goes up to the daemon, and what ends here.

use vip_common::maps::{Counter, EventKind};
use vip_common::wire::{Kind, MAX_BODY, Message};

use super::frames::lease;
use super::node::{
    EVERYBODY, INCARNATION, KEY, LEASE, NODE, NODE_HOST, Node, Outcome, PORT, Peer, host, multicast, with,
};

#[test]
fn a_hello_goes_up_once() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    let first = peer.hello();
    for hello in [first, peer.hello()] {
        let frame = multicast(&hello);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed));
        node.ignores(&hello, Counter::RejectedReplay);
    }
    node.ignores(&first, Counter::RejectedReplay);
}

/// Expected: the length in the header decides, and fits the datagram's.
#[test]
fn a_hello_carries_a_body() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for len in [1, 7, 8, 300, MAX_BODY] {
        let body = vec![0x5a; len];
        let mut hello = peer.hello();
        hello.seal(&KEY, &body);
        let frame = lease(host(2), EVERYBODY, PORT, &hello, &body);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed), "{len} bytes");
        for other_len in [0, len - 1, len + 1] {
            let other = vec![0x5a; other_len];
            let frame = lease(host(2), EVERYBODY, PORT, &hello, &other);
            let expected = Outcome::dropped(&frame, Counter::RejectedMalformed);
            if other_len != len {
                assert_eq!(node.receives(&frame), expected, "{other_len} bytes for {len}");
            }
        }
    }
}

/// Epochs are for leases: nodes of different configurations learn of each other by Hello.
#[test]
fn a_hello_of_any_epoch_goes_up() {
    let mut node = Node::new();
    let mut peer = Peer::new(2);
    for epoch in [0, 1, u32::MAX] {
        let frame = multicast(&with(peer.hello(), |hello| hello.epoch = epoch.into()));
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed));
    }
    assert!(node.events().is_empty());
}

/// A probe comes before its sender's first other message, and may come from a node that has no id of its own yet.
#[test]
fn a_probe_goes_up_whoever_asks() {
    let mut node = Node::new();
    for sender in [2, NODE] {
        let probe = multicast(&Peer::new(sender).request(Kind::Probe, 0, |_| ()));
        assert_eq!(node.receives(&probe), Outcome::passed(&probe, Counter::MessagePassed));
    }
    assert!(node.events().is_empty());
}

/// Somebody else with this node's id says so in this node's name.
#[test]
fn the_answer_to_a_probe_goes_up_though_it_bears_the_own_id() {
    let node = Node::new();
    let taken = multicast(&Peer::new(NODE).request(Kind::Taken, 0, |_| ()));
    assert_eq!(node.receives(&taken), Outcome::passed(&taken, Counter::MessagePassed));
}

#[test]
fn own_messages_that_come_back_end_here() {
    let mut node = Node::new();
    for message in own_messages(INCARNATION) {
        node.ignores(&message, Counter::OwnEcho);
    }
    assert!(node.events().is_empty());
    assert!(node.plane.tables.peers().unwrap().is_empty());
}

#[test]
fn another_daemon_with_this_nodes_id_is_reported() {
    let mut node = Node::new();
    for incarnation in [INCARNATION - 1, INCARNATION + 1] {
        for message in own_messages(incarnation) {
            let frame = lease(host(66), EVERYBODY, PORT, &message, &[]);
            assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedSender));
            let event = node.event(EventKind::DuplicateId);
            assert_eq!((event.node, event.value), (NODE, incarnation));
            assert_eq!((event.address, event.mac), (host(66).ip.to_ipv6_mapped().octets(), host(66).mac));
        }
    }
    assert!(node.plane.tables.peers().unwrap().is_empty(), "its stamps are not this node's");
}

/// TEST_RUN is the daemon's own way in; the wire is not.
#[test]
fn the_own_vote_is_taken_from_the_daemon_alone() {
    let propose = Peer::new(NODE).propose(1, LEASE);
    Node::alone().answer(&propose);
    let spoofed = lease(NODE_HOST, EVERYBODY, PORT, &propose, &[]);
    let expected = Outcome::dropped(&spoofed, Counter::OwnEcho);
    assert_eq!(Node::new().receives(&spoofed), expected);
}

#[test]
fn the_own_vote_is_cast_once() {
    let node = Node::alone();
    let propose = Peer::new(NODE).propose(1, LEASE);
    node.answer(&propose);
    node.ignores(&propose, Counter::RejectedReplay);
}

/// Every kind that a node of this id may send to all.
fn own_messages(incarnation: u64) -> Vec<Message> {
    let mut own = Peer::new(NODE);
    let messages = [own.prepare(1), own.propose(1, LEASE), own.release(1), own.hello()];
    messages.map(|message| with(message, |message| message.incarnation = incarnation.into())).to_vec()
}
