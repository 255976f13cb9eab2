//! User events: each is delivered once on every node, in the order of their Lamport times, also where messages get lost.
//!
//! A node sends an event to all, twice. What a node has heard of whom stands in its Hellos ([`Heard`]); who misses something asks
//! the node that has it. So an event survives the node that made it, and reaches nodes that were cut off for a
//! moment; each node keeps the last [`MAX_KEPT`] events for [`KEPT_TIME`]. A daemon that starts delivers nothing from before its
//! first Hello, or, when it was there before, nothing that it has delivered already.
//!
//! The events of one node come in the order in which they were made; of several nodes by their Lamport times
//! (Lamport 1978, "Time, clocks, and the ordering of events in a distributed system"), as far as they are heard within [`HOLD_BACK`],
//! or within [`WAIT_FOR_MISSING`] where it is known that some are missing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Gossip, GossipError, Missing, Origin, UserEvent, check_topic};
use crate::pace::Budget;

/// How long a node keeps an event for others, in ns.
pub const KEPT_TIME: u64 = 300 * SECOND;
/// The most events that a node keeps.
pub const MAX_KEPT: usize = 512;
/// How long an event waits for others that were made before it, in ns.
pub const HOLD_BACK: u64 = 50_000_000;
/// How long it waits for those that are known to be missing, in ns.
pub const WAIT_FOR_MISSING: u64 = SECOND;
/// The most nodes of which a Hello says what was heard.
pub const MAX_HEARD: usize = 4;
/// Events that a node may make in a second, and the most at once: a node that is full of events serves nobody.
pub const EVENTS_PER_SECOND: u32 = 100;

const SECOND: u64 = 1_000_000_000;
/// When an event is sent the second time: losses come in bursts.
const REPEAT_AFTER: u64 = 100_000_000;
/// Messages overtake each other: only what is missing for longer is asked for.
const ASK_AFTER: u64 = 20_000_000;
const ASK_AGAIN_AFTER: u64 = 200_000_000;
/// What nobody sends within this time is gone.
const GAP_PATIENCE: u64 = 10 * SECOND;
/// The most events of one node that wait for an earlier one, and that are asked for.
const MAX_GAP: u64 = 64;
/// The most events that are held back.
const MAX_HELD_BACK: usize = 1024;
/// Nodes, by their daemons' starts, of which is remembered what was heard.
const MAX_STREAMS: usize = 256;
/// No clock goes so far ahead at once: one message must not use up all times.
const MAX_LEAP: u64 = 1 << 32;

/// What a node has heard of the events of one node, without a gap; in its Hellos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The last one.
    pub last: Origin,
    /// Its Lamport time.
    pub ltime: u64,
}

/// What the driver must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to all other nodes.
    SendToAll(Gossip),
    /// Send this to a node.
    Send(u16, Gossip),
    /// The handlers' turn.
    Deliver(UserEvent),
}

/// Why an event is not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It cannot be said.
    #[error("an event cannot be like this: {0}")]
    Invalid(#[from] GossipError),
    /// Too many.
    #[error(
        "more than {EVENTS_PER_SECOND} events a second were made on this node: wait a moment, or make fewer"
    )]
    TooMany,
}

/// The events, as one node knows them. After each call that takes `now` (CLOCK_BOOTTIME, ns), take all actions with
/// [`Events::poll_action`], and call [`Events::handle_timeout`] when [`Events::next_deadline`] is reached.
#[derive(Clone, Debug)]
pub struct Events {
    me: u16,
    incarnation: u64,
    /// Of the event that this node has made last.
    last: Heard,
    /// The latest Lamport time that was heard of.
    clock: u64,
    /// Whatever is not later is old. `None` until another node was heard.
    floor: Option<u64>,
    /// The latest Lamport time that was delivered.
    delivered: u64,
    /// By node and incarnation.
    streams: BTreeMap<(u16, u64), Stream>,
    kept: VecDeque<Kept>,
    held_back: BTreeMap<(u64, Origin), HeldBack>,
    /// Own events to be sent again, and when.
    repeats: VecDeque<(u64, UserEvent)>,
    budget: Budget,
    /// The stream that the next Hello begins with, if there are too many for one.
    turn: usize,
    actions: VecDeque<Action>,
}

