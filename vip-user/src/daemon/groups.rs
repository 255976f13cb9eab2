//! The groups as the control plane knows them: this node's part, and how it has changed.

use std::time::SystemTime;

use vip_common::lease::held;

use super::figures::Figures;
use super::fitness::{Duty, Fitness};
use super::handover::Handovers;
use super::happenings::QuorumLoss;
use super::states::Scripts;
use crate::config;
use crate::dataplane::{Word, Words};
use crate::election::{GiveUp, State};
use crate::membership::Offer;
use crate::pace::Pace;
use crate::status::{GroupState, GroupStatus, Protocol, VrrpMaster, rfc3339_millis};
use crate::vrrp::{Master, Presence};

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
    /// A reload takes it away, or makes it anew: this node gives it up.
    pub(super) is_leaving: bool,
    /// When its acceptor speaks again, in CLOCK_BOOTTIME ns.
    pub(super) quarantine_until: u64,
    /// What the election said last.
    pub(super) part: State,
    /// What this node makes of it at the moment.
    pub(super) fitness: Fitness,
    /// Whether this node serves it, or did last and nobody has since.
    pub(super) is_served: bool,
    /// What the lease thread was told last of whether this node may hold it.
    pub(super) eligible: Option<bool>,
    /// The node that held it when that was last looked at.
    pub(super) last_holder: Option<u16>,
    /// The node that was seen to hold it last, this one aside.
    pub(super) last_other_holder: Option<u16>,
    /// Why this node was not elected when it stood last.
    pub(super) last_failure: Option<GiveUp>,
    /// Candidacies to be told in the log.
    pub(super) candidacies: Pace,
    pub(super) handovers: Handovers,
    pub(super) quorum_loss: QuorumLoss,
    pub(super) scripts: Scripts,
    /// When the last lease that this node knows of was over, if nobody has held the group since; in CLOCK_BOOTTIME ns.
    pub(super) unheld_since: Option<u64>,
    pub(super) figures: Figures,
    /// The active router of its virtual router, where that is another one, as far as this node hears.
    pub(super) vrrp_master: Option<Master>,
    /// Its adverts cannot be sent, and so this node cannot be the active router.
    pub(super) is_mute: bool,
    /// What is heard of the virtual router that it heeds.
    pub(super) heard: Option<Presence>,
    /// Since when this node stands in vain.
    vacant_since: Option<u64>,
    vacancy_warnings: Pace,
    state: GroupState,
    transitions: u64,
    since: SystemTime,
}

impl Group {
    pub(super) fn new(settings: config::Group, slot: u32, id: u32, quarantine_until: u64) -> Self {
        Self {
            heard: heard_at_first(&settings),
            vrrp_master: None,
            is_mute: false,
            state: if settings.priority == 0 { GroupState::Witness } else { GroupState::Quarantine },
            fitness: Fitness { priority: settings.priority, best: settings.priority, duty: Duty::Wait },
            is_served: false,
            eligible: None,
            settings,
            slot,
            id,
            is_leaving: false,
            quarantine_until,
            part: State::Follower,
            last_holder: None,
            last_other_holder: None,
            last_failure: None,
            candidacies: Self::few_candidacies(),
            handovers: Handovers::default(),
            quorum_loss: QuorumLoss::default(),
            scripts: Scripts::default(),
            unheld_since: None,
            figures: Figures::default(),
            vacant_since: None,
            vacancy_warnings: Pace::new(0, VACANCY_WARNING_PERIOD),
            transitions: 0,
            since: SystemTime::now(),
        }
    }

    /// The same group, configured in another way.
    pub(super) fn with(mut self, settings: config::Group) -> Self {
        if self.settings.protocol.router() != settings.protocol.router() {
            self.heard = heard_at_first(&settings);
        }
        self.settings = settings;
        self
    }

    /// Whether a lease decides who serves it, and not VRRP.
    pub(super) const fn has_lease(&self) -> bool {
        self.settings.protocol.runs().is_none()
    }

