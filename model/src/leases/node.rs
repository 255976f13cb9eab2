//! A node: its data plane, and a daemon that does whatever the protocol's guards allow, at any time.
//!
//! It is less than the election and may do more: it stands without having waited or asked for promises, proposes when
//! it likes, and never hears a refusal. Promises only make acceptors refuse, and to refuse is to lose the message; so
//! what holds here holds for every proposer that keeps the guards, and the election is one.

use vip_common::lease::{Ballot, Renewal, held, serving_time};
use vip_common::maps::Config;
use vip_common::vote::{self, Verdict};
use vip_common::wire::{Kind, Message};

use super::rules::Rules;
use super::time::{self, NOW};
use crate::flaw::Flaw;
use crate::letters::Letter;
use crate::plane::{Maps, Plane};

/// A node, its machine and its disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node<const N: usize> {
    pub(super) id: u16,
    /// What its clock gains in a tick, if that does not waver.
    pub(super) rate: u64,
    /// It has done something of itself.
    pub(super) is_known: bool,
    pub(super) plane: Plane<N>,
    /// Of the present daemon; on the disk.
    incarnation: u64,
    pub(super) daemon: Daemon,
}

/// What a daemon keeps in mind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Daemon {
    sequence: u64,
    /// The highest ballot that it knows of.
    pub(super) seen: Ballot,
    /// Of the configuration that its requests carry.
    pub(super) epoch: u32,
    /// Nothing is proposed before.
    not_before: u64,
    pub(super) standing: Option<Standing>,
    pub(super) pending: Option<Pending>,
    given: Option<Given>,
}

/// A ballot, for a lease that is asked for or held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Standing {
    pub(super) ballot: Ballot,
    /// Stamp of the latest proposal; 0 = none, or long ago.
    pub(super) proposed_at: u64,
    pub(super) has_proposed: bool,
    /// Of the configuration whose voters are asked.
    pub(super) epoch: u32,
}

/// A lease that this node has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    pub(super) from: u16,
    pub(super) ballot: Ballot,
    pub(super) asked_at: u64,
}

/// A lease that this node has given away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Given {
    ballot: Ballot,
    until: u64,
}

impl<const N: usize> Node<N> {
    pub(super) fn new(id: u16, rate: u64) -> Self {
        Self {
            id,
            rate,
            is_known: false,
            plane: Plane::new(0, 1),
            incarnation: 1,
            daemon: Daemon { epoch: 1, ..Daemon::default() },
        }
    }

    pub(super) fn serves(&self) -> bool {
        held(self.plane.lease_until, NOW)
    }

    pub(super) fn is_holder(&self) -> bool {
        self.plane.is_holder
    }

    pub(super) fn stands_under(&self, ballot: Ballot) -> bool {
        self.daemon.standing.is_some_and(|standing| standing.ballot == ballot)
    }

    /// The ballot for which this node has given its lease away.
    pub(super) fn given_to(&self) -> Option<Ballot> {
        self.daemon.given.map(|given| given.ballot)
    }

    /// Whether a daemon that is not the first one holds.
    pub(super) fn has_come_back(&self) -> bool {
        self.incarnation > 1 && self.serves() && self.is_holder()
    }

    /// Lets so much time pass by this node's clock.
    pub(super) fn pass(&mut self, passed: u64, rules: &Rules) {
        let stamp = |at| time::stamp(at, passed, rules.lease);
        // Only whether it has proposed just now is of interest, else.
        let keeps = rules.flaw == Some(Flaw::CountsLatestStamp);
        time::pass(&mut self.plane, passed);
        let daemon = &mut self.daemon;
        daemon.not_before = time::deadline(daemon.not_before, passed);
        if let Some(standing) = &mut daemon.standing {
            standing.proposed_at = if keeps { stamp(standing.proposed_at) } else { 0 };
        }
        // A grant for such an old request would be over as well.
        daemon.pending.take_if(|pending| {
            pending.asked_at = stamp(pending.asked_at);
            pending.asked_at == 0
        });
        daemon.given.take_if(|given| {
            given.until = time::deadline(given.until, passed);
            given.until == 0
        });
    }

