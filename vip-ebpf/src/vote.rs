//! Lease messages: verified first, then decided on by the rules of [`vip_common::lease`].
//!
//! A request is answered from the group's acceptor; an answer to this node's own renewal extends the lease word.
//! The daemon casts its own vote by running this program on its own message (BPF_PROG_TEST_RUN), so that all votes
//! of a node come from here.

use vip_common::lease::{Ballot, Decision, Request, extension};
use vip_common::maps::{Config, Counter, Event, EventKind, Group, Peer, Role};
use vip_common::wire::{Invalid, Kind, Message, Reason};

use crate::decide::{EMPTY_EVENT, interface, now, report};
use crate::maps::{ACCEPTORS, GROUPS, PEERS, RENEWALS, SLOTS};
use crate::parse::{Datagram, Ethernet, Packet, is_multicast};
use crate::shared::shared;
use crate::verdict::{Answer, Verdict};

/// Index of the loopback interface in every network namespace, and so of BPF_PROG_TEST_RUN without a context.
const LOOPBACK: u32 = 1;
/// How often an extension is tried again when another CPU changed the word meanwhile.
const EXTENSION_TRIES: u32 = 4;

/// Where a message came from.
struct Source {
    mac: [u8; 6],
    address: [u8; 4],
    own: bool,
}

/// Decides on a datagram to the protocol's port; `None` if it is addressed to nobody here.
///
/// One that the stack would put right before it reached the daemon, with IP options or in fragments, goes no further:
/// what comes to the daemon has been verified.
#[inline(always)]
pub(crate) fn message(
    packet: &Packet<'_>,
    ipv4: usize,
    destination: [u8; 4],
    config: &Config,
) -> Option<Verdict> {
    let own = packet.interface() == LOOPBACK && interface(packet).is_none();
    let ours = own || is_multicast(destination) || interface(packet)?.address == destination;
    if !ours {
        return None;
    }
    let ethernet = packet.at::<Ethernet>(0)?;
    let Some(datagram) = packet.at::<Datagram>(ipv4) else {
        return Some(Verdict::Drop(Counter::RejectedMalformed));
    };
    let source = Source { mac: ethernet.source, address: datagram.ipv4.source, own };
    let message = &datagram.message;
    let kind = match verify(message, datagram, config) {
        Ok(kind) => kind,
        Err(invalid) => return Some(Verdict::Drop(rejection(invalid))),
    };
    Some(match kind {
        Kind::Prepare | Kind::Propose | Kind::Release | Kind::Transfer => {
            request(packet, ipv4, message, kind, &source, config)
        }
        Kind::Hello | Kind::Offer | Kind::Ask | Kind::Grant => to_daemon(message, &source, config),
        Kind::Probe => Verdict::Pass(Counter::MessagePassed),
        Kind::Promise | Kind::Accepted | Kind::Refused | Kind::Taken => answer(message, kind, config),
    })
}

/// The tag comes before anything that the message says; protocol and cluster come before the tag only to be counted
/// apart from forgeries.
#[inline(always)]
fn verify(message: &Message, datagram: &Datagram, config: &Config) -> Result<Kind, Invalid> {
    let kind = message.kind_for(config.cluster)?;
    let may_have_body = matches!(kind, Kind::Hello | Kind::Probe | Kind::Taken);
    if !datagram.ipv4.is_plain() || !datagram.fits_body() || (message.body_len.get() != 0 && !may_have_body) {
        return Err(Invalid::Malformed);
    }
    let tag = message.tag.get();
    if tag_under(message, &config.keys[0]) == tag {
        return Ok(kind);
    }
    if config.key_count > 1 && tag_under(message, &config.keys[1]) == tag {
        return Ok(kind);
    }
    Err(Invalid::Tag)
}

/// A function of its own, so that the program holds the hash once.
#[inline(never)]
pub(crate) fn tag_under(message: &Message, key: &[u64; 2]) -> u64 {
    message.tag_under(key)
}

#[inline(always)]
fn rejection(invalid: Invalid) -> Counter {
    match invalid {
        Invalid::Malformed => Counter::RejectedMalformed,
        Invalid::OtherCluster => Counter::RejectedCluster,
        Invalid::Tag => Counter::RejectedTag,
    }
}

