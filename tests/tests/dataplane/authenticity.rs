//! What is not a fresh message of a member of this cluster is rejected, counted, and changes nothing.

use vip_common::lease::Ballot;
use vip_common::maps::{Config, Counter, KeyUse};
use vip_common::siphash::Key;
use vip_common::wire::{Kind, MESSAGE_LEN, Message};
use vip_user::dataplane::Action;

use super::frames::{
    ETHERNET_LEN, ETHERTYPE_IPV4, Ipv4, MORE_FRAGMENTS, PROTOCOL_UDP, SOURCE_PORT, ethernet, lease, udp,
};
use super::node::{
    CLUSTER, EVERYBODY, INCARNATION, KEY, LEASE, NODE_HOST, Node, Outcome, PORT, Peer, SECOND_KEY, WEB,
    config, host, multicast, now, with,
};

const MESSAGE_OFFSET: usize = ETHERNET_LEN + 20 + 8;

#[test]
fn another_key_is_rejected() {
    let node = Node::new();
    let request = sealed_under(&[KEY[0], KEY[1] ^ 1], Peer::new(2).prepare(1));
    node.ignores(&request, Counter::RejectedTag);
}

#[test]
fn the_second_key_is_valid_while_there_are_two() {
    let mut node = Node::new();
    let mut peer = Peer::new(2);
    let mut request = || sealed_under(&SECOND_KEY, peer.propose(1, LEASE));
    node.ignores(&request(), Counter::RejectedTag);

    node.plane.tables.set_config(Config { keys_in_use: KeyUse::new(0, true).0, ..config() }).unwrap();
    // Signed under the first key, as `answer` checks: whoever has the second one has the first one as well.
    assert_eq!(Kind::from_u8(node.answer(&request()).kind), Some(Kind::Accepted));
    node.answer(&Peer::new(3).prepare(1));

    node.plane.tables.set_config(config()).unwrap();
    node.ignores(&request(), Counter::RejectedTag);
}

/// Input: keys that are added, take over and go, again and again, while requests come. Expected: what is signed by a key that stays
/// is answered at every instant, under a key that is valid then.
#[test]
fn keys_rotate_while_messages_come_and_none_is_rejected() {
    let mut node = Node::new();
    let (mut peer, mut old) = (Peer::new(2), KEY);
    for round in 0..8 {
        let new = [KEY[0], round];
        for keys in [&[old, new][..], &[new, old], &[new]] {
            node.plane.tables.set_keys(keys).unwrap();
            for key in keys {
                let answer = node.hears(&sealed_under(key, peer.propose(1, LEASE))).message_under(&keys[0]);
                assert_eq!(Kind::from_u8(answer.kind), Some(Kind::Accepted), "round {round}");
            }
        }
        node.ignores(&sealed_under(&old, peer.propose(1, LEASE)), Counter::RejectedTag);
        old = new;
    }
}

/// Input: a request with one bit flipped, for each bit. Expected: magic, version and cluster count apart; all else is
/// a wrong tag, unless the lengths do not fit or the kind is none. The request itself is as fresh afterwards as before.
#[test]
fn a_flipped_bit_anywhere_in_a_message_is_rejected() {
    let node = Node::new();
    let request = Peer::new(2).propose(1, LEASE);
    let frame = multicast(&request);
    let before = node.plane.tables.acceptor(WEB).unwrap();
    for bit in 0..MESSAGE_LEN * 8 {
        let mut broken = frame.clone();
        broken[MESSAGE_OFFSET + bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..=4 | 18..=19 => Counter::RejectedMalformed,
            5 if Kind::from_u8(broken[MESSAGE_OFFSET + 5]).is_none() => Counter::RejectedMalformed,
            8..=11 => Counter::RejectedCluster,
            _ => Counter::RejectedTag,
        };
        assert_eq!(node.receives(&broken), Outcome::dropped(&broken, expected), "bit {bit}");
    }
    assert_eq!(node.plane.tables.acceptor(WEB).unwrap(), before);
    assert!(node.plane.tables.peers().unwrap().is_empty());
    node.answer(&request);
}

