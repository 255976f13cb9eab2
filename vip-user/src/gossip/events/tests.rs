use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * SECOND;

/// Nodes 1 to n on a network that loses, doubles and delays messages, and what each has delivered.
struct Net {
    now: u64,
    nodes: Vec<Events>,
    delivered: Vec<Vec<UserEvent>>,
    /// Cut off, by index.
    cut: Vec<bool>,
    /// When it arrives, from, to, what.
    under_way: Vec<(u64, usize, usize, Message)>,
    rng: SmallRng,
    /// In percent.
    loss: u32,
    sent: usize,
}

#[derive(Clone)]
enum Message {
    Gossip(Gossip),
    Hello(u64, Vec<Heard>),
}

impl Net {
    fn new(nodes: u16, loss: u32) -> Self {
        let count = usize::from(nodes);
        Self {
            now: START,
            nodes: (1..=nodes).map(|id| Events::new(id, START, None)).collect(),
            delivered: vec![Vec::new(); count],
            cut: vec![false; count],
            under_way: Vec::new(),
            rng: SmallRng::seed_from_u64(7),
            loss,
            sent: 0,
        }
    }

    /// A network on which all have heard each other.
    fn settled(nodes: u16, loss: u32) -> Self {
        let mut net = Self::new(nodes, 0);
        net.run(2 * SECOND);
        net.loss = loss;
        net
    }

    fn make(&mut self, node: usize, name: &str) -> u64 {
        let ltime = self.nodes[node].make(name, b"x", false, self.now).unwrap();
        self.take_actions(node);
        ltime
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        self.sent += 1;
        let copies = if self.loss > 0 && self.rng.random_ratio(1, 10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.rng.random_range(MS / 10..5 * MS);
            if !self.cut[from] && !self.cut[to] && !self.rng.random_ratio(self.loss, 100) {
                self.under_way.push((self.now + delay, from, to, message.clone()));
            }
        }
    }

    fn take_actions(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].poll_action() {
            match action {
                Action::SendToAll(gossip) => self.broadcast(node, &Message::Gossip(gossip)),
                Action::Send(to, gossip) => {
                    self.send(node, usize::from(to) - 1, &Message::Gossip(gossip));
                }
                Action::Deliver(event) => self.delivered[node].push(event),
            }
        }
    }

    fn broadcast(&mut self, node: usize, message: &Message) {
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            self.send(node, to, message);
        }
    }

    /// Lets time pass, with a Hello of each node every second.
    fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.now += MS;
            let (arrived, under_way) = self.under_way.drain(..).partition(|(at, ..)| *at <= self.now);
            self.under_way = under_way;
            for (_, from, to, message) in arrived {
                self.arrive(from, to, message);
            }
            for node in 0..self.nodes.len() {
                if self.now / MS % 1000 == node as u64 {
                    let hello = Message::Hello(self.nodes[node].clock(), self.nodes[node].heard());
                    self.broadcast(node, &hello);
                }
                if self.nodes[node].next_deadline().is_some_and(|deadline| deadline <= self.now) {
                    self.nodes[node].handle_timeout(self.now);
                    self.take_actions(node);
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, message: Message) {
        let (node, sender, now) = (&mut self.nodes[to], u16::try_from(from + 1).unwrap(), self.now);
        match message {
            Message::Hello(clock, heard) => node.handle_heard(sender, clock, &heard, now),
            Message::Gossip(Gossip::Event(event)) => node.handle_event(event, now),
            Message::Gossip(Gossip::Missing(missing)) => node.handle_missing(sender, missing),
            Message::Gossip(_) => unreachable!("events say nothing else"),
        }
        self.take_actions(to);
    }

    fn names(&self, node: usize) -> Vec<&str> {
        self.delivered[node].iter().map(|event| event.name.as_str()).collect()
    }
}

#[test]
fn an_event_reaches_every_node_once_the_sender_too() {
    let mut net = Net::settled(5, 0);
    net.make(2, "deploy");
    net.run(3 * SECOND);
    for node in 0..5 {
        assert_eq!(net.names(node), ["deploy"], "node {node}");
    }
    // Twice to four nodes; nobody had anything to ask for.
    let hellos = 5 * 4 * 5;
    assert_eq!(net.sent - hellos, 8);
}

#[test]
fn events_reach_every_node_once_and_in_order_of_each_sender_where_half_of_all_messages_are_lost() {
    let mut net = Net::settled(5, 50);
    for round in 0..40 {
        net.make(round % 3, &format!("{round}"));
        net.run(20 * MS);
    }
    net.run(20 * SECOND);
    for node in 0..5 {
        let mut names: Vec<u32> = net.names(node).iter().map(|name| name.parse().unwrap()).collect();
        for sender in 0..3 {
            let of_sender: Vec<_> = names.iter().filter(|name| **name % 3 == sender).collect();
            assert!(of_sender.is_sorted(), "node {node} of {sender}: {of_sender:?}");
        }
        names.sort_unstable();
        assert_eq!(names, (0..40).collect::<Vec<_>>(), "node {node}");
    }
}

