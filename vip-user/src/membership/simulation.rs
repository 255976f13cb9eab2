//! Forming under loss, delay, duplication, partitions and crashes, in simulated time.
//!
//! The world plays the driver, the disks and the network; the memberships are the real ones. A run breaks things for
//! a while, then lets everything work, and checks what must hold. To show that the checks would find a fault, the
//! driver can be made to break its contract in the ways of [`Fault`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const MS: u64 = 1_000_000;
const TROUBLE_UNTIL: u64 = 8_000 * MS;
const END: u64 = 14_000 * MS;
/// How long a partition lasts before the next one.
const PARTITION: u64 = 1_300 * MS;

/// What the driver does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Reports a consent as durable and never writes it.
    SkipsTheStore,
    /// Reports a consent as durable at once, and writes it a moment later.
    ReportsBeforeStoring,
    /// Starts without the consent that is on the disk.
    ForgetsConsentAtStart,
}

#[derive(Default)]
struct Node {
    running: Option<Membership>,
    /// Counts the starts; also tells events of an earlier run from those of this one.
    incarnation: u64,
    disk: Stored,
    wakes_at: u64,
    deadlocked: bool,
}

enum Event {
    Wake,
    Deliver { from: Sender, hello: Hello },
    Written { what: Durable, incarnation: u64 },
    Reported { what: Durable, incarnation: u64 },
    Crash,
    Start,
}

struct World {
    rng: SmallRng,
    fault: Fault,
    expect: u8,
    now: u64,
    nodes: BTreeMap<u16, Node>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    /// By the second key of `queue`, so that events need no order of their own.
    events: BTreeMap<u64, (u16, Event)>,
    count: u64,
    /// All first configurations that any node has ever adopted.
    adopted: Vec<Configuration>,
    broken: Option<String>,
    /// The side that each node is on, changing with every partition.
    sides: BTreeMap<u16, bool>,
    partitioned_until: u64,
}

/// Runs `nodes` nodes that expect `expect` voters; returns what was broken, or the world as it ended.
fn simulate(seed: u64, nodes: u16, expect: u8, fault: Fault) -> Result<World, String> {
    let mut world = World::new(seed, nodes, expect, fault);
    while let Some(Reverse((at, key))) = world.queue.pop() {
        if at > END {
            break;
        }
        world.now = at;
        if let Some((id, event)) = world.events.remove(&key) {
            world.handle(id, event);
        }
        if let Some(broken) = world.broken.take() {
            return Err(format!("seed {seed}, {nodes} nodes, expect {expect}, at {} ms: {broken}", at / MS));
        }
    }
    Ok(world)
}

impl World {
    fn new(seed: u64, nodes: u16, expect: u8, fault: Fault) -> Self {
        let mut world = Self {
            rng: SmallRng::seed_from_u64(seed),
            fault,
            expect,
            now: 0,
            nodes: (1..=nodes).map(|id| (id, Node::default())).collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            adopted: Vec::new(),
            broken: None,
            sides: BTreeMap::new(),
            partitioned_until: 0,
        };
        for id in 1..=nodes {
            let start = world.rng.random_range(0..1_500 * MS);
            world.schedule(start, id, Event::Start);
            for _ in 0..world.rng.random_range(0..4) {
                let crash = world.rng.random_range(start..TROUBLE_UNTIL);
                let again = world.rng.random_range(crash..TROUBLE_UNTIL);
                world.schedule(crash, id, Event::Crash);
                world.schedule(again, id, Event::Start);
            }
            world.schedule(TROUBLE_UNTIL, id, Event::Start);
        }
        world
    }

