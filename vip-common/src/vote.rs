//! What a node does with a message of the cluster: who may speak, which messages are decided on, and what is said.
//!
//! The flow is the same wherever the memory lies: in the maps of the XDP program, or in plain values of a simulator.
//! The tag has been checked before; a message that comes here is from a node that has the key.

use crate::lease::{Ballot, Decision, Freshness, Request};
use crate::maps::{Config, Counter, EventKind};
use crate::wire::{Kind, Message, Reason};

/// Where a node keeps what it must remember. Each call is atomic: others read and write meanwhile.
pub trait Memory {
    /// CLOCK_BOOTTIME, ns.
    fn now(&self) -> u64;
    /// The slot of the group with this hash of a name.
    fn slot(&self, group: u32) -> Option<u32>;
    /// Whether a node's message is newer than all before it ([`Freshness::admit`]); if so, it has been heard now.
    fn admit(&mut self, node: u16, freshness: Freshness, now: u64) -> bool;
    /// An answer of a node has been heard.
    fn heard(&mut self, node: u16, now: u64);
    /// Lets the group's acceptor decide ([`Acceptor::decide`](crate::lease::Acceptor::decide)), and shows its lease to
    /// whoever looks.
    fn decide(&mut self, slot: u32, request: Request, now: u64, longest: u64) -> Decision;
    /// Counts a voter's answer to a proposal ([`Renewal::accepted`](crate::lease::Renewal::accepted)).
    fn accepted(&mut self, slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64) -> Option<u64>;
    /// Moves the group's lease word forward, if [`extension`](crate::lease::extension) lets it.
    fn extend(&mut self, slot: u32, until: u64);
    /// Whether the daemon knows that it holds the group.
    fn is_holder(&self, slot: u32) -> bool;
    /// Tells the daemon. What the event is about, by [`EventKind`]; 0 = nothing.
    fn report(&mut self, kind: EventKind, slot: u32, node: u16, value: u64);
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To the daemon.
    Pass(Counter),
    /// Nowhere.
    Drop(Counter),
    /// It is answered.
    Reply(Answer),
}

/// What an answer does not echo from its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// [`Kind::Promise`], [`Kind::Accepted`] or [`Kind::Refused`].
    pub kind: Kind,
    /// A [`Reason`], or 0.
    pub reason: u8,
    /// See [`Message::ballot`].
    pub ballot: Ballot,
    /// See [`Message::duration`].
    pub duration: u64,
}

impl Answer {
    #[inline(always)]
    const fn agreed(kind: Kind, ballot: Ballot) -> Self {
        Self { kind, reason: 0, ballot, duration: 0 }
    }

    #[inline(always)]
    const fn refused(reason: Reason, ballot: Ballot, duration: u64) -> Self {
        Self { kind: Kind::Refused, reason: reason as u8, ballot, duration }
    }

    /// Turns the request into this answer of the node that `config` is of; the tag is still to be set.
    #[inline(always)]
    pub fn put_into(&self, message: &mut Message, config: &Config) {
        message.kind = self.kind as u8;
        message.reason = self.reason;
        message.ballot = self.ballot.0.into();
        message.duration = self.duration.into();
        message.sender = config.node.into();
        message.epoch = config.epoch.into();
    }
}

/// Decides on a message of this kind. `own` = from this node's daemon, for its own vote.
#[inline(always)]
pub fn message(
    message: &Message,
    kind: Kind,
    own: bool,
    config: &Config,
    memory: &mut impl Memory,
) -> Verdict {
    match kind {
        Kind::Prepare | Kind::Propose | Kind::Release | Kind::Transfer => {
            request(message, kind, own, config, memory)
        }
        Kind::Hello | Kind::Gossip | Kind::Offer | Kind::Ask | Kind::Grant => {
            match check_sender(message, own, config, memory.now(), memory) {
                Ok(()) => Verdict::Pass(Counter::MessagePassed),
                Err(counter) => Verdict::Drop(counter),
            }
        }
        Kind::Probe => Verdict::Pass(Counter::MessagePassed),
        Kind::Promise | Kind::Accepted | Kind::Refused | Kind::Taken => answer(message, kind, config, memory),
    }
}

/// Kind, ballot and duration of the message that asks for this. Its sender is the node that asks.
pub const fn fields(request: Request) -> (Kind, Ballot, u64) {
    match request {
        Request::Prepare(ballot) => (Kind::Prepare, ballot, 0),
        Request::Propose(ballot, lease) => (Kind::Propose, ballot, lease),
        Request::Release(ballot) => (Kind::Release, ballot, 0),
        Request::Transfer { to, left, .. } => (Kind::Transfer, to, left),
    }
}

