//! What must hold, judged by what a client on the segment could see, and by what nodes have said in public.
//!
//! Nothing here asks the code under test: whether a node would answer for a VIP follows from its lease word and its
//! clock, and a word only begins to hold when it is changed. So it is enough to look after each change; nothing that
//! happens between two looks can be missed.

use std::collections::BTreeMap;
use std::fmt;

use vip_user::membership::Configuration;

use crate::clock::Clock;
use crate::plane::Plane;
use crate::schedule::ms;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// True time, in ns.
    pub at: u64,
    /// Which one.
    pub promise: Promise,
}

/// What is promised.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the line over each variant says what its fields are")]
pub enum Promise {
    /// Never two holders: these would answer for the group's VIPs at once.
    OneHolder { group: usize, nodes: [u16; 2] },
    /// A ballot is asked for by the one node that made it.
    OneOwner { group: usize, ballot: u64, node: u16 },
    /// An epoch has one configuration.
    OneConfiguration { epoch: u32, voters: [Vec<u16>; 2] },
    /// After all trouble, every group is served, and goes on being served.
    SomebodyServes { group: usize },
    /// No arithmetic overflows, and nothing else panics.
    NoPanic,
    /// After all trouble, every node that runs becomes a voter.
    AllVote { node: u16 },
    /// A timer does not fire again and again without time passing.
    NoSpin { node: u16 },
}

impl Promise {
    /// Whether both are about the same thing, whichever nodes and groups it happened to.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Watches a run.
#[derive(Debug)]
pub(crate) struct Oracle {
    groups: usize,
    /// By node, then by group.
    words: Vec<Serving>,
    /// What any node has ever had in force, by epoch.
    configurations: BTreeMap<u32, Configuration>,
    pub(crate) broken: Option<Broken>,
}

/// A lease word as it was seen last, and until which true time it holds.
#[derive(Clone, Copy, Default, Debug)]
struct Serving {
    word: u64,
    ends: u64,
}

impl Oracle {
    pub(crate) fn new(nodes: usize, groups: usize) -> Self {
        Self {
            groups,
            words: vec![Serving::default(); nodes * groups],
            configurations: BTreeMap::new(),
            broken: None,
        }
    }

    /// Looks at a node whose plane may have changed. Without a plane, nobody answers there.
    pub(crate) fn look(&mut self, node: usize, plane: Option<&Plane>, clock: &Clock, now: u64) {
        for group in 0..self.groups {
            let word = plane.map_or(0, |plane| plane.groups[group].lease_until);
            let place = node * self.groups + group;
            if self.words[place].word != word {
                // The node answers while its clock shows less than the word.
                self.words[place] = Serving { word, ends: clock.reaches(word) };
                self.judge(node, group, now);
            }
        }
    }

    /// A node's clock goes at another rate, or starts anew, from now on.
    pub(crate) fn clock_changed(&mut self, node: usize, clock: &Clock, now: u64) {
        for group in 0..self.groups {
            let serving = &mut self.words[node * self.groups + group];
            if serving.ends > now {
                serving.ends = clock.reaches(serving.word);
                self.judge(node, group, now);
            }
        }
    }

    /// Who would answer for a group's VIPs at true time `now`.
    pub(crate) fn serving(&self, group: usize, now: u64) -> impl Iterator<Item = u16> {
        let serving = self.words.iter().skip(group).step_by(self.groups);
        (1..).zip(serving).filter(move |(_, serving)| serving.ends > now).map(|(id, _)| id)
    }

    /// A node has asked for something under this ballot.
    pub(crate) fn asked(&mut self, node: u16, group: usize, ballot: u64, now: u64) {
        if ballot & 0xffff != u64::from(node) {
            self.broken(now, Promise::OneOwner { group, ballot, node });
        }
    }

    /// A node has put a configuration in force.
    pub(crate) fn adopted(&mut self, configuration: &Configuration, now: u64) {
        let epoch = configuration.epoch();
        let known = self.configurations.entry(epoch).or_insert_with(|| configuration.clone());
        if known != configuration {
            let voters = [known.voters().to_vec(), configuration.voters().to_vec()];
            self.broken(now, Promise::OneConfiguration { epoch, voters });
        }
    }

    /// The newest configuration that any node has had in force.
    pub(crate) fn newest(&self) -> Option<&Configuration> {
        self.configurations.values().next_back()
    }

    /// How often the voters were changed.
    pub(crate) fn changes(&self) -> u64 {
        self.configurations.keys().next_back().map_or(0, |epoch| u64::from(*epoch) - 1)
    }

    /// The first promise that was broken stands.
    pub(crate) fn broken(&mut self, at: u64, promise: Promise) {
        self.broken.get_or_insert(Broken { at, promise });
    }

    fn judge(&mut self, node: usize, group: usize, now: u64) {
        if self.words[node * self.groups + group].ends <= now {
            return;
        }
        let mut serving = self.serving(group, now);
        if let (Some(one), Some(other)) = (serving.next(), serving.next()) {
            drop(serving);
            self.broken(now, Promise::OneHolder { group, nodes: [one, other] });
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: ", ms(self.at))?;
        match &self.promise {
            Promise::OneHolder { group, nodes: [one, other] } => {
                write!(f, "nodes {one} and {other} both serve group {group}")
            }
            Promise::OneOwner { group, ballot, node } => {
                write!(f, "node {node} uses ballot {ballot:#x} of another node in group {group}")
            }
            Promise::OneConfiguration { epoch, voters: [one, other] } => {
                write!(f, "epoch {epoch} has two configurations, {one:?} and {other:?}")
            }
            Promise::SomebodyServes { group } => {
                write!(f, "nobody serves group {group} although all is calm")
            }
            Promise::AllVote { node } => {
                write!(f, "node {node} runs and is no voter, or does not know the newest configuration")
            }
            Promise::NoPanic => write!(f, "the code under test panics"),
            Promise::NoSpin { node } => write!(f, "the timers of node {node} spin"),
        }
    }
}