/// The events that one daemon has made.
#[derive(Clone, Debug)]
struct Stream {
    /// The first one that was not heard.
    next: u64,
    /// Of the one before it.
    ltime: u64,
    /// Heard, but not all before them.
    ahead: BTreeMap<u64, UserEvent>,
    gap: Option<Gap>,
    /// When something new was heard.
    active_at: u64,
}

/// Events that are known to exist and have not been heard.
#[derive(Clone, Copy, Debug)]
struct Gap {
    since: u64,
    /// The last one that somebody has.
    up_to: u64,
    /// Who has it.
    at: u16,
    ask_at: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    event: UserEvent,
    until: u64,
}

#[derive(Clone, Debug)]
struct HeldBack {
    event: UserEvent,
    until: u64,
}

impl Events {
    /// Of the daemon of node `me` that has started with this incarnation. `delivered` is the latest Lamport time that an
    /// earlier run has delivered, if that is known.
    pub fn new(me: u16, incarnation: u64, delivered: Option<u64>) -> Self {
        let ltime = delivered.unwrap_or(0);
        Self {
            me,
            incarnation,
            last: Heard { last: Origin { node: me, incarnation, number: 0 }, ltime },
            clock: ltime,
            floor: delivered,
            delivered: ltime,
            streams: BTreeMap::new(),
            kept: VecDeque::new(),
            held_back: BTreeMap::new(),
            repeats: VecDeque::new(),
            budget: Budget::per_second(EVENTS_PER_SECOND),
            turn: 0,
            actions: VecDeque::new(),
        }
    }

