//! Answers to this node's own requests: renewals are counted and extend the lease word, the rest is the daemon's.

use vip_common::lease::{Ballot, Renewal, serving_time};
use vip_common::maps::{Counter, Role};
use vip_common::wire::{Kind, Message, Reason};
use vip_user::dataplane::Action;

use super::node::{
    EPOCH, INCARNATION, LEASE, MAIL, MAIL_ID, NODE, Node, Outcome, Peer, WEB, WEB_ID, multicast, now,
};

/// The ballot that this node's lease stands on.
const BALLOT: Ballot = Ballot::new(5, NODE);
/// What the word is armed with here: any time that a renewal moves forward.
const SOON: u64 = 1_000_000_000;

#[test]
fn a_quorum_of_accepted_answers_extends_the_lease_word() {
    let mut node = holder(&[1, 2, 3]);
    let armed = arm(&node);
    let (first, second) = (now() - 2000, now() - 1000);
    renews(&node, 2, second);
    assert_eq!(node.lease_until(WEB), armed, "one of three");
    renews(&node, 3, first);
    assert_eq!(node.lease_until(WEB), first + serving_time(LEASE), "two of three, since the earlier stamp");
    renews(&node, 3, second);
    assert_eq!(node.lease_until(WEB), second + serving_time(LEASE), "both of the later stamp");
    assert!(node.events().is_empty());
}

#[test]
fn with_five_voters_three_make_a_quorum() {
    let node = holder(&[2, 3, 4, 5, 1]);
    let armed = arm(&node);
    let start = now();
    for (voter, age) in [(2, 100), (5, 300)] {
        renews(&node, voter, start - age);
        assert_eq!(node.lease_until(WEB), armed, "voter {voter}");
    }
    for (voter, age, oldest) in [(3, 200, 300), (4, 50, 200)] {
        renews(&node, voter, start - age);
        assert_eq!(node.lease_until(WEB), start - oldest + serving_time(LEASE), "voter {voter}");
    }
}

#[test]
fn sixteen_voters_are_all_counted() {
    let voters: Vec<u16> = (1..=16).collect();
    let node = holder(&voters);
    let armed = arm(&node);
    let stamp = now();
    for voter in voters.iter().rev().take(8) {
        renews(&node, *voter, stamp);
        assert_eq!(node.lease_until(WEB), armed, "voter {voter}");
    }
    renews(&node, 2, stamp);
    assert_eq!(node.lease_until(WEB), stamp + serving_time(LEASE));
}

/// Input: the own vote, cast as the daemon does by TEST_RUN, and one other.
#[test]
fn the_own_vote_counts() {
    let mut node = Node::alone();
    propose(&mut node, &[1, 2, 3]);
    let armed = arm(&node);
    let mut own = Peer::new(NODE);
    let renewal = own.propose(BALLOT.round(), LEASE);
    node.answer(&renewal);
    assert_eq!(node.lease_until(WEB), armed, "one of three");
    renews(&node, 2, renewal.sent_at.get());
    assert_eq!(node.lease_until(WEB), renewal.sent_at.get() + serving_time(LEASE));
}

#[test]
fn a_single_voter_renews_by_its_own_vote() {
    let mut node = Node::alone();
    propose(&mut node, &[NODE]);
    arm(&node);
    let renewal = Peer::new(NODE).propose(BALLOT.round(), LEASE);
    node.answer(&renewal);
    assert_eq!(node.lease_until(WEB), renewal.sent_at.get() + serving_time(LEASE));
}

#[test]
fn an_own_vote_that_is_refused_does_not_count() {
    let mut node = Node::alone();
    propose(&mut node, &[NODE]);
    let armed = arm(&node);
    node.answer(&Peer::new(2).propose(9, LEASE));
    let refused = node.answer(&Peer::new(NODE).propose(BALLOT.round(), LEASE));
    assert_eq!(Kind::from_u8(refused.kind), Some(Kind::Refused));
    assert_eq!(node.lease_until(WEB), armed);
}

