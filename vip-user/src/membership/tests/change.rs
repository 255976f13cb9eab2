//! The change of voters, one promise at a time. The voters are {1, 2, 3}; leases take 50 ms, so the spacing is 51 ms.

use vip_common::lease::Ballot;

use super::*;

fn current() -> Configuration {
    configuration(4, &[1, 2, 3])
}

/// Node `id`, which has `current()` on its disk and starts at 0.
fn settled(id: u16) -> Membership {
    with_pledge(id, None)
}

fn with_pledge(id: u16, pledge: Option<Pledge>) -> Membership {
    let stored = Stored { consent: None, configuration: Some(current()), pledge };
    let mut node = Membership::new(identity(id, 3), stored, 0).unwrap();
    actions(&mut node);
    node
}

/// The Hello of a node that has `current()`.
fn formed(id: u16) -> Hello {
    hello(id, 3, Standing::Formed(current()))
}

/// The same, with a promise and with what was accepted.
fn pledged(id: u16, promised: Ballot, accepted: Option<(Ballot, Configuration)>) -> Hello {
    Hello { pledge: Some(pledge(promised, accepted)), ..formed(id) }
}

fn pledge(promised: Ballot, accepted: Option<(Ballot, Configuration)>) -> Pledge {
    let pledge = Pledge::new(4, promised).unwrap();
    match accepted {
        None => pledge,
        Some((ballot, configuration)) => {
            let accepted = Accepted { ballot, configuration };
            pledge.accepting(accepted).unwrap().promising(promised).unwrap()
        }
    }
}

fn ballot(round: u64, node: u16) -> Ballot {
    Ballot::new(round, node)
}

/// {1, 2, 3, 9} and {1, 2, 3, 8}: two successors that exclude each other.
fn successors() -> [Configuration; 2] {
    [current().with(9).unwrap(), current().with(8).unwrap()]
}

fn tell(node: &mut Membership, hello: Hello, at_ms: u64) {
    let id = hello.name.strip_prefix("lb").unwrap().parse().unwrap();
    node.handle_hello(sender(id), hello, at_ms * MS);
}

/// Tells `node` the Hellos every 100 ms, storing what it wants to store at once; gives what it stored.
fn converse(node: &mut Membership, hellos: &[Hello], from_ms: u64, to_ms: u64) -> Vec<Action> {
    let mut stored = Vec::new();
    for at in (from_ms..=to_ms).step_by(100) {
        for hello in hellos {
            tell(node, hello.clone(), at);
        }
        node.handle_timeout(at * MS);
        stored.extend(store(node, at));
    }
    stored
}

/// Reports everything stored that `node` wants to store.
fn store(node: &mut Membership, at_ms: u64) -> Vec<Action> {
    let mut stored = Vec::new();
    while let Some(action) = node.poll_action() {
        let durable = match &action {
            Action::StorePledge(pledge) => Durable::Pledge(pledge.clone()),
            Action::StoreConfiguration(configuration) => Durable::Configuration(configuration.clone()),
            _ => continue,
        };
        node.handle_stored(durable, at_ms * MS);
        stored.push(action);
    }
    stored
}

/// What was accepted in the pledges among `stored`.
fn proposals(stored: &[Action]) -> Vec<Accepted> {
    let accepted = |action: &Action| match action {
        Action::StorePledge(pledge) => pledge.accepted().cloned(),
        _ => None,
    };
    stored.iter().filter_map(accepted).collect()
}

/// The only pledge that `node` wants to store.
fn pledge_to_store(node: &mut Membership) -> Option<Pledge> {
    actions(node).into_iter().find_map(|action| match action {
        Action::StorePledge(pledge) => Some(pledge),
        _ => None,
    })
}

