//! What a daemon tells about itself, as `status --json` shows it. Fields may be added, not renamed.
//!
//! How people see it is in [`render`], and live in [`view`].

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::XdpMode;

pub mod render;
pub mod view;

/// The state of a node, and what it knows of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// The node's number in ballots.
    pub id: u16,
    /// The interface it serves.
    pub iface: String,
    /// The daemon's version.
    pub version: String,
    /// How the XDP program is attached, `native` or `generic`; `off` without it, and so without a fence.
    pub xdp: XdpMode,
    /// The number of the configuration of voters; 0 before the first one is formed.
    pub epoch: u64,
    /// Whether messages are not authenticated.
    pub insecure: bool,
    /// The groups, in the order of the configuration.
    pub groups: Vec<GroupStatus>,
    /// All nodes, this one included.
    pub members: Vec<Member>,
    /// What the data plane has done since it was loaded.
    pub counters: Counters,
    /// Whether packets from a VIP that another node serves are kept from leaving.
    #[serde(default)]
    pub egress_fence: bool,
    /// Why XDP is not native; none where it is.
    #[serde(default)]
    pub xdp_reason: Option<String>,
    /// All interfaces that VIPs lie on, `iface` first.
    #[serde(default)]
    pub interfaces: Vec<InterfaceStatus>,
    /// How long a lease lasts, in milliseconds (cluster.lease); 0 if the daemon does not say.
    #[serde(default)]
    pub lease_ms: f64,
    /// Pair mode; none where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// Whether an operator wants this node to hold nothing.
    #[serde(default)]
    pub maintenance: bool,
    /// The health checks, in the order of the configuration.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// The ports that are teed, in the order of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tees: Vec<TeeStatus>,
}

/// A port whose datagrams the standby nodes get copies of. What it counts, it counts since the data plane was loaded or the port
/// was teed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeeStatus {
    /// The group's name.
    pub group: String,
    /// The port.
    pub port: u16,
    /// `udp`.
    pub protocol: String,
    /// Why nothing is copied or let in; none: it is.
    pub fault: Option<String>,
    /// The names of the nodes that this one sends copies to while it holds the group.
    pub standbys: Vec<String>,
    /// Copies that this node has sent.
    pub copied: u64,
    /// Copies that it could not send, since the way out was full.
    pub failed: u64,
    /// Copies that it has let in from holders.
    pub admitted: u64,
}

/// A health check of this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// What it looks at: `http`, `tcp`, `exec`, `process`, `interface` or `file`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The names of the groups that it concerns; none: all of them.
    pub groups: Vec<String>,
    /// What it adds to the priority, while it fails if that is negative, while it passes if it is positive; 0: it is fatal.
    pub weight: i16,
    /// Whether it passes.
    pub state: CheckState,
    /// The same, for those who count: also false while nothing is known.
    pub passing: bool,
    /// When that changed last, in the form that [`rfc3339_millis`] gives.
    pub since: String,
    /// How often it was run since the daemon started.
    pub runs: u64,
    /// How many of these runs have failed.
    pub failures: u64,
    /// How long the last run took, in milliseconds.
    pub took_ms: f64,
    /// Why the last run failed that did; none: none has.
    pub last_error: Option<String>,
}

/// Whether a check passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// Not known yet.
    Pending,
    /// It does.
    Passing,
    /// It does not.
    Failing,
}

/// Pair mode: a lone survivor of two voters may serve while the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The gateway's address.
    pub gateway: String,
    /// Whether this node's vote counts alone now, in any group.
    pub alone: bool,
    /// Whether the gateway answers; none while it is not asked, since the other node is heard.
    pub answers: Option<bool>,
    /// The name of the other voter.
    #[serde(default)]
    pub other: String,
}

/// An interface that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// How the XDP program is attached to it, `native` or `generic`.
    pub xdp: XdpMode,
    /// Whether it works.
    pub state: InterfaceState,
}

/// Whether an interface works; if one does not, the node cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceState {
    /// It does.
    Up,
    /// Nothing is on the other side of the cable.
    NoCarrier,
    /// Switched off by an operator.
    Down,
}

/// The state of one group on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group's name.
    pub name: String,
    /// This node's part.
    pub state: GroupState,
    /// The name of the node that holds the lease, if one is known to.
    pub holder: Option<String>,
    /// The ballot of that lease, as `round.node`.
    pub ballot: String,
    /// What remains of the lease in milliseconds, as far as this node knows; 0 without one.
    pub lease_remaining_ms: f64,
    /// The VIPs, as `address/length`.
    pub vips: Vec<String>,
    /// This node's priority for the group, as the others are told: with the weights of its checks, and 0 while it takes nothing.
    pub priority: u8,
    /// How often `state` has changed since the daemon started.
    pub transitions: u64,
    /// When it changed last, in the form that [`rfc3339_millis`] gives.
    pub since: String,
    /// How the nodes agree on who serves it; `lease` where nothing is said.
    #[serde(default, skip_serializing_if = "Protocol::is_lease")]
    pub protocol: Protocol,
    /// The number of its virtual router, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrid: Option<u8>,
    /// The active router of that, if another machine is heard to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrrp_master: Option<VrrpMaster>,
}

/// How nodes agree on who serves a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By a majority's lease.
    #[default]
    Lease,
    /// By VRRP: without a quorum.
    Vrrp,
}

impl Protocol {
    const fn is_lease(&self) -> bool {
        matches!(self, Self::Lease)
    }
}