    // What happens to it.

    /// The daemon is killed, and another one starts.
    pub(super) fn restart(&mut self) {
        self.incarnation += 1;
        self.daemon = Daemon { epoch: self.plane.epoch, ..Daemon::default() };
        self.plane.is_holder = false;
    }

    /// The machine starts anew, without its maps.
    pub(super) fn crash(&mut self, rules: &Rules) {
        self.plane = Plane::new(rules.quarantine_until(), self.plane.epoch);
        self.restart();
    }

    /// The word, disarmed if it was, is over: the daemon sees it and follows.
    pub(super) fn lapse(&mut self) {
        self.plane.lease_until = 0;
        self.plane.is_holder = false;
        self.daemon.standing = None;
    }

    /// The daemon gets the configuration that the data plane has.
    pub(super) fn configure(&mut self) {
        self.daemon.epoch = self.plane.epoch;
        self.daemon.pending = None;
    }

    /// A candidacy that asked other voters is over.
    pub(super) fn stand_anew(&mut self) {
        if !self.is_holder() {
            self.daemon.standing = None;
        }
    }

    // Standing and holding.

    pub(super) fn may_stand(&self, rules: &Rules) -> bool {
        // Only who has given its lease away depends on what its own acceptor remembers.
        let waits_for_other = rules.bounds.asks > 0 && self.plane.is_others(self.id, NOW);
        let waits = self.daemon.not_before > NOW || waits_for_other;
        let may = !waits || rules.flaw == Some(Flaw::GiverStands);
        may && !self.is_holder() && !self.plane.is_in_quarantine(NOW)
    }

    pub(super) fn stand(&mut self, ballot: Ballot, rules: &Rules) {
        self.void_request(rules);
        self.daemon.seen = ballot;
        let epoch = self.daemon.epoch;
        self.daemon.standing = Some(Standing { ballot, proposed_at: 0, has_proposed: false, epoch });
    }

    /// Holders propose again and again, but not twice at one time: that would say the same twice.
    pub(super) fn may_renew(&self) -> bool {
        let is_due = self.daemon.standing.is_some_and(|standing| standing.proposed_at != NOW);
        self.is_holder() && is_due && !self.plane.is_in_quarantine(NOW)
    }

    /// Whether a holder's next proposal has to be under another ballot, for other voters.
    pub(super) fn needs_ballot(&self) -> bool {
        self.daemon.standing.is_some_and(|standing| standing.epoch != self.daemon.epoch)
    }

    /// Proposes under the ballot that it stands or holds under, to these voters.
    pub(super) fn propose(&mut self, voters: &[u16], rules: &Rules, sent: &mut Vec<Letter>) {
        let Some(standing) = &mut self.daemon.standing else { return };
        let Standing { ballot, has_proposed, .. } = *standing;
        standing.has_proposed = true;
        standing.proposed_at = NOW;
        if !has_proposed {
            self.set_renewal(ballot, voters, rules);
        }
        self.send(Kind::Propose, ballot, rules.lease, rules, sent);
        self.arm_if_granted();
    }

    fn set_renewal(&mut self, ballot: Ballot, voters: &[u16], rules: &Rules) {
        let renewal = Renewal::new(ballot, rules.lease, voters);
        let whole = rules.flaw == Some(Flaw::ServesWholeLease);
        let serving = if whole { rules.lease } else { renewal.serving };
        self.plane.renewal = Renewal { serving, ..renewal };
    }

    /// A candidate serves as soon as a quorum has accepted.
    fn arm_if_granted(&mut self) {
        let Some(Standing { ballot, has_proposed: true, .. }) = self.daemon.standing else { return };
        if self.is_holder() || self.plane.renewal.ballot != ballot.0 {
            return;
        }
        if let Some(until) = self.plane.granted_until(NOW) {
            self.hold(until);
        }
    }

    fn hold(&mut self, until: u64) {
        self.plane.lease_until = until.max(self.plane.lease_until);
        self.plane.is_holder = true;
    }

