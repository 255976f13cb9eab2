//! The rules of the lease (PaxosLease: Trencseni, Gazso, Reinhardt, arXiv 1209.4187), over plain state and `now`.
//!
//! All times are CLOCK_BOOTTIME of the node whose state it is, in ns; lengths are in ns. Safety rests on clock
//! *rates* that differ by less than [`MAX_DRIFT_PERCENT`] and on nothing else.

/// Most voters in a configuration.
pub const MAX_VOTERS: usize = 16;
/// Bound on the difference between two nodes' clock rates.
pub const MAX_DRIFT_PERCENT: u64 = 1;

/// Number of voters that any two decisions share at least one of.
#[inline(always)]
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// For how long a holder may serve on a lease of this length, from before it was asked for.
///
/// An acceptor waits `lease` on its own clock. A holder's clock may run slower by the drift bound, so it stops
/// that much earlier on its own; rounded down.
#[inline(always)]
pub const fn serving_time(lease: u64) -> u64 {
    lease - lease.div_ceil(100 / MAX_DRIFT_PERCENT)
}

/// A proposal number that no other node can make: `round << 16 | node`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Ballot(pub u64);

impl Ballot {
    /// `round` below 2^48.
    #[inline(always)]
    pub const fn new(round: u64, node: u16) -> Self {
        Self((round << 16) | node as u64)
    }

    /// The node that made it; 0 in the ballot that nobody made.
    #[inline(always)]
    pub const fn node(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The part that grows.
    #[inline(always)]
    pub const fn round(self) -> u64 {
        self.0 >> 16
    }

    /// This node's next ballot above `self`.
    pub const fn successor(self, node: u16) -> Self {
        Self::new(self.round() + 1, node)
    }
}

impl core::fmt::Display for Ballot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.round(), self.node())
    }
}

/// What a proposer asks of an acceptor. The requesting node is the ballot's, but for a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Promise this ballot.
    Prepare(Ballot),
    /// Accept a lease of this length under this ballot.
    Propose(Ballot, u64),
    /// The holder is done.
    Release(Ballot),
    /// The holder, this node, serves no more and has given what is left of its lease to another node.
    Transfer {
        /// Who holds no more.
        from: u16,
        /// The new holder's ballot: a fresh one of its own, under which it will renew.
        to: Ballot,
        /// What is left of the lease, in ns.
        left: u64,
    },
}

/// What an acceptor decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Say nothing: in quarantine, or nothing changed.
    Silent,
    /// Promised.
    Promise,
    /// The lease is granted, or renewed.
    Accepted,
    /// The holder gave its lease back; no answer.
    Released,
    /// The holder gave its lease to another node; no answer.
    Transferred,
    /// Another node's lease, under this ballot, runs for so much longer.
    Held(Ballot, u64),
    /// This higher ballot is promised.
    Promised(Ballot),
    /// Longer than the lease that this acceptor's quarantine covers.
    TooLong,
}

/// One voter's memory of one group's lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(C)]
pub struct Acceptor {
    /// Highest ballot promised.
    pub promised: u64,
    /// Ballot of the lease accepted last; its node is the holder.
    pub ballot: u64,
    /// When that lease ends, by this node's clock.
    pub expires: u64,
    /// Nothing is answered before this: state from before it may be lost.
    pub quarantine_until: u64,
}

impl Acceptor {
    /// Decides on a request (PaxosLease, section 2), and remembers what must be remembered.
    ///
    /// `longest` is the longest lease of the cluster, the one that a quarantine waits for.
    #[inline(always)]
    pub fn decide(&mut self, request: Request, now: u64, longest: u64) -> Decision {
        if now < self.quarantine_until {
            return Decision::Silent;
        }
        match request {
            Request::Prepare(ballot) => self.prepare(ballot, now),
            Request::Propose(ballot, lease) => self.propose(ballot, lease, now, longest),
            Request::Release(ballot) => self.release(ballot, now),
            Request::Transfer { from, to, left } => self.transfer(from, to, left, now, longest),
        }
    }

    #[inline(always)]
    fn prepare(&mut self, ballot: Ballot, now: u64) -> Decision {
        if self.held_by_other_than(ballot.node(), now) {
            return Decision::Held(Ballot(self.ballot), self.expires - now);
        }
        if ballot.0 <= self.promised {
            return Decision::Promised(Ballot(self.promised));
        }
        self.promised = ballot.0;
        Decision::Promise
    }

    #[inline(always)]
    fn propose(&mut self, ballot: Ballot, lease: u64, now: u64, longest: u64) -> Decision {
        if lease > longest {
            return Decision::TooLong;
        }
        if ballot.0 < self.promised {
            return Decision::Promised(Ballot(self.promised));
        }
        if self.held_by_other_than(ballot.node(), now) {
            return Decision::Held(Ballot(self.ballot), self.expires - now);
        }
        self.promised = ballot.0;
        self.ballot = ballot.0;
        // A holder that now asks for shorter leases may still serve on a longer one that was accepted before.
        self.expires = self.expires.max(now.saturating_add(lease));
        Decision::Accepted
    }