    fn schedule(&mut self, at: u64, id: u16, event: Event) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count)));
        self.events.insert(self.count, (id, event));
    }

    fn handle(&mut self, id: u16, event: Event) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match (event, &mut node.running) {
            (Event::Start, None) => self.start(id),
            (Event::Crash, _) => node.running = None,
            (Event::Wake, Some(running)) if node.wakes_at == now => running.handle_timeout(now),
            (Event::Deliver { from, hello }, Some(running)) => running.handle_hello(from, hello, now),
            (Event::Reported { what, incarnation }, Some(running)) if node.incarnation == incarnation => {
                running.handle_stored(what, now);
            }
            (Event::Written { what, incarnation }, Some(_)) if node.incarnation == incarnation => {
                self.write(id, what);
            }
            _ => {}
        }
        self.drive(id);
    }

    fn start(&mut self, id: u16) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.incarnation += 1;
        let mut stored = node.disk.clone();
        if self.fault == Fault::ForgetsConsentAtStart {
            stored.consent = None;
        }
        let identity = Identity {
            id,
            incarnation: node.incarnation,
            address: Ipv4Addr::LOCALHOST,
            name: format!("lb{id}"),
            version: String::new(),
            priority: 100,
            expect: self.expect,
            interval_ns: 10 * MS,
            lease_ns: 50 * MS,
            groups: vec![],
        };
        node.running = Some(Membership::new(identity, stored, self.now).unwrap());
    }

    /// Carries out the actions of node `id` and schedules its next wake-up.
    fn drive(&mut self, id: u16) {
        while let Some(action) = self.running(id).and_then(Membership::poll_action) {
            match action {
                Action::SendHello => self.send(id),
                Action::StoreConsent(consent) => self.store(id, Durable::Consent(consent)),
                Action::StoreConfiguration(new) => self.store(id, Durable::Configuration(new)),
                Action::Adopt(configuration) => self.check_adopted(id, configuration),
                Action::Notice(Notice::Deadlock { .. }) => self.node(id).deadlocked = true,
                Action::PeersChanged | Action::Notice(_) => {}
            }
        }
        let Some(deadline) = self.running(id).map(|running| running.next_deadline()) else { return };
        assert!(deadline > self.now, "the timer does not spin");
        if self.node(id).wakes_at != deadline {
            self.node(id).wakes_at = deadline;
            self.schedule(deadline, id, Event::Wake);
        }
    }

    /// A write takes a while, and so does the news of it; crashes come before, between and after.
    fn store(&mut self, id: u16, what: Durable) {
        let incarnation = self.node(id).incarnation;
        let mut written = self.now + self.rng.random_range(0..30 * MS);
        let mut reported = written + self.rng.random_range(0..30 * MS);
        if matches!(what, Durable::Consent(_)) {
            match self.fault {
                Fault::SkipsTheStore => written = END + 1,
                Fault::ReportsBeforeStoring => {
                    reported = self.now;
                    written += 500 * MS;
                }
                Fault::None | Fault::ForgetsConsentAtStart => {}
            }
        }
        let last = written.max(reported);
        if last < TROUBLE_UNTIL && self.rng.random_bool(0.3) {
            let crash = self.rng.random_range(self.now..last + 100 * MS);
            let again = crash + self.rng.random_range(0..500 * MS);
            self.schedule(crash, id, Event::Crash);
            self.schedule(again, id, Event::Start);
        }
        self.schedule(written, id, Event::Written { what: what.clone(), incarnation });
        self.schedule(reported, id, Event::Reported { what, incarnation });
    }

    fn write(&mut self, id: u16, what: Durable) {
        let fault = self.fault;
        let disk = &mut self.node(id).disk;
        match what {
            Durable::Configuration(configuration) => disk.configuration = Some(configuration),
            Durable::Consent(consent) => {
                let before = disk.consent.replace(consent.clone());
                // A driver at fault must be found by the harm it does, not by this.
                if fault == Fault::None && before.is_some_and(|before| before != consent) {
                    self.broken = Some(format!("node {id} consented again, to {consent}"));
                }
            }
        }
    }

    /// Broadcasts the Hello of `id`. While there is trouble, copies are lost, late, out of order or doubled.
    fn send(&mut self, id: u16) {
        let trouble = self.now < TROUBLE_UNTIL;
        self.shuffle_sides();
        let incarnation = self.node(id).incarnation;
        let Some(hello) = self.running(id).map(|running| running.hello()) else { return };
        let from = Sender { id, incarnation, address: Ipv4Addr::LOCALHOST };
        self.check_said(id, &hello);
        let others: Vec<u16> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for to in others {
            let cut = trouble && self.sides.get(&id) != self.sides.get(&to);
            if cut || trouble && self.rng.random_bool(0.2) {
                continue;
            }
            for _ in 0..if trouble { self.rng.random_range(1..=2) } else { 1 } {
                let delay = self.rng.random_range(0..if trouble { 400 * MS } else { MS });
                self.schedule(self.now + delay, to, Event::Deliver { from, hello: hello.clone() });
            }
        }
    }

    fn shuffle_sides(&mut self) {
        if self.partitioned_until <= self.now {
            self.partitioned_until = self.now + PARTITION;
            let whole = self.rng.random_bool(0.3);
            for id in self.nodes.keys() {
                self.sides.insert(*id, whole || self.rng.random_bool(0.5));
            }
        }
    }

    /// What is said is on the disk.
    fn check_said(&mut self, id: u16, hello: &Hello) {
        if self.fault != Fault::None {
            return;
        }
        let disk = &self.node(id).disk;
        let is_kept = match &hello.standing {
            Standing::Waiting => true,
            Standing::Consented(consent) => disk.consent.as_ref() == Some(consent),
            Standing::Formed(configuration) => disk.configuration.as_ref() == Some(configuration),
        };
        if !is_kept {
            self.broken = Some(format!("node {id} says {:?} without having stored it", hello.standing));
        }
    }

    /// First configurations are equal or disjoint; with `expect` a majority of the nodes, there is but one.
    fn check_adopted(&mut self, id: u16, new: Configuration) {
        let majority = 2 * usize::from(self.expect) > self.nodes.len();
        let clash = |old: &&Configuration| {
            **old != new && (majority || old.voters().iter().any(|voter| new.contains(*voter)))
        };
        if let Some(old) = self.adopted.iter().find(clash) {
            self.broken = Some(format!("node {id} adopted {new}, and {old} was adopted before"));
        }
        self.adopted.push(new);
    }

    fn node(&mut self, id: u16) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    fn running(&mut self, id: u16) -> Option<&mut Membership> {
        self.node(id).running.as_mut()
    }

    fn all_have_a_configuration(&self) -> bool {
        let has =
            |node: &Node| node.running.as_ref().is_some_and(|running| running.configuration().is_some());
        self.nodes.values().all(has)
    }
}

