//! Health checks: what `[[check]]` asks for is looked at again and again, on a thread of its own, so that thousands of runs in
//! a second, or one that hangs, keep nobody else waiting.
//!
//! Here: the thread, and what it knows. Whether a check passes is decided in `judge`, what a run does is in `probe`; what comes
//! of it for the groups is the daemon's business.

mod errand;
mod judge;
mod probe;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::error;

pub use judge::Verdict;

use judge::Judge;
use probe::Prober;

use crate::config::Check;

/// How much is kept of what is wrong, in bytes.
const MAX_ERROR: usize = 500;

/// The checks of a node, and the thread that runs them. Dropped, it ends, and kills what it has started.
#[derive(Debug)]
pub struct Health {
    board: Board,
    changed: Arc<Notify>,
    thread: Option<Thread>,
}

/// What is known of each check, in the order of the configuration.
type Board = Arc<Mutex<Vec<Record>>>;

/// A check, and how it has gone so far.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is looked at.
    pub check: Check,
    judge: Judge,
    /// Since when the verdict is what it is.
    pub since: SystemTime,
    /// Runs that have ended.
    pub runs: u64,
    /// How many of them have failed.
    pub failures: u64,
    /// Why the last one failed that did.
    pub last_error: Option<String>,
    /// How long the last one took.
    pub took: Duration,
}

impl Record {
    fn new(check: Check) -> Self {
        let judge = Judge::new(check.rise, check.fall);
        let since = SystemTime::now();
        Self { check, judge, since, runs: 0, failures: 0, last_error: None, took: Duration::ZERO }
    }

    /// The same, configured in another way.
    fn with(&self, check: Check) -> Self {
        Self { judge: self.judge.with(check.rise, check.fall), check, ..self.clone() }
    }

    /// Whether it passes.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.judge.verdict()
    }

    /// Takes the outcome of a run in; gives whether the verdict has changed.
    fn note(&mut self, outcome: Result<(), String>, took: Duration) -> bool {
        self.runs += 1;
        self.took = took;
        let passed = outcome.is_ok();
        if let Err(mut reason) = outcome {
            let end = (0..=MAX_ERROR).rev().find(|end| reason.is_char_boundary(*end));
            reason.truncate(end.unwrap_or(0));
            self.failures += 1;
            self.last_error = Some(reason);
        }
        let has_changed = self.judge.observe(passed);
        if has_changed {
            self.since = SystemTime::now();
        }
        has_changed
    }
}

impl Health {
    /// Begins to run these checks. Without any, there is no thread.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start(checks: &[Check]) -> io::Result<Self> {
        let records = checks.iter().cloned().map(Record::new).collect();
        let mut health = Self { board: Arc::new(Mutex::new(records)), changed: Arc::default(), thread: None };
        health.run()?;
        Ok(health)
    }

    /// What is known of each check, in the order of the configuration.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        lock(&self.board).clone()
    }

    /// Notified when the verdict of a check has changed.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Goes on with these checks; what is known of those that look at the same as before stays. To be called on a runtime, where
    /// the end of what has run so far is waited for.
    ///
    /// # Errors
    /// As [`Health::start`]; then none is run.
    pub fn replace(&mut self, checks: &[Check]) -> io::Result<()> {
        let former = self.records();
        let records = checks.iter().map(|check| {
            let known = former
                .iter()
                .find(|known| known.check.name == check.name && known.check.probe == check.probe);
            known.map_or_else(|| Record::new(check.clone()), |known| known.with(check.clone()))
        });
        // Former runs write to the board that they know.
        self.board = Arc::new(Mutex::new(records.collect()));
        if let Some(thread) = self.thread.take() {
            drop(spawn_blocking(move || drop(thread)));
        }
        self.run()
    }

    fn run(&mut self) -> io::Result<()> {
        let checks: Vec<Check> = lock(&self.board).iter().map(|record| record.check.clone()).collect();
        if !checks.is_empty() {
            let post = Post { board: Arc::clone(&self.board), changed: Arc::clone(&self.changed) };
            self.thread = Some(Thread::spawn(checks, post)?);
        }
        Ok(())
    }
}

/// The thread; it ends when this is dropped, which waits for it.
#[derive(Debug)]
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn spawn(checks: Vec<Check>, post: Post) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                for (index, check) in checks.into_iter().enumerate() {
                    tokio::spawn(repeat(index, check, post.clone()));
                }
                // Said, or the handle is gone.
                let _ = stopped.await;
            });
            // Whatever hangs in the kernel or in a resolver is not waited for.
            runtime.shutdown_background();
        };
        let handle = thread::Builder::new().name("health".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.handle.take().is_some_and(|handle| handle.join().is_err()) {
            error!("the thread of the health checks has panicked");
        }
    }
}

/// Where results go.
#[derive(Clone, Debug)]
struct Post {
    board: Board,
    changed: Arc<Notify>,
}

impl Post {
    fn note(&self, index: usize, outcome: Result<(), String>, took: Duration) {
        let has_changed = lock(&self.board).get_mut(index).is_some_and(|record| record.note(outcome, took));
        if has_changed {
            self.changed.notify_one();
        }
    }
}

/// Runs one check again and again, one run at a time.
async fn repeat(index: usize, check: Check, post: Post) {
    let mut prober = Prober::new(&check.probe);
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = prober.hint() => {}
        }
        let begun = Instant::now();
        let outcome = prober.run(check.timeout).await;
        post.note(index, outcome, begun.elapsed());
    }
}

fn lock(board: &Board) -> MutexGuard<'_, Vec<Record>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
