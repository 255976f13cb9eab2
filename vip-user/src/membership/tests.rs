//! What membership promises, one rule at a time. Time is in ms here and starts at 0.

mod change;
mod liveness;
mod pair;

use std::net::Ipv4Addr;

use super::*;

const MS: u64 = 1_000_000;

fn configuration(epoch: u32, voters: &[u16]) -> Configuration {
    Configuration::new(epoch, voters.to_vec()).unwrap()
}

fn identity(id: u16, expect: u8) -> Identity {
    Identity {
        id,
        incarnation: 1,
        address: Ipv4Addr::new(10, 0, 0, id.to_be_bytes()[1]).into(),
        name: format!("lb{id}"),
        version: "0.1.0".into(),
        tags: BTreeMap::new(),
        priority: 100,
        expect,
        interval_ns: 10 * MS,
        lease_ns: 50 * MS,
        groups: vec![],
        rules: Rules::default(),
    }
}

fn node(id: u16, expect: u8) -> Membership {
    Membership::new(identity(id, expect), Stored::default(), 0).unwrap()
}

/// The Hello of a node like the others, with this standing.
fn hello(id: u16, expect: u8, standing: Standing) -> Hello {
    identity(id, expect).into_member(standing, 0).hello
}

fn sender(id: u16) -> Sender {
    Sender { id, incarnation: 1, address: identity(id, 1).address }
}

fn actions(membership: &mut Membership) -> Vec<Action> {
    std::iter::from_fn(|| membership.poll_action()).collect()
}

fn notices(membership: &mut Membership) -> Vec<String> {
    let text = |action| if let Action::Notice(notice) = action { Some(notice.to_string()) } else { None };
    actions(membership).into_iter().filter_map(text).collect()
}

fn hear(membership: &mut Membership, id: u16, standing: Standing, at_ms: u64) {
    let expect = membership.hello().expect;
    membership.handle_hello(sender(id), hello(id, expect, standing), at_ms * MS);
}

/// Runs all timers up to `to_ms`, hearing `peers` again every 100 ms; returns the actions.
fn run(membership: &mut Membership, peers: &[(u16, Standing)], from_ms: u64, to_ms: u64) -> Vec<Action> {
    let mut all = Vec::new();
    for at in (from_ms..=to_ms).step_by(100) {
        for (id, standing) in peers {
            hear(membership, *id, standing.clone(), at);
        }
        membership.handle_timeout(at * MS);
        assert!(membership.next_deadline() > at * MS, "the timer does not spin");
        all.extend(actions(membership));
    }
    all
}

fn status(membership: &Membership, id: u16) -> Status {
    membership.members().find(|member| member.id == id).unwrap().status
}

#[test]
fn a_single_node_listens_before_it_forms_and_says_nothing_before_it_is_stored() {
    let mut alone = node(4, 1);
    let first = configuration(1, &[4]);
    let before = run(&mut alone, &[], 0, 400);
    assert!(!before.is_empty() && before.iter().all(|action| *action == Action::SendHello), "{before:?}");
    let settled = run(&mut alone, &[], 500, 500);
    assert_eq!(settled, [Action::StoreConsent(first.clone()), Action::SendHello]);
    assert_eq!(alone.hello().standing, Standing::Waiting);

    alone.handle_stored(Durable::Consent(first.clone()), 501 * MS);
    let adopted =
        [Action::Adopt(first.clone()), Action::StoreConfiguration(first.clone()), Action::SendHello];
    assert_eq!(actions(&mut alone), adopted);
    assert_eq!(alone.hello().standing, Standing::Consented(first.clone()));
    assert_eq!(alone.configuration(), Some(&first));

    alone.handle_stored(Durable::Configuration(first.clone()), 502 * MS);
    assert_eq!(actions(&mut alone), [Action::SendHello]);
    assert_eq!(alone.hello().standing, Standing::Formed(first));
}

#[test]
fn a_single_node_joins_a_cluster_that_it_hears_before_it_has_formed_one() {
    let mut second = node(4, 1);
    let all = run(&mut second, &[(1, Standing::Formed(configuration(1, &[1])))], 400, 2000);
    assert!(all.contains(&Action::Adopt(configuration(1, &[1]))), "{all:?}");
    assert!(!all.iter().any(|action| matches!(action, Action::StoreConsent(_))), "{all:?}");
}

