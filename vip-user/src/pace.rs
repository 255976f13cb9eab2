//! What may be said, or done, again and again, but not all the time.

/// Lets one thing through per period. Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    period: u64,
    next: u64,
}

impl Pace {
    /// One that lets the first thing through at `first`, and others at least `period` apart.
    pub const fn new(first: u64, period: u64) -> Self {
        Self { period, next: first }
    }

    /// Whether it may happen at `now`; if so, it counts as having happened.
    pub const fn allows(&mut self, now: u64) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now.saturating_add(self.period);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_passes_per_period_and_a_late_one_starts_a_new_period() {
        let mut pace = Pace::new(5, 10);
        let times = [4, 5, 14, 15, 40, 49, 50];
        assert_eq!(times.map(|now| pace.allows(now)), [false, true, false, true, true, false, true]);
    }
}
