//! When a follower stands.

use super::*;

#[test]
fn only_an_eligible_voter_of_a_configuration_stands() {
    for (voters, eligible) in [(&[][..], true), (&[2, 3], true), (&[1, 2, 3], false)] {
        let mut bench = Bench::bare();
        bench.election.set_candidates(&[1, 2, 3], &bench.view);
        bench.election.set_voters(voters, &bench.view);
        bench.election.set_eligible(eligible, &bench.view);
        assert_eq!(bench.actions(), []);
        assert_eq!(bench.election.next_deadline(), None, "{voters:?} {eligible}");
        assert_eq!(bench.at(START + 10 * T), []);
    }
}

#[test]
fn nobody_stands_before_the_quarantine_is_over() {
    let mut bench = Bench::bare();
    bench.view.quarantine_until = START + 3 * T;
    bench.set_up(&[1, 2, 3]);
    assert_eq!(bench.deadline(), START + 3 * T);
    assert_eq!(bench.at(START + 3 * T - 1), []);
    assert_eq!(bench.at(START + 3 * T), [Action::Standing(ballot(1)), prepare(1, START + 3 * T)]);
}

/// Expected: the end of the lease as the own acceptor sees it, then one step for each fitter node but the last holder.
#[test]
fn fitter_nodes_go_first_and_the_last_holder_is_not_waited_for() {
    for (candidates, steps) in [(&[1, 2, 3][..], 0), (&[2, 1, 3], 0), (&[3, 2, 1], 1), (&[5, 3, 1], 2)] {
        let bench = Bench::follower(candidates);
        assert_eq!(bench.deadline(), START + T + steps * STEP, "{candidates:?}");
    }
}

#[test]
fn a_lease_renewed_meanwhile_is_found_at_the_deadline_and_waited_for() {
    let mut bench = Bench::follower(&[3, 1, 2]);
    bench.view.holder_until = START + 2 * T;
    assert_eq!(bench.at(START + T + STEP), []);
    assert_eq!(bench.deadline(), START + 2 * T + STEP);
    assert_eq!(bench.election.state(), State::Follower);
}

#[test]
fn the_first_ballot_is_above_the_last_holders() {
    let mut bench = Bench::follower(&[1, 2, 3]);
    assert_eq!(bench.at(START + T), [Action::Standing(ballot(5)), prepare(5, START + T)]);
}

#[test]
fn a_release_is_acted_on_at_once_by_the_fittest_and_after_its_delay_by_others() {
    for (candidates, steps) in [(&[2, 1, 3][..], 0), (&[2, 3, 1], 1)] {
        let mut bench = Bench::follower(candidates);
        bench.view.now = START + 3 * MS;
        bench.view.holder_until = START + 3 * MS;
        bench.election.handle_released(&bench.view);
        assert_eq!(bench.election.state() == State::Candidate, steps == 0);
        bench.at(START + 3 * MS + steps * STEP);
        assert_eq!(bench.election.state(), State::Candidate);
    }
}

/// Expected: a free lease is no reason to forget the delay, since all nodes may just have been let.
#[test]
fn a_node_that_was_just_let_stand_keeps_its_rank() {
    let mut bench = Bench::bare();
    bench.set_up(&[2, 3, 1]);
    assert_eq!(bench.deadline(), START + 2 * STEP);
}

#[test]
fn a_word_from_before_a_restart_is_renewed_at_once_and_serves_on_meanwhile() {
    let mut bench = Bench::bare();
    bench.view.lease_until = START + 20 * MS;
    bench.view.holder_until = START + 21 * MS;
    bench.view.holder_ballot = ballot(6);
    bench.set_up(&[2, 3, 1]);
    assert_eq!(bench.actions(), [Action::Standing(ballot(7)), prepare(7, START)], "and no Disarm");
}

#[test]
fn a_word_that_ended_before_the_restart_is_disarmed_and_has_no_precedence() {
    let mut bench = Bench::bare();
    bench.view.lease_until = START;
    bench.view.holder_until = START + MS;
    bench.view.holder_ballot = ballot(6);
    bench.election.set_voters(&[1, 2, 3], &bench.view);
    assert_eq!(bench.actions(), [Action::Disarm]);
    bench.view.lease_until = 0;
    bench.set_up(&[2, 3, 1]);
    assert_eq!(bench.deadline(), START + MS + 2 * STEP);
}

#[test]
fn a_node_that_may_not_hold_gives_a_word_from_before_its_restart_back() {
    for voter in [true, false] {
        let mut bench = Bench::bare();
        bench.view.lease_until = START + 20 * MS;
        bench.view.holder_ballot = ballot(6);
        bench.election.set_voters(&[], &bench.view);
        assert_eq!(bench.actions(), [], "without a configuration nothing is known yet");
        if voter {
            bench.election.set_eligible(false, &bench.view);
        } else {
            bench.election.set_voters(&[2, 3, 4], &bench.view);
        }
        assert_eq!(bench.actions(), [Action::Disarm, release(6, START)]);
    }
}

#[test]
fn more_voters_than_a_configuration_may_have_are_none() {
    let mut bench = Bench::bare();
    let voters: Vec<u16> = (1..=17).collect();
    bench.election.set_eligible(true, &bench.view);
    bench.election.set_voters(&voters, &bench.view);
    assert_eq!(bench.election.next_deadline(), None);
}
