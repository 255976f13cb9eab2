//! Nodes on several segments: who is on one hears the others there by the group, and everybody reaches everybody by unicast.

use std::collections::BTreeMap;

use super::*;

/// Time between two Hellos.
const HELLO: u64 = SECOND;
const STEP: u64 = SECOND / 10;

struct World {
    now: u64,
    nodes: BTreeMap<u8, Node>,
}

struct Node {
    segment: u8,
    contacts: Contacts,
    /// As ordered.
    reached: Vec<IpAddr>,
    next_hello: u64,
    /// When each other node was last heard, and how often twice.
    heard: BTreeMap<u8, u64>,
    doubled: u32,
}

impl World {
    fn new() -> Self {
        Self { now: START, nodes: BTreeMap::new() }
    }

    fn start(&mut self, node: u8, segment: u8, join: &[u8]) {
        let join = join.iter().map(|node| at(*node)).collect();
        let settings = Settings { own: at(node), never: BTreeSet::new(), peers: vec![], join };
        let contacts = Contacts::new(settings, self.now);
        let (reached, heard) = (Vec::new(), BTreeMap::new());
        let started = Node { segment, contacts, reached, next_hello: self.now, heard, doubled: 0 };
        self.nodes.insert(node, started);
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + seconds * SECOND;
        while self.now < end {
            self.now += STEP;
            for node in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.step(node);
            }
        }
    }

    fn step(&mut self, id: u8) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.contacts.next_deadline().is_some_and(|deadline| deadline <= now) {
            node.contacts.handle_timeout(always(Standing::Member), now);
        }
        let mut letters = Vec::new();
        while let Some(action) = node.contacts.poll_action() {
            match action {
                Action::Reach(contacts) => node.reached = contacts,
                Action::Ask(to) => letters.push((to, true)),
                Action::Greet(to) => letters.push((to, false)),
            }
        }
        for (to, asks) in letters {
            self.deliver(id, to, Way::Direct);
            if asks {
                self.answer(to, id);
            }
        }
        self.say_hello(id);
    }

    /// By the group first; who gets it twice takes it once.
    fn say_hello(&mut self, id: u8) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.next_hello <= self.now) else { return };
        node.next_hello = self.now + HELLO;
        let (segment, reached) = (node.segment, node.reached.clone());
        let neighbours: Vec<u8> =
            self.nodes.iter().filter(|(_, node)| node.segment == segment).map(|(id, _)| *id).collect();
        for neighbour in neighbours.iter().filter(|neighbour| **neighbour != id) {
            self.deliver(id, at(*neighbour), Way::Group);
        }
        for to in reached {
            match neighbours.iter().find(|neighbour| at(**neighbour) == to) {
                Some(twice) => self.nodes.get_mut(twice).unwrap().doubled += 1,
                None => self.deliver(id, to, Way::Direct),
            }
        }
    }

    fn deliver(&mut self, from: u8, to: IpAddr, way: Way) {
        let now = self.now;
        if let Some((_, node)) = self.nodes.iter_mut().find(|(id, _)| at(**id) == to) {
            node.contacts.heard(from.into(), at(from), way, now);
            node.heard.insert(from, now);
        }
    }

    fn answer(&mut self, from: IpAddr, to: u8) {
        let Some((id, node)) = self.nodes.iter().find(|(id, _)| at(**id) == from) else { return };
        let (id, now) = (*id, self.now);
        let alive = node.heard.iter().filter(|(other, heard)| **other != to && now < **heard + LATELY);
        let roster: Vec<_> = alive.map(|(other, _)| at(*other)).collect();
        self.deliver(id, at(to), Way::Direct);
        if let Some(node) = self.nodes.get_mut(&to) {
            node.contacts.handle_roster(&roster, now);
        }
    }

    /// Whether each node hears each other one.
    fn is_whole(&self) -> bool {
        let heard = |node: &Node| node.heard.values().filter(|heard| self.now < **heard + LATELY).count();
        self.nodes.values().all(|node| heard(node) == self.nodes.len() - 1)
    }

    fn doubled(&self) -> u32 {
        self.nodes.values().map(|node| node.doubled).sum()
    }
}

/// Input: nodes on segments of their own, with the same file, in all orders of start, seconds apart.
#[test]
fn nodes_that_know_one_member_find_all_in_any_order_of_start() {
    let orders = [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3], [3, 1, 4, 2], [2, 3, 4, 1]];
    for order in orders {
        for apart in [0, 1, 20] {
            let mut world = World::new();
            for node in order {
                world.start(node, node, &[1]);
                world.run(apart);
            }
            world.run(8);
            assert!(world.is_whole(), "{order:?}, {apart} s apart");
            world.run(100);
            assert!(world.is_whole());
            assert_eq!(world.doubled(), 0);
        }
    }
}

#[test]
fn a_chain_of_nodes_that_know_one_other_each_becomes_whole() {
    let mut world = World::new();
    for node in 1..=12 {
        world.start(node, node, &[node + 1]);
    }
    world.run(40);
    assert!(world.is_whole());
}

#[test]
fn segments_become_one_cluster_through_two_nodes_and_no_message_comes_twice() {
    let mut world = World::new();
    for (node, segment) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        world.start(node, segment, &[]);
    }
    world.run(20);
    assert!(!world.is_whole());
    let now = world.now;
    world.nodes.get_mut(&4).unwrap().contacts.join(at(2), now).unwrap();
    world.nodes.get_mut(&6).unwrap().contacts.join(at(5), now).unwrap();
    world.run(15);
    assert!(world.is_whole());
    assert_eq!(world.doubled(), 0);
}

#[test]
fn the_rest_hear_each_other_when_the_member_that_all_joined_through_is_gone() {
    let mut world = World::new();
    for node in 1..=4 {
        world.start(node, node, &[1]);
    }
    world.run(10);
    world.nodes.remove(&1);
    world.run(30);
    assert!(world.is_whole());
    // It has lost all that it knew, and need not know anybody: the others still write to it.
    world.start(1, 1, &[]);
    world.run(8);
    assert!(world.is_whole());
}

#[test]
fn where_the_group_begins_to_carry_nobody_writes_by_unicast_any_more() {
    let mut world = World::new();
    for node in 1..=4 {
        world.start(node, node, &[1]);
    }
    world.run(20);
    for node in world.nodes.values_mut() {
        node.segment = 1;
    }
    world.run(3);
    let before = world.doubled();
    world.run(60);
    assert!(world.is_whole());
    assert!(world.nodes.values().all(|node| node.reached.is_empty()));
    assert_eq!(world.doubled(), before);
}