#[test]
fn what_is_on_the_disk_is_adopted_at_start() {
    let consent = Some(configuration(1, &[1, 2]));
    let stored = Stored { consent, configuration: Some(configuration(5, &[2, 3])), pledge: None };
    let mut restarted = Membership::new(identity(2, 2), stored, 0).unwrap();
    assert_eq!(actions(&mut restarted), [Action::Adopt(configuration(5, &[2, 3])), Action::SendHello]);
    assert_eq!(restarted.hello().standing, Standing::Formed(configuration(5, &[2, 3])));
}

#[test]
fn the_lowest_id_proposes_when_the_set_has_settled() {
    // Input: nodes 2 and 3 are heard from 0 ms on, node 4 from 300 ms on.
    // Expected: node 1 proposes the three lowest at 800 ms, not before.
    let mut lowest = node(1, 3);
    let mut peers = vec![(2, Standing::Waiting), (3, Standing::Waiting)];
    let mut all = run(&mut lowest, &peers, 0, 200);
    peers.push((4, Standing::Waiting));
    all.extend(run(&mut lowest, &peers, 300, 700));
    assert!(!all.iter().any(|action| matches!(action, Action::StoreConsent(_))));
    let all = run(&mut lowest, &peers, 800, 800);
    assert!(all.contains(&Action::StoreConsent(configuration(1, &[1, 2, 3]))), "{all:?}");
}

#[test]
fn only_the_lowest_id_proposes() {
    let mut second = node(2, 3);
    let all = run(&mut second, &[(1, Standing::Waiting), (3, Standing::Waiting)], 0, 3000);
    assert!(!all.iter().any(|action| matches!(action, Action::StoreConsent(_))));
}

#[test]
fn an_invitation_is_accepted_at_once_unless_it_leads_nowhere() {
    let [one, two] = [configuration(1, &[1, 2, 3]), configuration(1, &[2, 3, 4])];
    let mut third = node(3, 3);
    hear(&mut third, 1, Standing::Consented(one.clone()), 1);
    assert!(actions(&mut third).contains(&Action::StoreConsent(one.clone())));

    // Expected: with 2 bound to {2, 3, 4}, {1, 2, 3} cannot become unanimous any more.
    let mut third = node(3, 3);
    hear(&mut third, 2, Standing::Consented(two.clone()), 1);
    hear(&mut third, 1, Standing::Consented(one), 2);
    let all = actions(&mut third);
    assert_eq!(all.iter().filter(|a| matches!(a, Action::StoreConsent(_))).count(), 1, "{all:?}");
    assert!(all.contains(&Action::StoreConsent(two)), "{all:?}");
}

#[test]
fn a_proposal_of_another_size_than_expected_is_not_joined() {
    let mut third = node(3, 3);
    hear(&mut third, 1, Standing::Consented(configuration(1, &[1, 3])), 1);
    assert!(!actions(&mut third).iter().any(|action| matches!(action, Action::StoreConsent(_))));
}

#[test]
fn a_newer_configuration_is_adopted_also_by_a_node_that_does_not_vote_in_it() {
    let mut member = node(9, 3);
    hear(&mut member, 1, Standing::Formed(configuration(2, &[1, 2, 3])), 1);
    assert!(actions(&mut member).contains(&Action::StoreConfiguration(configuration(2, &[1, 2, 3]))));
    member.handle_stored(Durable::Configuration(configuration(2, &[1, 2, 3])), 2 * MS);
    hear(&mut member, 1, Standing::Formed(configuration(3, &[1, 2])), 3);
    assert!(actions(&mut member).contains(&Action::StoreConfiguration(configuration(3, &[1, 2]))));
    hear(&mut member, 2, Standing::Formed(configuration(1, &[1, 2, 3])), 4);
    assert_eq!(member.configuration(), Some(&configuration(3, &[1, 2])), "it only goes forward");
    assert_eq!(
        member.hello().standing,
        Standing::Formed(configuration(2, &[1, 2, 3])),
        "not before it is stored"
    );
}