#[test]
fn a_voter_promises_the_highest_ballot_that_it_hears_and_says_so_when_it_is_stored() {
    let mut voter = settled(2);
    tell(&mut voter, pledged(1, ballot(3, 1), None), 1);
    assert_eq!(pledge_to_store(&mut voter), Some(pledge(ballot(3, 1), None)));
    assert_eq!(voter.hello().pledge, None);

    // Input: a higher one, while the first is being written. Expected: it waits for its turn.
    tell(&mut voter, pledged(3, ballot(4, 3), None), 2);
    assert_eq!(pledge_to_store(&mut voter), None);
    voter.handle_stored(Durable::Pledge(pledge(ballot(3, 1), None)), 3 * MS);
    assert_eq!(voter.hello().pledge, Some(pledge(ballot(3, 1), None)));
    let all = actions(&mut voter);
    assert!(all.contains(&Action::StorePledge(pledge(ballot(4, 3), None))), "{all:?}");
    assert!(all.contains(&Action::SendHello), "{all:?}");
}

#[test]
fn a_voter_accepts_what_was_proposed_under_the_ballot_that_it_has_promised() {
    let [nine, _] = successors();
    let mut voter = with_pledge(2, Some(pledge(ballot(3, 1), None)));
    tell(&mut voter, pledged(1, ballot(3, 1), Some((ballot(3, 1), nine.clone()))), 1);
    assert_eq!(pledge_to_store(&mut voter), Some(pledge(ballot(3, 1), Some((ballot(3, 1), nine)))));
}

#[test]
fn a_voter_accepts_nothing_under_a_lower_ballot_than_it_has_promised() {
    let [nine, _] = successors();
    let mut voter = with_pledge(2, Some(pledge(ballot(4, 3), None)));
    tell(&mut voter, pledged(1, ballot(3, 1), Some((ballot(3, 1), nine))), 1);
    assert_eq!(pledge_to_store(&mut voter), None);
}

#[test]
fn a_voter_keeps_what_it_has_accepted_when_it_promises_a_higher_ballot() {
    let [nine, _] = successors();
    let accepted = Some((ballot(3, 1), nine));
    let mut voter = with_pledge(2, Some(pledge(ballot(3, 1), accepted.clone())));
    tell(&mut voter, pledged(3, ballot(5, 3), None), 1);
    assert_eq!(pledge_to_store(&mut voter), Some(pledge(ballot(5, 3), accepted)));
}

#[test]
fn only_voters_of_the_same_configuration_are_heeded_and_only_they_pledge() {
    let mut voter = settled(2);
    tell(&mut voter, pledged(7, ballot(3, 7), None), 1);
    let other = Standing::Formed(configuration(3, &[1, 2]));
    let older = Hello { pledge: Pledge::new(3, ballot(9, 1)).ok(), ..hello(1, 3, other) };
    tell(&mut voter, older, 2);
    assert_eq!(pledge_to_store(&mut voter), None);

    let mut spectator = settled(7);
    tell(&mut spectator, pledged(1, ballot(3, 1), None), 1);
    assert_eq!(pledge_to_store(&mut spectator), None);
}

#[test]
fn a_pledge_of_a_former_epoch_is_not_said() {
    let voter = with_pledge(2, Pledge::new(3, ballot(9, 1)).ok());
    assert_eq!(voter.hello().pledge, None);
}

#[test]
fn a_successor_that_a_quorum_has_accepted_is_in_force_at_once_and_said_when_stored() {
    let [nine, _] = successors();
    let accepted = Some((ballot(3, 1), nine.clone()));
    let mut spectator = settled(7);
    tell(&mut spectator, pledged(1, ballot(3, 1), accepted.clone()), 1);
    actions(&mut spectator);
    tell(&mut spectator, pledged(3, ballot(3, 1), accepted), 2);
    let all = actions(&mut spectator);
    assert!(
        all.ends_with(&[Action::Adopt(nine.clone()), Action::StoreConfiguration(nine.clone())]),
        "{all:?}"
    );
    assert_eq!(spectator.configuration(), Some(&nine));
    assert_eq!(spectator.hello().standing, Standing::Formed(current()));

    spectator.handle_stored(Durable::Configuration(nine.clone()), 3 * MS);
    assert_eq!(actions(&mut spectator), [Action::SendHello]);
    assert_eq!(spectator.hello().standing, Standing::Formed(nine));
}

#[test]
fn a_voter_counts_its_own_acceptance_and_says_no_more_of_it_in_the_next_epoch() {
    let [nine, _] = successors();
    let mut voter = settled(2);
    tell(&mut voter, pledged(1, ballot(3, 1), Some((ballot(3, 1), nine.clone()))), 1);
    store(&mut voter, 1);
    assert_eq!(voter.hello().standing, Standing::Formed(nine));
    assert_eq!(voter.hello().pledge, None);
}

