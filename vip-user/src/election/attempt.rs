//! A candidacy: one ballot, first promised by a quorum, then accepted by one.

use vip_common::lease::{Ballot, Renewal};
use vip_common::wire::Reason;

use super::action::Notices;
use super::quorum::{Outcome, Vote, Votes};
use super::{Answer, Refusal};

/// A request under way, and the answers to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) ballot: Ballot,
    /// When to give up, in CLOCK_BOOTTIME ns.
    pub(super) ends_at: u64,
    pub(super) notices: Notices,
    /// Stamp of the request under way. Refusals echo it, since the ballot that they carry is the one in the way.
    pub(super) sent_at: u64,
    phase: Phase,
    votes: Votes,
}

/// Which request is under way.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Preparing,
    /// This copy is counted by the rule that the data plane uses on its own.
    Proposing(Renewal),
}

/// What an answer leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Wait,
    /// A quorum has promised.
    Propose,
    /// A quorum has accepted: this node may serve.
    Serve {
        until: u64,
    },
    /// See [`Outcome::Lost`].
    Lost {
        possible_at: u64,
    },
}

impl Attempt {
    /// Prepare is sent at `sent_at` to so many `voters`.
    pub(super) fn prepare(ballot: Ballot, voters: usize, sent_at: u64, ends_at: u64) -> Self {
        let votes = Votes::new(voters);
        Self { ballot, ends_at, notices: Notices::all(), sent_at, phase: Phase::Preparing, votes }
    }

    /// Propose is sent at `sent_at`.
    pub(super) fn propose(&mut self, renewal: Renewal, sent_at: u64) {
        self.phase = Phase::Proposing(renewal);
        self.votes = Votes::new(renewal.count as usize);
        self.sent_at = sent_at;
    }

    /// Whether some voter may already have accepted a lease of this ballot.
    pub(super) fn is_proposing(&self) -> bool {
        matches!(self.phase, Phase::Proposing(_))
    }

    /// Whether a refusal answers the request under way.
    pub(super) fn concerns(&self, refusal: &Refusal) -> bool {
        refusal.sent_at == self.sent_at
    }

    /// Counts the answer of `voter`, whose place in the configuration is `place`.
    pub(super) fn count(&mut self, voter: u16, place: usize, answer: &Answer, lease: u64, now: u64) -> Step {
        let under_way = self.sent_at;
        match (&mut self.phase, answer) {
            (Phase::Preparing, Answer::Promise(ballot)) if *ballot == self.ballot => {
                self.votes.record(place, Vote::For);
                match self.votes.outcome() {
                    Outcome::Won => Step::Propose,
                    _ => Step::Wait,
                }
            }
            (Phase::Proposing(renewal), Answer::Accepted { ballot, sent_at }) => {
                match renewal.accepted(voter, *ballot, *sent_at, now) {
                    Some(until) if until > now => Step::Serve { until },
                    _ => Step::Wait,
                }
            }
            (_, Answer::Refused(refusal)) if refusal.sent_at == under_way => {
                self.votes.record(place, Vote::Against(lifted_at(refusal, lease, now)));
                match self.votes.outcome() {
                    Outcome::Lost { possible_at } => Step::Lost { possible_at },
                    _ => Step::Wait,
                }
            }
            _ => Step::Wait,
        }
    }
}

/// When the voter may think otherwise; 0 = of a higher ballot at once.
fn lifted_at(refusal: &Refusal, lease: u64, now: u64) -> u64 {
    match refusal.reason {
        Reason::Held => now.saturating_add(refusal.duration),
        Reason::Promised => 0,
        // Nothing but another configuration or setting helps, and looking for it now and then is enough.
        Reason::TooLong | Reason::OldEpoch => now.saturating_add(lease),
    }
}