    #[inline(always)]
    fn release(&mut self, ballot: Ballot, now: u64) -> Decision {
        // A release that was overtaken by the same node's next lease must not end that one.
        if self.expires <= now || ballot.node() != Ballot(self.ballot).node() || ballot.0 < self.ballot {
            return Decision::Silent;
        }
        self.expires = now;
        Decision::Released
    }

    /// From here on the lease is the new holder's, as if that had been granted it. An acceptor that knew of no lease
    /// takes it as well: the more acceptors keep others out, the safer, and the one that the old holder itself has
    /// must, or the old holder could stand again before the time it gave is over.
    #[inline(always)]
    fn transfer(&mut self, from: u16, to: Ballot, left: u64, now: u64, longest: u64) -> Decision {
        if left > longest || self.held_by_other_than(from, now) {
            return Decision::Silent;
        }
        self.promised = self.promised.max(to.0);
        self.ballot = to.0;
        self.expires = self.expires.max(now.saturating_add(left));
        Decision::Transferred
    }

    #[inline(always)]
    fn held_by_other_than(&self, node: u16, now: u64) -> bool {
        self.expires > now && Ballot(self.ballot).node() != node
    }
}

/// What a holder knows of its lease: which voters accepted which of its messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(C)]
pub struct Renewal {
    /// The ballot that the lease stands on; answers to others do not count.
    pub ballot: u64,
    /// [`serving_time`] of the lease.
    pub serving: u64,
    /// For each voter, `sent_at` of the latest message that it accepted under `ballot`; 0 = none.
    pub accepted_at: [u64; MAX_VOTERS],
    /// Node ids, in the order of `accepted_at`.
    pub voters: [u16; MAX_VOTERS],
    /// How many of `voters` are used.
    pub count: u32,
    /// 0.
    pub reserved: u32,
}

impl Renewal {
    /// A proposal under `ballot` that nobody has accepted yet. At most [`MAX_VOTERS`] voters.
    pub fn new(ballot: Ballot, lease: u64, voters: &[u16]) -> Self {
        let mut renewal = Self { ballot: ballot.0, serving: serving_time(lease), ..Self::default() };
        for (to, voter) in renewal.voters.iter_mut().zip(voters) {
            *to = *voter;
            renewal.count += 1;
        }
        renewal
    }

    /// Counts a voter's Accepted, and says until when the lease may be served if a quorum has accepted.
    ///
    /// `sent_at` is the echo of this node's own stamp; one from the future is a lie and does not count. Repeated
    /// and late answers change nothing.
    #[inline(always)]
    pub fn accepted(&mut self, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64> {
        if ballot.0 != self.ballot || sent_at > now {
            return None;
        }
        let mut i = 0;
        while i < MAX_VOTERS && i < self.count as usize {
            if self.voters[i] == voter {
                if sent_at > self.accepted_at[i] {
                    self.accepted_at[i] = sent_at;
                }
                return self.quorum_time().map(|t0| t0.saturating_add(self.serving));
            }
            i += 1;
        }
        None
    }

    /// The largest `sent_at` that a quorum has accepted: whoever accepted a later message also counts for an
    /// earlier one, since an acceptor's lease only moves forward.
    ///
    /// Without branches on the stamps: the verifier follows every way through them, and there would be millions.
    #[inline(always)]
    fn quorum_time(&self) -> Option<u64> {
        let quorum = quorum(self.count as usize) as u64;
        let mut best = 0;
        let mut i = 0;
        while i < MAX_VOTERS {
            let candidate = self.accepted_at[i];
            let mut supporters = 0;
            let mut j = 0;
            while j < MAX_VOTERS {
                supporters += at_least(self.accepted_at[j], candidate);
                j += 1;
            }
            // Unused entries are 0, and win nothing.
            let eligible = candidate * at_least(supporters, quorum);
            best += eligible.wrapping_sub(best).wrapping_mul(at_least(eligible, best));
            i += 1;
        }
        if best == 0 { None } else { Some(best) }
    }
}

/// 1 if `a >= b`, else 0, for numbers below 2^63.
#[inline(always)]
const fn at_least(a: u64, b: u64) -> u64 {
    (a.wrapping_sub(b) >> 63) ^ 1
}

/// Whether a lease word (0 = disarmed) lets this node serve.
#[inline(always)]
pub const fn held(lease_until: u64, now: u64) -> bool {
    lease_until > now
}

/// The lease word after a renewal, to be stored by compare-and-swap; `None` where the word must stay as it is.
///
/// A disarmed word is never extended, so a disarm wins against every extension under way.
#[inline(always)]
pub const fn extension(lease_until: u64, renewed_until: u64) -> Option<u64> {
    if lease_until != 0 && renewed_until > lease_until { Some(renewed_until) } else { None }
}

/// The latest message seen of a sender, by which replays are known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(C)]
pub struct Freshness {
    /// Start of the sender's daemon, Unix ns.
    pub incarnation: u64,
    /// Counts the messages of that incarnation.
    pub sequence: u64,
}

impl Freshness {
    /// Whether a message is newer than all before it; if so, it is remembered.
    #[inline(always)]
    pub fn admit(&mut self, incarnation: u64, sequence: u64) -> bool {
        let newer =
            incarnation > self.incarnation || (incarnation == self.incarnation && sequence > self.sequence);
        if newer {
            *self = Self { incarnation, sequence };
        }
        newer
    }
}

#[cfg(test)]
mod tests;
