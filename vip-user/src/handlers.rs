//! Programs that are told what happens: which events there are is in [`crate::events`], and that of the configuration
//! in [`config::Handler`](crate::config::Handler).
//!
//! Each handler is run for one event at a time, in order, on a task of its own: a slow one keeps nobody waiting but
//! itself. What it may take of time, memory and queue is bounded, and nothing here waits for it.

mod answer;
mod job;
mod notifier;
mod output;
pub(crate) mod process;
mod runner;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

pub use answer::{Answer, MAX_ANSWER_BYTES, NoAnswer};
pub use notifier::{Call, Notifier};
pub use runner::QUEUE_LENGTH;

use answer::Reply;
use job::Job;
use runner::Runner;

use crate::config::Handler;
use crate::events::{
    CheckEvent, Coalescer, Event, GroupEvent, GroupEventKind, MemberEventKind, Node, Own, Query, UserEvent,
};
use crate::web::HandlerFigures;

/// How long handlers may go on when the daemon ends: what it did last is worth being told, too.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long to wait for handlers that have been killed.
const KILLED: Duration = Duration::from_secs(1);
/// Answers that nobody has taken yet.
const PENDING_ANSWERS: usize = 256;

/// Takes events, and has handlers run for them. All times are CLOCK_BOOTTIME in ns; call [`Events::handle_timeout`] when
/// [`Events::next_deadline`] is reached.
#[derive(Debug)]
pub struct Events {
    own: Own,
    coalescer: Coalescer,
    runners: Vec<Runner>,
    answers: mpsc::Sender<Answer>,
    is_stopping: watch::Sender<bool>,
}

impl Events {
    /// Those of the node `own`, for these handlers, and where the answers to queries come out: one for each query. To be
    /// called on the runtime that handlers are to be run on.
    #[must_use]
    pub fn new(handlers: &[Handler], own: Own) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(PENDING_ANSWERS);
        let is_stopping = watch::Sender::new(false);
        let runner = |handler: &Handler| Runner::start(handler.clone(), is_stopping.subscribe());
        let runners = handlers.iter().map(runner).collect();
        (Self { own, coalescer: Coalescer::default(), runners, answers, is_stopping }, receiver)
    }

    /// Has these handlers run from now on. Those that it had already go on with what waits for them; others that it had
    /// finish what waits for them, and are told no more.
    pub fn set_handlers(&mut self, handlers: &[Handler]) {
        let mut former = std::mem::take(&mut self.runners);
        let runner = |handler: &Handler| {
            let known = former.iter().position(|runner| runner.handler() == handler);
            match known {
                Some(index) => former.swap_remove(index),
                None => Runner::start(handler.clone(), self.is_stopping.subscribe()),
            }
        };
        self.runners = handlers.iter().map(runner).collect();
    }

    /// This node says something else of itself from now on.
    pub fn set_own(&mut self, own: Own) {
        self.own = own;
    }

    /// Something has happened to a node. It is told when it is quiet: see [`Coalescer`].
    pub fn member(&mut self, kind: MemberEventKind, node: Node, now: u64) {
        self.coalescer.member(kind, node, now);
    }

    /// Something has happened to a group; it is told at once.
    pub fn group(&mut self, event: GroupEvent, now: u64) {
        self.dispatch(&Event::Group(event), now);
    }

    /// One of the node's checks says something else; it is told at once.
    pub fn check(&mut self, event: CheckEvent, now: u64) {
        self.dispatch(&Event::Check(event), now);
    }

    /// A user event is known on this node, for the first time.
    pub fn user(&mut self, event: UserEvent, now: u64) {
        let name = event.name.clone();
        if !self.coalescer.user(event, now) {
            tracing::debug!("user event {name:?} is not told: a newer one is, or too many wait");
        }
        self.tell(now);
    }

    /// This node is asked something. There will be one [`Answer`], also where there is no handler for it.
    pub fn query(&mut self, query: Query, now: u64) {
        self.dispatch(&Event::Query(query), now);
    }

    /// Whether there is a handler for queries of this name.
    #[must_use]
    pub fn answers(&self, query: &str) -> bool {
        self.runners.iter().any(|runner| runner.handler().on.iter().any(|filter| filter.answers(query)))
    }

    /// Whether there is a handler for group events of this kind.
    #[must_use]
    pub fn is_for_group(&self, kind: GroupEventKind) -> bool {
        let event = Event::Group(GroupEvent { kind, ..GroupEvent::default() });
        self.runners.iter().any(|runner| runner.is_for(&event))
    }

    /// What the handlers have done so far, in their order.
    #[must_use]
    pub fn figures(&self) -> Vec<HandlerFigures> {
        self.runners.iter().map(Runner::figures).collect()
    }

    /// When to call [`Events::handle_timeout`], if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.coalescer.next_deadline()
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, now: u64) {
        self.coalescer.handle_timeout(now);
        self.tell(now);
    }

    /// The daemon ends: what waits to be told is told, and nothing that comes later. See [`Stopping::finish`].
    pub fn stop(&mut self, now: u64) -> Stopping {
        self.coalescer.flush();
        self.tell(now);
        let tasks = std::mem::take(&mut self.runners).into_iter().map(Runner::close).collect();
        Stopping { tasks, is_stopping: self.is_stopping.clone() }
    }

    /// What runs the notify scripts of a group.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier::start(self.is_stopping.subscribe())
    }

    fn tell(&mut self, now: u64) {
        while let Some(event) = self.coalescer.poll_event() {
            self.dispatch(&event, now);
        }
    }

    fn dispatch(&mut self, event: &Event, now: u64) {
        let reply = match event {
            Event::Query(query) => {
                let missing =
                    if self.answers(&query.name) { NoAnswer::Stopping } else { NoAnswer::NoHandler };
                Some(Reply::new(query.id, missing, self.answers.clone()))
            }
            _ => None,
        };
        let job = Arc::new(Job::new(event, &self.own, reply));
        for runner in self.runners.iter_mut().filter(|runner| runner.is_for(event)) {
            runner.give(&job, now);
        }
    }
}

/// Handlers that get no more events.
#[derive(Debug)]
#[must_use = "handlers go on until they are finished"]
pub struct Stopping {
    tasks: Vec<JoinHandle<()>>,
    is_stopping: watch::Sender<bool>,
}

impl Stopping {
    /// The notify scripts of a group get no more than these calls.
    pub fn add(&mut self, notifier: Notifier, last: Vec<Call>) {
        self.tasks.push(notifier.stop(last));
    }

    /// Waits until they have handled all that they were told, for [`GRACE`] at most. Those that have not are killed.
    pub async fn finish(self) {
        let Self { mut tasks, is_stopping } = self;
        let all_end = async |tasks: &mut [JoinHandle<()>]| {
            for task in tasks.iter_mut().filter(|task| !task.is_finished()) {
                // In vain only if it has panicked: it has ended, too.
                let _ = task.await;
            }
        };
        if timeout(GRACE, all_end(&mut tasks)).await.is_ok() {
            return;
        }
        is_stopping.send_replace(true);
        if timeout(KILLED, all_end(&mut tasks)).await.is_err() {
            warn!("a handler cannot be ended; leaving it behind");
            tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

#[cfg(test)]
mod tests;
