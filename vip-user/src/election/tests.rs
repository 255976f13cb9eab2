//! The election's rules, one promise a test. Times are small enough to follow by hand: node 1 of three voters.

use super::*;

mod candidate;
mod follower;
mod handover;
mod holder;

const MS: u64 = 1_000_000;
const T: u64 = 50 * MS;
const INTERVAL: u64 = 10 * MS;
const STEP: u64 = 5 * MS;
const START: u64 = 1_000 * MS;
/// The lease of node 2 that has just begun in [`Bench::follower`].
const THEIRS: Ballot = Ballot::new(4, 2);

/// An election and what its data plane shows; the test plays the rest.
struct Bench {
    election: Election,
    view: View,
}

impl Bench {
    /// Nothing set yet; nobody has ever held the lease.
    fn bare() -> Self {
        let settings = Settings { node: 1, lease: T, interval: INTERVAL };
        let mut bench =
            Self { election: Election::new(settings, 7), view: View { now: START, ..View::default() } };
        assert_eq!(bench.actions(), [Action::SetRole(Role::Follower)]);
        bench
    }

    /// Node 2 has had the lease since now, and `candidates` are alive.
    fn follower(candidates: &[u16]) -> Self {
        let mut bench = Self::bare();
        bench.view.holder_until = START + T;
        bench.view.holder_ballot = THEIRS;
        bench.set_up(candidates);
        assert_eq!(bench.actions(), []);
        bench
    }

    /// Has sent Prepare.
    fn preparing() -> Self {
        let mut bench = Self::bare();
        bench.set_up(&[1, 2, 3]);
        assert_eq!(bench.actions(), [Action::Standing(ballot(1)), prepare(1, START)]);
        bench
    }

    /// Has sent Propose.
    fn proposing() -> Self {
        let mut bench = Self::preparing();
        bench.answer(1, Answer::Promise(ballot(1)));
        bench.answer(2, Answer::Promise(ballot(1)));
        let renewal = Renewal::new(ballot(1), T, &[1, 2, 3]);
        assert_eq!(bench.actions(), [Action::SetRenewal(renewal), propose(1, START)]);
        bench
    }

    /// Promoted at [`START`].
    fn holder() -> Self {
        let mut bench = Self::proposing();
        bench.answer(1, accepted(1, START));
        bench.answer(2, accepted(1, START));
        let until = START + T - T / 100;
        let expected = [Action::Arm { until }, Action::SetRole(Role::Holder), Action::Promoted(ballot(1))];
        assert_eq!(bench.actions(), expected);
        bench.view.lease_until = until;
        bench.view.holder_until = START + T;
        bench.view.holder_ballot = ballot(1);
        bench
    }

    fn set_up(&mut self, candidates: &[u16]) {
        self.election.set_voters(&[1, 2, 3], &self.view);
        self.election.set_candidates(candidates, &self.view);
        self.election.set_eligible(true, &self.view);
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.election.poll_action()).collect()
    }

    fn answer(&mut self, voter: u16, answer: Answer) {
        self.election.handle_answer(voter, answer, &self.view);
    }

    /// The timer at this time, and what it leads to.
    fn at(&mut self, now: u64) -> Vec<Action> {
        self.view.now = now;
        self.election.handle_timeout(&self.view);
        self.actions()
    }

    fn deadline(&self) -> u64 {
        self.election.next_deadline().expect("there is a deadline")
    }
}

fn ballot(round: u64) -> Ballot {
    Ballot::new(round, 1)
}

fn prepare(round: u64, sent_at: u64) -> Action {
    Action::Send { request: Request::Prepare(ballot(round)), sent_at }
}

fn propose(round: u64, sent_at: u64) -> Action {
    Action::Send { request: Request::Propose(ballot(round), T), sent_at }
}

fn release(round: u64, sent_at: u64) -> Action {
    Action::Send { request: Request::Release(ballot(round)), sent_at }
}

fn accepted(round: u64, sent_at: u64) -> Answer {
    Answer::Accepted { ballot: ballot(round), sent_at }
}

fn refused(reason: Reason, ballot: Ballot, duration: u64) -> Answer {
    Answer::Refused(Refusal { reason, ballot, duration, epoch: 9, sent_at: START })
}
