//! The section `[cluster]`: what all nodes share, and have to agree on.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use super::{
    Group, document::Section, format_duration, keys::KeyRing, name::check_name, transport::Transport,
};
use crate::exit::Failure;

pub(super) const KEYS: &[&str] = &[
    "name",
    "key_file",
    "insecure",
    "group_address",
    "peers",
    "join",
    "expect",
    "interval",
    "lease",
    "voter_after",
    "reap",
    "pair",
];

const DEFAULT_NAME: &str = "default";
const DEFAULT_KEY_FILE: &str = "/etc/vip-user/cluster.key";
const DEFAULT_EXPECT: u8 = 3;
const DEFAULT_INTERVAL: Duration = Duration::from_millis(10);
const DEFAULT_VOTER_AFTER: Duration = Duration::from_secs(5);
const DEFAULT_LEASE: Duration = Duration::from_millis(50);

/// A configuration has at most this many voters.
pub(super) const MAX_VOTERS: usize = 16;
const MIN_INTERVAL: Duration = Duration::from_millis(1);
const MAX_LEASE: Duration = Duration::from_secs(10);
/// A node that says nothing for a shorter time may only have been started anew.
const MIN_REAP: Duration = Duration::from_secs(10);
/// A lease has to outlive two lost renewals.
const MIN_INTERVALS_PER_LEASE: u32 = 3;

/// What all nodes share.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Separates the clusters on one segment. At most 32 bytes.
    pub name: String,
    /// How messages are authenticated.
    pub keys: Keys,
    /// How the nodes reach each other.
    pub transport: Transport,
    /// Members that a node asks where the others are, of the version of IP that the nodes talk; at most 16. This node's own
    /// address may be among them.
    pub join: Vec<IpAddr>,
    /// The number of voters of the first configuration, 1 to 16.
    pub expect: u8,
    /// The time between two renewals, at least 1 ms.
    pub interval: Duration,
    /// The length of a lease: at least three intervals, at most 10 s.
    pub lease: Duration,
    /// How long a node must have been heard without a gap before it becomes a voter.
    pub voter_after: Duration,
    /// How long a node must have been gone before it is no voter any more, and forgotten: at least 10 s. `None`: for ever.
    pub reap: Option<Duration>,
    /// The gateway whose answers let one of two voters count its vote alone; `None` = nobody ever does.
    pub pair: Option<Ipv4Addr>,
}

/// How messages are authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys {
    /// Each message carries a tag made with a shared key.
    Signed(KeyRing),
    /// Not at all: whoever reaches the segment can take the VIPs.
    Insecure,
}

impl Cluster {
    pub(super) fn read(section: &Section<'_>, groups: &[Group], join: &[IpAddr]) -> Result<Self, Failure> {
        let (interval, lease) = read_times(section)?;
        let transport = Transport::read(section)?;
        let pair = read_pair(section, groups)?;
        Ok(Self {
            name: read_name(section)?,
            join: transport.read_join(&section.field("join"), join)?,
            transport,
            expect: section.field("expect").integer(1..=MAX_VOTERS as u64)?.unwrap_or(DEFAULT_EXPECT),
            interval,
            lease,
            voter_after: section.field("voter_after").duration()?.unwrap_or(DEFAULT_VOTER_AFTER),
            reap: read_reap(section)?,
            pair,
            // Last, since it needs the file beside this one: a mistake in this one is told first.
            keys: read_keys(section)?,
        })
    }
}

fn read_name(section: &Section<'_>) -> Result<String, Failure> {
    let field = section.field("name");
    check_name(field.string()?.unwrap_or(DEFAULT_NAME)).map_err(|why| field.refuse(why))
}

fn read_pair(section: &Section<'_>, groups: &[Group]) -> Result<Option<Ipv4Addr>, Failure> {
    let field = section.field("pair");
    let Some(text) = field.string()? else { return Ok(None) };
    let gateway: Ipv4Addr = text.parse().map_err(|_| {
        field.refuse(format!("{text:?} is not an IPv4 address; set it to that of the segment's gateway"))
    })?;
    if !is_unicast(gateway) {
        return Err(field.refuse(format!("{gateway} is no single machine's address")));
    }
    let mut vips = groups.iter().flat_map(|group| &group.vips);
    if vips.any(|vip| vip.address == gateway) {
        return Err(field.refuse(format!(
            "{gateway} is a VIP, for which a node answers by itself; set it to the gateway's address"
        )));
    }
    Ok(Some(gateway))
}

/// Whether one machine on a segment can have this address.
fn is_unicast(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0.0.0.0/8 is "this network" (RFC 1122), 240.0.0.0/4 with the broadcast address is reserved (RFC 1112).
    (1..224).contains(&first) && !address.is_loopback()
}

fn read_keys(section: &Section<'_>) -> Result<Keys, Failure> {
    let (key_file, insecure) = (section.field("key_file"), section.field("insecure"));
    let path = key_file.string()?;
    if !insecure.boolean()?.unwrap_or(false) {
        let ring = KeyRing::load(Path::new(path.unwrap_or(DEFAULT_KEY_FILE)));
        return ring.map(Keys::Signed).map_err(|error| key_file.refuse(error));
    }
    match path {
        None => Ok(Keys::Insecure),
        Some(_) => Err(insecure.refuse("true contradicts cluster.key_file; remove one of the two")),
    }
}

fn read_reap(section: &Section<'_>) -> Result<Option<Duration>, Failure> {
    let field = section.field("reap");
    let reap = field.duration()?;
    match reap.filter(|reap| *reap < MIN_REAP) {
        None => Ok(reap),
        Some(reap) => Err(field.refuse(format!(
            "\"{}\" is less than {}: a machine that only starts anew would lose its vote",
            format_duration(reap),
            format_duration(MIN_REAP)
        ))),
    }
}

fn read_times(section: &Section<'_>) -> Result<(Duration, Duration), Failure> {
    let (interval_field, lease_field) = (section.field("interval"), section.field("lease"));
    let interval = interval_field.duration()?.unwrap_or(DEFAULT_INTERVAL);
    let lease = lease_field.duration()?.unwrap_or(DEFAULT_LEASE);
    if interval < MIN_INTERVAL {
        let (interval, least) = (format_duration(interval), format_duration(MIN_INTERVAL));
        return Err(
            interval_field.refuse(format!("\"{interval}\" is less than {least}, the shortest interval"))
        );
    }
    if lease > MAX_LEASE {
        let (lease, most) = (format_duration(lease), format_duration(MAX_LEASE));
        return Err(lease_field.refuse(format!("\"{lease}\" is more than {most}, the longest lease")));
    }
    let least = interval.saturating_mul(MIN_INTERVALS_PER_LEASE);
    if lease < least {
        let default = if lease_field.is_present() { "" } else { ", the default," };
        return Err(lease_field.refuse(format!(
            "\"{}\"{default} is less than three intervals of {}; set lease to at least {}",
            format_duration(lease),
            format_duration(interval),
            format_duration(least),
        )));
    }
    Ok((interval, lease))
}
