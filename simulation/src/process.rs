//! A node: its machine, its disk, and the daemon on it, with the two threads that matter.

use std::collections::VecDeque;
use std::rc::Rc;

use rand::rngs::SmallRng;
use vip_common::lease::{Ballot, Request};
use vip_common::maps::EventKind;
use vip_common::vote;
use vip_common::wire::{Kind, Message};
use vip_user::election::{Election, View};
use vip_user::membership::{Configuration, Durable, Hello, Membership, Sender, Stored};
use vip_user::pair::Pair;

use crate::clock::Clock;
use crate::plane::{FIRST_GROUP, Plane};
use crate::schedule::{Part, Point, Sudden};

/// The cluster's number on the wire.
const CLUSTER: u32 = 7;

/// A node.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: u16,
    pub(crate) clock: Clock,
    /// Timers that are late, writes that take their time.
    pub(crate) rng: SmallRng,
    /// `None` while there is no program on the interface.
    pub(crate) plane: Option<Plane>,
    /// Counts the planes: what was under way in an earlier one ended with it.
    pub(crate) planes: u32,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) disk: Disk,
    /// What the next daemon finds: how far the wall clock is behind the true time.
    pub(crate) wall_clock_back: u64,
    pub(crate) priorities: Vec<u8>,
    /// How many faults keep it from holding.
    pub(crate) unfit: u32,
    /// It starts no daemon before this true time.
    pub(crate) down_until: u64,
    pub(crate) trap: Option<(Point, Sudden)>,
}

/// What a node still knows after any crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) stored: Stored,
    /// Of the last daemon.
    pub(crate) incarnation: u64,
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) incarnation: u64,
    pub(crate) lease: LeaseThread,
    pub(crate) control: ControlPlane,
}

/// The lease thread: elections, and all sending.
#[derive(Debug)]
pub(crate) struct LeaseThread {
    /// By slot.
    pub(crate) elections: Vec<Election>,
    /// What waits in its socket, its ring buffer and its orders.
    pub(crate) inbox: VecDeque<Input>,
    /// The election whose actions are being carried out.
    pub(crate) acting: Option<usize>,
    pub(crate) timing: Timing,
    /// How often a timer has woken it.
    pub(crate) wakes: u64,
    /// In pair mode.
    pub(crate) pair: Option<PairSide>,
    origin: Origin,
}

/// What the lease thread has for pair mode.
#[derive(Debug)]
pub(crate) struct PairSide {
    pub(crate) core: Pair,
    /// Of the current configuration.
    pub(crate) voters: Rc<[u16]>,
    /// By slot, what the election has been told.
    pub(crate) told: Vec<bool>,
    /// Slots of elections that were told something.
    pub(crate) to_act: Vec<usize>,
}

/// The control plane: membership, and what is told to the elections.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) membership: Membership,
    pub(crate) inbox: VecDeque<News>,
    pub(crate) timing: Timing,
    /// The data plane has it, and the lease thread does not know yet.
    pub(crate) adopted: Option<Configuration>,
    /// The groups that this node holds, as far as the control plane knows.
    pub(crate) holds: Vec<bool>,
    pub(crate) removing: Option<Removing>,
    /// How many writes are on their way to the disk.
    pub(crate) writing: u32,
    /// When to look for a fitter node again, on the node's clock.
    pub(crate) yields_at: u64,
    /// In pair mode, whom the lease thread has been told of.
    pub(crate) peer: Option<u16>,
}

/// When a thread runs.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// True time; in the past = it runs.
    pub(crate) stalled_until: u64,
    /// The deadline that a wake-up is planned for, on the node's clock.
    pub(crate) deadline: Option<u64>,
    /// True time of that wake-up.
    pub(crate) wakes_at: u64,
    /// After a stall, timers come before what has waited in the inbox.
    pub(crate) timers_first: bool,
}

/// What the lease thread has to take in.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The data plane has passed a message.
    Datagram(Message, Body),
    /// The data plane has something to tell about a slot.
    Event(EventKind, u32),
    /// Messages are of this epoch from now on.
    Epoch(u32),
    /// For one election, as for all: the voters.
    Voters(usize, Rc<[u16]>),
    Candidates(usize, Vec<u16>),
    Eligible(usize, bool),
    Release(usize),
    HandOver(usize, u16),
    /// In pair mode: the other one of two voters.
    Peer(Option<u16>),
    /// The gateway has answered.
    Answer,
    /// For all nodes.
    Hello(Rc<Hello>),
    /// The last Hello; the daemon ends, and is started again so much later.
    End(Body, u64),
}

/// What is behind a message: nothing, or a Hello, as it comes out of its encoding.
pub(crate) type Body = Option<Rc<Hello>>;

