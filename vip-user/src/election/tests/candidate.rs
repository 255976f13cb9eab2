//! How a candidacy goes, and what follows when it fails.

use super::quorum::{Outcome, Vote, Votes};
use super::*;

#[test]
fn only_a_quorum_of_different_voters_that_promise_this_ballot_lets_a_candidate_propose() {
    let mut bench = Bench::preparing();
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(2, Answer::Promise(ballot(2)));
    bench.answer(9, Answer::Promise(ballot(1)));
    bench.answer(3, accepted(1, START));
    assert_eq!(bench.actions(), []);
    bench.answer(3, Answer::Promise(ballot(1)));
    let renewal = Renewal::new(ballot(1), T, &[1, 2, 3]);
    assert_eq!(bench.actions(), [Action::SetRenewal(renewal), propose(1, START)], "in this order");
}

#[test]
fn only_a_quorum_that_accepted_this_proposal_promotes() {
    let mut bench = Bench::proposing();
    bench.answer(1, accepted(1, START));
    bench.answer(1, accepted(1, START));
    bench.answer(2, accepted(2, START));
    bench.answer(2, accepted(1, START + 1));
    bench.answer(9, accepted(1, START));
    bench.answer(3, Answer::Promise(ballot(1)));
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.election.state(), State::Candidate);
    bench.answer(3, accepted(1, START));
    assert_eq!(bench.election.state(), State::Holder);
}

#[test]
fn a_quorum_that_comes_after_the_lease_does_not_promote() {
    let mut bench = Bench::proposing();
    bench.view.now = START + T - T / 100;
    bench.answer(1, accepted(1, START));
    bench.answer(2, accepted(1, START));
    assert_eq!(bench.actions(), []);
    bench.at(bench.view.now);
    assert_eq!(bench.election.state(), State::Follower);
}

#[test]
fn the_only_voter_of_a_cluster_elects_itself() {
    let mut bench = Bench::bare();
    bench.election.set_voters(&[1], &bench.view);
    bench.election.set_eligible(true, &bench.view);
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(1, accepted(1, START));
    assert_eq!(bench.election.state(), State::Holder);
}

#[test]
fn without_answers_a_candidate_gives_up_and_tries_again_after_less_than_a_step() {
    let mut bench = Bench::preparing();
    assert_eq!(bench.deadline(), START + T / 4);
    assert_eq!(bench.at(START + T / 4 - 1), []);
    assert_eq!(bench.at(START + T / 4), [Action::GaveUp(GiveUp::NoAnswer)]);
    let again = bench.deadline();
    assert!((START + T / 4..START + T / 4 + STEP).contains(&again), "{again}");
    assert_eq!(bench.at(again), [Action::Standing(ballot(2)), prepare(2, again)]);
}

/// Input: both others hold on to a lease for 20 and 30 ms more. Expected: with the own vote, one of them is enough.
#[test]
fn where_voters_hold_on_to_a_lease_it_waits_until_enough_of_them_let_go() {
    let mut bench = Bench::preparing();
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(3, refused(Reason::Held, THEIRS, 30 * MS));
    assert_eq!(bench.actions(), []);
    bench.answer(2, refused(Reason::Held, THEIRS, 20 * MS));
    assert_eq!(bench.actions(), [Action::GaveUp(GiveUp::Refused)]);
    assert_eq!(bench.deadline(), START + 20 * MS);
    assert_eq!(bench.at(START + 20 * MS)[0], Action::Standing(ballot(5)), "above the ballot in the way");
}

#[test]
fn where_voters_have_promised_more_it_raises_its_round_after_a_random_time() {
    let again = |seed| {
        let mut bench = Bench::preparing();
        bench.election.random = SmallRng::seed_from_u64(seed);
        bench.answer(2, refused(Reason::Promised, Ballot::new(8, 3), 0));
        bench.answer(3, refused(Reason::Promised, Ballot::new(7, 3), 0));
        assert_eq!(bench.actions(), [Action::GaveUp(GiveUp::Refused)]);
        let again = bench.deadline();
        assert!((START..START + 2 * STEP).contains(&again), "{again}");
        assert_eq!(bench.at(again), [Action::Standing(ballot(9)), prepare(9, again)]);
        again
    };
    assert_ne!(again(1), again(2), "two candidates do not meet again");
}

