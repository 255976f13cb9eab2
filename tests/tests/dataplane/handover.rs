//! Handover: what an acceptor makes of a lease that its holder gives to another node, and the messages by which the two
//! daemons agree on it.

use vip_common::lease::{Acceptor, Ballot};
use vip_common::maps::{Counter, EventKind};
use vip_common::wire::{Kind, Message, Reason};
use vip_user::dataplane::Action;

use super::frames::{Host, arp_request, lease};
use super::node::{
    EPOCH, EVERYBODY, INCARNATION, KEY, LEASE, MAIL_ID, MOMENT, NODE, Node, Outcome, PORT, Peer, WEB, WEB_ID,
    WEB_VIP, host, multicast, now, with,
};

/// The ballot under which the holder, node 2, has its lease, and that of node 3, which is to have it.
const OLD: Ballot = Ballot::new(5, 2);
const NEW: Ballot = Ballot::new(6, 3);
/// What is left of a lease that is given away, in ns: less than a whole one, and longer than any test runs.
const LEFT: u64 = LEASE / 2;

#[test]
fn a_transfer_makes_the_lease_the_new_holders() {
    let (node, mut holder) = held(LEASE);
    let before = acceptor(&node);
    assert_silent(&node, &transfer(&mut holder, NEW, LEFT));
    let expected = Acceptor { promised: NEW.0, ballot: NEW.0, ..before };
    assert_eq!(acceptor(&node), expected, "to its old end, which is later");
    let word = node.plane.words.read(WEB);
    assert_eq!((word.holder_ballot, word.holder_until), (NEW, before.expires));
    assert_eq!(word.lease_until, 0, "another node's lease is not this node's");
}

/// Input: an acceptor that missed the last renewals.
#[test]
fn a_transfer_lasts_for_what_is_left() {
    let (node, mut holder) = held(MOMENT);
    let before = now();
    assert_silent(&node, &transfer(&mut holder, NEW, LEFT));
    let after = now();
    let acceptor = acceptor(&node);
    assert!((before + LEFT..=after + LEFT).contains(&acceptor.expires));
    assert_eq!(node.plane.words.read(WEB).holder_until, acceptor.expires);
}

/// An acceptor that missed the lease altogether, such as the old holder's after a restart, keeps others out as well.
#[test]
fn a_transfer_is_taken_by_an_acceptor_that_knew_of_no_lease() {
    let node = Node::new();
    assert_silent(&node, &transfer(&mut Peer::new(2), NEW, LEFT));
    assert_eq!(Ballot(acceptor(&node).ballot), NEW);
    assert_refused(&node, &Peer::new(4).prepare(9), Reason::Held, NEW);
}

#[test]
fn after_a_transfer_the_old_holder_is_refused() {
    let (node, mut holder) = held(LEASE);
    assert_silent(&node, &transfer(&mut holder, NEW, LEFT));
    for request in [holder.prepare(9), holder.propose(9, LEASE)] {
        assert_refused(&node, &request, Reason::Held, NEW);
    }
    assert_refused(&node, &holder.propose(OLD.round(), LEASE), Reason::Promised, NEW);
}

#[test]
fn after_a_transfer_the_new_holder_renews_under_its_ballot() {
    let (node, mut holder) = held(LEASE);
    assert_silent(&node, &transfer(&mut holder, NEW, LEFT));
    let answer = node.answer(&Peer::new(3).propose(NEW.round(), LEASE));
    assert_eq!((Kind::from_u8(answer.kind), answer.ballot.get()), (Some(Kind::Accepted), NEW.0));
}

#[test]
fn a_transfer_that_comes_again_changes_nothing() {
    let (node, mut holder) = held(LEASE);
    let message = transfer(&mut holder, NEW, LEFT);
    assert_silent(&node, &message);
    node.ignores(&message, Counter::RejectedReplay);
    node.ignores(&transfer(&mut holder, NEW, LEFT), Counter::LeaseSilent);
}