#[test]
fn a_disarmed_word_stays_disarmed() {
    let node = holder(&[1, 2, 3]);
    for voter in [2, 3] {
        renews(&node, voter, now());
    }
    assert_eq!(node.lease_until(WEB), 0, "never armed");
    arm(&node);
    node.plane.words.disarm(WEB);
    for voter in [2, 3] {
        renews(&node, voter, now());
    }
    assert_eq!(node.lease_until(WEB), 0, "disarmed");
}

/// A lease that a quorum stands behind is a lease, even if its news comes after the former one has run out.
#[test]
fn a_word_that_has_run_out_is_extended() {
    let node = holder(&[1, 2, 3]);
    node.plane.words.arm(WEB, 1);
    let stamp = now();
    for voter in [2, 3] {
        renews(&node, voter, stamp);
    }
    assert_eq!(node.lease_until(WEB), stamp + serving_time(LEASE));
}

#[test]
fn the_word_never_moves_back() {
    let node = holder(&[1, 2, 3]);
    let armed = now() + 2 * LEASE;
    node.plane.words.arm(WEB, armed);
    for voter in [2, 3] {
        renews(&node, voter, now());
    }
    assert_eq!(node.lease_until(WEB), armed);
}

/// Input: one voter twice, no voter, another ballot of this node's, and a stamp that has not been yet; each with one
/// answer that counts beside it.
#[test]
fn what_is_no_second_vote_extends_nothing() {
    let stamp = now() - 1000;
    let of = |voter, ballot, sent_at| answer(Kind::Accepted, voter, ballot, sent_at);
    for (what, message) in [
        ("the same voter", of(2, BALLOT, stamp)),
        ("the same voter again, later", of(2, BALLOT, stamp + 500)),
        ("no voter", of(9, BALLOT, stamp)),
        ("an earlier lease", of(3, Ballot::new(4, NODE), stamp)),
        ("a lease to come", of(3, Ballot::new(6, NODE), stamp)),
        ("from the future", of(3, BALLOT, now() + LEASE)),
        ("without a stamp", of(3, BALLOT, 0)),
    ] {
        let node = holder(&[1, 2, 3]);
        let armed = arm(&node);
        renews(&node, 2, stamp);
        node.ignores(&message, Counter::LeaseRenewed);
        assert_eq!(node.lease_until(WEB), armed, "{what}");
        renews(&node, 3, stamp);
        assert_eq!(node.lease_until(WEB), stamp + serving_time(LEASE), "and then a second vote");
    }
}

#[test]
fn groups_are_renewed_apart() {
    let mut node = holder(&[1, 2, 3]);
    node.plane.renewals.set(MAIL, Renewal::new(BALLOT, LEASE, &[1, 2, 3])).unwrap();
    let armed = now() + SOON;
    node.plane.words.arm(WEB, armed);
    node.plane.words.arm(MAIL, armed);
    let stamp = now();
    for voter in [2, 3] {
        let message = sealed(Kind::Accepted, voter, BALLOT, stamp, |message| message.group = MAIL_ID.into());
        assert_eq!(node.hears(&message).counter, Counter::MessagePassed, "a follower's");
    }
    assert_eq!(node.lease_until(WEB), armed);
    assert_eq!(node.lease_until(MAIL), stamp + serving_time(LEASE));
}

#[test]
fn a_follower_gets_the_answers_to_its_proposals() {
    let mut node = Node::new();
    propose(&mut node, &[1, 2, 3]);
    node.plane.words.set_role(WEB, Role::Follower);
    for voter in [2, 3] {
        let frame = multicast(&answer(Kind::Accepted, voter, BALLOT, now()));
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed));
    }
    assert_eq!(node.lease_until(WEB), 0);
}

