//! The table of known nodes: their last Hello, and whether they are alive.
//!
//! What a change means for the cluster is decided in the parent module.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::configuration::Configuration;
use super::hello::{Hello, Standing};

/// A node that is silent for this long, in ns, has failed; one that says Hello more seldom than each second, after three times as long
/// as it has promised to speak within.
pub const FAILED_AFTER: u64 = 3_000_000_000;

/// A leaving node that is silent for this long, in ns, has left. It says Hello ten times a second until it stops, so
/// that operators need not wait for [`FAILED_AFTER`] to see that it is gone.
pub const LEFT_AFTER: u64 = 1_000_000_000;

/// The most nodes that are remembered, this one not counted.
pub const MAX_MEMBERS: usize = 1024;

const MILLISECOND: u64 = 1_000_000;

/// A node of the cluster, as this node knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Never 0.
    pub id: u16,
    /// The start of its daemon, in Unix ns.
    pub incarnation: u64,
    /// The source of its last Hello.
    pub address: IpAddr,
    /// Whether it takes part now.
    pub status: Status,
    /// CLOCK_BOOTTIME in ns of the last message of any kind; for this node itself, of its own last Hello.
    pub last_heard_ns: u64,
    /// When its last Hello came. The data plane of a dead or hanging daemon is heard on and on.
    pub last_hello_ns: u64,
    /// Since when its Hellos have come without a gap in which it would have failed, all of one incarnation.
    pub speaks_since: u64,
    /// Its last Hello.
    pub hello: Hello,
}

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Heard lately: see [`FAILED_AFTER`].
    Alive,
    /// It said that it is about to stop, and still speaks.
    Leaving,
    /// Silent without a word. It comes back by itself when it is heard again.
    Failed,
    /// It said that it would stop, and did. It never becomes `Failed`.
    Left,
}

impl Status {
    /// The word for it in `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }
}

impl Member {
    /// The silence that makes it a failed one, in ns.
    pub(super) fn failed_after(&self) -> u64 {
        FAILED_AFTER.max(3 * MILLISECOND * u64::from(self.hello.period_ms))
    }

    /// Since when it is known to be gone, in CLOCK_BOOTTIME ns; `None` while it takes part.
    pub(super) fn gone_since(&self) -> Option<u64> {
        let is_gone = matches!(self.status, Status::Failed | Status::Left);
        is_gone.then_some(self.last_heard_ns)
    }

    /// When to take its silence for failure or departure; `None` when it is gone already.
    fn silent_at(&self) -> Option<u64> {
        match self.status {
            Status::Alive => Some(self.last_heard_ns.saturating_add(self.failed_after())),
            Status::Leaving => Some(self.last_heard_ns.saturating_add(LEFT_AFTER)),
            Status::Failed | Status::Left => None,
        }
    }

    /// The status that its silence or its being heard has brought by `now`, if that is a new one.
    fn changed_status(&self, now: u64) -> Option<Status> {
        let heard_again = || now < self.last_heard_ns.saturating_add(self.failed_after());
        match self.status {
            Status::Failed => heard_again().then_some(Status::Alive),
            Status::Alive => (self.silent_at()? <= now).then_some(Status::Failed),
            Status::Leaving => (self.silent_at()? <= now).then_some(Status::Left),
            Status::Left => None,
        }
    }

    /// Whether it does not ask to be counted out itself.
    pub(super) fn stays(&self) -> bool {
        self.hello.remove != Some(self.id)
    }

    /// The configuration that it has.
    pub(super) fn formed(&self) -> Option<&Configuration> {
        match &self.hello.standing {
            Standing::Formed(configuration) => Some(configuration),
            Standing::Waiting | Standing::Consented(_) => None,
        }
    }

    /// The configuration that it has agreed to, by consent or by having it.
    pub(super) fn agreed(&self) -> Option<&Configuration> {
        match &self.hello.standing {
            Standing::Waiting => None,
            Standing::Consented(configuration) | Standing::Formed(configuration) => Some(configuration),
        }
    }
}

