//! A node's CLOCK_BOOTTIME: even, but for changes of its rate, and never set back while the machine is up.

/// Rates are given in parts of this.
pub const NOMINAL: u64 = 1_000_000;
/// The slowest rate. Any two rates differ by less than the bound of 1 %, these two just so.
pub const SLOWEST: u64 = 995_026;
/// The fastest rate.
pub const FASTEST: u64 = 1_004_974;

/// A clock that runs evenly from the last change of its rate on. All times are in ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    rate: u64,
    /// True time of the last change.
    changed_at: u64,
    /// What the clock showed then.
    showed: u64,
}

impl Clock {
    /// A clock that shows `shows` at true time `now`.
    pub(crate) const fn new(rate: u64, now: u64, shows: u64) -> Self {
        Self { rate, changed_at: now, showed: shows }
    }

    /// What it shows at a true time, not before its last change.
    pub(crate) const fn read(&self, now: u64) -> u64 {
        self.showed + (now - self.changed_at) * self.rate / NOMINAL
    }

    /// The first true time at which it shows `local` or more, if its rate stays.
    pub(crate) const fn reaches(&self, local: u64) -> u64 {
        self.changed_at + (local.saturating_sub(self.showed) * NOMINAL).div_ceil(self.rate)
    }

    /// Goes on from `now` at another rate.
    pub(crate) const fn set_rate(&mut self, rate: u64, now: u64) {
        *self = Self::new(rate, now, self.read(now));
    }

    /// The machine starts anew at `now`: what the clock showed before means nothing any more.
    pub(crate) const fn reboot(&mut self, now: u64, shows: u64) {
        *self = Self::new(self.rate, now, shows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reaches_what_it_shows_at_any_rate() {
        for rate in [SLOWEST, NOMINAL, FASTEST] {
            let mut clock = Clock::new(rate, 1_000, 77);
            for local in [78, 1_000_000, 1_000_000_007] {
                let at = clock.reaches(local);
                assert!(clock.read(at) >= local && clock.read(at - 1) < local, "rate {rate}, {local}");
            }
            clock.set_rate(SLOWEST, 5_000);
            assert_eq!(clock.read(5_000), 77 + 4_000 * rate / NOMINAL, "a change of rate is no jump");
        }
    }

    #[test]
    fn the_rates_differ_by_almost_the_bound() {
        let slower_by = |rate: u64| NOMINAL - SLOWEST * NOMINAL / rate;
        assert!(slower_by(FASTEST) < NOMINAL / 100 && slower_by(FASTEST) > 989 * NOMINAL / 100_000);
    }
}
