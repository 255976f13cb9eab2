//! What voters say to this node's requests.

use vip_common::lease::Ballot;
use vip_common::wire::{Kind, Message, Reason};

/// A voter's answer to a request of this daemon. Tag, cluster, incarnation and group have been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To Prepare of this ballot.
    Promise(Ballot),
    /// To Propose.
    Accepted {
        /// The ballot proposed.
        ballot: Ballot,
        /// Echo of the proposal's stamp.
        sent_at: u64,
    },
    /// To either.
    Refused(Refusal),
}

impl Answer {
    /// What a voter's message says; `None` if it is no answer.
    pub fn read(message: &Message) -> Option<Self> {
        let ballot = Ballot(message.ballot.get());
        let sent_at = message.sent_at.get();
        Some(match Kind::from_u8(message.kind)? {
            Kind::Promise => Self::Promise(ballot),
            Kind::Accepted => Self::Accepted { ballot, sent_at },
            Kind::Refused => Self::Refused(Refusal {
                reason: Reason::from_u8(message.reason)?,
                ballot,
                duration: message.duration.get(),
                epoch: message.epoch.get(),
                sent_at,
            }),
            _ => return None,
        })
    }
}

/// The fields of a refusal as the message has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The ballot in the way. It is not the request's, so `sent_at` tells which request is meant.
    pub ballot: Ballot,
    /// Held: what remains of the lease in the way. TooLong: the longest lease taken. In ns.
    pub duration: u64,
    /// The epoch of the voter's configuration.
    pub epoch: u32,
    /// Echo of the request's stamp.
    pub sent_at: u64,
}