#[test]
fn messages_of_other_protocols_versions_and_clusters_are_rejected() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    let mut changed = |change: fn(&mut Message)| with(peer.prepare(1), change);
    node.ignores(&changed(|message| message.magic = 0x5649_504d.into()), Counter::RejectedMalformed);
    node.ignores(&changed(|message| message.version = 0), Counter::RejectedMalformed);
    node.ignores(&changed(|message| message.version = 2), Counter::RejectedMalformed);
    node.ignores(&changed(|message| message.cluster = (CLUSTER ^ 1).into()), Counter::RejectedCluster);
    for kind in (0..=255).filter(|kind| Kind::from_u8(*kind).is_none()) {
        node.ignores(&with(peer.prepare(1), |message| message.kind = kind), Counter::RejectedMalformed);
    }
}

#[test]
fn replays_are_rejected() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    let mut stamped = |incarnation: u64, sequence: u64| {
        with(peer.propose(1, LEASE), |message| {
            message.incarnation = incarnation.into();
            message.sequence = sequence.into();
        })
    };
    node.answer(&stamped(INCARNATION, 10));
    node.ignores(&stamped(INCARNATION, 10), Counter::RejectedReplay);
    node.ignores(&stamped(INCARNATION, 9), Counter::RejectedReplay);
    node.ignores(&stamped(INCARNATION - 1, 1000), Counter::RejectedReplay);
    node.answer(&stamped(INCARNATION, 11));
    node.answer(&stamped(INCARNATION, 1 << 63));
    node.ignores(&stamped(INCARNATION, 12), Counter::RejectedReplay);

    // A new daemon of the same node starts again at 1.
    node.answer(&stamped(INCARNATION + 1, 1));
    node.ignores(&stamped(INCARNATION, u64::MAX), Counter::RejectedReplay);
    node.answer(&stamped(INCARNATION + 1, 2));
}

#[test]
fn senders_do_not_share_their_replay_state() {
    let node = Node::new();
    let high = with(Peer::new(2).prepare(1), |message| message.sequence = 1000.into());
    node.answer(&high);
    node.answer(&Peer::new(3).prepare(1));
}

#[test]
fn a_message_tells_where_its_sender_is() {
    let node = Node::new();
    let before = now();
    node.answer(&Peer::new(2).prepare(1));
    let peers = node.plane.tables.peers().unwrap();
    let peer = peers[&2];
    assert_eq!(peers.len(), 1);
    assert_eq!(peer.mac, host(2).mac);
    assert_eq!((peer.freshness.incarnation, peer.freshness.sequence), (INCARNATION, 1));
    assert!((before..=now()).contains(&peer.last_heard));
}

/// A replay must not redirect what is sent to the node that it names.
#[test]
fn a_replay_from_elsewhere_moves_nobody() {
    let node = Node::new();
    let request = Peer::new(2).propose(1, LEASE);
    node.answer(&request);
    let before = node.plane.tables.peers().unwrap()[&2];
    let replay = lease(host(66), EVERYBODY, PORT, &request, &[]);
    assert_eq!(node.receives(&replay), Outcome::dropped(&replay, Counter::RejectedReplay));
    let after = node.plane.tables.peers().unwrap()[&2];
    assert_eq!((after.mac, after.last_heard), (before.mac, before.last_heard));
}

#[test]
fn sender_0_is_nobody() {
    let node = Node::new();
    for kind in [Kind::Prepare, Kind::Propose, Kind::Release, Kind::Promise, Kind::Accepted] {
        node.ignores(&Peer::new(0).request(kind, 1, |_| ()), expected_of_nobody(kind));
    }
    node.ignores(&Peer::new(0).hello(), Counter::RejectedSender);
}

/// An answer under node 0's ballot is not to this node's question, which is found out first.
fn expected_of_nobody(kind: Kind) -> Counter {
    match kind {
        Kind::Promise | Kind::Accepted => Counter::RejectedReplay,
        _ => Counter::RejectedSender,
    }
}

#[test]
fn a_ballot_of_another_node_is_rejected() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for kind in [Kind::Prepare, Kind::Propose, Kind::Release] {
        let request = peer.request(kind, 1, |message| message.ballot = Ballot::new(1, 3).0.into());
        node.ignores(&request, Counter::RejectedSender);
    }
}

