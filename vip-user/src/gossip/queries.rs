//! Queries: a question to the handlers of all members, or of some; each is run once, and acknowledged and answered to the node that
//! has asked.
//!
//! The question is sent again, to those that are missed, until all have answered or its time is over; who is asked again
//! acknowledges and answers again, and runs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

use super::{Gossip, GossipError, MAX_TARGETS, Origin, Query, check_topic};

/// The most own queries under way.
pub const MAX_ASKED: usize = 16;
/// How long answers may be waited for at most, in ns.
pub const MAX_TIMEOUT: u64 = 300 * SECOND;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// When a query is sent again; it doubles with each time.
const ASK_AGAIN_AFTER: u64 = 100 * MILLISECOND;
const MOST_DOUBLINGS: u32 = 4;
/// The most queries of others that are remembered; a flood of them ends the memory of older ones.
const MAX_ANSWERED: usize = 256;
/// No clock goes so far ahead at once, as in [`super::events`].
const MAX_LEAP: u64 = 1 << 32;

/// What the driver must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to all other nodes.
    SendToAll(Gossip),
    /// Send this to a node.
    Send(u16, Gossip),
    /// Run the handlers for it, if there are any, then call [`Queries::handle_own_answer`].
    Run(Query),
    /// This own query is over.
    Finished(u64, Outcome),
}

/// What came of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The nodes that have acknowledged it, in this order.
    pub acks: Vec<u16>,
    /// The answers, in the order in which they came.
    pub answers: Vec<(u16, Vec<u8>)>,
    /// The nodes that were asked and have not acknowledged it.
    pub silent: Vec<u16>,
    /// The nodes that have acknowledged it, run a handler, and had not answered in time.
    pub late: Vec<u16>,
}

/// Why a query is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It cannot be said.
    #[error("a query cannot be like this: {0}")]
    Invalid(#[from] GossipError),
    /// Too many.
    #[error("{MAX_ASKED} queries of this node wait for answers already: wait until one of them is over")]
    TooMany,
    /// Longer than anybody waits.
    #[error("the timeout must be from 1 ms to {} s", MAX_TIMEOUT / SECOND)]
    Timeout,
}

/// The queries, as one node knows them. After each call that takes `now` (CLOCK_BOOTTIME, ns), take all actions with
/// [`Queries::poll_action`], and call [`Queries::handle_timeout`] when [`Queries::next_deadline`] is reached.
#[derive(Clone, Debug)]
pub struct Queries {
    me: u16,
    incarnation: u64,
    number: u64,
    /// The latest Lamport time that was heard of.
    clock: u64,
    asked: BTreeMap<u64, Asked>,
    answered: VecDeque<Answered>,
    actions: VecDeque<Action>,
}

/// An own query.
#[derive(Clone, Debug)]
struct Asked {
    query: Query,
    /// All nodes are asked, also those that this one did not know of.
    all: bool,
    deadline: u64,
    ask_again_at: u64,
    times: u32,
    unacknowledged: BTreeSet<u16>,
    unanswered: BTreeSet<u16>,
    outcome: Outcome,
}

/// A query of any node that is for this one.
#[derive(Clone, Debug)]
struct Answered {
    origin: Origin,
    answers: bool,
    payload: Option<Vec<u8>>,
}

