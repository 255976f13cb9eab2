//! How a lease goes from its holder to another node while it runs: node 1 gives to node 2, or takes from it.

use super::*;

/// Under which node 2 asks for the lease of [`Bench::holder`].
const ASKED: Ballot = Ballot::new(2, 2);
/// Stamp of its Ask, by its own clock.
const STAMP: u64 = 77;
/// When the word of [`Bench::holder`] ends.
const WORD: u64 = START + T - T / 100;
/// When node 1 hears the Offer of node 2, and asks.
const OFFERED: u64 = START + 8 * MS;

impl Bench {
    /// Holds, and offers the lease to node 2.
    fn offering() -> Self {
        let mut bench = Self::holder();
        bench.election.hand_over(2, &bench.view);
        assert_eq!(bench.actions(), [Action::Offer(Ballot::new(1, 2))]);
        bench
    }

    /// Has handed the lease over to node 2; no acceptor has heard of it.
    fn given() -> Self {
        let mut bench = Self::offering();
        bench.ask(2, ASKED, STAMP);
        assert_eq!(bench.actions().len(), 5);
        bench.view.lease_until = 0;
        bench
    }

    fn ask(&mut self, from: u16, ballot: Ballot, sent_at: u64) {
        self.election.handle_ask(from, ballot, sent_at, &self.view);
    }

    /// Follows node 2, and has asked for the lease that it offers.
    fn asking() -> Self {
        let mut bench = Self::follower(&[1, 2, 3]);
        bench.view.now = OFFERED;
        assert_eq!(bench.offered(2, Ballot::new(4, 1)), [asks(5, OFFERED)]);
        bench
    }

    fn offered(&mut self, from: u16, ballot: Ballot) -> Vec<Action> {
        self.election.handle_offer(from, ballot, &self.view);
        self.actions()
    }

    /// Node 2 grants 30 ms of its lease, as an answer to the request of [`Bench::asking`].
    fn granted(&mut self) -> Vec<Action> {
        self.election.handle_grant(2, ballot(5), OFFERED, 30 * MS, &self.view);
        self.actions()
    }
}

fn asks(round: u64, sent_at: u64) -> Action {
    Action::Ask { ballot: ballot(round), sent_at }
}

fn transfer(left: u64, sent_at: u64) -> Action {
    Action::Send { request: Request::Transfer { from: 1, to: ASKED, left }, sent_at }
}

fn failed(to: u16, reason: HandoverFailure) -> Action {
    Action::HandoverFailed { to, reason }
}

// The holder.

#[test]
fn a_lease_is_offered_at_once_and_with_each_renewal() {
    let mut bench = Bench::offering();
    for beat in 1..4 {
        let due = START + beat * INTERVAL;
        assert_eq!(bench.at(due), [Action::Offer(Ballot::new(1, 2)), propose(1, due)]);
    }
}

#[test]
fn where_nobody_asks_the_handover_fails_after_two_leases_and_the_holder_goes_on() {
    let mut bench = Bench::offering();
    bench.view.lease_until = START + 4 * T;
    bench.view.holder_until = START + 4 * T;
    assert_eq!(bench.at(START + 2 * T - 1).len(), 2, "renewed and offered");
    let due = START + 2 * T;
    assert_eq!(bench.at(due), [failed(2, HandoverFailure::NobodyAsked), propose(1, due)]);
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), [], "too late");
    assert_eq!(bench.at(due + INTERVAL), [propose(1, due + INTERVAL)]);
}

/// Expected: nobody can take the VIP before this node has stopped answering for it, and the acceptors know of the new
/// holder before it renews.
#[test]
fn what_is_left_is_granted_after_the_word_is_disarmed_and_the_acceptors_are_told() {
    let mut bench = Bench::offering();
    bench.view.now = START + 9 * MS;
    bench.ask(2, ASKED, STAMP);
    let left = WORD - (START + 9 * MS);
    let expected = [
        Action::Disarm,
        Action::SetRole(Role::Follower),
        transfer(left, START + 9 * MS),
        Action::Grant { ballot: ASKED, sent_at: STAMP, left },
        Action::Demoted(Demotion::HandedOver { to: 2 }),
    ];
    assert_eq!(bench.actions(), expected);
    assert_eq!(bench.election.state(), State::Follower);
}

