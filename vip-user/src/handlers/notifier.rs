//! The scripts of one group that are told what this node is in it: one after the other, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::job::Job;
use super::process;
use super::runner::{QUEUE_LENGTH, log};
use crate::clock;
use crate::config::Run;
use crate::pace::Pace;

/// How long the scripts for the end wait for those before them; they are left as much of [`GRACE`](super::GRACE).
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Time between two warnings of one kind, in ns.
const WARNING_PERIOD: u64 = 1_000_000_000;

/// One script to be run.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is run.
    pub run: Run,
    /// What it is told, for the log.
    pub event: String,
    /// How long it may take.
    pub limit: Duration,
}

/// What waits to be run for a group, and the task that runs it; that ends by itself, when this has been dropped and all has
/// been run.
#[derive(Debug)]
pub struct Notifier {
    queue: Entrance,
    task: JoinHandle<()>,
    is_stopping: watch::Receiver<bool>,
    lost: u64,
    warnings: Pace,
}

impl Notifier {
    pub(super) fn start(is_stopping: watch::Receiver<bool>) -> Self {
        let queue = Arc::<Queue>::default();
        let task = tokio::spawn(serve(Arc::clone(&queue), is_stopping.clone()));
        Self { queue: Entrance(queue), task, is_stopping, lost: 0, warnings: Pace::new(0, WARNING_PERIOD) }
    }

    /// Has these scripts run, when those before them have been. Where too many wait, the oldest are lost: what the node is
    /// now matters more than what it was.
    pub fn tell(&mut self, calls: Vec<Call>) {
        let lost = self.queue.0.put(calls);
        self.lost += lost;
        if lost > 0 && self.warnings.allows(clock::now()) {
            warn!("{QUEUE_LENGTH} calls of notify scripts wait: the oldest are lost ({} so far)", self.lost);
        }
    }

    /// Has these scripts run as the last ones: when those before them have been, but soon in any case. Gives what is to be
    /// waited for.
    pub(super) fn stop(self, calls: Vec<Call>) -> JoinHandle<()> {
        let Self { queue, mut task, mut is_stopping, .. } = self;
        drop(queue);
        tokio::spawn(async move {
            let is_late = timeout(LAST_WORDS, &mut task).await.is_err();
            for call in calls {
                run(&call, &mut is_stopping, true).await;
            }
            if is_late {
                // In vain only if it has panicked: it has ended, too.
                let _ = task.await;
            }
        })
    }
}

async fn serve(queue: Arc<Queue>, mut is_stopping: watch::Receiver<bool>) {
    let mut failures = Pace::new(0, WARNING_PERIOD);
    while let Some(call) = queue.next().await {
        run(&call, &mut is_stopping, failures.allows(clock::now())).await;
        if *is_stopping.borrow() {
            break;
        }
    }
}

async fn run(call: &Call, is_stopping: &mut watch::Receiver<bool>, may_warn: bool) {
    let job = Arc::new(Job::without_event(call.event.clone()));
    let ended = process::run(&call.run, &job.environment, &job.input, call.limit, is_stopping).await;
    log(&call.run, call.limit, &job, &ended, may_warn);
}

/// Where a queue is filled; it is closed when this is dropped.
#[derive(Debug)]
struct Entrance(Arc<Queue>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What waits: never more than [`QUEUE_LENGTH`].
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: VecDeque<Call>,
    is_closed: bool,
}

impl Queue {
    /// Gives how many of the oldest are lost by that.
    fn put(&self, calls: Vec<Call>) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = 0;
        for call in calls {
            if waiting.calls.len() == QUEUE_LENGTH {
                waiting.calls.pop_front();
                lost += 1;
            }
            waiting.calls.push_back(call);
        }
        self.changed.notify_one();
        lost
    }

    /// Nothing more comes.
    fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_one();
    }

    /// The oldest one, once there is one; `None` when there will be none any more.
    async fn next(&self) -> Option<Call> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let next = waiting.calls.pop_front();
                if next.is_some() || waiting.is_closed {
                    return next;
                }
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize) -> Call {
        let run = Run::Program("/bin/true".to_owned(), Vec::new());
        Call { run, event: number.to_string(), limit: Duration::from_secs(1) }
    }

    #[tokio::test]
    async fn where_too_many_wait_the_newest_are_kept_in_order() {
        let queue = Queue::default();
        let lost: u64 = (0..QUEUE_LENGTH + 3).map(|number| queue.put(vec![call(number)])).sum();
        assert_eq!(lost, 3);
        queue.close();
        for number in 3..QUEUE_LENGTH + 3 {
            assert_eq!(queue.next().await.unwrap().event, number.to_string());
        }
        assert!(queue.next().await.is_none());
    }
}
