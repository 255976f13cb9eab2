//! What comes in from the network: answers and handovers for the elections, letters for the daemon.

use std::net::IpAddr;

use tracing::{debug, warn};
use vip_common::lease::Ballot;
use vip_common::wire::{Kind, Message};

use super::{BATCH, Driver, Report};
use crate::clock;
use crate::contacts::Way;
use crate::election::Answer;
use crate::membership::Sender;
use crate::signer::{Claimed, Objection};
use crate::transport::{Incoming, MAX_DATAGRAM};
use crate::userplane::Received;

impl Driver {
    pub(super) fn take_datagrams(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..BATCH {
            match self.parts.transport.receive(&mut buffer) {
                Ok(Some(incoming)) => self.read(incoming),
                Ok(None) => return,
                // The error of an earlier send, such as an unreachable peer: the socket goes on.
                Err(error) => debug!("receiving: {error}"),
            }
        }
    }

    fn read(&mut self, Incoming { datagram, source, way }: Incoming<'_>) {
        let (message, kind, body) = match self.parts.plane.receive(datagram, source, &self.parts.signer) {
            Received::Passed(message, kind, body) => (message, kind, body),
            Received::Answered(answer) => return self.answer(&answer, source),
            Received::Done => return,
        };
        let origin = self.parts.signer.origin();
        let ours = message.incarnation.get() == origin.incarnation;
        match kind {
            Kind::Promise | Kind::Accepted | Kind::Refused if ours => self.count(&message),
            Kind::Offer | Kind::Ask | Kind::Grant => self.hear(kind, &message),
            Kind::Hello | Kind::Gossip if message.sender.get() != origin.node => {
                let from = Sender {
                    id: message.sender.get(),
                    incarnation: message.incarnation.get(),
                    address: source,
                };
                self.report(Report::Letter { kind, from, way, body: body.to_vec() });
            }
            // Of two nodes with one name, too. Its own messages of earlier do not come back under another id.
            Kind::Probe if message.sender.get() != origin.node && body == self.parts.name.as_bytes() => {
                self.object(&message, Objection::by_this_node(Claimed::Name), source);
            }
            // Of two nodes with one id, the one that started later has to go.
            Kind::Probe
                if message.sender.get() == origin.node && message.incarnation.get() > origin.incarnation =>
            {
                self.object(&message, Objection::by_this_node(Claimed::Id), source);
            }
            // It does not reach all nodes by the group, and so the one that has its id or name may not be asked itself.
            Kind::Probe if message.sender.get() != origin.node && way == Way::Direct => {
                let name = String::from_utf8_lossy(body).into_owned();
                self.report(Report::Probe { probe: message, name, from: source });
            }
            Kind::Taken if ours => {
                if let Some(Objection { claimed, owner }) = Objection::read(body) {
                    self.report(Report::Taken { claimed, by: owner.unwrap_or(source) });
                }
            }
            // The data plane answers these and lets none through. At a start, some may be from before it was there.
            Kind::Prepare | Kind::Propose | Kind::Release | Kind::Transfer => self.fence_doubts.notify_one(),
            _ => {}
        }
    }

    /// Tells a prober what it cannot have.
    pub(super) fn object(&self, probe: &Message, objection: Objection, to: IpAddr) {
        let answer = self.parts.signer.taken(probe, objection);
        if let Err(error) = self.parts.transport.send_to(&answer, to) {
            debug!("answering {to}'s probe: {error}");
        }
    }

    fn answer(&mut self, answer: &Message, to: IpAddr) {
        if let Err(error) = self.parts.transport.send_to(&answer.to_bytes(), to)
            && self.paces.send.allows(clock::now())
        {
            warn!("answering {to}: {error}");
        }
    }

    /// Gives an acceptor's answer to its group's election.
    fn count(&mut self, message: &Message) {
        let Some(index) = self.group_of(message) else { return };
        if let Some(answer) = Answer::read(message) {
            self.hear_vote(index, message.sender.get(), answer);
            self.act(index);
        }
    }

    /// Gives what another node says about a handover to its group's election. Of another configuration, it counts for
    /// nothing: who votes on the lease has changed.
    fn hear(&mut self, kind: Kind, message: &Message) {
        if message.epoch.get() != self.parts.signer.epoch() {
            return;
        }
        let Some(index) = self.group_of(message) else { return };
        let (from, ballot) = (message.sender.get(), Ballot(message.ballot.get()));
        let (sent_at, left) = (message.sent_at.get(), message.duration.get());
        // Read after the message came, so that what is left of a lease is counted from after it was asked for.
        let view = self.view(index);
        let election = &mut self.parts.groups[index].election;
        match kind {
            Kind::Offer => election.handle_offer(from, ballot, &view),
            Kind::Ask => election.handle_ask(from, ballot, sent_at, &view),
            _ => election.handle_grant(from, ballot, sent_at, left, &view),
        }
        self.act(index);
    }

    fn group_of(&self, message: &Message) -> Option<usize> {
        let id = message.group.get();
        self.parts.groups.iter().position(|group| group.id == id)
    }
}
