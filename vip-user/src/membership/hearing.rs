//! What this node takes note of when it hears another one, or does so no more: who is new, what has changed, and what
//! an operator should know of it.

use super::hello::Hello;
use super::members::{Member, Status};
use super::notice::Notice;
use super::{Action, Configuration, EAGERNESS, Membership, Offer, node, succession};

impl Membership {
    pub(super) fn refresh_statuses(&mut self, now: u64) {
        let changed = self.members.refresh(now);
        if !changed.is_empty() {
            self.actions.push_back(Action::PeersChanged);
        }
        for member in changed {
            self.notice(match member.status {
                Status::Alive => Notice::Joined { node: node(&member), address: member.address },
                Status::Leaving => Notice::Leaving(node(&member)),
                Status::Failed => Notice::Failed(node(&member)),
                Status::Left => Notice::Left(node(&member)),
            });
        }
    }

    /// Takes note of what `member`'s Hello has changed, given what was known of it `before`.
    pub(super) fn greet(&mut self, member: &Member, before: Option<&Member>, now: u64) {
        let is_new = before.is_none_or(|before| before.incarnation != member.incarnation);
        let is_behind =
            |has: &Configuration| member.formed().is_none_or(|theirs| theirs.epoch() < has.epoch());
        if is_new || self.members.me.formed().is_some_and(is_behind) {
            // Let it know this node, or the configuration, without waiting for the next regular Hello.
            let least = self.hello_interval() / EAGERNESS;
            let earliest = self.last_hello.map_or(now, |last| last.saturating_add(least));
            self.next_hello = self.next_hello.min(earliest.max(now));
        }
        match (member.status, before.map(|before| before.status)) {
            (Status::Alive, Some(Status::Alive)) if !is_new => {}
            (Status::Leaving, Some(Status::Leaving)) if !is_new => {}
            (Status::Leaving, _) => self.notice(Notice::Leaving(node(member))),
            _ => self.notice(Notice::Joined { node: node(member), address: member.address }),
        }
        if before.is_none_or(|before| rank(before) != rank(member)) {
            self.actions.push_back(Action::PeersChanged);
        }
        self.compare_settings(member, before);
        self.compare_names(member, before);
    }

    /// Warns of settings that differ from this node's, once per change of theirs.
    fn compare_settings(&mut self, member: &Member, before: Option<&Member>) {
        let is_same = |one: &Hello, other: &Hello| one.expect == other.expect && one.has_timing_of(other);
        if before.is_some_and(|before| is_same(&before.hello, &member.hello))
            || is_same(&self.members.me.hello, &member.hello)
        {
            return;
        }
        let settings = |hello: &Hello| {
            let ms = |ns: u64| format!("{} ms", ns as f64 / 1e6);
            [
                ("cluster.expect", hello.expect.to_string()),
                ("cluster.interval", ms(hello.interval_ns)),
                ("cluster.lease", ms(hello.lease_ns)),
            ]
        };
        let theirs = settings(&member.hello);
        let pairs = theirs.into_iter().zip(settings(&self.members.me.hello));
        let differences: Vec<_> = pairs
            .filter(|((_, theirs), (_, ours))| theirs != ours)
            .map(|((key, theirs), (_, ours))| (key, theirs, ours))
            .collect();
        self.notice(Notice::SettingsDiffer { node: node(member), differences });
    }

    /// Forgets the node that `member` asks to forget: one that is gone, and no voter.
    pub(super) fn forget_with(&mut self, member: &Member, now: u64) {
        if let Some(id) = member.hello.remove {
            self.forget_if_gone(id, now);
        }
    }

    /// Forgets a node, if it is gone and no voter.
    pub(super) fn forget_if_gone(&mut self, id: u16, now: u64) {
        let is_voter = self.configuration().is_some_and(|current| current.contains(id));
        let known = self.members.get(id).filter(|member| member.id != self.members.me.id);
        let is_gone =
            known.is_some_and(|member| !self.members.speaks(member, now) && member.gone_since().is_some());
        if is_gone
            && !is_voter
            && let Some(gone) = self.members.forget(id)
        {
            self.notice(Notice::Reaped(node(&gone)));
            self.actions.push_back(Action::PeersChanged);
        }
    }

    /// Forgets those that have been gone for so long that nobody waits for them any more.
    pub(super) fn reap(&mut self, now: u64) {
        if self.members.rules.reap.is_none() {
            return;
        }
        let due = |member: &&Member| succession::is_to_be_reaped(&self.members, member.id, now);
        let due: Vec<u16> = self.members.iter().filter(due).map(|member| member.id).collect();
        due.into_iter().for_each(|id| self.forget_if_gone(id, now));
    }

    /// Of two nodes of one name, the one that came later has to go: that is not the one that votes, whatever their clocks say.
    fn compare_names(&mut self, member: &Member, before: Option<&Member>) {
        let votes = |member: &Member| self.configuration().is_some_and(|has| has.contains(member.id));
        let precedence = |member: &Member| (!votes(member), member.incarnation, member.id);
        let me = &self.members.me;
        if member.hello.name == me.hello.name && precedence(member) < precedence(me) {
            self.actions.push_back(Action::NameTaken(member.address));
        }
        if before.is_some_and(|before| before.hello.name == member.hello.name) {
            return;
        }
        // A machine in place of a dead one may have its name.
        let same = |other: &&Member| other.id != member.id && other.hello.name == member.hello.name;
        let other = self.members.alive().find(same).map(node);
        if let Some(other) = other {
            self.notice(Notice::SameName(other, node(member)));
        }
    }
}

/// What the election ranks a member by.
fn rank(member: &Member) -> (bool, u8, &[Offer]) {
    (member.status == Status::Alive && member.stays(), member.hello.priority, &member.hello.groups)
}
