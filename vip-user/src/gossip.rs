//! What members tell and ask each other beside leases and Hellos: the bodies of messages of the kind
//! [`Gossip`](vip_common::wire::Kind::Gossip), and their strict encoding.
//!
//! The header around a body (sender, incarnation, sequence, tag) and its checks belong to the transport. What is done on
//! hearing one is in the modules below, which know no clock, socket or task.

pub mod events;
pub mod queries;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes of an encoded body: with its header it fits the smallest common MTU without fragments.
pub const MAX_GOSSIP_BYTES: usize = vip_common::wire::MAX_BODY;

/// The most bytes of the name of a user event or a query.
pub const MAX_TOPIC_BYTES: usize = 128;

/// The most bytes of the payload of a user event or a query.
pub const MAX_PAYLOAD_BYTES: usize = 896;

/// The most bytes of an answer to a query.
pub const MAX_ANSWER_BYTES: usize = 1_024;

/// The most addresses in one [`Gossip::Roster`].
pub const MAX_ROSTER: usize = 64;

/// The most nodes that one message of a query names.
pub const MAX_TARGETS: usize = 32;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// To a member: where are the others? Sent by a node that does not reach all of them by multicast.
    Join,
    /// Answer to it: the addresses of the members that are alive, the asking node's and the answering one's left out.
    Roster(Vec<IpAddr>),
    /// To a member: answer at once, for the round-trip time.
    Ping {
        /// The clock of the node that asks, CLOCK_BOOTTIME in ns.
        sent_at: u64,
    },
    /// Answer to it.
    Pong {
        /// As the Ping had it.
        sent_at: u64,
    },
    /// A user event, from the node where it was made or from one that has it still.
    Event(UserEvent),
    /// To a member: send me these user events again.
    Missing(Missing),
    /// To all, or to the nodes that have not answered yet.
    Query(Query),
    /// Answer to a query: it has come.
    Ack {
        /// Which one.
        query: Origin,
        /// A handler runs for it, and an answer follows.
        answers: bool,
    },
    /// Answer to a query: what its handler has said.
    Answer {
        /// Which one.
        query: Origin,
        /// At most [`MAX_ANSWER_BYTES`].
        payload: Vec<u8>,
    },
}

/// What a node says of its own accord has a number: no two have the same node, incarnation and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The node that made it; never 0.
    pub node: u16,
    /// The start of its daemon, in Unix ns.
    pub incarnation: u64,
    /// Counts from 1 within the incarnation; events and queries are counted apart.
    pub number: u64,
}

/// An event that an operator or a program has made, for the handlers of all members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// Where it was made.
    pub origin: Origin,
    /// Its Lamport time: later than that of every event that its node had heard of before.
    pub ltime: u64,
    /// That of the event before it of the same daemon; for its first one, of what the daemon knew when it started.
    pub after: u64,
    /// 1 to [`MAX_TOPIC_BYTES`] bytes without control characters.
    pub name: String,
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// Of several of one name that come shortly after each other, the last one will do.
    pub coalesce: bool,
}

/// User events of one node that another one has not heard: their numbers are in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The first one.
    pub first: Origin,
    /// How many, 1 to 64.
    pub count: u8,
}

/// A question for the handlers of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Where it was asked.
    pub origin: Origin,
    /// Its Lamport time, by a clock of its own.
    pub ltime: u64,
    /// 1 to [`MAX_TOPIC_BYTES`] bytes without control characters.
    pub name: String,
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// The ids of the nodes that are to answer; none: all.
    pub nodes: Vec<u16>,
}

impl Gossip {
    /// The body of a message, at most [`MAX_GOSSIP_BYTES`].
    ///
    /// # Errors
    /// A field is out of its range.
    pub fn encode(&self) -> Result<Vec<u8>, GossipError> {
        self.check()?;
        let bytes = postcard::to_stdvec(self).map_err(GossipError::Malformed)?;
        if bytes.len() > MAX_GOSSIP_BYTES { Err(GossipError::TooLong(bytes.len())) } else { Ok(bytes) }
    }

