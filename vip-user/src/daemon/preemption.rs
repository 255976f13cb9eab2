//! Preemption: a holder gives its group up to a fitter node that asks for it and has been well for long enough.
//!
//! The holder decides, as it alone can release its lease; the fitter node then stands first, by its rank.

use std::collections::BTreeMap;

use crate::membership::{Member, Status};

/// Since when each other node has been alive without interruption, in CLOCK_BOOTTIME ns.
#[derive(Debug, Default)]
pub(super) struct Preemption {
    alive_since: BTreeMap<u16, (u64, u64)>,
}

impl Preemption {
    /// Takes note of who is alive at `now`. A node that was restarted starts anew.
    pub(super) fn observe<'a>(&mut self, members: impl Iterator<Item = &'a Member>, now: u64) {
        let alive = members.filter(|member| member.status == Status::Alive);
        self.alive_since = alive
            .map(|member| {
                let known = self.alive_since.get(&member.id).filter(|known| known.0 == member.incarnation);
                (member.id, (member.incarnation, known.map_or(now, |known| known.1)))
            })
            .collect();
    }

    /// The node that takes over a group which this node holds with `priority`, if there is one: of higher priority,
    /// with preemption switched on, and alive for `delay` ns.
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
                let since = self.alive_since.get(&member.id).map(|known| known.1);
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
