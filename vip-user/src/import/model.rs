//! What is to be written: our configuration, as far as keepalived's says it.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Vip;

/// A configuration for one machine.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// `router_id`, where it can be a node's name.
    pub(super) name: Option<String>,
    /// Where the nodes talk to each other.
    pub(super) iface: Option<String>,
    /// Of the instances, in their order.
    pub(super) vrids: Vec<u8>,
    /// The other machines and this one, if they do not use multicast.
    pub(super) peers: Vec<IpAddr>,
    /// How many machines there are, where that is known.
    pub(super) nodes: Option<usize>,
    pub(super) groups: Vec<Group>,
    pub(super) checks: Vec<Check>,
}

/// A `[[group]]`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// What it was made of, for a comment.
    pub(super) origin: String,
    pub(super) vips: Vec<Vip>,
    pub(super) priority: u8,
    pub(super) preempt: bool,
    pub(super) preempt_delay: Option<Duration>,
    pub(super) virtual_mac: bool,
    /// What it is in VRRP, if it is to be spoken.
    pub(super) router: Option<Router>,
    pub(super) scripts: Vec<(&'static str, String)>,
    /// Whether `notify` is told of a sync group.
    pub(super) is_told_as_sync: bool,
}

/// A virtual router of VRRP, with the VIPs of its group.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) vrid: u8,
    /// 2 or 3.
    pub(super) version: u8,
    pub(super) interval: Duration,
    /// The other routers, if adverts go to each of them; none: multicast.
    pub(super) peers: Vec<IpAddr>,
    /// Where the password has to be put, if there is one.
    pub(super) password_file: Option<String>,
}

/// A `[[check]]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) name: String,
    /// The names of the groups that it is for.
    pub(super) groups: Vec<String>,
    pub(super) probe: Probe,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
    /// 0: fatal.
    pub(super) weight: i32,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Probe {
    /// A line for a shell.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
    /// Whether somebody accepts connections at HOST:PORT.
    Tcp(String),
    /// A process by its name.
    Process(String),
    /// An interface.
    Interface(String),
}
