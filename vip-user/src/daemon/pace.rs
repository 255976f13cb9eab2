//! Log lines that may repeat, at most so often.

/// Lets one through per period.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    next: u64,
}

impl Pace {
    /// Whether it may be said at `now`; if so, it is silent for `period`. Both in ns.
    pub(super) fn allows(&mut self, now: u64, period: u64) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now.saturating_add(period);
        }
        due
    }
}
