//! The change of voters, step by step: what this node pledges and proposes, and the wish to count a voter out. The rules
//! are in `succession`.
//!
//! ```text
//!   any voter ── a higher pledge heard ──> StorePledge ── stored ──> said
//!   coordinator with a wish ── spaced ──> promise of its own ── a quorum promises ──> acceptance of its own
//!   any node ── a quorum accepts ──> Adopt, StoreConfiguration ── stored ──> said
//! ```

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thiserror::Error;
use vip_common::lease::{Ballot, quorum};

use super::configuration::Configuration;
use super::notice::{Node, Notice};
use super::pledge::{Accepted, Pledge};
use super::succession;
use super::{Action, Identity, Membership};

/// How long a ballot may take at first, in ns, before a higher one is tried, after as long again at most. It doubles
/// with each, for the sake of slow disks, up to [`MOST_DOUBLINGS`].
const PATIENCE: u64 = 1_000_000_000;
const MOST_DOUBLINGS: u32 = 4;

/// How long a wish to count a voter out lasts, in ns, if nobody asks for it again.
pub const WISH_TIME: u64 = 3_000_000_000;

/// What has come of the wish to count a voter out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The voters are asked.
    Asked,
    /// The voter is none any more, and so many know it that it will not be one again by itself.
    Done,
}

/// Why a voter is not counted out, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemovalRefused {
    /// Nobody votes yet.
    #[error("there is no configuration yet, and so no voter to count out")]
    NotFormed,
    /// It votes in nothing, and is not known either.
    #[error("{0} is no voter, and not a known node")]
    Unknown(Node),
    /// Somebody has to vote.
    #[error("{0} is the only voter, and a cluster needs one: to end the cluster, stop the daemon")]
    LastVoter(Node),
    /// It can and must say itself that it goes.
    #[error("{0} is alive: run `vip-user leave` there, or stop its daemon first")]
    Alive(Node),
    /// This node can only ask for one thing at a time.
    #[error("this node is asking to count out {0}: wait until that is done")]
    Busy(Node),
    /// A change needs a majority of the voters.
    #[error("only {heard} of {voters} voters are heard, and {} have to agree: start the others again first", quorum(*.voters))]
    NoQuorum {
        /// Voters that speak, this node among them.
        heard: usize,
        /// All voters.
        voters: usize,
    },
    /// The voters that stay could decide nothing.
    #[error(
        "without {node} only {heard} of {voters} voters would be heard, too few for any master: start the others again, \
         or forget those that have failed (`vip-user forget`)"
    )]
    TooFewLeft {
        /// The voter to be counted out.
        node: Node,
        /// Voters that would speak.
        heard: usize,
        /// All that would be left.
        voters: usize,
    },
}

/// What this node remembers of the change under way. Nothing of it has to survive a restart.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Since when each voter is known to have the current configuration, in CLOCK_BOOTTIME ns. It never goes back to
    /// an older one.
    had_since: BTreeMap<u16, u64>,
    /// On the disk.
    stored: Option<Pledge>,
    /// Handed to the driver, not yet reported durable. One at a time, so that pledges reach the disk in order.
    storing: Option<Pledge>,
    attempt: Option<Attempt>,
    /// Ballots of this node for the current configuration's successor.
    tries: u32,
    wish: Option<Wish>,
    random: SmallRng,
}

/// A ballot of this node's.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    ballot: Ballot,
    /// When to try a higher one.
    retry_at: u64,
}

/// The voter that this node asks to count out.
#[derive(Clone, Copy, Debug)]
struct Wish {
    id: u16,
    /// When it is given up.
    until: u64,
}

impl Change {
    /// Nothing is under way; this pledge is on the disk.
    pub(super) fn new(me: &Identity, stored: Option<Pledge>) -> Self {
        // Two nodes with one seed would back off for the same times.
        let random = SmallRng::seed_from_u64(me.incarnation ^ u64::from(me.id).rotate_right(16));
        Self {
            had_since: BTreeMap::new(),
            stored,
            storing: None,
            attempt: None,
            tries: 0,
            wish: None,
            random,
        }
    }

    /// What is on the disk, and what is on its way there.
    pub(super) fn pledges(&self) -> impl Iterator<Item = &Pledge> {
        [&self.stored, &self.storing].into_iter().flatten()
    }
}