#[test]
fn nobody_transfers_another_nodes_lease() {
    let (node, _) = held(LEASE);
    for thief in [3, 4] {
        node.ignores(&transfer(&mut Peer::new(thief), NEW, LEFT), Counter::LeaseSilent);
    }
}

/// A promise to a third node is not undone: it has been told already.
#[test]
fn a_transfer_leaves_a_higher_promise() {
    let node = Node::new();
    node.answer(&Peer::new(4).prepare(9));
    assert_silent(&node, &transfer(&mut Peer::new(2), NEW, LEFT));
    let acceptor = acceptor(&node);
    assert_eq!((Ballot(acceptor.promised), Ballot(acceptor.ballot)), (Ballot::new(9, 4), NEW));
}

#[test]
fn a_transfer_of_more_than_the_longest_lease_changes_nothing() {
    let (node, mut holder) = held(LEASE);
    for left in [LEASE + 1, u64::MAX] {
        node.ignores(&transfer(&mut holder, NEW, left), Counter::LeaseSilent);
    }
}

#[test]
fn an_acceptor_in_quarantine_takes_no_transfer() {
    let mut node = Node::new();
    node.plane.tables.quarantine(WEB, now() + LEASE).unwrap();
    node.ignores(&transfer(&mut Peer::new(2), NEW, LEFT), Counter::LeaseSilent);
}

#[test]
fn a_transfer_of_another_epoch_is_not_decided_on() {
    let (mut node, mut holder) = held(LEASE);
    let before = acceptor(&node);
    let of_epoch = |epoch: u32, message| with(message, |message| message.epoch = epoch.into());
    let older = of_epoch(EPOCH - 1, transfer(&mut holder, NEW, LEFT));
    assert_refused(&node, &older, Reason::OldEpoch, NEW);
    assert_eq!(acceptor(&node), before);
    node.ignores(&of_epoch(EPOCH + 1, transfer(&mut holder, NEW, LEFT)), Counter::RejectedEpoch);
    node.event(EventKind::NewerEpoch);
}

#[test]
fn a_transfer_of_an_unknown_group_is_rejected() {
    let (node, mut holder) = held(LEASE);
    let message =
        with(transfer(&mut holder, NEW, LEFT), |message| message.group = (WEB_ID ^ MAIL_ID ^ 1).into());
    node.ignores(&message, Counter::RejectedGroup);
}

/// The old holder tells its own acceptor, by which it keeps to its word after a restart.
#[test]
fn the_nodes_own_transfer_is_taken_in() {
    let node = Node::alone();
    let mut own = Peer::new(NODE);
    node.answer(&own.propose(5, LEASE));
    assert_silent(&node, &transfer(&mut own, NEW, LEFT));
    assert_eq!(Ballot(acceptor(&node).ballot), NEW);
    assert_refused(&node, &own.prepare(9), Reason::Held, NEW);
}

/// Until the new holder's first renewal says where it is, the old one's address is the best there is.
#[test]
fn the_old_holders_address_stands_until_the_new_one_renews() {
    let (mut node, mut holder) = held(LEASE);
    let elsewhere = lease(host(66), EVERYBODY, PORT, &transfer(&mut holder, NEW, LEFT), &[]);
    assert_eq!(node.receives(&elsewhere), Outcome::dropped(&elsewhere, Counter::LeaseSilent));
    let announcement = |mac| arp_request(Host { mac, ip: WEB_VIP }, WEB_VIP);
    assert_eq!(node.receives(&announcement(host(2).mac)).counter, Counter::Other);
    assert_eq!(node.receives(&announcement(host(66).mac)).counter, Counter::ArpConflict);
    node.event(EventKind::Conflict);
    node.answer(&Peer::new(3).propose(NEW.round(), LEASE));
    assert_eq!(node.receives(&announcement(host(3).mac)).counter, Counter::Other);
}

/// The daemons' part: Offer, Ask and Grant.
const AGREEMENT: [Kind; 3] = [Kind::Offer, Kind::Ask, Kind::Grant];

