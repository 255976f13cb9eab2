//! A run: true time, the nodes in it, and the driver's part as the daemon plays it.

mod control;
mod faults;
mod lease;
mod pair;
mod wire;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vip_common::lease::quorum;
use vip_common::wire::Message;
use vip_user::membership::{Configuration, Durable, Stored};

use crate::clock::Clock;
use crate::network::Segment;
use crate::oracle::{Broken, Oracle, Promise};
use crate::plane::Swap;
use crate::process::{Body, Disk, Machine};
use crate::queue::Queue;
use crate::schedule::{MS, Nodes, Part, Schedule, US, What, ms};
use crate::tape::Tape;

/// Lines of the trace that are kept.
const TRACE: usize = 150;
/// Leases of calm after which somebody has to serve.
const SETTLED: u64 = 6;
/// As [`SETTLED`], for a pair: a lone survivor waits first.
const SETTLED_PAIR: u64 = 14;
/// Leases for which somebody has to serve from then on.
const SERVED: u64 = 3;
/// Time in which a node that has missed a change of voters hears of it, in ns: that between two Hellos, with room.
const TOLD: u64 = 1_500 * MS;
/// Schedules with leases of this length and more, in ns, last long enough for nodes to join.
const LONG: u64 = 400 * MS;
/// Of so many of them, one is followed for as long as that takes: it is long, and nothing goes wrong any more.
const ALL_VOTE_IN: u64 = 4;
/// Time in which a node that starts is asked to vote, in ns: it must have been heard for five seconds, and who
/// coordinates may have to be found to have failed.
const JOINED: u64 = 10_000 * MS;
/// Time that a change of voters takes besides two leases, in ns.
const CHANGED: u64 = 2_000 * MS;
/// How often to look whether all vote, in ns.
const LOOK_EVERY: u64 = 100 * MS;
/// Timers are never early, and always a little late: by less than this, in ns.
const TIMER_SLACK: u64 = 40 * US;
/// More timers in a row, without time passing, than a daemon can have a reason for.
const SPIN: u32 = 200;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first promise that was broken, if any.
    pub broken: Option<Broken>,
    /// What happened.
    pub counts: Counts,
    /// The last things that happened, line by line, if they were asked for.
    pub trace: VecDeque<String>,
}

/// What happened in a run, or in many.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Simulated time, in ns.
    pub time: u64,
    /// Events.
    pub events: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Faults.
    pub faults: u64,
    /// How often some node was promoted.
    pub leases: u64,
    /// How often a lease was handed over while it ran.
    pub handovers: u64,
    /// How often the voters were changed.
    pub changes: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.events += other.events;
        self.messages += other.messages;
        self.faults += other.faults;
        self.leases += other.leases;
        self.handovers += other.handovers;
        self.changes += other.changes;
    }
}

/// Runs a schedule to its end, or until a promise is broken.
pub fn run(schedule: &Schedule, traced: bool) -> Outcome {
    let mut world = World::new(schedule, traced);
    // A world that has panicked is looked at, and does not go on.
    let ended = catch_unwind(AssertUnwindSafe(|| world.run_to_end()));
    if ended.is_err() {
        world.oracle.broken(world.now, Promise::NoPanic);
    }
    world.counts.time = world.now;
    world.counts.changes = world.oracle.changes();
    Outcome { broken: world.oracle.broken, counts: world.counts, trace: world.trace.unwrap_or_default() }
}

/// The nodes of a schedule, at a true time.
#[derive(Debug)]
pub struct World<'a> {
    schedule: &'a Schedule,
    now: u64,
    machines: Vec<Machine>,
    segment: Segment,
    /// Only where something is to be sent again.
    tape: Option<Tape>,
    /// The nodes that the gateway answers.
    gateway: Nodes,
    queue: Queue<Event>,
    oracle: Oracle,
    counts: Counts,
    trace: Option<VecDeque<String>>,
}

/// A time without a holder of a group.
#[derive(Debug, Clone)]
struct Gap {
    since: u64,
    /// Whether there was a node that might have ended it, up to the last event.
    could_end: bool,
}

/// What is to happen. Nodes are given by their places.
#[derive(Debug)]
enum Event {
    Deliver {
        to: usize,
        message: Message,
        body: Body,
    },
    /// A processor of a node goes on with what it was about to do to this plane.
    Swap {
        node: usize,
        plane: u32,
        swap: Swap,
    },
    Wake {
        node: usize,
        part: Part,
    },
    Thaw {
        node: usize,
    },
    /// Of a write by a daemon of that incarnation: it is on the disk; the daemon hears of it.
    Written {
        node: usize,
        incarnation: u64,
        durable: Box<Durable>,
    },
    Reported {
        node: usize,
        incarnation: u64,
        durable: Box<Durable>,
    },
    /// A command that the daemon of that incarnation was given is given again.
    AskAgain {
        node: usize,
        incarnation: u64,
    },
    /// A request of the daemon of that incarnation is at the gateway.
    AtGateway {
        node: usize,
        incarnation: u64,
    },
    /// The gateway's answer is back.
    Answered {
        node: usize,
        incarnation: u64,
    },
    /// A daemon is started, unless one runs.
    Start {
        node: usize,
    },
    Happens(What),
    /// After it has gone on for a while.
    Ends(What),
    Calm,
}