/// Input: the other one that is alive lets go 30 us after the own acceptor; the third is dead.
#[test]
fn it_does_not_wait_for_the_dead_where_the_living_are_a_quorum() {
    let mut bench = Bench::preparing();
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(2, refused(Reason::Held, THEIRS, 30_000));
    assert_eq!(bench.election.state(), State::Candidate, "the third may still answer");
    assert_eq!(bench.deadline(), START + 30_000);
    assert_eq!(bench.at(START + 30_000), [Action::Standing(ballot(5)), prepare(5, START + 30_000)]);
}

#[test]
fn it_does_not_stand_anew_against_a_node_that_was_faster() {
    let mut bench = Bench::preparing();
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(2, refused(Reason::Held, THEIRS, 30_000));
    bench.view.holder_until = START + T;
    bench.view.holder_ballot = Ballot::new(6, 3);
    assert_eq!(bench.at(START + 30_000), [Action::GaveUp(GiveUp::Refused)]);
    assert_eq!(bench.deadline(), START + T);
}

#[test]
fn a_voter_that_has_not_heard_of_a_release_is_asked_again_soon_and_once() {
    let mut bench = Bench::follower(&[1, 3]);
    bench.view.now = START + MS;
    bench.view.holder_until = START + MS;
    bench.election.handle_released(&bench.view);
    assert_eq!(bench.actions()[1], prepare(5, START + MS));
    let held = |sent_at| {
        let (reason, duration) = (Reason::Held, 40 * MS);
        Answer::Refused(Refusal { reason, ballot: THEIRS, duration, epoch: 1, sent_at })
    };
    bench.answer(1, Answer::Promise(ballot(5)));
    bench.answer(3, held(START + MS));
    assert_eq!(bench.at(START + 2 * MS)[1], prepare(6, START + 2 * MS));
    bench.answer(1, Answer::Promise(ballot(6)));
    bench.answer(3, held(START + 2 * MS));
    assert_eq!(bench.deadline(), START + 2 * MS + T / 4);
}

#[test]
fn what_only_an_operator_can_change_is_told_once_and_tried_again_after_a_lease() {
    let too_long = Notice::LeaseTooLong { voter: 2, longest: 20 * MS };
    let old_epoch = Notice::OldEpoch { voter: 2, epoch: 9 };
    for (reason, notice) in [(Reason::TooLong, too_long), (Reason::OldEpoch, old_epoch)] {
        let mut bench = Bench::preparing();
        bench.answer(2, refused(reason, ballot(1), 20 * MS));
        bench.answer(2, refused(reason, ballot(1), 20 * MS));
        bench.answer(3, refused(reason, ballot(1), 20 * MS));
        assert_eq!(bench.actions(), [Action::Notice(notice), Action::GaveUp(GiveUp::Refused)]);
        assert_eq!(bench.deadline(), START + T);
    }
}

#[test]
fn refusals_of_strangers_of_earlier_requests_and_repeated_ones_change_nothing() {
    let mut bench = Bench::preparing();
    let promised = refused(Reason::Promised, Ballot::new(8, 3), 0);
    bench.answer(9, promised);
    bench.answer(8, promised);
    let (reason, sent_at) = (Reason::Promised, START - 1);
    let stale = Answer::Refused(Refusal { reason, ballot: THEIRS, duration: 0, epoch: 1, sent_at });
    bench.answer(2, stale);
    bench.answer(3, stale);
    bench.answer(3, promised);
    bench.answer(3, promised);
    assert_eq!(bench.election.state(), State::Candidate);
    assert_eq!(bench.actions(), []);
}

#[test]
fn a_proposal_that_is_withdrawn_frees_the_voters_that_accepted_it() {
    let mut bench = Bench::proposing();
    bench.answer(1, accepted(1, START));
    bench.election.release(&bench.view);
    assert_eq!(bench.actions(), [release(1, START), Action::GaveUp(GiveUp::Withdrawn)]);
    assert_eq!(bench.deadline(), START + T, "the others first");
    bench.answer(2, accepted(1, START));
    assert_eq!(bench.actions(), [], "too late");
}