    /// The ballot to give back, if there is anything to give back: of what it holds or may have been granted, or of
    /// a word that an earlier daemon has armed.
    pub(super) fn ballot_to_release(&self) -> Option<Ballot> {
        let own = Ballot(self.plane.acceptor.ballot);
        match self.daemon.standing {
            Some(standing) if standing.has_proposed => Some(standing.ballot),
            _ => (own.node() == self.id && self.plane.lease_until != 0).then_some(own),
        }
    }

    pub(super) fn release(&mut self, ballot: Ballot, rules: &Rules, sent: &mut Vec<Letter>) {
        self.void_request(rules);
        if rules.flaw != Some(Flaw::DisarmsLater) {
            self.plane.lease_until = 0;
        }
        self.plane.is_holder = false;
        self.daemon.standing = None;
        self.send(Kind::Release, ballot, 0, rules, sent);
    }

    // Handing over.

    pub(super) fn may_ask(&self, from: u16) -> bool {
        !self.is_holder() && !self.plane.is_in_quarantine(NOW) && !self.plane.is_others(from, NOW)
    }

    /// Asks under this ballot, or again under that of its open request to the same node.
    pub(super) fn ask(&mut self, from: u16, fresh: Ballot, sent: &mut Vec<Letter>) {
        let open = self.daemon.pending.filter(|pending| pending.from == from);
        let ballot = open.map_or(fresh, |pending| pending.ballot);
        self.daemon.standing = None;
        self.daemon.seen = self.daemon.seen.max(ballot);
        self.daemon.pending = Some(Pending { from, ballot, asked_at: NOW });
        let message = self.message(Kind::Ask, ballot, 0, NOW);
        sent.push(Letter::new(from, Kind::Ask, &message));
    }

    fn handle_ask(&mut self, ask: &Letter, rules: &Rules, sent: &mut Vec<Letter>) {
        let higher = |standing: Standing| ask.ballot > standing.ballot;
        if self.is_holder() && self.serves() && self.daemon.standing.is_some_and(higher) {
            let until = self.plane.lease_until;
            self.plane.lease_until = 0;
            self.plane.is_holder = false;
            self.daemon.standing = None;
            self.daemon.seen = self.daemon.seen.max(ask.ballot);
            self.daemon.not_before = self.daemon.not_before.max(until);
            self.daemon.given = Some(Given { ballot: ask.ballot, until });
        }
        if let Some(Given { ballot, until }) = self.daemon.given
            && ballot == ask.ballot
            && !self.is_holder()
        {
            self.grant(ask, until - NOW, rules, sent);
        }
    }

    fn grant(&mut self, ask: &Letter, left: u64, rules: &Rules, sent: &mut Vec<Letter>) {
        self.send(Kind::Transfer, ask.ballot, left, rules, sent);
        let message = self.message(Kind::Grant, ask.ballot, left, ask.sent_at);
        sent.push(Letter::new(ask.from, Kind::Grant, &message));
    }

    fn handle_grant(&mut self, grant: &Letter, voters: &[u16], rules: &Rules) {
        let Some(pending) = self.daemon.pending else { return };
        if !self.is_answered_by(grant) || (self.is_holder() && rules.flaw != Some(Flaw::KeepsRequest)) {
            return;
        }
        let from = if rules.flaw == Some(Flaw::StampsGrant) { NOW } else { pending.asked_at };
        let until = from + serving_time(grant.duration);
        if until <= NOW {
            return;
        }
        self.stand(pending.ballot, rules);
        self.daemon.pending = None;
        self.set_renewal(pending.ballot, voters, rules);
        if let Some(standing) = &mut self.daemon.standing {
            standing.has_proposed = true;
        }
        self.hold(until);
    }

    fn is_answered_by(&self, grant: &Letter) -> bool {
        let of = |pending: Pending| (pending.from, pending.ballot, pending.asked_at);
        self.daemon.pending.map(of) == Some((grant.from, grant.ballot, grant.sent_at))
    }

    fn void_request(&mut self, rules: &Rules) {
        if rules.flaw != Some(Flaw::KeepsRequest) {
            self.daemon.pending = None;
        }
    }

