//! Membership under loss, delay, duplication, partitions and crashes, in simulated time.
//!
//! The world plays the driver, the disks and the network; the memberships are the real ones. A run breaks things for
//! a while, then lets everything work, and checks what must hold. To show that the checks would find a fault, the
//! driver can be made to break its contract in the ways of [`Fault`]. What happens to the nodes in a run, and what must
//! have come of it in the end, is in `forming` and `changing`.

mod changing;
mod forming;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vip_common::lease::{Ballot, quorum};

use super::*;

const MS: u64 = 1_000_000;
const LEASE: u64 = 50 * MS;
/// Time between two calls of a command that waits.
const POLL: u64 = 100 * MS;
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
    /// Reports a pledge as durable at once, and writes it a moment later.
    ReportsPledgeBeforeStoring,
    /// Starts without the pledge that is on the disk.
    ForgetsPledgeAtStart,
}

#[derive(Default)]
struct Node {
    running: Option<Membership>,
    /// Counts the starts; also tells events of an earlier run from those of this one.
    incarnation: u64,
    disk: Stored,
    wakes_at: u64,
    deadlocked: bool,
    /// The newest Hello of each node that this run has heard: incarnation, and number within that.
    newest: BTreeMap<u16, (u64, u64)>,
    hellos: u64,
    /// When it first said that it has the configuration of an epoch.
    had_since: BTreeMap<u32, u64>,
}

#[expect(clippy::large_enum_variant, reason = "a Hello is what most of them are")]
enum Event {
    Wake,
    Deliver {
        from: Sender,
        number: u64,
        hello: Hello,
    },
    Written {
        what: Durable,
        incarnation: u64,
    },
    Reported {
        what: Durable,
        incarnation: u64,
    },
    Crash,
    Start,
    /// A command asks again to count out a voter, until then; a node that is counted out itself stops.
    Remove {
        who: u16,
        until: u64,
    },
}

struct World {
    seed: u64,
    rng: SmallRng,
    fault: Fault,
    expect: u8,
    now: u64,
    nodes: BTreeMap<u16, Node>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    /// By the second key of `queue`, so that events need no order of their own.
    events: BTreeMap<u64, (u16, Event)>,
    count: u64,
    trouble_until: u64,
    /// How likely nobody is cut off, until the next partition.
    wholeness: f64,
    /// All configurations that any node has ever adopted.
    adopted: Vec<Configuration>,
    /// All that was ever proposed, by epoch and ballot.
    proposed: BTreeMap<(u32, Ballot), Configuration>,
    broken: Option<String>,
    /// The side that each node is on, changing with every partition.
    sides: BTreeMap<u16, bool>,
    partitioned_until: u64,
}

impl World {
    /// Nodes 1 to `nodes`, none of them started; trouble ends at `trouble_until`.
    fn new(seed: u64, nodes: u16, expect: u8, fault: Fault, trouble_until: u64) -> Self {
        Self {
            seed,
            rng: SmallRng::seed_from_u64(seed),
            fault,
            expect,
            now: 0,
            nodes: (1..=nodes).map(|id| (id, Node::default())).collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            trouble_until,
            wholeness: 0.3,
            adopted: Vec::new(),
            proposed: BTreeMap::new(),
            broken: None,
            sides: BTreeMap::new(),
            partitioned_until: 0,
        }
    }

    /// Lets everything happen until `end`; gives what was broken, or the world as it ended.
    fn run(mut self, end: u64) -> Result<Self, String> {
        while let Some(Reverse((at, key))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            if let Some((id, event)) = self.events.remove(&key) {
                self.handle(id, event);
            }
            if let Some(broken) = self.broken.take() {
                let (seed, nodes, expect) = (self.seed, self.nodes.len(), self.expect);
                return Err(format!(
                    "seed {seed}, {nodes} nodes, expect {expect}, at {} ms: {broken}",
                    at / MS
                ));
            }
        }
        Ok(self)
    }

