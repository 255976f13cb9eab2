//! User events, queries and round-trip times: the driver of what is decided in [`crate::gossip`].

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;
use tracing::{debug, error, info};
use vip_common::wire::Kind;

use super::control_plane::ControlPlane;
use super::lease_thread::Order;
use super::lookup;
use crate::clock;
use crate::contacts::Way;
use crate::control::{Asked, Made, NodeAnswer, Reply};
use crate::events as happened;
use crate::gossip::events::{self, Events};
use crate::gossip::queries::{self, Outcome, Queries};
use crate::gossip::{Gossip, Origin, Query, UserEvent};
use crate::handlers::Answer;
use crate::membership::{Hello, Sender, Status};
use crate::pace::Pace;

/// Time between two questions for a round-trip time: one a second, however many members there are.
const PING_INTERVAL: u64 = 1_000_000_000;
/// A round trip of more than this is none, in ns: the clock of the question was not this daemon's.
const LONGEST_ROUND_TRIP: u64 = 10_000_000_000;

/// What the control plane has of it.
pub(super) struct GossipSide {
    events: Events,
    queries: Queries,
    /// Who waits for the outcome of an own query, by its number.
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    /// In ns, by node: of the last time that it was asked.
    round_trips: BTreeMap<u16, u64>,
    /// The queries that handlers of this node run for, by the numbers that they know them by.
    running: BTreeMap<u64, Origin>,
    runs: u64,
    pings: Pace,
    last_pinged: u16,
    /// What the disk was told last.
    remembered: u64,
}

impl GossipSide {
    /// Of this node's daemon; `delivered` as in [`Events::new`].
    pub(super) fn new(id: u16, incarnation: u64, delivered: Option<u64>) -> Self {
        Self {
            events: Events::new(id, incarnation, delivered),
            queries: Queries::new(id, incarnation),
            waiting: BTreeMap::new(),
            round_trips: BTreeMap::new(),
            running: BTreeMap::new(),
            runs: 0,
            pings: Pace::new(0, PING_INTERVAL),
            last_pinged: 0,
            remembered: delivered.unwrap_or(0),
        }
    }

    /// When to call [`ControlPlane::handle_gossip_timeout`], in CLOCK_BOOTTIME ns.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.events.next_deadline().into_iter().chain(self.queries.next_deadline()).min()
    }

    /// The round-trip time to a node, in ns, if one was measured since it was last heard anew.
    pub(super) fn round_trip(&self, id: u16) -> Option<u64> {
        self.round_trips.get(&id).copied()
    }

    /// What this node has heard of events, into its Hello.
    pub(super) fn put_into(&mut self, hello: &mut Hello) {
        (hello.clock, hello.heard) = (self.events.clock(), self.events.heard());
    }
}

impl ControlPlane {
    /// What another node tells.
    pub(super) fn read_gossip(&mut self, from: Sender, way: Way, body: &[u8]) {
        let now = clock::now();
        let gossip = match Gossip::decode(body) {
            Ok(gossip) => gossip,
            Err(error) => {
                return debug!("what node {} at {} tells makes no sense: {error}", from.id, from.address);
            }
        };
        // The rest goes to one node by its nature, also where all hear each other by the group.
        if way == Way::Group || matches!(gossip, Gossip::Join | Gossip::Roster(_)) {
            self.note_voice(from, way);
        }
        match gossip {
            Gossip::Join => self.handle_join(from),
            Gossip::Roster(addresses) => self.handle_roster(&addresses),
            Gossip::Ping { sent_at } => self.send_gossip(&Gossip::Pong { sent_at }, from.address),
            Gossip::Pong { sent_at } => self.note_round_trip(from.id, sent_at, now),
            Gossip::Event(event) => self.gossip.events.handle_event(event, now),
            Gossip::Missing(missing) => self.gossip.events.handle_missing(from.id, missing),
            Gossip::Query(query) => self.gossip.queries.handle_query(query),
            Gossip::Ack { query, answers } => self.gossip.queries.handle_ack(from.id, query, answers, now),
            Gossip::Answer { query, payload } => {
                self.gossip.queries.handle_answer(from.id, query, payload, now);
            }
        }
        self.settle_gossip();
    }

    /// What a node's Hello says of events.
    pub(super) fn compare_events(&mut self, from: u16, hello: &Hello) {
        self.gossip.events.handle_heard(from, hello.clock, &hello.heard, clock::now());
        self.settle_gossip();
    }

    /// A deadline of events or queries has come.
    pub(super) fn handle_gossip_timeout(&mut self) {
        let now = clock::now();
        self.gossip.events.handle_timeout(now);
        self.gossip.queries.handle_timeout(now);
        self.settle_gossip();
    }

    /// Makes a user event.
    pub(super) fn make_event(&mut self, name: &str, payload: &str, coalesce: bool) -> Reply {
        let made = self.gossip.events.make(name, payload.as_bytes(), coalesce, clock::now());
        self.settle_gossip();
        match made {
            Ok(ltime) => Reply::ok(&Made { ltime }),
            Err(refused) => Reply::Error(refused.to_string()),
        }
    }

