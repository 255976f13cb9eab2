//! Listening to a virtual router without being a part of it: whether it has an active router.

use super::{Advert, Master, Timers};

/// See the module. Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug)]
pub struct Hearing {
    timers: Timers,
    presence: Presence,
    /// Until when it stays as it is, unless something is heard.
    until: u64,
}

/// What is known of a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Nothing yet: it was not listened to for long enough.
    Unknown,
    /// It has this active router.
    Active(Master),
    /// Nobody advertises.
    Silent,
}

impl Hearing {
    /// Begins at `now`, where adverts are expected every `interval`.
    pub const fn new(timers: Timers, interval: u64, now: u64) -> Self {
        Self { timers, presence: Presence::Unknown, until: now + timers.down(interval) }
    }

    /// What is known.
    pub const fn presence(&self) -> Presence {
        self.presence
    }

    /// When to call [`Self::handle_timeout`].
    pub fn next_deadline(&self) -> Option<u64> {
        (self.presence != Presence::Silent).then_some(self.until)
    }

    /// Somebody advertises, or gives up.
    pub fn handle_advert(&mut self, advert: Advert, now: u64) {
        if advert.priority == 0 {
            self.presence = Presence::Silent;
        } else {
            self.presence = Presence::Active(advert.into());
            self.until = now + self.timers.down(advert.interval);
        }
    }

    /// Nothing was heard for so long, or the deadline was not this one's.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.presence = Presence::Silent;
        }
    }
}
