//! The control plane of a daemon: the membership's driver, and what the elections are told by it.

use std::rc::Rc;

use rand::Rng;
use vip_user::membership::{Action, Configuration, Durable, Hello, Member, Membership, Removal};

use super::{Event, World};
use crate::process::{Body, ControlPlane, Input, News};
use crate::schedule::{MS, Part, Point, US};

/// How long a write to the disk takes, and the news of it, in ns: mostly, and seldom.
const WRITE: [std::ops::Range<u64>; 2] = [50 * US..2 * MS, 2 * MS..60 * MS];
/// Time after which a command asks again, in ns.
const ASK_EVERY: u64 = 250 * MS;
/// Leases between two looks for a fitter node.
const YIELDS_EVERY: u64 = 4;

impl World<'_> {
    /// Does the next thing that the control plane has to do; `false` if there is none now.
    pub(super) fn step_control(&mut self, node: usize, timers: &mut u32) -> bool {
        let local = self.machines[node].clock.read(self.now);
        let Some(control) = self.running_control(node) else { return false };
        if let Some(configuration) = control.adopted.take() {
            self.order_voters(node, &configuration);
            return true;
        }
        self.order_pair(node);
        let Some(control) = self.running_control(node) else { return false };
        if let Some(action) = control.membership.poll_action() {
            self.carry_out_membership(node, action);
            return true;
        }
        let deadline = control.membership.next_deadline();
        let due = deadline <= local;
        if (!control.timing.timers_first || !due)
            && let Some(news) = control.inbox.pop_front()
        {
            self.take_news(node, news);
            return true;
        }
        control.timing.timers_first = false;
        if due {
            *timers += 1;
            self.meet_deadline(node);
            return true;
        }
        self.plan_wake(node, Part::Control, deadline);
        false
    }

    /// What a daemon begins with.
    pub(super) fn begin_control(&mut self, node: usize) {
        self.order_eligibility(node);
        self.drive(node);
    }

    /// Gives the control plane something to take in, if there is one.
    pub(super) fn news(&mut self, node: usize, news: News) {
        if let Some(daemon) = &mut self.machines[node].daemon {
            daemon.control.inbox.push_back(news);
        }
    }

    fn running_control(&mut self, node: usize) -> Option<&mut ControlPlane> {
        let now = self.now;
        self.machines[node].daemon.as_mut().map(|daemon| &mut daemon.control).filter(|it| it.timing.runs(now))
    }

    fn with_membership(&mut self, node: usize, what: impl FnOnce(&mut Membership, u64)) {
        let local = self.machines[node].clock.read(self.now);
        if let Some(control) = self.running_control(node) {
            what(&mut control.membership, local);
        }
    }

    fn take_news(&mut self, node: usize, news: News) {
        match news {
            News::Hello(from, hello) => {
                let hello = Rc::unwrap_or_clone(hello);
                self.with_membership(node, |membership, now| membership.handle_hello(from, hello, now));
            }
            News::Durable(durable) => {
                self.with_membership(node, |membership, now| membership.handle_stored(durable, now));
            }
            News::Holds(slot, holds) => {
                if let Some(control) = self.running_control(node) {
                    control.holds[slot] = holds;
                }
            }
            News::Carrier => self.order_eligibility(node),
            News::Release(slot) => {
                if self.holds(node, slot) {
                    self.input(node, Input::Release(slot));
                }
            }
            News::HandOver(slot, to) => {
                if self.holds(node, slot) {
                    self.input(node, Input::HandOver(slot, to));
                }
            }
            News::Stop(down) => self.stop(node, down),
            News::Remove(removing) => {
                if let Some(control) = self.running_control(node) {
                    control.removing = Some(removing);
                }
                self.remove(node);
            }
        }
    }

    /// Asks for a voter to be counted out, as the command does again and again.
    fn remove(&mut self, node: usize) {
        let (now, id) = (self.now, self.machines[node].id);
        let local = self.machines[node].clock.read(now);
        let Some(control) = self.running_control(node) else { return };
        let Some(removing) = control.removing.take().filter(|removing| now < removing.until) else { return };
        match control.membership.remove(removing.id, local) {
            Ok(Removal::Asked) => {
                control.removing = Some(removing);
                let incarnation = self.machines[node].disk.incarnation;
                self.queue.plan(now + ASK_EVERY, Event::AskAgain { node, incarnation });
            }
            Ok(Removal::Done) if removing.id == id => self.stop(node, removing.down),
            Ok(Removal::Done) | Err(_) => {}
        }
    }

    pub(super) fn ask_again(&mut self, node: usize, incarnation: u64) {
        if self.is_running(node, incarnation) {
            self.remove(node);
            self.drive(node);
        }
    }

    fn meet_deadline(&mut self, node: usize) {
        let nodes = self.machines.len();
        let machine = &mut self.machines[node];
        if let (Some(plane), Some(daemon)) = (&machine.plane, &mut machine.daemon) {
            for id in (1..).take(nodes).filter(|id| *id != machine.id) {
                daemon.control.membership.heard(id, plane.last_heard(id));
            }
        }
        self.with_membership(node, Membership::handle_timeout);
        if self.schedule.preempt {
            self.yield_to_fitter(node);
        }
    }

    /// Hands what it holds over to fitter nodes, now and then.
    fn yield_to_fitter(&mut self, node: usize) {
        let local = self.machines[node].clock.read(self.now);
        let again = local + YIELDS_EVERY * self.schedule.lease;
        let Some(control) = self.running_control(node).filter(|control| control.yields_at <= local) else {
            return;
        };
        control.yields_at = again;
        for slot in 0..usize::from(self.schedule.groups) {
            let own = self.machines[node].priorities[slot];
            let fittest = self.candidates(node, slot).first().copied();
            if let Some((_, to)) = fittest.filter(|(priority, _)| *priority > own && self.holds(node, slot)) {
                self.input(node, Input::HandOver(slot, to));
            }
        }
    }

    fn holds(&self, node: usize, slot: usize) -> bool {
        self.machines[node].daemon.as_ref().is_some_and(|daemon| daemon.control.holds[slot])
    }

    fn carry_out_membership(&mut self, node: usize, action: Action) {
        let id = self.machines[node].id;
        if !matches!(action, Action::Notice(_) | Action::PeersChanged | Action::Member(..)) {
            self.note(|| format!("node {id}:   {action:?}"));
        }
        match action {
            Action::SendHello => {
                let Some(control) = self.running_control(node) else { return };
                // One that cannot be said is not said, as by the daemon.
                if let Some(hello) = said(&control.membership) {
                    self.input(node, Input::Hello(hello));
                }
            }
            Action::StoreConsent(consent) => self.store(node, Durable::Consent(consent)),
            Action::StoreConfiguration(new) => self.store(node, Durable::Configuration(new)),
            Action::StorePledge(pledge) => self.store(node, Durable::Pledge(pledge)),
            Action::Adopt(configuration) => self.adopt(node, configuration),
            Action::PeersChanged => {
                self.rank(node);
                self.order_eligibility(node);
            }
            // No two have one name here.
            Action::NameTaken(_) | Action::Member(..) | Action::Notice(_) => {}
        }
    }

    /// The data plane first: it answers in the new epoch only.
    fn adopt(&mut self, node: usize, configuration: Configuration) {
        self.oracle.adopted(&configuration, self.now);
        let machine = &mut self.machines[node];
        let (Some(plane), Some(daemon)) = (&mut machine.plane, &mut machine.daemon) else { return };
        plane.config.epoch = configuration.epoch();
        plane.config.observer = (!configuration.contains(machine.id)).into();
        daemon.control.adopted = Some(configuration);
        self.reach(node, Point::Adopted);
    }

    fn order_voters(&mut self, node: usize, configuration: &Configuration) {
        self.forget_pair(node);
        self.input(node, Input::Epoch(configuration.epoch()));
        let voters: Rc<[u16]> = configuration.voters().into();
        for slot in 0..usize::from(self.schedule.groups) {
            self.input(node, Input::Voters(slot, Rc::clone(&voters)));
        }
        self.rank(node);
    }

    /// Tells the elections who may hold their groups, fittest first.
    fn rank(&mut self, node: usize) {
        for slot in 0..usize::from(self.schedule.groups) {
            let order = self.candidates(node, slot).into_iter().map(|(_, id)| id).collect();
            self.input(node, Input::Candidates(slot, order));
        }
    }

    /// The nodes that may hold a group, with their priorities, fittest first.
    fn candidates(&self, node: usize, slot: usize) -> Vec<(u8, u16)> {
        let Some(daemon) = &self.machines[node].daemon else { return Vec::new() };
        let members = daemon.control.membership.candidates();
        let priority = |member: &Member| member.hello.groups.get(slot).map_or(0, |offer| offer.priority);
        let mut candidates: Vec<(u8, u16)> = members
            .map(|member| (priority(member), member.id))
            .filter(|(priority, _)| *priority > 0)
            .collect();
        candidates.sort_by_key(|(priority, id)| (std::cmp::Reverse(*priority), *id));
        candidates
    }

    fn order_eligibility(&mut self, node: usize) {
        let machine = &self.machines[node];
        let stays = machine.daemon.as_ref().is_some_and(|daemon| daemon.control.membership.stays());
        let may_hold = machine.unfit == 0 && stays;
        for slot in 0..usize::from(self.schedule.groups) {
            let eligible = self.machines[node].priorities[slot] > 0 && may_hold;
            self.input(node, Input::Eligible(slot, eligible));
        }
    }

    /// Has something written, as slowly as disks are. What was not written when the machine or the daemon dies, is not.
    fn store(&mut self, node: usize, durable: Durable) {
        let machine = &mut self.machines[node];
        if let Some(daemon) = &mut machine.daemon {
            daemon.control.writing += 1;
        }
        let seldom = usize::from(machine.rng.random_bool(0.1));
        let written = self.now + machine.rng.random_range(WRITE[seldom].clone());
        let reported = written + machine.rng.random_range(WRITE[0].clone());
        let (incarnation, durable) = (machine.disk.incarnation, Box::new(durable));
        self.queue.plan(written, Event::Written { node, incarnation, durable: durable.clone() });
        self.queue.plan(reported, Event::Reported { node, incarnation, durable });
    }

    pub(super) fn written(&mut self, node: usize, incarnation: u64, durable: &Durable) {
        if !self.is_running(node, incarnation) {
            return;
        }
        if let Some(daemon) = &mut self.machines[node].daemon {
            daemon.control.writing -= 1;
        }
        let stored = &mut self.machines[node].disk.stored;
        match durable.clone() {
            Durable::Consent(consent) => stored.consent = Some(consent),
            Durable::Configuration(configuration) => stored.configuration = Some(configuration),
            Durable::Pledge(pledge) => stored.pledge = Some(pledge),
        }
        self.reach(node, Point::Written);
    }

    pub(super) fn reported(&mut self, node: usize, incarnation: u64, durable: Durable) {
        if self.is_running(node, incarnation) {
            self.news(node, News::Durable(durable));
            self.drive(node);
        }
    }

    fn is_running(&self, node: usize, incarnation: u64) -> bool {
        self.machines[node].daemon.as_ref().is_some_and(|daemon| daemon.incarnation == incarnation)
    }
}

/// What a node says of itself, as others read it.
pub(super) fn said(membership: &Membership) -> Body {
    let bytes = membership.hello().encode().ok()?;
    Hello::decode(&bytes).ok().map(Rc::new)
}
