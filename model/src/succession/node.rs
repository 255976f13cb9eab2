//! A node: its membership, what is on its disk, and all that it has said.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use vip_common::lease::Ballot;
use vip_user::membership::{
    Action, Configuration, Durable, Hello, Identity, Member, Membership, Pledge, Rules, Sender, Standing,
    Stored,
};

use crate::flaw::Flaw;

/// When everything begins, by every clock, in ns.
const START: u64 = 1_000_000_000;
/// Longer than the membership waits for a ballot, in ns.
const PATIENCE: u64 = 2_000_000_000;

/// A node. Two are the same if their memberships know the same: what they still have to log or how often they have
/// spoken does not matter.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: u16,
    now: u64,
    incarnation: u64,
    membership: Membership,
    disk: Stored,
    /// All different Hellos so far, and which start of the daemon said them.
    said: Vec<(u64, Arc<Hello>)>,
    /// By node, the first one's first: how many of its Hellos are taken or too old to be.
    heard: Vec<usize>,
    /// The ballot under way, which the membership does not show.
    attempt: Option<Ballot>,
    /// When it got its wish.
    wished_at: u64,
}

impl Node {
    /// A voter of `first`, which it has on its disk.
    pub(super) fn start(id: u16, first: &Configuration) -> Option<Self> {
        let disk = Stored { configuration: Some(first.clone()), ..Stored::default() };
        let membership = Membership::new(identity(id, 1), disk.clone(), START).ok()?;
        let mut node = Self {
            id,
            now: START,
            incarnation: 1,
            membership,
            disk,
            said: Vec::new(),
            heard: vec![0; first.voters().len()],
            attempt: None,
            wished_at: 0,
        };
        node.act();
        Some(node)
    }

    pub(super) fn configuration(&self) -> Option<&Configuration> {
        self.membership.configuration()
    }

    pub(super) fn has_attempt(&self) -> bool {
        self.attempt.is_some()
    }

    /// The numbers of the other node's Hellos that this one may still take.
    pub(super) fn unheard(&self, other: &Self) -> Range<usize> {
        self.heard[usize::from(other.id) - 1]..other.said.len()
    }

    pub(super) fn wish(&mut self, whom: u16) {
        // A refusal is an answer, too.
        let _ = self.membership.remove(whom, self.now);
        self.wished_at = self.now;
        self.act();
    }

    pub(super) fn hear(&mut self, other: &Self, number: usize) {
        let Some((incarnation, hello)) = other.said.get(number) else { return };
        let from = Sender { id: other.id, incarnation: *incarnation, address: Ipv4Addr::LOCALHOST.into() };
        self.heard[usize::from(other.id) - 1] = number + 1;
        self.membership.handle_hello(from, Hello::clone(hello), self.now);
        self.act();
    }

    pub(super) fn retry(&mut self) {
        self.now += PATIENCE;
        self.attempt = None;
        self.membership.handle_timeout(self.now);
        self.act();
    }

    pub(super) fn restart(&mut self, flaw: Option<Flaw>) -> Option<()> {
        self.incarnation += 1;
        self.attempt = None;
        if flaw == Some(Flaw::ForgetsPledges) {
            self.disk.pledge = None;
        }
        self.membership =
            Membership::new(identity(self.id, self.incarnation), self.disk.clone(), self.now).ok()?;
        self.act();
        Some(())
    }

    /// Does what the membership asks for; then what it has to say is on its disk, and may be heard.
    fn act(&mut self) {
        while let Some(action) = self.membership.poll_action() {
            let stored = match action {
                Action::StoreConfiguration(configuration) => {
                    self.attempt = None;
                    self.disk.configuration = Some(configuration.clone());
                    Durable::Configuration(configuration)
                }
                Action::StorePledge(pledge) => {
                    self.note_attempt(&pledge);
                    self.disk.pledge = Some(pledge.clone());
                    Durable::Pledge(pledge)
                }
                _ => continue,
            };
            self.membership.handle_stored(stored, self.now);
        }
        let hello = self.membership.hello();
        if self.said.last().is_none_or(|(of, last)| *of != self.incarnation || **last != hello) {
            self.said.push((self.incarnation, Arc::new(hello)));
        }
    }

    /// A new ballot of its own is one that it has just begun.
    fn note_attempt(&mut self, pledge: &Pledge) {
        let before = self.disk.pledge.as_ref().map(Pledge::promised);
        if pledge.promised().node() == self.id && Some(pledge.promised()) != before {
            self.attempt = Some(pledge.promised());
        }
    }

    fn plain(&self) -> impl PartialEq + Hash + '_ {
        let said: Vec<_> = self.said.iter().map(|(of, hello)| (of, plain_hello(hello))).collect();
        let members: Vec<_> = self.membership.members().map(plain_member).collect();
        let wished_at = self.membership.hello().remove.map(|_| self.wished_at);
        (self.id, self.now, self.incarnation, &self.heard, self.attempt, wished_at, said, members)
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.plain() == other.plain()
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plain().hash(state);
    }
}

type PlainConfiguration<'a> = (u32, &'a [u16]);
type PlainHello<'a> = (
    Option<PlainConfiguration<'a>>,
    Option<(u32, Ballot, Option<(Ballot, PlainConfiguration<'a>)>)>,
    Option<u16>,
);

fn plain_member(member: &Member) -> (u16, u64, u64, PlainHello<'_>) {
    (member.id, member.incarnation, member.last_hello_ns, plain_hello(&member.hello))
}

/// What of a Hello counts here.
fn plain_hello<'a>(hello: &'a Hello) -> PlainHello<'a> {
    let plain = |configuration: &'a Configuration| (configuration.epoch(), configuration.voters());
    let formed = match &hello.standing {
        Standing::Formed(configuration) => Some(plain(configuration)),
        Standing::Waiting | Standing::Consented(_) => None,
    };
    let pledge = hello.pledge.as_ref().map(|pledge| {
        let accepted = pledge.accepted().map(|accepted| (accepted.ballot, plain(&accepted.configuration)));
        (pledge.epoch(), pledge.promised(), accepted)
    });
    (formed, pledge, hello.remove)
}

fn identity(id: u16, incarnation: u64) -> Identity {
    Identity {
        id,
        incarnation,
        address: Ipv4Addr::LOCALHOST.into(),
        name: id.to_string(),
        version: String::new(),
        tags: BTreeMap::new(),
        priority: 1,
        expect: 1,
        interval_ns: 0,
        lease_ns: 0,
        groups: Vec::new(),
        rules: Rules::default(),
    }
}
