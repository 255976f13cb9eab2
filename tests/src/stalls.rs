//! The machine's own stalls: how late it lets a thread run that nothing else may keep waiting.
//!
//! What a cluster does in such a moment is no fault of its own, so measurements on a busy or shared machine have this
//! beside them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{clock::Stamp, realtime};

/// SCHED_FIFO priority: above the daemons' threads.
const PRIORITY: i32 = 60;
const PERIOD: Duration = Duration::from_millis(1);
/// How many of the worst are kept.
const KEPT: usize = 10;

/// A timer of 1 kHz on each processor, at real-time priority. Dropping it ends it.
#[derive(Debug)]
pub struct Stalls {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Stall>>>,
}

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
        let stop = Arc::new(AtomicBool::new(false));
        let mut stalls = Self { stop, threads: Vec::new() };
        for processor in 0..thread::available_parallelism()?.get() {
            let (stop, (report, begun)) = (Arc::clone(&stalls.stop), std::sync::mpsc::sync_channel(1));
            let timer = move || {
                let punctual: io::Result<()> =
                    realtime::pin(processor).and_then(|()| realtime::fifo(PRIORITY));
                let failed = punctual.is_err();
                // Its receiver waits for it.
                let _ = report.send(punctual);
                if failed { Vec::new() } else { run(processor, &stop) }
            };
            stalls.threads.push(thread::Builder::new().name("stalls".into()).spawn(timer)?);
            begun.recv()??;
        }
        Ok(stalls)
    }

    /// The worst moments of all processors, the worst first.
    pub fn finish(mut self) -> Result<Vec<Stall>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut worst = Vec::new();
        for thread in self.threads.drain(..) {
            let Ok(stalls) = thread.join() else { bail!("a timer's thread has panicked") };
            worst.extend(stalls);
        }
        worst.sort_unstable_by(|a, b| b.cmp(a));
        worst.truncate(KEPT);
        Ok(worst)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its only failure is a panic, which has been reported by then.
            let _ = thread.join();
        }
    }
}

/// The worst moments of one processor.
fn run(processor: usize, stop: &AtomicBool) -> Vec<Stall> {
    let mut worst: Vec<Stall> = Vec::with_capacity(KEPT + 1);
    let mut due = Stamp::now() + PERIOD;
    while !stop.load(Ordering::Relaxed) {
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
