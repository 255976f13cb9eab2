//! True time, the network, and what goes wrong; the driver's part as the daemon plays it.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vip_common::lease::{Acceptor, Decision, Freshness, Renewal, serving_time};

use super::super::*;
use super::machine::{Ask, Clock, Daemon, Input, Machine, Plane, Reply, answer};

pub(super) const US: u64 = 1_000;
pub(super) const MS: u64 = 1_000_000;
/// Lines of the trace that are kept.
const TRACE: usize = 80;
/// More calls in a row, without time passing, than an election can have a reason for.
const SPIN: usize = 200;

/// What is deliberately wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Flaw {
    None,
    /// Holders serve to the end of the lease by their own clock.
    ServesWholeLease,
    /// Machines answer at once after losing their acceptor.
    NoQuarantine,
    /// The driver leaves Disarm out.
    NeverDisarms,
    /// The driver sends a Release before it carries out the Disarm before it.
    DisarmsLate,
    /// The driver stamps a proposal when its answers come, not before it is sent.
    StampsLate,
    /// Each node takes itself for the only voter.
    OwnVoteOnly,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nodes: u16,
    pub(super) lease: u64,
    /// When everything works again; 0 = nothing ever fails.
    pub(super) trouble_until: u64,
    /// How many nodes are down when the trouble is over.
    pub(super) absent: u16,
    pub(super) flaw: Flaw,
}

