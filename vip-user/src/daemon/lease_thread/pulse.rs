//! Whether the lease thread goes round: what the service manager's watchdog is fed by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::eventfd::EventFd;

/// The thread's side: counts its rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Arc<AtomicU64>);

impl Rounds {
    /// One more.
    pub(super) fn count(&self) {
        // The thread alone writes.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// The other side.
#[derive(Debug)]
pub(in crate::daemon) struct Pulse {
    rounds: Rounds,
    seen: u64,
    doorbell: Arc<EventFd>,
}

impl Pulse {
    pub(super) const fn of(rounds: Rounds, doorbell: Arc<EventFd>) -> Self {
        Self { rounds, seen: 0, doorbell }
    }

    /// Whether the thread has gone round since it was last asked; asks it to go round again, since it may have nothing to do.
    pub(in crate::daemon) fn has_beaten(&mut self) -> bool {
        let rounds = self.rounds.0.load(Ordering::Relaxed);
        let has_beaten = rounds != self.seen;
        self.seen = rounds;
        // Fails only when the counter is full, and then the bell has been rung.
        let _ = self.doorbell.write(1);
        has_beaten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_go_round_has_no_pulse_though_the_bell_rings() {
        let doorbell = Arc::new(EventFd::new().unwrap());
        let rounds = Rounds::default();
        let mut pulse = Pulse::of(rounds.clone(), Arc::clone(&doorbell));
        assert!(!pulse.has_beaten(), "not yet");
        assert_eq!(doorbell.read().unwrap(), 1, "it was asked to");
        rounds.count();
        assert!(pulse.has_beaten());
        assert!(!pulse.has_beaten(), "not since");
    }
}
