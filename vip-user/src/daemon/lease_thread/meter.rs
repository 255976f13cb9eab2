//! What the lease thread shows of itself in passing, for those who watch it: a few stores into memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::SharedHistogram;

/// How late the thread may be for its work before it is taken to be stuck, in ns: far more than a busy machine makes it.
const STUCK_AFTER: u64 = 1_000_000_000;

/// See the module. Times are CLOCK_BOOTTIME in ns.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Meter {
    /// When the thread is due to show itself: at the end of the sleep that it is in, or at once.
    due: AtomicU64,
    lateness: SharedHistogram,
    lost_letters: AtomicU64,
    lost_reports: AtomicU64,
}

impl Meter {
    /// The thread sleeps until then, unless it is woken; `None`: until it is woken.
    pub(super) fn sleeps_until(&self, deadline: Option<u64>) {
        self.due.store(deadline.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The thread is awake.
    pub(super) fn works_at(&self, now: u64) {
        self.due.store(now, Ordering::Relaxed);
    }

    /// A renewal is made so late, in ns.
    pub(super) fn renews_late_by(&self, ns: u64) {
        self.lateness.record(ns);
    }

    /// A letter was not taken for the daemon, which is busy.
    pub(super) fn lost_letter(&self) {
        self.lost_letters.fetch_add(1, Ordering::Relaxed);
    }

    /// The daemon is not told of something, since it is busy.
    pub(super) fn lost_report(&self) {
        self.lost_reports.fetch_add(1, Ordering::Relaxed);
    }

    /// How late renewals were.
    pub(in crate::daemon) const fn lateness(&self) -> &SharedHistogram {
        &self.lateness
    }

    /// How many letters of other nodes, and how many reports of its own, the daemon was too busy for.
    pub(in crate::daemon) fn lost(&self) -> (u64, u64) {
        (self.lost_letters.load(Ordering::Relaxed), self.lost_reports.load(Ordering::Relaxed))
    }

    /// For how long the thread has not come to its work, if that is too long.
    pub(in crate::daemon) fn stuck_for(&self, now: u64) -> Option<Duration> {
        let late = now.saturating_sub(self.due.load(Ordering::Relaxed));
        (late > STUCK_AFTER).then(|| Duration::from_nanos(late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_thread_is_stuck_when_it_has_not_shown_itself_a_second_after_it_was_due() {
        let meter = Meter::default();
        let stuck = |now: u64| meter.stuck_for(now).is_some();
        meter.works_at(5 * S);
        assert_eq!([5 * S, 6 * S, 6 * S + 1].map(stuck), [false, false, true]);
        meter.sleeps_until(Some(20 * S));
        assert_eq!([6 * S, 21 * S, 22 * S].map(stuck), [false, false, true]);
        meter.sleeps_until(None);
        assert!(!stuck(1000 * S), "nothing is due");
    }
}
