//! How soon a node gives way again for a check that lowers its priority: at once the first time, and the later the more often it
//! has done so lately. Checks that come and go on several nodes would else send a group round and round.

/// After the first time, in ns.
const SHORTEST: u64 = 1_000_000_000;
/// In ns.
const LONGEST: u64 = 64_000_000_000;

/// See the module. All times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    not_before: u64,
    pause: u64,
}

impl Backoff {
    pub(super) fn allows(self, now: u64) -> bool {
        self.not_before <= now
    }

    /// The node gives way. The next pause is twice as long as the last one, or the shortest one if that was over for longer
    /// than the longest.
    pub(super) fn note(&mut self, now: u64) {
        let is_calm = now.saturating_sub(self.not_before) > LONGEST;
        self.pause = if is_calm { SHORTEST } else { (2 * self.pause).clamp(SHORTEST, LONGEST) };
        self.not_before = now.saturating_add(self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// How often a node gives way within so many seconds from `start` on, that wants to all the time.
    fn times(backoff: &mut Backoff, start: u64, seconds: u64) -> usize {
        let given = (start * 10..(start + seconds) * 10).filter(|tenth| {
            let now = tenth * S / 10;
            let allows = backoff.allows(now);
            if allows {
                backoff.note(now);
            }
            allows
        });
        given.count()
    }

    #[test]
    fn who_wants_to_give_way_all_the_time_may_so_ever_more_rarely() {
        let mut backoff = Backoff::default();
        // At 0, 1, 3, 7, 15, 31 and 63 s, and from then on every 64 s.
        assert_eq!(times(&mut backoff, 1_000, 64), 7);
        assert_eq!(times(&mut backoff, 1_064, 640), 10);
    }

    #[test]
    fn after_a_calm_time_the_first_one_is_at_once_and_the_second_one_soon() {
        let mut backoff = Backoff::default();
        times(&mut backoff, 1_000, 640);
        assert_eq!(times(&mut backoff, 2_000, 2), 2);
    }
}
