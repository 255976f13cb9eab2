//! What happens in a cluster and is worth a program of its own: nodes that come and go, groups that move, what users tell
//! and ask.
//!
//! Here: what an event is, and ([`Coalescer`]) how a burst of them becomes few. Without clock and process: who is told
//! is in `handlers`. Names, and what is coalesced, are those of Serf, whose handlers are to work unchanged.

mod coalesce;
mod filter;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub use coalesce::{Coalescer, MAX_PENDING_USER_EVENTS, MEMBER_WINDOW, USER_WINDOW, Window};
pub use filter::{Filter, KNOWN_FILTERS, UnknownFilter};
pub use text::Own;

/// The tag that says what a node is for.
pub const ROLE: &str = "role";

/// Something that handlers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nodes have come, gone or changed.
    Members(MemberEvent),
    /// A group has changed on this node.
    Group(GroupEvent),
    /// One of this node's checks says something else.
    Check(CheckEvent),
    /// A user tells all nodes something.
    User(UserEvent),
    /// A user asks.
    Query(Query),
}

impl Event {
    /// What `SERF_EVENT` is for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Members(event) => event.kind.as_str(),
            Self::Group(event) => event.kind.as_str(),
            Self::Check(event) => event.kind.as_str(),
            Self::User(_) => "user",
            Self::Query(_) => "query",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(MemberEvent { kind, nodes }) => match nodes.as_slice() {
                [node] => write!(f, "{} of {}", kind.as_str(), node.name),
                nodes => write!(f, "{} of {} nodes", kind.as_str(), nodes.len()),
            },
            Self::Group(event) => write!(f, "{} of group {}", event.kind.as_str(), event.group),
            Self::Check(event) => write!(f, "{} of {}", event.kind.as_str(), event.check),
            Self::User(event) => write!(f, "user:{:?}", event.name),
            Self::Query(query) => write!(f, "query:{:?}", query.name),
        }
    }
}

/// One thing that has happened to nodes. One event may tell it of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvent {
    /// What has happened.
    pub kind: MemberEventKind,
    /// To whom; at least one, by id.
    pub nodes: Vec<Node>,
}

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberEventKind {
    /// It is heard: for the first time, or again after it was gone. Also this node itself, at its start.
    Join,
    /// It said that it stops.
    Leave,
    /// It fell silent without a word.
    Failed,
    /// Its name, address or tags have changed.
    Update,
    /// It has been gone for long, and is forgotten.
    Reap,
}

impl MemberEventKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Join, Self::Leave, Self::Failed, Self::Update, Self::Reap];

    /// Serf's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Join => "member-join",
            Self::Leave => "member-leave",
            Self::Failed => "member-failed",
            Self::Update => "member-update",
            Self::Reap => "member-reap",
        }
    }
}

/// A node as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Never 0.
    pub id: u16,
    /// What people call it.
    pub name: String,
    /// Where it is heard from.
    pub address: IpAddr,
    /// What it says of itself beyond that; see [`ROLE`].
    pub tags: BTreeMap<String, String>,
}

/// Something that has happened to a group, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupEvent {
    /// What.
    pub kind: GroupEventKind,
    /// The name of the group.
    pub group: String,
    /// The VIPs that it is about, as the configuration has them.
    pub vips: Vec<String>,
    /// The name of the node that holds the group now, where known.
    pub node: Option<String>,
    /// The ballot of its lease, where known.
    pub ballot: Option<String>,
    /// Who claims the VIP in a conflict.
    pub mac: Option<String>,
}

/// What can happen to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupEventKind {
    /// This node holds it now.
    #[default]
    Promoted,
    /// This node holds it no longer.
    Demoted,
    /// A machine outside of the cluster claims one of its VIPs.
    Conflict,
    /// Nobody holds it, and this node reaches no majority of the voters. Once, until somebody holds it.
    NoQuorum,
}

impl GroupEventKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Promoted, Self::Demoted, Self::Conflict, Self::NoQuorum];

    /// What it is called in the configuration and for handlers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Demoted => "demoted",
            Self::Conflict => "conflict",
            Self::NoQuorum => "no-quorum",
        }
    }
}

/// What has become of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckEvent {
    /// What.
    pub kind: CheckEventKind,
    /// The name of the check.
    pub check: String,
    /// What is wrong, or, of one that passes, was wrong last; may be empty.
    pub reason: String,
}

/// What can become of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckEventKind {
    /// So many runs in a row have failed that it fails.
    Failed,
    /// It passes: for the first time since the start, or again.
    Passed,
}

impl CheckEventKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Failed, Self::Passed];

    /// What it is called in the configuration and for handlers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "check-failed",
            Self::Passed => "check-passed",
        }
    }
}

/// What a user tells all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// What kind of event it is, to users.
    pub name: String,
    /// Anything.
    pub payload: Vec<u8>,
    /// Its Lamport time.
    pub ltime: u64,
    /// Whether the newest one of a name stands for those shortly before it.
    pub coalesce: bool,
}

/// What a user asks. What a handler writes to its standard output is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// By which the answer finds its way back.
    pub id: u64,
    /// What kind of query it is, to users.
    pub name: String,
    /// Anything.
    pub payload: Vec<u8>,
    /// Its Lamport time.
    pub ltime: u64,
}
