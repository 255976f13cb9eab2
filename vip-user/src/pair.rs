//! Pair mode: when one of two voters may hold by its own vote alone, because the gateway answers it and the other is silent.
//!
//! This is the part without clock, socket or map. It is told what was heard of the other node, which ARP requests to the
//! gateway were answered, and what this node holds; it says of each group whether this node's vote alone counts, what to ask
//! the gateway, and when to look again. All times are this node's CLOCK_BOOTTIME in ns, lengths are in ns.
//!
//! It is weaker than a majority. The gateway has to be where only one of two nodes reaches it that do not hear each other:
//!
//! - An answer counts from when its request was stamped, which is before it was sent. A vote counts alone for
//!   [`Timing::timeout`] from the last such stamp at the longest, and no longer than nothing is heard of the other.
//! - Who does not hold begins after [`Timing::wait`] of answers without a gap, in which nothing of the other was heard: by
//!   then the other one's last stamp is too old, and the lease that it gave itself by that is over.
//! - Who holds by a lease that the other has granted begins at once: the other's acceptor keeps the other out while that
//!   lease runs, and the wait comes after it.

use std::collections::VecDeque;

use vip_common::lease::{MAX_DRIFT_PERCENT, held};

/// Least time between two requests, what a busy gateway needs for an answer.
const LEAST_PERIOD: u64 = 10_000_000;
/// Least time between two requests of a holder whose lease is about to end.
const LEAST_HASTE: u64 = 1_000_000;
/// Periods for which answers count.
const TIMEOUT_PERIODS: u64 = 6;
/// Half periods that may lie between two answered requests of a run: one lost answer does no harm, two do.
const GAP_HALF_PERIODS: u64 = 5;
/// Periods after which an answer is not waited for any more.
const LATE_PERIODS: u64 = 2;
/// Requests that wait for an answer at most.
const UNANSWERED: usize = 32;

/// The lengths that follow from that of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    lease: u64,
    /// Silence of the other node after which the gateway is asked: two lost renewals, or one and a half of short leases.
    pub silence: u64,
    /// Time between two requests.
    pub period: u64,
    /// Time between two requests while this node holds by a lease that is not renewed any more.
    pub haste: u64,
    /// For how long the gateway counts as heard from the stamp of an answered request on.
    pub timeout: u64,
    /// The longest time between the stamps of two answers that come without a gap.
    pub gap: u64,
    /// How long a node that does not hold hears the gateway, and nothing of the other node, before its vote counts alone: the
    /// timeout and the lease of the other one, whose clock may be slower, and another lease, in which the gateway may have
    /// answered both.
    pub wait: u64,
}

impl Timing {
    /// For leases of this length.
    pub fn of(lease: u64) -> Self {
        let period = (lease / 2).max(LEAST_PERIOD);
        let timeout = TIMEOUT_PERIODS * period;
        let longest = timeout.saturating_add(lease);
        // Both clocks may be off, each by the bound.
        let margin = longest.saturating_mul(2 * MAX_DRIFT_PERCENT).div_ceil(100);
        Self {
            lease,
            silence: lease / 2,
            period,
            haste: (lease / 8).max(LEAST_HASTE),
            timeout,
            gap: GAP_HALF_PERIODS * period / 2,
            wait: longest.saturating_add(margin).saturating_add(lease),
        }
    }
}

/// One group, as it is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Look {
    /// This node may hold it.
    pub may_hold: bool,
    /// This node's election has been won, and not been lost since.
    pub holds: bool,
    /// The lease word; 0 = disarmed.
    pub lease_until: u64,
}

/// Pair mode on one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    timing: Timing,
    /// The other voter; `None` where one vote never counts alone.
    peer: Option<u16>,
    /// When the other one was heard last; 0 = never.
    heard: u64,
    /// Stamps of the requests that may still be answered, oldest first.
    unanswered: VecDeque<u64>,
    /// The newest stamp that was answered.
    answered: Option<u64>,
    /// Since when answers come without a gap: the time of the first one, when it was there.
    run_since: Option<u64>,
    is_asking: bool,
    ask_at: u64,
    groups: Vec<Group>,
    /// Of the latest look: when it was, whether a lease may end that could go on by this node's vote alone, and whether this
    /// node may hold anything.
    looked_at: u64,
    is_hasty: bool,
    may_hold: bool,
}

/// What is known of one group.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Group {
    is_alone: bool,
    /// A word up to here may rest on this node's vote alone; `None` before the first look.
    own_until: Option<u64>,
}

impl Pair {
    /// Nobody is alone, and the other voter is not known.
    pub fn new(lease: u64, groups: usize) -> Self {
        Self {
            timing: Timing::of(lease),
            peer: None,
            heard: 0,
            unanswered: VecDeque::with_capacity(UNANSWERED),
            answered: None,
            run_since: None,
            is_asking: false,
            ask_at: 0,
            groups: vec![Group::default(); groups],
            looked_at: 0,
            is_hasty: false,
            may_hold: false,
        }
    }

    /// The lengths in use.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Sets the other voter; `None` where there is not exactly one, or where this node cannot rely on its configuration being
    /// the only one. Nobody is alone afterwards, and all that was heard of the gateway has to be heard anew.
    pub fn set_peer(&mut self, peer: Option<u16>) {
        self.peer = peer;
        self.heard = 0;
        self.forget();
        self.groups.iter_mut().for_each(|group| group.is_alone = false);
    }

