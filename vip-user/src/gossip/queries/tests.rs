use super::*;

const START: u64 = 1_000 * SECOND;
const OTHER: u16 = 2;

fn asker() -> Queries {
    Queries::new(1, START)
}

fn nodes(ids: &[u16]) -> BTreeSet<u16> {
    ids.iter().copied().collect()
}

fn actions(queries: &mut Queries) -> Vec<Action> {
    std::iter::from_fn(|| queries.poll_action()).collect()
}

/// The query that was sent last.
fn sent(actions: &[Action]) -> Query {
    let sent = actions.iter().rev().find_map(|action| match action {
        Action::SendToAll(Gossip::Query(query)) => Some(query.clone()),
        _ => None,
    });
    sent.expect("a query was sent")
}

fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| match action {
        Action::Finished(_, outcome) => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn a_query_is_over_when_all_have_acknowledged_it_and_who_would_answer_has() {
    let mut queries = asker();
    queries.ask(("uptime", b""), &nodes(&[1, 2, 3]), true, 2 * SECOND, START).unwrap();
    let first = actions(&mut queries);
    let query = sent(&first);
    assert_eq!(first[0], Action::Run(query.clone()));
    assert!(query.nodes.is_empty());
    let origin = query.origin;
    queries.handle_own_answer(origin, true, None, START);
    queries.handle_ack(2, origin, false, START);
    queries.handle_ack(3, origin, true, START);
    queries.handle_own_answer(origin, true, Some(b"mine".to_vec()), START);
    assert_eq!(outcome(&actions(&mut queries)), None);
    queries.handle_answer(3, origin, b"theirs".to_vec(), START);
    let expected = Outcome {
        acks: vec![1, 2, 3],
        answers: vec![(1, b"mine".to_vec()), (3, b"theirs".to_vec())],
        ..Outcome::default()
    };
    assert_eq!(outcome(&actions(&mut queries)), Some(expected));
}

#[test]
fn who_has_not_answered_is_asked_again_and_named_in_the_end() {
    let mut queries = asker();
    queries.ask(("uptime", b""), &nodes(&[2, 3, 4]), true, SECOND, START).unwrap();
    let origin = sent(&actions(&mut queries)).origin;
    queries.handle_ack(2, origin, false, START);
    queries.handle_ack(3, origin, true, START);
    queries.handle_timeout(START + ASK_AGAIN_AFTER);
    let again = sent(&actions(&mut queries));
    assert_eq!(again.nodes, [3, 4]);
    assert_eq!(queries.next_deadline(), Some(START + 3 * ASK_AGAIN_AFTER));
    queries.handle_timeout(START + SECOND);
    let expected = Outcome { acks: vec![2, 3], silent: vec![4], late: vec![3], ..Outcome::default() };
    assert_eq!(outcome(&actions(&mut queries)), Some(expected));
    assert_eq!(queries.next_deadline(), None);
}

#[test]
fn a_handler_that_fails_is_not_waited_for() {
    let mut queries = asker();
    queries.ask(("uptime", b""), &nodes(&[2]), false, SECOND, START).unwrap();
    let origin = sent(&actions(&mut queries)).origin;
    queries.handle_ack(2, origin, true, START);
    queries.handle_ack(2, origin, false, START);
    let expected = Outcome { acks: vec![2], ..Outcome::default() };
    assert_eq!(outcome(&actions(&mut queries)), Some(expected));
}

#[test]
fn only_the_nodes_that_are_named_run_a_query_and_only_once() {
    let mut asker = asker();
    asker.ask(("uptime", b"x"), &nodes(&[OTHER]), false, SECOND, START).unwrap();
    let query = sent(&actions(&mut asker));
    assert_eq!(query.nodes, [OTHER]);

    let mut third = Queries::new(3, START);
    third.handle_query(query.clone());
    assert_eq!(actions(&mut third), []);

    let mut other = Queries::new(OTHER, START);
    other.handle_query(query.clone());
    assert_eq!(actions(&mut other), [Action::Run(query.clone())]);
    let ack = Action::Send(1, Gossip::Ack { query: query.origin, answers: true });
    other.handle_own_answer(query.origin, true, None, START);
    assert_eq!(actions(&mut other), std::slice::from_ref(&ack));
    other.handle_query(query.clone());
    assert_eq!(actions(&mut other), [ack]);
    let answer = Action::Send(1, Gossip::Answer { query: query.origin, payload: b"y".to_vec() });
    other.handle_own_answer(query.origin, true, Some(b"y".to_vec()), START);
    other.handle_query(query);
    assert_eq!(actions(&mut other), [answer.clone(), answer]);
}

#[test]
fn many_nodes_are_asked_in_several_messages() {
    let mut queries = asker();
    let all: BTreeSet<u16> = (1..=100).collect();
    queries.ask(("uptime", b""), &all, false, SECOND, START).unwrap();
    let mut asked: Vec<u16> = Vec::new();
    for action in actions(&mut queries) {
        if let Action::SendToAll(Gossip::Query(query)) = action {
            assert!(Gossip::Query(query.clone()).encode().is_ok());
            asked.extend(query.nodes);
        }
    }
    assert_eq!(asked, (2..=100).collect::<Vec<_>>());
}

#[test]
fn queries_have_bounds_of_number_time_and_memory() {
    let mut queries = asker();
    let mut ask = |timeout| queries.ask(("q", b""), &nodes(&[OTHER]), false, timeout, START);
    assert_eq!(ask(0), Err(Refused::Timeout));
    assert_eq!(ask(MAX_TIMEOUT + 1), Err(Refused::Timeout));
    for _ in 0..MAX_ASKED {
        ask(SECOND).unwrap();
    }
    assert_eq!(ask(SECOND), Err(Refused::TooMany));
    for number in 1..=10_000 {
        let origin = Origin { node: OTHER, incarnation: 1, number };
        queries.handle_own_answer(origin, true, Some(vec![0; 10]), START);
    }
    assert_eq!(queries.answered.len(), MAX_ANSWERED);
}

#[test]
fn answers_of_another_daemons_query_or_after_its_end_change_nothing() {
    let mut queries = asker();
    queries.ask(("q", b""), &nodes(&[OTHER]), false, SECOND, START).unwrap();
    let origin = sent(&actions(&mut queries)).origin;
    let foreign = [
        Origin { incarnation: 1, ..origin },
        Origin { node: OTHER, ..origin },
        Origin { number: 9, ..origin },
    ];
    for origin in foreign {
        queries.handle_answer(OTHER, origin, b"no".to_vec(), START);
    }
    assert_eq!(outcome(&actions(&mut queries)), None);
    queries.handle_timeout(START + SECOND);
    assert!(outcome(&actions(&mut queries)).is_some());
    queries.handle_answer(OTHER, origin, b"late".to_vec(), START + SECOND);
    assert_eq!(actions(&mut queries), []);
}
