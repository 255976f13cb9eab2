//! Pair mode: the gateway, and the lease thread's part, as the daemon plays it.

use std::rc::Rc;

use rand::Rng as _;
use vip_user::election::{Election, State};
use vip_user::pair::{Look, Pair};

use super::{Event, World};
use crate::process::{Input, Machine, PairSide};
use crate::schedule::US;

/// How long a request or an answer is on its way, in ns; seldom, up to a quarter of a lease.
const QUICK: std::ops::Range<u64> = 5 * US..65 * US;
const SELDOM: f64 = 0.02;
/// One of a hundred is lost.
const LOST: f64 = 0.01;

impl World<'_> {
    /// What a daemon that has just started has for it.
    pub(super) fn begin_pair(&mut self, node: usize) {
        let (groups, lease) = (usize::from(self.schedule.groups), self.schedule.lease);
        if let Some(daemon) = self.machines[node].daemon.as_mut().filter(|_| self.schedule.pair.is_some()) {
            let core = Pair::new(lease, groups);
            daemon.lease.pair =
                Some(PairSide { core, voters: Rc::new([]), told: vec![false; groups], to_act: Vec::new() });
        }
    }

    /// The control plane tells the lease thread who the other one of two voters is, before it says anything else.
    pub(super) fn order_pair(&mut self, node: usize) {
        let Some(daemon) = self.machines[node].daemon.as_mut().filter(|_| self.schedule.pair.is_some())
        else {
            return;
        };
        let peer = daemon.control.membership.pair();
        if std::mem::replace(&mut daemon.control.peer, peer) != peer {
            self.input(node, Input::Peer(peer));
        }
    }

    /// A configuration is about to be ordered, which begins without.
    pub(super) fn forget_pair(&mut self, node: usize) {
        if let Some(daemon) = self.machines[node].daemon.as_mut().filter(|_| self.schedule.pair.is_some()) {
            daemon.control.peer = None;
            self.input(node, Input::Peer(None));
        }
    }

    /// Keeps the voters that decide, for when this node's vote does not count alone any more.
    pub(super) fn keep_voters(&mut self, node: usize, voters: &Rc<[u16]>) {
        if let Some(pair) = self.pair(node) {
            pair.voters = Rc::clone(voters);
        }
    }

    /// What rests on this node's vote alone is given back where that must not count any more.
    pub(super) fn set_peer(&mut self, node: usize, peer: Option<u16>) {
        let local = self.machines[node].clock.read(self.now);
        if self.pair(node).is_none_or(|pair| pair.core.peer() == peer) {
            return;
        }
        if let Some(pair) = self.pair(node) {
            pair.core.set_peer(peer);
        }
        for slot in 0..usize::from(self.schedule.groups) {
            let view = self.machines[node].view(slot, self.now);
            let Some(lease) = self.running_lease(node) else { return };
            let (Some(pair), election) = (&mut lease.pair, &mut lease.elections[slot]) else { return };
            if std::mem::take(&mut pair.told[slot]) {
                election.set_voters(&pair.voters, &view);
                pair.to_act.push(slot);
            }
            if pair.core.may_be_own(slot, view.lease_until, local) {
                Election::release(election, &view);
                pair.to_act.push(slot);
            }
        }
    }

    /// An answer, an order, or a deadline has come.
    pub(super) fn meet_pair(&mut self, node: usize) {
        self.look_at_pair(node);
        let local = self.machines[node].clock.read(self.now);
        if self.pair(node).is_some_and(|pair| pair.core.poll_request(local)) {
            self.ask_gateway(node);
        }
    }

    pub(super) fn handle_gateway(&mut self, node: usize) {
        let local = self.machines[node].clock.read(self.now);
        if let Some(pair) = self.pair(node) {
            pair.core.handle_answer(local);
        }
        self.meet_pair(node);
    }

    /// Tells the elections whose votes count from now on, where that has changed.
    pub(super) fn look_at_pair(&mut self, node: usize) {
        let local = self.machines[node].clock.read(self.now);
        let Some(peer) = self.pair(node).map(|pair| pair.core.peer()) else { return };
        let heard = match (&self.machines[node].plane, peer) {
            (Some(plane), Some(peer)) => plane.last_heard(peer),
            _ => 0,
        };
        let looks = self.looks(node);
        if let Some(pair) = self.pair(node) {
            pair.core.look(local, heard, &looks);
        }
        let me = [self.machines[node].id];
        for slot in 0..looks.len() {
            let view = self.machines[node].view(slot, self.now);
            let Some(lease) = self.running_lease(node) else { return };
            let Some(pair) = &mut lease.pair else { return };
            let is_alone = pair.core.is_alone(slot);
            if std::mem::replace(&mut pair.told[slot], is_alone) == is_alone {
                continue;
            }
            lease.elections[slot].set_voters(if is_alone { &me } else { &pair.voters }, &view);
            pair.to_act.push(slot);
            let id = me[0];
            self.note(|| format!("node {id}, group {slot}: alone: {is_alone}"));
        }
    }

    fn looks(&mut self, node: usize) -> Vec<Look> {
        let machine = &self.machines[node];
        let (Some(plane), Some(daemon)) = (&machine.plane, &machine.daemon) else { return Vec::new() };
        let look = |(election, group): (&Election, &crate::plane::Group)| Look {
            may_hold: election.may_hold(),
            holds: election.state() == State::Holder,
            lease_until: group.lease_until,
        };
        daemon.lease.elections.iter().zip(&plane.groups).map(look).collect()
    }

    fn pair(&mut self, node: usize) -> Option<&mut PairSide> {
        self.running_lease(node)?.pair.as_mut()
    }

    // The gateway.

    fn ask_gateway(&mut self, node: usize) {
        if let Some(at) = self.way_to_gateway(node) {
            let incarnation = self.machines[node].disk.incarnation;
            self.queue.plan(at, Event::AtGateway { node, incarnation });
        }
    }

    pub(super) fn at_gateway(&mut self, node: usize, incarnation: u64) {
        if let Some(at) = self.way_to_gateway(node) {
            self.queue.plan(at, Event::Answered { node, incarnation });
        }
    }

    pub(super) fn answered(&mut self, node: usize, incarnation: u64) {
        let is_running =
            self.machines[node].daemon.as_ref().is_some_and(|daemon| daemon.incarnation == incarnation);
        if is_running && self.gateway.contains(self.machines[node].id) {
            self.input(node, Input::Answer);
            self.drive(node);
        }
    }

    /// When what is sent between a node and the gateway arrives, if it does.
    fn way_to_gateway(&mut self, node: usize) -> Option<u64> {
        let (lease, is_calm) = (self.schedule.lease, self.now >= self.schedule.calm_at);
        let Machine { id, rng, .. } = &mut self.machines[node];
        if !self.gateway.contains(*id) || (!is_calm && rng.random_bool(LOST)) {
            return None;
        }
        let is_late = !is_calm && rng.random_bool(SELDOM);
        Some(self.now + if is_late { rng.random_range(0..lease / 4) } else { rng.random_range(QUICK) })
    }

    /// Whether a node could serve a group without hearing of any other, as it is in the calm: as the only voter, or as the one of
    /// two that the gateway answers.
    pub(super) fn may_serve_by_itself(&self, machine: &Machine, group: usize) -> bool {
        let Some(daemon) = &machine.daemon else { return false };
        let membership = &daemon.control.membership;
        let voters = membership.configuration().map_or(0, |configuration| configuration.voters().len());
        let is_answered = self.schedule.pair.is_some_and(|calm| calm.answered.contains(machine.id));
        let is_enough = voters == 1 || is_answered && membership.pair().is_some();
        is_enough && !self.is_outdated(machine) && membership.stays() && machine.priorities[group] > 0
    }
}
