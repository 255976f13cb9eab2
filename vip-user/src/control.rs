//! The control socket: one request line, one reply line, both JSON; then the connection is closed.
//!
//! What a reply contains is not known here: a handler gives it.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::exit::{Exit, Failure};

mod access;
mod client;
mod server;

pub use self::{access::Access, client::request, server::Server};

/// What a client asks for, as in `{"command":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// The whole state: [`Status`](crate::status::Status).
    Status,
    /// The nodes alone: a list of [`Member`](crate::status::Member).
    Members,
    /// What has changed lately: a list of [`Entry`](crate::journal::Entry), oldest first.
    History {
        /// Only those with numbers above this one; all if no number of the daemon's journal is as great.
        #[serde(default)]
        after: Option<u64>,
    },
    /// Hand groups over: a list of [`Handover`].
    Handover {
        /// Which one; none: all that the node holds.
        group: Option<String>,
        /// To which node, by name or id; none: to the fittest other one.
        to: Option<String>,
    },
    /// The configuration is to be read anew, and followed: [`Reloaded`].
    Reload,
    /// The program file that is on the disk now is to take over: [`Upgraded`].
    Upgrade,
    /// This node is to hold nothing from now on, or no more so: [`Maintenance`].
    Maintenance {
        /// Which of the two.
        on: bool,
    },
    /// This node is to vote no more, and its daemon to end: [`Departure`](crate::departure::Departure).
    Leave,
    /// A failed node is to vote no more: the same.
    Forget {
        /// Its name or id.
        node: String,
    },
    /// Tell all members something: [`Made`].
    Event {
        /// What it is called.
        name: String,
        /// What goes with it.
        payload: String,
        /// Of several of this name shortly after each other, the last one will do.
        coalesce: bool,
    },
    /// Ask members something, and wait for the answers: [`Asked`].
    Query {
        /// What it is called.
        name: String,
        /// What goes with it.
        payload: String,
        /// Names or ids of the nodes to ask; none: all that are alive.
        nodes: Vec<String>,
        /// How long to wait.
        timeout_ms: u64,
    },
    /// Find the cluster through this member: [`Joined`].
    Join {
        /// Where it is.
        address: IpAddr,
    },
}

impl Request {
    /// Whether it does something, here or on other nodes, and does not only look. What may be asked by whom is decided by this
    /// alone, see [`Access`].
    #[must_use]
    pub const fn changes(&self) -> bool {
        match self {
            Self::Status | Self::Members | Self::History { .. } => false,
            Self::Handover { .. }
            | Self::Maintenance { .. }
            | Self::Reload
            | Self::Upgrade
            | Self::Leave
            | Self::Forget { .. }
            | Self::Event { .. }
            | Self::Query { .. }
            | Self::Join { .. } => true,
        }
    }
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is different now, in words for people, a line each; or why nothing is.
    pub result: Result<Vec<String>, NotDone>,
}

/// What came of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// What takes over; or why the daemon goes on.
    pub result: Result<Upgrading, NotDone>,
}

/// A program that takes over from this daemon, which ends when it has said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrading {
    /// Its version.
    pub version: String,
    /// It has the same XDP program, and goes on with what is in its maps.
    pub in_place: bool,
    /// The process that ends.
    pub process: u32,
}

/// Why the daemon goes on as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotDone {
    /// In words for people.
    pub reason: String,
    /// The configuration is wrong; else what it asks for cannot be done, or not now.
    pub bad_configuration: bool,
}

impl From<NotDone> for Failure {
    fn from(NotDone { reason, bad_configuration }: NotDone) -> Self {
        let exit = if bad_configuration { Exit::BadConfiguration } else { Exit::Refused };
        Self::new(exit, reason)
    }
}

/// The cluster was found through a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// How many nodes are alive, as far as this one knows by now; it is one of them.
    pub members: usize,
}

/// A user event was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its Lamport time.
    pub ltime: u64,
}

/// What came of a query; the nodes by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who has got it.
    pub acks: Vec<String>,
    /// What was answered, in the order in which it came.
    pub answers: Vec<NodeAnswer>,
    /// Who was asked and has not got it.
    pub silent: Vec<String>,
    /// Whose handler had not answered in time.
    pub late: Vec<String>,
}

/// One node's answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// What its handler has written. Bytes that are no UTF-8 are replaced.
    pub payload: String,
}

/// How the handover of one group went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The group's name.
    pub group: String,
    /// The name of the node that holds it now; or why it was not handed over, and what to do.
    pub result: Result<String, String>,
}

/// A node is in maintenance, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The node's name.
    pub node: String,
    /// Whether it is.
    pub on: bool,
    /// What has become of the groups that it held. One that was not handed over goes on being served here until another node can
    /// take it.
    pub groups: Vec<Handover>,
    /// Why a daemon that is started again would not know of it; none: it would.
    pub forgotten: Option<String>,
}

/// What a daemon answers: `{"ok":…}`, `{"error":"…"}` or `{"denied":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// What was asked for.
    Ok(serde_json::Value),
    /// Why not, in words for people.
    Error(String),
    /// The client may not ask for that: who may, in words for people.
    Denied(String),
}

impl Reply {
    /// A reply with `answer` in it.
    pub fn ok(answer: &impl Serialize) -> Self {
        match serde_json::to_value(answer) {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Error(format!("the answer cannot be written as JSON: {error}")),
        }
    }
}

/// The control sockets in the folder `runtime`, whether a daemon answers on them or not, sorted. A folder
/// that does not exist has none.
///
/// # Errors
/// The system's, if the folder cannot be read.
pub fn sockets(runtime: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match runtime.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sock");
    let mut sockets: Vec<_> = paths.into_iter().filter(is_socket).collect();
    sockets.sort();
    Ok(sockets)
}

/// Connects to the socket at `path`. A daemon that hangs accepts nobody: after `patience`, that is an error
/// of the kind `WouldBlock`.
fn connect(path: &Path, patience: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux, the write timeout of a Unix socket bounds its connect as well.
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