/// Prepare, Propose, Release: the acceptor's work.
#[inline(always)]
fn request(
    packet: &Packet<'_>,
    ipv4: usize,
    message: &Message,
    kind: Kind,
    source: &Source,
    config: &Config,
) -> Verdict {
    if let Err(counter) = check_sender(message, source, config) {
        return Verdict::Drop(counter);
    }
    let ballot = Ballot(message.ballot.get());
    if !matches!(kind, Kind::Transfer) && ballot.node() != message.sender.get() {
        return Verdict::Drop(Counter::RejectedSender);
    }
    if let Err(verdict) = check_epoch(packet, ipv4, message, source, config) {
        return verdict;
    }
    // SAFETY: an entry deleted meanwhile stays readable until this run of the program ends (RCU).
    let Some(slot) = (unsafe { SLOTS.get(message.group.get()) }) else {
        return Verdict::Drop(Counter::RejectedGroup);
    };
    let request = match kind {
        Kind::Prepare => Request::Prepare(ballot),
        Kind::Release => Request::Release(ballot),
        Kind::Transfer => {
            Request::Transfer { from: message.sender.get(), to: ballot, left: message.duration.get() }
        }
        _ => Request::Propose(ballot, message.duration.get()),
    };
    let decision = accept(*slot, request, source, config);
    match decision {
        Decision::Released => {
            report(Event { kind: EventKind::Released as u32, slot: *slot, value: ballot.0, ..EMPTY_EVENT });
        }
        Decision::Accepted if source.own => {
            renewed(*slot, config.node, ballot, message.sent_at.get());
        }
        Decision::TooLong => {
            let kind = EventKind::LeaseTooLong as u32;
            let (node, value) = (ballot.node(), message.duration.get());
            report(Event { kind, slot: *slot, node, value, ..EMPTY_EVENT });
        }
        _ => {}
    }
    match reply(decision, ballot, config) {
        Some(answer) => send_back(packet, ipv4, answer, source),
        None => Verdict::Drop(Counter::LeaseSilent),
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

/// The sender is somebody else, or this daemon itself by way of BPF_PROG_TEST_RUN; and the message is a new one.
#[inline(always)]
fn check_sender(message: &Message, source: &Source, config: &Config) -> Result<(), Counter> {
    let node = message.sender.get();
    let incarnation = message.incarnation.get();
    if node == 0 {
        return Err(Counter::RejectedSender);
    }
    if node == config.node && !source.own {
        if incarnation == config.incarnation {
            return Err(Counter::OwnEcho);
        }
        let kind = EventKind::DuplicateId as u32;
        let (address, mac) = (source.address, source.mac);
        report(Event { kind, node, value: incarnation, address, mac, ..EMPTY_EVENT });
        return Err(Counter::RejectedSender);
    }
    if admit(message, source) { Ok(()) } else { Err(Counter::RejectedReplay) }
}

/// Replay check; remembers when and where the sender was heard.
#[inline(always)]
fn admit(message: &Message, source: &Source) -> bool {
    let node = u32::from(message.sender.get());
    let (incarnation, sequence) = (message.incarnation.get(), message.sequence.get());
    let heard = now();
    let Some(peer) = peer(node) else { return false };
    let freshness = shared!(peer, freshness);
    let fresh = freshness.locked(shared!(peer, lock), |freshness| freshness.admit(incarnation, sequence));
    if fresh {
        shared!(peer, last_heard).store(heard);
        shared!(peer, mac).store(source.mac);
        shared!(peer, address).store(source.address);
    }
    fresh
}

/// The entry of a node, made at its first message.
#[inline(always)]
fn peer(node: u32) -> Option<*mut Peer> {
    const NO_EXIST: u64 = 1;
    if let Some(peer) = PEERS.get_ptr_mut(node) {
        return Some(peer);
    }
    let _ = PEERS.insert(node, Peer::default(), NO_EXIST);
    PEERS.get_ptr_mut(node)
}

/// Only messages of this node's configuration are decided on: the answer to an older one says so, and a newer one
/// makes the daemon look for it.
#[inline(always)]
fn check_epoch(
    packet: &Packet<'_>,
    ipv4: usize,
    message: &Message,
    source: &Source,
    config: &Config,
) -> Result<(), Verdict> {
    let epoch = message.epoch.get();
    if config.epoch == 0 {
        return Err(Verdict::Drop(Counter::RejectedEpoch));
    }
    if epoch > config.epoch {
        let kind = EventKind::NewerEpoch as u32;
        let (node, value) = (message.sender.get(), u64::from(epoch));
        report(Event { kind, node, value, ..EMPTY_EVENT });
        return Err(Verdict::Drop(Counter::RejectedEpoch));
    }
    if epoch < config.epoch {
        let answer = Answer::refused(Reason::OldEpoch, Ballot(message.ballot.get()), 0);
        return Err(send_back(packet, ipv4, answer, source));
    }
    Ok(())
}

/// Lets the group's acceptor decide, and shows its lease to the data plane and the daemon.
#[inline(always)]
fn accept(slot: u32, request: Request, source: &Source, config: &Config) -> Decision {
    let (Some(acceptor), Some(group)) = (ACCEPTORS.get_ptr_mut(slot), GROUPS.get_ptr_mut(slot)) else {
        return Decision::Silent;
    };
    let (now, longest) = (now(), config.longest_lease);
    shared!(acceptor, state).locked(shared!(acceptor, lock), |acceptor| {
        let decision = acceptor.decide(request, now, longest);
        shared!(group, holder_until).store(acceptor.expires);
        shared!(group, holder_ballot).store(acceptor.ballot);
        shared!(group, holder).store(Ballot(acceptor.ballot).node());
        if matches!(decision, Decision::Accepted) {
            shared!(group, holder_mac).store(source.mac);
        }
        decision
    })
}

/// What only the daemon understands goes up to it, once.
#[inline(always)]
fn to_daemon(message: &Message, source: &Source, config: &Config) -> Verdict {
    match check_sender(message, source, config) {
        Ok(()) => Verdict::Pass(Counter::MessagePassed),
        Err(counter) => Verdict::Drop(counter),
    }
}

/// Answers to this daemon's own messages: renewals end here, the rest is the daemon's.
#[inline(always)]
fn answer(message: &Message, kind: Kind, config: &Config) -> Verdict {
    let ballot = Ballot(message.ballot.get());
    let (sender, sent_at) = (message.sender.get(), message.sent_at.get());
    let names_us = ballot.node() == config.node || matches!(kind, Kind::Refused | Kind::Taken);
    if message.incarnation.get() != config.incarnation || !names_us {
        return Verdict::Drop(Counter::RejectedReplay);
    }
    if sender == 0 || (sender == config.node && !matches!(kind, Kind::Taken)) {
        return Verdict::Drop(Counter::RejectedSender);
    }
    if let Some(peer) = PEERS.get_ptr_mut(u32::from(sender)) {
        shared!(peer, last_heard).store(now());
    }
    if !matches!(kind, Kind::Accepted) {
        return Verdict::Pass(Counter::MessagePassed);
    }
    // SAFETY: an entry deleted meanwhile stays readable until this run of the program ends (RCU).
    let Some(slot) = (unsafe { SLOTS.get(message.group.get()) }) else {
        return Verdict::Drop(Counter::RejectedGroup);
    };
    match renewed(*slot, sender, ballot, sent_at) {
        Role::Holder => Verdict::Drop(Counter::LeaseRenewed),
        Role::Follower => Verdict::Pass(Counter::MessagePassed),
    }
}

/// Counts an Accepted of this node's proposal and extends the lease word, if a quorum stands behind it.
/// Gives the daemon's role: while it does not know that it holds the lease, it needs the answer itself.
#[inline(always)]
fn renewed(slot: u32, voter: u16, ballot: Ballot, sent_at: u64) -> Role {
    let (Some(renewal), Some(group)) = (RENEWALS.get_ptr_mut(slot), GROUPS.get_ptr_mut(slot)) else {
        return Role::Follower;
    };
    let now = now();
    let until = shared!(renewal, state)
        .locked(shared!(renewal, lock), |renewal| renewal.accepted(voter, ballot, sent_at, now));
    if let Some(until) = until {
        extend(group, until);
    }
    if shared!(group, role).load() == Role::Holder as u32 { Role::Holder } else { Role::Follower }
}

/// Moves the lease word forward, never from 0 and never back.
#[inline(always)]
fn extend(group: *mut Group, until: u64) {
    let lease_until = shared!(group, lease_until);
    for _ in 0..EXTENSION_TRIES {
        let word = lease_until.load();
        let Some(new) = extension(word, until) else { return };
        if lease_until.compare_and_swap(word, new) {
            return;
        }
    }
}

/// Has an answer sent to where its request came from.
#[inline(always)]
fn send_back(packet: &Packet<'_>, ipv4: usize, answer: Answer, source: &Source) -> Verdict {
    let interface = interface(packet);
    if interface.is_none() && !source.own {
        return Verdict::Drop(Counter::LeaseSilent);
    }
    Verdict::AnswerMessage { ipv4, interface, answer }
}
