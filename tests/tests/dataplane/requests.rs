//! The acceptor: Prepare, Propose and Release of other nodes, and what this node answers.

use std::net::Ipv4Addr;

use vip_common::lease::Ballot;
use vip_common::maps::{Counter, EventKind};
use vip_common::wire::{Kind, MESSAGE_LEN, Message, Reason};
use vip_user::dataplane::Action;

use super::frames::{self, Host, SOURCE_PORT, lease, ones_complement_sum, tagged};
use super::node::{
    CLIENT, EPOCH, EVERYBODY, INCARNATION, LEASE, MAIL, MAIL_ID, MOMENT, NODE, NODE_HOST, Node, Outcome,
    PORT, Peer, WEB, WEB_ID, host, multicast, now, with,
};

/// Expected: addresses and ports swapped, a fresh IPv4 header with a valid checksum, the request's stamps echoed.
#[test]
fn an_answer_goes_back_to_its_source_and_echoes_the_request() {
    let node = Node::new();
    let request = Peer::new(2).propose(3, LEASE);
    let outcome = node.hears(&request);
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));

    let frame = &outcome.frame;
    let ethernet = [&host(2).mac[..], &NODE_HOST.mac, &[0x08, 0x00]].concat();
    assert_eq!(frame[..14], ethernet);
    let ipv4 = &frame[14..34];
    assert_eq!(ipv4[..4], [0x45, 0, 0, 20 + 8 + 80], "version, length, service, total length");
    assert_eq!(ipv4[4..10], [0, 0, 0x40, 0, 64, 17], "id, don't fragment, TTL, UDP");
    assert_eq!(ones_complement_sum(ipv4), 0xffff, "checksum");
    assert_eq!(ipv4[12..20], [NODE_HOST.ip.octets(), host(2).ip.octets()].concat());
    let [to_high, to_low] = SOURCE_PORT.to_be_bytes();
    let [from_high, from_low] = PORT.to_be_bytes();
    assert_eq!(frame[34..42], [from_high, from_low, to_high, to_low, 0, 8 + 80, 0, 0]);
    assert_eq!(frame.len(), 42 + MESSAGE_LEN);

    let answer = outcome.message();
    assert_eq!(answer, agreed(Kind::Accepted, &request));
}

/// Input: an address with which the words of the answer's header add up to 0x1ffff, so that adding the carry makes
/// another one.
#[test]
fn a_checksum_that_carries_twice_is_valid() {
    let node = Node::new();
    let source = Host { ip: Ipv4Addr::new(192, 168, 0x6f, 0x8c), ..host(2) };
    let request = Peer::new(2).prepare(1);
    let outcome = node.receives(&lease(source, EVERYBODY, PORT, &request, &[]));
    assert_eq!(outcome.counter, Counter::LeaseReply);
    let ipv4 = &outcome.frame[14..34];
    let words = ipv4.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    assert_eq!(words.sum::<u32>() - u32::from(u16::from_be_bytes([ipv4[10], ipv4[11]])), 0x1ffff);
    assert_eq!(ones_complement_sum(ipv4), 0xffff);
}

#[test]
fn prepare_is_promised_and_propose_accepted() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    let prepare = peer.prepare(1);
    assert_eq!(node.answer(&prepare), agreed(Kind::Promise, &prepare));
    let acceptor = node.plane.tables.acceptor(WEB).unwrap();
    assert_eq!((acceptor.promised, acceptor.ballot), (Ballot::new(1, 2).0, 0));

    let before = now();
    let propose = peer.propose(1, LEASE);
    assert_eq!(node.answer(&propose), agreed(Kind::Accepted, &propose));
    let after = now();
    let acceptor = node.plane.tables.acceptor(WEB).unwrap();
    assert_eq!((acceptor.promised, acceptor.ballot), (Ballot::new(1, 2).0, Ballot::new(1, 2).0));
    assert!((before + LEASE..=after + LEASE).contains(&acceptor.expires));
    let word = node.plane.words.read(WEB);
    assert_eq!((word.holder_ballot, word.holder_until), (Ballot::new(1, 2), acceptor.expires));
    assert_eq!(word.lease_until, 0, "another node's lease is not this node's");
}