    /// Asks nodes, by name or id, or all that are alive.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub(super) fn ask_nodes(
        &mut self,
        topic: (&str, &str),
        nodes: &[String],
        timeout: u64,
    ) -> Result<oneshot::Receiver<Outcome>, String> {
        let targets = if nodes.is_empty() { self.alive() } else { self.ids_of(nodes)? };
        let (name, payload) = topic;
        let topic = (name, payload.as_bytes());
        let asked = self.gossip.queries.ask(topic, &targets, nodes.is_empty(), timeout, clock::now());
        let number = asked.map_err(|refused| refused.to_string())?;
        let (sender, receiver) = oneshot::channel();
        self.gossip.waiting.insert(number, sender);
        self.settle_gossip();
        Ok(receiver)
    }

    /// The outcome of a query for the operator, with the nodes' names.
    pub(super) fn explain_outcome(&self, outcome: Outcome) -> Asked {
        let names = |ids: Vec<u16>| ids.into_iter().map(|id| self.name_of(id)).collect();
        let answer = |(id, payload): (u16, Vec<u8>)| NodeAnswer {
            node: self.name_of(id),
            payload: String::from_utf8_lossy(&payload).into_owned(),
        };
        Asked {
            acks: names(outcome.acks),
            answers: outcome.answers.into_iter().map(answer).collect(),
            silent: names(outcome.silent),
            late: names(outcome.late),
        }
    }

    /// Measures the round trip to one member, in turn.
    pub(super) fn ping_next(&mut self) {
        let now = clock::now();
        if !self.gossip.pings.allows(now) {
            return;
        }
        let others: BTreeMap<u16, _> = self
            .membership
            .members()
            .filter(|member| member.id != self.id && member.status == Status::Alive)
            .map(|member| (member.id, member.address))
            .collect();
        self.gossip.round_trips.retain(|id, _| others.contains_key(id));
        let after = others.range(self.gossip.last_pinged.saturating_add(1)..).next();
        if let Some((id, address)) = after.or_else(|| others.iter().next()) {
            self.gossip.last_pinged = *id;
            self.send_gossip(&Gossip::Ping { sent_at: now }, *address);
        }
    }

    fn note_round_trip(&mut self, id: u16, sent_at: u64, now: u64) {
        let is_known = self.membership.members().any(|member| member.id == id);
        if let Some(round_trip) = now.checked_sub(sent_at).filter(|time| *time <= LONGEST_ROUND_TRIP)
            && is_known
        {
            self.gossip.round_trips.insert(id, round_trip);
        }
    }

    /// The ids of the nodes that are alive, this one's among them.
    pub(super) fn alive(&self) -> BTreeSet<u16> {
        let alive = self.membership.members().filter(|member| member.status == Status::Alive);
        alive.map(|member| member.id).collect()
    }

    fn ids_of(&self, nodes: &[String]) -> Result<BTreeSet<u16>, String> {
        let known = |id: &u16| self.membership.members().any(|member| member.id == *id);
        let id_of = |node: &String| {
            let id = self.id_of(node)?;
            Some(id).filter(known).ok_or_else(|| lookup::unknown(node))
        };
        nodes.iter().map(id_of).collect()
    }

    /// Carries out what events and queries ask for.
    pub(super) fn settle_gossip(&mut self) {
        while let Some(action) = self.gossip.events.poll_action() {
            match action {
                events::Action::SendToAll(gossip) => self.tell_all(&gossip),
                events::Action::Send(to, gossip) => self.tell_node(to, &gossip),
                events::Action::Deliver(event) => self.deliver(event),
            }
        }
        while let Some(action) = self.gossip.queries.poll_action() {
            match action {
                queries::Action::SendToAll(gossip) => self.tell_all(&gossip),
                queries::Action::Send(to, gossip) => self.tell_node(to, &gossip),
                queries::Action::Run(query) => self.run_query(query),
                queries::Action::Finished(number, outcome) => {
                    if let Some(waiting) = self.gossip.waiting.remove(&number) {
                        // Who has asked may be gone.
                        let _ = waiting.send(outcome);
                    }
                }
            }
        }
        let delivered = self.gossip.events.delivered();
        if delivered != self.gossip.remembered {
            self.gossip.remembered = delivered;
            self.storage.remember_delivered(delivered);
        }
    }

    fn deliver(&mut self, event: UserEvent) {
        let UserEvent { origin, ltime, name, payload, coalesce, .. } = event;
        info!(event = %name, ltime, "user event of {}", self.name_of(origin.node));
        self.events.user(happened::UserEvent { name, payload, ltime, coalesce }, clock::now());
    }

    fn run_query(&mut self, query: Query) {
        let Query { origin, name, payload, ltime, .. } = query;
        info!(query = %name, ltime, "query of {}", self.name_of(origin.node));
        let answers = self.events.answers(&name);
        self.gossip.queries.handle_own_answer(origin, answers, None, clock::now());
        if answers {
            self.gossip.runs += 1;
            let id = self.gossip.runs;
            self.gossip.running.insert(id, origin);
            self.events.query(happened::Query { id, name, payload, ltime }, clock::now());
        }
    }

    /// A handler has answered a query, or will not.
    pub(super) fn handle_answer(&mut self, answer: Answer) {
        let Some(origin) = self.gossip.running.remove(&answer.query) else { return };
        let payload = answer.result.inspect_err(|reason| {
            info!("the query of {} is not answered: {reason}", self.name_of(origin.node));
        });
        let payload = payload.ok();
        self.gossip.queries.handle_own_answer(origin, payload.is_some(), payload, clock::now());
        self.settle_gossip();
    }

    fn tell_all(&self, gossip: &Gossip) {
        match gossip.encode() {
            Ok(body) => self.orders.give(Order::Letter { kind: Kind::Gossip, body }),
            Err(error) => error!("{gossip:?} cannot be told: {error}"),
        }
    }

    fn tell_node(&self, id: u16, gossip: &Gossip) {
        if let Some(member) = self.membership.members().find(|member| member.id == id) {
            self.send_gossip(gossip, member.address);
        }
    }
}