#[test]
fn offer_ask_and_grant_go_up_once() {
    for kind in AGREEMENT {
        let (mut node, mut peer) = held(LEASE);
        let message = peer.request(kind, 6, |message| message.duration = LEFT.into());
        let before = acceptor(&node);
        let frame = multicast(&message);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed), "{kind:?}");
        assert_eq!(acceptor(&node), before, "{kind:?}");
        node.ignores(&message, Counter::RejectedReplay);
        assert!(node.events().is_empty(), "{kind:?}");
    }
}

/// An Offer and a Grant bear the ballot of the node that they are for.
#[test]
fn offer_ask_and_grant_go_up_under_any_nodes_ballot() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for kind in AGREEMENT {
        for of in [0, NODE, 2, 3] {
            let frame =
                multicast(&peer.request(kind, 1, |message| message.ballot = Ballot::new(6, of).0.into()));
            let expected = Outcome::passed(&frame, Counter::MessagePassed);
            assert_eq!(node.receives(&frame), expected, "{kind:?} for node {of}");
        }
    }
}

/// The daemon minds the epoch where it matters.
#[test]
fn offer_ask_and_grant_of_any_epoch_go_up() {
    let mut node = Node::new();
    let mut peer = Peer::new(2);
    for kind in AGREEMENT {
        for epoch in [0, EPOCH - 1, EPOCH + 1] {
            let frame = multicast(&peer.request(kind, 1, |message| message.epoch = epoch.into()));
            let expected = Outcome::passed(&frame, Counter::MessagePassed);
            assert_eq!(node.receives(&frame), expected, "{kind:?} of epoch {epoch}");
        }
    }
    assert!(node.events().is_empty());
}

#[test]
fn handover_messages_of_nobody_and_of_this_node_end_here() {
    for kind in [Kind::Transfer, Kind::Offer, Kind::Ask, Kind::Grant] {
        let mut node = Node::new();
        node.ignores(&Peer::new(0).request(kind, 1, |_| ()), Counter::RejectedSender);
        node.ignores(&Peer::new(NODE).request(kind, 1, |_| ()), Counter::OwnEcho);
        assert!(node.events().is_empty(), "{kind:?}");
        let twins =
            Peer::new(NODE).request(kind, 1, |message| message.incarnation = (INCARNATION + 1).into());
        node.ignores(&twins, Counter::RejectedSender);
        node.event(EventKind::DuplicateId);
    }
}

#[test]
fn handover_messages_have_no_body() {
    let node = Node::new();
    let mut peer = Peer::new(2);
    for kind in [Kind::Transfer, Kind::Offer, Kind::Ask, Kind::Grant] {
        let mut message = peer.request(kind, 1, |_| ());
        message.seal(&KEY, b"body");
        let frame = lease(host(2), EVERYBODY, PORT, &message, b"body");
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::RejectedMalformed), "{kind:?}");
    }
}

/// A node that has granted node 2 a lease of this length under [`OLD`], and that node.
fn held(lease: u64) -> (Node, Peer) {
    let node = Node::new();
    let mut holder = Peer::new(OLD.node());
    node.answer(&holder.propose(OLD.round(), lease));
    (node, holder)
}

fn transfer(from: &mut Peer, to: Ballot, left: u64) -> Message {
    from.request(Kind::Transfer, to.round(), |message| {
        message.ballot = to.0.into();
        message.duration = left.into();
    })
}

fn acceptor(node: &Node) -> Acceptor {
    node.plane.tables.acceptor(WEB).unwrap()
}

/// The message is taken, and nothing is said.
fn assert_silent(node: &Node, message: &Message) {
    let frame = multicast(message);
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::LeaseSilent));
}

fn assert_refused(node: &Node, request: &Message, reason: Reason, ballot: Ballot) {
    let outcome = node.hears(request);
    assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
    let answer = outcome.message();
    let said = (Kind::from_u8(answer.kind), Reason::from_u8(answer.reason), Ballot(answer.ballot.get()));
    assert_eq!(said, (Some(Kind::Refused), Some(reason), ballot));
}
