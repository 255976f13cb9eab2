//! The plane of node 1 of three, which has one group; messages by the others' signers.

use std::net::Ipv4Addr;

use vip_common::lease::serving_time;
use vip_common::maps::Role;
use vip_common::wire::Reason;

use super::*;
use crate::config::Keys;
use crate::signer::{Origin, Signer, WireKeys};

const CLUSTER: u32 = 7;
const GROUP: u32 = 70;
const SLOT: u32 = 1;
const EPOCH: u32 = 3;
const INCARNATION: u64 = 5;
const LEASE: u64 = 1_000_000;
/// When the quarantine is over.
const NOW: u64 = 50_000_000;
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));

fn plane() -> (UserPlane, Words) {
    let mut config = Config {
        incarnation: INCARNATION,
        longest_lease: LEASE,
        cluster: CLUSTER,
        epoch: EPOCH,
        node: 1,
        port: 5680,
        ..Config::default()
    };
    WireKeys::new(&Keys::Insecure).put_into(&mut config);
    let words = Words::in_process().unwrap();
    (UserPlane::new(config, BTreeMap::from([(GROUP, SLOT)]), NOW, words.clone()), words)
}

fn signer(node: u16) -> Signer {
    let origin = Origin { cluster: CLUSTER, node, incarnation: INCARNATION };
    let mut signer = Signer::new(origin, WireKeys::new(&Keys::Insecure));
    signer.set_epoch(EPOCH);
    signer
}

/// What is answered to a message that comes from the wire at `now`.
fn answer(plane: &mut UserPlane, message: &Message, now: u64) -> Option<Message> {
    match plane.receive(&message.to_bytes(), NEIGHBOUR, now) {
        Received::Answered(answer) => Some(answer),
        Received::Passed(..) | Received::Done => None,
    }
}

/// The outcomes counted since the plane was made.
fn counted(plane: &UserPlane) -> u64 {
    let counters = plane.board().counters();
    let all = [Counter::LeaseReply, Counter::LeaseSilent, Counter::LeaseRenewed, Counter::MessagePassed];
    all.into_iter().chain(Counter::REJECTIONS).map(|counter| counters.get(counter)).sum()
}

#[test]
fn an_acceptor_without_a_past_is_silent_through_its_quarantine_and_then_keeps_what_it_has_promised() {
    let (mut plane, words) = plane();
    let (mut two, mut three) = (signer(2), signer(3));
    let (ballot, higher) = (Ballot::new(1, 2), Ballot::new(2, 3));
    assert_eq!(answer(&mut plane, &two.request(GROUP, Request::Prepare(ballot), 9), NOW - 1), None);

    let promise = answer(&mut plane, &two.request(GROUP, Request::Prepare(ballot), 9), NOW).unwrap();
    assert_eq!((promise.kind, promise.sender.get()), (Kind::Promise as u8, 1));
    let accepted = answer(&mut plane, &two.request(GROUP, Request::Propose(ballot, LEASE), 11), NOW).unwrap();
    assert_eq!((accepted.kind, accepted.sent_at.get()), (Kind::Accepted as u8, 11));
    assert_eq!(words.read(SLOT).holder_until, NOW + LEASE);

    let refused = answer(&mut plane, &three.request(GROUP, Request::Prepare(higher), 9), NOW + 1).unwrap();
    assert_eq!((refused.kind, refused.reason), (Kind::Refused as u8, Reason::Held as u8));
    assert_eq!(refused.duration.get(), LEASE - 1);
    assert!(Message::open(&refused.to_bytes(), CLUSTER, plane.keys()).is_ok(), "the answer is signed");
}

/// Expected: its own vote and that of another voter are a quorum of three.
#[test]
fn a_renewal_that_a_quorum_accepts_moves_the_word_unless_it_is_disarmed() {
    for (armed_until, expected) in [(0, 0), (NOW + 10, NOW + serving_time(LEASE))] {
        let (mut plane, words) = plane();
        let (mut one, ballot) = (signer(1), Ballot::new(4, 1));
        plane.set_renewal(SLOT, Renewal::new(ballot, LEASE, &[1, 2, 3]));
        words.set_role(SLOT, Role::Holder);
        words.arm(SLOT, armed_until);
        let renewal = one.request(GROUP, Request::Propose(ballot, LEASE), NOW);
        let own = plane.cast(&renewal, NOW).unwrap();
        assert_eq!(own.kind, Kind::Accepted as u8);
        assert_eq!(words.read(SLOT).lease_until, armed_until, "one vote is no quorum");

        let mut other = Message { sender: 2.into(), ..own };
        other.seal(&plane.keys()[0].clone(), b"");
        assert_eq!(plane.receive(&other.to_bytes(), NEIGHBOUR, NOW), Received::Done);
        assert_eq!(words.read(SLOT).lease_until, expected);
    }
}

