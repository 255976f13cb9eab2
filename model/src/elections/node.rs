//! A node: its data plane, and the daemon's lease thread around an election.

use std::collections::VecDeque;
use std::sync::Arc;

use vip_common::lease::{Ballot, Request, held};
use vip_common::maps::{Config, Role};
use vip_common::vote::{self, Verdict};
use vip_common::wire::{Kind, Message, Reason};
use vip_user::election::{Action, Answer, Election, Settings, State, View};

use super::rules::{FAST, INTERVAL, LEASE, Rules, SLOW};
use crate::flaw::Flaw;
use crate::letters::{Letter, Sequences};
use crate::plane::{Maps, Plane};

/// What clocks show in the beginning, in ns: everything from before is long over.
const START: u64 = 1_000 * FAST;
/// Of the one configuration.
const EPOCH: u32 = 1;

/// A node, its machine and its disk.
#[derive(Clone, PartialEq, Hash, Debug)]
pub(super) struct Node<const N: usize> {
    pub(super) id: u16,
    /// See [`Rules::candidates`].
    candidates: u16,
    /// What its clock gains in a tick.
    rate: u64,
    now: u64,
    pub(super) plane: Plane<N>,
    election: Election,
    /// Of the present daemon; on the disk.
    incarnation: u64,
    sequence: u64,
    /// The latest Prepare or Propose: its ballot, kind and stamp.
    asked: Option<(Ballot, Kind, u64)>,
    is_frozen: bool,
    /// What has come for the daemon while it was stopped, and is not taken in yet.
    inbox: VecDeque<Input>,
}

/// What the data plane passes on to the daemon.
#[derive(Clone, Copy, PartialEq, Hash, Debug)]
enum Input {
    Letter(Letter),
    /// Its own acceptor has seen the holder give its lease back.
    Released,
}

impl<const N: usize> Node<N> {
    /// A machine that has been there for long, and a daemon that starts.
    pub(super) fn start(id: u16, is_slow: bool, rules: &Rules, sent: &mut Vec<Letter>) -> Self {
        let mut node = Self {
            id,
            candidates: rules.candidates,
            rate: if is_slow { SLOW } else { FAST },
            now: START,
            plane: Plane::new(0, EPOCH),
            election: Election::new(settings(id), u64::from(id)),
            incarnation: 0,
            sequence: 0,
            asked: None,
            is_frozen: false,
            inbox: VecDeque::new(),
        };
        node.restart(rules.flaw, sent);
        node
    }

    pub(super) fn serves(&self) -> bool {
        held(self.plane.lease_until, self.now)
    }

