//! Following: when to look whether to stand, and what a handover leaves to remember on either side.

use vip_common::lease::{Ballot, held};

use super::View;

/// What a follower keeps in mind.
///
/// A request for the holder's lease is void as soon as this node proposes or wins anything itself: it lives here, so
/// that leaving this stage drops it. The same goes for what this node has given away, once it holds again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Following {
    /// When to look whether to stand, in CLOCK_BOOTTIME ns; `None` while this node may not.
    pub(super) look_at: Option<u64>,
    /// The holder's lease that this node has asked for.
    pub(super) pending: Option<Pending>,
    /// The lease that this node has handed over.
    pub(super) given: Option<Given>,
}

/// A request for a lease on offer, not granted yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    /// Who offered.
    pub(super) from: u16,
    /// Under which this node will go on.
    pub(super) ballot: Ballot,
    /// Stamp of the first Ask, in CLOCK_BOOTTIME ns.
    pub(super) first_asked_at: u64,
    /// Stamp of the latest one. The lease counts from the one that is granted.
    pub(super) asked_at: u64,
    /// When to ask again.
    pub(super) again_at: u64,
    /// When to forget it.
    pub(super) ends_at: u64,
}

/// A lease that was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Given {
    /// The new holder's ballot.
    pub(super) ballot: Ballot,
    /// When the time that was given is over, in CLOCK_BOOTTIME ns.
    pub(super) until: u64,
}

impl Following {
    /// The next timer.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let ask = self.pending.map(|pending| pending.again_at.min(pending.ends_at));
        [self.look_at, ask].into_iter().flatten().min()
    }

    /// What a mere look must not change.
    pub(super) fn kept(self, view: &View) -> Self {
        Self { pending: self.pending.filter(|pending| pending.is_possible(view)), ..self }
    }
}

impl Pending {
    /// Whether a grant could still be taken.
    pub(super) fn is_possible(&self, view: &View) -> bool {
        // The holder's news to the acceptors may be quicker than its grant.
        let is_told = view.holder_ballot == self.ballot && view.quarantine_until <= view.now;
        is_told || may_take_from(self.from, view)
    }
}

/// Whether this node's acceptor speaks, and knows of no other holder than `from`.
pub(super) fn may_take_from(from: u16, view: &View) -> bool {
    let is_others = held(view.holder_until, view.now) && view.holder_ballot.node() != from;
    view.quarantine_until <= view.now && !is_others
}