    // Messages.

    /// A letter comes in. The data plane decides on it and answers; what it passes on, the daemon handles.
    pub(super) fn hear(&mut self, letter: &Letter, voters: &[u16], rules: &Rules, sent: &mut Vec<Letter>) {
        let mut message = letter.message();
        if rules.flaw == Some(Flaw::IgnoresEpochs) && !letter.is_answer() {
            message.epoch = self.plane.epoch.into();
        }
        match self.decide(&message, letter.kind, false, rules) {
            Verdict::Reply(answer) if answer.kind == Kind::Accepted => {
                answer.put_into(&mut message, &self.config(rules));
                sent.push(Letter::new(letter.from, answer.kind, &message));
            }
            Verdict::Pass(_) => match letter.kind {
                Kind::Accepted => self.arm_if_granted(),
                // Those of another configuration than this node's count for nothing.
                _ if message.epoch.get() != self.daemon.epoch => {}
                Kind::Ask => self.handle_ask(letter, rules, sent),
                Kind::Grant => self.handle_grant(letter, voters, rules),
                _ => {}
            },
            Verdict::Reply(_) | Verdict::Drop(_) => {}
        }
    }

    /// Sends a request to all others, and lets this node's own data plane decide on it.
    fn send(&mut self, kind: Kind, ballot: Ballot, duration: u64, rules: &Rules, sent: &mut Vec<Letter>) {
        let message = self.message(kind, ballot, duration, NOW);
        sent.extend(Self::ids().filter(|to| *to != self.id).map(|to| Letter::new(to, kind, &message)));
        if kind == Kind::Transfer && rules.flaw == Some(Flaw::KeepsTransferFromOwnAcceptor) {
            return;
        }
        let mut own = message;
        if rules.flaw == Some(Flaw::IgnoresEpochs) {
            own.epoch = self.plane.epoch.into();
        }
        self.decide(&own, kind, true, rules);
    }

    fn message(&mut self, kind: Kind, ballot: Ballot, duration: u64, sent_at: u64) -> Message {
        self.daemon.sequence += 1;
        let mut message = Letter::blank(kind);
        message.sender = self.id.into();
        message.epoch = self.daemon.epoch.into();
        message.incarnation = self.incarnation.into();
        message.sequence = self.daemon.sequence.into();
        message.sent_at = sent_at.into();
        message.ballot = ballot.0.into();
        message.duration = duration.into();
        message
    }

    fn decide(&mut self, message: &Message, kind: Kind, own: bool, rules: &Rules) -> Verdict {
        let config = self.config(rules);
        let proposed_at = self.daemon.standing.map_or(0, |standing| standing.proposed_at);
        let mut maps =
            Maps { plane: &mut self.plane, now: NOW, proposed_at, flaw: rules.flaw, has_released: false };
        vote::message(message, kind, own, &config, &mut maps)
    }

    fn config(&self, rules: &Rules) -> Config {
        Config {
            incarnation: self.incarnation,
            longest_lease: rules.lease,
            epoch: self.plane.epoch,
            node: self.id,
            ..Config::default()
        }
    }

    /// Whether a letter to this node can still change anything. `replayable` = it may lose what it knows of senders.
    pub(super) fn may_matter(&self, letter: &Letter, replayable: bool) -> bool {
        let peer = self.plane.peers[usize::from(letter.from) - 1];
        let is_new = replayable || (letter.incarnation, letter.sequence) > (peer.incarnation, peer.sequence);
        match letter.kind {
            Kind::Accepted => {
                let renewal = &self.plane.renewal;
                let place = renewal.voters.iter().position(|id| *id == letter.from);
                letter.incarnation == self.incarnation
                    && letter.ballot.0 == renewal.ballot
                    && place.is_some_and(|place| letter.sent_at > renewal.accepted_at[place])
            }
            Kind::Grant => is_new && self.is_answered_by(letter),
            _ => is_new,
        }
    }

    fn ids() -> impl Iterator<Item = u16> {
        (1..).take(N)
    }
}
