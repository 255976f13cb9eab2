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

/// Lets so many things through in a second, and more at once after a quiet time. Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Time that each one takes, in ns.
    each: u64,
    /// Time that can be spent in advance, in ns.
    credit: u64,
    /// Until when all is spent that was taken.
    spent_until: u64,
}

impl Budget {
    /// One that lets `count` things through in a second, at least one, and twice as many at once.
    pub const fn per_second(count: u32) -> Self {
        Self { each: SECOND / if count == 0 { 1 } else { count as u64 }, credit: 2 * SECOND, spent_until: 0 }
    }

    /// The same one, with so many things at once.
    #[must_use]
    pub const fn with_at_once(self, count: u32) -> Self {
        Self { credit: self.each * count as u64, ..self }
    }

    /// Whether one more may happen at `now`; if so, it counts as having happened.
    pub fn take(&mut self, now: u64) -> bool {
        let spent_until = self.spent_until.max(now).saturating_add(self.each);
        let fits = spent_until - now <= self.credit;
        if fits {
            self.spent_until = spent_until;
        }
        fits
    }
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lets_twice_as_many_through_at_once_and_then_as_many_as_it_says() {
        let mut budget = Budget::per_second(10);
        let mut taken = |now: u64| (0..100).filter(|_| budget.take(now)).count();
        assert_eq!([0, SECOND, SECOND + SECOND / 2, 60 * SECOND].map(&mut taken), [20, 10, 5, 20]);
    }

    #[test]
    fn a_budget_can_be_saved_up_for_more_at_once() {
        let mut budget = Budget::per_second(2).with_at_once(50);
        let mut taken = |now: u64| (0..100).filter(|_| budget.take(now)).count();
        assert_eq!([0, SECOND, 2 * SECOND, 60 * SECOND].map(&mut taken), [50, 2, 2, 50]);
    }

    #[test]
    fn one_thing_passes_per_period_and_a_late_one_starts_a_new_period() {
        let mut pace = Pace::new(5, 10);
        let times = [4, 5, 14, 15, 40, 49, 50];
        assert_eq!(times.map(|now| pace.allows(now)), [false, true, false, true, true, false, true]);
    }
}