    /// The other voter.
    pub fn peer(&self) -> Option<u16> {
        self.peer
    }

    /// Whether this node's vote counts alone in a group.
    pub fn is_alone(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.is_alone)
    }

    /// Whether it does in any.
    pub fn is_alone_anywhere(&self) -> bool {
        self.groups.iter().any(|group| group.is_alone)
    }

    /// Whether a lease that runs may rest on this node's vote alone.
    pub fn may_be_own(&self, group: usize, lease_until: u64, now: u64) -> bool {
        let own_until = self.groups.get(group).and_then(|group| group.own_until);
        held(lease_until, now) && own_until.is_none_or(|own_until| lease_until <= own_until)
    }

    /// Whether the gateway answers; `None` while it is not asked.
    pub fn answers(&self, now: u64) -> Option<bool> {
        self.is_asking.then(|| self.is_fresh(now))
    }

    /// Looks at how things are. To be called before each call of an election that stands or renews, with the `now` of that
    /// call, while some group is alone; and else at [`Pair::next_deadline`]. `heard` is when anything of the other node was
    /// heard last, read after `now`; 0 = never. `looks` has all groups, in their order.
    pub fn look(&mut self, now: u64, heard: u64, looks: &[Look]) {
        self.looked_at = now;
        self.heard = self.heard.max(heard);
        if !self.is_fresh(now) {
            (self.answered, self.run_since) = (None, None);
        }
        let is_silent = self.peer.is_some() && self.heard.saturating_add(self.timing.silence) <= now;
        let may_begin = is_silent && self.has_answer(now);
        let goes_on = self.answered.is_some_and(|stamp| now <= stamp.saturating_add(self.timing.gap));
        let has_waited = may_begin && goes_on && self.waited_until().is_some_and(|until| until <= now);
        for (group, look) in self.groups.iter_mut().zip(looks) {
            let own_until = *group.own_until.get_or_insert(look.lease_until);
            let is_granted = look.holds && held(look.lease_until, now) && look.lease_until > own_until;
            group.is_alone = look.may_hold && may_begin && (group.is_alone || has_waited || is_granted);
            if group.is_alone {
                // By what is asked for now, it may serve that long.
                group.own_until = Some(own_until.max(now.saturating_add(self.timing.lease)));
            }
        }
        let is_hasty = |(group, look): (&Group, &Look)| look.holds && !group.is_alone;
        self.is_hasty = self.groups.iter().zip(looks).any(is_hasty);
        self.may_hold = looks.iter().any(|look| look.may_hold);
        self.set_asking(is_silent && self.may_hold, now);
    }

    /// Whether to ask the gateway now, under this stamp: it has to be taken before the request is sent.
    pub fn poll_request(&mut self, now: u64) -> bool {
        if !self.is_asking || now < self.ask_at {
            return false;
        }
        let is_in_haste = self.is_hasty && self.answered.is_none();
        self.ask_at = now.saturating_add(if is_in_haste { self.timing.haste } else { self.timing.period });
        self.drop_late(now);
        if self.unanswered.len() < UNANSWERED {
            self.unanswered.push_back(now);
        }
        true
    }

    /// The gateway has answered. ARP does not say which request: it counts for the oldest.
    pub fn handle_answer(&mut self, now: u64) {
        self.drop_late(now);
        let Some(stamp) = self.unanswered.pop_front().filter(|_| self.is_asking) else { return };
        if self.answered.is_none_or(|before| stamp > before.saturating_add(self.timing.gap)) {
            self.run_since = None;
        }
        self.answered = self.answered.max(Some(stamp));
        self.run_since.get_or_insert(now);
    }

    /// When to call [`Pair::look`] and [`Pair::poll_request`]; `None` = not before something else changes.
    pub fn next_deadline(&self) -> Option<u64> {
        self.peer.filter(|_| self.may_hold)?;
        if !self.is_asking {
            return Some(self.heard.saturating_add(self.timing.silence));
        }
        let stale_at = self.answered.map(|stamp| stamp.saturating_add(self.timing.timeout));
        let others = [stale_at, self.waited_until()].into_iter().flatten();
        // What had come by then has been looked at.
        others.filter(|at| *at > self.looked_at).chain([self.ask_at]).min()
    }

    /// Of the gateway's answers, one is new enough.
    fn is_fresh(&self, now: u64) -> bool {
        self.answered.is_some_and(|stamp| now < stamp.saturating_add(self.timing.timeout))
    }

    /// The gateway has answered something that was asked after the other node was last heard.
    fn has_answer(&self, now: u64) -> bool {
        self.is_fresh(now) && self.answered.is_some_and(|stamp| stamp > self.heard)
    }

    /// When the gateway will have been heard, and the other node not, for long enough.
    fn waited_until(&self) -> Option<u64> {
        self.run_since.map(|since| since.max(self.heard).saturating_add(self.timing.wait))
    }

    fn set_asking(&mut self, asks: bool, now: u64) {
        if !asks {
            self.forget();
        } else if !self.is_asking {
            (self.is_asking, self.ask_at) = (true, now);
        }
    }

    /// Requests under way stay: their answers must not count for later ones.
    fn forget(&mut self) {
        self.is_asking = false;
        (self.answered, self.run_since) = (None, None);
    }

    fn drop_late(&mut self, now: u64) {
        let late = LATE_PERIODS * self.timing.period;
        while self.unanswered.front().is_some_and(|stamp| stamp.saturating_add(late) <= now) {
            self.unanswered.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