    /// Up to `most` crashes of a node between `from` and the end of the trouble, each with a start up to `down` later.
    fn schedule_crashes(&mut self, id: u16, from: u64, most: u32, down: u64) {
        for _ in 0..self.rng.random_range(0..=most) {
            let crash = self.rng.random_range(from..self.trouble_until);
            let again = crash + self.rng.random_range(0..down);
            self.schedule(crash, id, Event::Crash);
            self.schedule(again, id, Event::Start);
        }
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
            (Event::Deliver { from, number, hello }, Some(running)) => {
                // The replay check lets nothing older through.
                let newest = node.newest.entry(from.id).or_default();
                if *newest >= (from.incarnation, number) {
                    return;
                }
                *newest = (from.incarnation, number);
                running.handle_hello(from, hello, now);
            }
            (Event::Remove { who, until }, Some(_)) => self.remove(id, who, until),
            (Event::Reported { what, incarnation }, Some(running)) if node.incarnation == incarnation => {
                running.handle_stored(what, now);
            }
            (Event::Written { what, incarnation }, Some(_)) if node.incarnation == incarnation => {
                return self.write(id, what);
            }
            _ => return,
        }
        self.drive(id);
    }

    fn start(&mut self, id: u16) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.incarnation += 1;
        node.newest.clear();
        let mut stored = node.disk.clone();
        match self.fault {
            Fault::ForgetsConsentAtStart => stored.consent = None,
            Fault::ForgetsPledgeAtStart => stored.pledge = None,
            _ => {}
        }
        let identity = Identity {
            id,
            incarnation: node.incarnation,
            address: Ipv4Addr::LOCALHOST.into(),
            name: format!("lb{id}"),
            version: String::new(),
            tags: BTreeMap::new(),
            priority: 100,
            expect: self.expect,
            interval_ns: 10 * MS,
            lease_ns: LEASE,
            groups: vec![],
            rules: Rules::default(),
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
                Action::StorePledge(pledge) => {
                    self.check_proposed(id, &pledge);
                    self.store(id, Durable::Pledge(pledge));
                }
                Action::Adopt(configuration) => self.check_adopted(id, configuration),
                Action::Notice(Notice::Deadlock { .. }) => self.node(id).deadlocked = true,
                Action::PeersChanged | Action::NameTaken(_) | Action::Member(..) | Action::Notice(_) => {}
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
        match (self.fault, &what) {
            (Fault::SkipsTheStore, Durable::Consent(_)) => written = u64::MAX,
            (Fault::ReportsBeforeStoring, Durable::Consent(_))
            | (Fault::ReportsPledgeBeforeStoring, Durable::Pledge(_)) => {
                reported = self.now;
                written += 500 * MS;
            }
            _ => {}
        }
        let last = written.max(reported);
        if last < self.trouble_until && self.rng.random_bool(0.5) {
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
            Durable::Pledge(pledge) => {
                let before = disk.pledge.replace(pledge.clone());
                if fault == Fault::None && before.is_some_and(|before| !pledge.keeps(&before)) {
                    self.broken = Some(format!("node {id} broke its pledge: {pledge}"));
                }
            }
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
        let trouble = self.now < self.trouble_until;
        self.shuffle_sides();
        let node = self.node(id);
        node.hellos += 1;
        let (incarnation, number) = (node.incarnation, node.hellos);
        let Some(hello) = self.running(id).map(|running| running.hello()) else { return };
        let from = Sender { id, incarnation, address: Ipv4Addr::LOCALHOST.into() };
        self.check_said(id, &hello);
        let others: Vec<u16> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for to in others {
            let cut = trouble && self.sides.get(&id) != self.sides.get(&to);
            if cut || trouble && self.rng.random_bool(0.2) {
                continue;
            }
            for _ in 0..if trouble { self.rng.random_range(1..=2) } else { 1 } {
                let delay = self.rng.random_range(0..if trouble { 400 * MS } else { MS });
                self.schedule(self.now + delay, to, Event::Deliver { from, number, hello: hello.clone() });
            }
        }
    }

    fn shuffle_sides(&mut self) {
        if self.partitioned_until <= self.now {
            self.partitioned_until = self.now + PARTITION;
            let whole = self.rng.random_bool(self.wholeness);
            for id in self.nodes.keys() {
                self.sides.insert(*id, whole || self.rng.random_bool(0.5));
            }
        }
    }

    /// A command's call, and what it does next.
    fn remove(&mut self, id: u16, who: u16, until: u64) {
        let now = self.now;
        let answer = self.running(id).map(|running| running.remove(who, now));
        match answer {
            Some(Ok(Removal::Asked)) if now < until => {
                self.schedule(now + POLL, id, Event::Remove { who, until });
            }
            Some(Ok(Removal::Done)) if who == id => {
                // Its driver takes the last actions, of which the last Hello is one.
                self.drive(id);
                self.node(id).running = None;
            }
            _ => {}
        }
    }

    /// What is said is on the disk, unless that has something newer already.
    fn check_said(&mut self, id: u16, hello: &Hello) {
        let now = self.now;
        if let Standing::Formed(configuration) = &hello.standing {
            self.node(id).had_since.entry(configuration.epoch()).or_insert(now);
        }
        if self.fault != Fault::None {
            return;
        }
        let disk = &self.node(id).disk;
        let epoch = |configuration: &Configuration| configuration.epoch();
        let is_kept = match &hello.standing {
            Standing::Waiting => true,
            Standing::Consented(consent) => disk.consent.as_ref() == Some(consent),
            Standing::Formed(said) => {
                let is_newer = disk.configuration.as_ref().map(epoch) > Some(said.epoch());
                is_newer || disk.configuration.as_ref() == Some(said)
            }
        };
        let keeps = |said: &Pledge| disk.pledge.as_ref().is_some_and(|stored| stored.keeps(said));
        let is_pledged = hello.pledge.as_ref().is_none_or(keeps);
        if !is_kept || !is_pledged {
            self.broken = Some(format!("node {id} says what it has not stored: {hello:?}"));
        }
    }

    /// Nothing is proposed before a quorum has had the configuration for a lease, nor anything else under one ballot.
    fn check_proposed(&mut self, id: u16, pledge: &Pledge) {
        let Some(accepted) = pledge.accepted().filter(|accepted| accepted.ballot.node() == id) else {
            return;
        };
        let key = (pledge.epoch(), accepted.ballot);
        let before = self.proposed.insert(key, accepted.configuration.clone());
        if before.as_ref() == Some(&accepted.configuration) {
            return;
        }
        let current = self.running(id).and_then(|running| running.configuration().cloned());
        let voters = current.as_ref().map_or(&[][..], Configuration::voters);
        let had_long = |id: &&u16| {
            let since = self.nodes.get(id).and_then(|node| node.had_since.get(&pledge.epoch()));
            since.is_some_and(|since| since + LEASE < self.now)
        };
        let had = voters.iter().filter(had_long).count();
        if before.is_some() || had < quorum(voters.len()) {
            self.broken = Some(format!(
                "node {id} proposed {} under {}, when {had} of the voters had {current:?} for a lease; before, {before:?}",
                accepted.configuration, accepted.ballot
            ));
        }
    }

    /// Configurations of one epoch are equal, and those of neighbouring epochs differ by one voter. First ones that
    /// are formed by no majority of the nodes may be disjoint as well; then nothing holds for those that follow.
    fn check_adopted(&mut self, id: u16, new: Configuration) {
        let majority = 2 * usize::from(self.expect) > self.nodes.len();
        let clash = |old: &&Configuration| {
            let disjoint = old.voters().iter().all(|voter| !new.contains(*voter));
            match old.epoch().abs_diff(new.epoch()) {
                0 if majority => **old != new,
                0 => **old != new && !disjoint && new.epoch() == FIRST_EPOCH,
                1 => majority && !new.is_successor_of(old) && !old.is_successor_of(&new),
                _ => false,
            }
        };
        if let Some(old) = self.adopted.iter().find(clash) {
            self.broken = Some(format!("node {id} adopted {new}, and {old} was adopted before"));
        }
        if !self.adopted.contains(&new) {
            self.adopted.push(new);
        }
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