#[test]
fn clusters_formed_apart_are_reported_once_a_minute_and_neither_is_adopted() {
    let mut between = node(9, 2);
    let [left, right] = [configuration(1, &[1, 2]), configuration(1, &[3, 4])];
    // The first one heard is adopted, for there is nothing yet to doubt it by.
    hear(&mut between, 1, Standing::Formed(left.clone()), 0);
    between.handle_stored(Durable::Configuration(left.clone()), 0);
    actions(&mut between);
    let all =
        run(&mut between, &[(1, Standing::Formed(left.clone())), (3, Standing::Formed(right))], 100, 60_000);
    assert!(!all.iter().any(|action| matches!(action, Action::StoreConfiguration(_) | Action::Adopt(_))));
    let text = "two clusters of the same name were formed apart: {1, 2} of epoch 1, {3, 4} of epoch 1; stop the nodes \
                of all but one, remove their state directories and start them again";
    let apart = |a: &&Action| matches!(a, Action::Notice(n) if n.to_string() == text);
    assert_eq!(all.iter().filter(apart).count(), 1);
    assert_eq!(between.configuration(), Some(&left));
}

#[test]
fn a_waiting_node_says_for_whom_every_five_seconds() {
    let mut waiting = node(1, 3);
    let all = run(&mut waiting, &[(2, Standing::Waiting)], 0, 10_900);
    let is_waiting = |a: &&Action| matches!(a, Action::Notice(Notice::WaitingForNodes { .. }));
    let texts: Vec<&Action> = all.iter().filter(is_waiting).collect();
    assert_eq!(texts.len(), 2);
    let Action::Notice(notice) = texts[0] else { panic!("{texts:?}") };
    assert_eq!(notice.to_string(), "waiting for 1 more of 3 nodes (heard: lb1, lb2)");
}

#[test]
fn a_deadlock_says_which_state_to_remove() {
    // Input: 1 and 3 are bound to {1, 2, 3}, 2 to {2, 3, 4}; this node, 4, is free.
    let [one, two] = [configuration(1, &[1, 2, 3]), configuration(1, &[2, 3, 4])];
    let mut fourth = node(4, 3);
    hear(&mut fourth, 1, Standing::Consented(one.clone()), 0);
    hear(&mut fourth, 3, Standing::Consented(one), 0);
    hear(&mut fourth, 2, Standing::Consented(two), 0);
    let all = notices(&mut fourth).join("\n");
    assert!(
        all.contains("stop lb2 (2) (only)") && all.contains("{1, 2, 3} of epoch 1 will then be"),
        "{all}"
    );
}

#[test]
fn silence_is_failure_and_speaking_is_return() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    run(&mut watcher, &[], 100, 2900);
    assert_eq!(status(&watcher, 2), Status::Alive);
    let all = run(&mut watcher, &[], 3000, 3000);
    assert_eq!(status(&watcher, 2), Status::Failed);
    assert!(all.contains(&Action::PeersChanged));
    hear(&mut watcher, 2, Standing::Waiting, 3100);
    assert_eq!(status(&watcher, 2), Status::Alive);
    assert!(actions(&mut watcher).contains(&Action::PeersChanged));
}

#[test]
fn lease_messages_heard_by_the_data_plane_keep_a_member_alive() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    watcher.heard(2, 2500 * MS);
    run(&mut watcher, &[], 100, 5400);
    assert_eq!(status(&watcher, 2), Status::Alive);
    run(&mut watcher, &[], 5500, 5500);
    assert_eq!(status(&watcher, 2), Status::Failed);
}

#[test]
fn a_node_that_leaves_is_leaving_then_left_and_never_failed() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    watcher.handle_hello(sender(2), Hello { leaving: true, ..hello(2, 3, Standing::Waiting) }, 100 * MS);
    assert_eq!(status(&watcher, 2), Status::Leaving);
    assert!(actions(&mut watcher).contains(&Action::PeersChanged));
    run(&mut watcher, &[], 200, 1100);
    assert_eq!(status(&watcher, 2), Status::Left);
    run(&mut watcher, &[], 1200, 9000);
    assert_eq!(status(&watcher, 2), Status::Left);
    // A restart brings it back.
    let restarted = Sender { incarnation: 2, ..sender(2) };
    watcher.handle_hello(restarted, hello(2, 3, Standing::Waiting), 9100 * MS);
    assert_eq!(status(&watcher, 2), Status::Alive);
}

#[test]
fn a_leaving_node_says_so_at_once_and_consents_to_nothing() {
    let mut leaver = node(3, 3);
    actions(&mut leaver);
    leaver.leave(50 * MS);
    assert!(actions(&mut leaver).contains(&Action::SendHello));
    assert!(leaver.hello().leaving);
    hear(&mut leaver, 1, Standing::Consented(configuration(1, &[1, 2, 3])), 60);
    assert!(!actions(&mut leaver).iter().any(|action| matches!(action, Action::StoreConsent(_))));
}