#[test]
fn promises_and_refusals_are_the_daemons() {
    for role in [Role::Follower, Role::Holder] {
        let node = holder(&[1, 2, 3]);
        node.plane.words.set_role(WEB, role);
        let held = sealed(Kind::Refused, 2, Ballot::new(9, 3), now(), |message| {
            message.reason = Reason::Held as u8;
        });
        for message in [answer(Kind::Promise, 2, BALLOT, now()), held, answer(Kind::Taken, 2, BALLOT, 0)] {
            let frame = multicast(&message);
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::MessagePassed));
        }
    }
}

#[test]
fn answers_to_another_incarnation_are_rejected() {
    let node = holder(&[1, 2, 3]);
    let armed = arm(&node);
    for kind in [Kind::Promise, Kind::Accepted, Kind::Refused, Kind::Taken] {
        for incarnation in [0, INCARNATION - 1, INCARNATION + 1] {
            let message = sealed(kind, 2, BALLOT, now(), |message| message.incarnation = incarnation.into());
            node.ignores(&message, Counter::RejectedReplay);
        }
    }
    assert_eq!(node.lease_until(WEB), armed);
}

#[test]
fn answers_to_other_nodes_are_rejected() {
    let node = holder(&[1, 2, 3]);
    for kind in [Kind::Promise, Kind::Accepted] {
        node.ignores(&answer(kind, 2, Ballot::new(5, 3), now()), Counter::RejectedReplay);
    }
}

#[test]
fn answers_of_nobody_and_of_this_node_are_rejected() {
    let node = holder(&[1, 2, 3]);
    for sender in [0, NODE] {
        for kind in [Kind::Promise, Kind::Accepted, Kind::Refused] {
            node.ignores(&answer(kind, sender, BALLOT, now()), Counter::RejectedSender);
        }
    }
    node.ignores(&answer(Kind::Taken, 0, BALLOT, now()), Counter::RejectedSender);
}

#[test]
fn answers_for_unknown_groups_are_rejected() {
    let node = holder(&[1, 2, 3]);
    let message = sealed(Kind::Accepted, 2, BALLOT, now(), |message| message.group = (WEB_ID ^ 1).into());
    node.ignores(&message, Counter::RejectedGroup);
}

#[test]
fn an_answer_shows_that_its_sender_lives() {
    let node = holder(&[1, 2, 3]);
    node.answer(&Peer::new(2).prepare(1));
    let before = node.plane.tables.peers().unwrap()[&2];
    renews(&node, 2, now());
    let after = node.plane.tables.peers().unwrap()[&2];
    assert!(after.last_heard > before.last_heard);
    assert_eq!(after.freshness, before.freshness, "answers echo this node's own stamps");
}

/// A node whose daemon holds the lease of group "web" under [`BALLOT`]; its word is not armed yet.
fn holder(voters: &[u16]) -> Node {
    let mut node = Node::new();
    propose(&mut node, voters);
    node
}

fn propose(node: &mut Node, voters: &[u16]) {
    node.plane.renewals.set(WEB, Renewal::new(BALLOT, LEASE, voters)).unwrap();
    node.plane.words.set_role(WEB, Role::Holder);
}

fn arm(node: &Node) -> u64 {
    let until = now() + SOON;
    node.plane.words.arm(WEB, until);
    until
}

/// A voter's answer to a renewal ends in the program.
fn renews(node: &Node, voter: u16, sent_at: u64) {
    let frame = multicast(&answer(Kind::Accepted, voter, BALLOT, sent_at));
    let outcome = node.receives(&frame);
    assert_eq!((outcome.action, outcome.counter), (Action::Drop, Counter::LeaseRenewed));
}

fn answer(kind: Kind, sender: u16, ballot: Ballot, sent_at: u64) -> Message {
    sealed(kind, sender, ballot, sent_at, |_| ())
}

fn sealed(
    kind: Kind,
    sender: u16,
    ballot: Ballot,
    sent_at: u64,
    change: impl FnOnce(&mut Message),
) -> Message {
    Peer::new(sender).request(kind, 1, |message| {
        message.epoch = EPOCH.into();
        message.ballot = ballot.0.into();
        message.sent_at = sent_at.into();
        change(message);
    })
}
