//! Running many schedules, on all processors, until one breaks a promise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::oracle::Broken;
use crate::schedule::Schedule;
use crate::world::{self, Counts};

/// Schedules that a thread takes at a time.
const BATCH: u64 = 16;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first seed; the others follow.
    pub first: u64,
    /// How many schedules.
    pub schedules: u64,
    /// Nodes in each; without, it is drawn.
    pub nodes: Option<u16>,
    /// Pairs, of two nodes with a gateway.
    pub pairs: bool,
    /// Threads.
    pub threads: usize,
}

/// What the runs came to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Schedules that were run to their end.
    pub schedules: u64,
    /// What happened in them.
    pub counts: Counts,
    /// The schedule with the lowest seed among those that broke a promise, and which.
    pub broken: Option<(Schedule, Broken)>,
    /// How long it took.
    pub took: Duration,
}

impl Search {
    /// Runs the schedules; `progress` is told now and then how many are done.
    pub fn run(&self, mut progress: impl FnMut(u64)) -> Found {
        let started = Instant::now();
        let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let found = Mutex::new((Counts::default(), None::<(Schedule, Broken)>));
        let work = || {
            let mut counts = Counts::default();
            while !stop.load(Ordering::Relaxed) {
                let begin = next.fetch_add(BATCH, Ordering::Relaxed);
                for seed in begin..self.schedules.min(begin + BATCH) {
                    let seed = self.first.wrapping_add(seed);
                    let schedule =
                        if self.pairs { Schedule::draw_pair(seed) } else { Schedule::draw(seed, self.nodes) };
                    let outcome = world::run(&schedule, false);
                    counts.add(&outcome.counts);
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(broken) = outcome.broken {
                        stop.store(true, Ordering::Relaxed);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        if found.1.as_ref().is_none_or(|(other, _)| other.seed > schedule.seed) {
                            found.1 = Some((schedule, broken));
                        }
                        break;
                    }
                }
                if begin + BATCH >= self.schedules {
                    break;
                }
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).0.add(&counts);
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::sleep(Duration::from_millis(20));
                progress(done.load(Ordering::Relaxed));
            }
        });
        let (counts, broken) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Found { schedules: done.into_inner(), counts, broken, took: started.elapsed() }
    }
}