#[test]
fn a_node_says_at_once_that_it_offers_something_else_and_nothing_when_it_does_not() {
    let offers = |priority| vec![Offer { group: 7, priority, preempt: false }];
    let stored = Stored { configuration: Some(configuration(1, &[1])), ..Stored::default() };
    let mut node = Membership::new(Identity { groups: offers(100), ..identity(1, 1) }, stored, 0).unwrap();
    actions(&mut node);
    node.set_offers(offers(100), 50 * MS);
    assert_eq!(actions(&mut node), []);
    node.set_offers(offers(0), 60 * MS);
    // The others first: one that gets a group meanwhile is to know why, and not to hand it back.
    assert_eq!(actions(&mut node), [Action::SendHello, Action::PeersChanged]);
    assert_eq!(node.hello().groups, offers(0));
}

#[test]
fn newcomers_are_greeted_early_but_a_crowd_only_once_per_interval() {
    // Input: a formed node whose last Hello was at 0 ms hears 200 new nodes from 500 ms on, one per ms.
    // Expected: a Hello at 500, 600 and 700 ms, instead of one at 1000 ms.
    let stored = Stored { configuration: Some(configuration(1, &[1])), ..Stored::default() };
    let mut formed = Membership::new(identity(1, 1), stored, 0).unwrap();
    actions(&mut formed);
    let mut sent = Vec::new();
    for at in 500..=720 {
        formed.handle_timeout(at * MS);
        if let (true, Ok(id)) = (at < 700, u16::try_from(at - 498)) {
            hear(&mut formed, id, Standing::Formed(configuration(1, &[1])), at);
        }
        sent.extend(actions(&mut formed).iter().filter(|a| **a == Action::SendHello).map(|_| at));
    }
    assert_eq!(sent, [500, 600, 700]);
}

#[test]
fn other_settings_are_warned_of_once_per_change_and_do_not_exclude() {
    let mut watcher = node(1, 3);
    let mut other = hello(2, 3, Standing::Waiting);
    other.lease_ns = 60 * MS;
    watcher.handle_hello(sender(2), other.clone(), MS);
    let expected = "lb2 (2) has other settings than this node: cluster.lease = 60 ms (here 50 ms); make them equal on \
                    all nodes";
    assert!(notices(&mut watcher).contains(&expected.to_owned()));
    watcher.handle_hello(sender(2), other.clone(), 2 * MS);
    assert!(notices(&mut watcher).is_empty());
    other.lease_ns = 70 * MS;
    watcher.handle_hello(sender(2), other, 3 * MS);
    assert_eq!(notices(&mut watcher).len(), 1);
    assert_eq!(status(&watcher, 2), Status::Alive);
}

#[test]
fn two_nodes_of_one_name_are_warned_of_once() {
    let mut watcher = node(1, 3);
    let namesake = Hello { name: "lb1".into(), ..hello(2, 3, Standing::Waiting) };
    watcher.handle_hello(sender(2), namesake.clone(), MS);
    let expected =
        "nodes 1 and 2 are both named lb1: the one that was started later ends; set node.name on one of them";
    assert!(notices(&mut watcher).contains(&expected.to_owned()));
    watcher.handle_hello(sender(2), namesake, 2 * MS);
    assert!(notices(&mut watcher).is_empty());
}

#[test]
fn of_two_nodes_of_one_name_the_one_that_was_started_later_ends() {
    let namesake = |standing| Hello { name: "lb1".into(), ..hello(2, 3, standing) };
    let taken = Action::NameTaken(identity(2, 3).address);
    for (incarnation, ends) in [(6, true), (8, false)] {
        let mut late =
            Membership::new(Identity { incarnation: 7, ..identity(1, 3) }, Stored::default(), 0).unwrap();
        late.handle_hello(Sender { incarnation, ..sender(2) }, namesake(Standing::Waiting), MS);
        assert_eq!(actions(&mut late).contains(&taken), ends, "incarnation {incarnation}");
    }
}

