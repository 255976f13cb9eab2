//! What becomes of a frame: the type that `decide` and `vote` give and `act` takes.

use vip_common::lease::Ballot;
use vip_common::maps::{Counter, Interface};
use vip_common::wire::{Kind, Reason};

/// What to do with a frame, and what it counts as.
pub(crate) enum Verdict {
    /// To the stack.
    Pass(Counter),
    /// Nowhere.
    Drop(Counter),
    /// Turn the ARP request at this offset into the answer and send it back.
    AnswerArp { arp: usize, interface: &'static Interface },
    /// Turn the message behind the IPv4 header at this offset into this answer; `interface` sends it back, and
    /// without one it stays in the packet, for the daemon that ran the program on its own message.
    AnswerMessage { ipv4: usize, interface: Option<&'static Interface>, answer: Answer },
}

/// What an answer does not echo from its request.
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    /// A [`Reason`], or 0.
    pub(crate) reason: u8,
    pub(crate) ballot: Ballot,
    pub(crate) duration: u64,
}

impl Answer {
    #[inline(always)]
    pub(crate) fn agreed(kind: Kind, ballot: Ballot) -> Self {
        Self { kind, reason: 0, ballot, duration: 0 }
    }

    #[inline(always)]
    pub(crate) fn refused(reason: Reason, ballot: Ballot, duration: u64) -> Self {
        Self { kind: Kind::Refused, reason: reason as u8, ballot, duration }
    }
}