impl Membership {
    /// Asks the voters to count out voter `id`: this node itself while it is alive, or one that has failed or left. Who is gone
    /// and no voter, or none any more, is forgotten, and the others are asked to do so.
    /// To be called again and again, until it is done or refused: a wish that nobody repeats within [`WISH_TIME`] is
    /// dropped. After a refusal it is dropped at once.
    pub fn remove(&mut self, id: u16, now: u64) -> Result<Removal, RemovalRefused> {
        self.drop_old_wish(now);
        let answer = self.may_remove(id, now);
        if answer == Ok(Removal::Done) {
            self.forget_if_gone(id, now);
        }
        let is_wished = self.change.wish.is_some_and(|wish| wish.id == id);
        if answer.is_ok() {
            self.change.wish = Some(Wish { id, until: now.saturating_add(WISH_TIME) });
        } else if is_wished {
            self.change.wish = None;
        }
        if answer.is_ok() != is_wished {
            self.say_wish();
            self.next_hello = now;
        }
        self.advance(now);
        answer
    }

    fn may_remove(&self, id: u16, now: u64) -> Result<Removal, RemovalRefused> {
        let current = self.configuration().ok_or(RemovalRefused::NotFormed)?;
        let wished = self.change.wish.map(|wish| wish.id);
        match (current.contains(id), wished) {
            (_, Some(other)) if other != id => return Err(RemovalRefused::Busy(self.node(other))),
            (false, Some(_)) if self.is_settled() => return Ok(Removal::Done),
            (false, Some(_)) => return Ok(Removal::Asked),
            (false, None) if self.members.get(id).is_none() => {
                return Err(RemovalRefused::Unknown(self.node(id)));
            }
            _ => {}
        }
        let speaks = self.members.get(id).is_some_and(|member| self.members.speaks(member, now));
        if speaks && id != self.members.me.id {
            return Err(RemovalRefused::Alive(self.node(id)));
        }
        if !current.contains(id) {
            return Ok(Removal::Done);
        }
        let rest = current.without(id).ok_or_else(|| RemovalRefused::LastVoter(self.node(id)))?;
        if !succession::has_quorum(&self.members, current, now) {
            let heard = succession::speaking_voters(&self.members, current, now);
            return Err(RemovalRefused::NoQuorum { heard, voters: current.voters().len() });
        }
        if !succession::has_quorum(&self.members, &rest, now) {
            let heard = succession::speaking_voters(&self.members, &rest, now);
            let voters = rest.voters().len();
            return Err(RemovalRefused::TooFewLeft { node: self.node(id), heard, voters });
        }
        Ok(Removal::Asked)
    }

    /// Whether a quorum is known to have the current configuration: then it is there to stay, without this node, too.
    fn is_settled(&self) -> bool {
        let is_stored = self.storing_configuration.is_none();
        let formed = self.members.me.formed().filter(|_| is_stored);
        formed.is_some_and(|current| self.change.had_since.len() >= quorum(current.voters().len()))
    }

    fn drop_old_wish(&mut self, now: u64) {
        if self.change.wish.take_if(|wish| wish.until <= now).is_some() {
            self.say_wish();
        }
    }

    /// From now on, says the wish that there is. Whether this node stays decides on whether it may hold.
    fn say_wish(&mut self) {
        self.members.me.hello.remove = self.change.wish.map(|wish| wish.id);
        self.actions.push_back(Action::PeersChanged);
    }

    /// One step of the change of voters.
    pub(super) fn change_voters(&mut self, now: u64) {
        self.drop_old_wish(now);
        let Some(current) = self.members.me.formed().cloned() else { return };
        if self.storing_configuration.is_some() {
            return;
        }
        self.note_who_has(&current, now);
        if let Some(chosen) = succession::chosen(&self.members, &current) {
            return self.adopt_if_newer(chosen);
        }
        if !current.contains(self.members.me.id) || self.change.storing.is_some() {
            return;
        }
        if let Some(owed) = succession::owed(&self.members, &current) {
            self.pledge(owed);
        } else if succession::coordinator(&self.members, &current, now) == Some(self.members.me.id) {
            self.coordinate(&current, now);
        }
    }

