//! Which messages count, one promise a test; node 1 with plain memory, and one group.

use super::*;
use crate::lease::{Acceptor, Renewal, extension};

const NOW: u64 = 1_000;
const INCARNATION: u64 = 7;
const BALLOT: Ballot = Ballot::new(3, 1);

/// A node that has asked for a lease of 100 ns and has a word of 1.
struct Plain {
    freshness: Freshness,
    acceptor: Acceptor,
    renewal: Renewal,
    word: u64,
}

impl Plain {
    fn new() -> Self {
        let renewal = Renewal::new(BALLOT, 100, &[1, 2, 3]);
        Self { freshness: Freshness::default(), acceptor: Acceptor::default(), renewal, word: 1 }
    }
}

impl Memory for Plain {
    fn now(&self) -> u64 {
        NOW
    }

    fn slot(&self, group: u32) -> Option<u32> {
        Some(group)
    }

    fn admit(&mut self, _node: u16, freshness: Freshness, _now: u64) -> bool {
        self.freshness.admit(freshness.incarnation, freshness.sequence)
    }

    fn heard(&mut self, _node: u16, _now: u64) {}

    fn decide(&mut self, _slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        self.acceptor.decide(request, now, longest)
    }

    fn accepted(&mut self, _slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        self.renewal.accepted(voter, ballot, sent_at, now)
    }

    fn extend(&mut self, _slot: u32, until: u64) {
        self.word = extension(self.word, until).unwrap_or(self.word);
    }

    fn is_holder(&self, _slot: u32) -> bool {
        true
    }

    fn report(&mut self, _kind: EventKind, _slot: u32, _node: u16, _value: u64) {}
}

fn config() -> Config {
    Config { incarnation: INCARNATION, longest_lease: 100, epoch: 5, node: 1, ..Config::default() }
}

/// Of node 2, in the epoch that node 1 has.
fn of_node_2(kind: Kind, ballot: Ballot, incarnation: u64, sequence: u64) -> Message {
    let mut message = Message::new(kind, 0);
    message.sender = 2.into();
    message.epoch = 5.into();
    message.incarnation = incarnation.into();
    message.sequence = sequence.into();
    message.ballot = ballot.0.into();
    message.sent_at = (NOW - 10).into();
    message.duration = 100.into();
    message
}

/// Input: two of three voters accept, in answers that echo this daemon's incarnation, or an earlier one's.
/// Expected: only the former move the lease word.
#[test]
fn answers_to_an_earlier_daemon_extend_nothing() {
    for (incarnation, word) in [(INCARNATION - 1, 1), (INCARNATION, NOW - 10 + 99)] {
        let mut plain = Plain::new();
        for voter in [2, 3] {
            let mut accepted = of_node_2(Kind::Accepted, BALLOT, incarnation, 1);
            accepted.sender = voter.into();
            message(&accepted, Kind::Accepted, false, &config(), &mut plain);
        }
        assert_eq!(plain.word, word, "incarnation {incarnation}");
    }
}

/// Input: a Propose; the same once more; an older one; one of an earlier daemon; a newer one.
/// Expected: the first and the last are answered.
#[test]
fn a_request_is_decided_on_once_and_in_order() {
    let mut plain = Plain::new();
    let answered: [bool; 5] = [(4, 2), (4, 2), (4, 1), (3, 9), (4, 3)].map(|(incarnation, sequence)| {
        let propose = of_node_2(Kind::Propose, Ballot::new(1, 2), incarnation, sequence);
        matches!(message(&propose, Kind::Propose, false, &config(), &mut plain), Verdict::Reply(_))
    });
    assert_eq!(answered, [true, false, false, false, true]);
}

/// Input: a Propose to a node that is no voter; then a Prepare of another node.
/// Expected: neither is answered, and the node knows whose the lease is all the same.
#[test]
fn an_observer_follows_the_lease_in_silence() {
    let mut plain = Plain::new();
    let observer = Config { observer: 1, ..config() };
    let silent = Verdict::Drop(Counter::LeaseSilent);
    let propose = of_node_2(Kind::Propose, Ballot::new(1, 2), 4, 1);
    assert_eq!(message(&propose, Kind::Propose, false, &observer, &mut plain), silent);
    let mut prepare = of_node_2(Kind::Prepare, Ballot::new(9, 3), 4, 1);
    prepare.sender = 3.into();
    prepare.sequence = 2.into();
    assert_eq!(message(&prepare, Kind::Prepare, false, &observer, &mut plain), silent);
    prepare.sequence = 3.into();
    let held = Verdict::Reply(Answer::refused(Reason::Held, Ballot::new(1, 2), 100));
    assert_eq!(message(&prepare, Kind::Prepare, false, &config(), &mut plain), held);
}

/// Input: a Propose of an older configuration, of this node's, and of a newer one; and one to a node without any.
/// Expected: only that of its own is decided on. The older one is told so; the newer one is not answered.
#[test]
fn only_requests_of_the_nodes_own_configuration_are_decided_on() {
    let old = Verdict::Reply(Answer::refused(Reason::OldEpoch, Ballot::new(1, 2), 0));
    let own = Verdict::Reply(Answer::agreed(Kind::Accepted, Ballot::new(1, 2)));
    let newer = Verdict::Drop(Counter::RejectedEpoch);
    for (nodes, epoch, expected) in [(5, 4, old), (5, 5, own), (5, 6, newer), (0, 0, newer), (0, 1, newer)] {
        let mut plain = Plain::new();
        let mut propose = of_node_2(Kind::Propose, Ballot::new(1, 2), 1, 1);
        propose.epoch = epoch.into();
        let config = Config { epoch: nodes, ..config() };
        assert_eq!(
            message(&propose, Kind::Propose, false, &config, &mut plain),
            expected,
            "{epoch} at {nodes}"
        );
        let is_decided = plain.acceptor != Acceptor::default();
        assert_eq!(is_decided, expected == own, "{epoch} at {nodes}");
    }
}