#[test]
fn lengths_that_do_not_fit_are_rejected() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for length_of in [IPV4_LEN, UDP_LEN] {
        for length in [0, 1, 79, 87, 89, 107, 109, 1500, 0x8000, 0xffff] {
            let frame = with_length(&multicast(&peer.propose(1, LEASE)), length_of, length);
            let expected = Outcome::dropped(&frame, Counter::RejectedMalformed);
            assert_eq!(node.receives(&frame), expected, "{length} at {length_of}");
        }
    }
    assert!(node.plane.tables.peers().unwrap().is_empty());
}

#[test]
fn requests_and_answers_have_no_body() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for kind in [Kind::Prepare, Kind::Propose, Kind::Release, Kind::Promise, Kind::Accepted, Kind::Refused] {
        let mut message = peer.request(kind, 1, |_| ());
        message.seal(&KEY, b"body");
        let frame = lease(host(2), EVERYBODY, PORT, &message, b"body");
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedMalformed), "{kind:?}");
    }
}

#[test]
fn what_is_too_short_for_a_message_is_rejected() {
    let node = Node::new();
    let frame = multicast(&Peer::new(2).prepare(1));
    for payload in 0..MESSAGE_LEN {
        let datagram = udp(SOURCE_PORT, PORT, &frame[MESSAGE_OFFSET..MESSAGE_OFFSET + payload]);
        let short = multicast_packet(&Ipv4::new(host(2).ip, EVERYBODY.ip, PROTOCOL_UDP), &datagram);
        let expected = Outcome::dropped(&short, Counter::RejectedMalformed);
        assert_eq!(node.receives(&short), expected, "{payload} bytes");
    }
}

/// Input: a message that was heard before, with IP options, or in two fragments. The stack would put both right and
/// give them to the daemon.
/// Expected: the first fragment goes, so that the second, which passes, waits in vain.
#[test]
fn options_and_fragments_are_no_way_round_the_checks() {
    let node = Node::new();
    let hello = Peer::new(2).hello();
    assert_eq!(node.hears(&hello).action, Action::Pass);
    let datagram = udp(SOURCE_PORT, PORT, &hello.to_bytes());
    for to in [EVERYBODY.ip, NODE_HOST.ip] {
        let base = Ipv4::new(host(2).ip, to, PROTOCOL_UDP);
        for options in [&[1; 4][..], &[1; 40]] {
            let frame = multicast_packet(&Ipv4 { options, ..base }, &datagram);
            assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedMalformed));
        }
        for cut in [8, 80] {
            let (first, rest) = datagram.split_at(cut);
            let first = multicast_packet(&Ipv4 { fragment: MORE_FRAGMENTS, ..base }, first);
            assert_eq!(node.receives(&first), Outcome::dropped(&first, Counter::RejectedMalformed));
            let fragment = u16::try_from(cut / 8).unwrap();
            let rest = multicast_packet(&Ipv4 { fragment, ..base }, rest);
            assert_eq!(node.receives(&rest), Outcome::passed(&rest, Counter::Other));
        }
        // The whole datagram, and only said to be less.
        let whole = multicast_packet(&Ipv4 { fragment: MORE_FRAGMENTS, ..base }, &datagram);
        assert_eq!(node.receives(&whole), Outcome::dropped(&whole, Counter::RejectedMalformed));
        let options = &[1; 20];
        let both = multicast_packet(&Ipv4 { fragment: MORE_FRAGMENTS, options, ..base }, &datagram[..8]);
        assert_eq!(node.receives(&both), Outcome::dropped(&both, Counter::RejectedMalformed));
    }
}

const IPV4_LEN: usize = ETHERNET_LEN + 2;
const UDP_LEN: usize = ETHERNET_LEN + 20 + 4;

fn with_length(frame: &[u8], offset: usize, length: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[offset..offset + 2].copy_from_slice(&length.to_be_bytes());
    frame
}

fn multicast_packet(ipv4: &Ipv4<'_>, payload: &[u8]) -> Vec<u8> {
    ethernet(EVERYBODY.mac, host(2).mac, ETHERTYPE_IPV4, &ipv4.around(payload))
}

fn sealed_under(key: &Key, mut message: Message) -> Message {
    message.seal(key, &[]);
    message
}
