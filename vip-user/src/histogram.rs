//! How long something took, counted by how long: what quantiles are estimated from.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the counts, in ns; what takes longer than the last one has a count of its own.
pub const BOUNDS: [u64; 14] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
];

/// Durations counted by [`BOUNDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took at most so long, and longer than the bound before.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All of them together, in ns.
    pub sum: u64,
}

impl Histogram {
    /// Counts one, in ns.
    pub fn record(&mut self, ns: u64) {
        self.counts[place(ns)] += 1;
        self.sum = self.sum.saturating_add(ns);
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// As [`Histogram`], for a thread that must not wait: counting is a few stores into memory, and takes no lock.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
    worst: AtomicU64,
}

impl SharedHistogram {
    /// Counts one, in ns.
    pub fn record(&self, ns: u64) {
        self.counts[place(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(ns, Ordering::Relaxed);
        self.worst.fetch_max(ns, Ordering::Relaxed);
    }

    /// What has been counted so far. Read one after the other, its parts may be of two neighbouring moments.
    #[must_use]
    pub fn read(&self) -> Histogram {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Histogram { counts, sum: self.sum.load(Ordering::Relaxed) }
    }

    /// The longest one since this was asked last, in ns; 0 if there was none.
    pub fn take_worst(&self) -> u64 {
        self.worst.swap(0, Ordering::Relaxed)
    }
}

fn place(ns: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_at_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        let shared = SharedHistogram::default();
        for ns in [0, 10_000, 10_001, 250_000_000, 250_000_001, 1 << 40] {
            histogram.record(ns);
            shared.record(ns);
        }
        let counted = |place: usize| histogram.counts[place];
        assert_eq!([0, 1, 2, 13, 14].map(counted), [2, 1, 0, 1, 2]);
        assert_eq!(histogram.total(), 6);
        assert_eq!(histogram.sum, 500_020_002 + (1 << 40));
        assert_eq!(shared.read(), histogram);
        assert_eq!([shared.take_worst(), shared.take_worst()], [1 << 40, 0]);
    }
}
