//! What is told of nodes that come and go.

use super::*;
use MemberEventKind::{Failed, Join, Leave, Reap, Update};

/// What was told since: kind and id.
fn told(membership: &mut Membership) -> Vec<(MemberEventKind, u16)> {
    let of = |action| if let Action::Member(kind, node) = action { Some((kind, node.id)) } else { None };
    actions(membership).into_iter().filter_map(of).collect()
}

fn live(membership: &Membership) -> Vec<u16> {
    membership.live().map(|member| member.id).collect()
}

#[test]
fn a_node_joins_once_fails_by_silence_and_joins_again() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    hear(&mut watcher, 2, Standing::Waiting, 100);
    assert_eq!((told(&mut watcher), live(&watcher)), (vec![(Join, 2)], vec![1, 2]));
    watcher.handle_timeout(3100 * MS - 1);
    assert_eq!(told(&mut watcher), []);
    watcher.handle_timeout(3100 * MS);
    assert_eq!((told(&mut watcher), live(&watcher)), (vec![(Failed, 2)], vec![1]));
    hear(&mut watcher, 2, Standing::Waiting, 9000);
    assert_eq!((told(&mut watcher), live(&watcher)), (vec![(Join, 2)], vec![1, 2]));
}

#[test]
fn a_node_whose_daemon_is_dead_has_failed_though_its_data_plane_votes() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    told(&mut watcher);
    let silent_ms = (FAILED_AFTER + SILENT_AFTER) / MS;
    for at in (100..=20_000).step_by(100) {
        watcher.heard(2, at * MS);
        watcher.handle_timeout(at * MS);
        assert!(watcher.next_deadline() > at * MS, "the timer does not spin");
        let expected = if at == silent_ms { vec![(Failed, 2)] } else { vec![] };
        assert_eq!(told(&mut watcher), expected, "at {at} ms");
    }
    assert_eq!(status(&watcher, 2), Status::Alive);
    assert_eq!(live(&watcher), [1]);
    hear(&mut watcher, 2, Standing::Waiting, 20_100);
    assert_eq!(told(&mut watcher), [(Join, 2)]);
}

#[test]
fn the_deadline_is_there_when_a_daemon_falls_silent_and_its_data_plane_does_not() {
    let stored = Stored { configuration: Some(configuration(1, &[1, 2])), ..Stored::default() };
    let mut watcher = Membership::new(identity(1, 2), stored, 0).unwrap();
    hear(&mut watcher, 2, Standing::Formed(configuration(1, &[1, 2])), 4);
    for _ in 0..100 {
        let now = watcher.next_deadline();
        let not_live_at = 4 * MS + FAILED_AFTER + SILENT_AFTER;
        if now >= not_live_at {
            assert_eq!(now, not_live_at);
            return;
        }
        watcher.heard(2, now);
        watcher.handle_timeout(now);
    }
    panic!("it is never looked at");
}

#[test]
fn a_node_that_leaves_is_told_of_at_once_and_once_and_never_failed() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    told(&mut watcher);
    let leaving = Hello { leaving: true, ..hello(2, 3, Standing::Waiting) };
    watcher.handle_hello(sender(2), leaving.clone(), 100 * MS);
    assert_eq!((told(&mut watcher), live(&watcher)), (vec![(Leave, 2)], vec![1]));
    watcher.handle_hello(sender(2), leaving, 200 * MS);
    for at in [1_200, 5_200, 9_000] {
        watcher.handle_timeout(at * MS);
    }
    assert_eq!(told(&mut watcher), []);
    let restarted = Sender { incarnation: 2, ..sender(2) };
    watcher.handle_hello(restarted, hello(2, 3, Standing::Waiting), 9100 * MS);
    assert_eq!(told(&mut watcher), [(Join, 2)]);
}

#[test]
fn a_node_that_was_never_live_here_is_not_told_of_when_it_leaves() {
    let mut watcher = node(1, 3);
    let leaving = Hello { leaving: true, ..hello(2, 3, Standing::Waiting) };
    watcher.handle_hello(sender(2), leaving, 100 * MS);
    watcher.handle_timeout(5_000 * MS);
    assert_eq!(told(&mut watcher), []);
}

#[test]
fn another_name_or_address_is_an_update_and_a_quick_restart_is_nothing() {
    let mut watcher = node(1, 3);
    hear(&mut watcher, 2, Standing::Waiting, 0);
    told(&mut watcher);
    let restarted = Sender { incarnation: 2, ..sender(2) };
    watcher.handle_hello(restarted, hello(2, 3, Standing::Waiting), 100 * MS);
    assert_eq!(told(&mut watcher), []);
    let moved = Sender { address: [10, 0, 0, 99].into(), ..restarted };
    watcher.handle_hello(moved, hello(2, 3, Standing::Waiting), 200 * MS);
    assert_eq!(told(&mut watcher), [(Update, 2)]);
    let renamed = Hello { name: "other".into(), ..hello(2, 3, Standing::Waiting) };
    watcher.handle_hello(moved, renamed, 300 * MS);
    assert_eq!(told(&mut watcher), [(Update, 2)]);
}

#[test]
fn a_node_that_makes_room_for_another_one_is_reaped() {
    let mut watcher = node(2000, 3);
    for id in 1..=1024 {
        hear(&mut watcher, id, Standing::Waiting, u64::from(id));
    }
    watcher.handle_timeout(9000 * MS);
    told(&mut watcher);
    hear(&mut watcher, 1025, Standing::Waiting, 9001);
    assert_eq!(told(&mut watcher), [(Join, 1025), (Reap, 1)]);
}

#[test]
fn this_node_is_live_until_it_leaves_and_is_not_told_of_to_itself() {
    let mut node = node(1, 3);
    assert_eq!(live(&node), [1]);
    node.leave(MS);
    assert_eq!((told(&mut node), live(&node)), (vec![], vec![]));
}