/// Input: it stood to renew a word from before its restart.
#[test]
fn a_word_that_still_serves_is_disarmed_before_a_candidacy_is_released() {
    let mut bench = Bench::proposing();
    bench.view.lease_until = START + 20 * MS;
    bench.election.set_eligible(false, &bench.view);
    assert_eq!(bench.actions(), [Action::Disarm, release(1, START), Action::GaveUp(GiveUp::Withdrawn)]);
    assert_eq!(bench.election.next_deadline(), None);
}

#[test]
fn new_voters_are_asked_anew_at_once() {
    let mut bench = Bench::proposing();
    bench.election.set_voters(&[1, 2, 3, 4], &bench.view);
    assert_eq!(bench.actions(), [Action::Standing(ballot(2)), prepare(2, START)]);
    bench.election.set_voters(&[1, 2, 3, 4], &bench.view);
    assert_eq!(bench.actions(), [], "the same ones are not new");
}

#[test]
fn a_candidate_whose_acceptor_has_forgotten_does_not_propose() {
    let mut bench = Bench::preparing();
    bench.view.quarantine_until = START + T;
    bench.answer(1, Answer::Promise(ballot(1)));
    bench.answer(2, Answer::Promise(ballot(1)));
    assert_eq!(bench.actions(), [Action::GaveUp(GiveUp::Quarantine)]);
    assert_eq!(bench.deadline(), START + T);
}

/// Expected, for every number of voters and answers: won with a quorum, lost when the rest cannot make one.
#[test]
fn votes_are_decided_as_soon_as_they_can_be() {
    for voters in 1..=MAX_VOTERS {
        for agreed in 0..=voters {
            for refused in 0..=voters - agreed {
                let mut votes = Votes::new(voters);
                for place in 0..agreed + refused {
                    votes.record(place, if place < agreed { Vote::For } else { Vote::Against(7) });
                }
                let is_won = 2 * agreed > voters;
                let is_lost = 2 * (voters - refused) <= voters;
                match votes.outcome() {
                    Outcome::Won => assert!(is_won),
                    Outcome::Lost { .. } => assert!(is_lost),
                    Outcome::Pending { possible_at } => {
                        assert!(!is_won && !is_lost);
                        assert_eq!(possible_at.is_some(), 2 * (agreed + refused) > voters);
                    }
                }
            }
        }
    }
}

#[test]
fn lost_votes_name_the_first_time_at_which_a_quorum_is_possible_again() {
    let mut votes = Votes::new(5);
    for (place, until) in [(0, 50), (1, 20), (2, 40)] {
        assert!(matches!(votes.outcome(), Outcome::Pending { .. }));
        votes.record(place, Vote::Against(until));
        votes.record(place, Vote::For);
    }
    assert_eq!(votes.outcome(), Outcome::Lost { possible_at: 20 }, "one has to let go");
    votes.record(3, Vote::Against(30));
    assert_eq!(votes.outcome(), Outcome::Lost { possible_at: 30 }, "two have to");
    votes.record(4, Vote::Against(0));
    assert_eq!(votes.outcome(), Outcome::Lost { possible_at: 30 }, "three have to, one does at once");
}

/// Input: the other candidate is in the way three times, and each time the own acceptor holds on to a lease for as long.
/// Expected: as long as its rank the first time, as at any lease; then longer, by chance.
#[test]
fn candidates_that_are_in_each_others_way_again_and_again_part() {
    let waits = |seed| {
        let mut bench = Bench::preparing();
        bench.election.random = SmallRng::seed_from_u64(seed);
        [1, 2, 3].map(|_| {
            let sent_at = bench.view.now;
            bench.view.holder_until = sent_at + T;
            for voter in [2, 3] {
                let (reason, duration) = (Reason::Held, T);
                bench.answer(
                    voter,
                    Answer::Refused(Refusal { reason, ballot: THEIRS, duration, epoch: 1, sent_at }),
                );
            }
            assert_eq!(bench.actions().last(), Some(&Action::GaveUp(GiveUp::Refused)));
            let (over, again) = (bench.view.holder_until, bench.deadline());
            assert!((over..over + 2 * STEP).contains(&again), "{again}");
            bench.at(again);
            again - over
        })
    };
    let ([first, second, third], others) = (waits(1), waits(2));
    assert_eq!([first, others[0]], [0, 0]);
    assert!(second != others[1] && third != others[2], "{second} {third} {others:?}");
}