/// When members become voters by themselves, and are none any more. Only what the coordinator is set to counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a node must have spoken without a gap before it becomes a voter, in ns.
    pub voter_after: u64,
    /// How long a node must have been gone before it is no voter any more, and then forgotten, in ns; `None`: for ever.
    pub reap: Option<u64>,
}

impl Default for Rules {
    /// Five seconds, and never.
    fn default() -> Self {
        Self { voter_after: 5_000 * MILLISECOND, reap: None }
    }
}

/// This node and the ones that it has heard.
#[derive(Clone, Debug)]
pub(super) struct Members {
    pub(super) me: Member,
    pub(super) rules: Rules,
    /// When this daemon began to listen, in CLOCK_BOOTTIME ns.
    pub(super) since: u64,
    others: BTreeMap<u16, Member>,
}

impl Members {
    pub(super) fn new(me: Member, rules: Rules, now: u64) -> Self {
        Self { me, rules, since: now, others: BTreeMap::new() }
    }

    pub(super) fn get(&self, id: u16) -> Option<&Member> {
        if id == self.me.id { Some(&self.me) } else { self.others.get(&id) }
    }

    /// All of them, this node first, the others by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.me).chain(self.others.values())
    }

    /// Those that take part now, this node among them unless it is leaving.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.status == Status::Alive)
    }

    /// The name of a node, or `node 7` where none has been heard.
    pub(super) fn name(&self, id: u16) -> String {
        self.get(id).map_or_else(|| format!("node {id}"), |member| member.hello.name.clone())
    }

    /// Whether the daemon of `member` takes part by what it says, and not only by its data plane's votes.
    pub(super) fn speaks(&self, member: &Member, now: u64) -> bool {
        let is_heard = now < member.last_hello_ns.saturating_add(member.failed_after());
        member.status == Status::Alive && (is_heard || member.id == self.me.id)
    }

    /// Puts `member` in its place and returns what stood there. When the table is full, the node that has been gone
    /// for longest makes room; when all are alive, `member` is not taken and comes back as the error.
    pub(super) fn insert(&mut self, mut member: Member) -> Result<Option<Member>, Box<Member>> {
        let before = self.others.get(&member.id);
        if let Some(before) = before.filter(|before| before.incarnation == member.incarnation)
            && member.last_hello_ns < before.last_hello_ns.saturating_add(before.failed_after())
        {
            member.speaks_since = before.speaks_since;
        }
        if self.others.len() >= MAX_MEMBERS && !self.others.contains_key(&member.id) {
            let gone = self.others.values().filter(|other| other.silent_at().is_none());
            let Some(oldest) = gone.min_by_key(|other| other.last_heard_ns).map(|other| other.id) else {
                return Err(Box::new(member));
            };
            self.others.remove(&oldest);
        }
        Ok(self.others.insert(member.id, member))
    }

    /// Forgets the node, and gives it back if it was known.
    pub(super) fn forget(&mut self, id: u16) -> Option<Member> {
        self.others.remove(&id)
    }

    /// Notes that something of the node was heard; its status follows at the next [`Members::refresh`].
    pub(super) fn heard(&mut self, id: u16, last_heard_ns: u64) {
        if let Some(member) = self.others.get_mut(&id) {
            member.last_heard_ns = member.last_heard_ns.max(last_heard_ns);
        }
    }

    /// Brings every status up to `now`; returns the members whose status changed.
    pub(super) fn refresh(&mut self, now: u64) -> Vec<Member> {
        let mut changed = Vec::new();
        for member in self.others.values_mut() {
            if let Some(status) = member.changed_status(now) {
                member.status = status;
                changed.push(member.clone());
            }
        }
        changed
    }

    /// When the next member falls silent, if any is left to.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.others.values().filter_map(Member::silent_at).min()
    }
}
