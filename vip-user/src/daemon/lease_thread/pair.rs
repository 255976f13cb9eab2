//! Pair mode in the lease thread: looks at the other node and the gateway, and tells the elections whose votes count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tracing::debug;

use super::{BATCH, Driver, Report};
use crate::clock;
use crate::dataplane::PeerTable;
use crate::election::{Election, State, View};
use crate::gateway::Gateway;
use crate::pair::{Look, Pair};
use crate::userplane::Board;

/// What the thread needs for it.
#[derive(Debug)]
pub(in crate::daemon) struct PairSide {
    pub(super) core: Pair,
    gateway: Gateway,
    hearing: Hearing,
    board: Arc<PairBoard>,
    /// Of the current configuration.
    voters: Vec<u16>,
    me: u16,
    looks: Vec<Look>,
    /// By group, what its election has been told.
    told: Vec<bool>,
    /// Elections have been told, and what they ask for is still to be done.
    has_told: bool,
}

/// Where it is found when the other node was heard.
#[derive(Debug)]
pub(in crate::daemon) enum Hearing {
    /// In the XDP program's map.
    Map(PeerTable),
    /// Without XDP.
    Board(Arc<Board>),
}

impl Hearing {
    /// CLOCK_BOOTTIME in ns, 0 = never; and the MAC address, where that is known. What cannot be read has been heard `now`: only
    /// silence that is known lets a vote count alone.
    fn of(&self, node: u16, now: u64) -> (u64, Option<[u8; 6]>) {
        match self {
            Self::Map(peers) => match peers.get(node) {
                Ok(Some(peer)) => (peer.last_heard, Some(peer.mac)),
                Ok(None) => (0, None),
                Err(_) => (now, None),
            },
            Self::Board(board) => (board.last_heard(node), None),
        }
    }
}

/// What the control plane sees of it.
#[derive(Debug, Default)]
pub(in crate::daemon) struct PairBoard {
    is_alone: AtomicBool,
    /// 0 = the gateway is not asked, 1 = it does not answer, 2 = it does.
    answers: AtomicU8,
}

impl PairBoard {
    /// Whether this node's vote counts alone in some group.
    pub(in crate::daemon) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// Whether the gateway answers; `None` while it is not asked.
    pub(in crate::daemon) fn answers(&self) -> Option<bool> {
        match self.answers.load(Ordering::Relaxed) {
            0 => None,
            answers => Some(answers == 2),
        }
    }
}

impl PairSide {
    /// For the node `me`, with leases of this length in so many groups.
    pub(in crate::daemon) fn new(
        me: u16,
        lease: u64,
        groups: usize,
        gateway: Gateway,
        hearing: Hearing,
    ) -> Self {
        Self {
            core: Pair::new(lease, groups),
            gateway,
            hearing,
            board: Arc::default(),
            voters: Vec::new(),
            me,
            looks: Vec::with_capacity(groups),
            told: vec![false; groups],
            has_told: false,
        }
    }

    /// What others may see of it.
    pub(in crate::daemon) fn board(&self) -> Arc<PairBoard> {
        Arc::clone(&self.board)
    }

    pub(super) fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    pub(super) fn socket(&self) -> &Gateway {
        &self.gateway
    }

    fn take_answers(&mut self, now: u64) {
        let peer = self.core.peer().and_then(|peer| self.hearing.of(peer, now).1);
        for _ in 0..BATCH {
            let Some(mac) = self.gateway.answer(BATCH) else { return };
            // A node that has the gateway's address is no third party.
            if Some(mac) != peer {
                self.core.handle_answer(now);
            }
        }
    }

    /// Shows how it is now; gives whether some group is alone, if that is new.
    fn show(&self, now: u64) -> Option<bool> {
        let answers = self.core.answers(now).map_or(0, |answers| 1 + u8::from(answers));
        self.board.answers.store(answers, Ordering::Relaxed);
        let is_alone = self.core.is_alone_anywhere();
        (self.board.is_alone.swap(is_alone, Ordering::Relaxed) != is_alone).then_some(is_alone)
    }
}

