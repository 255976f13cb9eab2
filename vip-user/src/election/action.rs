//! What the election asks of its driver, and what it has to tell.

use std::fmt;

use vip_common::lease::{Ballot, Renewal, Request};
use vip_common::maps::Role;

/// What the driver must do, in the order in which the actions come: the order is part of the protocol.
///
/// - `SetRenewal` is in the map before the `Send` of its proposal, or the data plane misses the answers to it.
/// - `Disarm` is done before the `Send` of a Release or Transfer and before a `Grant`, or two nodes may serve at once.
/// - A Transfer is sent before the `Grant`, so that the acceptors are prepared for the new holder's renewal.
/// - `Arm` and `Disarm` are done before anybody is told of it (`Promoted`, `Demoted`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Store this in the group's slot of the `RENEWALS` map.
    SetRenewal(Renewal),
    /// Send the request to all voters, with this stamp (CLOCK_BOOTTIME, ns). If this node votes, let its own acceptor
    /// decide as well and hand the answer to [`Election::handle_answer`](super::Election::handle_answer), at the
    /// latest when the queue is empty.
    Send {
        /// What to ask.
        request: Request,
        /// The stamp: taken before the request leaves, since the lease counts from here.
        sent_at: u64,
    },
    /// Offer the lease to the node of this ballot: send that to it.
    Offer(Ballot),
    /// Ask the holder for its lease, to go on under this ballot.
    Ask {
        /// A fresh one of this node.
        ballot: Ballot,
        /// The stamp: taken before this leaves, since the lease counts from here.
        sent_at: u64,
    },
    /// Grant what is left of the lease to the node of this ballot: send that to it, unless this node's own acceptor has
    /// failed to take the Transfer (`View::holder_ballot` is another one).
    Grant {
        /// The one of its Ask.
        ballot: Ballot,
        /// Echo of the stamp of its Ask.
        sent_at: u64,
        /// What is left, in ns.
        left: u64,
    },
    /// Let the data plane serve until then (`Words::arm`).
    Arm {
        /// CLOCK_BOOTTIME, ns.
        until: u64,
    },
    /// Stop the data plane from serving, at once (`Words::disarm`).
    Disarm,
    /// Tell the data plane who takes the answers to renewals (`Words::set_role`).
    SetRole(Role),
    /// This node is now a candidate under this ballot.
    Standing(Ballot),
    /// This node gave up its candidacy and follows again.
    GaveUp(GiveUp),
    /// This node now holds the lease, under this ballot.
    Promoted(Ballot),
    /// This node held the lease and follows again.
    Demoted(Demotion),
    /// The lease stays where it is: this node has not handed it over.
    HandoverFailed {
        /// The node that was to have it.
        to: u16,
        /// Why.
        reason: HandoverFailure,
    },
    /// Something for the daemon to act on, or to log.
    Notice(Notice),
}

/// Why a candidacy ended without the lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveUp {
    /// Too few voters answered in time.
    NoAnswer,
    /// So many refused that no quorum was left.
    Refused,
    /// The operator's wish, or the node is no longer fit.
    Withdrawn,
    /// The own acceptor has lost its memory meanwhile.
    Quarantine,
}

/// Why a holder holds no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demotion {
    /// No quorum renewed in time: the lease ran out. The data plane stopped serving by itself, at its end.
    Lapsed,
    /// Given back by [`Election::release`](super::Election::release).
    Released,
    /// Given back because this node may no longer hold: not eligible, or not a voter any more.
    Unfit,
    /// Given to another node by [`Election::hand_over`](super::Election::hand_over), while it ran.
    HandedOver {
        /// Who has it now.
        to: u16,
    },
}

/// Why a lease was not handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoverFailure {
    /// This node does not hold it.
    NotHolder,
    /// The target is not another voter.
    NoVoter,
    /// The target has not asked for it in time: it did not hear the offer, or may not hold.
    NobodyAsked,
    /// Another target was named meanwhile.
    Replaced,
}

impl fmt::Display for HandoverFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHolder => "this node does not hold the lease",
            Self::NoVoter => "the target is not another voter",
            Self::NobodyAsked => "the target did not ask for the lease in time",
            Self::Replaced => "another target was named meanwhile",
        })
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "too few voters answered in time",
            Self::Refused => "too many voters refused",
            Self::Withdrawn => "withdrawn",
            Self::Quarantine => "in quarantine",
        })
    }
}

impl fmt::Display for Demotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lapsed => "its lease ran out, as no majority renewed it in time",
            Self::Released => "it has given the lease back",
            Self::Unfit => "it is not fit to serve, and has given the lease back",
            Self::HandedOver { .. } => "it has handed the lease over",
        })
    }
}

/// Something that keeps leases from this node. Each kind at most once per candidacy, and once per lease length while
/// this node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A voter has a newer configuration than this node: get it.
    OldEpoch {
        /// The voter.
        voter: u16,
        /// The epoch of its configuration.
        epoch: u32,
    },
    /// A voter takes only shorter leases than this node asks for: the settings differ.
    LeaseTooLong {
        /// The voter.
        voter: u16,
        /// The longest lease that it takes, in ns.
        longest: u64,
    },
}

/// Which kinds of [`Notice`] may be given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Notices {
    old_epoch: bool,
    too_long: bool,
}

impl Notices {
    /// All of them.
    pub(super) const fn all() -> Self {
        Self { old_epoch: true, too_long: true }
    }

    /// Gives a notice, if its kind has not been given yet.
    pub(super) fn give(&mut self, notice: Notice) -> Option<Notice> {
        let open = match notice {
            Notice::OldEpoch { .. } => &mut self.old_epoch,
            Notice::LeaseTooLong { .. } => &mut self.too_long,
        };
        std::mem::take(open).then_some(notice)
    }
}
