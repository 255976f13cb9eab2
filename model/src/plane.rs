//! The data plane of a node: what the XDP program has in its maps, and the rules that it runs over them.

use vip_common::lease::{Acceptor, Ballot, Decision, Freshness, Renewal, Request, extension};
use vip_common::maps::EventKind;
use vip_common::vote::Memory;

use crate::flaw::Flaw;
use crate::letters::Sequences;

/// The maps, for one group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Plane<const N: usize> {
    pub(crate) acceptor: Acceptor,
    pub(crate) renewal: Renewal,
    pub(crate) lease_until: u64,
    pub(crate) is_holder: bool,
    /// By node, the first one's first.
    pub(crate) peers: [Freshness; N],
    /// Of the configuration that it decides by.
    pub(crate) epoch: u32,
}

impl<const N: usize> Plane<N> {
    /// Maps that were just made.
    pub(crate) fn new(quarantine_until: u64, epoch: u32) -> Self {
        Self {
            acceptor: Acceptor { quarantine_until, ..Acceptor::default() },
            renewal: Renewal::default(),
            lease_until: 0,
            is_holder: false,
            peers: [Freshness::default(); N],
            epoch,
        }
    }

    /// The latest numbers of the others, when these are given anew.
    pub(crate) fn renumbered_peers(&self, sequences: &Sequences) -> [Freshness; N] {
        let mut peers = self.peers;
        for (peer, id) in peers.iter_mut().zip(1..) {
            peer.sequence = sequences.renumber(id, peer.incarnation, peer.sequence);
        }
        peers
    }

    /// Until when this node may serve by what its voters have accepted, if it may at all.
    pub(crate) fn granted_until(&self, now: u64) -> Option<u64> {
        // An answer that says nothing new.
        let mut renewal = self.renewal;
        let until = renewal.accepted(renewal.voters[0], Ballot(renewal.ballot), 0, now);
        until.filter(|until| *until > now)
    }

    /// Whether the acceptor knows of another node's lease.
    pub(crate) fn is_others(&self, node: u16, now: u64) -> bool {
        self.acceptor.expires > now && Ballot(self.acceptor.ballot).node() != node
    }

    pub(crate) fn is_in_quarantine(&self, now: u64) -> bool {
        self.acceptor.quarantine_until > now
    }
}

/// The maps, as the rules see them while a message is handled.
pub(crate) struct Maps<'a, const N: usize> {
    pub(crate) plane: &'a mut Plane<N>,
    pub(crate) now: u64,
    /// Stamp of this node's latest proposal, for the rules that are broken on purpose.
    pub(crate) proposed_at: u64,
    pub(crate) flaw: Option<Flaw>,
    /// The holder has given its lease back: the daemon is to be told.
    pub(crate) has_released: bool,
}

impl<const N: usize> Memory for Maps<'_, N> {
    fn now(&self) -> u64 {
        self.now
    }

    fn slot(&self, group: u32) -> Option<u32> {
        Some(group)
    }

    fn admit(&mut self, node: u16, freshness: Freshness, _now: u64) -> bool {
        let peer = &mut self.plane.peers[usize::from(node) - 1];
        match self.flaw {
            Some(Flaw::TakesReplays) => true,
            Some(Flaw::ForgetsIncarnations) if freshness.incarnation < peer.incarnation => true,
            _ => peer.admit(freshness.incarnation, freshness.sequence),
        }
    }

    fn heard(&mut self, _node: u16, _now: u64) {}

    fn decide(&mut self, _slot: u32, request: Request, now: u64, longest: u64) -> Decision {
        let acceptor = &mut self.plane.acceptor;
        let asks = matches!(request, Request::Prepare(_) | Request::Propose(..));
        if self.flaw == Some(Flaw::GrantsWhileHeld) && asks {
            acceptor.expires = 0;
        }
        acceptor.decide(request, now, longest)
    }

    fn accepted(&mut self, _slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        let sent_at = match self.flaw {
            Some(Flaw::StampsAnswers) => now,
            Some(Flaw::CountsLatestStamp) => self.proposed_at,
            _ => sent_at,
        };
        self.plane.renewal.accepted(voter, ballot, sent_at, now)
    }

    fn extend(&mut self, _slot: u32, until: u64) {
        let word = &mut self.plane.lease_until;
        let from = if self.flaw == Some(Flaw::ExtendsDisarmed) { (*word).max(1) } else { *word };
        if let Some(extended) = extension(from, until) {
            *word = extended;
        }
    }

    fn is_holder(&self, _slot: u32) -> bool {
        self.plane.is_holder
    }

    fn report(&mut self, kind: EventKind, _slot: u32, _node: u16, _value: u64) {
        self.has_released |= kind == EventKind::Released;
    }
}
