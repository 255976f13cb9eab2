//! What is on its way: a set. A message that is never delivered is lost, and each may be delivered at any time.

use vip_common::lease::Ballot;
use vip_common::wire::{Kind, Message, Reason};

/// The one cluster, and its one group.
const CLUSTER: u32 = 1;
const GROUP: u32 = 1;

/// A message to one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    pub(crate) to: u16,
    pub(crate) from: u16,
    pub(crate) kind: Kind,
    pub(crate) ballot: Ballot,
    /// By the clock of [`Letter::stamped_by`]; 0 = too long ago to mean anything.
    pub(crate) sent_at: u64,
    pub(crate) duration: u64,
    epoch: u32,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    /// Of a refusal, else 0.
    reason: u8,
}

impl Letter {
    pub(crate) fn new(to: u16, kind: Kind, message: &Message) -> Self {
        Self {
            to,
            from: message.sender.get(),
            kind,
            ballot: Ballot(message.ballot.get()),
            sent_at: message.sent_at.get(),
            duration: message.duration.get(),
            epoch: message.epoch.get(),
            incarnation: message.incarnation.get(),
            sequence: message.sequence.get(),
            reason: message.reason,
        }
    }

    /// A message of the group, its fields to be set.
    pub(crate) fn blank(kind: Kind) -> Message {
        let mut message = Message::new(kind, CLUSTER);
        message.group = GROUP.into();
        message
    }

    pub(crate) fn message(&self) -> Message {
        let mut message = Self::blank(self.kind);
        message.sender = self.from.into();
        message.epoch = self.epoch.into();
        message.incarnation = self.incarnation.into();
        message.sequence = self.sequence.into();
        message.sent_at = self.sent_at.into();
        message.ballot = self.ballot.0.into();
        message.duration = self.duration.into();
        message.reason = self.reason;
        message
    }

    /// Whether this is an answer, of which the stamp and the incarnation are its receiver's.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Promise | Kind::Accepted | Kind::Refused)
    }

    /// Whether its sender must be the owner of its ballot.
    pub(crate) fn asks_under_own_ballot(&self) -> bool {
        matches!(self.kind, Kind::Prepare | Kind::Propose)
    }

    /// Why it refuses, if it does.
    pub(crate) fn refusal(&self) -> Option<Reason> {
        Reason::from_u8(self.reason)
    }

    /// Whose clock has made the stamp.
    pub(crate) fn stamped_by(&self) -> u16 {
        if self.is_answer() || self.kind == Kind::Grant { self.to } else { self.from }
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, from, to, ballot, .. } = self;
        write!(f, "{kind:?} {ballot} from {from} to {to}")
    }
}

/// Whether no ballot is two nodes'. The ballot that nobody made is nobody's.
pub(crate) fn owners_are_single(owners: impl Iterator<Item = (Ballot, u16)>) -> bool {
    let mut owners: Vec<(Ballot, u16)> = owners.filter(|(ballot, _)| ballot.0 != 0).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.windows(2).all(|pair| pair[0].0 != pair[1].0)
}