#[test]
fn what_was_accepted_under_two_ballots_is_not_chosen() {
    let [nine, _] = successors();
    let mut node = settled(7);
    tell(&mut node, pledged(1, ballot(3, 1), Some((ballot(3, 1), nine.clone()))), 1);
    tell(&mut node, pledged(2, ballot(4, 3), Some((ballot(4, 3), nine.clone()))), 1);
    assert_eq!(node.configuration(), Some(&current()));
    tell(&mut node, pledged(3, ballot(4, 3), Some((ballot(4, 3), nine.clone()))), 1);
    assert_eq!(node.configuration(), Some(&nine));
}

#[test]
fn a_node_that_has_spoken_for_five_seconds_becomes_a_voter() {
    let mut coordinator = settled(1);
    let all = converse(&mut coordinator, &[formed(2), formed(3), formed(9)], 0, 4900);
    assert_eq!(all, []);
    let all = converse(&mut coordinator, &[formed(2), formed(3), formed(9)], 5000, 5000);
    assert_eq!(all, [Action::StorePledge(pledge(ballot(1, 1), None))]);
    let all = converse(&mut coordinator, &[pledged(2, ballot(1, 1), None)], 5100, 5100);
    let [nine, _] = successors();
    assert_eq!(proposals(&all), [Accepted { ballot: ballot(1, 1), configuration: nine }]);
}

#[test]
fn a_gap_or_a_restart_begins_the_five_seconds_anew() {
    let mut coordinator = settled(1);
    let voters = [formed(2), formed(3)];
    tell(&mut coordinator, formed(8), 0);
    tell(&mut coordinator, formed(9), 0);
    converse(&mut coordinator, &voters, 0, 3000);
    // Input: 9 was silent for three seconds, 8 starts again.
    tell(&mut coordinator, formed(9), 3100);
    coordinator.handle_hello(Sender { incarnation: 2, ..sender(8) }, formed(8), 3100 * MS);
    for at in [5600, 8000] {
        assert_eq!(converse(&mut coordinator, &voters, at, at), []);
        tell(&mut coordinator, formed(9), at);
        coordinator.handle_hello(Sender { incarnation: 2, ..sender(8) }, formed(8), at * MS);
    }
    assert_ne!(converse(&mut coordinator, &voters, 8100, 8100), []);
}

#[test]
fn nodes_with_other_lease_times_or_that_want_no_vote_or_lag_behind_do_not_become_voters() {
    let other_timing = Hello { lease_ns: 60 * MS, ..formed(6) };
    let unwilling = Hello { remove: Some(7), ..formed(7) };
    let behind = hello(8, 3, Standing::Formed(configuration(3, &[1, 2])));
    let mut coordinator = settled(1);
    let all = converse(&mut coordinator, &[formed(2), formed(3), other_timing, unwilling, behind], 0, 9000);
    assert_eq!(all, []);
}

#[test]
fn the_lowest_voter_that_speaks_and_has_the_configuration_proposes() {
    let mut second = settled(2);
    let nine = formed(9);
    assert_eq!(converse(&mut second, &[formed(1), formed(3), nine.clone()], 0, 8000), []);
    // Input: of 1, only the data plane is heard any more.
    for at in (8100..=10_900).step_by(100) {
        second.heard(1, at * MS);
        assert_eq!(converse(&mut second, &[formed(3), nine.clone()], at, at), [], "at {at} ms");
    }
    assert_ne!(converse(&mut second, &[formed(3), nine], 11_000, 11_000), []);
}

#[test]
fn nothing_is_proposed_without_a_quorum_that_speaks() {
    let mut coordinator = settled(1);
    assert_eq!(converse(&mut coordinator, &[formed(9)], 0, 8000), []);
}

