//! One handler: its queue, and the task that runs it for one event after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::answer::{MAX_ANSWER_BYTES, NoAnswer};
use super::job::Job;
use super::process::{self, End, Ended};
use crate::clock;
use crate::config::{Handler, Run, format_duration};
use crate::events::Event;
use crate::pace::Pace;
use crate::web::HandlerFigures;

/// Events that wait for a handler; what comes when so many do is not told.
pub const QUEUE_LENGTH: usize = 64;

/// Time between two warnings of one handler and one kind, in ns.
const WARNING_PERIOD: u64 = 1_000_000_000;

/// A handler and its queue.
#[derive(Debug)]
pub(super) struct Runner {
    handler: Handler,
    queue: mpsc::Sender<Arc<Job>>,
    task: JoinHandle<()>,
    done: Arc<Done>,
    dropped: u64,
    warnings: Pace,
}

/// What a handler's task has done.
#[derive(Debug, Default)]
struct Done {
    runs: AtomicU64,
    failures: AtomicU64,
}

impl Done {
    fn note(&self, ended: &Ended) {
        let is_failure = !matches!(&ended.how, End::Exited(status) if status.success());
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(is_failure.into(), Ordering::Relaxed);
    }
}

impl Runner {
    pub(super) fn start(handler: Handler, is_stopping: watch::Receiver<bool>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH);
        let done = Arc::new(Done::default());
        let task = tokio::spawn(serve(handler.clone(), jobs, Arc::clone(&done), is_stopping));
        Self { handler, queue, task, done, dropped: 0, warnings: Pace::new(0, WARNING_PERIOD) }
    }

    pub(super) fn handler(&self) -> &Handler {
        &self.handler
    }

    pub(super) fn is_for(&self, event: &Event) -> bool {
        self.handler.on.iter().any(|filter| filter.matches(event))
    }

    /// Has the handler run for this when it has done all that was given before. The newest one is lost when too many wait.
    pub(super) fn give(&mut self, job: &Arc<Job>, now: u64) {
        if self.queue.try_send(Arc::clone(job)).is_ok() {
            return;
        }
        self.dropped += 1;
        if let Some(reply) = &job.reply {
            reply.give(Err(NoAnswer::Busy));
        }
        if self.warnings.allows(now) {
            warn!(
                handler = %self.handler.run,
                "{} is not told: {QUEUE_LENGTH} events wait already ({} lost so far)", job.event, self.dropped
            );
        }
    }

    /// What it has done so far.
    pub(super) fn figures(&self) -> HandlerFigures {
        HandlerFigures {
            run: self.handler.run.to_string(),
            runs: self.done.runs.load(Ordering::Relaxed),
            failures: self.done.failures.load(Ordering::Relaxed),
            lost: self.dropped,
        }
    }

    /// Gives it nothing more; its task ends when it has done what it has.
    pub(super) fn close(self) -> JoinHandle<()> {
        self.task
    }
}

async fn serve(
    handler: Handler,
    mut jobs: mpsc::Receiver<Arc<Job>>,
    done: Arc<Done>,
    mut is_stopping: watch::Receiver<bool>,
) {
    let mut failures = Pace::new(0, WARNING_PERIOD);
    while let Some(job) = jobs.recv().await {
        let (environment, input) = (&job.environment, &job.input);
        let ended = process::run(&handler.run, environment, input, handler.timeout, &mut is_stopping).await;
        done.note(&ended);
        let is_stopped = matches!(ended.how, End::Stopped);
        log(&handler.run, handler.timeout, &job, &ended, failures.allows(clock::now()));
        if let Some(reply) = &job.reply {
            reply.give(answer(ended));
        }
        if is_stopped {
            break;
        }
    }
}

/// What the handler's run says to a query.
fn answer(ended: Ended) -> Result<Vec<u8>, NoAnswer> {
    let length = ended.output.total();
    match ended.how {
        End::Exited(status) if !status.success() => Err(NoAnswer::Failed),
        End::Exited(_) if length == 0 => Err(NoAnswer::Silent),
        End::Exited(_) if is_too_long(length) => Err(NoAnswer::TooLong(length)),
        End::Exited(_) => Ok(ended.output.into_beginning()),
        End::NotStarted(_) => Err(NoAnswer::Failed),
        End::TimedOut => Err(NoAnswer::TimedOut),
        End::Stopped => Err(NoAnswer::Stopping),
    }
}

/// Tells failures as loud as `may_warn` lets it, and the rest for who looks for it.
pub(super) fn log(run: &Run, limit: Duration, job: &Job, ended: &Ended, may_warn: bool) {
    let event = &job.event;
    let (output, errors) = (ended.output.first_lines(), ended.errors.first_lines());
    let length = ended.output.total();
    let failure = match &ended.how {
        End::Exited(status) if !status.success() => format!("{status}"),
        End::Exited(_) if job.reply.is_some() && is_too_long(length) => NoAnswer::TooLong(length).to_string(),
        End::Exited(_) => {
            return debug!(handler = %run, output, errors, "{event}: done");
        }
        End::NotStarted(error) => format!("cannot be run: {error}"),
        End::TimedOut => format!("killed after {}, its timeout", format_duration(limit)),
        End::Stopped => "killed, as the daemon ends".to_owned(),
    };
    if may_warn {
        warn!(handler = %run, output, errors, "{event}: {failure}");
    } else {
        debug!(handler = %run, output, errors, "{event}: {failure}");
    }
}

fn is_too_long(length: u64) -> bool {
    usize::try_from(length).map_or(true, |length| length > MAX_ANSWER_BYTES)
}