    /// The pledge is on the disk.
    pub(super) fn pledged(&mut self, pledge: Pledge, now: u64) {
        if self.change.storing.take_if(|storing| *storing == pledge).is_some() {
            self.change.stored = Some(pledge);
            self.say_pledge();
            self.speak_eagerly(now);
        }
    }

    /// The current configuration is another one: all that was known is about the former one.
    pub(super) fn change_anew(&mut self) {
        self.change.had_since.clear();
        self.change.attempt = None;
        self.change.tries = 0;
        self.say_pledge();
    }

    /// From now on, says what is on the disk, if it is about the successor of the current configuration.
    pub(super) fn say_pledge(&mut self) {
        let epoch = self.members.me.formed().map(Configuration::epoch);
        let stored = self.change.stored.as_ref();
        self.members.me.hello.pledge = stored.filter(|pledge| Some(pledge.epoch()) == epoch).cloned();
    }

    /// Nothing that a voter has stored is ever forgotten, so what it has said once counts from then on.
    fn note_who_has(&mut self, current: &Configuration, now: u64) {
        for id in current.voters() {
            if self.members.get(*id).is_some_and(|member| member.formed() == Some(current)) {
                self.change.had_since.entry(*id).or_insert(now);
            }
        }
    }

    /// What the coordinator does when it owes nothing to anybody.
    fn coordinate(&mut self, current: &Configuration, now: u64) {
        let promised = self.members.me.hello.pledge.as_ref().map(Pledge::promised);
        match self.change.attempt.filter(|attempt| now < attempt.retry_at) {
            Some(attempt) if promised == Some(attempt.ballot) => self.propose(current, attempt.ballot, now),
            // Outbid by another coordinator: it may be at its end by the time to retry.
            Some(_) => {}
            None => self.stand(current, now),
        }
    }

    /// Begins a ballot, if there is something to propose and it may be.
    fn stand(&mut self, current: &Configuration, now: u64) {
        self.change.attempt = None;
        let spaced_at = succession::spaced_at(&self.members, current, &self.change.had_since);
        let may_be_heard = succession::has_quorum(&self.members, current, now);
        if !may_be_heard || spaced_at.is_none_or(|at| now < at) || self.value(current, now).is_none() {
            return;
        }
        let ballot = succession::highest(&self.members, current).successor(self.members.me.id);
        let patience = PATIENCE << self.change.tries.min(MOST_DOUBLINGS);
        let back_off = self.change.random.random_range(0..patience);
        let retry_at = now.saturating_add(patience).saturating_add(back_off);
        self.change.attempt = Some(Attempt { ballot, retry_at });
        self.change.tries += 1;
        self.promise(current, ballot);
    }

    fn promise(&mut self, current: &Configuration, ballot: Ballot) {
        let pledge = match &self.members.me.hello.pledge {
            Some(own) => own.clone().promising(ballot),
            None => Pledge::new(current.epoch(), ballot),
        };
        self.pledge_if_valid(pledge);
    }

    /// Proposes under this node's ballot, once a quorum has promised it; by accepting it first of all. Nothing else is
    /// ever proposed under the same ballot: this node's pledge remembers it from here on.
    fn propose(&mut self, current: &Configuration, ballot: Ballot, now: u64) {
        let Some(own) = self.members.me.hello.pledge.clone() else { return };
        if own.accepted().is_some_and(|accepted| accepted.ballot == ballot) {
            return;
        }
        if !succession::is_promised(&self.members, current, ballot) {
            return;
        }
        let Some(configuration) = self.value(current, now) else { return };
        self.notice(Notice::Proposes(configuration.clone()));
        self.pledge_if_valid(own.accepting(Accepted { ballot, configuration }));
    }

    /// What is to be proposed, if anything.
    fn value(&self, current: &Configuration, now: u64) -> Option<Configuration> {
        let bound = succession::bound(&self.members, current);
        bound.or_else(|| succession::wish(&self.members, current, now))
    }

    fn pledge_if_valid(&mut self, pledge: Result<Pledge, super::PledgeError>) {
        // Invalid only once the ballots have run out: then this configuration stays.
        if let Ok(pledge) = pledge {
            self.pledge(pledge);
        }
    }

    fn pledge(&mut self, pledge: Pledge) {
        self.change.storing = Some(pledge.clone());
        self.actions.push_back(Action::StorePledge(pledge));
    }
}
