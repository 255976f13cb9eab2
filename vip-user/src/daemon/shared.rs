//! The control plane behind one lock, on a runtime of one thread: no one waits for the lock, and nobody awaits under it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::control_plane::ControlPlane;

/// The one control plane, for those who share it.
#[derive(Clone)]
pub(super) struct Shared {
    plane: Arc<Mutex<ControlPlane>>,
    asked: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(plane: ControlPlane) -> Self {
        Self { plane: Arc::new(Mutex::new(plane)), asked: Arc::default() }
    }

    /// Does something with it.
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut ControlPlane) -> T) -> T {
        what(&mut self.plane.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does what a client asks for, and lets the daemon look at what came of it. The reply is out by then, since the
    /// client's task does not wait in between.
    pub(super) fn ask<T>(&self, what: impl FnOnce(&mut ControlPlane) -> T) -> T {
        let answer = self.with(what);
        self.asked.notify_one();
        answer
    }

    /// Waits until a client has asked for something.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }
}
