//! Elections: the election, the acceptors and the data plane as they are, in a cluster in which everything goes wrong
//! that can, within bounds.
//!
//! | real | played |
//! | --- | --- |
//! | who stands, proposes, holds, gives back and hands over: `vip_user::election::Election` | the lease thread around it, in its order: see `node` |
//! | what a node does with every message, acceptors, quorum, the word: `vip_common::vote`, `vip_common::lease` | the maps, as plain memory |
//! | messages, and how they are read | clocks, machines, the network |
//!
//! A step is: a message arrives, a timer is met, a daemon is stopped or goes on, is killed or is asked for something, a
//! machine loses its maps, or a tick of true time passes. Within [`Bounds`] every order of steps is searched; loss
//! and reordering of messages within their tick have no bound; [`Bounds::delays`] says how many arrive in the next one, or once
//! more. A daemon that is not stopped meets its timers within the tick.
//!
//! A tick is a third of a lease, so a renewal is due in each; the shorter times of the election (how long fitter
//! candidates are let go first, how long one is tried, back-off) all end within one or two, so nodes stand in one instant as
//! soon as they could in reality be in each other's way. Clocks are fast or slow, at the drift bound to the last unit.
//!
//! What it loses: random back-off is drawn once per way, not tried out; the actions that an election asks for at once are
//! done at once (the simulation tears them apart); the voters stay the same (they change in [`crate::leases`]).
//!
//! That somebody is elected is a promise about each state, not about infinite ways: from every state that was come to, if
//! nothing goes wrong from then on, a node gets the lease and keeps it, within a bounded time; also if one of the nodes is
//! dead, whichever. See `calm`.

mod calm;
mod node;
mod rules;

use std::sync::Arc;

use stateright::{Model, Property};
use vip_common::wire::Kind;

use crate::letters::{Letter, Sequences, owners_are_single};
use crate::marks::{Marked, Marks, Sight};
use node::Node;
pub use rules::{Bounds, Rules};

/// The model: `N` nodes, all of them voters; of the candidates, lower ids are fitter.
#[derive(Clone, Copy, Debug)]
pub struct Elections<const N: usize>(pub Rules);

/// The cluster at an instant. Nodes are shared by the states that do not differ in them.
#[derive(Clone, PartialEq, Hash, Debug)]
pub struct State<const N: usize> {
    nodes: [Arc<Node<N>>; N],
    /// In order, each once; those that have not arrived when the tick is over are lost.
    letters: Vec<Letter>,
    /// Those that will arrive in the next tick.
    delayed: Vec<Letter>,
    /// What may still happen.
    left: Bounds,
    marks: Marks,
}

/// A step. Nodes are named by their ids.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// True time passes.
    Tick,
    /// A message is delivered.
    Deliver(Letter),
    /// A message will arrive in the next tick, whether or not it does in this one.
    Delay(Letter),
    /// A daemon that has been stopped takes in what has come meanwhile.
    Take(u16),
    /// A timer is met.
    Wake(u16),
    /// The daemon is stopped.
    Freeze(u16),
    /// It goes on.
    Thaw(u16),
    /// The daemon is killed, and started again.
    Restart(u16),
    /// The machine forgets all that is not on its disk.
    Crash(u16),
    /// An operator wants the lease given back.
    Release(u16),
    /// An operator wants the lease handed over to the second one.
    HandOver(u16, u16),
}

impl<const N: usize> Model for Elections<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let start = |slow: &u16| {
            let mut sent = Vec::new();
            let nodes = (1..)
                .take(N)
                .map(|id| Arc::new(Node::start(id, slow >> (id - 1) & 1 == 1, &self.0, &mut sent)));
            let nodes: Vec<_> = nodes.collect();
            let mut state = State {
                nodes: nodes.try_into().ok()?,
                letters: sent,
                delayed: Vec::new(),
                left: self.0.bounds,
                marks: Marks::default(),
            };
            state.settle();
            Some(state)
        };
        self.0.slow.iter().filter_map(start).collect()
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        actions.extend(state.letters.iter().copied().map(Action::Deliver));
        if state.left.delays > 0 && state.left.ticks > 0 {
            actions.extend(state.letters.iter().copied().map(Action::Delay));
        }
        for node in &state.nodes {
            state.daemon_actions(node, actions);
            state.faults(node, actions);
        }
        if state.left.ticks > 0 && !state.nodes.iter().any(|node| node.is_due() || node.has_input()) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &State<N>, action: Action) -> Option<State<N>> {
        let mut state = before.clone();
        state.step(&action, &self.0);
        let (was, is): (Vec<_>, Vec<_>) = (before.holders().collect(), state.holders().collect());
        state.marks.note(&was, &is, action == Action::Tick);
        state.marks.see(Sight::CameBack, state.nodes.iter().any(|node| node.has_come_back()));
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("never two holders", |_, state: &State<N>| state.holders().count() <= 1),
            Property::always("a ballot has one owner", |_, state: &State<N>| state.ballots_have_owners()),
            Property::always("a live quorum elects", |model: &Self, state: &State<N>| state.elects(&model.0)),
        ];
        properties.extend(self.0.sees.iter().map(|sight| sight.property()));
        properties
    }

    fn format_action(&self, action: &Action) -> String {
        match action {
            Action::Tick => "time passes".to_owned(),
            Action::Deliver(letter) => format!("{letter:?} arrives"),
            Action::Delay(letter) => format!("{letter:?} will arrive in the next tick"),
            Action::Take(node) => format!("{node} takes in what has waited"),
            Action::Wake(node) => format!("a timer of {node} is met"),
            Action::Freeze(node) => format!("the daemon of {node} stops"),
            Action::Thaw(node) => format!("the daemon of {node} goes on"),
            Action::Restart(node) => format!("the daemon of {node} is killed and started"),
            Action::Crash(node) => format!("{node} loses its maps and starts"),
            Action::Release(node) => format!("{node} gives its lease back"),
            Action::HandOver(node, to) => format!("{node} is to hand over to {to}"),
        }
    }

    fn format_step(&self, before: &State<N>, action: Action) -> Option<String> {
        let state = self.next_state(before, action)?;
        let serving: Vec<String> = state.holders().map(|(node, _)| node.to_string()).collect();
        Some(if serving.is_empty() { String::new() } else { format!("{} serves", serving.join(" and ")) })
    }
}

