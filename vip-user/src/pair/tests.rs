//! When a vote counts alone, case by case. Times are of leases of 50 ms: the gateway is asked every 25 ms, its answers count for
//! 150 ms, and who does not hold waits for 254 ms.

use super::*;

const MS: u64 = 1_000_000;
const T: u64 = 50 * MS;
const START: u64 = 10_000 * MS;
const NONE: Look = Look { may_hold: true, holds: false, lease_until: 0 };

/// One group of a node whose other voter was heard at `heard`.
struct Bench {
    pair: Pair,
    heard: u64,
    look: Look,
    /// The gateway answers at once.
    is_answered: bool,
    requests: Vec<u64>,
}

impl Bench {
    fn new(heard: u64, look: Look) -> Self {
        let mut pair = Pair::new(T, 1);
        pair.set_peer(Some(2));
        Self { pair, heard, look, is_answered: true, requests: Vec::new() }
    }

    /// A holder whose lease the other one has granted, as it did for a while.
    fn holder() -> Self {
        let mut bench =
            Self::new(START - 10 * MS, Look { lease_until: START + 20 * MS, holds: true, ..NONE });
        bench.at(START - 10 * MS);
        bench.look.lease_until = START + T;
        bench.heard = START;
        bench.at(START);
        bench
    }

    /// Looks at this time, asks if that is due, and is answered if the gateway does.
    fn at(&mut self, now: u64) -> bool {
        self.pair.look(now, self.heard, &[self.look]);
        if self.pair.poll_request(now) {
            self.requests.push(now);
            if self.is_answered {
                self.pair.handle_answer(now + MS / 10);
                self.pair.look(now + MS / 10, self.heard, &[self.look]);
            }
        }
        self.pair.is_alone(0)
    }

    /// Goes from deadline to deadline; says when the vote first counted as `wanted`.
    fn until(&mut self, wanted: bool, end: u64) -> Option<u64> {
        let mut steps = 0;
        while let Some(at) = self.pair.next_deadline().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps < 10_000, "the deadlines spin");
            if self.at(at) == wanted {
                return Some(at);
            }
        }
        None
    }
}

#[test]
fn the_wait_covers_the_others_timeout_and_lease_at_the_bounds_of_both_clocks() {
    for lease in [3 * MS, 20 * MS, T, 400 * MS, 10_000 * MS] {
        let Timing { timeout, wait, period, silence, .. } = Timing::of(lease);
        assert!(timeout >= 3 * lease && timeout >= 60 * MS && period >= 10 * MS && silence <= lease / 2);
        // The other one's clock is slower by 1 %; and both were answered for a lease.
        assert!((wait - lease) * 99 / 100 >= timeout + lease, "{lease}: {wait}");
    }
}

#[test]
fn while_the_other_one_is_heard_nobody_is_asked_and_no_vote_counts_alone() {
    let mut bench = Bench::new(START, Look { holds: true, lease_until: START + T, ..NONE });
    for now in (START..START + 1_000 * MS).step_by(5_000_000) {
        bench.heard = now;
        bench.look.lease_until = now + T;
        assert!(!bench.at(now));
    }
    assert!(bench.requests.is_empty());
    assert_eq!(bench.pair.answers(bench.heard), None);
    assert_eq!(bench.pair.next_deadline(), Some(bench.heard + T / 2));
}

#[test]
fn who_does_not_hold_waits_until_the_others_lease_must_be_over() {
    let mut bench = Bench::new(START, NONE);
    bench.at(START);
    let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
    let first = bench.requests[0];
    assert_eq!(first, START + T / 2);
    assert!(alone_at >= first + bench.pair.timing().wait, "{}", alone_at - first);
    assert!(alone_at <= first + bench.pair.timing().wait + MS);
    // It goes on as long as the gateway answers.
    assert_eq!(bench.until(false, START + 5_000 * MS), None);
}

#[test]
fn a_holder_whose_lease_the_other_one_has_granted_goes_on_before_that_ends() {
    let mut bench = Bench::holder();
    let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
    assert!(alone_at < START + T - 10 * MS, "{}", alone_at - START);
}

