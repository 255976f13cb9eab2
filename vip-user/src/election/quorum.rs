//! Counting the voters' answers to one request: each voter once, whatever the network repeats.

use vip_common::lease::{MAX_VOTERS, quorum};

/// What the answers so far decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Answers to come can still decide either way.
    Pending {
        /// When those that agreed and those that refused could make a quorum, if the rest stays silent; as below.
        possible_at: Option<u64>,
    },
    /// A quorum agreed.
    Won,
    /// So many refused that no quorum is left.
    Lost {
        /// When enough refusals may have been lifted for a quorum to be possible again; 0 = a new ballot is enough.
        possible_at: u64,
    },
}

/// The voters' answers to one request, by the voter's place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Votes {
    voters: usize,
    votes: [Option<Vote>; MAX_VOTERS],
}

/// One voter's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Vote {
    /// Agreed.
    For,
    /// Refused, and will do so until this time; 0 = only this ballot.
    Against(u64),
}

impl Votes {
    /// Nobody of `voters` (at most [`MAX_VOTERS`]) has answered yet.
    pub(super) fn new(voters: usize) -> Self {
        Self { voters, votes: [None; MAX_VOTERS] }
    }

    /// Counts an answer; a voter's first one stands.
    pub(super) fn record(&mut self, place: usize, vote: Vote) {
        if let Some(slot @ None) = self.votes.get_mut(place) {
            *slot = Some(vote);
        }
    }

    /// What the answers so far decide.
    pub(super) fn outcome(&self) -> Outcome {
        let mut refusals = [0; MAX_VOTERS];
        let (mut agreed, mut refused) = (0, 0);
        for vote in self.votes.iter().flatten() {
            match vote {
                Vote::For => agreed += 1,
                Vote::Against(until) => {
                    refusals[refused] = *until;
                    refused += 1;
                }
            }
        }
        let refusals = &mut refusals[..refused];
        refusals.sort_unstable();
        let needed = quorum(self.voters);
        let bearable = self.voters.saturating_sub(needed);
        if agreed >= needed {
            Outcome::Won
        } else if refused > bearable {
            // So many have to be lifted, and those that end first will be.
            Outcome::Lost { possible_at: refusals[refused - bearable - 1] }
        } else {
            Outcome::Pending { possible_at: refusals.get(needed - agreed - 1).copied() }
        }
    }
}