    /// Makes an event, and tells its Lamport time.
    ///
    /// # Errors
    /// It cannot be sent, or there are too many.
    pub fn make(&mut self, name: &str, payload: &[u8], coalesce: bool, now: u64) -> Result<u64, Refused> {
        check_topic(name, payload)?;
        if !self.budget.take(now) {
            return Err(Refused::TooMany);
        }
        let before = self.last;
        let ltime = self.clock.saturating_add(1);
        let origin = Origin { node: self.me, incarnation: self.incarnation, number: before.last.number + 1 };
        let event = UserEvent {
            origin,
            ltime,
            after: before.ltime,
            name: name.to_owned(),
            payload: payload.to_owned(),
            coalesce,
        };
        self.clock = ltime;
        self.last = Heard { last: origin, ltime };
        self.actions.push_back(Action::SendToAll(Gossip::Event(event.clone())));
        self.repeats.push_back((now.saturating_add(REPEAT_AFTER), event.clone()));
        self.take_in(event, now);
        self.advance(now);
        Ok(ltime)
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Events::handle_timeout`].
    pub fn next_deadline(&self) -> Option<u64> {
        let wait = self.wait();
        let held_back = self.held_back.values().map(|held| held.until.saturating_add(wait));
        let gaps = self.streams.values().filter_map(|stream| stream.gap.map(|gap| gap.ask_at));
        let repeats = self.repeats.front().map(|(at, _)| *at);
        held_back.chain(gaps).chain(repeats).min()
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, now: u64) {
        self.advance(now);
    }

    /// The latest Lamport time that was delivered: what [`Events::new`] is to be told after a restart.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The latest Lamport time that was heard of, for Hellos.
    pub const fn clock(&self) -> u64 {
        self.clock
    }

    /// What was heard, for the next Hello: of at most [`MAX_HEARD`] nodes, by turns; of those alone whose events others can
    /// still have from here.
    pub fn heard(&mut self) -> Vec<Heard> {
        let mut heard: Vec<Heard> = Vec::new();
        for Kept { event, .. } in &self.kept {
            let Origin { node, incarnation, .. } = event.origin;
            let known = |heard: &Heard| (heard.last.node, heard.last.incarnation) == (node, incarnation);
            if heard.iter().any(known) {
                continue;
            }
            if node == self.me {
                heard.push(self.last);
            } else if let Some(stream) = self.streams.get(&(node, incarnation)) {
                let last = Origin { number: stream.next - 1, ..event.origin };
                heard.push(Heard { last, ltime: stream.ltime });
            }
        }
        if heard.len() > MAX_HEARD {
            self.turn = (self.turn + MAX_HEARD) % heard.len();
            heard.rotate_left(self.turn);
            heard.truncate(MAX_HEARD);
        }
        heard
    }

    /// Node `from` has said in a Hello what it has heard, and its clock.
    pub fn handle_heard(&mut self, from: u16, clock: u64, heard: &[Heard], now: u64) {
        if !self.may_be(clock) {
            return;
        }
        let floor = *self.floor.get_or_insert(clock);
        let me = self.me;
        for Heard { last, ltime } in heard.iter().filter(|heard| heard.last.node != me) {
            let number = last.number;
            let stream = self.stream(*last, || {
                if *ltime <= floor { number + 1 } else { number.saturating_sub(MAX_GAP).max(1) }
            });
            stream.ltime = stream.ltime.max(if stream.next > number { *ltime } else { 0 });
            stream.note_gap(number, from, now);
        }
        self.clock = self.clock.max(clock);
        self.advance(now);
    }

    /// An event has come, from wherever.
    pub fn handle_event(&mut self, event: UserEvent, now: u64) {
        // What this node has made, its handlers have had.
        if event.origin.node == self.me || !self.may_be(event.ltime) {
            return;
        }
        self.clock = self.clock.max(event.ltime);
        let (origin, number) = (event.origin, event.origin.number);
        let all_before_are_old = self.floor.is_none_or(|floor| event.after <= floor);
        let stream = self.stream(origin, || {
            if all_before_are_old { number } else { number.saturating_sub(MAX_GAP).max(1) }
        });
        if number < stream.next {
            return;
        }
        stream.active_at = now;
        if number >= stream.next.saturating_add(MAX_GAP) {
            stream.skip_to(number - MAX_GAP + 1);
        }
        stream.ahead.insert(number, event);
        if number > stream.next {
            stream.note_gap(number - 1, origin.node, now);
        }
        self.drain((origin.node, origin.incarnation), now);
        self.advance(now);
    }

    /// A node misses some.
    pub fn handle_missing(&mut self, from: u16, missing: Missing) {
        let Missing { first, count } = missing;
        let numbers = first.number..first.number.saturating_add(count.into());
        let same = |origin: Origin| (origin.node, origin.incarnation) == (first.node, first.incarnation);
        let wanted = |event: &UserEvent| same(event.origin) && numbers.contains(&event.origin.number);
        for Kept { event, .. } in self.kept.iter().filter(|kept| wanted(&kept.event)) {
            self.actions.push_back(Action::Send(from, Gossip::Event(event.clone())));
        }
    }

    fn may_be(&self, ltime: u64) -> bool {
        ltime <= self.clock.saturating_add(MAX_LEAP)
    }

    /// What was heard of the daemon that has made `origin`; of a new one, all before `next` counts as heard.
    fn stream(&mut self, origin: Origin, next: impl FnOnce() -> u64) -> &mut Stream {
        let key = (origin.node, origin.incarnation);
        if !self.streams.contains_key(&key) && self.streams.len() >= MAX_STREAMS {
            self.forget_a_stream();
        }
        self.streams.entry(key).or_insert_with(|| Stream::new(next()))
    }

    /// The one that was quiet for longest. What it had must not be taken for new if it comes again.
    fn forget_a_stream(&mut self) {
        let quietest = self.streams.iter().min_by_key(|(_, stream)| stream.active_at).map(|(key, _)| *key);
        if let Some(stream) = quietest.and_then(|key| self.streams.remove(&key)) {
            self.floor = self.floor.max(Some(stream.ltime));
        }
    }

    /// Takes in what has no gap before it any more.
    fn drain(&mut self, key: (u16, u64), now: u64) {
        while let Some(event) = self.streams.get_mut(&key).and_then(Stream::take_next) {
            if self.floor.is_none_or(|floor| event.ltime > floor) {
                self.take_in(event, now);
            }
        }
    }

    fn take_in(&mut self, event: UserEvent, now: u64) {
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { event: event.clone(), until: now.saturating_add(KEPT_TIME) });
        let until = now.saturating_add(HOLD_BACK);
        self.held_back.insert((event.ltime, event.origin), HeldBack { event, until });
    }

    /// Does whatever is due at `now`.
    fn advance(&mut self, now: u64) {
        while self.kept.front().is_some_and(|kept| kept.until <= now) {
            self.kept.pop_front();
        }
        while self.repeats.front().is_some_and(|(at, _)| *at <= now) {
            let repeated = self.repeats.pop_front().map(|(_, event)| Action::SendToAll(Gossip::Event(event)));
            self.actions.extend(repeated);
        }
        self.ask_for_missing(now);
        self.deliver(now);
    }

    fn ask_for_missing(&mut self, now: u64) {
        let mut filled = Vec::new();
        for ((node, incarnation), stream) in &mut self.streams {
            let Some(gap) = &mut stream.gap else { continue };
            if now >= gap.since.saturating_add(GAP_PATIENCE) {
                let next = stream.ahead.keys().next().copied().unwrap_or(gap.up_to.saturating_add(1));
                stream.skip_to(next);
                filled.push((*node, *incarnation));
            } else if now >= gap.ask_at {
                let first = Origin { node: *node, incarnation: *incarnation, number: stream.next };
                let end = stream.ahead.keys().next().map_or(gap.up_to, |ahead| ahead - 1);
                let count = end.saturating_add(1).saturating_sub(stream.next).clamp(1, MAX_GAP);
                let missing = Missing { first, count: u8::try_from(count).unwrap_or(1) };
                gap.ask_at = now.saturating_add(ASK_AGAIN_AFTER);
                self.actions.push_back(Action::Send(gap.at, Gossip::Missing(missing)));
            }
        }
        filled.into_iter().for_each(|key| self.drain(key, now));
    }

    /// How much longer than [`HOLD_BACK`] an event waits, since others may have been made before it.
    fn wait(&self) -> u64 {
        let misses = self.streams.values().any(|stream| stream.gap.is_some());
        if misses { WAIT_FOR_MISSING } else { 0 }
    }

    /// Those that have waited long enough, and what was made before them.
    fn deliver(&mut self, now: u64) {
        let wait = self.wait();
        let is_due = |held: &HeldBack| held.until.saturating_add(wait) <= now;
        let due = self.held_back.iter().rev().find(|(_, held)| is_due(held)).map(|(key, _)| *key);
        while let Some(first) = self.held_back.first_entry() {
            let is_due = due.is_some_and(|due| *first.key() <= due);
            if !is_due && self.held_back.len() <= MAX_HELD_BACK {
                return;
            }
            let Some((_, HeldBack { event, .. })) = self.held_back.pop_first() else { return };
            self.delivered = self.delivered.max(event.ltime);
            self.actions.push_back(Action::Deliver(event));
        }
    }
}

impl Stream {
    const fn new(next: u64) -> Self {
        Self { next, ltime: 0, ahead: BTreeMap::new(), gap: None, active_at: 0 }
    }

    fn take_next(&mut self) -> Option<UserEvent> {
        let event = self.ahead.remove(&self.next)?;
        self.next = self.next.saturating_add(1);
        self.ltime = event.ltime;
        if self.gap.is_some_and(|gap| gap.up_to < self.next) {
            self.gap = None;
        }
        Some(event)
    }

    /// Node `at` has all up to this number.
    fn note_gap(&mut self, up_to: u64, at: u16, now: u64) {
        if up_to < self.next {
            return;
        }
        let new = Gap { since: now, up_to, at, ask_at: now.saturating_add(ASK_AFTER) };
        let gap = self.gap.get_or_insert(new);
        (gap.up_to, gap.at) = (gap.up_to.max(up_to), at);
    }

    /// Gives up what was before this number.
    fn skip_to(&mut self, number: u64) {
        self.next = self.next.max(number);
        self.ahead = self.ahead.split_off(&self.next);
        self.gap = None;
    }
}

#[cfg(test)]
mod tests;