impl<const N: usize> Marked for State<N> {
    fn marks(&self) -> &Marks {
        &self.marks
    }
}

impl<const N: usize> State<N> {
    /// Who serves, and until when by its own clock.
    fn holders(&self) -> impl Iterator<Item = (u16, u64)> {
        self.nodes.iter().filter(|node| node.serves()).map(|node| (node.id, node.plane.lease_until))
    }

    /// No ballot is asked for or counted by two nodes.
    fn ballots_have_owners(&self) -> bool {
        let letters = self.letters.iter().chain(&self.delayed);
        let asked = letters.filter(|letter| letter.asks_under_own_ballot());
        let asked = asked.map(|letter| (letter.ballot, letter.from));
        owners_are_single(asked.chain(self.nodes.iter().flat_map(|node| node.ballots())))
    }

    // What may happen.

    fn daemon_actions(&self, node: &Node<N>, actions: &mut Vec<Action>) {
        let id = node.id;
        if node.has_input() {
            actions.push(Action::Take(id));
        }
        if node.is_due() {
            actions.push(Action::Wake(id));
        }
        if node.is_frozen() {
            actions.push(Action::Thaw(id));
        }
        if self.left.releases > 0 && node.is_active() {
            actions.push(Action::Release(id));
        }
        if self.left.handovers > 0 && node.is_holder() {
            let others = self.nodes.iter().map(|other| other.id).filter(|to| *to != id);
            actions.extend(others.map(|to| Action::HandOver(id, to)));
        }
    }

    fn faults(&self, node: &Node<N>, actions: &mut Vec<Action>) {
        let id = node.id;
        if self.left.freezes > 0 && node.is_active() {
            actions.push(Action::Freeze(id));
        }
        if self.left.restarts > 0 {
            actions.push(Action::Restart(id));
        }
        if self.left.crashes > 0 {
            actions.push(Action::Crash(id));
        }
    }

    // What happens.

    fn step(&mut self, action: &Action, rules: &Rules) {
        let mut sent = Vec::new();
        match *action {
            Action::Tick => {
                self.left.ticks -= 1;
                self.letters = std::mem::take(&mut self.delayed);
                self.nodes.iter_mut().for_each(|node| Arc::make_mut(node).tick());
            }
            Action::Deliver(letter) => {
                if letter.kind == Kind::Refused {
                    // Each repetition would make the election draw its back-off anew, without end.
                    self.letters.retain(|other| *other != letter);
                }
                let was_follower = !self.node(letter.to).is_active();
                self.node(letter.to).hear(&letter, rules.flaw, &mut sent);
                let is_holder = self.node(letter.to).is_holder();
                self.marks.see(Sight::HandedOver, was_follower && is_holder);
            }
            Action::Delay(letter) => {
                self.left.delays -= 1;
                self.delayed.push(letter);
            }
            Action::Take(id) => self.node(id).take_input(rules.flaw, &mut sent),
            Action::Wake(id) => self.node(id).wake(rules.flaw, &mut sent),
            Action::Freeze(id) => {
                self.left.freezes -= 1;
                self.node(id).freeze();
            }
            Action::Thaw(id) => self.node(id).thaw(),
            Action::Restart(id) => {
                self.left.restarts -= 1;
                self.node(id).restart(rules.flaw, &mut sent);
            }
            Action::Crash(id) => {
                self.left.crashes -= 1;
                self.node(id).crash(rules.flaw, &mut sent);
            }
            Action::Release(id) => {
                self.left.releases -= 1;
                self.node(id).release(rules.flaw, &mut sent);
            }
            Action::HandOver(id, to) => {
                self.left.handovers -= 1;
                self.node(id).hand_over(to, rules.flaw, &mut sent);
            }
        }
        self.letters.extend(sent);
        self.settle();
    }

    fn node(&mut self, id: u16) -> &mut Node<N> {
        Arc::make_mut(&mut self.nodes[usize::from(id) - 1])
    }

    /// Takes from the network what does not matter any more, and puts the rest in order.
    fn settle(&mut self) {
        let Self { nodes, letters, delayed, left, .. } = self;
        let replayable = left.crashes > 0;
        for letters in [&mut *letters, delayed] {
            letters.retain(|letter| nodes[usize::from(letter.to) - 1].may_matter(letter, replayable));
        }
        let sequences = Sequences::of(letters.iter().chain(&*delayed));
        for letters in [letters, delayed] {
            sequences.put_into(letters);
            letters.sort_unstable();
            letters.dedup();
        }
        nodes.iter_mut().for_each(|node| Node::renumber(node, &sequences));
    }
}
