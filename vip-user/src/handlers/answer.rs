//! What becomes of a query: the first handler that says something answers it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing::{debug, warn};

pub use crate::gossip::MAX_ANSWER_BYTES;

/// What this node answers to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// See [`Query::id`](crate::events::Query::id).
    pub query: u64,
    /// Never empty, and at most [`MAX_ANSWER_BYTES`]; or why there is none.
    pub result: Result<Vec<u8>, NoAnswer>,
}

/// Why a query has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// No handler is for it.
    NoHandler,
    /// The handler has too much to do already.
    Busy,
    /// The handler said nothing.
    Silent,
    /// The handler said so many bytes, more than an answer can have.
    TooLong(u64),
    /// The handler could not be run, or said that it failed.
    Failed,
    /// The handler took too long.
    TimedOut,
    /// The daemon ends.
    Stopping,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler => f.write_str("no handler is for it"),
            Self::Busy => f.write_str("its handler has too much to do"),
            Self::Silent => f.write_str("its handler wrote nothing"),
            Self::TooLong(bytes) => {
                write!(f, "its handler wrote {bytes} bytes, and an answer has {MAX_ANSWER_BYTES} at most")
            }
            Self::Failed => f.write_str("its handler failed"),
            Self::TimedOut => f.write_str("its handler took too long"),
            Self::Stopping => f.write_str("the daemon ends"),
        }
    }
}

/// The way back for the answer to one query. When it is dropped without one, there is none, and that is told.
#[derive(Debug)]
pub(super) struct Reply {
    query: u64,
    answers: mpsc::Sender<Answer>,
    /// Why there is no answer, as far as that is known; `None` when there is one.
    missing: Mutex<Option<NoAnswer>>,
}

impl Reply {
    /// `missing` is why there is no answer if no handler is ever heard of.
    pub(super) fn new(query: u64, missing: NoAnswer, answers: mpsc::Sender<Answer>) -> Self {
        Self { query, answers, missing: Mutex::new(Some(missing)) }
    }

    /// A handler has done its part.
    pub(super) fn give(&self, result: Result<Vec<u8>, NoAnswer>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            _ if missing.is_none() => debug!("query {} has been answered by another handler", self.query),
            Ok(answer) => {
                *missing = None;
                self.send(Ok(answer));
            }
            Err(reason) => *missing = Some(reason),
        }
    }

    fn send(&self, result: Result<Vec<u8>, NoAnswer>) {
        if self.answers.try_send(Answer { query: self.query, result }).is_err() {
            warn!("an answer to query {} is lost: too many wait to be sent", self.query);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let missing = self.missing.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // While the daemon ends, nobody wants to know any more.
        if let Some(reason) = missing.filter(|_| !self.answers.is_closed()) {
            self.send(Err(reason));
        }
    }
}