    /// The ballots that this node asks under or counts answers to.
    pub(super) fn ballots(&self) -> impl Iterator<Item = (Ballot, u16)> {
        let asked = self.asked.map(|(ballot, ..)| ballot);
        asked.into_iter().chain([Ballot(self.plane.renewal.ballot)]).map(|ballot| (ballot, self.id))
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    pub(super) fn is_holder(&self) -> bool {
        !self.is_frozen && self.election.state() == State::Holder
    }

    /// Whether a daemon that is not the first one holds.
    pub(super) fn has_come_back(&self) -> bool {
        self.incarnation > 1 && self.serves() && self.is_holder()
    }

    pub(super) fn is_active(&self) -> bool {
        !self.is_frozen && self.election.state() != State::Follower
    }

    /// Whether a timer has to be met now.
    pub(super) fn is_due(&self) -> bool {
        !self.is_frozen && self.election.next_deadline().is_some_and(|deadline| deadline <= self.now)
    }

    /// Whether a running daemon has something to take in.
    pub(super) fn has_input(&self) -> bool {
        !self.is_frozen && !self.inbox.is_empty()
    }

    /// Gives the sequence numbers anew.
    pub(super) fn renumber(node: &mut Arc<Self>, sequences: &Sequences) {
        let sequence = sequences.renumber(node.id, node.incarnation, node.sequence);
        let peers = node.plane.renumbered_peers(sequences);
        if (sequence, peers) != (node.sequence, node.plane.peers) {
            let node = Arc::make_mut(node);
            (node.sequence, node.plane.peers) = (sequence, peers);
        }
    }

    pub(super) fn tick(&mut self) {
        self.now += self.rate;
    }

    // What happens to it.

    /// The daemon is killed, if there was one, and another one starts.
    pub(super) fn restart(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        self.incarnation += 1;
        self.sequence = 0;
        self.asked = None;
        self.is_frozen = false;
        self.inbox.clear();
        self.election = Election::new(settings(self.id), u64::from(self.id));
        let all: Vec<u16> = (1..).take(N).collect();
        self.act(flaw, sent);
        self.tell(flaw, sent, |election, view| election.set_voters(&all, view));
        let candidates: Vec<u16> = (1..=self.candidates).collect();
        self.tell(flaw, sent, |election, view| election.set_candidates(&candidates, view));
        let may_hold = candidates.contains(&self.id);
        self.tell(flaw, sent, |election, view| election.set_eligible(may_hold, view));
    }

    /// The machine starts anew, without its maps.
    pub(super) fn crash(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        let quarantine = if flaw == Some(Flaw::SkipsQuarantine) { 0 } else { LEASE };
        self.plane = Plane::new(self.now + quarantine, EPOCH);
        self.restart(flaw, sent);
    }

    pub(super) fn freeze(&mut self) {
        self.is_frozen = true;
    }

    pub(super) fn thaw(&mut self) {
        self.is_frozen = false;
    }

    /// The daemon takes in the first thing that has waited.
    pub(super) fn take_input(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        if let Some(input) = self.inbox.pop_front() {
            self.take(input, flaw, sent);
        }
    }

    pub(super) fn wake(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        self.tell(flaw, sent, Election::handle_timeout);
    }

    pub(super) fn release(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        self.tell(flaw, sent, Election::release);
    }

    pub(super) fn hand_over(&mut self, to: u16, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        self.tell(flaw, sent, |election, view| election.hand_over(to, view));
    }

    // Messages.

    /// The data plane decides on a message and answers it, or passes it on.
    pub(super) fn hear(&mut self, letter: &Letter, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        if flaw == Some(Flaw::NeverPromises) && letter.kind == Kind::Prepare {
            return;
        }
        let mut message = letter.message();
        let (verdict, has_released) = self.decide(&message, letter.kind, false, flaw);
        match verdict {
            Verdict::Reply(answer) => {
                answer.put_into(&mut message, &self.config());
                sent.push(Letter::new(letter.from, answer.kind, &message));
            }
            Verdict::Pass(_) => self.pass(Input::Letter(letter.unnumbered()), flaw, sent),
            Verdict::Drop(_) => {}
        }
        if has_released {
            self.pass(Input::Released, flaw, sent);
        }
    }

    /// Whether a letter to this node can still change anything. `replayable` = it may lose what it knows of senders.
    pub(super) fn may_matter(&self, letter: &Letter, replayable: bool) -> bool {
        let peer = self.plane.peers[usize::from(letter.from) - 1];
        let is_new = replayable || (letter.incarnation, letter.sequence) > (peer.incarnation, peer.sequence);
        if !letter.is_answer() {
            return is_new;
        }
        let state = self.election.state();
        letter.incarnation == self.incarnation
            && match letter.kind {
                Kind::Promise => {
                    let asks = self.asked.map(|(ballot, kind, _)| (ballot, kind));
                    state == State::Candidate && asks == Some((letter.ballot, Kind::Prepare))
                }
                Kind::Accepted => {
                    let renewal = &self.plane.renewal;
                    let place = renewal.voters.iter().position(|id| *id == letter.from);
                    letter.ballot.0 == renewal.ballot
                        && place.is_some_and(|place| letter.sent_at > renewal.accepted_at[place])
                }
                _ => match state {
                    State::Candidate => self.asked.is_some_and(|(.., sent_at)| sent_at == letter.sent_at),
                    State::Holder => {
                        letter.refusal() == Some(Reason::Promised)
                            && letter.ballot.0 > self.plane.renewal.ballot
                    }
                    State::Follower => false,
                },
            }
    }

    fn pass(&mut self, input: Input, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        if self.is_frozen || self.has_input() {
            // A second one of the same would say nothing new.
            if !self.inbox.contains(&input) {
                self.inbox.push_back(input);
            }
        } else {
            self.take(input, flaw, sent);
        }
    }

    /// As the daemon's `read` and `hear`.
    fn take(&mut self, input: Input, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        let letter = match input {
            Input::Letter(letter) => letter,
            Input::Released => return self.tell(flaw, sent, Election::handle_released),
        };
        let Letter { from, ballot, sent_at, duration, .. } = letter;
        self.tell(flaw, sent, |election, view| match letter.kind {
            Kind::Offer => election.handle_offer(from, ballot, view),
            Kind::Ask => election.handle_ask(from, ballot, sent_at, view),
            Kind::Grant => election.handle_grant(from, ballot, sent_at, duration, view),
            _ => {
                if let Some(answer) = Answer::read(&letter.message()) {
                    election.handle_answer(from, answer, view);
                }
            }
        });
    }

    fn decide(&mut self, message: &Message, kind: Kind, own: bool, flaw: Option<Flaw>) -> (Verdict, bool) {
        let config = self.config();
        let proposed_at = self.asked.map_or(0, |(.., sent_at)| sent_at);
        let mut maps = Maps { plane: &mut self.plane, now: self.now, proposed_at, flaw, has_released: false };
        let verdict = vote::message(message, kind, own, &config, &mut maps);
        (verdict, maps.has_released)
    }

    fn config(&self) -> Config {
        Config {
            incarnation: self.incarnation,
            longest_lease: LEASE,
            epoch: EPOCH,
            node: self.id,
            ..Config::default()
        }
    }

    // The lease thread, as in the daemon: read the view, tell the election, carry out what it asks for.

    fn view(&self) -> View {
        View {
            now: self.now,
            lease_until: self.plane.lease_until,
            holder_until: self.plane.acceptor.expires,
            holder_ballot: Ballot(self.plane.acceptor.ballot),
            quarantine_until: self.plane.acceptor.quarantine_until,
        }
    }

    fn tell(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>, what: impl FnOnce(&mut Election, &View)) {
        let view = self.view();
        what(&mut self.election, &view);
        self.act(flaw, sent);
    }

    fn act(&mut self, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        while let Some(action) = self.election.poll_action() {
            match action {
                Action::SetRenewal(renewal) => {
                    self.plane.renewal = renewal;
                    if flaw == Some(Flaw::ServesWholeLease) {
                        self.plane.renewal.serving = LEASE;
                    }
                }
                Action::Send { request, sent_at } => self.ask(request, sent_at, flaw, sent),
                Action::Offer(ballot) => {
                    self.write(&[ballot.node()], Kind::Offer, ballot, 0, 0, sent);
                }
                Action::Ask { ballot, sent_at } => {
                    self.write(&self.others(), Kind::Ask, ballot, 0, sent_at, sent);
                }
                Action::Grant { ballot, sent_at, left } => {
                    // As the daemon: not without its own acceptor's vote.
                    if self.plane.acceptor.ballot == ballot.0 {
                        self.write(&[ballot.node()], Kind::Grant, ballot, left, sent_at, sent);
                    }
                }
                Action::Arm { until } => self.plane.lease_until = self.plane.lease_until.max(until),
                Action::Disarm if flaw == Some(Flaw::DisarmsLater) => {}
                Action::Disarm => self.plane.lease_until = 0,
                Action::SetRole(role) => self.plane.is_holder = role == Role::Holder,
                Action::Standing(_)
                | Action::GaveUp(_)
                | Action::Promoted(_)
                | Action::Demoted(_)
                | Action::HandoverFailed { .. }
                | Action::Notice(_) => {}
            }
        }
    }

    /// Asks all acceptors; the own one answers at once.
    fn ask(&mut self, request: Request, sent_at: u64, flaw: Option<Flaw>, sent: &mut Vec<Letter>) {
        let (kind, ballot, duration) = vote::fields(request);
        if matches!(kind, Kind::Prepare | Kind::Propose) {
            self.asked = Some((ballot, kind, sent_at));
        }
        let mut message = self.write(&self.others(), kind, ballot, duration, sent_at, sent);
        if let (Verdict::Reply(reply), _) = self.decide(&message, kind, true, flaw) {
            reply.put_into(&mut message, &self.config());
            if let Some(answer) = Answer::read(&message) {
                let view = self.view();
                self.election.handle_answer(self.id, answer, &view);
            }
        }
    }

    /// Sends a message to those that it can mean anything to.
    fn write(
        &mut self,
        to: &[u16],
        kind: Kind,
        ballot: Ballot,
        duration: u64,
        sent_at: u64,
        sent: &mut Vec<Letter>,
    ) -> Message {
        self.sequence += 1;
        let mut message = Letter::blank(kind);
        message.sender = self.id.into();
        message.epoch = EPOCH.into();
        message.incarnation = self.incarnation.into();
        message.sequence = self.sequence.into();
        message.sent_at = sent_at.into();
        message.ballot = ballot.0.into();
        message.duration = duration.into();
        sent.extend(to.iter().map(|to| Letter::new(*to, kind, &message)));
        message
    }

    fn others(&self) -> Vec<u16> {
        (1..).take(N).filter(|id| *id != self.id).collect()
    }
}

fn settings(node: u16) -> Settings {
    Settings { node, lease: LEASE, interval: INTERVAL }
}
