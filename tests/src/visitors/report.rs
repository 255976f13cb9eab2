//! Visits, counted.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Failure, Visit};

/// What is felt.
const SLOW: Duration = Duration::from_millis(50);
/// A second: what TCP waits for before it asks for a connection again, and what a visitor does not wait for.
const VERY_SLOW: Duration = Duration::from_secs(1);

/// What has become of some visits. Times are in milliseconds, and of the answered ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// All of them.
    pub requests: usize,
    /// Those without an answer.
    pub failed: usize,
    /// The same, by the reason.
    pub failures: Failures,
    /// Answered, after more than 50 ms.
    pub slow: usize,
    /// Of those, after a second or more.
    pub very_slow: usize,
    /// Half of the answers took no longer.
    pub median_ms: f64,
    /// Of a hundred answers, 99 took no longer.
    pub p99_ms: f64,
    /// None took longer.
    pub max_ms: f64,
    /// The answers, by the node that they came through.
    pub answered_by: BTreeMap<u8, usize>,
}

/// Requests without an answer, by the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// On a connection that had been used before: whoever takes over knows nothing of it.
    pub broken_kept: usize,
    /// On a connection of its own.
    pub broken_new: usize,
    /// Nothing listened.
    pub refused: usize,
    /// Nobody had the address.
    pub unreachable: usize,
    /// Given up.
    pub timed_out: usize,
    /// Answered by an error.
    pub errors: usize,
}

impl Report {
    /// Of these visits.
    pub fn of<'a>(visits: impl IntoIterator<Item = &'a Visit>) -> Self {
        let (mut report, mut times) = (Self::default(), Vec::new());
        for visit in visits {
            report.requests += 1;
            match visit.outcome {
                Ok(node) => {
                    times.push(visit.took);
                    *report.answered_by.entry(node).or_default() += 1;
                    report.slow += usize::from(visit.took > SLOW);
                    report.very_slow += usize::from(visit.took >= VERY_SLOW);
                }
                Err(failure) => {
                    report.failed += 1;
                    *report.failures.counter(failure, visit.was_kept) += 1;
                }
            }
        }
        times.sort_unstable();
        [report.median_ms, report.p99_ms, report.max_ms] =
            [50, 99, 100].map(|percent| percentile(&times, percent));
        report
    }
}

impl Failures {
    fn counter(&mut self, failure: Failure, was_kept: bool) -> &mut usize {
        match failure {
            Failure::Broken if was_kept => &mut self.broken_kept,
            Failure::Broken => &mut self.broken_new,
            Failure::Refused => &mut self.refused,
            Failure::Unreachable => &mut self.unreachable,
            Failure::TimedOut => &mut self.timed_out,
            Failure::Status(_) => &mut self.errors,
        }
    }
}

/// The least of these times that so many of a hundred do not exceed, in ms; 0 of none.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    rank.checked_sub(1).and_then(|index| sorted.get(index)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;

    fn visit(ms: u64, was_kept: bool, outcome: Result<u8, Failure>) -> Visit {
        Visit { due: Stamp::from_nanos(1), took: Duration::from_millis(ms), was_kept, outcome }
    }

    #[test]
    fn visits_are_counted_by_their_outcomes_and_answers_by_their_times() {
        let report = Report::of(&[
            visit(1, true, Ok(1)),
            visit(51, false, Ok(2)),
            visit(1000, false, Ok(2)),
            visit(200, true, Err(Failure::Broken)),
            visit(5000, false, Err(Failure::TimedOut)),
        ]);
        let failures = Failures { broken_kept: 1, timed_out: 1, ..Failures::default() };
        let expected = Report {
            requests: 5,
            failed: 2,
            failures,
            slow: 2,
            very_slow: 1,
            median_ms: 51.0,
            p99_ms: 1000.0,
            max_ms: 1000.0,
            answered_by: [(1, 1), (2, 2)].into(),
        };
        assert_eq!(report, expected);
        assert_eq!(Report::of(&[]), Report::default());
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&times, percent)), [100.0, 198.0, 200.0]);
    }
}
