//! What a node makes of a group at this moment, by its settings, its interfaces, its checks and its operator: without clock,
//! map or message.
//!
//! What is not known yet (a check that has not passed since the daemon's start) is no reason to take a group, and none to give
//! up one that is held: a daemon that is started again goes on with its leases.

use crate::config::{Check, Effect};
use crate::health::Verdict;
use crate::vrrp::Presence;

/// The largest priority that weights can lead to; the least one is 1, for 0 means never.
const HIGHEST: i32 = 254;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fitness {
    /// With the weights of the checks.
    pub(super) priority: u8,
    /// What it would be if all checks passed.
    pub(super) best: u8,
    pub(super) duty: Duty,
}

/// What a node may do with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Take it and hold it.
    Serve,
    /// Not take it: it is not known yet whether all is well.
    Wait,
    /// Not take it, and give up what it holds at once: a router of VRRP serves the VIPs.
    StandBack,
    /// Not take it. What it holds goes to another node as soon as one can have it, and is served until then.
    Leave,
    /// Not take it. What it holds goes to another node, or to nobody.
    Stop,
}

/// What there is to know of a node, for one of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// As configured; 0 never holds, and gives up what it holds, as after a reload.
    pub(super) priority: u8,
    /// Whether frames for the VIPs could be answered.
    pub(super) can_serve: bool,
    /// The node is to hold nothing: an operator wants that, or its daemon is about to end.
    pub(super) is_unwanted: bool,
    /// Whether this node serves the group.
    pub(super) is_served: bool,
    /// What is heard of the virtual router that the group heeds.
    pub(super) heard: Option<Presence>,
}

impl Fitness {
    /// What comes of it; `checks` are those that concern the group.
    pub(super) fn of<'c>(
        circumstances: Circumstances,
        checks: impl Iterator<Item = (&'c Check, Verdict)>,
    ) -> Self {
        let Circumstances { priority, can_serve, is_unwanted, is_served, heard } = circumstances;
        let (mut is_weighted, mut sum, mut best) = (false, i32::from(priority), i32::from(priority));
        let (mut has_failed, mut is_pending) = (!can_serve || priority == 0, false);
        for (check, verdict) in checks {
            has_failed |= check.effect == Effect::Fatal && verdict == Verdict::Failing;
            is_pending |= check.effect == Effect::Fatal && verdict == Verdict::Pending;
            let passes = verdict == Verdict::Passing || (verdict == Verdict::Pending && is_served);
            let (passing, failing) = check.weights();
            is_weighted |= check.effect != Effect::Fatal;
            sum += i32::from(if passes { passing } else { failing });
            best += i32::from(passing);
        }
        let bounded = |sum: i32| match is_weighted {
            true => u8::try_from(sum.clamp(1, HIGHEST)).unwrap_or(priority),
            false => priority,
        };
        is_pending |= heard == Some(Presence::Unknown);
        let duty = match () {
            () if has_failed => Duty::Stop,
            () if matches!(heard, Some(Presence::Active(_))) => Duty::StandBack,
            () if is_unwanted => Duty::Leave,
            () if is_pending && !is_served => Duty::Wait,
            () => Duty::Serve,
        };
        match priority {
            0 => Self { priority: 0, best: 0, duty },
            _ => Self { priority: bounded(sum), best: bounded(best), duty },
        }
    }

    /// The priority that others are told: 0 while this node takes nothing.
    pub(super) fn offer(self) -> u8 {
        if self.duty == Duty::Serve { self.priority } else { 0 }
    }

    /// Whether the election may stand for the group, or go on with it.
    pub(super) fn may_hold(self, is_served: bool) -> bool {
        match self.duty {
            Duty::Serve => true,
            Duty::Leave => is_served,
            Duty::Wait | Duty::StandBack | Duty::Stop => false,
        }
    }

    /// Whether what this node holds is to go to another node, of whatever priority.
    pub(super) fn gives_away(self) -> bool {
        matches!(self.duty, Duty::Leave | Duty::Stop)
    }

