//! A candidacy: one ballot, first promised by a quorum, then accepted by one.

use vip_common::lease::{Ballot, Renewal};
use vip_common::wire::Reason;

use super::action::Notices;
use super::quorum::{Outcome, Vote, Votes};
use super::{Answer, LEAST_STEP, Refusal};

/// A request under way, and the answers to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Attempt {
    pub(super) ballot: Ballot,
    /// When to give up, in CLOCK_BOOTTIME ns.
    ends_at: u64,
    /// When to stand anew, if that comes first: enough of the voters that answer may then agree.
    again_at: Option<u64>,
    pub(super) notices: Notices,
    /// Stamp of the request under way. Refusals echo it, since the ballot that they carry is the one in the way.
    pub(super) sent_at: u64,
    phase: Phase,
    votes: Votes,
}

/// Which request is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
    /// See [`Outcome::Pending`].
    StandAgain {
        possible_at: u64,
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
        let (phase, notices) = (Phase::Preparing, Notices::all());
        Self { ballot, ends_at, again_at: None, notices, sent_at, phase, votes }
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

    /// The next timer: to stand anew, or to give up.
    pub(super) fn next_deadline(&self) -> u64 {
        self.again_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    /// Plans to stand anew, if not sooner, unless this candidacy is over by then.
    pub(super) fn plan_again(&mut self, at: u64) {
        self.again_at = Some(self.again_at.map_or(at, |sooner| sooner.min(at)));
    }

    /// Whether the timer that has come is the one to stand anew.
    pub(super) fn is_to_stand_again(&self, now: u64) -> bool {
        self.again_at.is_some_and(|at| at <= now && at < self.ends_at)
    }

    /// Counts the answer of `voter`, whose place in the configuration is `place`. A refusal is taken to last until
    /// `lifted_at`, see [`lifted_at`].
    pub(super) fn count(
        &mut self,
        voter: u16,
        place: usize,
        answer: &Answer,
        lifted_at: u64,
        now: u64,
    ) -> Step {
        let vote = match answer {
            Answer::Promise(ballot) if *ballot == self.ballot && !self.is_proposing() => Vote::For,
            Answer::Accepted { ballot, sent_at } => {
                let Phase::Proposing(renewal) = &mut self.phase else { return Step::Wait };
                if let Some(until) = renewal.accepted(voter, *ballot, *sent_at, now)
                    && until > now
                {
                    return Step::Serve { until };
                }
                if *ballot != self.ballot {
                    return Step::Wait;
                }
                Vote::For
            }
            Answer::Refused(refusal) if self.concerns(refusal) => Vote::Against(lifted_at),
            _ => return Step::Wait,
        };
        self.votes.record(place, vote);
        match self.votes.outcome() {
            Outcome::Won if !self.is_proposing() => Step::Propose,
            Outcome::Lost { possible_at } => Step::Lost { possible_at },
            Outcome::Pending { possible_at: Some(possible_at) } => Step::StandAgain { possible_at },
            Outcome::Won | Outcome::Pending { possible_at: None } => Step::Wait,
        }
    }
}

/// When the voter may think otherwise; 0 = of a higher ballot at once. `released` is the highest ballot that is known
/// to be given back, which the voter may not have heard yet.
pub(super) fn lifted_at(refusal: &Refusal, released: Option<Ballot>, lease: u64, now: u64) -> u64 {
    let is_released =
        |released: Ballot| refusal.ballot <= released && refusal.ballot.node() == released.node();
    match refusal.reason {
        Reason::Held if released.is_some_and(is_released) => {
            now.saturating_add(refusal.duration.min(LEAST_STEP))
        }
        Reason::Held => now.saturating_add(refusal.duration),
        Reason::Promised => 0,
        // Nothing but another configuration or setting helps, and looking for it now and then is enough.
        Reason::TooLong | Reason::OldEpoch => now.saturating_add(lease),
    }
}
