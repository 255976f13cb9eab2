//! What membership has to say to operators: the text of each notice, and how often it may be repeated.
//!
//! When a notice is due is decided in the parent module; writing it to the log is the driver's.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::members::MAX_MEMBERS;

/// Something for the log. `Display` gives one line that says what is the case and, where it is a fault, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A node is heard for the first time, again after a failure, or after a restart.
    Joined {
        /// The node.
        node: Node,
        /// Where it was heard from.
        address: IpAddr,
    },
    /// A node said that it is about to stop.
    Leaving(Node),
    /// A node that said so has stopped.
    Left(Node),
    /// A node fell silent without a word.
    Failed(Node),
    /// Fewer nodes are heard than the first configuration needs.
    WaitingForNodes {
        /// The size of the first configuration.
        expect: usize,
        /// The names of the nodes heard, this one first.
        heard: Vec<String>,
    },
    /// Enough nodes are heard, but the one that has to propose has not done so yet.
    WaitingForProposal(Node),
    /// A first configuration is proposed, and some of its voters have not consented yet.
    WaitingForConsent {
        /// What was proposed.
        proposed: Configuration,
        /// The voters that have not been heard consenting.
        missing: Vec<Node>,
    },
    /// Consents were given that exclude each other, and no first configuration is left that could be formed.
    Deadlock {
        /// Who has consented, and to what.
        consents: Vec<(Node, Configuration)>,
        /// What can be formed when the state of `reset` is gone.
        keep: Configuration,
        /// The nodes whose state has to be removed.
        reset: Vec<Node>,
    },
    /// Clusters of this name have been formed more than once.
    FormedApart(Vec<Configuration>),
    /// This node is a voter of a configuration that it has no memory of.
    Forgotten(Configuration),
    /// This node proposes the next configuration to the voters.
    Proposes(Configuration),
    /// A node runs with other settings than this one.
    SettingsDiffer {
        /// The other node.
        node: Node,
        /// Each differing setting: its key, the other node's value, this one's.
        differences: Vec<(&'static str, String, String)>,
    },
    /// Two nodes have the same name.
    SameName(Node, Node),
    /// A node that was gone, and no voter, is remembered no longer.
    Reaped(Node),
    /// More living nodes are heard than can be remembered.
    TooManyMembers(Node),
}

/// A node in a notice, shown as `lb1 (1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: u16,
    /// Its name, or `node 7` where it was never heard.
    pub name: String,
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Part of normal life.
    Info,
    /// Works, but an operator should look at it.
    Warn,
    /// Does not work until an operator acts.
    Error,
}

impl Notice {
    /// How loud to say it.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Joined { .. }
            | Self::Leaving(_)
            | Self::Left(_)
            | Self::Reaped(_)
            | Self::WaitingForNodes { .. }
            | Self::WaitingForProposal(_)
            | Self::WaitingForConsent { .. }
            | Self::Proposes(_) => Severity::Info,
            Self::Failed(_)
            | Self::SettingsDiffer { .. }
            | Self::SameName(..)
            | Self::TooManyMembers(_)
            | Self::Forgotten(_) => Severity::Warn,
            Self::Deadlock { .. } | Self::FormedApart(_) => Severity::Error,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { node, address } => write!(f, "{node} joined from {address}"),
            Self::Leaving(node) => write!(f, "{node} is leaving"),
            Self::Left(node) => write!(f, "{node} has left"),
            Self::Reaped(node) => write!(f, "{node} is forgotten: it is gone, and no voter"),
            Self::Failed(node) => write!(f, "{node} failed: nothing is heard of it any more"),
            Self::WaitingForNodes { expect, heard } => {
                let more = expect.saturating_sub(heard.len());
                write!(f, "waiting for {more} more of {expect} nodes (heard: {})", heard.join(", "))
            }
            Self::WaitingForProposal(node) => {
                write!(
                    f,
                    "waiting for {node} to propose the first configuration; does it hear as many nodes?"
                )
            }
            Self::WaitingForConsent { proposed, missing } => {
                write!(f, "waiting for the consent of {} to {proposed}", list(missing))
            }
            Self::Deadlock { consents, keep, reset } => write_deadlock(f, consents, keep, reset),
            Self::FormedApart(configurations) => write!(
                f,
                "two clusters of the same name were formed apart: {}; stop the nodes of all but one, remove their \
                 state directories and start them again",
                list(configurations)
            ),
            Self::Forgotten(configuration) => write!(
                f,
                "this node is a voter of {configuration}, but its state directory is empty: it does not vote before \
                 the other voters have counted it out; they do so by themselves when a majority of all voters is heard, \
                 and take it in again as a new one"
            ),
            Self::Proposes(configuration) => write!(f, "proposing {configuration} to the voters"),
            Self::SettingsDiffer { node, differences } => write_differences(f, node, differences),
            Self::SameName(a, b) => {
                write!(
                    f,
                    "nodes {} and {} are both named {}: the one that was started later ends; set node.name on one of them",
                    a.id, b.id, a.name
                )
            }
            Self::TooManyMembers(node) => {
                write!(
                    f,
                    "{node} is ignored: {MAX_MEMBERS} other nodes are alive, and no more can be members"
                )
            }
        }
    }
}

fn write_deadlock(
    f: &mut fmt::Formatter<'_>,
    consents: &[(Node, Configuration)],
    keep: &Configuration,
    reset: &[Node],
) -> fmt::Result {
    write!(f, "no first configuration can be formed:")?;
    for (node, configuration) in consents {
        write!(f, " {node} consented to {configuration},")?;
    }
    write!(
        f,
        " and a consent is for life; stop {0} (only), remove the state directory there and start again: {keep} will \
         then be formed",
        list(reset)
    )
}

fn write_differences(
    f: &mut fmt::Formatter<'_>,
    node: &Node,
    differences: &[(&'static str, String, String)],
) -> fmt::Result {
    write!(f, "{node} has other settings than this node:")?;
    for (i, (key, theirs, ours)) in differences.iter().enumerate() {
        write!(f, "{} {key} = {theirs} (here {ours})", if i == 0 { "" } else { "," })?;
    }
    write!(f, "; make them equal on all nodes")
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
