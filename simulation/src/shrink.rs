//! Making a schedule that breaks a promise as small as it gets: what is left out cannot be the reason.

use crate::oracle::Promise;
use crate::schedule::{Chances, Schedule};
use crate::world;

/// Runs that are spent at most; a bound on time would not give the same result each time.
const RUNS: u32 = 2_000;

/// The smallest schedule found that still breaks a promise of the same kind.
pub fn shrink(schedule: &Schedule, promise: &Promise) -> Schedule {
    let mut shrinking = Shrinking { promise, smallest: schedule.clone(), runs: 0 };
    loop {
        let before = shrinking.smallest.clone();
        shrinking.leave_out_faults();
        shrinking.simplify_the_rest();
        if shrinking.smallest == before || shrinking.runs >= RUNS {
            return shrinking.smallest;
        }
    }
}

struct Shrinking<'a> {
    promise: &'a Promise,
    smallest: Schedule,
    runs: u32,
}

impl Shrinking<'_> {
    /// Leaves out halves, then quarters, and so on to single faults, from the last to the first.
    fn leave_out_faults(&mut self) {
        let mut size = self.smallest.faults.len().div_ceil(2);
        while size > 0 {
            let mut end = self.smallest.faults.len();
            while end > 0 {
                let begin = end.saturating_sub(size);
                self.try_without(|schedule| drop(schedule.faults.drain(begin..end)));
                end = begin.min(self.smallest.faults.len());
            }
            size /= 2;
        }
    }

    /// A quieter network, fewer groups, and an earlier end.
    fn simplify_the_rest(&mut self) {
        let quieter: [fn(&mut Chances); 6] = [
            |chances| chances.lost = 0,
            |chances| chances.doubled = 0,
            |chances| chances.late = 0,
            |chances| chances.very_late = 0,
            |chances| chances.slow_swap = 0,
            |chances| chances.pause = 0,
        ];
        for quieten in quieter {
            self.try_without(|schedule| quieten(&mut schedule.chances));
        }
        self.try_without(|schedule| schedule.preempt = false);
        self.try_without(|schedule| schedule.reap = None);
        self.try_without(|schedule| schedule.absent = Default::default());
        let last = self.smallest.faults.last().map_or(0, |fault| fault.at);
        self.try_without(|schedule| schedule.calm_at = last + 3 * schedule.lease);
    }

    /// Keeps a change if the promise is still broken with it.
    fn try_without(&mut self, change: impl FnOnce(&mut Schedule)) {
        let mut candidate = self.smallest.clone();
        change(&mut candidate);
        if candidate == self.smallest || self.runs >= RUNS {
            return;
        }
        self.runs += 1;
        if world::run(&candidate, false).broken.is_some_and(|broken| broken.promise.is_like(self.promise)) {
            self.smallest = candidate;
        }
    }
}
