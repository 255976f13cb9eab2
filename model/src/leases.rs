//! Leases: the acceptors and the data plane as they are (`vip_common::vote`, `vip_common::lease`), under proposers
//! that do whatever the guards allow.
//!
//! | real | played |
//! | --- | --- |
//! | what a node does with every message: `vote::message`, with the checks of sender, replay and epoch | the maps, as plain memory |
//! | acceptors, quorum, serving time: `lease::Acceptor`, `lease::Renewal` | clocks, machines, the network |
//! | the word: `lease::extension`, `lease::held` | daemons: see `node` |
//! | ballots | which configurations there are, and the rule of spacing: see `voters` |
//!
//! A step is one action of one node, the delivery of one message, or a tick of true time. Within [`Bounds`] every order
//! of steps is searched. Time, delay, loss, reordering and repetition have no bound: a message that was sent may be
//! delivered at any later time or never, and once more where it would be taken once more.
//!
//! Clocks differ by the drift bound to the last unit: in a tick a fast one gains 100 units and a slow one 99, and a
//! lease is a whole number of fast ticks. So a word that was armed in time ends with the lease of the acceptors and not
//! a unit before.
//!
//! What makes the search small, and loses nothing:
//! - Time is told backwards ([`NOW`]), and what is over is forgotten: nothing in the rules asks for the date.
//! - A message that would change nothing any more is taken from the network.
//! - Nodes are alike until they differ in rate or in being voters, so of those the first one acts first. For a ballot
//!   is compared by its round alone: no two nodes use the same one.
//!
//! What it does lose: the granularity. Within a tick all is one instant, so that leases of two or three ticks are met at
//! their boundaries and half-way, but not in between; and a node's step is not torn apart, but for what
//! [`Flaw::DisarmsLater`] shows of that.

mod node;
mod rules;
mod time;
mod voters;

use stateright::{Model, Property};
use vip_common::lease::Ballot;

use crate::flaw::Flaw;
use crate::letters::{Letter, owners_are_single};
use crate::marks::{Marked, Marks, Sight};
use node::Node;
pub use rules::{Bounds, Drift, Rules};
pub use time::{FAST, NOW, SLOW};
use voters::Voters;

/// The model: `N` nodes.
#[derive(Clone, Copy, Debug)]
pub struct Leases<const N: usize>(pub Rules);

/// The cluster at an instant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State<const N: usize> {
    nodes: [Node<N>; N],
    /// In order, each once.
    letters: Vec<Letter>,
    voters: Voters<N>,
    /// What may still happen.
    left: Bounds,
    marks: Marks,
}

/// A step. Nodes are named by their ids.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// True time passes; the nodes in this mask have fast clocks in this tick, if clocks waver.
    Tick(u16),
    /// A message is delivered.
    Deliver(Letter),
    /// Stands under a ballot: sends a proposal, and casts its own vote.
    Stand(u16, Ballot),
    /// Proposes again.
    Renew(u16),
    /// The word is over, and the node follows.
    Lapse(u16),
    /// Gives back what it has.
    Release(u16, Ballot),
    /// The daemon is killed, and started again.
    Restart(u16),
    /// The machine forgets all that is not on its disk.
    Crash(u16),
    /// Asks another node for its lease.
    Ask(u16, u16),
    /// This node brings about a configuration with or without that voter.
    Choose(u16, u16),
    /// The data plane has the next configuration.
    Adopt(u16),
    /// The daemon has it, too.
    Configure(u16),
}

impl<const N: usize> Model for Leases<N> {
    type State = State<N>;
    type Action = Action;

    /// All rates, but for nodes that only change places.
    fn init_states(&self) -> Vec<State<N>> {
        let voters = self.0.voters;
        let mut states = Vec::new();
        for slow_voters in 0..=voters {
            for slow_others in 0..=N - voters {
                let is_slow = |i: usize| if i < voters { i < slow_voters } else { i - voters < slow_others };
                let rate = |i| if self.0.drift == Drift::Steady && is_slow(i) { SLOW } else { FAST };
                let nodes = std::array::from_fn(|i| Node::new((1..).nth(i).unwrap_or(0), rate(i)));
                let voters = Voters::first(&self.0);
                let mut state = State {
                    nodes,
                    letters: Vec::new(),
                    voters,
                    left: self.0.bounds,
                    marks: Marks::default(),
                };
                state.settle(&self.0);
                states.push(state);
            }
        }
        states.dedup();
        states
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        actions.extend(state.letters.iter().copied().map(Action::Deliver));
        for node in &state.nodes {
            state.daemon_actions(node, &self.0, actions);
            state.faults(node, actions);
            state.changes(node, &self.0, actions);
        }
        if state.left.ticks == Some(0) {
            return;
        }
        match self.0.drift {
            Drift::None | Drift::Steady => actions.push(Action::Tick(0)),
            Drift::Wavering => actions.extend((0..1 << N).map(Action::Tick)),
        }
    }

