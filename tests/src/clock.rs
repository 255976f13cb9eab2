//! The instruments' one clock: CLOCK_MONOTONIC, as a number that fits an atomic, and sleeping until a moment of it.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
};

/// A moment of CLOCK_MONOTONIC, in nanoseconds. All namespaces of a machine share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// This moment.
    pub fn now() -> Self {
        // CLOCK_MONOTONIC exists on every Linux, and the pointer is ours: the call has no other way to fail.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self(nanos(now))
    }

    /// The moment that [`Stamp::as_nanos`] gave the number of.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds of CLOCK_MONOTONIC; never 0 on a machine that has booted.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long this moment is past `earlier`; zero if it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Sleeps until this moment; returns at once if it is past. Signals do not shorten the sleep.
    pub fn sleep_until(self) {
        let deadline = TimeSpec::from(Duration::from_nanos(self.0));
        while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &deadline)
            == Err(nix::errno::Errno::EINTR)
        {}
    }
}

impl Add<Duration> for Stamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for Stamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// Saturates after 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
