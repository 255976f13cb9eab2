//! What this node takes note of when it hears another one, or does so no more: who is new, what has changed, and what
//! an operator should know of it.

use super::hello::Hello;
use super::members::{Member, Status};
use super::notice::Notice;
use super::{Action, Configuration, EAGER_HELLO_INTERVAL, Membership, Offer, node};

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
            let earliest = self.last_hello.map_or(now, |last| last.saturating_add(EAGER_HELLO_INTERVAL));
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

    /// Warns of two nodes of one name, once per name that `member` takes.
    fn compare_names(&mut self, member: &Member, before: Option<&Member>) {
        if before.is_some_and(|before| before.hello.name == member.hello.name) {
            return;
        }
        let same = |other: &&Member| other.id != member.id && other.hello.name == member.hello.name;
        let other = self.members.iter().find(same).map(node);
        if let Some(other) = other {
            self.notice(Notice::SameName(other, node(member)));
        }
    }
}

/// What the election ranks a member by.
fn rank(member: &Member) -> (bool, u8, &[Offer]) {
    (member.status == Status::Alive && member.stays(), member.hello.priority, &member.hello.groups)
}
