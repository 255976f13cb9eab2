//! Visitors of a web site: HTTP requests to an address at a fixed rate, and what became of each.
//!
//! The load is open: a request begins when it is due, whatever became of those before it, and its time counts from then on. So
//! an outage costs as many requests as were due in it, and none waits unseen for one that came before it. Nothing is asked
//! again: a browser would do so by itself when a connection that it had kept turns out to be closed.
//!
//! Here: when requests begin, and how long they may take. How one is made is in `exchange`, what is counted in `report`.

mod exchange;
mod report;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{runtime, sync::mpsc, task::JoinSet, time::timeout};

use self::exchange::Pool;
pub use self::report::{Failures, Report};
use crate::{clock::Stamp, lab::Lab, net, worker::Worker};

/// What they ask for, how often, and how patient they are.
#[derive(Clone, Copy, Debug)]
pub struct VisitorOptions {
    /// The front end.
    pub target: SocketAddr,
    /// Requests per second, above 0.
    pub rate: u32,
    /// Over which connections.
    pub connections: Connections,
    /// What takes longer has failed.
    pub patience: Duration,
}

/// Who has a connection already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// All but the first ones: so many connections are kept, the one longest unused comes next. Where all are in use, one more
    /// is made.
    Kept(usize),
    /// Nobody: each request has a connection of its own.
    New,
}

/// One request and its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// When it was to begin.
    pub due: Stamp,
    /// From then to its end.
    pub took: Duration,
    /// Whether its connection had been used before.
    pub was_kept: bool,
    /// The node that it was answered through.
    pub outcome: Result<u8, Failure>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing listens on the port.
    Refused,
    /// Nobody has the address, by the client's own kernel.
    Unreachable,
    /// The connection was reset or closed before the answer was complete.
    Broken,
    /// It took too long.
    TimedOut,
    /// An answer that is none, of this status.
    Status(u16),
}

/// Visitors that come until they are told to stop. Dropping it ends them.
#[derive(Debug)]
pub struct Visitors {
    visits: Arc<Visits>,
    // In this order: what the first one does keeps the second one from its end.
    pace: Option<Worker<()>>,
    asking: Worker<()>,
}

impl Visitors {
    /// They come from the lab's client.
    pub fn start(lab: &Lab, options: &VisitorOptions) -> Result<Self> {
        let visits = Arc::new(Visits::default());
        let (begin, due) = mpsc::unbounded_channel();
        let (netns, options, kept) = (lab.client_netns(), *options, Arc::clone(&visits));
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let enter = move || net::enter(&netns).map_err(std::io::Error::other);
        let asking = Worker::start_with("visitors", enter, move |_| {
            runtime.block_on(ask_when_due(due, options, kept))
        })?;
        let period = Duration::from_secs(1) / options.rate;
        let pace = Worker::start("visitors-pace", move |order| {
            let mut due = Stamp::now();
            while !order.is_to_end() && begin.send(due).is_ok() {
                due = due + period;
                due.sleep_until();
            }
        })?;
        Ok(Self { visits, pace: Some(pace), asking })
    }

    /// The last outcome, as far as it is `wanted`, of the requests that were due at `after` or later and have ended.
    pub fn outcome_after<T>(
        &self,
        after: Stamp,
        wanted: impl Fn(Result<u8, Failure>) -> Option<T>,
    ) -> Option<T> {
        let visits = self.visits.lock();
        let mut outcomes = visits.iter().rev().filter(|visit| visit.due >= after).map(|visit| visit.outcome);
        outcomes.find_map(wanted)
    }

    /// Lets nobody come any more.
    pub fn stop(&mut self) {
        drop(self.pace.take());
    }

    /// Lets nobody come any more, waits for those who are there, and gives all visits in the order of their ends.
    pub fn finish(mut self) -> Result<Vec<Visit>> {
        self.stop();
        self.asking.finish()?;
        Ok(std::mem::take(&mut *self.visits.lock()))
    }
}

#[derive(Debug, Default)]
struct Visits(Mutex<Vec<Visit>>);

impl Visits {
    fn lock(&self) -> MutexGuard<'_, Vec<Visit>> {
        // A visit is put there as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when nobody comes any more and the last one has gone.
async fn ask_when_due(mut due: mpsc::UnboundedReceiver<Stamp>, options: VisitorOptions, visits: Arc<Visits>) {
    let pool = Arc::new(Pool::new(options.target, options.connections));
    let mut asking = JoinSet::new();
    while let Some(due) = due.recv().await {
        let (pool, visits) = (Arc::clone(&pool), Arc::clone(&visits));
        asking.spawn(async move {
            let connection = pool.take();
            let was_kept = connection.is_some();
            let answer = timeout(options.patience, pool.exchange(connection)).await;
            let outcome = answer.unwrap_or(Err(Failure::TimedOut));
            visits.lock().push(Visit { due, took: Stamp::now().since(due), was_kept, outcome });
        });
        while asking.try_join_next().is_some() {}
    }
    asking.join_all().await;
}