impl Queries {
    /// Of the daemon of node `me` that has started with this incarnation.
    pub const fn new(me: u16, incarnation: u64) -> Self {
        Self {
            me,
            incarnation,
            number: 0,
            clock: 0,
            asked: BTreeMap::new(),
            answered: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// Asks these nodes, this one among them or not; `all` says that they are all that are alive. Tells the number that
    /// [`Action::Finished`] has. `timeout` is in ns.
    ///
    /// # Errors
    /// It cannot be sent, or there are too many.
    pub fn ask(
        &mut self,
        topic: (&str, &[u8]),
        nodes: &BTreeSet<u16>,
        all: bool,
        timeout: u64,
        now: u64,
    ) -> Result<u64, Refused> {
        let (name, payload) = topic;
        check_topic(name, payload)?;
        if !(MILLISECOND..=MAX_TIMEOUT).contains(&timeout) {
            return Err(Refused::Timeout);
        }
        if self.asked.len() >= MAX_ASKED {
            return Err(Refused::TooMany);
        }
        self.number += 1;
        self.clock = self.clock.saturating_add(1);
        let origin = Origin { node: self.me, incarnation: self.incarnation, number: self.number };
        let query = Query {
            origin,
            ltime: self.clock,
            name: name.to_owned(),
            payload: payload.to_owned(),
            nodes: Vec::new(),
        };
        let mut asked = Asked {
            query,
            all,
            deadline: now.saturating_add(timeout),
            ask_again_at: now,
            times: 0,
            unacknowledged: nodes.clone(),
            unanswered: BTreeSet::new(),
            outcome: Outcome::default(),
        };
        if nodes.contains(&self.me) {
            self.actions.push_back(Action::Run(asked.query.clone()));
        }
        asked.send(all, self.me, now, &mut self.actions);
        self.asked.insert(self.number, asked);
        self.advance(now);
        Ok(self.number)
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Queries::handle_timeout`].
    pub fn next_deadline(&self) -> Option<u64> {
        self.asked.values().map(|asked| asked.deadline.min(asked.ask_again_at)).min()
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, now: u64) {
        self.advance(now);
    }

    /// A node asks.
    pub fn handle_query(&mut self, query: Query) {
        let is_for_me = query.nodes.is_empty() || query.nodes.contains(&self.me);
        if !is_for_me || query.origin.node == self.me || query.ltime > self.clock.saturating_add(MAX_LEAP) {
            return;
        }
        self.clock = self.clock.max(query.ltime);
        match self.answered.iter().find(|answered| answered.origin == query.origin) {
            // It is run already; what was said of it may have been lost.
            Some(answered) => answered.say(&mut self.actions),
            None => self.actions.push_back(Action::Run(query)),
        }
    }

    /// The handlers of this node answer the query, or will (`None`), or there is none for it (`answers` is false).
    pub fn handle_own_answer(&mut self, query: Origin, answers: bool, payload: Option<Vec<u8>>, now: u64) {
        if query.node == self.me {
            self.handle_ack(self.me, query, answers, now);
            if let Some(payload) = payload {
                self.handle_answer(self.me, query, payload, now);
            }
            return;
        }
        self.answered.retain(|answered| answered.origin != query);
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.pop_front();
        }
        let answered = Answered { origin: query, answers, payload };
        answered.say(&mut self.actions);
        self.answered.push_back(answered);
    }

    /// Node `from` has this query.
    pub fn handle_ack(&mut self, from: u16, query: Origin, answers: bool, now: u64) {
        let Some(asked) = self.asked_by_this_daemon(query) else { return };
        let is_expected = asked.unacknowledged.remove(&from);
        if is_expected || (asked.all && !asked.outcome.acks.contains(&from)) {
            asked.outcome.acks.push(from);
            if answers {
                asked.unanswered.insert(from);
            }
        } else if !answers {
            // Its handler has failed.
            asked.unanswered.remove(&from);
        }
        self.advance(now);
    }

    /// Node `from` answers.
    pub fn handle_answer(&mut self, from: u16, query: Origin, payload: Vec<u8>, now: u64) {
        self.handle_ack(from, query, true, now);
        let Some(asked) = self.asked_by_this_daemon(query) else { return };
        if asked.unanswered.remove(&from) {
            asked.outcome.answers.push((from, payload));
        }
        self.advance(now);
    }

    fn asked_by_this_daemon(&mut self, query: Origin) -> Option<&mut Asked> {
        let own = query.node == self.me && query.incarnation == self.incarnation;
        self.asked.get_mut(&query.number).filter(|_| own)
    }

    fn advance(&mut self, now: u64) {
        let is_over = |asked: &Asked| asked.deadline <= now || asked.is_complete();
        let over: Vec<u64> =
            self.asked.iter().filter(|(_, asked)| is_over(asked)).map(|(number, _)| *number).collect();
        for (number, asked) in
            over.into_iter().filter_map(|number| Some((number, self.asked.remove(&number)?)))
        {
            self.actions.push_back(Action::Finished(number, asked.finish()));
        }
        for asked in self.asked.values_mut().filter(|asked| asked.ask_again_at <= now) {
            asked.send(false, self.me, now, &mut self.actions);
        }
    }
}

impl Asked {
    fn is_complete(&self) -> bool {
        self.unacknowledged.is_empty() && self.unanswered.is_empty()
    }

    /// Asks all, or those that are missed: in several messages if they are many.
    fn send(&mut self, all: bool, me: u16, now: u64, actions: &mut VecDeque<Action>) {
        self.ask_again_at = now.saturating_add(ASK_AGAIN_AFTER << self.times.min(MOST_DOUBLINGS));
        self.times += 1;
        let mut ask = |nodes: Vec<u16>| {
            let query = Query { nodes, ..self.query.clone() };
            actions.push_back(Action::SendToAll(Gossip::Query(query)));
        };
        if all {
            return ask(Vec::new());
        }
        let missed: Vec<u16> =
            self.unacknowledged.union(&self.unanswered).copied().filter(|node| *node != me).collect();
        missed.chunks(MAX_TARGETS).for_each(|nodes| ask(nodes.to_vec()));
    }

    fn finish(self) -> Outcome {
        let Self { unacknowledged, unanswered, outcome, .. } = self;
        Outcome {
            silent: unacknowledged.into_iter().collect(),
            late: unanswered.into_iter().collect(),
            ..outcome
        }
    }
}

impl Answered {
    fn say(&self, actions: &mut VecDeque<Action>) {
        let query = self.origin;
        let gossip = match &self.payload {
            Some(payload) => Gossip::Answer { query, payload: payload.clone() },
            None => Gossip::Ack { query, answers: self.answers },
        };
        actions.push_back(Action::Send(query.node, gossip));
    }
}

#[cfg(test)]
mod tests;
