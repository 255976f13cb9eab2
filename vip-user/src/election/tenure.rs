//! Holding the lease: when to renew it, and under which ballot.

use vip_common::lease::Ballot;

use super::action::{Notice, Notices};
use super::handover::Offer;

/// What a holder keeps in mind. Until when the lease runs is not here: the lease word alone says that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tenure {
    pub(super) ballot: Ballot,
    /// When to renew, in CLOCK_BOOTTIME ns.
    pub(super) renew_at: u64,
    /// The voters have changed since the ballot was made.
    pub(super) voters_changed: bool,
    /// To whom the lease is to be handed over.
    pub(super) offer: Option<Offer>,
    /// Some voter has promised a higher ballot, and refuses this one.
    outbid: bool,
    /// Higher ballots wait for this, so that a voter that keeps promising cannot keep the renewals from a quorum.
    raise_from: u64,
    notices: Notices,
    /// When `notices` are all due again.
    notices_from: u64,
}

impl Tenure {
    /// Promoted under `ballot`; the first renewal is due at `renew_at`.
    pub(super) fn new(ballot: Ballot, renew_at: u64) -> Self {
        Self {
            ballot,
            renew_at,
            voters_changed: false,
            offer: None,
            outbid: false,
            raise_from: 0,
            notices: Notices::all(),
            notices_from: 0,
        }
    }

    /// A voter refused because it has promised `promised`.
    pub(super) fn outbid_by(&mut self, promised: Ballot) {
        self.outbid |= promised > self.ballot;
    }

    /// Whether the next renewal needs another ballot.
    pub(super) fn needs_ballot(&self, now: u64) -> bool {
        self.voters_changed || (self.outbid && self.raise_from <= now)
    }

    /// Goes on under `ballot`.
    pub(super) fn raise(&mut self, ballot: Ballot, lease: u64, now: u64) {
        self.ballot = ballot;
        self.voters_changed = false;
        // New voters may have promised anything: their first refusal is to be met at once.
        if std::mem::take(&mut self.outbid) {
            self.raise_from = now.saturating_add(lease);
        }
    }

    /// Moves on to the first renewal after `now` that keeps the beat: missed ones are not made up for.
    pub(super) fn skip_to_next(&mut self, interval: u64, now: u64) {
        let missed = now.saturating_sub(self.renew_at) / interval;
        self.renew_at = self.renew_at.saturating_add((missed + 1).saturating_mul(interval));
    }

    /// Gives a notice, if none of its kind has been given for a lease length.
    pub(super) fn notice(&mut self, notice: Notice, lease: u64, now: u64) -> Option<Notice> {
        if self.notices_from <= now {
            self.notices = Notices::all();
            self.notices_from = now.saturating_add(lease);
        }
        self.notices.give(notice)
    }
}
