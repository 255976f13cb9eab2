//! The lease thread of a daemon: elections are told what happens, and what they ask for is done, step by step.

use vip_common::lease::{Ballot, Request};
use vip_common::maps::EventKind;
use vip_common::vote::Verdict;
use vip_common::wire::{Kind, Message};
use vip_user::election::{Action, Answer, Election, State, View};
use vip_user::membership::Sender;

use super::World;
use crate::process::{self, Input, LeaseThread, News, slot_of};
use crate::schedule::{Part, Point};

impl World<'_> {
    /// Does the next thing that the thread has to do; `false` if there is none now.
    pub(super) fn step_lease(&mut self, node: usize, timers: &mut u32) -> bool {
        let now = self.now;
        let local = self.machines[node].clock.read(now);
        let Some(lease) = self.running_lease(node) else { return false };
        if let Some(slot) = lease.acting {
            match lease.elections[slot].poll_action() {
                Some(action) => self.carry_out(node, slot, action),
                None => lease.acting = None,
            }
            return true;
        }
        if let Some(slot) = lease.pair.as_mut().and_then(|pair| pair.to_act.pop()) {
            lease.acting = Some(slot);
            return true;
        }
        let due = next_deadline(lease).filter(|(deadline, _)| *deadline <= local);
        if (!lease.timing.timers_first || due.is_none())
            && let Some(input) = lease.inbox.pop_front()
        {
            self.take(node, input);
            return true;
        }
        lease.timing.timers_first = false;
        if let Some((_, slot)) = due {
            lease.wakes += 1;
            *timers += 1;
            self.tell(node, slot, Election::handle_timeout);
            return true;
        }
        let pair_deadline = lease.pair.as_ref().and_then(|pair| pair.core.next_deadline());
        if pair_deadline.is_some_and(|deadline| deadline <= local) {
            *timers += 1;
            self.meet_pair(node);
            return true;
        }
        let deadline = next_deadline(lease).map(|(deadline, _)| deadline).into_iter().chain(pair_deadline);
        if let Some(deadline) = deadline.min() {
            self.plan_wake(node, Part::Lease, deadline);
        }
        false
    }

    /// The thread, if it can do something now.
    pub(super) fn running_lease(&mut self, node: usize) -> Option<&mut LeaseThread> {
        let now = self.now;
        self.machines[node].daemon.as_mut().map(|daemon| &mut daemon.lease).filter(|it| it.timing.runs(now))
    }

    fn tell(&mut self, node: usize, slot: usize, what: impl FnOnce(&mut Election, &View)) {
        self.look_if_alone(node);
        let view = self.machines[node].view(slot, self.now);
        if let Some(lease) = self.running_lease(node) {
            what(&mut lease.elections[slot], &view);
            lease.acting = Some(slot);
        }
    }

    /// Whether this node's vote counts alone is looked at at the very time that an election is told something.
    fn look_if_alone(&mut self, node: usize) {
        let pair = self.running_lease(node).and_then(|lease| lease.pair.as_ref());
        if pair.is_some_and(|pair| pair.core.is_alone_anywhere()) {
            self.look_at_pair(node);
        }
    }

    fn take(&mut self, node: usize, input: Input) {
        match input {
            Input::Datagram(message, body) => {
                let Some(kind) = process::kind(&message) else { return };
                match (kind, body) {
                    (Kind::Hello, Some(body)) => {
                        let from = Sender {
                            id: message.sender.get(),
                            incarnation: message.incarnation.get(),
                            address: std::net::Ipv4Addr::LOCALHOST.into(),
                        };
                        self.news(node, News::Hello(from, body));
                    }
                    (Kind::Offer | Kind::Ask | Kind::Grant, _) => self.hear(node, &message, kind),
                    _ => self.count(node, &message),
                }
            }
            Input::Event(EventKind::Released, slot) => {
                self.tell(node, slot as usize, Election::handle_released);
            }
            Input::Event(..) => {}
            Input::Epoch(epoch) => {
                if let Some(lease) = self.running_lease(node) {
                    lease.set_epoch(epoch);
                }
            }
            Input::Peer(peer) => {
                self.set_peer(node, peer);
                self.meet_pair(node);
            }
            Input::Answer => self.handle_gateway(node),
            Input::Voters(slot, voters) => {
                self.keep_voters(node, &voters);
                self.tell(node, slot, |election, view| election.set_voters(&voters, view));
            }
            Input::Candidates(slot, order) => {
                self.tell(node, slot, |election, view| election.set_candidates(&order, view));
            }
            Input::Eligible(slot, eligible) => {
                self.tell(node, slot, |election, view| election.set_eligible(eligible, view));
                self.meet_pair(node);
            }
            Input::Release(slot) => self.tell(node, slot, Election::release),
            Input::HandOver(slot, to) => {
                self.tell(node, slot, |election, view| election.hand_over(to, view));
            }
            Input::Hello(hello) => {
                let Some(lease) = self.running_lease(node) else { return };
                let message = lease.message(Kind::Hello);
                self.send_to_all(node, message, &Some(hello));
                let writes = self.machines[node].daemon.as_ref().is_some_and(|it| it.control.writing > 0);
                self.reach(node, if writes { Point::GreetedEarly } else { Point::Greeted });
            }
            Input::End(farewell, down) => {
                let Some(lease) = self.running_lease(node) else { return };
                let message = lease.message(Kind::Hello);
                self.send_to_all(node, message, &farewell);
                self.ended(node, down);
            }
        }
    }

    /// Gives an acceptor's answer to its group's election.
    fn count(&mut self, node: usize, message: &Message) {
        let ours = self.machines[node].disk.incarnation;
        if message.incarnation.get() != ours {
            return;
        }
        if let (Some(slot), Some(answer)) = (slot_of(message), Answer::read(message)) {
            let voter = message.sender.get();
            self.tell(node, slot, |election, view| election.handle_answer(voter, answer, view));
        }
    }

    /// Gives what another node says about a handover to its group's election.
    fn hear(&mut self, node: usize, message: &Message, kind: Kind) {
        let Some(lease) = self.running_lease(node) else { return };
        let Some(slot) = slot_of(message).filter(|_| message.epoch.get() == lease.epoch()) else { return };
        let (from, ballot) = (message.sender.get(), Ballot(message.ballot.get()));
        let (sent_at, left) = (message.sent_at.get(), message.duration.get());
        let before = lease.elections[slot].state();
        self.tell(node, slot, |election, view| match kind {
            Kind::Offer => election.handle_offer(from, ballot, view),
            Kind::Ask => election.handle_ask(from, ballot, sent_at, view),
            _ => election.handle_grant(from, ballot, sent_at, left, view),
        });
        let after = self.running_lease(node).map(|lease| lease.elections[slot].state());
        if (before, after) == (State::Follower, Some(State::Holder)) {
            self.counts.handovers += 1;
        }
    }

    fn carry_out(&mut self, node: usize, slot: usize, action: Action) {
        let id = self.machines[node].id;
        self.note(|| format!("node {id}, group {slot}:   {}", brief(&action)));
        let Some(plane) = &mut self.machines[node].plane else { return };
        let point = match action {
            Action::SetRenewal(renewal) => {
                plane.groups[slot].renewal = renewal;
                Some(Point::RenewalSet)
            }
            Action::Send { request, sent_at } => {
                self.ask(node, slot, request, sent_at);
                Some(Point::Sent)
            }
            Action::Arm { until } => {
                plane.arm(slot, until);
                Some(Point::Armed)
            }
            Action::Disarm => {
                plane.disarm(slot);
                Some(Point::Disarmed)
            }
            Action::SetRole(role) => {
                plane.set_role(slot, role);
                None
            }
            Action::Promoted(_) => {
                self.counts.leases += 1;
                self.news(node, News::Holds(slot, true));
                None
            }
            Action::Demoted(_) => {
                self.news(node, News::Holds(slot, false));
                None
            }
            Action::Offer(ballot) => self.say(node, slot, Kind::Offer, ballot, 0, 0),
            Action::Ask { ballot, sent_at } => self.say(node, slot, Kind::Ask, ballot, sent_at, 0),
            Action::Grant { ballot, sent_at, left } => {
                // Without this node's vote, nothing would keep it out if it were restarted now.
                let has_voted = plane.groups[slot].acceptor.ballot == ballot.0;
                if has_voted { self.say(node, slot, Kind::Grant, ballot, sent_at, left) } else { None }
            }
            Action::Standing(_) | Action::GaveUp(_) | Action::HandoverFailed { .. } | Action::Notice(_) => {
                None
            }
        };
        self.look(node);
        if let Some(point) = point {
            self.reach(node, point);
        }
    }

    /// Tells another node's election something.
    fn say(
        &mut self,
        node: usize,
        slot: usize,
        kind: Kind,
        ballot: Ballot,
        sent_at: u64,
        left: u64,
    ) -> Option<Point> {
        let message = self.running_lease(node)?.about_lease(slot, kind, ballot.0, sent_at, left);
        self.send_to_all(node, message, &None);
        Some(Point::Told)
    }

    /// Asks all acceptors: the others by the network, this node's own at once.
    fn ask(&mut self, node: usize, slot: usize, request: Request, sent_at: u64) {
        let Some(lease) = self.running_lease(node) else { return };
        let message = lease.request(slot, request, sent_at);
        let id = self.machines[node].id;
        if let Request::Prepare(ballot) | Request::Propose(ballot, _) = request {
            self.oracle.asked(id, slot, ballot.0, self.now);
        }
        self.send_to_all(node, message, &None);
        let mut vote = message;
        if let Some(Verdict::Reply(answer)) = self.verdict(node, &message, true)
            && let Some(plane) = &self.machines[node].plane
        {
            answer.put_into(&mut vote, &plane.config);
            self.look_if_alone(node);
            let view = self.machines[node].view(slot, self.now);
            if let (Some(answer), Some(lease)) = (Answer::read(&vote), self.running_lease(node)) {
                lease.elections[slot].handle_answer(id, answer, &view);
            }
        }
        self.leave_to_do(node);
    }
}

/// The first deadline of all elections, and whose it is.
fn next_deadline(lease: &LeaseThread) -> Option<(u64, usize)> {
    let deadlines = lease.elections.iter().zip(0..);
    deadlines.filter_map(|(election, slot)| Some((election.next_deadline()?, slot))).min()
}

fn brief(action: &Action) -> String {
    match action {
        Action::SetRenewal(renewal) => {
            format!("SetRenewal({})", Ballot(renewal.ballot))
        }
        action => format!("{action:?}"),
    }
}