    /// What the body of a message says.
    ///
    /// # Errors
    /// A field is out of its range, or there are bytes behind the end.
    pub fn decode(bytes: &[u8]) -> Result<Self, GossipError> {
        if bytes.len() > MAX_GOSSIP_BYTES {
            return Err(GossipError::TooLong(bytes.len()));
        }
        let (gossip, rest): (Self, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(GossipError::Malformed)?;
        if !rest.is_empty() {
            return Err(GossipError::Trailing(rest.len()));
        }
        gossip.check()?;
        Ok(gossip)
    }

    fn check(&self) -> Result<(), GossipError> {
        match self {
            Self::Join | Self::Ping { .. } | Self::Pong { .. } => Ok(()),
            Self::Roster(addresses) if addresses.len() > MAX_ROSTER => {
                Err(GossipError::TooManyNodes(addresses.len(), MAX_ROSTER))
            }
            Self::Roster(_) => Ok(()),
            Self::Event(event) => {
                event.origin.check().and_then(|()| check_topic(&event.name, &event.payload))
            }
            Self::Missing(Missing { first, count: 1..=64 }) => first.check(),
            Self::Missing(Missing { count, .. }) => Err(GossipError::MissingCount(*count)),
            Self::Query(query) if query.nodes.len() > MAX_TARGETS => {
                Err(GossipError::TooManyNodes(query.nodes.len(), MAX_TARGETS))
            }
            Self::Query(query) => {
                query.origin.check().and_then(|()| check_topic(&query.name, &query.payload))
            }
            Self::Ack { query, .. } => query.check(),
            Self::Answer { payload, .. } if payload.len() > MAX_ANSWER_BYTES => {
                Err(GossipError::Answer(payload.len()))
            }
            Self::Answer { query, .. } => query.check(),
        }
    }
}

impl Origin {
    fn check(&self) -> Result<(), GossipError> {
        if self.node == 0 || self.number == 0 { Err(GossipError::Origin) } else { Ok(()) }
    }
}

/// Whether an event or a query can have this name and payload.
///
/// # Errors
/// What is wrong with them.
pub fn check_topic(name: &str, payload: &[u8]) -> Result<(), GossipError> {
    if name.is_empty() || name.len() > MAX_TOPIC_BYTES || name.chars().any(char::is_control) {
        return Err(GossipError::Name);
    }
    match payload.len() {
        0..=MAX_PAYLOAD_BYTES => Ok(()),
        len => Err(GossipError::Payload(len)),
    }
}

/// Why something cannot be said, or is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GossipError {
    /// More bytes than a body may have.
    #[error("{0} bytes: at most {MAX_GOSSIP_BYTES}")]
    TooLong(usize),
    /// The bytes are nothing of this kind.
    #[error("malformed: {0}")]
    Malformed(postcard::Error),
    /// Bytes behind the end.
    #[error("{0} bytes too many at its end")]
    Trailing(usize),
    /// No name of an event or a query.
    #[error("the name must have 1 to {MAX_TOPIC_BYTES} bytes, and no control characters")]
    Name,
    /// A payload that is too long.
    #[error("the payload has {0} bytes: at most {MAX_PAYLOAD_BYTES}")]
    Payload(usize),
    /// An answer that is too long.
    #[error("the answer has {0} bytes: at most {MAX_ANSWER_BYTES}")]
    Answer(usize),
    /// More nodes than one message can name.
    #[error("{0} nodes: at most {1}")]
    TooManyNodes(usize, usize),
    /// More events than can be asked for at once, or none.
    #[error("{0} missing events: 1 to 64")]
    MissingCount(u8),
    /// Node ids and numbers count from 1.
    #[error("node or number 0")]
    Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { node: u16::MAX, incarnation: u64::MAX, number: u64::MAX };

    fn event() -> UserEvent {
        UserEvent {
            origin: ORIGIN,
            ltime: u64::MAX,
            after: u64::MAX,
            name: "n".repeat(MAX_TOPIC_BYTES),
            payload: vec![7; MAX_PAYLOAD_BYTES],
            coalesce: true,
        }
    }

    fn query() -> Query {
        let UserEvent { origin, ltime, name, payload, .. } = event();
        Query { origin, ltime, name, payload, nodes: vec![] }
    }

    fn largest() -> [Gossip; 9] {
        [
            Gossip::Join,
            Gossip::Roster(vec!["ff02::5680".parse().unwrap(); MAX_ROSTER]),
            Gossip::Ping { sent_at: u64::MAX },
            Gossip::Pong { sent_at: u64::MAX },
            Gossip::Event(event()),
            Gossip::Missing(Missing { first: ORIGIN, count: 64 }),
            Gossip::Query(Query { nodes: vec![u16::MAX; MAX_TARGETS], ..query() }),
            Gossip::Ack { query: ORIGIN, answers: true },
            Gossip::Answer { query: ORIGIN, payload: vec![7; MAX_ANSWER_BYTES] },
        ]
    }

    #[test]
    fn the_largest_of_each_fits_and_comes_back_equal() {
        for gossip in largest() {
            assert_eq!(Gossip::decode(&gossip.encode().unwrap()), Ok(gossip));
        }
    }

    #[test]
    fn what_is_cut_anywhere_or_followed_by_anything_is_refused() {
        for gossip in largest() {
            let mut bytes = gossip.encode().unwrap();
            for length in 0..bytes.len() {
                assert!(Gossip::decode(&bytes[..length]).is_err(), "{gossip:?} cut to {length} bytes");
            }
            bytes.push(0);
            assert!(Gossip::decode(&bytes).is_err(), "{gossip:?} and a byte");
        }
    }

    #[test]
    fn fields_out_of_range_are_refused_in_both_directions() {
        let nobody = Origin { node: 0, ..ORIGIN };
        let no_number = Origin { number: 0, ..ORIGIN };
        let cases = [
            Gossip::Event(UserEvent { name: String::new(), ..event() }),
            Gossip::Event(UserEvent { name: "a\nb".into(), ..event() }),
            Gossip::Event(UserEvent { name: "n".repeat(MAX_TOPIC_BYTES + 1), ..event() }),
            Gossip::Event(UserEvent { payload: vec![0; MAX_PAYLOAD_BYTES + 1], ..event() }),
            Gossip::Event(UserEvent { origin: nobody, ..event() }),
            Gossip::Query(Query { origin: no_number, ..query() }),
            Gossip::Query(Query { name: "\u{1b}[2J".into(), ..query() }),
            Gossip::Query(Query { nodes: vec![1; MAX_TARGETS + 1], ..query() }),
            Gossip::Roster(vec!["10.0.0.1".parse().unwrap(); MAX_ROSTER + 1]),
            Gossip::Missing(Missing { first: ORIGIN, count: 0 }),
            Gossip::Missing(Missing { first: ORIGIN, count: 65 }),
            Gossip::Ack { query: nobody, answers: false },
            Gossip::Answer { query: ORIGIN, payload: vec![0; MAX_ANSWER_BYTES + 1] },
        ];
        for gossip in cases {
            let error = gossip.encode().unwrap_err();
            assert_eq!(Gossip::decode(&postcard::to_stdvec(&gossip).unwrap()), Err(error), "{gossip:?}");
        }
    }
}
