//! What happens is told: to the handlers, in the journal, and in the list of live nodes.

use vip_common::lease::Ballot;

use super::control_plane::ControlPlane;
use super::groups::{Group, holder};
use super::journal::Closing;
use super::live_nodes::{self, LiveNode};
use super::upgrade::Ended;
use crate::clock;
use crate::election::{Action, Demotion, GiveUp, State};
use crate::events::{GroupEvent, GroupEventKind, MemberEventKind, Node};
use crate::exit::Failure;
use crate::handlers::Stopping;
use crate::journal::{Happening, Kind};
use crate::membership::{Member, Severity, Status};

/// A group without a holder and a majority for so long is told of, in ns: elections take less.
const NO_QUORUM_DELAY: u64 = 1_000_000_000;

/// Whether it has been told that nobody holds a group and no majority can be reached.
#[derive(Debug, Default)]
pub(super) struct QuorumLoss {
    since: Option<u64>,
    is_told: bool,
}

impl QuorumLoss {
    /// Somebody holds the group; gives whether the loss was told, and so its end is to be.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(self).is_told
    }

    /// How it is at `now`; gives whether to tell of it: once, until somebody holds the group.
    fn observe(&mut self, is_held: bool, has_quorum: bool, now: u64) -> bool {
        if is_held {
            *self = Self::default();
        } else if has_quorum {
            self.since = None;
        } else {
            let since = *self.since.get_or_insert(now);
            let is_due = !self.is_told && now.saturating_sub(since) >= NO_QUORUM_DELAY;
            self.is_told |= is_due;
            return is_due;
        }
        false
    }
}

/// A group is held again whose lost quorum was told.
pub(super) fn held_again(group: &str) -> Happening {
    Happening::new(Kind::Quorum, format!("{group} is held again, with a majority of the voters")).group(group)
}

impl ControlPlane {
    /// This node has come; `adopts`: with the data plane of a former run. Of its own leave, its handlers are told no more
    /// than Serf's.
    pub(super) fn tell_of_itself(&mut self, adopts: bool) {
        let before =
            if self.journal.is_after_crash() { ", after one that did not end in good order" } else { "" };
        let adopts = if adopts { "; goes on with the data plane that it has left" } else { "" };
        let text = format!("vip-user {} has started{before}{adopts}", env!("CARGO_PKG_VERSION"));
        self.journal.keep(Happening::new(Kind::DaemonStart, text));
        if let Some(me) = self.membership.members().next() {
            self.events.member(MemberEventKind::Join, me.described(), clock::now());
        }
    }

    /// The daemon is to end, and why.
    pub(super) fn tell_stopping(&mut self, why: String) {
        self.journal.tell(Happening::new(Kind::DaemonStopping, why));
    }

    /// The daemon ends in this way, and tells nothing more.
    pub(super) fn close_journal(&mut self, ended: &Result<Ended, Failure>) -> Closing {
        // Whoever runs the daemon is told of a failure by its last words.
        self.journal.keep(match ended {
            Ok(Ended::InPlace) => {
                Happening::new(Kind::DaemonStop, "the daemon leaves all in place for the next one")
            }
            Ok(Ended::Stopped | Ended::Replaced) => {
                Happening::new(Kind::DaemonStop, "the daemon has ended in good order")
            }
            Err(failure) => {
                let text = format!("the daemon cannot go on: {failure}");
                Happening { severity: Severity::Error, ..Happening::new(Kind::DaemonStop, text) }
            }
        });
        self.journal.close()
    }

    /// Something has happened to another node. The log has it from membership, which knows more about it.
    pub(super) fn tell_of_member(&mut self, kind: MemberEventKind, node: Node) {
        let Node { id, name, address, .. } = &node;
        let (kind_here, text) = match kind {
            MemberEventKind::Join => (Kind::MemberJoin, format!("joined from {address}")),
            MemberEventKind::Leave => (Kind::MemberLeave, "is leaving, or has left".to_owned()),
            MemberEventKind::Failed => {
                (Kind::MemberFailed, "failed: its daemon is not heard any more".to_owned())
            }
            MemberEventKind::Update => {
                (Kind::MemberUpdate, "has another name, address or other tags".to_owned())
            }
            MemberEventKind::Reap => (Kind::MemberReap, "is forgotten: it is gone, and no voter".to_owned()),
        };
        let severity = if kind == MemberEventKind::Failed { Severity::Warn } else { Severity::Info };
        let what = Happening::new(kind_here, format!("{name} ({id}) {text}")).node(name);
        self.journal.keep(Happening { severity, ..what });
        self.events.member(kind, node, clock::now());
    }

    /// This node has other tags.
    pub(super) fn tell_of_own_update(&mut self) {
        if let Some(me) = self.membership.members().next() {
            self.events.member(MemberEventKind::Update, me.described(), clock::now());
        }
    }

    /// The election of the group of this slot has said something.
    pub(super) fn tell_of_election(&mut self, slot: u32, said: Action) {
        match said {
            Action::Promoted(ballot) => self.tell_promoted(slot, ballot),
            Action::Demoted(reason) => self.tell_demoted(slot, reason),
            _ => {}
        }
    }

    /// This node holds the group from now on.
    fn tell_promoted(&mut self, slot: u32, ballot: Ballot) {
        let (node, ballot) = (Some(self.settings.node.name.clone()), Some(ballot.to_string()));
        self.tell_group(slot, GroupEvent { kind: GroupEventKind::Promoted, node, ballot, ..<_>::default() });
    }

    /// This node holds the group no longer.
    fn tell_demoted(&mut self, slot: u32, reason: Demotion) {
        let node = match reason {
            Demotion::HandedOver { to } => Some(self.name_of(to)),
            Demotion::Lapsed | Demotion::Released | Demotion::Unfit => None,
        };
        self.tell_group(slot, GroupEvent { kind: GroupEventKind::Demoted, node, ..<_>::default() });
    }

