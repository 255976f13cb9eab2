//! What the elections say: this node's part in each group is kept, and the log tells an election as an operator would.

use tracing::{debug, info, warn};
use vip_common::lease::Ballot;

use super::control_plane::ControlPlane;
use super::groups::{self, Group};
use super::happenings::QuorumLoss;
use super::lease_thread::Tally;
use crate::clock;
use crate::config::Presence;
use crate::election::{self, Demotion, GiveUp, State};
use crate::membership;

impl ControlPlane {
    pub(super) fn handle_election(&mut self, slot: u32, said: election::Action, tally: &Tally, at: u64) {
        use election::Action::{Demoted, GaveUp, HandoverFailed, Notice, Promoted, Standing};
        let text = match said {
            Notice(notice) => self.explain(notice),
            Standing(ballot) => self.tell_candidacy(ballot, tally),
            Promoted(ballot) => self.tell_victory(slot, ballot, tally, at),
            HandoverFailed { to, .. } | Demoted(Demotion::HandedOver { to }) => self.name_of(to),
            _ => String::new(),
        };
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        let name = &group.settings.name;
        let comes_and_goes = group.settings.presence == Presence::Held;
        self.presence_changed |= comes_and_goes && matches!(said, Promoted(_) | Demoted(_));
        match said {
            Standing(ballot) => {
                group.part = State::Candidate;
                if group.candidacies.allows(clock::now()) {
                    info!(group = %name, %ballot, "{text}");
                }
            }
            GaveUp(reason) => {
                debug!(group = %name, %reason, "not elected");
                group.last_failure = Some(reason);
                // It will stand again, unless somebody else is elected.
                let stands = matches!(reason, GiveUp::NoAnswer | GiveUp::Refused);
                group.part = if stands { State::Candidate } else { State::Follower };
            }
            Promoted(ballot) => {
                group.part = State::Holder;
                group.quorum_loss = QuorumLoss::default();
                info!(group = %name, %ballot, "this node is master now: {text}");
            }
            Demoted(reason) => {
                group.part = State::Follower;
                match reason {
                    Demotion::Released => info!(group = %name, "this node is not master any more: {reason}"),
                    Demotion::HandedOver { .. } => {
                        info!(group = %name, "this node is not master any more: {reason} to {text}");
                    }
                    Demotion::Lapsed | Demotion::Unfit => {
                        warn!(group = %name, "this node is not master any more: {reason}")
                    }
                }
            }
            HandoverFailed { reason, .. } => warn!(group = %name, "not handed over to {text}: {reason}"),
            Notice(_) => warn!(group = %name, "{text}"),
            _ => {}
        }
        self.tell_of_election(slot, said);
        self.end_handover(slot, said);
        self.look_at_holders();
    }

    /// That this node stands, and why.
    fn tell_candidacy(&self, ballot: Ballot, tally: &Tally) -> String {
        let me = &self.settings.node.name;
        let reason = match tally.last_holder() {
            Some((id, true)) => format!("{} has given its lease back", self.name_of(id)),
            Some((id, false)) => format!("lease of {} expired", self.name_of(id)),
            None => "nobody holds it".to_owned(),
        };
        format!("{reason}; {me} stands under ballot {ballot}")
    }

    /// How this node came to hold a group.
    fn tell_victory(&self, slot: u32, ballot: Ballot, tally: &Tally, at: u64) -> String {
        let group = self.groups.iter().find(|group| group.slot == slot);
        let (me, group) = (&self.settings.node.name, group.map_or("", |group| &group.settings.name));
        let voters = self.membership.configuration().map_or(0, |configuration| configuration.voters().len());
        let holds = format!("{me} holds {group} under ballot {ballot}");
        match tally.won(ballot, at) {
            None => format!("{holds}, handed over"),
            Some((votes, None)) => format!("votes {votes} of {voters}; {holds}"),
            Some((votes, Some(vacant))) => {
                format!("votes {votes} of {voters}; {holds} after {:.1} ms", vacant as f64 / 1e6)
            }
        }
    }

    pub(super) fn observe_groups(&mut self, now: u64) {
        let can_serve = self.can_serve();
        for group in &mut self.groups {
            group.observe(self.words.read(group.slot), can_serve, now);
        }
    }

    /// Says in the log when another node has become master.
    pub(super) fn look_at_holders(&mut self) {
        let now = clock::now();
        self.observe_groups(now);
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let holder = groups::holder(self.words.read(group.slot), now);
            if holder == group.last_holder {
                continue;
            }
            let name = &group.settings.name;
            match holder {
                Some(id) if id == self.id => {}
                Some(id) => info!(group = %name, node = id, "{} holds {name}", self.name_of(id)),
                None => {
                    let last =
                        group.last_holder.map(|id| format!(": the lease of {} is over", self.name_of(id)));
                    info!(group = %name, "nobody holds {name}{}", last.unwrap_or_default());
                }
            }
            let group = &mut self.groups[index];
            group.last_holder = holder;
            if holder.is_some() {
                // However short it holds: the next loss of the majority is another one.
                group.quorum_loss = QuorumLoss::default();
            }
            // Who stands after this lease is worth telling again.
            group.candidacies = Group::few_candidacies();
        }
    }

    /// Says why nobody is master, where this node would be if it could.
    pub(super) fn warn_of_vacancies(&mut self) {
        let now = clock::now();
        let voters = self.membership.configuration().map_or(&[][..], |configuration| configuration.voters());
        let alive = self.membership.members().filter(|member| member.status == membership::Status::Alive);
        let heard = alive.filter(|member| voters.contains(&member.id)).count();
        for group in &mut self.groups {
            if let Some(reason) = group.vacancy(self.words.read(group.slot), now) {
                let (name, all) = (&group.settings.name, voters.len());
                warn!(
                    group = %name,
                    "no master; this node stands, but {reason} ({heard} of {all} voters are heard)"
                );
            }
        }
    }

    fn explain(&self, notice: election::Notice) -> String {
        match notice {
            election::Notice::OldEpoch { voter, epoch } => {
                format!(
                    "{} has a newer configuration, epoch {epoch}; this node cannot hold before it has that, too",
                    self.name_of(voter)
                )
            }
            election::Notice::LeaseTooLong { voter, longest } => format!(
                "{} takes no leases longer than {} ms: make cluster.lease equal on all nodes",
                self.name_of(voter),
                longest as f64 / 1e6
            ),
        }
    }
}
