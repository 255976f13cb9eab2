//! What becomes of a frame: the type that `decide` and `vote` give and `act` takes.

use vip_common::lease::Ballot;
use vip_common::maps::{Counter, Interface};
use vip_common::vote;
use vip_common::wire::Kind;

use crate::mac::Mac;
use crate::parse::{Ip, Version};

/// What to do with a frame, what it counts as, and what it takes to do it.
///
/// No enum with fields: those that a variant does not have would have no value, the compiler may read them all the
/// same, and the verifier minds.
pub(crate) struct Verdict {
    pub(crate) action: Action,
    pub(crate) counter: Counter,
    /// Where the frame goes, and the source that says that it was sent on, or where the VIP is that it answers for.
    pub(crate) to: Mac,
    pub(crate) source: Mac,
    /// Of the group for whose next holder the frame is kept.
    pub(crate) slot: u32,
    /// Of the header that the answer is made from.
    pub(crate) offset: usize,
    /// Of that header, if it is an IP header that a lease message is behind.
    pub(crate) version: Version,
    /// Has the MAC address that a frame is delivered under, or sends the answer; without one, that stays in the packet,
    /// for the daemon that ran the program on its own message.
    pub(crate) interface: Option<&'static Interface>,
    /// 1 = the advertisement is a router's.
    pub(crate) router: u32,
    /// To a lease message.
    pub(crate) answer: vote::Answer,
}

/// The verdict on a packet that stays as it is, but for its destination MAC address, and goes nowhere else. No arrays:
/// the compiler has them zeroed by a call.
pub(crate) struct Fate {
    /// [`Action::Pass`], [`Action::Deliver`] or [`Action::Drop`].
    pub(crate) action: Action,
    pub(crate) counter: Counter,
    /// See [`Verdict::interface`].
    pub(crate) interface: Option<&'static Interface>,
}

impl Fate {
    #[inline(always)]
    pub(crate) const fn pass(counter: Counter) -> Self {
        Self { action: Action::Pass, counter, interface: None }
    }

    #[inline(always)]
    pub(crate) const fn deliver(interface: &'static Interface) -> Self {
        Self { action: Action::Deliver, counter: Counter::VipPassed, interface: Some(interface) }
    }

    #[inline(always)]
    pub(crate) const fn drop(counter: Counter) -> Self {
        Self { action: Action::Drop, counter, interface: None }
    }
}

impl From<Fate> for Verdict {
    #[inline(always)]
    fn from(fate: Fate) -> Self {
        Self { interface: fate.interface, ..Self::plain(fate.action, fate.counter) }
    }
}

/// See [`Verdict`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// To the stack.
    Pass,
    /// To the stack, under the interface's own destination MAC address.
    Deliver,
    /// Nowhere.
    Drop,
    /// On to another MAC address.
    Forward,
    /// Nowhere yet: the daemon has it for the next holder.
    Keep,
    /// Turn the ARP request into the answer and send it back.
    AnswerArp,
    /// Turn the neighbour solicitation behind the IPv6 header into the advertisement and send it back.
    AnswerNeighbour,
    /// Turn the message behind the IP header into the answer.
    AnswerMessage,
}

impl Verdict {
    #[inline(always)]
    pub(crate) const fn pass(counter: Counter) -> Self {
        Self::plain(Action::Pass, counter)
    }

    #[inline(always)]
    pub(crate) const fn drop(counter: Counter) -> Self {
        Self::plain(Action::Drop, counter)
    }

    #[inline(always)]
    pub(crate) const fn forward(to: Mac, source: Mac) -> Self {
        Self { to, source, ..Self::plain(Action::Forward, Counter::VipForwarded) }
    }

    #[inline(always)]
    pub(crate) const fn keep(slot: u32) -> Self {
        Self { slot, ..Self::plain(Action::Keep, Counter::VipKept) }
    }

    #[inline(always)]
    pub(crate) const fn answer_arp(offset: usize, source: Mac) -> Self {
        Self { offset, source, ..Self::plain(Action::AnswerArp, Counter::ArpReply) }
    }

    #[inline(always)]
    pub(crate) const fn answer_neighbour(offset: usize, to: Mac, source: Mac, router: u32) -> Self {
        Self { offset, to, source, router, ..Self::plain(Action::AnswerNeighbour, Counter::NdReply) }
    }

    #[inline(always)]
    pub(crate) const fn answer_message(
        Ip { version, offset }: Ip,
        interface: Option<&'static Interface>,
        answer: vote::Answer,
    ) -> Self {
        Self { version, offset, interface, answer, ..Self::plain(Action::AnswerMessage, Counter::LeaseReply) }
    }

    #[inline(always)]
    const fn plain(action: Action, counter: Counter) -> Self {
        let answer = vote::Answer { kind: Kind::Refused, reason: 0, ballot: Ballot(0), duration: 0 };
        let (to, source) = (Mac::NONE, Mac::NONE);
        Self {
            action,
            counter,
            to,
            source,
            slot: 0,
            offset: 0,
            version: Version::V4,
            interface: None,
            router: 0,
            answer,
        }
    }
}
