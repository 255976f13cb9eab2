//! One node of the simulation: its clock, its maps with what the data plane does to them, and its daemon.

use std::collections::BTreeMap;

use vip_common::lease::{Acceptor, Ballot, Decision, Freshness, Renewal, Request, extension, held};
use vip_common::maps::Role;
use vip_common::wire::Reason;

use super::super::{Answer, Election, Refusal, View};

/// Clock rates are given in parts of this.
const NOMINAL: u64 = 10_000;

/// A clock that runs evenly at `rate`, by true time in ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) rate: u64,
    pub(super) started_at: u64,
    pub(super) at_start: u64,
}

impl Clock {
    pub(super) fn read(&self, true_time: u64) -> u64 {
        self.at_start + (true_time - self.started_at) * self.rate / NOMINAL
    }

    /// The first true time at which the clock shows `local` or more.
    pub(super) fn reaches(&self, local: u64) -> u64 {
        self.started_at + (local.saturating_sub(self.at_start) * NOMINAL).div_ceil(self.rate)
    }
}

/// A request on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) from: u16,
    pub(super) freshness: Freshness,
    pub(super) request: Request,
    pub(super) sent_at: u64,
}

/// An answer on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) from: u16,
    pub(super) incarnation: u64,
    pub(super) answer: Answer,
}

/// The maps of a group and the rules of `vip-ebpf` that change them.
#[derive(Default)]
pub(super) struct Plane {
    pub(super) acceptor: Acceptor,
    pub(super) renewal: Renewal,
    pub(super) lease_until: u64,
    pub(super) is_holder: bool,
    pub(super) peers: BTreeMap<u16, Freshness>,
}

impl Plane {
    /// `request` of vote.rs: what the acceptor decides; `None` for a replay.
    pub(super) fn decide(&mut self, me: u16, ask: &Ask, now: u64, longest: u64) -> Option<Decision> {
        let Freshness { incarnation, sequence } = ask.freshness;
        if !self.peers.entry(ask.from).or_default().admit(incarnation, sequence) {
            return None;
        }
        let decision = self.acceptor.decide(ask.request, now, longest);
        if let (Decision::Accepted, Request::Propose(ballot, _), true) =
            (decision, ask.request, ask.from == me)
        {
            self.renewed(me, ballot, ask.sent_at, now);
        }
        Some(decision)
    }

    /// `answer` of vote.rs: whether the answer goes up to the daemon.
    pub(super) fn take_answer(&mut self, voter: u16, answer: &Answer, now: u64) -> bool {
        let Answer::Accepted { ballot, sent_at } = *answer else { return true };
        self.renewed(voter, ballot, sent_at, now);
        !self.is_holder
    }

    fn renewed(&mut self, voter: u16, ballot: Ballot, sent_at: u64, now: u64) {
        let until = self.renewal.accepted(voter, ballot, sent_at, now);
        if let Some(word) = until.and_then(|until| extension(self.lease_until, until)) {
            self.lease_until = word;
        }
    }

    pub(super) fn set_role(&mut self, role: Role) {
        self.is_holder = role == Role::Holder;
    }
}

/// What waits in the socket and the ring buffer for the daemon.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Answer(u16, Answer),
    Released,
}

/// The driver of an election.
pub(super) struct Daemon {
    pub(super) election: Election,
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    /// True time; in the past = it runs.
    pub(super) frozen_until: u64,
    pub(super) inbox: Vec<Input>,
    pub(super) candidates: Vec<u16>,
    /// True time of the wake-up that is planned.
    pub(super) wakes_at: u64,
    /// How often the timer woke it.
    pub(super) wakes: u64,
}

/// A node.
pub(super) struct Machine {
    pub(super) id: u16,
    pub(super) clock: Clock,
    /// `None` while the machine is down; a new one has forgotten everything.
    pub(super) plane: Option<Plane>,
    pub(super) daemon: Option<Daemon>,
    /// Of the last daemon; kept on disk.
    pub(super) incarnation: u64,
}

impl Machine {
    pub(super) fn serves(&self, true_time: u64) -> bool {
        self.plane.as_ref().is_some_and(|plane| held(plane.lease_until, self.clock.read(true_time)))
    }

    pub(super) fn view(&self, true_time: u64) -> View {
        let plane = self.plane.as_ref().expect("the machine is up");
        View {
            now: self.clock.read(true_time),
            lease_until: plane.lease_until,
            holder_until: plane.acceptor.expires,
            holder_ballot: Ballot(plane.acceptor.ballot),
            quarantine_until: plane.acceptor.quarantine_until,
        }
    }
}

/// What an acceptor says to a decision on `ask`.
pub(super) fn answer(decision: Decision, ask: &Ask, longest: u64) -> Option<Answer> {
    let asked = match ask.request {
        Request::Prepare(asked) | Request::Propose(asked, _) | Request::Release(asked) => asked,
        Request::Transfer { to, .. } => to,
    };
    let sent_at = ask.sent_at;
    let refused =
        |reason, ballot, duration| Answer::Refused(Refusal { reason, ballot, duration, epoch: 1, sent_at });
    Some(match decision {
        Decision::Silent | Decision::Released | Decision::Transferred => return None,
        Decision::Promise => Answer::Promise(asked),
        Decision::Accepted => Answer::Accepted { ballot: asked, sent_at },
        Decision::Held(ballot, remaining) => refused(Reason::Held, ballot, remaining),
        Decision::Promised(ballot) => refused(Reason::Promised, ballot, 0),
        Decision::TooLong => refused(Reason::TooLong, asked, longest),
    })
}
