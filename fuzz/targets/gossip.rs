//! The body of a message of gossip whose tag was right: of a node of the cluster, but maybe one that is newer, broken or
//! taken over. The input has several, each after its length in one byte; the first byte chooses how far apart they come.
//!
//! Promised: what decodes is in its ranges, encodes in no more bytes, and decodes to the same. A node that hears it goes on making
//! events and asking queries of its own, delivers no event twice, says nothing that cannot be said, and comes to rest.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use vip_fuzz::assert_plain;
use vip_user::gossip::events::{self, Events};
use vip_user::gossip::queries::{self, Queries};
use vip_user::gossip::{Gossip, Origin};

const START: u64 = 1_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
/// The node that talks, and the one that listens.
const OTHER: u16 = 2;
const ME: u16 = 1;
/// The most actions that follow from one message, and the most deadlines after the last one.
const MOST_ACTIONS: usize = 2_000;
const MOST_DEADLINES: usize = 10_000;

fuzz_target!(|input: &[u8]| {
    let Some((apart, mut rest)) = input.split_first() else { return };
    let mut node = Node::new();
    while let Some((len, behind)) = rest.split_first() {
        let (body, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        match Gossip::decode(body) {
            Ok(gossip) => {
                let encoded = gossip.encode().expect("what was decoded is in its ranges");
                assert!(encoded.len() <= body.len());
                assert_eq!(Gossip::decode(&encoded).as_ref(), Ok(&gossip));
                node.hear(gossip);
            }
            Err(error) => assert_plain(&error.to_string()),
        }
        node.wait(u64::from(*apart) * 10_000_000);
    }
    node.goes_on();
});

struct Node {
    now: u64,
    events: Events,
    queries: Queries,
    delivered: BTreeSet<Origin>,
}

impl Node {
    fn new() -> Self {
        let (events, queries) = (Events::new(ME, START, None), Queries::new(ME, START));
        Self { now: START, events, queries, delivered: BTreeSet::new() }
    }

    fn hear(&mut self, gossip: Gossip) {
        match gossip {
            Gossip::Event(event) => self.events.handle_event(event, self.now),
            Gossip::Missing(missing) => self.events.handle_missing(OTHER, missing),
            Gossip::Query(query) => self.queries.handle_query(query),
            Gossip::Ack { query, answers } => self.queries.handle_ack(OTHER, query, answers, self.now),
            Gossip::Answer { query, payload } => self.queries.handle_answer(OTHER, query, payload, self.now),
            Gossip::Join | Gossip::Roster(_) | Gossip::Ping { .. } | Gossip::Pong { .. } => {}
        }
        self.act();
    }

    fn wait(&mut self, time: u64) {
        self.now += time;
        self.events.handle_timeout(self.now);
        self.queries.handle_timeout(self.now);
        self.act();
    }

    fn act(&mut self) {
        for _ in 0..MOST_ACTIONS {
            match self.events.poll_action() {
                None => break,
                Some(events::Action::Deliver(event)) => assert!(self.delivered.insert(event.origin)),
                Some(events::Action::SendToAll(gossip) | events::Action::Send(_, gossip)) => said(&gossip),
            }
        }
        for _ in 0..MOST_ACTIONS {
            match self.queries.poll_action() {
                None => return,
                Some(queries::Action::Run(query)) => {
                    self.queries.handle_own_answer(query.origin, true, Some(b"up".to_vec()), self.now);
                }
                Some(queries::Action::SendToAll(gossip) | queries::Action::Send(_, gossip)) => said(&gossip),
                Some(queries::Action::Finished(..)) => {}
            }
        }
        panic!("more than {MOST_ACTIONS} actions at once");
    }

    /// Its own event and query get through, and then there is nothing left to do.
    fn goes_on(&mut self) {
        self.events.make("own", b"", false, self.now).expect("a first event");
        let nodes = [ME, OTHER].into();
        self.queries.ask(("own", b""), &nodes, true, SECOND, self.now).expect("a first query");
        self.act();
        for _ in 0..MOST_DEADLINES {
            let next = [self.events.next_deadline(), self.queries.next_deadline()];
            let Some(next) = next.into_iter().flatten().min() else {
                let own = self.delivered.iter().filter(|origin| origin.node == ME).count();
                assert_eq!(own, 1);
                return;
            };
            assert!(next > self.now, "due at {next}, and it is {}", self.now);
            self.wait(next - self.now);
        }
        panic!("never comes to rest");
    }
}

fn said(gossip: &Gossip) {
    gossip.encode().expect("what is said can be said");
}
