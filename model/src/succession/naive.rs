//! The rule that is not enough: the coordinator holds a lease of its own, stores the next configuration and spreads it.
//!
//! The search finds two configurations of one epoch, and a quorum of each that has it: the leases of these two would
//! not know of each other.

use stateright::{Model, Property};
use vip_common::lease::{Acceptor, Ballot, Decision, Request, quorum};
use vip_user::membership::Configuration;

const NOW: u64 = 1_000;
const LEASE: u64 = 100;

/// The model: four voters, of which two coordinators each count one out.
#[derive(Clone, Copy, Debug)]
pub struct Naive;

/// A node.
#[derive(Clone, PartialEq, Debug)]
struct Node {
    id: u16,
    /// For the coordinator's lease.
    acceptor: Acceptor,
    is_coordinator: bool,
    configuration: Configuration,
}

impl std::hash::Hash for Node {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let configuration = (self.configuration.epoch(), self.configuration.voters());
        (self.id, self.acceptor, self.is_coordinator, configuration).hash(state);
    }
}

/// All nodes at an instant.
#[derive(Clone, PartialEq, Hash, Debug)]
pub struct State(Vec<Node>);

/// A step. Nodes are named by their ids.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Becomes coordinator by the votes of these nodes, a mask.
    Lead(u16, u16),
    /// The coordinator stores a configuration without this voter.
    Store(u16, u16),
    /// The first one hears of the second one's configuration.
    Hear(u16, u16),
    /// All leases of coordinators end.
    Tick,
}

impl Model for Naive {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Ok(configuration) = Configuration::new(1, vec![1, 2, 3, 4]) else { return Vec::new() };
        let node = |id| Node {
            id,
            acceptor: Acceptor::default(),
            is_coordinator: false,
            configuration: configuration.clone(),
        };
        vec![State((1..=4).map(node).collect())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for node in &state.0 {
            actions.extend((1..1 << state.0.len()).map(|votes| Action::Lead(node.id, votes)));
            actions.extend(state.0.iter().map(|other| Action::Store(node.id, other.id)));
            actions.extend(state.0.iter().map(|other| Action::Hear(node.id, other.id)));
        }
        actions.push(Action::Tick);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Lead(id, votes) => state.lead(id, votes)?,
            Action::Store(by, whom) => {
                let node = state.node(by);
                let next = node.configuration.without(whom).filter(|next| next.epoch() <= 2)?;
                node.is_coordinator.then_some(())?;
                node.configuration = next;
            }
            Action::Hear(by, whom) => {
                let theirs = state.node(whom).configuration.clone();
                let node = state.node(by);
                if theirs.epoch() > node.configuration.epoch() {
                    node.configuration = theirs;
                }
            }
            Action::Tick => {
                for node in &mut state.0 {
                    node.acceptor.expires = 0;
                    node.is_coordinator = false;
                }
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("all quorums of an epoch meet", |_, state: &State| state.quorums_meet())]
    }

    fn format_action(&self, action: &Action) -> String {
        match action {
            Action::Lead(node, votes) => {
                format!("{node} becomes coordinator by the votes {votes:04b} (4321)")
            }
            Action::Store(by, whom) => format!("{by} stores the configuration without {whom}"),
            Action::Hear(by, whom) => format!("{by} hears of the configuration of {whom}"),
            Action::Tick => "the leases of coordinators end".to_owned(),
        }
    }

    fn format_step(&self, _: &State, _: Action) -> Option<String> {
        None
    }
}

impl State {
    fn node(&mut self, id: u16) -> &mut Node {
        &mut self.0[usize::from(id) - 1]
    }

    /// Acceptors grant the coordinator's lease to nodes whose configuration is not older than theirs.
    fn lead(&mut self, id: u16, votes: u16) -> Option<()> {
        let configuration = self.node(id).configuration.clone();
        let highest = self.0.iter().map(|node| node.acceptor.promised).max().unwrap_or_default();
        let ballot = Ballot(highest).successor(id);
        let mut granted = 0;
        for node in self.0.iter_mut().filter(|node| votes >> (node.id - 1) & 1 == 1) {
            let may_vote =
                configuration.contains(node.id) && node.configuration.epoch() <= configuration.epoch();
            let accepted = node.acceptor.decide(Request::Propose(ballot, LEASE), NOW, LEASE);
            if !may_vote || accepted != Decision::Accepted {
                return None;
            }
            granted += 1;
        }
        self.node(id).is_coordinator = true;
        (granted == quorum(configuration.voters().len())).then_some(())
    }

    /// Whether no two configurations of one epoch are each in force at a quorum.
    fn quorums_meet(&self) -> bool {
        let in_force = |node: &&Node| {
            let has_it = |other: &&Node| {
                other.configuration == node.configuration && node.configuration.contains(other.id)
            };
            self.0.iter().filter(has_it).count() >= quorum(node.configuration.voters().len())
        };
        let decided: Vec<&Configuration> =
            self.0.iter().filter(in_force).map(|node| &node.configuration).collect();
        decided.iter().all(|a| decided.iter().all(|b| a.epoch() != b.epoch() || a == b))
    }
}