impl<'a> World<'a> {
    /// A cluster whose daemons all start within some milliseconds.
    pub fn new(schedule: &'a Schedule, traced: bool) -> Self {
        let nodes = usize::from(schedule.nodes);
        let replays = schedule.faults.iter().any(|fault| matches!(fault.what, What::Replay { .. }));
        let mut world = Self {
            schedule,
            now: 0,
            machines: schedule.ids().map(|id| machine(schedule, id)).collect(),
            segment: Segment::new(schedule.chances, schedule.lease, nodes, schedule.seed),
            tape: replays.then(|| Tape::new(schedule.seed ^ u64::from(u32::MAX))),
            gateway: Nodes::ALL,
            queue: Queue::new(),
            oracle: Oracle::new(nodes, usize::from(schedule.groups)),
            counts: Counts::default(),
            trace: traced.then(VecDeque::new),
        };
        for node in 0..nodes {
            let at = world.machines[node].rng.random_range(0..3 * MS);
            world.queue.plan(at, Event::Start { node });
        }
        for fault in &schedule.faults {
            world.queue.plan(fault.at, Event::Happens(fault.what));
        }
        world.queue.plan(schedule.calm_at, Event::Calm);
        world
    }

    /// True time, in ns.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Who would answer for a group's VIPs now.
    pub fn serving(&self, group: usize) -> impl Iterator<Item = u16> {
        self.oracle.serving(group, self.now)
    }

    /// How often timers have woken the lease thread of each node's daemon.
    pub fn wakes(&self) -> impl Iterator<Item = u64> {
        self.machines.iter().map(|machine| machine.daemon.as_ref().map_or(0, |daemon| daemon.lease.wakes))
    }

    /// What has been broken so far.
    pub fn broken(&self) -> Option<&Broken> {
        self.oracle.broken.as_ref()
    }

    /// The last things that happened, if they were asked for.
    pub fn trace(&self) -> String {
        self.trace.iter().flatten().fold(String::new(), |text, line| text + line + "\n")
    }

    fn run_to_end(&mut self) {
        let lease = self.schedule.lease;
        let settled = if self.schedule.pair.is_some() { SETTLED_PAIR } else { SETTLED };
        let settled = self.schedule.calm_at + settled * lease;
        self.run_until(settled);
        let told = settled + TOLD;
        while self.now < told && self.oracle.broken.is_none() && self.is_anybody_outdated() {
            self.run_until(self.now + lease);
        }
        self.run_served(self.now + SERVED * lease);
        let is_parted = self.schedule.pair.is_some_and(|calm| calm.parted);
        if lease >= LONG && !is_parted && self.schedule.seed.is_multiple_of(ALL_VOTE_IN) {
            self.run_until_all_vote();
        }
    }

    fn is_anybody_outdated(&self) -> bool {
        self.machines.iter().any(|machine| self.is_outdated(machine))
    }

    /// Whether a node runs and does not have the newest configuration.
    fn is_outdated(&self, machine: &Machine) -> bool {
        let configuration = machine.daemon.as_ref().map(|daemon| daemon.control.membership.configuration());
        configuration.is_some_and(|configuration| configuration != self.oracle.newest())
    }

    /// Lets time pass up to `until`, or until something is broken.
    pub fn run_until(&mut self, until: u64) {
        while self.step(until) {}
    }