#[test]
fn nothing_is_proposed_before_a_quorum_has_had_the_configuration_for_longer_than_a_lease() {
    // Input: a wish from the start; 2 is heard to have the configuration at 20 ms.
    let mut coordinator = settled(1);
    let wish = Hello { remove: Some(3), ..formed(7) };
    tell(&mut coordinator, wish, 0);
    tell(&mut coordinator, formed(2), 20);
    for at in 20..71 {
        coordinator.handle_timeout(at * MS);
        assert_eq!(store(&mut coordinator, at), [], "at {at} ms");
    }
    coordinator.handle_timeout(71 * MS);
    assert_eq!(store(&mut coordinator, 71), [Action::StorePledge(pledge(ballot(1, 1), None))]);
}

#[test]
fn the_longest_lease_that_is_heard_of_decides_how_long_to_wait() {
    let mut coordinator = settled(1);
    let wish = Hello { remove: Some(3), lease_ns: 1000 * MS, ..formed(7) };
    tell(&mut coordinator, wish, 0);
    assert_eq!(converse(&mut coordinator, &[formed(2)], 0, 1000), []);
    assert_ne!(converse(&mut coordinator, &[formed(2)], 1020, 1020), []);
}

#[test]
fn a_proposer_must_propose_what_may_have_been_chosen_already() {
    // Input: 1 wants to add 8; of the two that promise its ballot, 2 has accepted {1, 2, 3, 9} under an earlier one.
    let [nine, _] = successors();
    let mut coordinator = with_pledge(1, Some(pledge(ballot(5, 3), None)));
    converse(&mut coordinator, &[formed(3), formed(8)], 0, 5000);
    assert_eq!(coordinator.hello().pledge, Some(pledge(ballot(6, 1), None)));
    tell(&mut coordinator, pledged(2, ballot(6, 1), Some((ballot(4, 2), nine.clone()))), 5100);
    let all = store(&mut coordinator, 5100);
    assert_eq!(proposals(&all), [Accepted { ballot: ballot(6, 1), configuration: nine }]);
}

#[test]
fn without_progress_a_higher_ballot_is_tried() {
    let mut coordinator = settled(1);
    let hellos = [formed(2), formed(3), formed(9)];
    converse(&mut coordinator, &hellos, 0, 5900);
    assert_eq!(coordinator.hello().pledge, Some(pledge(ballot(1, 1), None)));
    converse(&mut coordinator, &hellos, 6000, 7000);
    assert_eq!(coordinator.hello().pledge, Some(pledge(ballot(2, 1), None)));
}

#[test]
fn removals_go_before_additions() {
    let mut coordinator = settled(1);
    let wish = Hello { remove: Some(3), ..formed(2) };
    converse(&mut coordinator, &[wish.clone(), formed(9)], 0, 5000);
    let promised =
        Hello { remove: Some(3), ..pledged(2, coordinator.hello().pledge.unwrap().promised(), None) };
    let all = converse(&mut coordinator, &[promised, formed(9)], 5100, 5100);
    assert_eq!(proposals(&all)[0].configuration, current().without(3).unwrap());
}

#[test]
fn what_was_wished_in_a_former_configuration_is_not_heeded() {
    let mut coordinator = settled(1);
    let old = Hello { remove: Some(3), ..hello(7, 3, Standing::Formed(configuration(3, &[1, 2]))) };
    assert_eq!(converse(&mut coordinator, &[formed(2), old], 0, 2000), []);
}

#[test]
fn a_voter_is_not_counted_out_when_the_rest_would_be_no_quorum() {
    // Input: of {1, 2, 3}, 3 is silent. Expected: without 2, {1, 3} could decide nothing.
    let mut coordinator = settled(1);
    let leaver = Hello { remove: Some(2), ..formed(2) };
    assert_eq!(converse(&mut coordinator, &[leaver], 0, 2000), []);
}

#[test]
fn a_node_asks_for_its_own_removal_until_a_quorum_has_done_it() {
    let mut leaver = settled(3);
    let voters = [formed(1), formed(2)];
    converse(&mut leaver, &voters, 0, 0);
    assert_eq!(leaver.remove(3, MS), Ok(Removal::Asked));
    assert_eq!(leaver.hello().remove, Some(3));
    assert!(actions(&mut leaver).contains(&Action::SendHello));

    let rest = current().without(3).unwrap();
    let done = |id| hello(id, 3, Standing::Formed(rest.clone()));
    converse(&mut leaver, &[done(1)], 100, 100);
    assert_eq!(leaver.remove(3, 101 * MS), Ok(Removal::Asked), "2 may not know it yet");
    converse(&mut leaver, &[done(2)], 200, 200);
    assert_eq!(leaver.remove(3, 201 * MS), Ok(Removal::Done));
    assert_eq!(leaver.hello().remove, Some(3), "so that nobody takes it in again");
}