#[test]
fn only_the_node_that_is_offered_the_lease_gets_it() {
    let mut bench = Bench::holder();
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), [], "nothing is offered");
    let mut bench = Bench::offering();
    bench.ask(3, Ballot::new(2, 3), STAMP);
    bench.ask(3, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.election.state(), State::Holder);
}

/// Input: the holder has raised its ballot since it offered. Expected: a lease that could not be renewed is not given.
#[test]
fn a_ballot_that_is_not_above_the_holders_gets_nothing() {
    let mut bench = Bench::offering();
    bench.ask(2, Ballot::new(0, 2), STAMP);
    assert_eq!(bench.actions(), []);
    bench.answer(3, refused(Reason::Promised, Ballot::new(5, 3), 0));
    let due = START + INTERVAL;
    bench.at(due);
    assert_eq!(bench.at(due + INTERVAL)[0], Action::Offer(Ballot::new(6, 2)), "it learns of the round");
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
    bench.ask(2, Ballot::new(7, 2), STAMP);
    assert_eq!(bench.election.state(), State::Follower);
}

#[test]
fn a_lease_that_has_ended_is_not_given() {
    let mut bench = Bench::offering();
    bench.view.now = WORD;
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
    let lapsed = [Action::Disarm, Action::SetRole(Role::Follower), Action::Demoted(Demotion::Lapsed)];
    assert_eq!(bench.at(WORD), lapsed);
}

/// Input: the quorum that granted the lease is of the others. Expected: nothing is given, since after a restart the own
/// acceptor would not keep this node from standing again.
#[test]
fn a_lease_that_the_own_acceptor_does_not_know_of_is_not_given() {
    type Change = fn(&mut View);
    let cases: [(&str, Change); 4] = [
        ("another one's", |view| view.holder_ballot = THEIRS),
        ("over", |view| view.holder_until = view.now),
        ("forgotten", |view| view.quarantine_until = view.now + 1),
        ("known", |_| ()),
    ];
    for (what, change) in cases {
        let mut bench = Bench::offering();
        change(&mut bench.view);
        bench.ask(2, ASKED, STAMP);
        assert_eq!(bench.actions().is_empty(), what != "known", "{what}");
    }
}

#[test]
fn a_lease_that_was_given_back_meanwhile_is_not_given() {
    let mut bench = Bench::offering();
    bench.election.release(&bench.view);
    bench.actions();
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
}

/// Input: no acceptor, not even its own, has heard of the Transfer. Expected: they would let this node in, but the new
/// holder may serve, so this node waits.
#[test]
fn whoever_gave_a_lease_away_proposes_nothing_until_the_time_it_gave_is_over() {
    let mut bench = Bench::given();
    bench.view.holder_until = START + MS;
    bench.election.set_candidates(&[1, 2, 3], &bench.view);
    bench.election.set_eligible(true, &bench.view);
    bench.election.set_voters(&[1, 2, 3, 4], &bench.view);
    bench.election.handle_released(&bench.view);
    assert_eq!(bench.at(WORD - 1), []);
    assert_eq!(bench.deadline(), WORD);
    assert_eq!(bench.at(WORD)[1], prepare(3, WORD), "above the ballot that it gave to");
}

#[test]
fn an_ask_whose_grant_was_lost_gets_what_is_still_left_until_that_is_over() {
    let mut bench = Bench::given();
    bench.view.now = START + 20 * MS;
    bench.ask(2, ASKED, STAMP + 20 * MS);
    let left = WORD - (START + 20 * MS);
    let expected =
        [transfer(left, START + 20 * MS), Action::Grant { ballot: ASKED, sent_at: STAMP + 20 * MS, left }];
    assert_eq!(bench.actions(), expected);
    bench.view.now = WORD;
    bench.ask(2, ASKED, STAMP + T);
    assert_eq!(bench.actions(), []);
}

