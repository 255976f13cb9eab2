//! When to announce which group, as pure bookkeeping: takes the time, gives bursts and the next deadline.
//!
//! No clock, no socket and no frame is in here; [`super`] drives it. It allocates nothing after it is made.

use std::ops::Range;
use std::time::{Duration, Instant};

/// When to announce after a promotion. The first one moves the traffic; the others are for switches and hosts that
/// were not ready for it or lost it.
pub const POINTS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(100), Duration::from_millis(1000)];

/// How often to announce after the last of [`POINTS`], for hosts that were away and caches that went wrong.
pub const REFRESH: Duration = Duration::from_secs(30);

/// Frames sent in one go at most.
pub const BURST: usize = 64;

/// Time from the start of one burst to the start of the next: 64 frames in 1.28 ms are 50,000 frames a second.
pub const BURST_INTERVAL: Duration = Duration::from_micros(1280);

/// Frames of one group, to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Position of the group in the list that [`Schedule::new`] was given.
    pub group: usize,
    /// Which of its frames.
    pub frames: Range<usize>,
}

/// The announcements to come, of all groups. Groups that are due together take turns, burst by burst, so that a
/// small group does not wait for a large one.
#[derive(Debug)]
pub struct Schedule {
    groups: Vec<Group>,
    /// Where the search for the next burst starts: after the group that had the last one.
    turn: usize,
    /// Start of the present interval of [`BURST_INTERVAL`], if one was started, and what it has been used for.
    window: Option<Instant>,
    sent: usize,
}

/// A round sends every frame of the group once; a point is a time at which a round is to start.
#[derive(Debug)]
struct Group {
    frames: usize,
    /// The next point, for a group that is announced.
    plan: Option<Plan>,
    /// The first frame not yet sent in the present round.
    cursor: Option<usize>,
}

#[derive(Debug)]
struct Plan {
    promoted: Instant,
    /// Points passed since.
    passed: usize,
    next: Instant,
}

impl Schedule {
    /// A schedule for groups of so many frames each, none of them announced yet.
    pub fn new(frames: impl IntoIterator<Item = usize>) -> Schedule {
        let groups = frames.into_iter().map(|frames| Group { frames, plan: None, cursor: None }).collect();
        Schedule { groups, turn: 0, window: None, sent: 0 }
    }

    /// Starts the announcements of a group, or starts them anew. A group without frames or out of range is ignored.
    pub fn promoted(&mut self, group: usize, now: Instant) {
        if let Some(group) = self.groups.get_mut(group).filter(|group| group.frames > 0) {
            group.plan = Some(Plan { promoted: now, passed: 0, next: now + POINTS[0] });
            group.cursor = None;
        }
    }

    /// Ends the announcements of a group.
    pub fn demoted(&mut self, group: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.plan = None;
            group.cursor = None;
        }
    }

    /// Ends the present round of a group; the next one starts at its time.
    pub fn skip_round(&mut self, group: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.cursor = None;
        }
    }

    /// When to call [`Self::poll`] next; `None` while no group is announced.
    pub fn deadline(&self) -> Option<Instant> {
        let running = self.groups.iter().any(|group| group.cursor.is_some());
        // A running round is due at once, for which the start of its interval stands.
        let due = if running { self.window } else { self.groups.iter().filter_map(Group::next_point).min() };
        due.map(|due| self.pause_end().map_or(due, |end| end.max(due)))
    }

    /// The next burst, if one may be sent now. To be called until it gives none.
    pub fn poll(&mut self, now: Instant) -> Option<Burst> {
        if self.window.is_none_or(|start| now >= start + BURST_INTERVAL) {
            self.window = None;
            self.sent = 0;
        }
        if self.sent >= BURST {
            return None;
        }
        for group in &mut self.groups {
            group.start_round(now);
        }
        let count = self.groups.len();
        let group =
            (0..count).map(|step| (self.turn + step) % count).find(|at| self.groups[*at].cursor.is_some())?;
        let frames = self.groups[group].take(BURST - self.sent)?;
        self.turn = group + 1;
        self.window.get_or_insert(now);
        self.sent += frames.len();
        Some(Burst { group, frames })
    }

    /// End of the pause after a full burst.
    fn pause_end(&self) -> Option<Instant> {
        self.window.filter(|_| self.sent >= BURST).map(|start| start + BURST_INTERVAL)
    }
}

impl Group {
    fn next_point(&self) -> Option<Instant> {
        self.plan.as_ref().map(|plan| plan.next)
    }

    /// Starts a round if its point has come and the former round is over. Points that were missed meanwhile are
    /// passed over: a second round at once would tell nobody anything new.
    fn start_round(&mut self, now: Instant) {
        if self.cursor.is_some() {
            return;
        }
        if let Some(plan) = &mut self.plan
            && plan.next <= now
        {
            plan.pass(now);
            self.cursor = Some(0);
        }
    }

    /// Takes up to `limit` frames of the present round.
    fn take(&mut self, limit: usize) -> Option<Range<usize>> {
        let start = self.cursor?;
        let end = self.frames.min(start + limit);
        self.cursor = (end < self.frames).then_some(end);
        Some(start..end)
    }
}