    /// As [`Self::run_until`]; every group that can be served must be so, but for gaps of less than two leases: a holder
    /// that ceases to be a voter gives its lease back in an epoch that others do not have yet.
    fn run_served(&mut self, until: u64) {
        let mut gaps = vec![Gap { since: self.now, could_end: false }; usize::from(self.schedule.groups)];
        loop {
            let goes_on = self.step(until);
            for (group, gap) in gaps.iter_mut().enumerate() {
                let can_end = self.can_be_served(group);
                if self.serving(group).next().is_some() || !gap.could_end || !can_end {
                    gap.since = self.now;
                } else if gap.since + 2 * self.schedule.lease <= self.now {
                    self.oracle.broken(self.now, Promise::SomebodyServes { group });
                }
                gap.could_end = can_end;
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Lets time pass until all that run are voters, and know it. What has been wished for is done then: who wished to
    /// go has gone, and has come back.
    fn run_until_all_vote(&mut self) {
        let most = JOINED + self.machines.len() as u64 * (CHANGED + 2 * self.schedule.lease);
        let until = self.now + most;
        while let Some(node) = self.outsider() {
            self.run_served(until.min(self.now + LOOK_EVERY));
            if self.now >= until {
                return self.oracle.broken(self.now, Promise::AllVote { node });
            }
            if self.oracle.broken.is_some() {
                return;
            }
        }
    }

    /// A node that runs and is not a voter, or does not know the newest configuration.
    fn outsider(&self) -> Option<u16> {
        let is_voter = |id| self.oracle.newest().is_some_and(|newest| newest.contains(id));
        let is_outside = |machine: &&Machine| {
            self.is_outdated(machine) || machine.daemon.is_some() && !is_voter(machine.id)
        };
        self.machines.iter().find(is_outside).map(|machine| machine.id)
    }

    /// Whether there is a node that may hold the group, and a majority to let it.
    fn can_be_served(&self, group: usize) -> bool {
        let Some(newest) = self.oracle.newest() else { return false };
        let voters =
            self.machines.iter().filter(|machine| machine.daemon.is_some() && newest.contains(machine.id));
        let stays = |machine: &Machine| {
            machine.daemon.as_ref().is_some_and(|daemon| daemon.control.membership.stays())
        };
        if let Some(calm) = self.schedule.pair
            && (calm.parted || newest.voters().len() == 2 && voters.clone().count() == 1)
        {
            return voters.clone().any(|machine| self.may_serve_by_itself(machine, group));
        }
        let may_hold = voters.clone().any(|machine| machine.priorities[group] > 0 && stays(machine));
        may_hold && voters.count() >= quorum(newest.voters().len())
    }

    /// The next event, if there is one by `until`.
    fn step(&mut self, until: u64) -> bool {
        if self.oracle.broken.is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.next_until(until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = at;
        self.counts.events += 1;
        self.handle(event);
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, message, body } => self.deliver(to, message, body),
            Event::Swap { node, plane, swap } => self.finish_swap(node, plane, swap),
            Event::Wake { node, part } => self.wake(node, part),
            Event::Thaw { node } => self.thaw(node),
            Event::Written { node, incarnation, durable } => self.written(node, incarnation, &durable),
            Event::Reported { node, incarnation, durable } => self.reported(node, incarnation, *durable),
            Event::AskAgain { node, incarnation } => self.ask_again(node, incarnation),
            Event::AtGateway { node, incarnation } => self.at_gateway(node, incarnation),
            Event::Answered { node, incarnation } => self.answered(node, incarnation),
            Event::Start { node } => self.start(node),
            Event::Happens(what) => self.happens(what),
            Event::Ends(what) => self.ends(&what),
            Event::Calm => self.calm(),
        }
    }

    /// Lets the threads of a node's daemon do all that they can do now, the lease thread first.
    fn drive(&mut self, node: usize) {
        let mut timers = 0;
        while self.step_lease(node, &mut timers) || self.step_control(node, &mut timers) {
            if timers > SPIN {
                let id = self.machines[node].id;
                return self.oracle.broken(self.now, Promise::NoSpin { node: id });
            }
        }
        self.look(node);
    }

    fn wake(&mut self, node: usize, part: Part) {
        let now = self.now;
        let Some(daemon) = &mut self.machines[node].daemon else { return };
        let timing = match part {
            Part::Control => &mut daemon.control.timing,
            Part::Lease | Part::Both => &mut daemon.lease.timing,
        };
        // Another wake-up may have been planned in place of this one.
        if timing.wakes_at == now {
            timing.deadline = None;
            self.drive(node);
        }
    }

    /// Plans a wake-up for when the node's clock shows `deadline`, unless that is planned already.
    fn plan_wake(&mut self, node: usize, part: Part, deadline: u64) {
        let machine = &mut self.machines[node];
        let Some(daemon) = &mut machine.daemon else { return };
        let timing = match part {
            Part::Control => &mut daemon.control.timing,
            Part::Lease | Part::Both => &mut daemon.lease.timing,
        };
        if timing.deadline == Some(deadline) {
            return;
        }
        let at = machine.clock.reaches(deadline).max(self.now) + machine.rng.random_range(0..TIMER_SLACK);
        timing.deadline = Some(deadline);
        timing.wakes_at = at;
        self.queue.plan(at, Event::Wake { node, part });
    }

    fn look(&mut self, node: usize) {
        let machine = &self.machines[node];
        self.oracle.look(node, machine.plane.as_ref(), &machine.clock, self.now);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push_back(format!("{:>14}  {}", ms(now), line()));
            if trace.len() > TRACE {
                trace.pop_front();
            }
        }
    }
}

fn machine(schedule: &Schedule, id: u16) -> Machine {
    let traits = &schedule.traits[usize::from(id) - 1];
    // Each node its own stream, apart from the ways between the nodes, which use the seeds right above the schedule's.
    let mut rng = SmallRng::seed_from_u64(schedule.seed.wrapping_add(u64::from(id) << 32));
    let shows = rng.random_range(MS..5_000 * MS);
    let configuration = Configuration::new(1, (1..=schedule.voters).collect()).ok();
    Machine {
        id,
        clock: Clock::new(traits.rate, 0, shows),
        rng,
        plane: None,
        planes: 0,
        daemon: None,
        disk: Disk { stored: Stored { configuration, ..Stored::default() }, incarnation: 0 },
        wall_clock_back: 0,
        priorities: traits.priorities.clone(),
        unfit: 0,
        down_until: 0,
        trap: None,
    }
}