#[test]
fn under_another_ballot_nothing_is_granted_twice() {
    let mut bench = Bench::given();
    bench.ask(2, Ballot::new(3, 2), STAMP);
    bench.ask(3, Ballot::new(3, 3), STAMP);
    bench.ask(3, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
}

/// Input: the lease came back before its time was over, and then an Ask from before.
#[test]
fn whoever_holds_again_does_not_give_what_it_gave_before() {
    let mut bench = Bench::given();
    bench.view.holder_ballot = ASKED;
    assert_eq!(bench.offered(2, Ballot::new(2, 1)), [asks(3, START)]);
    bench.election.handle_grant(2, ballot(3), START, 30 * MS, &bench.view);
    assert_eq!(bench.election.state(), State::Holder);
    bench.actions();
    bench.view.lease_until = START + 29 * MS;
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.election.state(), State::Holder);
}

#[test]
fn who_does_not_hold_cannot_hand_over() {
    for mut bench in [Bench::follower(&[1, 2, 3]), Bench::proposing(), Bench::given()] {
        bench.election.hand_over(2, &bench.view);
        assert_eq!(bench.actions(), [failed(2, HandoverFailure::NotHolder)]);
    }
    let mut bench = Bench::holder();
    bench.view.now = WORD;
    bench.election.hand_over(2, &bench.view);
    assert_eq!(bench.actions(), [failed(2, HandoverFailure::NotHolder)]);
}

#[test]
fn a_lease_is_handed_to_another_voter_only() {
    for to in [1, 9] {
        let mut bench = Bench::holder();
        bench.election.hand_over(to, &bench.view);
        assert_eq!(bench.actions(), [failed(to, HandoverFailure::NoVoter)]);
        assert_eq!(bench.at(START + INTERVAL), [propose(1, START + INTERVAL)]);
    }
}

#[test]
fn the_target_named_last_counts() {
    let mut bench = Bench::offering();
    bench.election.hand_over(2, &bench.view);
    assert_eq!(bench.actions(), [Action::Offer(Ballot::new(1, 2))], "the same one is no other");
    bench.election.hand_over(3, &bench.view);
    assert_eq!(bench.actions(), [failed(2, HandoverFailure::Replaced), Action::Offer(Ballot::new(1, 3))]);
    bench.ask(2, ASKED, STAMP);
    assert_eq!(bench.actions(), []);
}

// The target.

#[test]
fn a_follower_asks_under_a_ballot_above_all_that_it_knows() {
    let mut bench = Bench::follower(&[1, 2, 3]);
    bench.view.now = OFFERED;
    assert_eq!(bench.offered(2, Ballot::new(8, 1)), [asks(9, OFFERED)], "above the offer's round");
    let mut bench = Bench::follower(&[1, 2, 3]);
    assert_eq!(bench.offered(2, Ballot::new(1, 1)), [asks(5, START)], "above the last holder's");
}

#[test]
fn offers_to_others_of_strangers_and_of_who_does_not_hold_are_not_asked_for() {
    let mut bench = Bench::follower(&[1, 2, 3]);
    for (from, to) in [(2, 3), (9, 1), (3, 1), (1, 1)] {
        assert_eq!(bench.offered(from, Ballot::new(4, to)), [], "from {from} to {to}");
    }
    bench.view.now = START + T;
    assert_eq!(bench.offered(3, Ballot::new(4, 1)), [asks(5, START + T)], "that lease is over");
}

#[test]
fn who_may_not_hold_does_not_ask() {
    let offered = |set: fn(&mut Bench)| {
        let mut bench = Bench::follower(&[1, 2, 3]);
        set(&mut bench);
        bench.actions();
        bench.offered(2, Ballot::new(4, 1))
    };
    assert_eq!(offered(|bench| bench.election.set_eligible(false, &bench.view)), []);
    assert_eq!(offered(|bench| bench.election.set_voters(&[2, 3], &bench.view)), []);
    assert_eq!(offered(|bench| bench.view.quarantine_until = START + 1), []);
    assert_eq!(offered(|_| ()), [asks(5, START)]);
}