    /// The machine `mac` claims this VIP.
    pub(super) fn tell_conflict(&mut self, slot: u32, vip: std::net::IpAddr, mac: &str) {
        let Some(group) = self.groups.iter().find(|group| group.slot == slot) else { return };
        let vips = group.settings.vips.iter().filter(|one| one.address == vip);
        let vips = vips.map(ToString::to_string).collect();
        let (kind, word) = (GroupEventKind::Conflict, self.words.read(slot));
        let node = holder(word, clock::now()).map(|id| self.name_of(id));
        let ballot = node.is_some().then(|| word.holder_ballot.to_string());
        let mac = Some(mac.to_owned());
        self.tell_group(slot, GroupEvent { kind, vips, node, ballot, mac, ..<_>::default() });
    }

    /// Tells of groups that nobody holds, and that no majority can be reached for.
    pub(super) fn look_for_quorums(&mut self) {
        let Some(configuration) = self.membership.configuration() else { return };
        let (now, voters) = (clock::now(), configuration.voters());
        let alive = self.membership.members().filter(|member| member.status == Status::Alive);
        let is_heard = alive.filter(|member| voters.contains(&member.id)).count() > voters.len() / 2;
        let words = &self.words;
        let lost = |group: &mut Group| {
            let is_held = holder(words.read(group.slot), now).is_some();
            let is_answered =
                group.part != State::Candidate || !matches!(group.last_failure, Some(GiveUp::NoAnswer));
            group.quorum_loss.observe(is_held, is_heard && is_answered, now).then_some(group.slot)
        };
        let leases = self.groups.iter_mut().filter(|group| group.has_lease());
        let slots: Vec<u32> = leases.filter_map(lost).collect();
        for slot in slots {
            self.tell_no_quorum(slot);
        }
    }

    fn tell_no_quorum(&mut self, slot: u32) {
        if let Some(group) = self.groups.iter().find(|group| group.slot == slot) {
            let name = &group.settings.name;
            let text = format!("nobody holds {name}, and this node reaches no majority of the voters");
            self.journal.tell(Happening::warning(Kind::NoQuorum, text).group(name));
        }
        self.tell_group(slot, GroupEvent { kind: GroupEventKind::NoQuorum, ..<_>::default() });
    }

    /// Tells of a group, by its name, and of all its VIPs unless the event names some.
    fn tell_group(&mut self, slot: u32, event: GroupEvent) {
        let group = self.groups.iter().find(|group| group.slot == slot);
        // There may be ten thousand VIPs, and nobody who wants to know.
        let Some(group) = group.filter(|_| self.events.is_for_group(event.kind)) else { return };
        let name = group.settings.name.clone();
        let vips = match event.vips.is_empty() {
            true => group.settings.vips.iter().map(ToString::to_string).collect(),
            false => event.vips,
        };
        self.events.group(GroupEvent { group: name, vips, ..event }, clock::now());
    }

    /// Another daemon goes on with all that this one has: lets the handlers finish.
    pub(super) fn pause_events(&mut self) -> Stopping {
        let mut stopping = self.events.stop(clock::now());
        self.finish_scripts(&mut stopping);
        stopping
    }

    /// The daemon ends: tells what this node gives up by that, and lets the handlers finish.
    pub(super) fn stop_events(&mut self) -> Stopping {
        let held = self.groups.iter_mut().filter(|group| group.part == State::Holder);
        let slots: Vec<u32> = held.map(|group| group.slot).collect();
        for slot in slots {
            if let Some(group) = self.groups.iter().find(|group| group.slot == slot) {
                let text = format!("this node is not master any more: {}", Demotion::Released);
                self.journal.keep(Happening::new(Kind::Demoted, text).group(&group.settings.name));
            }
            self.tell_demoted(slot, Demotion::Released);
        }
        let mut stopping = self.events.stop(clock::now());
        self.tell_end(&mut stopping);
        stopping
    }

    /// Puts the list of live nodes in order, if there is to be one.
    pub(super) fn list_live_nodes(&mut self) {
        let Some(list) = &mut self.live_nodes else { return };
        let configuration = self.membership.configuration();
        let entry = |member: &Member| LiveNode {
            node: member.described(),
            priority: member.hello.priority,
            is_voter: configuration.is_some_and(|configuration| configuration.contains(member.id)),
        };
        let nodes: Vec<LiveNode> = self.membership.live().map(entry).collect();
        list.put(live_nodes::text(&self.settings.cluster.name, &self.settings.node.name, &nodes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_lost_quorum_is_told_once_until_somebody_holds_the_group_again() {
        let mut loss = QuorumLoss::default();
        let seen = [
            // No majority, and for long enough.
            (0, false, false, false),
            (S - 1, false, false, false),
            (S, false, false, true),
            (5 * S, false, false, false),
            // One comes and goes, and nobody is elected meanwhile.
            (6 * S, false, true, false),
            (8 * S, false, false, false),
            (10 * S, false, false, false),
            // Held again, and lost again.
            (11 * S, true, true, false),
            (12 * S, false, false, false),
            (13 * S, false, false, true),
        ];
        for (now, is_held, has_quorum, expected) in seen {
            assert_eq!(loss.observe(is_held, has_quorum, now), expected, "at {now}");
        }
    }

    #[test]
    fn an_election_is_no_lost_quorum() {
        let mut loss = QuorumLoss::default();
        for now in (0..20).map(|tenth| tenth * S / 10) {
            assert!(!loss.observe(false, now % (S / 2) == 0, now));
        }
        assert!(!loss.observe(true, false, 30 * S), "who holds it needs no proof");
    }
}