    /// Without a majority a node stands again and again, too fast for a log.
    pub(super) const fn few_candidacies() -> Pace {
        Pace::new(0, VACANCY_WARNING_PERIOD)
    }

    /// What this node is in the group, as of the last [`Group::observe`].
    pub(super) const fn state(&self) -> GroupState {
        self.state
    }

    /// Looks at the group at `now`, and counts a change of this node's state.
    pub(super) fn observe(&mut self, word: Word, now: u64) {
        let is_held = held(word.lease_until, now) || self.vrrp_master.is_some();
        self.figures.observe(
            match self.has_lease() {
                true => word,
                false => Word { holder_until: if is_held { u64::MAX } else { now }, ..word },
            },
            now,
        );
        let state = self.state_at(word, now);
        if state != self.state {
            self.state = state;
            self.transitions += 1;
            self.since = SystemTime::now();
        }
    }

    fn state_at(&self, word: Word, now: u64) -> GroupState {
        match self.part {
            _ if self.settings.priority == 0 => GroupState::Witness,
            State::Holder if held(word.lease_until, now) => GroupState::Master,
            _ if self.fitness.duty == Duty::Stop && !self.is_leaving => GroupState::Fault,
            _ if self.fitness.duty == Duty::Leave => GroupState::Maintenance,
            _ if self.is_mute => GroupState::Fault,
            _ if now < self.quarantine_until => GroupState::Quarantine,
            State::Candidate if holder(word, now).is_none() => GroupState::Candidate,
            State::Holder | State::Candidate | State::Follower => GroupState::Backup,
        }
    }

    /// Whether this node held it when that was last observed.
    pub(super) fn is_master(&self) -> bool {
        self.state == GroupState::Master
    }