impl Plan {
    fn pass(&mut self, now: Instant) {
        while self.next <= now {
            self.passed += 1;
            self.next = POINTS.get(self.passed).map_or(self.next + REFRESH, |point| self.promoted + *point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the schedule as its driver does, on a clock that jumps from deadline to deadline, and gives each burst
    /// with its time in microseconds.
    fn run(schedule: &mut Schedule, start: Instant, until: Duration) -> Vec<(u128, Burst)> {
        let mut log = Vec::new();
        while let Some(now) = schedule.deadline().filter(|now| *now <= start + until) {
            while let Some(burst) = schedule.poll(now) {
                log.push((now.duration_since(start).as_micros(), burst));
            }
        }
        log
    }

    fn times(log: &[(u128, Burst)]) -> Vec<u128> {
        log.iter().map(|(time, _)| *time).collect()
    }

    #[test]
    fn nothing_is_due_before_a_promotion_and_after_a_demotion() {
        let (mut schedule, now) = (Schedule::new([2]), Instant::now());
        assert_eq!(schedule.deadline(), None);
        schedule.promoted(0, now);
        assert_eq!(schedule.deadline(), Some(now));
        schedule.demoted(0);
        assert_eq!((schedule.deadline(), schedule.poll(now)), (None, None));
    }

    #[test]
    fn a_promotion_is_announced_at_its_points_and_then_refreshed() {
        let (mut schedule, start) = (Schedule::new([2]), Instant::now());
        schedule.promoted(0, start);
        let log = run(&mut schedule, start, Duration::from_secs(62));
        assert_eq!(times(&log), [0, 10_000, 100_000, 1_000_000, 31_000_000, 61_000_000]);
        assert!(log.iter().all(|(_, burst)| *burst == Burst { group: 0, frames: 0..2 }));
    }

    #[test]
    fn a_second_promotion_starts_anew() {
        let (mut schedule, start) = (Schedule::new([2]), Instant::now());
        schedule.promoted(0, start);
        run(&mut schedule, start, Duration::from_secs(2));
        let again = start + Duration::from_secs(3);
        schedule.promoted(0, again);
        assert_eq!(times(&run(&mut schedule, again, Duration::from_millis(100))), [0, 10_000, 100_000]);
    }

    #[test]
    fn a_large_group_is_sent_in_paced_bursts_without_gaps() {
        let (mut schedule, start) = (Schedule::new([150]), Instant::now());
        schedule.promoted(0, start);
        let log = run(&mut schedule, start, Duration::from_millis(9));
        assert_eq!(times(&log), [0, 1280, 2560]);
        assert_eq!(
            log.into_iter().map(|(_, burst)| burst.frames).collect::<Vec<_>>(),
            [0..64, 64..128, 128..150]
        );
    }

    #[test]
    fn the_rate_stays_below_50_000_frames_a_second() {
        let (mut schedule, start) = (Schedule::new([20_000, 1, 63, 20_000]), Instant::now());
        (0..4).for_each(|group| schedule.promoted(group, start));
        let log = run(&mut schedule, start, Duration::from_millis(500));
        for window in log.iter().map(|(time, _)| time / 1280) {
            let frames =
                log.iter().filter(|(time, _)| time / 1280 == window).map(|(_, burst)| burst.frames.len());
            assert!(frames.sum::<usize>() <= BURST);
        }
    }

    #[test]
    fn points_missed_during_a_long_round_make_one_round() {
        let (mut schedule, start) = (Schedule::new([20_000]), Instant::now());
        schedule.promoted(0, start);
        let log = run(&mut schedule, start, Duration::from_secs(3));
        let rounds: Vec<u128> =
            log.iter().filter(|(_, burst)| burst.frames.start == 0).map(|(time, _)| time / 1000).collect();
        // A round takes 312.5 bursts of 1.28 ms: the points at 10 and 100 ms share the second round.
        assert_eq!(rounds, [0, 399, 1000]);
    }

    #[test]
    fn a_small_group_does_not_wait_for_a_large_one() {
        let (mut schedule, start) = (Schedule::new([20_000, 2]), Instant::now());
        schedule.promoted(0, start);
        run(&mut schedule, start, Duration::from_millis(5));
        let later = start + Duration::from_millis(5);
        schedule.promoted(1, later);
        let log = run(&mut schedule, later, Duration::from_millis(3));
        assert_eq!(log.iter().position(|(_, burst)| burst.group == 1), Some(0));
    }

    #[test]
    fn a_skipped_round_leaves_the_later_points() {
        let (mut schedule, start) = (Schedule::new([150]), Instant::now());
        schedule.promoted(0, start);
        assert!(schedule.poll(start).is_some());
        schedule.skip_round(0);
        assert_eq!(schedule.deadline(), Some(start + POINTS[1]));
    }

    #[test]
    fn groups_without_frames_and_unknown_ones_are_ignored() {
        let (mut schedule, now) = (Schedule::new([0]), Instant::now());
        schedule.promoted(0, now);
        schedule.promoted(7, now);
        schedule.demoted(7);
        assert_eq!(schedule.deadline(), None);
    }
}
