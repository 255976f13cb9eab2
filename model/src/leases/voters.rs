//! Changes of the voters, as the leases see them: which configurations there are, and who has which.
//!
//! How a configuration is chosen is in [`crate::succession`]; here any next one may be, as soon as the rule of spacing
//! lets it.

use vip_common::lease::quorum;

use super::node::Node;
use super::rules::Rules;
use super::time::SLOW;
use super::{Action, State};
use crate::flaw::Flaw;
use crate::letters::Letter;

/// The configurations so far.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Voters<const N: usize> {
    /// By epoch, the first one's first: the voters as a mask.
    chosen: Vec<u16>,
    /// By node: for how many ticks its data plane has had its configuration, up to as many as anybody asks for.
    had_for: [u64; N],
}

impl<const N: usize> Voters<N> {
    /// A first configuration of so many nodes, which all have it since long ago.
    pub(super) fn first(rules: &Rules) -> Self {
        Self { chosen: vec![(1 << rules.voters) - 1], had_for: [enough_ticks(rules); N] }
    }

    /// Whether a node is a voter in the first configuration.
    pub(super) fn was_first(&self, id: u16) -> bool {
        self.is_in(1, id)
    }

    pub(super) fn of(&self, epoch: u32) -> Vec<u16> {
        (1..).take(N).filter(|id| self.is_in(epoch, *id)).collect()
    }

    fn is_in(&self, epoch: u32, id: u16) -> bool {
        self.chosen[epoch as usize - 1] >> (id - 1) & 1 == 1
    }

    pub(super) fn tick(&mut self, rules: &Rules) {
        for ticks in &mut self.had_for {
            *ticks = (*ticks + 1).min(enough_ticks(rules));
        }
    }

    fn latest(&self) -> u32 {
        u32::try_from(self.chosen.len()).unwrap_or(u32::MAX)
    }
}

/// So many ticks are enough for any clock.
fn enough_ticks(rules: &Rules) -> u64 {
    rules.spacing().div_ceil(SLOW)
}

impl<const N: usize> State<N> {
    pub(super) fn is_voter(&self, node: &Node<N>) -> bool {
        self.voters.is_in(node.daemon.epoch, node.id)
    }

    pub(super) fn changes(&self, node: &Node<N>, rules: &Rules, actions: &mut Vec<Action>) {
        let latest = self.voters.latest();
        if self.left.changes > 0 && node.plane.epoch == latest && self.may_choose(node, rules) {
            let others = self.nodes.iter().filter(|other| self.may_begin(other)).map(|other| other.id);
            actions.extend(others.map(|id| Action::Choose(node.id, id)));
        }
        if node.plane.epoch < latest {
            actions.push(Action::Adopt(node.id));
        }
        if node.daemon.epoch < node.plane.epoch {
            actions.push(Action::Configure(node.id));
        }
    }

    /// The rule of spacing: a quorum has had this node's configuration for longer than a lease, by this node's clock.
    fn may_choose(&self, node: &Node<N>, rules: &Rules) -> bool {
        let epoch = node.plane.epoch;
        let has_had = |id: &&u16| {
            let i = usize::from(**id) - 1;
            self.nodes[i].plane.epoch == epoch && self.voters.had_for[i] * node.rate >= rules.spacing()
        };
        let voters = self.voters.of(epoch);
        self.voters.is_in(epoch, node.id) && voters.iter().filter(has_had).count() >= quorum(voters.len())
    }

    pub(super) fn choose(&mut self, by: u16, voter: u16, rules: &Rules) {
        self.left.changes -= 1;
        self.begin(voter);
        let before = self.voters.chosen[self.voters.latest() as usize - 1];
        let both = 1 << (by - 1) | 1 << (voter - 1);
        let change = if rules.flaw == Some(Flaw::ChangesTwo) { both } else { 1 << (voter - 1) };
        if before ^ change != 0 {
            self.voters.chosen.push(before ^ change);
        }
    }

    /// Forgets since when nodes have had configurations, where nobody will ask.
    pub(super) fn settle_voters(&mut self) {
        let latest = self.voters.latest();
        for node in &self.nodes {
            let counts = node.plane.epoch == latest && self.voters.is_in(latest, node.id);
            if self.left.changes == 0 || !counts {
                self.voters.had_for[usize::from(node.id) - 1] = 0;
            }
        }
    }

    /// The data plane decides by the next configuration from now on.
    pub(super) fn adopt(&mut self, id: u16) {
        self.node(id).plane.epoch += 1;
        self.voters.had_for[usize::from(id) - 1] = 0;
    }

    /// The daemon asks other voters from now on; one that is none any more gives back what it has.
    pub(super) fn configure(&mut self, id: u16, rules: &Rules, sent: &mut Vec<Letter>) {
        self.node(id).configure();
        let node = self.nodes[usize::from(id) - 1];
        match node.ballot_to_release().filter(|_| !self.is_voter(&node)) {
            Some(ballot) => self.node(id).release(ballot, rules, sent),
            None => self.node(id).stand_anew(),
        }
    }
}
