//! Whether a check passes, by its runs: several in a row, so that one that went wrong by chance changes nothing.

/// Whether a check passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not passed yet since the start, nor failed often enough.
    Pending,
    /// It does.
    Passing,
    /// It does not.
    Failing,
}

/// The runs of one check so far.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    rise: u16,
    fall: u16,
    verdict: Verdict,
    /// Runs in a row, up to the last one, that contradict the verdict.
    against: u16,
}

impl Judge {
    /// Before the first run. It takes `rise` runs in a row that pass, or `fall` that fail, to change the verdict; only the first
    /// one that passes is enough by itself, for nothing is known to be wrong.
    pub(super) const fn new(rise: u16, fall: u16) -> Self {
        Self { rise, fall, verdict: Verdict::Pending, against: 0 }
    }

    /// The same verdict, and so many runs to change it from now on.
    pub(super) const fn with(&self, rise: u16, fall: u16) -> Self {
        Self { rise, fall, verdict: self.verdict, against: 0 }
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// A run has ended; gives whether the verdict has changed.
    pub(super) fn observe(&mut self, passed: bool) -> bool {
        let (next, needed) = match (self.verdict, passed) {
            (Verdict::Pending, true) => (Verdict::Passing, 1),
            (Verdict::Failing, true) => (Verdict::Passing, self.rise),
            (Verdict::Pending | Verdict::Passing, false) => (Verdict::Failing, self.fall),
            (Verdict::Passing, true) | (Verdict::Failing, false) => {
                self.against = 0;
                return false;
            }
        };
        self.against = self.against.saturating_add(1);
        let has_changed = self.against >= needed;
        if has_changed {
            self.verdict = next;
            self.against = 0;
        }
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Failing, Passing, Pending};
    use super::*;

    /// The verdicts after each of these runs (`+` passes, `-` fails), with rise 2 and fall 3.
    fn verdicts(runs: &str) -> Vec<Verdict> {
        let mut judge = Judge::new(2, 3);
        let observe = |run| {
            let before = judge.verdict();
            assert_eq!(judge.observe(run == '+'), judge.verdict() != before);
            judge.verdict()
        };
        runs.chars().map(observe).collect()
    }

    #[test]
    fn the_first_run_that_passes_is_enough_at_the_start() {
        assert_eq!(verdicts("+"), [Passing]);
        assert_eq!(verdicts("--+"), [Pending, Pending, Passing]);
    }

    #[test]
    fn it_fails_after_so_many_in_a_row_and_not_by_some_in_between() {
        assert_eq!(verdicts("---"), [Pending, Pending, Failing]);
        assert_eq!(verdicts("+--+---"), [Passing, Passing, Passing, Passing, Passing, Passing, Failing]);
    }

    #[test]
    fn it_passes_again_after_so_many_in_a_row_and_not_by_some_in_between() {
        assert_eq!(verdicts("---+-++")[3..], [Failing, Failing, Failing, Passing]);
    }

    #[test]
    fn a_check_that_changes_with_each_run_stays_what_it_is() {
        assert_eq!(verdicts("+-+-+-+-+-").last(), Some(&Passing));
        assert_eq!(verdicts("---+-+-+-+").last(), Some(&Failing));
    }

    #[test]
    fn with_one_each_every_run_decides() {
        let mut judge = Judge::new(1, 1);
        assert_eq!([false, true, false, false].map(|run| judge.observe(run)), [true, true, true, false]);
    }
}