#[test]
fn a_wish_that_nobody_repeats_is_dropped() {
    let mut leaver = settled(3);
    let voters = [formed(1), formed(2)];
    converse(&mut leaver, &voters, 0, 0);
    leaver.remove(3, 0).unwrap();
    converse(&mut leaver, &voters, 100, 2000);
    leaver.remove(3, 2000 * MS).unwrap();
    converse(&mut leaver, &voters, 2100, 4900);
    assert_eq!(leaver.hello().remove, Some(3));
    converse(&mut leaver, &voters, 5000, 5000);
    assert_eq!(leaver.hello().remove, None);
}

#[test]
fn a_voter_that_has_failed_can_be_forgotten_and_one_that_speaks_cannot() {
    let mut asker = settled(2);
    converse(&mut asker, &[formed(1), formed(3)], 0, 0);
    let alive = RemovalRefused::Alive(Node { id: 3, name: "lb3".into() });
    assert_eq!(asker.remove(3, 2900 * MS), Err(alive));
    converse(&mut asker, &[formed(1)], 100, 3000);
    asker.heard(3, 3000 * MS);
    assert_eq!(asker.remove(3, 3000 * MS), Ok(Removal::Asked), "a data plane without a daemon is no life");
    assert_eq!(asker.hello().remove, Some(3));
}

#[test]
fn a_removal_is_refused_with_the_reason() {
    let node = |id: u16| Node { id, name: format!("node {id}") };
    let mut waiting = super::node(1, 3);
    assert_eq!(waiting.remove(1, 0), Err(RemovalRefused::NotFormed));

    let stored = Stored { configuration: Some(configuration(1, &[1])), ..Stored::default() };
    let mut alone = Membership::new(identity(1, 1), stored, 0).unwrap();
    let last = RemovalRefused::LastVoter(Node { id: 1, name: "lb1".into() });
    assert_eq!(alone.remove(1, 0), Err(last));

    let mut cut_off = settled(1);
    assert_eq!(cut_off.remove(7, 0), Err(RemovalRefused::Unknown(node(7))));
    assert_eq!(cut_off.remove(3, 0), Err(RemovalRefused::NoQuorum { heard: 1, voters: 3 }));

    let mut second = settled(2);
    converse(&mut second, &[formed(1)], 0, 0);
    let me = Node { id: 2, name: "lb2".into() };
    assert_eq!(second.remove(2, 0), Err(RemovalRefused::TooFewLeft { node: me, heard: 1, voters: 2 }));
    assert_eq!(second.remove(3, 0), Ok(Removal::Asked));
    assert_eq!(second.remove(2, 0), Err(RemovalRefused::Busy(node(3))));
}

#[test]
fn a_wish_that_is_refused_later_is_dropped() {
    let mut asker = settled(2);
    converse(&mut asker, &[formed(1)], 0, 0);
    asker.remove(3, 0).unwrap();
    assert!(matches!(asker.remove(3, 3000 * MS), Err(RemovalRefused::NoQuorum { .. })));
    assert_eq!(asker.hello().remove, None);
}

#[test]
fn a_voter_without_memory_does_not_vote_and_is_counted_out() {
    let mut forgetful = node(3, 3);
    converse(&mut forgetful, &[formed(1), formed(2)], 0, 1000);
    assert_eq!(forgetful.configuration(), None);

    let mut coordinator = settled(1);
    let waiting = hello(3, 3, Standing::Waiting);
    converse(&mut coordinator, &[formed(2), waiting.clone()], 0, 100);
    let promised = pledged(2, coordinator.hello().pledge.unwrap().promised(), None);
    let all = converse(&mut coordinator, &[promised, waiting], 200, 200);
    let rest = current().without(3).unwrap();
    assert_eq!(proposals(&all)[0].configuration, rest);

    // Expected: as no voter any more, it takes the configuration, and can become a voter as a new one.
    converse(&mut forgetful, &[hello(1, 3, Standing::Formed(rest.clone()))], 1100, 1100);
    assert_eq!(forgetful.configuration(), Some(&rest));
}