impl Driver {
    /// These voters decide from now on. Nobody's vote counts alone before [`Self::set_peer`] says so.
    pub(super) fn set_voters(&mut self, voters: &[u16]) {
        self.set_peer(None);
        if let Some(pair) = &mut self.parts.pair {
            pair.voters.clear();
            pair.voters.extend_from_slice(voters);
        }
        self.tell_all(|election, view| election.set_voters(voters, view));
    }

    /// The other one of two voters; `None` where this node's vote must not count alone. What rests on that is given back at
    /// once: from here on, others may be elected without this node.
    pub(super) fn set_peer(&mut self, peer: Option<u16>) {
        let Some(mut pair) = self.parts.pair.take_if(|pair| pair.core.peer() != peer) else { return };
        let now = clock::now();
        pair.core.set_peer(peer);
        for index in 0..self.parts.groups.len() {
            let view = View { now, ..self.shown(index) };
            let election = &mut self.parts.groups[index].election;
            if std::mem::take(&mut pair.told[index]) {
                election.set_voters(&pair.voters, &view);
            }
            if pair.core.may_be_own(index, view.lease_until, now) {
                Election::release(election, &view);
            }
        }
        pair.has_told = true;
        self.parts.pair = Some(pair);
        self.do_what_pair_has_told();
    }

    /// Whether something in this round is about pair mode: an answer, an order, or a deadline.
    pub(super) fn meet_pair(&mut self, is_due: bool) {
        let Some(pair) = &mut self.parts.pair else { return };
        let now = clock::now();
        if !is_due && pair.core.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        pair.take_answers(now);
        self.look_at_pair(now);
        self.do_what_pair_has_told();
        let Some(pair) = &mut self.parts.pair else { return };
        // A stamp from before the request is sent: the gateway is heard no earlier than that.
        if pair.core.poll_request(now)
            && let Err(error) = pair.gateway.ask()
        {
            debug!("asking the gateway: {error}");
        }
        if let Some(is_alone) = pair.show(now) {
            self.report(Report::Alone(is_alone));
        }
    }

    /// Tells the elections whose votes count from `now` on, where that has changed.
    pub(super) fn look_at_pair(&mut self, now: u64) {
        let Some(mut pair) = self.parts.pair.take() else { return };
        let heard = pair.core.peer().map_or(0, |peer| pair.hearing.of(peer, now).0);
        pair.looks.clear();
        pair.looks.extend(self.parts.groups.iter().map(|group| Look {
            may_hold: group.election.may_hold(),
            holds: group.election.state() == State::Holder,
            lease_until: self.parts.words.read(group.slot).lease_until,
        }));
        pair.core.look(now, heard, &pair.looks);
        for index in 0..self.parts.groups.len() {
            let is_alone = pair.core.is_alone(index);
            if std::mem::replace(&mut pair.told[index], is_alone) == is_alone {
                continue;
            }
            let view = View { now, ..self.shown(index) };
            let voters = if is_alone { std::slice::from_ref(&pair.me) } else { &pair.voters };
            self.parts.groups[index].election.set_voters(voters, &view);
            pair.has_told = true;
        }
        self.parts.pair = Some(pair);
    }

    /// What the elections ask for that pair mode has told something.
    pub(super) fn do_what_pair_has_told(&mut self) {
        while self.parts.pair.as_mut().is_some_and(|pair| std::mem::take(&mut pair.has_told)) {
            for index in 0..self.parts.groups.len() {
                self.act(index);
            }
        }
    }

    /// Whether a look has to come before every call of an election.
    pub(super) fn is_alone(&self) -> bool {
        self.parts.pair.as_ref().is_some_and(|pair| pair.core.is_alone_anywhere())
    }
}
