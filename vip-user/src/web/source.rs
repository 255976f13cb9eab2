//! Where snapshots come from: the control plane makes one when it is asked to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::Snapshot;

/// For so long the last snapshot is good enough: many who watch cost the control plane no more than a few do.
const FRESH: Duration = Duration::from_millis(200);
/// A control plane that makes none in so long is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// Questions for a snapshot, to be answered on the control plane's side.
pub type Asked = mpsc::Receiver<oneshot::Sender<Snapshot>>;

/// Where to get snapshots.
#[derive(Debug)]
pub struct Source {
    questions: mpsc::Sender<oneshot::Sender<Snapshot>>,
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

impl Source {
    /// A source, and where its questions come out.
    #[must_use]
    pub fn new() -> (Self, Asked) {
        let (questions, asked) = mpsc::channel(1);
        (Self { questions, last: Mutex::default() }, asked)
    }

    /// How the node is now; `None` if its control plane does not say.
    pub(super) async fn look(&self) -> Option<Arc<Snapshot>> {
        // Who comes meanwhile waits here, and gets the same.
        let mut last = self.last.lock().await;
        if let Some((at, snapshot)) = &*last
            && at.elapsed() < FRESH
        {
            return Some(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(timeout(PATIENCE, self.ask()).await.ok()??);
        *last = Some((Instant::now(), Arc::clone(&snapshot)));
        Some(snapshot)
    }

    async fn ask(&self) -> Option<Snapshot> {
        let (reply, snapshot) = oneshot::channel();
        self.questions.send(reply).await.ok()?;
        snapshot.await.ok()
    }
}