#[test]
fn the_holder_renews_under_the_same_ballot() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    let mut last = 0;
    for _ in 0..3 {
        let renewal = peer.propose(1, LEASE);
        assert_eq!(node.answer(&renewal), agreed(Kind::Accepted, &renewal));
        let expires = node.plane.tables.acceptor(WEB).unwrap().expires;
        assert!(expires > last);
        last = expires;
    }
}

#[test]
fn a_lease_that_runs_is_refused_to_others_with_what_remains_of_it() {
    let node = Node::new();
    node.answer(&Peer::new(2).propose(1, LEASE));
    let expires = node.plane.tables.acceptor(WEB).unwrap().expires;
    let mut rival = Peer::new(3);
    for request in [rival.prepare(9), rival.propose(9, LEASE)] {
        let before = now();
        let answer = node.answer(&request);
        let after = now();
        let remaining = answer.duration.get();
        assert_eq!(answer, refused(&request, Reason::Held, Ballot::new(1, 2), remaining));
        assert!((expires - after..=expires - before).contains(&remaining), "{remaining} ns");
    }
}

#[test]
fn a_lease_that_has_ended_is_another_nodes_to_take() {
    let node = Node::new();
    node.answer(&Peer::new(2).propose(1, MOMENT));
    let mut rival = Peer::new(3);
    let prepare = rival.prepare(2);
    assert_eq!(node.answer(&prepare), agreed(Kind::Promise, &prepare));
    let propose = rival.propose(2, LEASE);
    assert_eq!(node.answer(&propose), agreed(Kind::Accepted, &propose));
    assert_eq!(node.plane.words.read(WEB).holder_ballot, Ballot::new(2, 3));
}

#[test]
fn a_lower_ballot_is_refused_with_the_promised_one() {
    let node = Node::new();
    node.answer(&Peer::new(3).prepare(5));
    let mut rival = Peer::new(2);
    for request in [rival.prepare(5), rival.prepare(4), rival.propose(5, LEASE)] {
        let expected = refused(&request, Reason::Promised, Ballot::new(5, 3), 0);
        assert_eq!(node.answer(&request), expected);
    }
}

#[test]
fn the_same_ballot_is_promised_once() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    node.answer(&peer.prepare(5));
    let again = peer.prepare(5);
    assert_eq!(node.answer(&again), refused(&again, Reason::Promised, Ballot::new(5, 2), 0));
}

#[test]
fn a_lease_longer_than_the_clusters_is_refused_and_reported() {
    let mut node = Node::new();
    let request = Peer::new(2).propose(1, LEASE + 1);
    let answer = node.answer(&request);
    assert_eq!(answer, refused(&request, Reason::TooLong, Ballot::new(1, 2), LEASE));
    let event = node.event(EventKind::LeaseTooLong);
    assert_eq!((event.slot, event.node, event.value), (WEB, 2, LEASE + 1));
    assert_eq!(node.plane.tables.acceptor(WEB).unwrap().ballot, 0);
}

#[test]
fn release_ends_the_lease_in_silence_and_is_reported() {
    let mut node = Node::new();
    let mut holder = Peer::new(2);
    node.answer(&holder.propose(1, LEASE));
    let release = multicast(&holder.release(1));
    assert_eq!(node.receives(&release), Outcome::dropped(&release, Counter::LeaseSilent));
    assert!(node.plane.tables.acceptor(WEB).unwrap().expires <= now());
    assert!(node.plane.words.read(WEB).holder_until <= now());
    let event = node.event(EventKind::Released);
    assert_eq!((event.slot, event.value), (WEB, Ballot::new(1, 2).0));

    let prepare = Peer::new(3).prepare(2);
    assert_eq!(node.answer(&prepare), agreed(Kind::Promise, &prepare), "free for others at once");
}

