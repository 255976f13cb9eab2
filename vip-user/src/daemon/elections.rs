//! What the elections say: this node's part in each group is kept, and the log tells an election as an operator would.

use tracing::{debug, info, warn};
use vip_common::lease::Ballot;

use super::control_plane::ControlPlane;
use super::groups::{self, Group};
use super::happenings::held_again;
use super::lease_thread::Tally;
use crate::clock;
use crate::config::Presence;
use crate::election::{self, Demotion, GiveUp, State};
use crate::journal::{Happening, Kind};
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
        let former =
            if let Promoted(ballot) = said { self.predecessor(slot, ballot, tally, at) } else { None };
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        group.figures.note(said);
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
                group.is_served = true;
                let mut what = Happening::new(Kind::Promoted, format!("this node is master now: {text}"));
                (what.node, group.unheld_since) = (former, None);
                what = what.group(name).ballot(ballot);
                self.journal.tell(match tally.won(ballot, at) {
                    Some((_, Some(vacant))) => what.after_outage(vacant),
                    Some((_, None)) | None => what,
                });
                if group.quorum_loss.end() {
                    self.journal.tell(held_again(name));
                }
            }
            Demoted(reason) => {
                group.part = State::Follower;
                // One that lapsed is taken up again, if nobody else does.
                group.is_served &= reason == Demotion::Lapsed;
                let ends = format!("this node is not master any more: {reason}");
                let what = match reason {
                    Demotion::Released => Happening::new(Kind::Demoted, ends),
                    Demotion::HandedOver { .. } => {
                        Happening::new(Kind::Demoted, format!("{ends} to {text}")).node(text)
                    }
                    Demotion::Lapsed | Demotion::Unfit => Happening::warning(Kind::Demoted, ends),
                };
                self.journal.tell(what.group(name));
            }
            HandoverFailed { reason, .. } => {
                let failed = format!("not handed over to {text}: {reason}");
                self.journal.tell(Happening::warning(Kind::HandoverFailed, failed).group(name).node(text));
            }
            Notice(_) => warn!(group = %name, "{text}"),
            _ => {}
        }
        self.tell_of_election(slot, said);
        self.end_handover(slot, said);
        if matches!(said, Promoted(_)) {
            // Of a former run's lease, or meanwhile: it may be one that this node should not hold.
            self.order_eligibility();
        }
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
        for group in &mut self.groups {
            group.observe(self.words.read(group.slot), now);
        }
    }

    /// The other node that this one has a group from.
    fn predecessor(&self, slot: u32, ballot: Ballot, tally: &Tally, at: u64) -> Option<String> {
        let group = self.groups.iter().find(|group| group.slot == slot)?;
        let is_won = tally.won(ballot, at).is_some();
        let last = if is_won { tally.last_holder().map(|(id, _)| id) } else { group.last_other_holder };
        last.filter(|id| *id != self.id).map(|id| self.name_of(id))
    }

    /// Says when another node has become master, or none is.
    pub(super) fn look_at_holders(&mut self) {
        self.tell_states();
        let now = clock::now();
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let holder = groups::holder(self.words.read(group.slot), now);
            if holder == group.last_holder {
                continue;
            }
            let what = self.explain_holder(group, holder, now);
            if let Some(what) = what {
                self.journal.tell(what);
            }
            let me = self.id;
            let group = &mut self.groups[index];
            group.last_holder = holder;
            group.is_served &= holder.is_none_or(|holder| holder == me);
            group.last_other_holder = holder.filter(|id| *id != self.id).or(group.last_other_holder);
            group.unheld_since = match holder {
                Some(_) => None,
                None => Some(self.words.read(group.slot).holder_until.min(now)),
            };
            // However short it holds: the next loss of the majority is another one.
            if holder.is_some() && group.quorum_loss.end() {
                self.journal.tell(held_again(&group.settings.name));
            }
            // Who stands after this lease is worth telling again.
            group.candidacies = Group::few_candidacies();
        }
    }

    /// What is to be told of a group whose holder is another one now; of this node itself, its election tells.
    fn explain_holder(&self, group: &Group, holder: Option<u16>, now: u64) -> Option<Happening> {
        let name = &group.settings.name;
        let Some(id) = holder else {
            let last = group.last_holder.map(|id| self.name_of(id));
            let over = last.as_ref().map_or(String::new(), |last| format!(": the lease of {last} is over"));
            let mut what = Happening::new(Kind::Vacant, format!("nobody holds {name}{over}")).group(name);
            what.node = last;
            return Some(what);
        };
        if id == self.id {
            return None;
        }
        let holder = self.name_of(id);
        let ballot = self.words.read(group.slot).holder_ballot;
        let what = Happening::new(Kind::Holder, format!("{holder} holds {name}")).group(name).node(holder);
        let what = if ballot.node() == id { what.ballot(ballot) } else { what };
        let vacant = group.unheld_since.map(|since| now.saturating_sub(since));
        Some(if let Some(vacant) = vacant { what.after_outage(vacant) } else { what })
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
