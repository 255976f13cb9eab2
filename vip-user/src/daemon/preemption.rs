//! Preemption: a holder hands its group over to a fitter node that wants it and has been well for long enough.
//!
//! Here is who that is. The holder decides, as it alone can give its lease away.

use std::collections::BTreeMap;

use crate::membership::{Member, Status};

/// For how long nodes have been as fit as they are, for each of their groups.
#[derive(Debug, Default)]
pub(super) struct Preemption {
    /// By node and group.
    known: BTreeMap<(u16, u32), Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    incarnation: u64,
    priority: u8,
    /// Since when the node has been alive with this priority or a higher one, in CLOCK_BOOTTIME ns.
    since: u64,
}

impl Preemption {
    /// Takes note of who is alive and could hold something at `now`. A node that was restarted starts anew, and so does one that
    /// offers more than before: it has just recovered from something.
    pub(super) fn observe<'a>(&mut self, members: impl Iterator<Item = &'a Member>, now: u64) {
        let alive = members.filter(|member| member.status == Status::Alive);
        let offers = alive.flat_map(|member| member.hello.groups.iter().map(move |offer| (member, offer)));
        self.known = offers
            .filter(|(_, offer)| offer.priority > 0)
            .map(|(member, offer)| {
                let (key, incarnation) = ((member.id, offer.group), member.incarnation);
                let before = self.known.get(&key);
                let before =
                    before.filter(|it| it.incarnation == incarnation && it.priority >= offer.priority);
                let since = before.map_or(now, |before| before.since);
                (key, Known { incarnation, priority: offer.priority, since })
            })
            .collect();
    }

    /// The node that takes over a group which this node holds with `priority`, if there is one: of higher priority,
    /// with preemption switched on, and as fit as that for `delay` ns.
    pub(super) fn successor<'a>(
        &self,
        members: impl Iterator<Item = &'a Member>,
        group: u32,
        priority: u8,
        delay: u64,
        now: u64,
    ) -> Option<&'a Member> {
        members
            .filter(|member| {
                let since = self.known.get(&(member.id, group)).map(|known| known.since);
                let well = since.is_some_and(|since| since.saturating_add(delay) <= now);
                let wants = |offer: &&_| wants(offer, group, priority);
                well && member.hello.groups.iter().any(|offer| wants(&offer))
            })
            .max_by_key(|member| (priority_of(member, group), std::cmp::Reverse(member.id)))
    }
}

fn wants(offer: &crate::membership::Offer, group: u32, priority: u8) -> bool {
    offer.group == group && offer.preempt && offer.priority > priority
}

/// What a member offers for a group, 0 for nothing.
pub(super) fn priority_of(member: &Member, group: u32) -> u8 {
    member.hello.groups.iter().find(|offer| offer.group == group).map_or(0, |offer| offer.priority)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::membership::{Hello, Offer, Standing};

    const GROUP: u32 = 7;
    const DELAY: u64 = 50;

    fn member(id: u16, status: Status, offer: Offer) -> Member {
        let hello = Hello {
            name: format!("lb{id}"),
            version: "1".into(),
            tags: BTreeMap::new(),
            priority: 100,
            expect: 3,
            interval_ns: 10,
            lease_ns: 50,
            groups: vec![offer],
            standing: Standing::Waiting,
            pledge: None,
            remove: None,
            leaving: false,
            period_ms: 1000,
            clock: 0,
            heard: vec![],
        };
        let address = Ipv4Addr::LOCALHOST.into();
        Member {
            id,
            incarnation: 1,
            address,
            status,
            last_heard_ns: 0,
            last_hello_ns: 0,
            speaks_since: 0,
            hello,
        }
    }

    fn eager(id: u16, priority: u8) -> Member {
        member(id, Status::Alive, Offer { group: GROUP, priority, preempt: true })
    }

    /// The successor of a holder of priority 100 at 100, where all were first seen at 0.
    fn successor(members: &[Member], now: u64) -> Option<u16> {
        let mut preemption = Preemption::default();
        preemption.observe(members.iter(), 0);
        preemption.successor(members.iter(), GROUP, 100, DELAY, now).map(|member| member.id)
    }

    #[test]
    fn a_fitter_node_takes_over_after_the_delay_and_not_before() {
        assert_eq!(successor(&[eager(2, 120)], DELAY - 1), None);
        assert_eq!(successor(&[eager(2, 120)], DELAY), Some(2));
    }

    #[test]
    fn the_fittest_goes_first_and_the_lower_id_of_two_equals() {
        assert_eq!(successor(&[eager(2, 120), eager(3, 130)], DELAY), Some(3));
        assert_eq!(successor(&[eager(3, 120), eager(2, 120)], DELAY), Some(2));
    }

    #[test]
    fn equals_others_groups_the_modest_and_the_dead_do_not_take_over() {
        let offer = Offer { group: GROUP, priority: 120, preempt: true };
        assert_eq!(successor(&[eager(2, 100)], DELAY), None);
        assert_eq!(successor(&[member(2, Status::Alive, Offer { group: 8, ..offer })], DELAY), None);
        assert_eq!(successor(&[member(2, Status::Alive, Offer { preempt: false, ..offer })], DELAY), None);
        assert_eq!(successor(&[member(2, Status::Failed, offer)], DELAY), None);
    }

    #[test]
    fn who_could_not_serve_for_a_while_waits_anew() {
        let mut preemption = Preemption::default();
        for (priority, at) in [(120, 0), (0, 20), (120, 40)] {
            preemption.observe([&eager(2, priority)].into_iter(), at);
        }
        let well = eager(2, 120);
        assert!(preemption.successor([&well].into_iter(), GROUP, 100, DELAY, 60).is_none());
        assert!(preemption.successor([&well].into_iter(), GROUP, 100, DELAY, 90).is_some());
    }

    #[test]
    fn who_has_been_less_fit_for_a_while_waits_anew_and_who_gets_less_fit_does_not() {
        let mut preemption = Preemption::default();
        for (priority, at) in [(120, 0), (90, 20), (120, 40)] {
            preemption.observe([&eager(2, priority)].into_iter(), at);
        }
        let well = eager(2, 120);
        assert!(preemption.successor([&well].into_iter(), GROUP, 100, DELAY, 60).is_none());
        assert!(preemption.successor([&well].into_iter(), GROUP, 100, DELAY, 90).is_some());
        let less = eager(2, 110);
        preemption.observe([&less].into_iter(), 80);
        assert!(preemption.successor([&less].into_iter(), GROUP, 100, DELAY, 90).is_some());
    }

    #[test]
    fn a_restart_starts_the_delay_anew() {
        let (before, after) = (eager(2, 120), Member { incarnation: 2, ..eager(2, 120) });
        let mut preemption = Preemption::default();
        preemption.observe([&before].into_iter(), 0);
        preemption.observe([&after].into_iter(), 40);
        assert!(preemption.successor([&after].into_iter(), GROUP, 100, DELAY, 60).is_none());
        assert!(preemption.successor([&after].into_iter(), GROUP, 100, DELAY, 90).is_some());
    }
}