#[test]
fn all_expected_nodes_form_one_configuration_whatever_happened_before() {
    for seed in 0..60 {
        let nodes = 3 + u16::try_from(seed % 5).unwrap();
        let expect = u8::try_from(nodes).unwrap();
        let world = simulate(seed, nodes, expect, Fault::None).unwrap();
        assert!(world.all_have_a_configuration(), "seed {seed}: {nodes} nodes do not form");
    }
}

#[test]
fn with_a_majority_expected_one_configuration_is_formed_or_the_deadlock_is_named() {
    let mut formed = 0;
    for seed in 0..100 {
        let nodes = 4 + u16::try_from(seed % 4).unwrap();
        let expect = u8::try_from(nodes / 2 + 1).unwrap();
        let world = simulate(seed, nodes, expect, Fault::None).unwrap();
        let is_formed = world.all_have_a_configuration();
        formed += u32::from(is_formed);
        let is_named = world.nodes.values().all(|node| node.deadlocked);
        assert!(is_formed || is_named, "seed {seed}: {nodes} nodes neither form nor say why");
    }
    assert!(formed > 80, "only {formed} of 100 runs formed a configuration");
}

#[test]
fn with_a_minority_expected_configurations_are_equal_or_disjoint() {
    for seed in 0..60 {
        let nodes = 4 + u16::try_from(seed % 4).unwrap();
        simulate(seed, nodes, 2, Fault::None).unwrap();
    }
}

#[test]
fn a_driver_that_breaks_its_contract_is_found() {
    let is_found = |fault| {
        (0..2000).any(|seed| {
            let nodes = 4 + u16::try_from(seed % 2).unwrap();
            simulate(seed, nodes, 3, fault).is_err()
        })
    };
    assert!(is_found(Fault::SkipsTheStore));
    assert!(is_found(Fault::ReportsBeforeStoring));
    assert!(is_found(Fault::ForgetsConsentAtStart));
}