/// Prepare, Propose, Release and Transfer: the acceptor's work.
#[inline(always)]
fn request(message: &Message, kind: Kind, own: bool, config: &Config, memory: &mut impl Memory) -> Verdict {
    // Once, since it takes as long as all that is decided by it: a lease counted from here still ends after one that is
    // counted from when the message was sent.
    let now = memory.now();
    if let Err(counter) = check_sender(message, own, config, now, memory) {
        return Verdict::Drop(counter);
    }
    let (sender, ballot, duration) =
        (message.sender.get(), Ballot(message.ballot.get()), message.duration.get());
    // A transfer carries the ballot of the node that it is for.
    if !matches!(kind, Kind::Transfer) && ballot.node() != sender {
        return Verdict::Drop(Counter::RejectedSender);
    }
    if let Err(verdict) = check_epoch(message, config, memory) {
        return verdict;
    }
    let Some(slot) = memory.slot(message.group.get()) else {
        return Verdict::Drop(Counter::RejectedGroup);
    };
    let request = match kind {
        Kind::Prepare => Request::Prepare(ballot),
        Kind::Release => Request::Release(ballot),
        Kind::Transfer => Request::Transfer { from: sender, to: ballot, left: duration },
        _ => Request::Propose(ballot, duration),
    };
    let decision = memory.decide(slot, request, now, config.longest_lease);
    match decision {
        Decision::Released => memory.report(EventKind::Released, slot, 0, ballot.0),
        Decision::Accepted if own => {
            renewed(slot, config.node, ballot, message.sent_at.get(), now, memory);
        }
        Decision::TooLong => memory.report(EventKind::LeaseTooLong, slot, sender, duration),
        _ => {}
    }
    match reply(decision, ballot, config) {
        Some(answer) if config.observer == 0 => Verdict::Reply(answer),
        _ => Verdict::Drop(Counter::LeaseSilent),
    }
}

/// What an acceptor says to a decision.
#[inline(always)]
fn reply(decision: Decision, asked: Ballot, config: &Config) -> Option<Answer> {
    Some(match decision {
        Decision::Silent | Decision::Released | Decision::Transferred => return None,
        Decision::Promise => Answer::agreed(Kind::Promise, asked),
        Decision::Accepted => Answer::agreed(Kind::Accepted, asked),
        Decision::Held(ballot, remaining) => Answer::refused(Reason::Held, ballot, remaining),
        Decision::Promised(ballot) => Answer::refused(Reason::Promised, ballot, 0),
        Decision::TooLong => Answer::refused(Reason::TooLong, asked, config.longest_lease),
    })
}

/// The sender is somebody else, or this node's own daemon; and the message is a new one.
#[inline(always)]
fn check_sender(
    message: &Message,
    own: bool,
    config: &Config,
    now: u64,
    memory: &mut impl Memory,
) -> Result<(), Counter> {
    let (node, incarnation) = (message.sender.get(), message.incarnation.get());
    if node == 0 {
        return Err(Counter::RejectedSender);
    }
    if node == config.node && !own {
        if incarnation == config.incarnation {
            return Err(Counter::OwnEcho);
        }
        memory.report(EventKind::DuplicateId, 0, node, incarnation);
        return Err(Counter::RejectedSender);
    }
    let freshness = Freshness { incarnation, sequence: message.sequence.get() };
    if memory.admit(node, freshness, now) { Ok(()) } else { Err(Counter::RejectedReplay) }
}

/// Only messages of this node's configuration are decided on: the answer to an older one says so, and a newer one
/// makes the daemon look for it.
#[inline(always)]
fn check_epoch(message: &Message, config: &Config, memory: &mut impl Memory) -> Result<(), Verdict> {
    let epoch = message.epoch.get();
    if config.epoch == 0 {
        return Err(Verdict::Drop(Counter::RejectedEpoch));
    }
    if epoch > config.epoch {
        memory.report(EventKind::NewerEpoch, 0, message.sender.get(), u64::from(epoch));
        return Err(Verdict::Drop(Counter::RejectedEpoch));
    }
    if epoch < config.epoch {
        return Err(Verdict::Reply(Answer::refused(Reason::OldEpoch, Ballot(message.ballot.get()), 0)));
    }
    Ok(())
}

/// Answers to this daemon's own messages: renewals end here, the rest is the daemon's.
#[inline(always)]
fn answer(message: &Message, kind: Kind, config: &Config, memory: &mut impl Memory) -> Verdict {
    let ballot = Ballot(message.ballot.get());
    let (sender, sent_at) = (message.sender.get(), message.sent_at.get());
    let names_us = ballot.node() == config.node || matches!(kind, Kind::Refused | Kind::Taken);
    if message.incarnation.get() != config.incarnation || !names_us {
        return Verdict::Drop(Counter::RejectedReplay);
    }
    if sender == 0 || (sender == config.node && !matches!(kind, Kind::Taken)) {
        return Verdict::Drop(Counter::RejectedSender);
    }
    let now = memory.now();
    memory.heard(sender, now);
    if !matches!(kind, Kind::Accepted) {
        return Verdict::Pass(Counter::MessagePassed);
    }
    let Some(slot) = memory.slot(message.group.get()) else {
        return Verdict::Drop(Counter::RejectedGroup);
    };
    renewed(slot, sender, ballot, sent_at, now, memory);
    // While the daemon does not know that it holds the lease, it needs the answer itself.
    if memory.is_holder(slot) {
        Verdict::Drop(Counter::LeaseRenewed)
    } else {
        Verdict::Pass(Counter::MessagePassed)
    }
}

/// Counts an Accepted of this node's proposal and extends the lease word, if a quorum stands behind it.
#[inline(always)]
fn renewed(slot: u32, voter: u16, ballot: Ballot, sent_at: u64, now: u64, memory: &mut impl Memory) {
    if let Some(until) = memory.accepted(slot, voter, ballot, sent_at, now) {
        memory.extend(slot, until);
    }
}

#[cfg(test)]
mod tests;
