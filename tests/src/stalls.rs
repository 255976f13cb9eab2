//! The machine's own stalls: how late it lets a thread run that nothing else may keep waiting.
//!
//! What a cluster does in such a moment is no fault of its own, so measurements on a busy or shared machine have this
//! beside them.

use std::{thread::available_parallelism, time::Duration};

use anyhow::Result;

use crate::{
    clock::Stamp,
    realtime,
    worker::{Order, Worker},
};

/// SCHED_FIFO priority: above the daemons' threads.
const PRIORITY: i32 = 60;
const PERIOD: Duration = Duration::from_millis(1);
/// How many of the worst are kept.
const KEPT: usize = 10;

/// A timer of 1 kHz on each processor, at real-time priority. Dropping it ends it.
#[derive(Debug)]
pub struct Stalls(Vec<Worker<Vec<Stall>>>);

/// A moment at which the timer was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stall {
    /// By how much.
    pub late: Duration,
    /// When it was due.
    pub due: Stamp,
    /// On which processor.
    pub processor: usize,
}

impl Stalls {
    /// Starts to watch.
    pub fn watch() -> Result<Self> {
        let timer = |processor| {
            Worker::start_with(
                "stalls",
                move || realtime::pin(processor).and_then(|()| realtime::fifo(PRIORITY)),
                move |order| run(processor, &order),
            )
        };
        Ok(Self((0..available_parallelism()?.get()).map(timer).collect::<Result<_>>()?))
    }

    /// The worst moments of all processors, the worst first.
    pub fn finish(self) -> Result<Vec<Stall>> {
        let mut worst = Vec::new();
        for timer in self.0 {
            worst.extend(timer.finish()?);
        }
        worst.sort_unstable_by(|a, b| b.cmp(a));
        worst.truncate(KEPT);
        Ok(worst)
    }
}

/// The worst moments of one processor.
fn run(processor: usize, order: &Order) -> Vec<Stall> {
    let mut worst: Vec<Stall> = Vec::with_capacity(KEPT + 1);
    let mut due = Stamp::now() + PERIOD;
    while !order.is_to_end() {
        due.sleep_until();
        let now = Stamp::now();
        worst.push(Stall { late: now.since(due), due, processor });
        worst.sort_unstable_by(|a, b| b.cmp(a));
        worst.truncate(KEPT);
        // What was due meanwhile belongs to the same stall.
        due = due.max(now) + PERIOD;
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_moments_are_kept_and_the_worst_comes_first() {
        let stalls = Stalls::watch().unwrap();
        let begun = Stamp::now();
        (begun + Duration::from_millis(100)).sleep_until();
        let worst = stalls.finish().unwrap();
        assert_eq!(worst.len(), KEPT);
        assert!(worst.is_sorted_by(|a, b| a.late >= b.late), "{worst:?}");
    }
}