    fn next_state(&self, before: &State<N>, action: Action) -> Option<State<N>> {
        let mut state = before.clone();
        state.step(&action, &self.0);
        let passed = matches!(action, Action::Tick(_));
        let (was, is): (Vec<_>, Vec<_>) = (before.holders().collect(), state.holders().collect());
        state.marks.note(&was, &is, passed);
        state.marks.see(Sight::HandedOver, state.is_handed_over());
        state.marks.see(Sight::CameBack, state.nodes.iter().any(Node::has_come_back));
        state
            .marks
            .see(Sight::LaterEpoch, state.nodes.iter().any(|node| node.serves() && node.plane.epoch > 1));
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("never two holders", |_, state: &State<N>| state.holders().count() <= 1),
            Property::always("a ballot has one owner", |_, state: &State<N>| state.ballots_have_owners()),
        ];
        properties.extend(self.0.sees.iter().map(|sight| sight.property()));
        properties
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn format_step(&self, before: &State<N>, action: Action) -> Option<String> {
        let state = self.next_state(before, action)?;
        let serving: Vec<String> = state.holders().map(|(node, _)| node.to_string()).collect();
        Some(if serving.is_empty() { String::new() } else { format!("{} serves", serving.join(" and ")) })
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tick(0) => write!(f, "time passes"),
            Self::Tick(fast) => write!(f, "time passes, fast for nodes {}", mask(*fast)),
            Self::Deliver(letter) => write!(f, "{letter:?} arrives"),
            Self::Stand(node, ballot) => write!(f, "{node} proposes itself under {ballot}"),
            Self::Renew(node) => write!(f, "{node} proposes again"),
            Self::Lapse(node) => write!(f, "{node} sees that its word is over"),
            Self::Release(node, ballot) => write!(f, "{node} gives back {ballot}"),
            Self::Restart(node) => write!(f, "the daemon of {node} is killed and started"),
            Self::Crash(node) => write!(f, "{node} loses its maps and starts"),
            Self::Ask(node, from) => write!(f, "{node} asks {from} for its lease"),
            Self::Choose(by, voter) => write!(f, "{by} has a configuration chosen with or without {voter}"),
            Self::Adopt(node) => write!(f, "the data plane of {node} has the next configuration"),
            Self::Configure(node) => write!(f, "the daemon of {node} has the next configuration"),
        }
    }
}