/// Input: a release by another node, one under the ballot of an earlier lease, and one of a lease that is over.
#[test]
fn a_release_of_what_is_not_held_changes_nothing() {
    let mut node = Node::new();
    let mut holder = Peer::new(2);
    node.answer(&holder.propose(5, LEASE));
    for release in [Peer::new(3).release(9), holder.release(4)] {
        node.ignores(&release, Counter::LeaseSilent);
    }
    node.hears(&holder.release(5));
    node.events();
    node.ignores(&holder.release(5), Counter::LeaseSilent);
    assert!(node.events().is_empty());
}

#[test]
fn an_acceptor_in_quarantine_is_silent() {
    let mut node = Node::new();
    node.plane.tables.quarantine(WEB, now() + LEASE).unwrap();
    let mut peer = Peer::new(2);
    for request in [peer.prepare(1), peer.propose(1, LEASE), peer.release(1)] {
        node.ignores(&request, Counter::LeaseSilent);
    }
    assert!(node.events().is_empty());

    node.plane.tables.quarantine(WEB, now()).unwrap();
    let prepare = peer.prepare(1);
    assert_eq!(node.answer(&prepare), agreed(Kind::Promise, &prepare), "once it is over");
}

#[test]
fn groups_have_acceptors_of_their_own() {
    let node = Node::new();
    node.answer(&Peer::new(2).propose(1, LEASE));
    let elsewhere = Peer::new(3).request(Kind::Propose, 1, |message| {
        message.group = MAIL_ID.into();
        message.duration = LEASE.into();
    });
    let answer = node.answer(&elsewhere);
    assert_eq!((answer, answer.group.get()), (agreed(Kind::Accepted, &elsewhere), MAIL_ID));
    assert_eq!(node.plane.words.read(MAIL).holder_ballot, Ballot::new(1, 3));
    assert_eq!(node.plane.words.read(WEB).holder_ballot, Ballot::new(1, 2));
}

#[test]
fn requests_to_the_interfaces_address_are_answered() {
    let node = Node::new();
    let request = Peer::new(2).prepare(1);
    let outcome = node.receives(&lease(host(2), NODE_HOST, PORT, &request, &[]));
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
    assert_eq!(outcome.message(), agreed(Kind::Promise, &request));
}

/// Input: the protocol's port on hosts behind this one, with a lease message, less than one, and nothing.
#[test]
fn datagrams_to_other_hosts_pass() {
    let node = Node::new();
    let before = node.plane.tables.acceptor(WEB).unwrap();
    let message = lease(host(2), CLIENT, PORT, &Peer::new(2).prepare(1), &[]);
    for len in 42..=message.len() {
        let frame = &message[..len];
        assert_eq!(node.receives(frame), Outcome::passed(frame, Counter::Other), "{len} bytes");
    }
    assert_eq!(node.plane.tables.acceptor(WEB).unwrap(), before);
}

#[test]
fn datagrams_to_other_ports_pass() {
    let node = Node::new();
    for port in [0, 53, PORT - 1, PORT + 1, PORT.swap_bytes()] {
        let frame = lease(host(2), EVERYBODY, port, &Peer::new(2).prepare(1), &[]);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "port {port}");
    }
}

#[test]
fn requests_are_answered_through_vlan_tags() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for tags in [&[0x8100][..], &[0x88a8, 0x8100]] {
        let request = peer.propose(1, LEASE);
        let outcome = node.receives(&tagged(&multicast(&request), tags));
        assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
        let untagged = [&outcome.frame[..12], &outcome.frame[12 + 4 * tags.len()..]].concat();
        assert_eq!(outcome.frame, tagged(&untagged, tags));
        let outcome = Outcome { frame: untagged, ..outcome };
        assert_eq!(outcome.message(), agreed(Kind::Accepted, &request));
    }
}

#[test]
fn requests_for_unknown_groups_are_rejected() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for group in [0, WEB, WEB_ID ^ 1] {
        let request = peer.request(Kind::Prepare, 1, |message| message.group = group.into());
        node.ignores(&request, Counter::RejectedGroup);
    }
}