    /// Whether a check makes this node less fit than it could be: then it gives way to a fitter one, whether that preempts or
    /// not.
    pub(super) fn is_lowered(self) -> bool {
        self.priority < self.best
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Verdict::{Failing, Passing, Pending};
    use super::*;
    use crate::config::{Probe, Scope};
    use crate::vrrp::Master;

    const WELL: Circumstances =
        Circumstances { priority: 100, can_serve: true, is_unwanted: false, is_served: false, heard: None };
    const SERVING: Circumstances = Circumstances { is_served: true, ..WELL };

    fn fitness(circumstances: Circumstances, checks: &[(i16, Verdict)]) -> Fitness {
        let check = |weight: i16| Check {
            name: "check".into(),
            scope: Scope::Node,
            probe: Probe::Process("x".into()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
            effect: if weight == 0 { Effect::Fatal } else { Effect::Weight(weight) },
        };
        let checks: Vec<_> = checks.iter().map(|(weight, verdict)| (check(*weight), *verdict)).collect();
        Fitness::of(circumstances, checks.iter().map(|(check, verdict)| (check, *verdict)))
    }

    #[test]
    fn a_weight_is_added_while_it_applies_and_the_sum_stays_within_1_and_254() {
        let priority = |priority, checks: &[_]| fitness(Circumstances { priority, ..WELL }, checks).priority;
        assert_eq!(priority(100, &[(-30, Passing), (20, Passing)]), 120);
        assert_eq!(priority(100, &[(-30, Failing), (20, Failing)]), 70);
        assert_eq!(priority(100, &[(-253, Failing)]), 1);
        assert_eq!(priority(250, &[(20, Passing)]), 254);
        assert_eq!(priority(255, &[]), 255);
    }

    #[test]
    fn a_witness_stays_one_whatever_its_checks_say() {
        for checks in [&[][..], &[(20, Passing)]] {
            let witness = fitness(Circumstances { priority: 0, ..SERVING }, checks);
            assert_eq!((witness.offer(), witness.may_hold(true), witness.gives_away()), (0, false, true));
        }
    }

    #[test]
    fn only_what_could_be_better_counts_as_lowered() {
        let is_lowered = |checks: &[_]| fitness(SERVING, checks).is_lowered();
        assert!(!is_lowered(&[(-30, Passing), (20, Passing)]));
        assert!(is_lowered(&[(-30, Failing)]) && is_lowered(&[(20, Failing)]));
        assert!(!is_lowered(&[(0, Failing)]), "it cannot hold at all");
    }

    #[test]
    fn a_fatal_check_that_fails_takes_the_group_and_so_does_what_cannot_serve() {
        for serving in [WELL, SERVING] {
            assert_eq!(fitness(serving, &[(0, Failing), (0, Passing)]).duty, Duty::Stop);
            assert_eq!(fitness(Circumstances { can_serve: false, ..serving }, &[]).duty, Duty::Stop);
        }
        let failed = fitness(SERVING, &[(0, Failing)]);
        assert_eq!((failed.offer(), failed.may_hold(true), failed.gives_away()), (0, false, true));
        assert_eq!(fitness(SERVING, &[(-30, Failing)]).duty, Duty::Serve);
    }

    #[test]
    fn what_is_not_known_yet_lets_nobody_take_a_group_and_nobody_lose_one() {
        let waits = fitness(WELL, &[(0, Pending)]);
        assert_eq!((waits.duty, waits.offer(), waits.may_hold(false)), (Duty::Wait, 0, false));
        let goes_on = fitness(SERVING, &[(0, Pending), (-30, Pending), (20, Pending)]);
        assert_eq!((goes_on.duty, goes_on.offer(), goes_on.is_lowered()), (Duty::Serve, 120, false));
        assert_eq!(fitness(WELL, &[(-30, Pending), (20, Pending)]).offer(), 70);
    }

    #[test]
    fn who_hears_a_router_stands_back_and_who_does_not_know_yet_takes_nothing() {
        let router = Presence::Active(Master { address: [10, 0, 0, 2].into(), priority: 100 });
        let hearing =
            |heard, is_served| fitness(Circumstances { heard: Some(heard), is_served, ..WELL }, &[]);
        for is_served in [false, true] {
            let back = hearing(router, is_served);
            assert_eq!((back.offer(), back.may_hold(is_served), back.gives_away()), (0, false, false));
            assert_eq!(hearing(Presence::Silent, is_served).duty, Duty::Serve);
        }
        assert_eq!(hearing(Presence::Unknown, false).duty, Duty::Wait);
        assert_eq!(hearing(Presence::Unknown, true).duty, Duty::Serve);
    }

    #[test]
    fn in_maintenance_a_node_takes_nothing_and_serves_what_it_has_until_that_has_gone() {
        let held = fitness(Circumstances { is_unwanted: true, ..SERVING }, &[]);
        assert_eq!((held.offer(), held.may_hold(true), held.gives_away()), (0, true, true));
        assert!(!held.may_hold(false));
        let failed = fitness(Circumstances { is_unwanted: true, ..SERVING }, &[(0, Failing)]);
        assert_eq!(failed.duty, Duty::Stop);
    }
}
