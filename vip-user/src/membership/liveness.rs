//! Which nodes are live, and what to tell of those that come and go.
//!
//! A live node has a daemon that says Hello. That is more than [`Status::Alive`], which a node has, too, whose data plane
//! goes on voting after its daemon: who works with the nodes of a cluster wants their daemons.

use std::collections::BTreeMap;

use super::members::{Member, Members, Status};
use super::{Action, Membership};
use crate::events::{MemberEventKind, Node};

/// A node that says no Hello for this long after it would have failed without its data plane, in ns, is not live, whatever that
/// does: Hellos get lost, and come rarely.
pub const SILENT_AFTER: u64 = 2_000_000_000;

/// What has been told of the other nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// By id: whether it is live, and what it is like.
    nodes: BTreeMap<u16, (bool, Node)>,
}

impl Membership {
    /// The nodes that are live, this one first unless it is leaving, then the others by id.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        let me = std::iter::once(&self.members.me).filter(|me| me.status == Status::Alive);
        let is_told = |member: &&Member| self.told.nodes.get(&member.id).is_some_and(|(is_live, _)| *is_live);
        me.chain(self.members.iter().skip(1).filter(is_told))
    }

    /// Tells what has become of the other nodes.
    pub(super) fn tell_of_nodes(&mut self, now: u64) {
        for (kind, node) in self.told.bring_up_to(&self.members, now) {
            self.actions.push_back(Action::Member(kind, node));
        }
    }
}

impl Told {
    /// When the next live node falls silent, if any is left to.
    pub(super) fn next_deadline(&self, members: &Members) -> Option<u64> {
        let live = members.iter().skip(1).filter(|member| self.is_live(member.id));
        live.map(Member::not_live_at).min()
    }

    fn is_live(&self, id: u16) -> bool {
        self.nodes.get(&id).is_some_and(|(is_live, _)| *is_live)
    }

    fn bring_up_to(&mut self, members: &Members, now: u64) -> Vec<(MemberEventKind, Node)> {
        let mut news = Vec::new();
        for member in members.iter().skip(1) {
            if let Some(kind) = self.news_of(member, now) {
                let node = member.described();
                let is_live = matches!(kind, MemberEventKind::Join | MemberEventKind::Update);
                self.nodes.insert(member.id, (is_live, node.clone()));
                news.push((kind, node));
            }
        }
        let gone: Vec<u16> = self.nodes.keys().filter(|id| members.get(**id).is_none()).copied().collect();
        let gone = gone.into_iter().filter_map(|id| self.nodes.remove(&id));
        news.extend(gone.map(|(_, node)| (MemberEventKind::Reap, node)));
        news
    }

    fn news_of(&self, member: &Member, now: u64) -> Option<MemberEventKind> {
        let says_hello = now < member.not_live_at();
        let is_live = member.status == Status::Alive && says_hello;
        match self.nodes.get(&member.id) {
            Some((true, node)) if is_live => {
                (!member.is_described_by(node)).then_some(MemberEventKind::Update)
            }
            _ if is_live => Some(MemberEventKind::Join),
            Some((true, _)) => Some(match member.status {
                Status::Leaving | Status::Left => MemberEventKind::Leave,
                Status::Alive | Status::Failed => MemberEventKind::Failed,
            }),
            Some((false, _)) | None => None,
        }
    }
}

impl Member {
    /// When it is not live any more, if it says no Hello until then, in CLOCK_BOOTTIME ns.
    fn not_live_at(&self) -> u64 {
        self.last_hello_ns.saturating_add(self.failed_after()).saturating_add(SILENT_AFTER)
    }

    /// The node as events and the list of live nodes show it.
    pub fn described(&self) -> Node {
        let Self { id, address, .. } = *self;
        Node { id, name: self.hello.name.clone(), address, tags: self.hello.tags.clone() }
    }

    /// Whether that is how events show it; without making it up anew for each Hello.
    fn is_described_by(&self, node: &Node) -> bool {
        (&node.name, &node.tags, node.address) == (&self.hello.name, &self.hello.tags, self.address)
    }
}
