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
        let letter = Self {
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
        };
        if letter.is_answer() { letter.unnumbered() } else { letter }
    }

    /// Without its sequence number, where nobody looks at that: in an answer, and once a request is taken.
    pub(crate) fn unnumbered(self) -> Self {
        Self { sequence: 0, ..self }
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

/// The sequence numbers of the requests on their way, by sender and incarnation.
///
/// Nothing asks for more than the order of sequence numbers, so they are given anew after each step, without gaps: a
/// sender then is in the same state whatever it has sent before.
pub(crate) struct Sequences(Vec<(u16, u64, u64)>);

impl Sequences {
    /// Those of these letters, before they are numbered anew.
    pub(crate) fn of<'a>(letters: impl Iterator<Item = &'a Letter>) -> Self {
        let requests = letters.filter(|letter| !letter.is_answer());
        let mut of: Vec<_> =
            requests.map(|letter| (letter.from, letter.incarnation, letter.sequence)).collect();
        of.sort_unstable();
        of.dedup();
        Self(of)
    }

    /// The new number for this one, of this sender and incarnation: how many are on their way up to it.
    pub(crate) fn renumber(&self, from: u16, incarnation: u64, sequence: u64) -> u64 {
        let of_sender = self.0.iter().filter(|(of, start, _)| (*of, *start) == (from, incarnation));
        of_sender.filter(|(.., on_its_way)| *on_its_way <= sequence).count() as u64
    }

    /// Numbers the letters anew.
    pub(crate) fn put_into(&self, letters: &mut [Letter]) {
        for letter in letters.iter_mut().filter(|letter| !letter.is_answer()) {
            letter.sequence = self.renumber(letter.from, letter.incarnation, letter.sequence);
        }
    }
}

/// Whether no ballot is two nodes'. The ballot that nobody made is nobody's.
pub(crate) fn owners_are_single(owners: impl Iterator<Item = (Ballot, u16)>) -> bool {
    let mut owners: Vec<(Ballot, u16)> = owners.filter(|(ballot, _)| ballot.0 != 0).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.windows(2).all(|pair| pair[0].0 != pair[1].0)
}
