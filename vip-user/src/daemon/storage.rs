//! Writes to the state directory, away from everything that must go on meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::clock;
use crate::membership::Durable;
use crate::pace::Pace;
use crate::store::Store;

/// Time between two tries of a write that failed: the disk may be full only for now.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two lines in the log about writes that go on failing, in ns: the log may be on the same disk.
const COMPLAINTS: u64 = 60_000_000_000;
/// Writes reported and not yet handled; membership waits for each of them.
const PENDING: usize = 4;

/// The state directory, written in the background.
#[derive(Debug)]
pub(super) struct Storage {
    store: Arc<Mutex<Store>>,
    done: mpsc::Sender<Durable>,
    delivered: watch::Sender<u64>,
}

impl Storage {
    /// Writes to `store`, and where the completed writes are reported.
    pub(super) fn new(store: Store) -> (Self, mpsc::Receiver<Durable>) {
        let (done, reports) = mpsc::channel(PENDING);
        let (delivered, latest) = watch::channel(store.delivered().unwrap_or(0));
        let store = Arc::new(Mutex::new(store));
        tokio::spawn(keep_delivered(Arc::clone(&store), latest));
        (Self { store, done, delivered }, reports)
    }

    /// Keeps the Lamport time of what was delivered for the next start, as soon as may be.
    pub(super) fn remember_delivered(&self, ltime: u64) {
        self.delivered.send_replace(ltime);
    }

    /// Keeps whether the node is in maintenance for the next start. The write begins with this call; the error is for people.
    pub(super) fn write_maintenance(
        &self,
        on: bool,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let store = Arc::clone(&self.store);
        let write = move || store.lock().unwrap_or_else(PoisonError::into_inner).store_maintenance(on);
        let written = spawn_blocking(write);
        async move {
            match written.await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
    }

    /// Makes this durable, however long it takes, then reports it.
    pub(super) fn write(&self, durable: Durable) {
        let (store, done) = (Arc::clone(&self.store), self.done.clone());
        tokio::spawn(async move {
            let mut complaints = Pace::new(0, COMPLAINTS);
            let mut has_failed = false;
            while let Err(reason) = write_once(&store, &durable).await {
                has_failed = true;
                if complaints.allows(clock::now()) {
                    error!("{reason}; changes of voters wait for it, leases do not: trying every second");
                }
                sleep(RETRY).await;
            }
            if has_failed {
                info!("the state directory could be written again");
            }
            // Nobody listens any more: the daemon is on its way out.
            let _ = done.send(durable).await;
        });
    }
}

/// Writes the latest time whenever it has changed; those that come during a write are one.
async fn keep_delivered(store: Arc<Mutex<Store>>, mut latest: watch::Receiver<u64>) {
    let mut complaints = Pace::new(0, COMPLAINTS);
    while latest.changed().await.is_ok() {
        let (store, ltime) = (Arc::clone(&store), *latest.borrow_and_update());
        let written = spawn_blocking(move || {
            store.lock().unwrap_or_else(PoisonError::into_inner).store_delivered(ltime)
        });
        if let Ok(Err(error)) = written.await {
            if complaints.allows(clock::now()) {
                warn!("{error}; after a restart, events may be delivered again");
            }
            sleep(RETRY).await;
        }
    }
}

async fn write_once(store: &Arc<Mutex<Store>>, durable: &Durable) -> Result<(), String> {
    let (store, durable) = (Arc::clone(store), durable.clone());
    let written = spawn_blocking(move || {
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        match &durable {
            Durable::Consent(consent) => store.store_consent(consent),
            Durable::Configuration(configuration) => store.store_configuration(configuration),
            Durable::Pledge(pledge) => store.store_pledge(pledge),
        }
    });
    match written.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