#[test]
fn who_stands_or_holds_does_not_ask() {
    for mut bench in [Bench::preparing(), Bench::proposing(), Bench::holder()] {
        assert_eq!(bench.offered(2, Ballot::new(4, 1)), []);
    }
}

#[test]
fn a_further_offer_is_asked_for_under_the_same_ballot_with_a_new_stamp() {
    let mut bench = Bench::asking();
    bench.view.now = OFFERED + MS;
    assert_eq!(bench.offered(2, Ballot::new(4, 1)), [asks(5, OFFERED + MS)]);
    assert_eq!(bench.offered(2, Ballot::new(7, 1)), [asks(8, OFFERED + MS)], "of a higher round");
}

#[test]
fn an_ask_is_repeated_with_new_stamps_and_forgotten_after_a_lease() {
    let mut bench = Bench::asking();
    bench.view.holder_until = OFFERED + 2 * T;
    for repeat in (1..10).map(|number| OFFERED + number * STEP) {
        assert_eq!(bench.deadline(), repeat);
        assert_eq!(bench.at(repeat - 1), []);
        assert_eq!(bench.at(repeat), [asks(5, repeat)]);
    }
    let end = OFFERED + T;
    assert_eq!(bench.deadline(), end);
    assert_eq!(bench.at(end), []);
    assert_eq!(bench.deadline(), OFFERED + 2 * T, "the end of the holder's lease");
    bench.election.handle_grant(2, ballot(5), OFFERED + 9 * STEP, 30 * MS, &bench.view);
    assert_eq!(bench.actions(), []);
}

/// Expected: the word ends so long after the Ask as was left, however late the Grant is, and before the drift bound.
#[test]
fn a_granted_lease_counts_from_before_it_was_asked_for_and_is_renewed_at_once() {
    let mut bench = Bench::asking();
    let now = OFFERED + 3 * MS;
    bench.view.now = now;
    let expected = [
        Action::SetRenewal(Renewal::new(ballot(5), T, &[1, 2, 3])),
        Action::Arm { until: OFFERED + 30 * MS - 30 * MS / 100 },
        Action::SetRole(Role::Holder),
        Action::Promoted(ballot(5)),
        propose(5, now),
    ];
    assert_eq!(bench.granted(), expected);
    assert_eq!(bench.election.state(), State::Holder);
    assert_eq!(bench.deadline(), now + INTERVAL);
}

#[test]
fn a_grant_of_time_that_is_over_is_not_taken() {
    let end = OFFERED + 10 * MS - 10 * MS / 100;
    for (now, state) in [(end - 1, State::Holder), (end, State::Follower)] {
        let mut bench = Bench::asking();
        bench.view.now = now;
        bench.election.handle_grant(2, ballot(5), OFFERED, 10 * MS, &bench.view);
        assert_eq!(bench.election.state(), state);
    }
}

#[test]
fn only_what_was_asked_for_is_taken() {
    let mut bench = Bench::asking();
    for (from, round, sent_at) in [(3, 5, OFFERED), (2, 4, OFFERED), (2, 6, OFFERED), (2, 5, OFFERED - 1)] {
        bench.election.handle_grant(from, ballot(round), sent_at, 30 * MS, &bench.view);
        assert_eq!(bench.actions(), [], "from {from}, round {round}, stamp {sent_at}");
    }
    let mut bench = Bench::follower(&[1, 2, 3]);
    assert_eq!(bench.granted(), [], "nothing was");
}