fn mask(nodes: u16) -> String {
    let ids: Vec<String> =
        (1..=16).filter(|id| nodes >> (id - 1) & 1 == 1).map(|id: u16| id.to_string()).collect();
    ids.join(", ")
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

    /// A node serves under the ballot for which another one has given its lease away.
    fn is_handed_over(&self) -> bool {
        let serves_under = |ballot| self.nodes.iter().any(|node| node.serves() && node.stands_under(ballot));
        self.nodes.iter().filter_map(Node::given_to).any(serves_under)
    }

    /// No ballot is proposed or counted by two nodes.
    fn ballots_have_owners(&self) -> bool {
        let asked = self.letters.iter().filter(|letter| letter.asks_under_own_ballot());
        let asked = asked.map(|letter| (letter.ballot, letter.from));
        let counted = self.nodes.iter().map(|node| (Ballot(node.plane.renewal.ballot), node.id));
        let standing = self.nodes.iter().filter_map(|node| Some((node.daemon.standing?.ballot, node.id)));
        owners_are_single(asked.chain(counted).chain(standing))
    }

    // What may happen.

    fn daemon_actions(&self, node: &Node<N>, rules: &Rules, actions: &mut Vec<Action>) {
        let id = node.id;
        let may_begin = self.may_begin(node);
        if self.left.proposals > 0 && may_begin && node.may_stand(rules) && self.is_voter(node) {
            actions.extend(self.ballots_for(node).map(|ballot| Action::Stand(id, ballot)));
        }
        if self.left.proposals > 0 && node.may_renew() {
            actions.push(Action::Renew(id));
        }
        if node.plane.lease_until == time::OVER {
            actions.push(Action::Lapse(id));
        }
        if self.left.releases > 0 {
            actions.extend(node.ballot_to_release().map(|ballot| Action::Release(id, ballot)));
        }
        if self.left.asks > 0 && may_begin && self.is_voter(node) {
            let others = self.nodes.iter().map(|node| node.id).filter(|from| *from != id);
            actions.extend(others.filter(|from| node.may_ask(*from)).map(|from| Action::Ask(id, from)));
        }
    }

    fn faults(&self, node: &Node<N>, actions: &mut Vec<Action>) {
        if self.left.restarts > 0 && self.may_begin(node) {
            actions.push(Action::Restart(node.id));
        }
        if self.left.crashes > 0 && self.may_begin(node) {
            actions.push(Action::Crash(node.id));
        }
    }

    /// Whether a node may be the next to do something of itself: of those that are alike, the first one is.
    fn may_begin(&self, node: &Node<N>) -> bool {
        let is_like = |other: &&Node<N>| {
            other.rate == node.rate && self.voters.was_first(other.id) == self.voters.was_first(node.id)
        };
        let before = self.nodes.iter().take_while(|other| other.id != node.id);
        before.filter(is_like).all(|other| other.is_known)
    }

    /// The ballots that a node may stand under: one above all there are, and after a restart also those of its own
    /// that it has forgotten. Others are refused more often, that is all.
    fn ballots_for(&self, node: &Node<N>) -> impl Iterator<Item = Ballot> {
        let known = node.daemon.seen.max(Ballot(node.plane.acceptor.ballot));
        let id = node.id;
        let mut ballots: Vec<Ballot> =
            self.ballots().filter(|ballot| ballot.node() == id && *ballot > known).collect();
        ballots.push(self.fresh_ballot(id));
        ballots.sort_unstable();
        ballots.dedup();
        ballots.into_iter()
    }

    fn fresh_ballot(&self, id: u16) -> Ballot {
        self.ballots().max().unwrap_or_default().successor(id)
    }

    fn ballots(&self) -> impl Iterator<Item = Ballot> {
        let of_node = |node: &Node<N>| {
            let acceptor = &node.plane.acceptor;
            [Ballot(acceptor.promised), Ballot(acceptor.ballot), node.daemon.seen]
        };
        self.nodes.iter().flat_map(of_node).chain(self.letters.iter().map(|letter| letter.ballot))
    }

    // What happens.

    fn step(&mut self, action: &Action, rules: &Rules) {
        let mut sent = Vec::new();
        match *action {
            Action::Tick(fast) => self.tick(fast, rules),
            Action::Deliver(letter) => self.deliver(&letter, rules, &mut sent),
            Action::Stand(id, ballot) => {
                self.begin(id).stand(ballot, rules);
                self.propose(id, rules, &mut sent);
            }
            Action::Renew(id) => self.propose(id, rules, &mut sent),
            Action::Lapse(id) => self.node(id).lapse(),
            Action::Release(id, ballot) => {
                self.left.releases -= 1;
                self.node(id).release(ballot, rules, &mut sent);
            }
            Action::Restart(id) => {
                self.left.restarts -= 1;
                self.begin(id).restart();
            }
            Action::Crash(id) => {
                self.left.crashes -= 1;
                self.begin(id).crash(rules);
            }
            Action::Ask(id, from) => {
                self.left.asks -= 1;
                let fresh = self.fresh_ballot(id);
                self.begin(id).ask(from, fresh, &mut sent);
            }
            Action::Choose(by, voter) => self.choose(by, voter, rules),
            Action::Adopt(id) => self.adopt(id),
            Action::Configure(id) => self.configure(id, rules, &mut sent),
        }
        self.letters.extend(sent);
        self.settle(rules);
    }

    fn tick(&mut self, fast: u16, rules: &Rules) {
        self.left.ticks = self.left.ticks.map(|left| left - 1);
        let passed = self.nodes.map(|node| match rules.drift {
            Drift::None | Drift::Steady => node.rate,
            Drift::Wavering => Rules::RATES[usize::from(fast >> (node.id - 1) & 1)],
        });
        for (node, passed) in self.nodes.iter_mut().zip(passed) {
            node.pass(passed, rules);
        }
        for letter in &mut self.letters {
            time::age(letter, passed[usize::from(letter.stamped_by()) - 1], rules.lease);
        }
        self.voters.tick(rules);
    }

    fn deliver(&mut self, letter: &Letter, rules: &Rules, sent: &mut Vec<Letter>) {
        let node = &mut self.nodes[usize::from(letter.to) - 1];
        let voters = self.voters.of(node.daemon.epoch);
        node.hear(letter, &voters, rules, sent);
    }

    fn propose(&mut self, id: u16, rules: &Rules, sent: &mut Vec<Letter>) {
        self.left.proposals -= 1;
        let fresh = self.fresh_ballot(id);
        let node = &mut self.nodes[usize::from(id) - 1];
        if node.needs_ballot() {
            node.stand(fresh, rules);
        }
        let voters = self.voters.of(node.daemon.epoch);
        node.propose(&voters, rules, sent);
    }

    fn node(&mut self, id: u16) -> &mut Node<N> {
        &mut self.nodes[usize::from(id) - 1]
    }

    fn begin(&mut self, id: u16) -> &mut Node<N> {
        let node = self.node(id);
        node.is_known = true;
        node
    }

    /// Takes from the network what does not matter any more, and puts the rest in order.
    fn settle(&mut self, rules: &Rules) {
        self.settle_voters();
        let Self { nodes, letters, left, .. } = self;
        let replays = matches!(rules.flaw, Some(Flaw::TakesReplays | Flaw::ForgetsIncarnations));
        let replayable = left.crashes > 0 || replays;
        letters.retain(|letter| nodes[usize::from(letter.to) - 1].may_matter(letter, replayable));
        letters.sort_unstable();
        letters.dedup();
    }
}
