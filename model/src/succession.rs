//! The succession of configurations: the membership as it is (`vip_user::membership`), hearing Hellos in any order.
//!
//! A step is one node's: it hears one Hello of another node, gets a wish to count a voter out, loses its patience with
//! a ballot, or is started anew. Every Hello may be heard at any later time by any node or never; one that is older
//! than what the hearer has taken is not taken, as the replay check sees to that. What is stored is on the disk within
//! the step: as nothing is said of it before, a daemon that dies before the write has only not heard what made it
//! write.
//!
//! Leases have no length here, so nothing waits for the spacing: that every configuration has at most one successor
//! does not rest on it. What does is in [`crate::leases`].

mod naive;
mod node;

use std::collections::BTreeSet;
use std::sync::Arc;

use stateright::{Model, Property};
use vip_common::lease::quorum;
use vip_user::membership::Configuration;

pub use naive::Naive;
use node::Node;

use crate::flaw::Flaw;

/// The model: these voters in the beginning, and nobody else.
#[derive(Clone, Debug)]
pub struct Succession {
    /// How many voters there are.
    pub voters: u16,
    /// What may happen.
    pub bounds: Bounds,
    /// What is left out.
    pub flaw: Option<Flaw>,
}

/// How far a search goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Which node wants which one counted out, each once.
    pub wishes: Vec<(u16, u16)>,
    /// Pairs that have heard each other's first Hello in the beginning. One that does not hear the lower ids takes
    /// itself for the coordinator.
    pub acquainted: Vec<(u16, u16)>,
    /// Ballots that are given up and tried again under a higher one.
    pub retries: u8,
    /// Daemons started anew with what is on their disks.
    pub restarts: u8,
    /// The newest epoch to go to.
    pub epochs: u32,
}

impl std::fmt::Display for Succession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bounds { wishes, acquainted, retries, restarts, epochs } = &self.bounds;
        write!(
            f,
            "{} voters, {} wishes to count one out, {} pairs that know each other",
            self.voters,
            wishes.len(),
            acquainted.len()
        )?;
        write!(f, ", {retries} ballots tried again, {restarts} restarts, up to epoch {epochs}")
    }
}

/// All nodes at an instant, shared by the states that do not differ in them.
#[derive(Clone, PartialEq, Hash, Debug)]
pub struct State {
    nodes: Vec<Arc<Node>>,
    /// Every configuration that any node has ever adopted.
    adopted: BTreeSet<(u32, Vec<u16>)>,
    left: Bounds,
}

/// A step. Nodes are named by their ids.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// The first one wants the second one counted out.
    Wish(u16, u16),
    /// The first one hears the second one's Hello of this number.
    Hear(u16, u16, usize),
    /// Its ballot has taken too long.
    Retry(u16),
    /// Its daemon starts anew.
    Restart(u16),
}

impl Model for Succession {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let ids: Vec<u16> = (1..=self.voters).collect();
        let Ok(first) = Configuration::new(1, ids.clone()) else { return Vec::new() };
        let nodes = ids.iter().filter_map(|id| Node::start(*id, &first)).map(Arc::new).collect();
        let mut state = State { nodes, adopted: BTreeSet::new(), left: self.bounds.clone() };
        for (a, b) in &self.bounds.acquainted {
            state.hear(*a, *b, 0);
            state.hear(*b, *a, 0);
        }
        state.note();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.left.wishes.iter().map(|(by, whom)| Action::Wish(*by, *whom)));
        for node in &state.nodes {
            for other in state.nodes.iter().filter(|other| other.id != node.id) {
                let unheard = node.unheard(other);
                actions.extend(unheard.map(|number| Action::Hear(node.id, other.id, number)));
            }
            if state.left.retries > 0 && node.has_attempt() {
                actions.push(Action::Retry(node.id));
            }
            if state.left.restarts > 0 {
                actions.push(Action::Restart(node.id));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Wish(by, whom) => {
                state.left.wishes.retain(|wish| *wish != (by, whom));
                state.node(by).wish(whom);
            }
            Action::Hear(by, whom, number) => state.hear(by, whom, number),
            Action::Retry(by) => {
                state.left.retries -= 1;
                state.node(by).retry();
            }
            Action::Restart(id) => {
                state.left.restarts -= 1;
                state.node(id).restart(self.flaw)?;
            }
        }
        state.note();
        Some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.adopted.iter().all(|(epoch, _)| *epoch <= self.bounds.epochs)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one configuration of each epoch", |_, state: &State| state.epochs_are_unique()),
            Property::always("configurations differ by one voter", |_, state: &State| {
                state.steps_are_small()
            }),
            Property::sometimes("the voters change", |_, state: &State| state.adopted.len() > 1),
            Property::sometimes("a quorum has the next configuration", |_, state: &State| {
                state.is_in_force(2)
            }),
        ]
    }

    fn format_action(&self, action: &Action) -> String {
        match action {
            Action::Wish(by, whom) => format!("{by} wants {whom} counted out"),
            Action::Hear(by, whom, number) => format!("{by} hears Hello {number} of {whom}"),
            Action::Retry(by) => format!("the ballot of {by} has taken too long"),
            Action::Restart(id) => format!("the daemon of {id} is killed and started"),
        }
    }

    fn format_step(&self, before: &State, action: Action) -> Option<String> {
        let state = self.next_state(before, action)?;
        let new: Vec<String> = state
            .adopted
            .difference(&before.adopted)
            .map(|(_, voters)| format!("{voters:?} is adopted"))
            .collect();
        Some(new.join(", "))
    }
}

impl State {
    fn node(&mut self, id: u16) -> &mut Node {
        Arc::make_mut(&mut self.nodes[usize::from(id) - 1])
    }

    fn hear(&mut self, by: u16, whom: u16, number: usize) {
        let other = self.nodes[usize::from(whom) - 1].clone();
        self.node(by).hear(&other, number);
    }

    /// Remembers what has been adopted.
    fn note(&mut self) {
        let has = |node: &Arc<Node>| node.configuration().map(|has| (has.epoch(), has.voters().to_vec()));
        self.adopted.extend(self.nodes.iter().filter_map(has));
    }

    /// Whether a quorum of the voters of a configuration of this epoch has it.
    fn is_in_force(&self, epoch: u32) -> bool {
        let of_epoch = self.adopted.iter().filter(|(of, _)| *of == epoch);
        of_epoch.map(|(_, voters)| voters).any(|voters| {
            let has_it = |node: &&Arc<Node>| {
                node.configuration().is_some_and(|has| has.epoch() == epoch && has.voters() == voters)
            };
            self.nodes.iter().filter(has_it).count() >= quorum(voters.len())
        })
    }

    fn epochs_are_unique(&self) -> bool {
        let epochs: BTreeSet<u32> = self.adopted.iter().map(|(epoch, _)| *epoch).collect();
        epochs.len() == self.adopted.len()
    }

    fn steps_are_small(&self) -> bool {
        let of = |epoch| self.adopted.iter().filter(move |(of, _)| *of == epoch).map(|(_, voters)| voters);
        let differ = |a: &[u16], b: &[u16]| {
            let only = |a: &[u16], b: &[u16]| a.iter().filter(|id| !b.contains(id)).count();
            only(a, b) + only(b, a)
        };
        self.adopted.iter().all(|(epoch, voters)| of(epoch + 1).all(|next| differ(voters, next) == 1))
    }
}