#[test]
fn a_holder_asks_in_haste_before_its_lease_ends() {
    let mut bench = Bench::holder();
    bench.is_answered = false;
    assert_eq!(bench.until(true, START + T), None);
    assert!(bench.requests.len() >= 4, "{:?}", bench.requests);
}

#[test]
fn without_the_gateway_no_vote_counts_alone() {
    for mut bench in [Bench::holder(), Bench::new(START, NONE)] {
        bench.is_answered = false;
        bench.at(START);
        assert_eq!(bench.until(true, START + 2_000 * MS), None);
        assert_eq!(bench.pair.answers(START + 2_000 * MS), Some(false));
    }
}

#[test]
fn a_vote_counts_no_longer_than_the_timeout_from_the_stamp_of_the_last_answer() {
    let mut bench = Bench::holder();
    bench.until(true, START + 1_000 * MS).unwrap();
    bench.is_answered = false;
    let last = bench.requests.last().copied().unwrap();
    let ended_at = bench.until(false, START + 1_000 * MS).unwrap();
    assert_eq!(ended_at, last + bench.pair.timing().timeout);
}

#[test]
fn an_answer_counts_from_the_stamp_of_its_request_and_not_from_when_it_comes() {
    let mut bench = Bench::new(0, Look { holds: true, lease_until: START + T, ..NONE });
    bench.is_answered = false;
    bench.look.lease_until = START;
    bench.at(START);
    bench.look.lease_until = START + T;
    bench.pair.handle_answer(START + 40 * MS);
    assert!(bench.at(START + 40 * MS));
    let timeout = bench.pair.timing().timeout;
    assert!(bench.at(START + timeout - 1));
    assert!(!bench.at(START + timeout));
}

#[test]
fn an_answer_counts_for_the_oldest_request_that_has_none() {
    let mut bench = Bench::new(0, NONE);
    bench.is_answered = false;
    bench.at(START);
    bench.at(START + 25 * MS);
    bench.pair.handle_answer(START + 26 * MS);
    let stale_at = START + bench.pair.timing().timeout;
    assert_eq!(bench.pair.answers(stale_at - 1), Some(true));
    assert_eq!(bench.pair.answers(stale_at), Some(false));
}

#[test]
fn an_answer_that_comes_too_late_or_unasked_counts_for_nothing() {
    let mut bench = Bench::new(0, NONE);
    bench.is_answered = false;
    bench.pair.handle_answer(START - MS);
    bench.at(START);
    assert_eq!(bench.pair.answers(START), Some(false));
    bench.pair.handle_answer(START + 50 * MS);
    assert_eq!(bench.pair.answers(START + 50 * MS), Some(false));
}

#[test]
fn it_ends_at_once_when_the_other_one_is_heard() {
    let mut bench = Bench::holder();
    let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
    bench.heard = alone_at + MS;
    assert!(!bench.at(alone_at + MS));
    assert_eq!(bench.pair.answers(alone_at + MS), None);
}

#[test]
fn an_answer_from_before_the_other_one_was_heard_counts_for_nothing() {
    let mut bench = Bench::holder();
    let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
    // The thread did not run when the other one was heard, and for a while after.
    bench.heard = alone_at + MS;
    bench.is_answered = false;
    assert!(!bench.at(alone_at + 40 * MS));
}

#[test]
fn a_lease_of_the_nodes_own_making_does_not_let_it_begin_again_without_the_wait() {
    let mut bench = Bench::holder();
    let mut now = bench.until(true, START + 1_000 * MS).unwrap();
    bench.look.lease_until = now + T - MS;
    bench.at(now);
    bench.heard = now + MS;
    assert!(!bench.at(now + MS));
    assert!(bench.pair.may_be_own(0, bench.look.lease_until, now + MS));
    // Silent again while that lease runs.
    let word = bench.look.lease_until;
    now += MS + T / 2;
    assert_eq!(bench.until(true, word - 1), None, "at {now}");
    // After the wait it may.
    bench.look = NONE;
    let again_at = bench.until(true, now + 1_000 * MS).unwrap();
    assert!(again_at >= bench.heard + bench.pair.timing().wait);
}