/// Expected: it counts from the Ask that it is for, which is not always the latest.
#[test]
fn a_grant_for_any_of_the_asks_is_taken() {
    for granted in [OFFERED, OFFERED + STEP, OFFERED + 2 * STEP] {
        let mut bench = Bench::asking();
        bench.at(OFFERED + STEP);
        bench.at(OFFERED + 2 * STEP);
        for stranger in [OFFERED - 1, OFFERED + 2 * STEP + 1] {
            bench.election.handle_grant(2, ballot(5), stranger, 20 * MS, &bench.view);
            assert_eq!(bench.actions(), [], "a stamp from before the first Ask, or from after the last one");
        }
        bench.election.handle_grant(2, ballot(5), granted, 20 * MS, &bench.view);
        assert_eq!(bench.actions()[1], Action::Arm { until: granted + 20 * MS - 20 * MS / 100 });
    }
}

#[test]
fn a_repeated_grant_changes_nothing() {
    let mut bench = Bench::asking();
    bench.granted();
    assert_eq!(bench.granted(), []);
}

/// Input: the Transfer reaches this node's acceptor, and what wakes the election is something else.
#[test]
fn a_mere_look_keeps_the_request() {
    let mut bench = Bench::asking();
    bench.view.holder_ballot = ballot(5);
    bench.view.holder_until = OFFERED + 30 * MS;
    bench.election.set_candidates(&[2, 1], &bench.view);
    bench.election.set_eligible(true, &bench.view);
    bench.election.set_voters(&[1, 2, 3], &bench.view);
    bench.election.handle_released(&bench.view);
    bench.at(OFFERED + 1);
    assert_eq!(bench.granted().len(), 5);
}

/// Input: the own lease that follows has even ended in between.
#[test]
fn a_grant_that_comes_after_this_node_has_stood_is_void() {
    let mut bench = Bench::asking();
    bench.view.holder_until = OFFERED;
    assert_eq!(bench.at(OFFERED + 1)[0], Action::Standing(ballot(6)));
    assert_eq!(bench.granted(), [], "while it stands");
    bench.election.release(&bench.view);
    assert_eq!(bench.actions(), [Action::GaveUp(GiveUp::Withdrawn)]);
    assert_eq!(bench.granted(), [], "when it follows again");
}

#[test]
fn a_grant_that_comes_after_this_node_has_held_and_given_away_is_void() {
    let mut bench = Bench::asking();
    bench.granted();
    bench.view.lease_until = OFFERED + 20 * MS;
    bench.election.release(&bench.view);
    assert_eq!(bench.actions()[2], release(5, OFFERED));
    assert_eq!(bench.granted(), []);
}

/// Expected: whatever makes a node stay back, or makes the holder another one, makes it refuse what it has asked for.
#[test]
fn a_request_is_void_when_anything_changes_that_it_stands_on() {
    type Change = fn(&mut Bench);
    let changes: [(&str, Change); 7] = [
        ("withdrawn", |bench| bench.election.release(&bench.view)),
        ("unfit", |bench| {
            bench.election.set_eligible(false, &bench.view);
            bench.election.set_eligible(true, &bench.view);
        }),
        ("other voters", |bench| bench.election.set_voters(&[1, 2, 3, 4], &bench.view)),
        ("no voter", |bench| {
            bench.election.set_voters(&[2, 3], &bench.view);
            bench.election.set_voters(&[1, 2, 3], &bench.view);
        }),
        ("no configuration", |bench| {
            bench.election.set_voters(&[], &bench.view);
            bench.election.set_voters(&[1, 2, 3], &bench.view);
        }),
        ("another holder", |bench| bench.view.holder_ballot = Ballot::new(6, 3)),
        ("quarantine", |bench| bench.view.quarantine_until = OFFERED + 1),
    ];
    for (what, change) in changes {
        let mut bench = Bench::asking();
        change(&mut bench);
        assert_eq!(bench.granted(), [], "{what}");
        assert_eq!(bench.election.state(), State::Follower, "{what}");
    }
}

#[test]
fn a_request_that_another_holder_has_made_void_stays_void() {
    let mut bench = Bench::asking();
    let before = bench.view;
    bench.view.holder_ballot = Ballot::new(6, 3);
    bench.election.set_candidates(&[1, 2, 3], &bench.view);
    bench.view = before;
    assert_eq!(bench.granted(), []);
}