#[test]
fn what_was_made_after_something_was_heard_comes_after_it() {
    let mut net = Net::settled(3, 0);
    let times: Vec<u64> = (0..20)
        .map(|round| {
            net.run(6 * MS);
            net.make(round % 2, &format!("{round}"))
        })
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    net.run(SECOND);
    for node in 0..3 {
        assert!(net.delivered[node].is_sorted_by_key(|event| event.ltime), "node {node}");
        assert_eq!(net.delivered[node].len(), 20);
    }
}

#[test]
fn a_node_that_was_cut_off_for_a_moment_hears_what_was_made_meanwhile() {
    let mut net = Net::settled(3, 0);
    net.cut[2] = true;
    for name in ["a", "b", "c"] {
        net.make(0, name);
    }
    net.run(10 * MS);
    net.make(1, "d");
    net.run(30 * SECOND);
    assert!(net.delivered[2].is_empty());
    // Who has made most of them is gone by then.
    net.cut[0] = true;
    net.cut[2] = false;
    net.run(3 * SECOND);
    assert_eq!(net.names(2), ["a", "b", "c", "d"]);
}

#[test]
fn what_a_node_has_missed_of_several_nodes_comes_in_its_order() {
    let mut net = Net::settled(4, 0);
    net.cut[3] = true;
    let mut names = Vec::new();
    for round in 0..12 {
        names.push(format!("{round}"));
        net.make(round % 3, &names[round]);
        net.run(10 * MS);
    }
    net.run(5 * SECOND);
    net.cut[3] = false;
    net.run(3 * SECOND);
    assert_eq!(net.names(3), names);
}

#[test]
fn a_node_that_starts_hears_nothing_old_and_one_that_is_started_again_only_what_it_has_missed() {
    let mut net = Net::settled(3, 0);
    net.make(0, "old");
    net.run(SECOND);
    let delivered = net.nodes[2].delivered();
    net.cut[2] = true;
    net.make(0, "missed");
    net.run(SECOND);
    for (known, expected) in [(None, vec![]), (Some(delivered), vec!["missed"])] {
        net.nodes[2] = Events::new(3, net.now, known);
        net.delivered[2].clear();
        net.cut[2] = false;
        net.run(3 * SECOND);
        assert_eq!(net.names(2), expected, "{known:?}");
        net.cut[2] = true;
    }
    net.cut[2] = false;
    net.make(1, "new");
    net.run(SECOND);
    assert_eq!(net.names(2), ["missed", "new"]);
}

#[test]
fn events_that_nobody_has_any_more_are_given_up() {
    let mut net = Net::settled(2, 0);
    net.cut[1] = true;
    net.make(0, "lost");
    net.run(KEPT_TIME + SECOND);
    net.cut[1] = false;
    net.make(0, "found");
    net.run(GAP_PATIENCE + 2 * SECOND);
    assert_eq!(net.names(1), ["found"]);
}

#[test]
fn too_many_events_are_refused_and_later_ones_are_not() {
    let mut events = Events::new(1, START, None);
    let mut made = |now: u64| (0..10_000).filter(|_| events.make("e", b"", true, now).is_ok()).count();
    assert_eq!([made(START), made(START + SECOND)], [200, 100]);
    assert_eq!(events.make("e", b"", true, START + SECOND), Err(Refused::TooMany));
    assert!(matches!(events.make("a\tb", b"", true, START + 9 * SECOND), Err(Refused::Invalid(_))));
}

#[test]
fn a_flood_of_any_numbers_of_any_nodes_keeps_memory_bounded() {
    let mut events = Events::new(1, START, None);
    let mut rng = SmallRng::seed_from_u64(3);
    for i in 0..100_000_u64 {
        let origin = Origin {
            node: rng.random_range(2..2000),
            incarnation: rng.random_range(0..3),
            number: rng.random_range(1..200),
        };
        let ltime = rng.random_range(0..1000);
        let event = UserEvent { origin, ltime, after: 0, name: "n".into(), payload: vec![], coalesce: false };
        let now = START + i * MS / 100;
        match i % 3 {
            0 => events.handle_heard(origin.node, ltime, &[Heard { last: origin, ltime }], now),
            _ => events.handle_event(event, now),
        }
        while events.poll_action().is_some() {}
        assert!(events.streams.len() <= MAX_STREAMS && events.kept.len() <= MAX_KEPT);
        assert!(events.held_back.len() <= MAX_HELD_BACK + 64);
        assert!(events.heard().len() <= MAX_HEARD);
    }
    assert!(events.streams.values().all(|stream| stream.ahead.len() <= 64));
}

#[test]
fn a_time_far_in_the_future_is_not_taken() {
    let mut events = Events::new(1, START, None);
    let origin = Origin { node: 2, incarnation: 1, number: 1 };
    let event =
        UserEvent { origin, ltime: u64::MAX, after: 0, name: "n".into(), payload: vec![], coalesce: false };
    events.handle_event(event, START);
    events.handle_heard(2, u64::MAX, &[Heard { last: origin, ltime: u64::MAX }], START);
    assert_eq!(events.make("n", b"", false, START), Ok(1));
}
