//! The groups as the control plane knows them: this node's part, and how it has changed.

use std::time::SystemTime;

use vip_common::lease::held;

use crate::config;
use crate::dataplane::{Word, Words};
use crate::election::{GiveUp, State};
use crate::pace::Pace;
use crate::status::{GroupState, GroupStatus, rfc3339_millis};

/// A group that nobody holds for so long is worth a warning, in ns.
const VACANCY_WARNING_DELAY: u64 = 1_000_000_000;
/// And again so much later, in ns.
const VACANCY_WARNING_PERIOD: u64 = 10_000_000_000;

/// One group on this node.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) settings: config::Group,
    /// Its place in the data plane's maps.
    pub(super) slot: u32,
    /// Hash of its name.
    pub(super) id: u32,
    /// When its acceptor speaks again, in CLOCK_BOOTTIME ns.
    pub(super) quarantine_until: u64,
    /// What the election said last.
    pub(super) part: State,
    /// The node that held it when that was last looked at.
    pub(super) last_holder: Option<u16>,
    /// Why this node was not elected when it stood last.
    pub(super) last_failure: Option<GiveUp>,
    /// Candidacies to be told in the log.
    pub(super) candidacies: Pace,
    vacant_since: Option<u64>,
    vacancy_warnings: Pace,
    state: GroupState,
    transitions: u64,
    since: SystemTime,
}

impl Group {
    pub(super) fn new(settings: config::Group, slot: u32, id: u32, quarantine_until: u64) -> Self {
        Self {
            state: if settings.priority == 0 { GroupState::Witness } else { GroupState::Quarantine },
            settings,
            slot,
            id,
            quarantine_until,
            part: State::Follower,
            last_holder: None,
            last_failure: None,
            candidacies: Pace::new(0, VACANCY_WARNING_PERIOD),
            vacant_since: None,
            vacancy_warnings: Pace::new(0, VACANCY_WARNING_PERIOD),
            transitions: 0,
            since: SystemTime::now(),
        }
    }

    /// Looks at the group at `now`, and counts a change of this node's state.
    pub(super) fn observe(&mut self, word: Word, can_serve: bool, now: u64) {
        let state = self.state_at(word, can_serve, now);
        if state != self.state {
            self.state = state;
            self.transitions += 1;
            self.since = SystemTime::now();
        }
    }

    fn state_at(&self, word: Word, can_serve: bool, now: u64) -> GroupState {
        match self.part {
            _ if self.settings.priority == 0 => GroupState::Witness,
            State::Holder if held(word.lease_until, now) => GroupState::Master,
            _ if !can_serve => GroupState::Fault,
            _ if now < self.quarantine_until => GroupState::Quarantine,
            State::Candidate if holder(word, now).is_none() => GroupState::Candidate,
            State::Holder | State::Candidate | State::Follower => GroupState::Backup,
        }
    }

    /// Why nobody holds the group although this node stands for it, when that has lasted and is to be said (again).
    pub(super) fn vacancy(&mut self, word: Word, now: u64) -> Option<GiveUp> {
        if self.part != State::Candidate || holder(word, now).is_some() {
            self.vacant_since = None;
            return None;
        }
        let since = *self.vacant_since.get_or_insert(now);
        let lasts = now.saturating_sub(since) >= VACANCY_WARNING_DELAY;
        self.last_failure.filter(|_| lasts && self.vacancy_warnings.allows(now))
    }

    /// What `status` shows; `name_of` knows the nodes.
    pub(super) fn status(&self, words: &Words, now: u64, name_of: impl Fn(u16) -> String) -> GroupStatus {
        let word = words.read(self.slot);
        let until = if self.state == GroupState::Master { word.lease_until } else { word.holder_until };
        GroupStatus {
            name: self.settings.name.clone(),
            state: self.state,
            holder: holder(word, now).map(name_of),
            ballot: word.holder_ballot.to_string(),
            lease_remaining_ms: until.saturating_sub(now) as f64 / 1e6,
            vips: self.settings.vips.iter().map(ToString::to_string).collect(),
            priority: self.settings.priority,
            transitions: self.transitions,
            since: rfc3339_millis(self.since),
        }
    }
}

/// The node whose lease runs, as far as this node's acceptor knows.
pub(super) fn holder(word: Word, now: u64) -> Option<u16> {
    Some(word.holder_ballot.node()).filter(|node| *node != 0 && held(word.holder_until, now))
}