/// A command that asks for a voter to be counted out, again and again until it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removing {
    pub(crate) id: u16,
    /// True time.
    pub(crate) until: u64,
    /// A node that counts itself out ends, and starts again so much later.
    pub(crate) down: u64,
}

/// What the control plane has to take in.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Hello(Sender, Rc<Hello>),
    Durable(Durable),
    /// A group is held from now on, or no more.
    Holds(usize, bool),
    /// Carrier is lost, or back.
    Carrier,
    /// Wishes for a group: that it is given back, or handed over, if this node holds it.
    Release(usize),
    HandOver(usize, u16),
    /// The operator wants the daemon to end, and starts it again so much later.
    Stop(u64),
    /// The operator wants a voter counted out.
    Remove(Removing),
}

/// Who makes a daemon's messages, and their numbers.
#[derive(Debug)]
struct Origin {
    node: u16,
    incarnation: u64,
    sequence: u64,
    epoch: u32,
}

impl Timing {
    pub(crate) fn runs(&self, now: u64) -> bool {
        self.stalled_until <= now
    }
}

impl Daemon {
    pub(crate) fn new(node: u16, incarnation: u64, elections: Vec<Election>, membership: Membership) -> Self {
        let holds = vec![false; elections.len()];
        let lease = LeaseThread {
            elections,
            inbox: VecDeque::new(),
            acting: None,
            timing: Timing::default(),
            wakes: 0,
            pair: None,
            origin: Origin { node, incarnation, sequence: 0, epoch: 0 },
        };
        let control = ControlPlane {
            membership,
            inbox: VecDeque::new(),
            timing: Timing::default(),
            adopted: None,
            holds,
            removing: None,
            writing: 0,
            yields_at: 0,
            peer: None,
        };
        Self { incarnation, lease, control }
    }

    /// Stalls threads until then, unless they are for longer already.
    pub(crate) fn stall(&mut self, part: Part, until: u64) {
        let (lease, control) = (&mut self.lease.timing, &mut self.control.timing);
        match part {
            Part::Lease => lease.stalled_until = lease.stalled_until.max(until),
            Part::Control => control.stalled_until = control.stalled_until.max(until),
            Part::Both => {
                lease.stalled_until = lease.stalled_until.max(until);
                control.stalled_until = control.stalled_until.max(until);
            }
        }
    }
}

impl LeaseThread {
    pub(crate) fn set_epoch(&mut self, epoch: u32) {
        self.origin.epoch = epoch;
    }

    /// A message to the acceptors of a group.
    pub(crate) fn request(&mut self, slot: usize, request: Request, sent_at: u64) -> Message {
        let (kind, Ballot(ballot), duration) = vote::fields(request);
        self.about_lease(slot, kind, ballot, sent_at, duration)
    }

    /// A message about the lease of a group, to acceptors or to another node's election.
    pub(crate) fn about_lease(
        &mut self,
        slot: usize,
        kind: Kind,
        ballot: u64,
        sent_at: u64,
        duration: u64,
    ) -> Message {
        let mut message = self.message(kind);
        message.group = group_of(slot).into();
        message.sent_at = sent_at.into();
        message.ballot = ballot.into();
        message.duration = duration.into();
        message
    }

    /// The configuration epoch in all messages.
    pub(crate) fn epoch(&self) -> u32 {
        self.origin.epoch
    }

    /// A message of this daemon, with the next number.
    pub(crate) fn message(&mut self, kind: Kind) -> Message {
        self.origin.sequence += 1;
        let Origin { node, incarnation, sequence, epoch } = self.origin;
        let mut message = Message::new(kind, CLUSTER);
        message.sender = node.into();
        message.incarnation = incarnation.into();
        message.sequence = sequence.into();
        message.epoch = epoch.into();
        message
    }
}

impl Machine {
    /// What an election sees of its group.
    pub(crate) fn view(&self, slot: usize, now: u64) -> View {
        let Some(group) = self.plane.as_ref().map(|plane| &plane.groups[slot]) else {
            return View::default();
        };
        View {
            now: self.clock.read(now),
            lease_until: group.lease_until,
            holder_until: group.acceptor.expires,
            holder_ballot: Ballot(group.acceptor.ballot),
            quarantine_until: group.acceptor.quarantine_until,
        }
    }
}

/// The kind of a message of this cluster; others do not exist here.
pub(crate) fn kind(message: &Message) -> Option<Kind> {
    message.kind_for(CLUSTER).ok()
}

/// The slot of the group that a message is about.
pub(crate) fn slot_of(message: &Message) -> Option<usize> {
    Some(message.group.get().checked_sub(FIRST_GROUP)? as usize)
}

fn group_of(slot: usize) -> u32 {
    u32::try_from(slot).map_or(0, |slot| FIRST_GROUP + slot)
}