#[derive(Debug)]
enum Event {
    Wake,
    Ask(Ask),
    Reply(Reply),
    Freeze { until: u64 },
    Thaw,
    StopDaemon,
    StartDaemon,
    Restart,
    Crash,
    PowerCut,
    Boot,
    Release,
    Fit(bool),
    Partition,
    Refresh,
    LateDisarm,
    Calm,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    pub(super) machines: Vec<Machine>,
    /// The invariant, or another promise, that was broken.
    pub(super) broken: Option<String>,
    /// How often some node was promoted.
    pub(super) promotions: u32,
    rng: SmallRng,
    loss: f64,
    /// By time, then in the order of planning.
    queue: BTreeMap<(u64, u64), (usize, Event)>,
    count: u64,
    /// From, to: nothing gets through.
    cut: Vec<Vec<bool>>,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, traced: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(plan.seed);
        let machines = (1..=plan.nodes).map(|id| machine(id, &mut rng)).collect();
        let count = usize::from(plan.nodes);
        let mut world = Self {
            plan,
            now: 0,
            machines,
            broken: None,
            promotions: 0,
            loss: [0.0, 0.02, 0.2][rng.random_range(0..3)],
            rng,
            queue: BTreeMap::new(),
            count: 0,
            cut: vec![vec![false; count]; count],
            trace: traced.then(VecDeque::new),
        };
        for i in 0..count {
            world.schedule(0, i, Event::Boot);
            let starts = world.rng_below(3 * MS);
            world.schedule(starts, i, Event::StartDaemon);
            world.plan_trouble(i);
        }
        world.schedule(MS, 0, Event::Refresh);
        world.schedule(0, 0, Event::Partition);
        world.schedule(plan.trouble_until, 0, Event::Calm);
        world
    }

    /// Lets time pass up to `until`, or until something is broken; calls `look` after every event.
    pub(super) fn run(&mut self, until: u64, mut look: impl FnMut(&mut Self)) {
        while self.broken.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else { return };
            self.now = entry.key().0;
            let (i, event) = entry.remove();
            self.handle(i, event);
            self.check();
            look(self);
        }
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = u16> {
        self.machines.iter().filter(|machine| machine.serves(self.now)).map(|machine| machine.id)
    }

    pub(super) fn trace(&self) -> String {
        self.trace.iter().flatten().fold(String::new(), |text, line| text + line + "\n")
    }

    pub(super) fn crash(&mut self, i: usize) {
        self.handle(i, Event::Crash);
    }

    pub(super) fn release(&mut self, i: usize) {
        self.handle(i, Event::Release);
    }

    /// The invariant. Words begin to hold by events alone, so looking whenever one changes misses nothing.
    fn check(&mut self) {
        let serving: Vec<u16> = self.serving().collect();
        if serving.len() > 1 && self.broken.is_none() {
            self.broken = Some(format!("{serving:?} serve at once, at {} us", self.now / US));
        }
    }

    fn rng_below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound)
    }

    fn schedule(&mut self, at: u64, i: usize, event: Event) {
        self.count += 1;
        self.queue.insert((at.max(self.now), self.count), (i, event));
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let line = format!("{:>9} us  {}", self.now / US, line(self));
        if let Some(trace) = &mut self.trace {
            trace.push_back(line);
            if trace.len() > TRACE {
                trace.pop_front();
            }
        }
    }

    fn is_troubled(&self) -> bool {
        self.now < self.plan.trouble_until
    }

    /// Plans what happens to machine `i` until the trouble is over.
    fn plan_trouble(&mut self, i: usize) {
        let lease = self.plan.lease;
        let mut at = self.rng_below(6 * lease);
        while at < self.plan.trouble_until {
            let lasts = self.rng.random_range(lease / 20..3 * lease);
            let (begin, end) = match self.rng.random_range(0..8) {
                0 | 1 => (Event::Freeze { until: at + lasts }, Event::Thaw),
                2 => (Event::StopDaemon, Event::StartDaemon),
                3 => (Event::Restart, Event::Release),
                4 => (Event::Crash, Event::Boot),
                5 => (Event::Release, Event::Thaw),
                6 => (Event::PowerCut, Event::Thaw),
                _ => (Event::Fit(false), Event::Fit(true)),
            };
            let boots = matches!(end, Event::Boot);
            self.schedule(at, i, begin);
            self.schedule(at + lasts, i, end);
            if boots {
                let starts = at + lasts + self.rng_below(lease);
                self.schedule(starts, i, Event::StartDaemon);
            }
            at += lasts + self.rng_below(12 * lease);
        }
    }

    fn handle(&mut self, i: usize, event: Event) {
        if !matches!(event, Event::Wake | Event::Refresh) {
            self.note(|world| format!("node {}: {event:?}", world.machines[i].id));
        }
        match event {
            Event::Ask(ask) => self.asked(i, &ask),
            Event::Reply(reply) => self.replied(i, &reply),
            Event::Freeze { until } => self.freeze(i, until),
            Event::Thaw => self.thaw(i),
            Event::StopDaemon => self.machines[i].daemon = None,
            Event::StartDaemon => self.start_daemon(i),
            Event::Restart => {
                self.machines[i].daemon = None;
                self.start_daemon(i);
                if self.rng.random_bool(0.3) {
                    self.with(i, |election, view| election.set_eligible(false, view));
                }
            }
            Event::Crash => {
                self.machines[i].daemon = None;
                self.machines[i].plane = None;
            }
            Event::PowerCut => self.power_cut(i),
            Event::Boot => self.boot(i),
            Event::Release => self.with(i, |election, view| election.release(view)),
            Event::Fit(fit) => self.with(i, |election, view| election.set_eligible(fit, view)),
            Event::Partition => self.partition(),
            Event::Refresh => self.refresh(),
            Event::LateDisarm => {
                self.machines[i].plane.iter_mut().for_each(|plane| plane.lease_until = 0);
            }
            Event::Calm => self.calm(),
            Event::Wake => {
                let now = self.now;
                if self.machines[i].daemon.as_ref().is_some_and(|daemon| daemon.wakes_at == now) {
                    self.drive(i);
                }
            }
        }
    }

    fn calm(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        let absent = usize::from(self.plan.absent);
        for i in 0..self.machines.len() {
            if i < absent {
                self.handle(i, Event::Crash);
                continue;
            }
            self.machines[i].daemon.iter_mut().for_each(|daemon| daemon.frozen_until = 0);
            for event in [Event::Boot, Event::StartDaemon, Event::Thaw, Event::Fit(true)] {
                self.handle(i, event);
            }
        }
    }

    /// Most machines start anew, and the daemon of `spared` has no chance to tell them what it holds.
    fn power_cut(&mut self, spared: usize) {
        let lease = self.plan.lease;
        self.freeze(spared, self.now + lease);
        for i in (0..self.machines.len()).filter(|i| *i != spared) {
            if self.rng.random_bool(0.8) {
                self.handle(i, Event::Crash);
                let boots = self.now + self.rng.random_range(lease / 20..lease / 4);
                self.schedule(boots, i, Event::Boot);
                self.schedule(boots + MS, i, Event::StartDaemon);
            }
        }
    }

    /// Cuts some ways, each in one direction or in both.
    fn partition(&mut self) {
        if !self.is_troubled() {
            return;
        }
        let rng = &mut self.rng;
        let whole = rng.random_bool(0.4);
        let both_ways = rng.random_bool(0.5);
        let sides: Vec<bool> = self.machines.iter().map(|_| rng.random_bool(0.5)).collect();
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                *cut = !whole && (sides[from] && !sides[to] || both_ways && sides[from] != sides[to]);
            }
        }
        let next = self.now + self.rng.random_range(self.plan.lease..6 * self.plan.lease);
        self.schedule(next, 0, Event::Partition);
    }

    // The machine.

    fn boot(&mut self, i: usize) {
        if self.machines[i].plane.is_some() {
            return;
        }
        let at_start = self.rng.random_range(MS..5_000 * MS);
        let first = self.now == 0;
        let quarantine = if first || self.plan.flaw == Flaw::NoQuarantine { 0 } else { self.plan.lease };
        let machine = &mut self.machines[i];
        machine.clock = Clock { at_start, started_at: self.now, ..machine.clock };
        let acceptor = Acceptor { quarantine_until: at_start + quarantine, ..Acceptor::default() };
        machine.plane = Some(Plane { acceptor, ..Plane::default() });
    }

    /// The data plane answers, whatever the daemon does.
    fn asked(&mut self, i: usize, ask: &Ask) {
        let longest = self.plan.lease;
        let machine = &mut self.machines[i];
        let now = machine.clock.read(self.now);
        let Some(plane) = &mut machine.plane else { return };
        let Some(decision) = plane.decide(machine.id, ask, now, longest) else { return };
        let from = machine.id;
        if let Some(answer) = answer(decision, ask, longest) {
            let reply = Reply { from, incarnation: ask.freshness.incarnation, answer };
            self.transmit(i, usize::from(ask.from) - 1, || Event::Reply(reply));
        }
        if decision == Decision::Released {
            self.input(i, Input::Released);
        }
    }

    fn replied(&mut self, i: usize, reply: &Reply) {
        let machine = &mut self.machines[i];
        let now = machine.clock.read(self.now);
        let Some(plane) = &mut machine.plane else { return };
        if machine.incarnation != reply.incarnation {
            return;
        }
        if self.plan.flaw == Flaw::StampsLate
            && let Answer::Accepted { ballot, .. } = reply.answer
        {
            let answer = Answer::Accepted { ballot, sent_at: now };
            plane.take_answer(reply.from, &answer, now);
        }
        if plane.take_answer(reply.from, &reply.answer, now) {
            self.input(i, Input::Answer(reply.from, reply.answer));
        }
    }

    // The network.

    fn transmit(&mut self, from: usize, to: usize, event: impl Fn() -> Event) {
        let trouble = self.is_troubled();
        if trouble && (self.cut[from][to] || self.rng.random_bool(self.loss)) {
            return;
        }
        let copies = if trouble && self.rng.random_bool(0.05) { 2 } else { 1 };
        for _ in 0..copies {
            let most = match self.rng.random_range(0..100) {
                0 if trouble => 3 * self.plan.lease,
                1..=9 if trouble => 5 * MS,
                _ => 60 * US,
            };
            let delay = 5 * US + self.rng_below(most);
            self.schedule(self.now + delay, to, event());
        }
    }

    // The daemon.

    fn start_daemon(&mut self, i: usize) {
        let (now, seed) = (self.now, self.rng.random());
        let voters: Vec<u16> = self.machines.iter().map(|machine| machine.id).collect();
        let machine = &mut self.machines[i];
        if machine.plane.is_none() || machine.daemon.is_some() {
            return;
        }
        machine.incarnation += 1;
        let settings = Settings { node: machine.id, lease: self.plan.lease, interval: self.plan.lease / 5 };
        machine.daemon = Some(Daemon {
            election: Election::new(settings, seed),
            incarnation: machine.incarnation,
            sequence: 0,
            frozen_until: now,
            inbox: Vec::new(),
            candidates: Vec::new(),
            wakes_at: 0,
            wakes: 0,
        });
        let own = [machine.id];
        self.drive(i);
        let voters = if self.plan.flaw == Flaw::OwnVoteOnly { &own[..] } else { &voters };
        self.with(i, |election, view| election.set_voters(voters, view));
        self.with(i, |election, view| election.set_candidates(voters, view));
        self.with(i, |election, view| election.set_eligible(true, view));
    }

    fn freeze(&mut self, i: usize, until: u64) {
        if let Some(daemon) = &mut self.machines[i].daemon {
            daemon.frozen_until = daemon.frozen_until.max(until);
            self.schedule(until, i, Event::Thaw);
        }
    }

    /// What was under way goes on; then timers and what has come meanwhile, in either order.
    fn thaw(&mut self, i: usize) {
        self.drive_actions(i);
        if self.rng.random_bool(0.5) {
            self.drive(i);
        }
        while let Some(input) = self.running(i).and_then(|daemon| daemon.inbox.pop()) {
            self.input(i, input);
        }
        self.drive(i);
    }

    /// The daemon that can do something now.
    fn running(&mut self, i: usize) -> Option<&mut Daemon> {
        let now = self.now;
        self.machines[i].daemon.as_mut().filter(|daemon| daemon.frozen_until <= now)
    }

    fn input(&mut self, i: usize, input: Input) {
        if self.running(i).is_none() {
            self.machines[i].daemon.iter_mut().for_each(|daemon| daemon.inbox.push(input));
            return;
        }
        self.with(i, |election, view| match input {
            Input::Answer(voter, answer) => election.handle_answer(voter, answer, view),
            Input::Released => election.handle_released(view),
        });
    }

    /// Calls the election and does what it asks for.
    fn with(&mut self, i: usize, call: impl FnOnce(&mut Election, &View)) {
        if self.running(i).is_none() {
            return;
        }
        let view = self.machines[i].view(self.now);
        if let Some(daemon) = self.running(i) {
            call(&mut daemon.election, &view);
        }
        self.drive(i);
    }

    /// Tells the daemons who is alive, where that has changed.
    fn refresh(&mut self) {
        let alive: Vec<u16> = self
            .machines
            .iter()
            .filter(|machine| machine.daemon.is_some())
            .map(|machine| machine.id)
            .collect();
        for i in 0..self.machines.len() {
            let stale = self.running(i).filter(|daemon| daemon.candidates != alive);
            if let Some(daemon) = stale {
                daemon.candidates.clone_from(&alive);
                self.with(i, |election, view| election.set_candidates(&alive, view));
            }
        }
        self.schedule(self.now + self.plan.lease, 0, Event::Refresh);
    }

    fn drive(&mut self, i: usize) {
        for _ in 0..SPIN {
            self.drive_actions(i);
            let clock = self.machines[i].clock;
            let true_time = self.now;
            let now = clock.read(true_time);
            let Some(daemon) = self.running(i) else { return };
            let Some(deadline) = daemon.election.next_deadline() else { return };
            if deadline > now {
                // Timers are never early, and always a little late.
                let late = self.rng_below(40 * US);
                let at = clock.reaches(deadline) + late;
                self.running(i).into_iter().for_each(|daemon| daemon.wakes_at = at);
                return self.schedule(at, i, Event::Wake);
            }
            daemon.wakes += 1;
            let view = self.machines[i].view(true_time);
            self.running(i).into_iter().for_each(|daemon| daemon.election.handle_timeout(&view));
        }
        self.broken = Some(format!("the timer of node {} spins", self.machines[i].id));
    }

    fn drive_actions(&mut self, i: usize) {
        while let Some(action) = self.running(i).and_then(|daemon| daemon.election.poll_action()) {
            self.note(|world| format!("node {}:   {}", world.machines[i].id, brief(&action)));
            self.carry_out(i, action);
            self.check();
            if self.is_troubled() && self.rng.random_bool(0.002) {
                let until = self.now + self.rng.random_range(self.plan.lease / 20..3 * self.plan.lease);
                self.note(|world| format!("node {}: freezes between two actions", world.machines[i].id));
                self.freeze(i, until);
            }
        }
    }

    fn carry_out(&mut self, i: usize, action: Action) {
        let (flaw, lease) = (self.plan.flaw, self.plan.lease);
        let Some(plane) = &mut self.machines[i].plane else { return };
        match action {
            Action::SetRenewal(renewal) => {
                let whole = flaw == Flaw::ServesWholeLease;
                let serving = if whole { lease } else { serving_time(lease) };
                plane.renewal = Renewal { serving, ..renewal };
            }
            Action::Send { request, sent_at } => self.send(i, request, sent_at),
            Action::Arm { until } => plane.lease_until = plane.lease_until.max(until),
            Action::Disarm => match flaw {
                Flaw::NeverDisarms => {}
                Flaw::DisarmsLate => self.schedule(self.now + MS, i, Event::LateDisarm),
                _ => plane.lease_until = 0,
            },
            Action::SetRole(role) => plane.set_role(role),
            Action::Promoted(_) => self.promotions += 1,
            Action::Standing(_) | Action::GaveUp(_) | Action::Demoted(_) | Action::Notice(_) => {}
            // Nobody hands over here.
            Action::Offer(_) | Action::Ask { .. } | Action::Grant { .. } | Action::HandoverFailed { .. } => {}
        }
    }

    fn send(&mut self, i: usize, request: Request, sent_at: u64) {
        let Some(daemon) = &mut self.machines[i].daemon else { return };
        daemon.sequence += 1;
        let freshness = Freshness { incarnation: daemon.incarnation, sequence: daemon.sequence };
        let ask = Ask { from: self.machines[i].id, freshness, request, sent_at };
        for to in (0..self.machines.len()).filter(|to| *to != i) {
            self.transmit(i, to, || Event::Ask(ask));
        }
        self.vote(i, &ask);
    }

    /// The own acceptor decides at once.
    fn vote(&mut self, i: usize, ask: &Ask) {
        let longest = self.plan.lease;
        let machine = &mut self.machines[i];
        let (id, now) = (machine.id, machine.clock.read(self.now));
        let Some(plane) = &mut machine.plane else { return };
        let answer = plane.decide(id, ask, now, longest).and_then(|decision| answer(decision, ask, longest));
        let view = self.machines[i].view(self.now);
        if let (Some(answer), Some(daemon)) = (answer, &mut self.machines[i].daemon) {
            daemon.election.handle_answer(id, answer, &view);
        }
    }
}

/// Rates are mostly at the ends of what is allowed, since those do the harm.
fn machine(id: u16, rng: &mut SmallRng) -> Machine {
    let rate = match rng.random_range(0..3) {
        0 => 9_951,
        1 => 10_049,
        _ => rng.random_range(9_951..=10_049),
    };
    let clock = Clock { rate, started_at: 0, at_start: 0 };
    Machine { id, clock, plane: None, daemon: None, incarnation: 0 }
}

fn brief(action: &Action) -> String {
    match action {
        Action::SetRenewal(renewal) => format!("SetRenewal({})", Ballot(renewal.ballot)),
        action => format!("{action:?}"),
    }
}