#[test]
fn of_two_nodes_of_one_name_the_one_that_votes_stays_whatever_the_clocks_say() {
    // Input: a newcomer whose clock is years behind takes the name of a voter.
    let namesake = Hello { name: "lb1".into(), ..hello(4, 3, Standing::Waiting) };
    let stored = Stored { configuration: Some(configuration(1, &[1, 2, 3])), ..Stored::default() };
    let mut voter =
        Membership::new(Identity { incarnation: 7, ..identity(1, 3) }, stored.clone(), 0).unwrap();
    voter.handle_hello(Sender { incarnation: 1, ..sender(4) }, namesake, MS);
    assert!(!actions(&mut voter).iter().any(|action| matches!(action, Action::NameTaken(_))));

    let newcomer = Identity { name: "lb1".into(), incarnation: 1, ..identity(4, 3) };
    let mut newcomer = Membership::new(newcomer, Stored::default(), 0).unwrap();
    let formed = Standing::Formed(configuration(1, &[1, 2, 3]));
    newcomer.handle_hello(Sender { incarnation: 7, ..sender(1) }, hello(1, 3, formed.clone()), MS);
    newcomer.handle_hello(Sender { incarnation: 7, ..sender(1) }, hello(1, 3, formed), 2 * MS);
    assert!(actions(&mut newcomer).contains(&Action::NameTaken(identity(1, 3).address)));
}

/// How often the node says Hello in quiet times, in ms, and what it promises, with so many alive members without a vote.
fn period(me: u16, members: u16) -> (u64, u32) {
    let voters = configuration(1, &[1, 2, 3]);
    let stored = Stored { configuration: Some(voters.clone()), ..Stored::default() };
    let mut node = Membership::new(identity(me, 3), stored, 0).unwrap();
    for id in (4..=3 + members).filter(|id| *id != me) {
        let period_ms = 60_000;
        let hello = Hello { period_ms, ..hello(id, 3, Standing::Formed(voters.clone())) };
        node.handle_hello(Sender { incarnation: 1, ..sender(id) }, hello, MS);
    }
    let mut said = Vec::new();
    for at in (10_000..60_000).step_by(10) {
        node.handle_timeout(at * MS);
        if actions(&mut node).contains(&Action::SendHello) {
            said.push(at);
        }
    }
    let between: Vec<u64> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(between.iter().all(|time| *time == between[0]), "{between:?}");
    (between[0], node.hello().period_ms)
}

#[test]
fn members_without_a_vote_say_fifty_hellos_a_second_at_most_all_together() {
    assert_eq!(period(4, 10), (1_000, 1_000));
    assert_eq!(period(4, 50), (1_000, 1_000));
    assert_eq!(period(4, 100), (2_000, 2_000));
    assert_eq!(period(4, 500), (10_000, 10_000));
    assert_eq!(period(1, 500), (1_000, 1_000), "a voter");
}

#[test]
fn who_speaks_seldom_fails_after_three_of_its_own_periods() {
    let mut watcher = node(1, 3);
    let seldom = Hello { period_ms: 4_000, ..hello(2, 3, Standing::Waiting) };
    watcher.handle_hello(sender(2), seldom, 0);
    watcher.handle_timeout(11_999 * MS);
    assert_eq!(status(&watcher, 2), Status::Alive);
    watcher.handle_timeout(12_000 * MS);
    assert_eq!(status(&watcher, 2), Status::Failed);
}

#[test]
fn own_ids_and_older_incarnations_are_ignored() {
    let mut watcher = node(1, 3);
    watcher.handle_hello(Sender { incarnation: 5, ..sender(2) }, hello(2, 3, Standing::Waiting), MS);
    actions(&mut watcher);
    let formed = Standing::Formed(configuration(1, &[1, 2, 3]));
    watcher.handle_hello(Sender { incarnation: 4, ..sender(2) }, hello(2, 3, formed.clone()), 2 * MS);
    watcher.handle_hello(Sender { incarnation: 9, ..sender(1) }, hello(1, 3, formed), 3 * MS);
    assert_eq!(actions(&mut watcher), []);
}

#[test]
fn at_most_1024_others_are_known_and_those_long_gone_make_room() {
    let mut watcher = node(2000, 3);
    for id in 1..=1024 {
        hear(&mut watcher, id, Standing::Waiting, u64::from(id));
    }
    hear(&mut watcher, 1025, Standing::Waiting, 1100);
    assert_eq!(watcher.members().count(), 1025, "all are alive: no room");
    assert!(notices(&mut watcher).iter().any(|text| text.contains("lb1025 (1025) is ignored")));
    watcher.handle_timeout(9000 * MS);
    hear(&mut watcher, 1025, Standing::Waiting, 9001);
    assert_eq!(watcher.members().count(), 1025);
    assert!(!watcher.members().any(|member| member.id == 1), "the one heard longest ago is gone");
}