#[test]
fn what_is_not_for_this_node_is_counted_and_changes_nothing() {
    let (mut plane, words) = plane();
    let request = signer(2).request(GROUP, Request::Propose(Ballot::new(1, 2), LEASE), 9);
    assert!(answer(&mut plane, &request, NOW).is_some());
    let before = (words.read(SLOT), plane.groups[&SLOT].acceptor);

    let resealed = |change: &dyn Fn(&mut Message), body: &[u8]| {
        let mut message = request;
        message.sequence = 99.into();
        change(&mut message);
        message.seal(&[0, 0], body);
        [&message.to_bytes()[..], body].concat()
    };
    let foreign_tag = {
        let mut message = request;
        message.sequence = 99.into();
        message.seal(&[0, 1], b"");
        message.to_bytes().to_vec()
    };
    let cases = [
        (b"".to_vec(), Counter::RejectedMalformed),
        (resealed(&|_| (), b"body"), Counter::RejectedMalformed),
        (resealed(&|message| message.cluster = 8.into(), b""), Counter::RejectedCluster),
        (foreign_tag, Counter::RejectedTag),
        (request.to_bytes().to_vec(), Counter::RejectedReplay),
        (resealed(&|message| message.sender = 3.into(), b""), Counter::RejectedSender),
        (resealed(&|message| message.group = 71.into(), b""), Counter::RejectedGroup),
        (
            resealed(&|message| (message.epoch, message.sequence) = (4.into(), 100.into()), b""),
            Counter::RejectedEpoch,
        ),
    ];
    for (datagram, counter) in cases {
        let before = (plane.board().counters().get(counter), counted(&plane));
        assert_eq!(plane.receive(&datagram, NEIGHBOUR, NOW + 1), Received::Done);
        let after = (plane.board().counters().get(counter), counted(&plane));
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{counter:?}");
    }
    assert_eq!((words.read(SLOT), plane.groups[&SLOT].acceptor), before);
}

#[test]
fn who_was_heard_is_on_the_board() {
    let (mut plane, _) = plane();
    let board = plane.board();
    assert!(board.peers().is_empty());
    for (node, now) in [(3, NOW), (2, NOW + 1), (3, NOW + 2)] {
        let letter = match now {
            _ if now == NOW + 2 => {
                let mut signer = signer(3);
                signer.letter(Kind::Hello, b"");
                signer.letter(Kind::Hello, b"more")
            }
            _ => signer(node).letter(Kind::Hello, b"body"),
        };
        assert!(matches!(plane.receive(&letter, NEIGHBOUR, now), Received::Passed(_, Kind::Hello, _)));
    }
    let heard: Vec<_> = board.peers().into_iter().map(|(node, peer)| (node, peer.last_heard)).collect();
    assert_eq!(heard, [(2, NOW + 1), (3, NOW + 2)]);
    assert_eq!(board.counters().get(Counter::MessagePassed), 3);
}

#[test]
fn a_flood_of_senders_fills_the_room_for_them_and_no_more() {
    let (mut plane, _) = plane();
    for node in 2..u16::try_from(MAX_PEERS).unwrap() + 10 {
        plane.receive(&signer(node).letter(Kind::Hello, b""), NEIGHBOUR, NOW);
    }
    assert_eq!(plane.board().peers().len(), MAX_PEERS);
    assert_eq!(plane.board().counters().get(Counter::RejectedReplay), 8);
}

#[test]
fn another_node_of_the_same_id_is_told_with_its_address() {
    let (mut plane, _) = plane();
    let origin = Origin { cluster: CLUSTER, node: 1, incarnation: INCARNATION + 1 };
    let letter = Signer::new(origin, WireKeys::new(&Keys::Insecure)).letter(Kind::Hello, b"");
    assert!(!plane.has_events());
    assert_eq!(plane.receive(&letter, NEIGHBOUR, NOW), Received::Done);
    assert!(plane.has_events());
    let event = plane.next_event().unwrap();
    assert_eq!(EventKind::from_u32(event.kind), Some(EventKind::DuplicateId));
    assert_eq!(event.address, mapped(NEIGHBOUR).octets());
    assert_eq!(plane.next_event(), None);
}
