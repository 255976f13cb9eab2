//! Messages on their way, and what the data plane does with them.

use rand::Rng;
use vip_common::vote::{self, Verdict};
use vip_common::wire::{Kind, Message};

use super::{Event, World};
use crate::plane::Swap;
use crate::process::{self, Body, Input, slot_of};
use crate::schedule::{Nodes, US};

impl World<'_> {
    /// Sends a message to every other node.
    pub(super) fn send_to_all(&mut self, from: usize, message: Message, body: &Body) {
        self.record(&message, body);
        for to in (0..self.machines.len()).filter(|to| *to != from) {
            self.send(from, to, message, body);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message, body: &Body) {
        for at in self.segment.carry(from, to, self.now).into_iter().flatten() {
            self.queue.plan(at, Event::Deliver { to, message, body: body.clone() });
        }
    }

    fn record(&mut self, message: &Message, body: &Body) {
        if let Some(tape) = &mut self.tape {
            tape.record(message, body);
        }
    }

    /// Sends recorded messages of a node again, at any times within `lasts`.
    pub(super) fn replay(&mut self, from: u16, to: Nodes, messages: u32, lasts: u64) {
        let Some(tape) = &mut self.tape else { return };
        for _ in 0..messages {
            let Some((message, body)) = tape.recall(from) else { return };
            let at = self.now + tape.moment(lasts);
            let ids = self.machines.iter().map(|machine| machine.id);
            for (to, _) in ids.enumerate().filter(|(_, id)| to.contains(*id)) {
                self.queue.plan(at, Event::Deliver { to, message, body: body.clone() });
            }
        }
    }

    /// A message has arrived: the data plane handles it, whatever the daemon does.
    pub(super) fn deliver(&mut self, to: usize, mut message: Message, body: Body) {
        let sender = usize::from(message.sender.get()) - 1;
        self.counts.messages += 1;
        match self.verdict(to, &message, false) {
            Some(Verdict::Pass(_)) => self.input(to, Input::Datagram(message, body)),
            Some(Verdict::Reply(answer)) => {
                if let Some(plane) = &self.machines[to].plane {
                    answer.put_into(&mut message, &plane.config);
                }
                self.record(&message, &None);
                self.send(to, sender, message, &None);
            }
            Some(Verdict::Drop(_)) | None => {}
        }
        self.leave_to_do(to);
        let waits = self.machines[to].daemon.as_ref().is_some_and(|daemon| !daemon.lease.inbox.is_empty());
        if waits { self.drive(to) } else { self.look(to) }
    }

    /// What the node's data plane decides; `None` without one.
    pub(super) fn verdict(&mut self, node: usize, message: &Message, own: bool) -> Option<Verdict> {
        let slow_swap = self.schedule.chances.slow_swap;
        let machine = &mut self.machines[node];
        let plane = machine.plane.as_mut()?;
        plane.now = machine.clock.read(self.now);
        plane.is_slow = slow_swap > 0 && machine.rng.random_range(0..10_000) < slow_swap;
        let (kind, config) = (process::kind(message)?, plane.config);
        let verdict = vote::message(message, kind, own, &config, plane);
        if self.trace.is_some() && kind != Kind::Hello {
            self.note_verdict(node, message, kind, verdict);
        }
        Some(verdict)
    }

    /// Takes up what the data plane has left to do: events for the daemon, and a swap that is still to come.
    pub(super) fn leave_to_do(&mut self, node: usize) {
        let Some(plane) = &mut self.machines[node].plane else { return };
        let under_way = plane.under_way.take();
        let events = std::mem::take(&mut plane.events);
        if let Some(swap) = under_way {
            self.plan_swap(node, swap);
        }
        for (kind, slot) in events {
            self.input(node, Input::Event(kind, slot));
        }
    }

    /// A processor that loses its time gets it back soon, or, where another machine had it, not so soon.
    fn plan_swap(&mut self, node: usize, swap: Swap) {
        let most = if self.machines[node].rng.random_bool(0.3) { self.schedule.lease } else { 100 * US };
        let at = self.now + self.machines[node].rng.random_range(0..most);
        self.queue.plan(at, Event::Swap { node, plane: self.machines[node].planes, swap });
    }

    pub(super) fn finish_swap(&mut self, node: usize, plane: u32, swap: Swap) {
        let machine = &mut self.machines[node];
        if let Some(maps) = machine.plane.as_mut().filter(|_| machine.planes == plane) {
            maps.is_slow = false;
            maps.finish(swap);
            self.look(node);
        }
    }

    /// Gives the lease thread something to take in, if there is one.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        if let Some(daemon) = &mut self.machines[node].daemon {
            daemon.lease.inbox.push_back(input);
        }
    }

    fn note_verdict(&mut self, node: usize, message: &Message, kind: Kind, verdict: Verdict) {
        let (ballot, sender) = (message.ballot.get(), message.sender.get());
        let slot = slot_of(message).unwrap_or(0);
        let id = self.machines[node].id;
        let said = match verdict {
            Verdict::Pass(_) => "passed".to_owned(),
            Verdict::Drop(counter) => format!("{counter:?}"),
            Verdict::Reply(answer) => {
                format!(
                    "{:?} {}, {}",
                    answer.kind,
                    vip_common::lease::Ballot(answer.ballot.0),
                    answer.duration
                )
            }
        };
        self.note(|| {
            let ballot = vip_common::lease::Ballot(ballot);
            format!("node {id}, group {slot}: {kind:?} {ballot} of node {sender}: {said}")
        });
    }
}