    /// What this node says that it would do for the group.
    pub(super) fn offer(&self) -> Offer {
        Offer { group: self.id, priority: self.fitness.offer(), preempt: self.settings.preempt }
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

    /// The active router that is heard, as one of it or by listening.
    fn router_heard(&self) -> Option<Master> {
        match self.heard {
            Some(Presence::Active(master)) => Some(master),
            Some(Presence::Unknown | Presence::Silent) | None => self.vrrp_master,
        }
    }

    /// What `status` shows; `name_of` knows the nodes.
    pub(super) fn status(&self, words: &Words, now: u64, name_of: impl Fn(u16) -> String) -> GroupStatus {
        let word = words.read(self.slot);
        let until = if self.state == GroupState::Master { word.lease_until } else { word.holder_until };
        GroupStatus {
            name: self.settings.name.clone(),
            state: self.state,
            holder: match self.has_lease() {
                true => holder(word, now).map(name_of),
                false if self.is_master() => Some(name_of(0)),
                false => self.vrrp_master.map(|master| master.address.to_string()),
            },
            ballot: word.holder_ballot.to_string(),
            lease_remaining_ms: until.saturating_sub(now) as f64 / 1e6,
            vips: self.settings.vips.iter().map(ToString::to_string).collect(),
            priority: self.fitness.offer(),
            transitions: self.transitions,
            since: rfc3339_millis(self.since),
            protocol: if self.has_lease() { Protocol::Lease } else { Protocol::Vrrp },
            vrid: self.settings.protocol.router().map(|router| router.vrid.get()),
            vrrp_master: self
                .router_heard()
                .map(|Master { address, priority }| VrrpMaster { address: address.to_string(), priority }),
        }
    }
}

/// Who begins to heed a virtual router does not know whether it has an active one.
fn heard_at_first(settings: &config::Group) -> Option<Presence> {
    let heeds = settings.protocol.runs().is_none() && settings.protocol.router().is_some();
    // Who has no VIPs there hears nothing, and holds nothing.
    (heeds && !settings.vips.is_empty()).then_some(Presence::Unknown)
}

/// The node whose lease runs, as far as this node's acceptor knows.
pub(super) fn holder(word: Word, now: u64) -> Option<u16> {
    Some(word.holder_ballot.node()).filter(|node| *node != 0 && held(word.holder_until, now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vip_common::lease::Ballot;

    use super::*;

    const NOW: u64 = 1_000;

    fn group(priority: u8) -> Group {
        let settings = config::Group {
            name: "web".into(),
            vips: Vec::new(),
            priority,
            preempt: false,
            preempt_delay: Duration::ZERO,
            stale_forwarding: false,
            presence: config::Presence::Always,
            virtual_mac: false,
            router: false,
            protocol: config::Protocol::Lease { heeds: None },
            notify: config::Notify::default(),
        };
        Group::new(settings, 1, 7, NOW - 1)
    }

    fn word(lease_until: u64, holder_until: u64) -> Word {
        Word { lease_until, holder_until, holder_ballot: Ballot::new(3, 2) }
    }

    fn state(part: State, word: Word, duty: Duty) -> GroupState {
        let mut group = group(100);
        (group.part, group.fitness.duty) = (part, duty);
        group.observe(word, NOW);
        group.state
    }

    #[test]
    fn a_holder_is_master_while_its_word_runs_and_not_longer() {
        assert_eq!(state(State::Holder, word(NOW + 1, NOW + 1), Duty::Serve), GroupState::Master);
        assert_eq!(state(State::Holder, word(NOW, NOW), Duty::Serve), GroupState::Backup);
    }

    #[test]
    fn a_node_that_stands_is_a_candidate_until_another_one_holds() {
        assert_eq!(state(State::Candidate, word(0, NOW), Duty::Serve), GroupState::Candidate);
        assert_eq!(state(State::Candidate, word(0, NOW + 1), Duty::Serve), GroupState::Backup);
    }

    #[test]
    fn a_node_that_cannot_serve_is_at_fault_and_a_witness_stays_one() {
        assert_eq!(state(State::Follower, word(0, NOW + 1), Duty::Stop), GroupState::Fault);
        let mut mute = group(100);
        mute.is_mute = true;
        mute.observe(word(0, 0), NOW);
        assert_eq!(mute.state, GroupState::Fault);
        let mut witness = group(0);
        witness.fitness.duty = Duty::Stop;
        witness.observe(word(0, NOW + 1), NOW);
        assert_eq!((witness.state, witness.transitions), (GroupState::Witness, 0));
    }

    #[test]
    fn in_maintenance_a_node_says_so_as_soon_as_it_serves_no_longer() {
        assert_eq!(state(State::Holder, word(NOW + 1, NOW + 1), Duty::Leave), GroupState::Master);
        assert_eq!(state(State::Follower, word(0, NOW + 1), Duty::Leave), GroupState::Maintenance);
        assert_eq!(state(State::Follower, word(0, NOW + 1), Duty::Wait), GroupState::Backup);
    }

    #[test]
    fn a_group_is_in_quarantine_until_its_acceptor_speaks() {
        let mut group = group(100);
        group.quarantine_until = NOW + 1;
        group.observe(word(0, 0), NOW);
        assert_eq!((group.state, group.transitions), (GroupState::Quarantine, 0));
        group.observe(word(0, 0), NOW + 1);
        assert_eq!((group.state, group.transitions), (GroupState::Backup, 1));
    }

    #[test]
    fn a_vacancy_is_told_when_it_lasts_and_then_now_and_then() {
        let mut group = group(100);
        group.part = State::Candidate;
        group.last_failure = Some(GiveUp::NoAnswer);
        let times = [0, 1, 2, 11, 12].map(|seconds| NOW + seconds * 1_000_000_000);
        let told = times.map(|now| group.vacancy(word(0, 0), now).is_some());
        assert_eq!(told, [false, true, false, true, false]);
        assert_eq!(group.vacancy(word(0, times[4] + 1), times[4]), None);
        assert_eq!(group.vacancy(word(0, 0), times[4] + 1), None);
    }
}