#[test]
fn of_two_voters_one_without_memory_takes_the_others_configuration() {
    let pair = configuration(2, &[1, 3]);
    let mut forgetful = node(3, 2);
    converse(&mut forgetful, &[hello(1, 2, Standing::Formed(pair.clone()))], 0, 0);
    assert_eq!(forgetful.configuration(), Some(&pair));
}

/// Node `id` of voters 1 to 3, which gives up who is gone for ten minutes.
fn reaping(id: u16) -> Membership {
    let rules = Rules { reap: Some(600_000 * MS), ..Rules::default() };
    let stored = Stored { configuration: Some(configuration(1, &[1, 2, 3])), ..Stored::default() };
    Membership::new(Identity { rules, ..identity(id, 3) }, stored, 0).unwrap()
}

/// The successors that the node asks for by `to_ms`.
fn asked_for(node: &mut Membership, peers: &[(u16, Standing)], to_ms: u64) -> Vec<Pledge> {
    let stored = |action| if let Action::StorePledge(pledge) = action { Some(pledge) } else { None };
    run(node, peers, 0, to_ms).into_iter().filter_map(stored).collect()
}

#[test]
fn a_voter_that_is_gone_for_the_time_that_an_operator_has_set_is_counted_out_and_not_before() {
    let formed = (2, Standing::Formed(configuration(1, &[1, 2, 3])));
    assert_eq!(asked_for(&mut reaping(1), std::slice::from_ref(&formed), 599_900), []);
    assert!(!asked_for(&mut reaping(1), &[formed], 600_100).is_empty());
}

#[test]
fn a_configuration_never_shrinks_by_silence_alone_nor_without_a_quorum() {
    assert_eq!(asked_for(&mut settled(1), &[(2, Standing::Formed(current()))], 700_000), []);
    assert_eq!(asked_for(&mut reaping(1), &[], 700_000), [], "alone");
}

#[test]
fn who_is_gone_and_no_voter_is_forgotten_after_that_time_and_one_that_votes_is_not() {
    let mut node = reaping(1);
    let formed = Standing::Formed(configuration(1, &[1, 2, 3]));
    for id in [2, 4] {
        hear(&mut node, id, formed.clone(), 0);
    }
    let knows = |node: &Membership, id| node.members().any(|member| member.id == id);
    node.handle_timeout(3_000 * MS);
    assert_eq!(status(&node, 4), Status::Failed);
    node.handle_timeout(599_999 * MS);
    assert!(knows(&node, 4));
    node.handle_timeout(600_000 * MS);
    assert!(!knows(&node, 4) && knows(&node, 2));
    assert!(notices(&mut node).contains(&"lb4 (4) is forgotten: it is gone, and no voter".to_owned()));
}

#[test]
fn a_node_that_is_gone_and_no_voter_is_forgotten_by_all_that_hear_the_wish_and_a_living_one_is_not() {
    let (mut asked, mut other) = (settled(1), settled(2));
    let formed = Standing::Formed(configuration(1, &[1, 2, 3]));
    for node in [&mut asked, &mut other] {
        hear(node, 4, formed.clone(), 0);
    }
    assert!(matches!(asked.remove(4, MS), Err(RemovalRefused::Alive(_))));
    for node in [&mut asked, &mut other] {
        node.handle_timeout(4_000 * MS);
    }
    assert_eq!(asked.remove(4, 4_000 * MS), Ok(Removal::Done));
    let wish = asked.hello();
    assert_eq!(wish.remove, Some(4));
    other.handle_hello(sender(1), wish.clone(), 4_001 * MS);
    for node in [&asked, &other] {
        assert!(node.members().all(|member| member.id != 4));
    }
    // It comes back, while the wish is still said.
    hear(&mut other, 4, formed, 4_002);
    other.handle_hello(sender(1), wish, 4_003 * MS);
    assert_eq!(status(&other, 4), Status::Alive);
}
