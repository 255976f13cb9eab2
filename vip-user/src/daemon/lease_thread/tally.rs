//! How an election came about and went, for the log: whose lease was over, who has voted, how long nobody held the lease.

use vip_common::lease::{Ballot, MAX_VOTERS};

use crate::election::{Answer, View};

/// One group's last election, as this node took part in it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct Tally {
    /// The ballot that this node stood under last.
    ballot: Ballot,
    /// The ballot of the lease before, and when that was over, in CLOCK_BOOTTIME ns.
    last_lease: Ballot,
    ended_at: u64,
    /// The ballot of the lease that was given back last.
    given_back: Ballot,
    promised: [u16; MAX_VOTERS],
    votes: usize,
}

impl Tally {
    /// This node stands.
    pub(super) fn stood(&mut self, ballot: Ballot, view: &View) {
        // A lease of the same node after that is of an attempt that came to nothing.
        if view.holder_ballot.node() != ballot.node() {
            (self.last_lease, self.ended_at) = (view.holder_ballot, view.holder_until.min(view.now));
        }
        (self.ballot, self.votes) = (ballot, 0);
    }

    /// This node has held this lease until now.
    pub(super) fn held(&mut self, ballot: Ballot, now: u64) {
        (self.last_lease, self.ended_at) = (ballot, now);
    }

    /// The holder of this lease has given it back.
    pub(super) fn given_back(&mut self, ballot: Ballot) {
        self.given_back = ballot;
    }

    /// A voter has answered.
    pub(super) fn answered(&mut self, voter: u16, answer: &Answer) {
        let promised = matches!(answer, Answer::Promise(ballot) if *ballot == self.ballot);
        let known = self.promised.iter().take(self.votes).any(|known| *known == voter);
        if let Some(place) = self.promised.get_mut(self.votes).filter(|_| promised && !known) {
            *place = voter;
            self.votes += 1;
        }
    }

    /// Whose lease was over before this node stood, and whether it was given back; `None` if there was none.
    pub(in crate::daemon) fn last_holder(&self) -> Option<(u16, bool)> {
        let last = self.last_lease;
        (last.node() != 0).then_some((last.node(), last == self.given_back))
    }

    /// How many voters had voted for this ballot, and for how long nobody had held the lease by `now`, in ns, if that is
    /// known. `None` if the lease has come otherwise, by a handover.
    pub(in crate::daemon) fn won(&self, ballot: Ballot, now: u64) -> Option<(usize, Option<u64>)> {
        let vacant = (self.ended_at != 0).then(|| now.saturating_sub(self.ended_at));
        (self.ballot == ballot).then_some((self.votes, vacant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(now: u64, holder_until: u64, holder: Ballot) -> View {
        View { now, holder_until, holder_ballot: holder, ..View::default() }
    }

    #[test]
    fn an_election_is_told_with_its_votes_and_the_time_without_a_holder() {
        let mut tally = Tally::default();
        tally.stood(Ballot::new(8, 2), &view(105, 100, Ballot::new(7, 1)));
        assert_eq!(tally.last_holder(), Some((1, false)));
        for voter in [2, 3, 3, 2] {
            tally.answered(voter, &Answer::Promise(Ballot::new(8, 2)));
        }
        tally.answered(1, &Answer::Promise(Ballot::new(6, 2)));
        assert_eq!(tally.won(Ballot::new(8, 2), 131), Some((2, Some(31))));
        assert_eq!(tally.won(Ballot::new(9, 2), 131), None, "handed over");
    }

    #[test]
    fn an_attempt_that_came_to_nothing_does_not_hide_whose_lease_it_was() {
        let mut tally = Tally::default();
        tally.given_back(Ballot::new(7, 1));
        tally.stood(Ballot::new(8, 2), &view(105, 100, Ballot::new(7, 1)));
        tally.stood(Ballot::new(9, 2), &view(140, 130, Ballot::new(8, 2)));
        assert_eq!(tally.last_holder(), Some((1, true)));
        assert_eq!(tally.won(Ballot::new(9, 2), 150), Some((0, Some(50))));
    }
}