#[test]
fn requests_of_another_epoch_are_not_decided_on() {
    let mut node = Node::new();
    let mut peer = Peer::new(2);
    for kind in [Kind::Prepare, Kind::Propose, Kind::Release] {
        let older = peer.request(kind, 1, |message| message.epoch = (EPOCH - 1).into());
        let expected = refused(&older, Reason::OldEpoch, Ballot::new(1, 2), 0);
        assert_eq!(node.answer(&older), expected);

        let newer = peer.request(kind, 1, |message| message.epoch = (EPOCH + 2).into());
        node.ignores(&newer, Counter::RejectedEpoch);
        let event = node.event(EventKind::NewerEpoch);
        assert_eq!((event.node, event.value), (2, u64::from(EPOCH) + 2));
    }
    assert_eq!(node.plane.tables.acceptor(WEB).unwrap().promised, 0);
}

#[test]
fn a_node_without_a_configuration_decides_on_nothing() {
    let mut node = Node::new();
    let config = super::node::config();
    node.plane.tables.set_config(vip_common::maps::Config { epoch: 0, ..config }).unwrap();
    let mut peer = Peer::new(2);
    for epoch in [0, 1, EPOCH] {
        let request = peer.request(Kind::Prepare, 1, |message| message.epoch = epoch.into());
        node.ignores(&request, Counter::RejectedEpoch);
    }
    assert!(node.events().is_empty());
}

/// Input: requests to a node that is no voter. Expected: no answer, and its acceptor knows whose the lease is.
#[test]
fn a_node_that_is_no_voter_follows_the_lease_in_silence() {
    let mut node = Node::new();
    let config = vip_common::maps::Config { observer: 1, ..super::node::config() };
    node.plane.tables.set_config(config).unwrap();
    let mut peer = Peer::new(2);
    for request in [peer.prepare(1), peer.propose(1, LEASE)] {
        let frame = multicast(&request);
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::LeaseSilent));
    }
    assert_eq!(node.plane.tables.acceptor(WEB).unwrap().ballot, Ballot::new(1, 2).0);
}

/// The daemon casts its node's vote by TEST_RUN: no interface, and so no addresses to turn round.
#[test]
fn the_nodes_own_request_is_answered_in_place() {
    let node = Node::alone();
    let request = Peer::new(NODE).propose(1, LEASE);
    let frame = multicast(&request);
    let outcome = node.receives(&frame);
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
    assert_eq!(outcome.frame[..42], frame[..42]);
    assert_eq!(outcome.message(), agreed(Kind::Accepted, &request));
    assert_eq!(node.plane.words.read(WEB).holder_ballot, Ballot::new(1, NODE));
}

/// The answer that agrees, with all that it echoes; its tag is the one that it came with.
fn agreed(kind: Kind, request: &Message) -> Message {
    answered(request, |answer| {
        answer.kind = kind as u8;
        answer.duration = 0.into();
    })
}

fn refused(request: &Message, reason: Reason, ballot: Ballot, duration: u64) -> Message {
    answered(request, |answer| {
        answer.kind = Kind::Refused as u8;
        answer.reason = reason as u8;
        answer.ballot = ballot.0.into();
        answer.duration = duration.into();
    })
}

fn answered(request: &Message, change: impl FnOnce(&mut Message)) -> Message {
    assert_eq!(request.incarnation.get(), INCARNATION);
    with(*request, |answer| {
        answer.sender = NODE.into();
        answer.epoch = EPOCH.into();
        change(answer);
    })
}

/// Input: a frame with more behind the datagram, as of a card that pads. Expected: it stays where it is.
#[test]
fn padding_behind_a_request_stays() {
    let node = Node::new();
    let request = Peer::new(2).prepare(1);
    let outcome = node.receives(&[&multicast(&request)[..], &[0xee; 9]].concat());
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
    let (datagram, padding) = frames::payload(&outcome.frame).split_at(MESSAGE_LEN);
    assert_eq!(padding, [0xee; 9]);
    assert_eq!(datagram, agreed(Kind::Promise, &request).to_bytes());
}
