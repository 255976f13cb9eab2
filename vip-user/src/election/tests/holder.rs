//! How a holder renews, and how it ceases to hold.

use super::*;

impl Bench {
    /// The data plane has extended the word.
    fn extend(&mut self, sent_at: u64) {
        self.view.lease_until = sent_at + T - T / 100;
    }
}

#[test]
fn renewals_keep_the_beat_and_the_ballot() {
    let mut bench = Bench::holder();
    for beat in 1..20 {
        let due = START + beat * INTERVAL;
        assert_eq!(bench.deadline(), due);
        assert_eq!(bench.at(due - 1), []);
        assert_eq!(bench.at(due + MS), [propose(1, due + MS)]);
        bench.extend(due + MS);
    }
}

#[test]
fn missed_renewals_are_not_made_up_for() {
    let mut bench = Bench::holder();
    assert_eq!(bench.at(START + 35 * MS), [propose(1, START + 35 * MS)]);
    assert_eq!(bench.deadline(), START + 40 * MS);
}

/// Input: the own acceptor's answers, and a voter that refuses each renewal.
#[test]
fn the_steady_state_asks_for_one_action_per_interval_and_its_queue_never_grows() {
    let mut bench = Bench::holder();
    let before = bench.election.actions.capacity();
    for beat in 1..1_000 {
        let now = START + beat * INTERVAL;
        assert_eq!(bench.at(now).len(), 1);
        bench.answer(1, accepted(1, now));
        bench.answer(3, refused(Reason::Held, THEIRS, MS));
        bench.extend(now);
    }
    assert_eq!(bench.election.actions.capacity(), before);
}

#[test]
fn a_word_that_ended_demotes_and_the_node_goes_behind_the_others() {
    let mut bench = Bench::holder();
    bench.view.holder_until = START + T;
    let lapsed = [Action::Disarm, Action::SetRole(Role::Follower), Action::Demoted(Demotion::Lapsed)];
    assert_eq!(bench.at(START + T - T / 100), lapsed);
    assert_eq!(bench.deadline(), START + T + STEP, "its own lease at the acceptor, and one step");
}

#[test]
fn a_voter_that_promised_more_is_won_back_by_a_higher_ballot_once_per_lease() {
    let mut bench = Bench::holder();
    bench.answer(3, refused(Reason::Promised, Ballot::new(5, 3), 0));
    assert_eq!(bench.actions(), [], "not before the next renewal");
    let due = START + INTERVAL;
    let renewal = Renewal::new(ballot(6), T, &[1, 2, 3]);
    assert_eq!(bench.at(due), [Action::SetRenewal(renewal), propose(6, due)], "in this order");
    bench.answer(3, refused(Reason::Promised, Ballot::new(5, 3), 0));
    bench.extend(due);
    assert_eq!(bench.at(due + INTERVAL), [propose(6, due + INTERVAL)], "an old refusal");
    bench.answer(3, refused(Reason::Promised, Ballot::new(7, 3), 0));
    for beat in 2..5 {
        let now = due + beat * INTERVAL;
        bench.extend(now);
        assert_eq!(bench.at(now), [propose(6, now)], "too soon");
    }
    assert_eq!(bench.at(due + T)[1], propose(8, due + T));
}

#[test]
fn refusals_of_strangers_of_voters_that_follow_another_lease_and_of_old_requests_are_ignored() {
    let mut bench = Bench::holder();
    bench.answer(3, refused(Reason::Promised, Ballot::new(0, 3), 0));
    bench.answer(9, refused(Reason::Promised, Ballot::new(5, 3), 0));
    bench.answer(3, refused(Reason::Held, Ballot::new(5, 3), 30 * MS));
    assert_eq!(bench.at(START + INTERVAL), [propose(1, START + INTERVAL)]);
}