/// The active router of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpMaster {
    /// Where its adverts come from.
    pub address: String,
    /// What they say.
    pub priority: u8,
}

/// A node's part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupState {
    /// Holds the lease, and serves the VIPs.
    Master,
    /// Another node may hold it; this one would follow.
    Backup,
    /// Asks for the lease.
    Candidate,
    /// Lost what it had promised, and waits until no promise can matter any more.
    Quarantine,
    /// Cannot serve.
    Fault,
    /// Told by an operator not to serve.
    Maintenance,
    /// Votes, but never holds.
    Witness,
}

/// A node as another one sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The node's name.
    pub name: String,
    /// Its number in ballots.
    pub id: u16,
    /// The address that it sends from; empty for a voter that has not been heard yet.
    pub address: String,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Whether the current configuration counts its vote.
    pub voter: bool,
    /// Its priority; 0 is a witness.
    pub priority: u8,
    /// The time since a message of it was accepted, in milliseconds: 0 for the node itself, none if there was
    /// none.
    pub last_heard_ms: Option<f64>,
    /// The version of its software; empty for a voter that has not been heard yet.
    #[serde(default)]
    pub version: String,
    /// The time that a question from this daemon to its daemon and the answer took when it was last its turn, in milliseconds:
    /// one member is asked each second.
    #[serde(default)]
    pub round_trip_ms: Option<f64>,
    /// What its operator has written on it (node.tags).
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Whether a node takes part in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    /// Heard of lately.
    Alive,
    /// On its way out, as an operator asked.
    Leaving,
    /// Silent for too long.
    Failed,
    /// Gone, as an operator asked.
    Left,
}

/// What the data plane has counted, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// ARP requests for a VIP that were answered.
    pub arp_replies: u64,
    /// Neighbour solicitations for a VIP that were answered.
    pub nd_replies: u64,
    /// Packets to a VIP that were let in.
    pub vip_passed: u64,
    /// Packets to a VIP that were dropped, since this node does not hold it.
    pub vip_fenced: u64,
    /// Packets to a VIP that were sent on to its holder.
    pub vip_forwarded: u64,
    /// Lease messages that were answered.
    pub lease_replies: u64,
    /// Lease messages that were not accepted, for whatever reason.
    pub rejected: u64,
    /// ARP and NDP packets by which a machine outside of the cluster claimed a VIP.
    #[serde(default)]
    pub conflicts: u64,
    /// VRRP adverts for this node's virtual routers that went up to the daemon.
    #[serde(default)]
    pub vrrp_adverts: u64,
    /// VRRP adverts for this node's virtual routers that were not as they must be, and were dropped.
    #[serde(default)]
    pub vrrp_invalid: u64,
}

/// A point in time in RFC 3339, in UTC to the millisecond: `2026-01-01T00:00:00.000Z`. A time before 1970 is
/// 1970.
#[must_use]
pub fn rfc3339_millis(at: SystemTime) -> String {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>). Its year starts in March, so a leap day ends
/// one.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the documentation, in one line: what programs rely on.
    const EXAMPLE: &str = r#"{"node":"lb1","id":1,"iface":"eth0","version":"0.1.0","xdp":"native","epoch":1,"insecure":false,"groups":[{"name":"web","state":"master","holder":"lb1","ballot":"7.1","lease_remaining_ms":43.2,"vips":["10.77.0.100/24"],"priority":120,"transitions":3,"since":"2026-01-01T00:00:00.000Z"}],"members":[{"name":"lb2","id":2,"address":"10.77.0.2","status":"alive","voter":true,"priority":100,"last_heard_ms":3.1}],"counters":{"arp_replies":0,"nd_replies":0,"vip_passed":0,"vip_fenced":0,"vip_forwarded":0,"lease_replies":0,"rejected":0}}"#;

    #[test]
    fn the_documented_example_is_read_and_written_back_byte_for_byte_with_what_was_added_behind() {
        let status: Status = serde_json::from_str(EXAMPLE).unwrap();
        let (before, after) = EXAMPLE.strip_suffix("}}").unwrap().split_once("3.1}").unwrap();
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            format!(
                "{before}3.1,\"version\":\"\",\"round_trip_ms\":null,\"tags\":{{}}}}{after},\"conflicts\":0,\"vrrp_adverts\":0,\"vrrp_invalid\":0}},\"egress_fence\":false,\"xdp_reason\":null,\"interfaces\":[],\"lease_ms\":0.0,\"maintenance\":false,\"checks\":[]}}"
            )
        );
    }

    #[test]
    fn states_have_the_documented_names() {
        use GroupState::{Backup, Candidate, Fault, Maintenance, Master, Quarantine, Witness};
        let states = [Master, Backup, Candidate, Quarantine, Fault, Maintenance, Witness];
        assert_eq!(
            serde_json::to_string(&states).unwrap(),
            r#"["master","backup","candidate","quarantine","fault","maintenance","witness"]"#
        );
        use MemberStatus::{Alive, Failed, Leaving, Left};
        assert_eq!(
            serde_json::to_string(&[Alive, Leaving, Failed, Left]).unwrap(),
            r#"["alive","leaving","failed","left"]"#
        );
        use InterfaceState::{Down, NoCarrier, Up};
        assert_eq!(serde_json::to_string(&[Up, NoCarrier, Down]).unwrap(), r#"["up","no-carrier","down"]"#);
    }

    #[test]
    fn a_time_is_written_in_rfc_3339_with_milliseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
        assert_eq!(rfc3339_millis(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), cases[0].1);
    }
}