#[test]
fn a_lease_that_the_other_one_has_granted_since_lets_it_begin_at_once() {
    let mut bench = Bench::holder();
    let now = bench.until(true, START + 1_000 * MS).unwrap();
    bench.heard = now + 20 * MS;
    bench.look.lease_until = now + 20 * MS + T;
    assert!(!bench.at(now + 20 * MS));
    assert!(!bench.pair.may_be_own(0, bench.look.lease_until, now + 20 * MS));
    assert!(bench.until(true, now + 20 * MS + T).is_some());
}

#[test]
fn a_lease_of_an_earlier_daemon_counts_as_its_own_making() {
    let mut bench = Bench::new(START - T / 2, Look { holds: true, lease_until: START + T, ..NONE });
    bench.at(START);
    assert_eq!(bench.until(true, START + T - 1), None);
}

#[test]
fn a_gap_in_the_answers_begins_the_wait_anew() {
    let mut bench = Bench::new(START, NONE);
    bench.at(START);
    assert_eq!(bench.until(true, START + T), None);
    bench.is_answered = false;
    assert_eq!(bench.until(true, START + 350 * MS), None);
    bench.is_answered = true;
    let alone_at = bench.until(true, START + 2_000 * MS).unwrap();
    assert!(alone_at >= START + 350 * MS + bench.pair.timing().wait, "{}", (alone_at - START) / MS);
}

#[test]
fn a_lost_answer_does_not_begin_the_wait_anew_and_two_in_a_row_do() {
    for (lost, is_anew) in [(1, false), (2, true)] {
        let mut bench = Bench::new(START, NONE);
        bench.at(START);
        assert_eq!(bench.until(true, START + 100 * MS), None);
        let before = bench.requests.len();
        bench.is_answered = false;
        while bench.requests.len() < before + lost {
            let at = bench.pair.next_deadline().unwrap();
            bench.at(at);
        }
        // What was asked in vain is not answered late.
        bench.pair.unanswered.clear();
        bench.is_answered = true;
        let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
        let waited = alone_at - START - T / 2;
        assert_eq!(waited > bench.pair.timing().wait + T / 2, is_anew, "{lost}: {waited}");
    }
}

#[test]
fn a_lost_answer_or_two_end_nothing() {
    let mut bench = Bench::holder();
    bench.until(true, START + 1_000 * MS).unwrap();
    for round in 0..50 {
        bench.is_answered = round % 4 != 0;
        let at = bench.pair.next_deadline().unwrap();
        assert!(bench.at(at), "round {round}");
    }
}

#[test]
fn who_may_not_hold_asks_nobody() {
    let mut bench = Bench::new(0, Look { may_hold: false, ..NONE });
    assert!(!bench.at(START));
    assert_eq!((bench.pair.next_deadline(), bench.requests.len()), (None, 0));
}

#[test]
fn where_there_are_not_two_voters_nothing_is_asked_and_what_was_is_forgotten() {
    let mut bench = Bench::holder();
    let alone_at = bench.until(true, START + 1_000 * MS).unwrap();
    bench.pair.set_peer(None);
    assert!(!bench.pair.is_alone(0));
    assert!(!bench.at(alone_at + MS));
    assert_eq!(bench.pair.next_deadline(), None);
    bench.pair.set_peer(Some(3));
    bench.heard = alone_at;
    bench.look = NONE;
    assert!(bench.until(true, alone_at + bench.pair.timing().wait).is_none());
}

#[test]
fn each_group_goes_its_own_way() {
    // Input: this node holds one group, the other node held the other one. Expected: the wait is for that one alone.
    let mut pair = Pair::new(T, 2);
    pair.set_peer(Some(2));
    let looks = [Look { holds: true, lease_until: START + T, ..NONE }, NONE];
    pair.look(START - MS, START - MS, &[Look { lease_until: START, ..looks[0] }, NONE]);
    let now = START + T / 2;
    pair.look(now, START, &looks);
    assert!(pair.poll_request(now));
    pair.handle_answer(now);
    pair.look(now, START, &looks);
    assert!(pair.is_alone(0) && !pair.is_alone(1) && pair.is_alone_anywhere());
}