#[test]
fn notices_come_once_per_lease_length() {
    let mut bench = Bench::holder();
    let notice = Action::Notice(Notice::OldEpoch { voter: 3, epoch: 9 });
    for (after, expected) in [(0, &[notice][..]), (T - 1, &[]), (T, &[notice])] {
        bench.view.now = START + after;
        bench.answer(3, refused(Reason::OldEpoch, ballot(1), 0));
        assert_eq!(bench.actions(), expected, "after {after} ns");
    }
}

#[test]
fn new_voters_renew_under_a_new_ballot() {
    let mut bench = Bench::holder();
    bench.election.set_voters(&[1, 2, 3, 4], &bench.view);
    assert_eq!(bench.actions(), []);
    let renewal = Renewal::new(ballot(2), T, &[1, 2, 3, 4]);
    let due = START + INTERVAL;
    assert_eq!(bench.at(due), [Action::SetRenewal(renewal), propose(2, due)]);
}

/// Input: the new voter, without which there is no quorum, has once promised more than this node has ever heard of.
#[test]
fn new_voters_that_have_promised_more_are_won_at_the_next_renewal() {
    let mut bench = Bench::holder();
    bench.election.set_voters(&[1, 4], &bench.view);
    bench.at(START + INTERVAL);
    bench.answer(4, refused(Reason::Promised, Ballot::new(6, 2), 0));
    let due = START + 2 * INTERVAL;
    assert_eq!(bench.at(due)[1], propose(7, due));
}

/// Expected: the word is disarmed before the voters are told that they are free, and before anybody else is told.
#[test]
fn a_lease_is_given_back_only_after_the_word_is_disarmed() {
    let by_release: fn(&mut Bench) = |bench| bench.election.release(&bench.view);
    let by_unfitness: fn(&mut Bench) = |bench| bench.election.set_eligible(false, &bench.view);
    let by_removal: fn(&mut Bench) = |bench| bench.election.set_voters(&[2, 3, 4], &bench.view);
    let by_end_of_configuration: fn(&mut Bench) = |bench| bench.election.set_voters(&[], &bench.view);
    for (give_back, demotion) in [
        (by_release, Demotion::Released),
        (by_unfitness, Demotion::Unfit),
        (by_removal, Demotion::Unfit),
        (by_end_of_configuration, Demotion::Unfit),
    ] {
        let mut bench = Bench::holder();
        give_back(&mut bench);
        let expected =
            [Action::Disarm, Action::SetRole(Role::Follower), release(1, START), Action::Demoted(demotion)];
        assert_eq!(bench.actions(), expected);
        assert_eq!(bench.election.state(), State::Follower);
    }
}

#[test]
fn whoever_gave_the_lease_back_leaves_it_to_others_for_a_lease_length() {
    let mut bench = Bench::holder();
    bench.election.set_candidates(&[2, 1, 3], &bench.view);
    bench.election.release(&bench.view);
    bench.actions();
    assert_eq!(bench.deadline(), START + T + STEP, "and then it keeps its rank");
    bench.view.lease_until = 0;
    bench.view.holder_until = START;
    bench.election.handle_released(&bench.view);
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.at(START + T), []);
    assert_eq!(bench.at(START + T + STEP)[0], Action::Standing(ballot(2)));
}

#[test]
fn a_holder_in_quarantine_does_not_propose() {
    let mut bench = Bench::holder();
    bench.view.quarantine_until = START + 2 * T;
    assert_eq!(bench.at(START + INTERVAL), []);
    assert_eq!(bench.deadline(), START + 2 * INTERVAL);
}

#[test]
fn a_lease_held_again_makes_up_for_one_that_lapsed() {
    let mut bench = Bench::holder();
    bench.at(START + T);
    bench.view.lease_until = 0;
    let now = START + T + STEP;
    assert_eq!(bench.at(now), [Action::Standing(ballot(2)), prepare(2, now)]);
    for voter in [1, 2] {
        bench.answer(voter, Answer::Promise(ballot(2)));
    }
    for voter in [1, 2] {
        bench.answer(voter, accepted(2, now));
    }
    assert_eq!(bench.election.state(), State::Holder);
    bench.election.release(&bench.view);
    assert_eq!(bench.deadline(), now + T, "without the step for a lapse");
}
