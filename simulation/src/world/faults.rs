//! What goes wrong, and the lives of daemons and machines.

use std::collections::BTreeMap;

use rand::Rng;
use vip_common::lease::quorum;
use vip_common::maps::Config;
use vip_user::election::{Election, Settings};
use vip_user::membership::{Identity, Membership, Offer, Rules};

use super::control::said;
use super::{Event, World};
use crate::plane::{FIRST_GROUP, Plane};
use crate::process::{Daemon, Input, News, Removing};
use crate::schedule::{MS, Part, Point, Sudden, US, What};

/// Unix time at the beginning, in ns.
const EPOCH: u64 = 1_000_000_000_000_000;
/// How long a command waits for what it asks for, in ns.
const COMMAND: u64 = 5_000 * MS;
/// How long a restart takes, in ns.
const RESTART: u64 = 5 * MS;

impl World<'_> {
    /// Lets something happen now.
    pub fn happens(&mut self, what: What) {
        if self.now >= self.schedule.calm_at {
            return;
        }
        self.counts.faults += 1;
        self.note(|| what.to_string());
        match what {
            What::Stall { node, part, lasts } => self.stall(index(node), part, lasts),
            What::Kill { node, down } => self.kill(index(node), down),
            What::Stop { node, down } => self.tell_control(index(node), News::Stop(down)),
            What::Crash { node, down } => self.crash(index(node), down),
            What::Trap { node, point, then } => self.machines[index(node)].trap = Some((point, then)),
            What::Cut { from, to, both_ways, lasts } => {
                self.segment.cut(from, to, both_ways, true);
                self.queue.plan(self.now + lasts, Event::Ends(what));
            }
            What::Hold { from, to, sent_for, lasts } => {
                self.segment.hold(from, to, self.now + sent_for, self.now + lasts);
            }
            What::Replay { from, to, messages, lasts } => self.replay(from, to, messages, lasts),
            What::Storm { lost, lasts } => {
                self.segment.storm(lost, true);
                self.queue.plan(self.now + lasts, Event::Ends(what));
            }
            What::Rate { node, rate } => self.set_rate(index(node), rate),
            What::WallClock { node, back } => self.machines[index(node)].wall_clock_back += back,
            What::Unfit { node, lasts } => {
                self.machines[index(node)].unfit += 1;
                self.tell_control(index(node), News::Carrier);
                self.queue.plan(self.now + lasts, Event::Ends(what));
            }
            What::Priority { node, group, priority } => {
                self.machines[index(node)].priorities[usize::from(group)] = priority;
                self.kill(index(node), RESTART);
            }
            What::Remove { asks, id, down } => {
                let removing = Removing { id, until: self.now + COMMAND, down };
                self.tell_control(index(asks), News::Remove(removing));
            }
            What::Release { group } => self.tell_all(|| News::Release(group.into())),
            What::Gateway { answers } => self.gateway = answers,
            What::HandOver { group, to } => self.tell_all(|| News::HandOver(group.into(), to)),
        }
    }

    /// What has gone on for a while ends.
    pub(super) fn ends(&mut self, what: &What) {
        if self.now >= self.schedule.calm_at {
            return;
        }
        match *what {
            What::Cut { from, to, both_ways, .. } => self.segment.cut(from, to, both_ways, false),
            What::Storm { lost, .. } => self.segment.storm(lost, false),
            What::Unfit { node, .. } => {
                let unfit = &mut self.machines[index(node)].unfit;
                *unfit = unfit.saturating_sub(1);
                self.tell_control(index(node), News::Carrier);
            }
            _ => {}
        }
    }

    /// Mends everything, but for what stays away for good.
    pub(super) fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.segment.mend();
        if let Some(calm) = self.schedule.pair {
            self.gateway = calm.answered;
            if calm.parted {
                self.segment.part();
            }
        }
        for (node, is_away) in self.away().into_iter().enumerate() {
            let machine = &mut self.machines[node];
            machine.trap = None;
            machine.unfit = 0;
            machine.down_until = 0;
            if is_away {
                self.crash(node, u64::MAX - self.now);
                continue;
            }
            if let Some(daemon) = &mut machine.daemon {
                daemon.lease.timing.stalled_until = 0;
                daemon.control.timing.stalled_until = 0;
            }
            self.start(node);
            self.tell_control(node, News::Carrier);
            self.thaw(node);
        }
    }

    /// The nodes that stay down: the absent ones, as long as a majority of the voters is left.
    fn away(&self) -> Vec<bool> {
        let newest = self.oracle.newest();
        let is_voter = |id| newest.is_some_and(|newest| newest.contains(id));
        let voters = newest.map_or(0, |newest| newest.voters().len());
        let is_pair = self.schedule.pair.is_some() && voters == 2;
        let mut spared = if is_pair { 1 } else { voters.saturating_sub(quorum(voters)) };
        let stays_away = |id| {
            let absent = self.schedule.absent.contains(id);
            if !absent || !is_voter(id) {
                return absent;
            }
            let is_spared = spared > 0;
            spared = spared.saturating_sub(1);
            is_spared
        };
        self.machines.iter().map(|machine| machine.id).map(stays_away).collect()
    }

    /// The daemon of a node has come to this point of its work: what was prepared for it happens.
    pub(super) fn reach(&mut self, node: usize, point: Point) {
        self.maybe_pause(node);
        let trap = &mut self.machines[node].trap;
        let Some((_, then)) = trap.take_if(|(at, _)| *at == point) else { return };
        self.note(|| format!("the trap: {then}"));
        match then {
            Sudden::Stall { part, lasts } => self.stall(node, part, lasts),
            Sudden::Kill { down } => self.kill(node, down),
            Sudden::Crash { down } => self.crash(node, down),
        }
    }

    /// A thread has done something, and may lose its time before it does the next thing.
    fn maybe_pause(&mut self, node: usize) {
        let (pause, lease) = (self.schedule.chances.pause, self.schedule.lease);
        if pause == 0 || self.now >= self.schedule.calm_at {
            return;
        }
        let rng = &mut self.machines[node].rng;
        if rng.random_range(0..10_000) < pause {
            let most = if rng.random_bool(0.2) { 2 * lease } else { 200 * US };
            let lasts = rng.random_range(0..most);
            self.stall(node, Part::Both, lasts);
        }
    }

    fn tell_all(&mut self, news: impl Fn() -> News) {
        for node in 0..self.machines.len() {
            self.tell_control(node, news());
        }
    }

    fn tell_control(&mut self, node: usize, news: News) {
        self.news(node, news);
        self.drive(node);
    }

    fn stall(&mut self, node: usize, part: Part, lasts: u64) {
        let until = self.now + lasts;
        if let Some(daemon) = &mut self.machines[node].daemon {
            daemon.stall(part, until);
            self.queue.plan(until, Event::Thaw { node });
        }
    }

    /// What was under way goes on; then come timers and what has waited, in either order.
    pub(super) fn thaw(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if let Some(daemon) = &mut machine.daemon {
            daemon.lease.timing.timers_first = machine.rng.random();
            daemon.control.timing.timers_first = machine.rng.random();
            self.drive(node);
        }
    }

    fn set_rate(&mut self, node: usize, rate: u64) {
        let now = self.now;
        let machine = &mut self.machines[node];
        machine.clock.set_rate(rate, now);
        self.oracle.clock_changed(node, &machine.clock, now);
        if let Some(daemon) = &mut machine.daemon {
            // Timers that are planned would now be early, or late.
            daemon.lease.timing.deadline = None;
            daemon.control.timing.deadline = None;
            self.drive(node);
        }
    }

    // Lives.

    fn kill(&mut self, node: usize, down: u64) {
        let machine = &mut self.machines[node];
        if machine.daemon.take().is_some() {
            self.start_again(node, down);
        }
    }

    fn crash(&mut self, node: usize, down: u64) {
        let machine = &mut self.machines[node];
        machine.daemon = None;
        machine.plane = None;
        let shows = machine.rng.random_range(MS..5_000 * MS);
        machine.clock.reboot(self.now, shows);
        self.look(node);
        self.start_again(node, down);
    }

    /// Releases everything, says goodbye, and takes the data plane away, when the lease thread has come to it.
    pub(super) fn stop(&mut self, node: usize, down: u64) {
        let machine = &mut self.machines[node];
        let local = machine.clock.read(self.now);
        let Some(daemon) = &mut machine.daemon else { return };
        daemon.control.membership.leave(local);
        let farewell = said(&daemon.control.membership);
        for slot in 0..usize::from(self.schedule.groups) {
            self.input(node, Input::Release(slot));
        }
        self.input(node, Input::End(farewell, down));
    }

    pub(super) fn ended(&mut self, node: usize, down: u64) {
        let machine = &mut self.machines[node];
        machine.daemon = None;
        machine.plane = None;
        self.look(node);
        self.start_again(node, down);
    }

    fn start_again(&mut self, node: usize, down: u64) {
        let at = self.now.saturating_add(down);
        self.machines[node].down_until = at;
        self.queue.plan(at, Event::Start { node });
    }

    /// Starts a daemon, unless one runs or none can. It adopts the maps that it finds.
    pub(super) fn start(&mut self, node: usize) {
        let schedule = self.schedule;
        let (groups, now) = (usize::from(schedule.groups), self.now);
        let machine = &mut self.machines[node];
        if machine.daemon.is_some() || machine.down_until > now {
            return;
        }
        let local = machine.clock.read(now);
        let unix = (EPOCH + now).saturating_sub(machine.wall_clock_back);
        let incarnation = unix.max(machine.disk.incarnation + 1);
        machine.disk.incarnation = incarnation;
        if machine.plane.is_none() {
            machine.planes += 1;
        }
        let plane =
            machine.plane.get_or_insert_with(|| Plane::new(groups, schedule.nodes, local + schedule.lease));
        let configuration = machine.disk.stored.configuration.as_ref();
        let is_voter = configuration.is_some_and(|stored| stored.contains(machine.id));
        let epoch = configuration.map_or(0, |stored| stored.epoch());
        plane.config = Config {
            incarnation,
            longest_lease: schedule.lease,
            epoch,
            observer: (!is_voter).into(),
            node: machine.id,
            ..Config::default()
        };
        let settings = Settings { node: machine.id, lease: schedule.lease, interval: schedule.interval };
        let elections = (0..groups).map(|_| Election::new(settings, machine.rng.random())).collect();
        let identity = self.identity(node, incarnation);
        let machine = &mut self.machines[node];
        let membership = Membership::new(identity, machine.disk.stored.clone(), local);
        let Ok(membership) = membership else { return };
        machine.daemon = Some(Daemon::new(machine.id, incarnation, elections, membership));
        self.begin_pair(node);
        self.begin_control(node);
    }

    fn identity(&self, node: usize, incarnation: u64) -> Identity {
        let machine = &self.machines[node];
        let offer = |(group, priority): (u32, &u8)| Offer {
            group: FIRST_GROUP + group,
            priority: *priority,
            preempt: self.schedule.preempt,
        };
        Identity {
            id: machine.id,
            incarnation,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            name: format!("lb{}", machine.id),
            version: String::new(),
            tags: BTreeMap::new(),
            priority: 100,
            expect: u8::try_from(self.schedule.voters).unwrap_or(1),
            interval_ns: self.schedule.interval,
            lease_ns: self.schedule.lease,
            groups: (0..).zip(&machine.priorities).map(offer).collect(),
            rules: Rules { reap: self.schedule.reap, ..Rules::default() },
        }
    }
}

fn index(id: u16) -> usize {
    usize::from(id) - 1
}
