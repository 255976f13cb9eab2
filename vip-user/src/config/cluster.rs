//! The section `[cluster]`: what all nodes share, and have to agree on.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
    path::Path,
    time::Duration,
};

use super::{
    document::{Field, Section},
    format_duration,
    keys::KeyRing,
    name::check_name,
    vip::not_unicast,
};
use crate::exit::Failure;

pub(super) const KEYS: &[&str] =
    &["name", "key_file", "insecure", "group_address", "peers", "expect", "interval", "lease"];

const DEFAULT_NAME: &str = "default";
const DEFAULT_KEY_FILE: &str = "/etc/vip-user/cluster.key";
/// In the block for an organisation's own use (RFC 2365).
const DEFAULT_GROUP_ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 86, 80), 5680);
const DEFAULT_EXPECT: u8 = 3;
const DEFAULT_INTERVAL: Duration = Duration::from_millis(10);
const DEFAULT_LEASE: Duration = Duration::from_millis(50);

/// A configuration has at most this many voters.
const MAX_VOTERS: usize = 16;
const MIN_INTERVAL: Duration = Duration::from_millis(1);
const MAX_LEASE: Duration = Duration::from_secs(10);
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
    /// The number of voters of the first configuration, 1 to 16.
    pub expect: u8,
    /// The time between two renewals, at least 1 ms.
    pub interval: Duration,
    /// The length of a lease: at least three intervals, at most 10 s.
    pub lease: Duration,
}

/// How messages are authenticated.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Each message carries a tag made with a shared key.
    Signed(KeyRing),
    /// Not at all: whoever reaches the segment can take the VIPs.
    Insecure,
}

/// How the nodes reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By one multicast group; nodes find each other.
    Multicast(SocketAddrV4),
    /// By a list of addresses.
    Unicast {
        /// The nodes. The list may have this node's own address, so that all nodes can have the same file.
        peers: Vec<Ipv4Addr>,
        /// The UDP port, the same on all nodes.
        port: u16,
    },
}

impl Cluster {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let (interval, lease) = read_times(section)?;
        Ok(Self {
            name: read_name(section)?,
            transport: read_transport(section)?,
            expect: section.field("expect").integer(1..=MAX_VOTERS as u64)?.unwrap_or(DEFAULT_EXPECT),
            interval,
            lease,
            // Last, since it needs the file beside this one: a mistake in this one is told first.
            keys: read_keys(section)?,
        })
    }
}

fn read_name(section: &Section<'_>) -> Result<String, Failure> {
    let field = section.field("name");
    check_name(field.string()?.unwrap_or(DEFAULT_NAME)).map_err(|why| field.refuse(why))
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

fn read_transport(section: &Section<'_>) -> Result<Transport, Failure> {
    let field = section.field("group_address");
    let group_address = match field.string()? {
        None => DEFAULT_GROUP_ADDRESS,
        Some(text) => parse_group_address(text).map_err(|why| field.refuse(format!("{text:?} {why}")))?,
    };
    match read_peers(&section.field("peers"))? {
        None => Ok(Transport::Multicast(group_address)),
        Some(peers) => Ok(Transport::Unicast { peers, port: group_address.port() }),
    }
}

fn parse_group_address(text: &str) -> Result<SocketAddrV4, &'static str> {
    if text.parse::<SocketAddrV6>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return Err("is an IPv6 address; IPv6 is not supported yet, use an IPv4 multicast address");
    }
    let Ok(address) = text.parse::<SocketAddrV4>() else {
        return Err("is not ADDRESS:PORT, as in 239.255.86.80:5680");
    };
    if !address.ip().is_multicast() {
        return Err("is not a multicast address; use one of 239.255.0.0/16, or `peers` for unicast");
    }
    if address.port() == 0 {
        return Err("has port 0; use a port from 1 to 65535");
    }
    Ok(address)
}

fn read_peers(field: &Field<'_>) -> Result<Option<Vec<Ipv4Addr>>, Failure> {
    let Some(entries) = field.strings()? else { return Ok(None) };
    if entries.is_empty() {
        return Err(field.refuse("the list is empty; name the other nodes, or remove it for multicast"));
    }
    if entries.len() > MAX_VOTERS {
        return Err(field.refuse(format!("{} peers; a cluster has at most {MAX_VOTERS}", entries.len())));
    }
    let mut peers = Vec::with_capacity(entries.len());
    for (place, text) in entries {
        let peer = parse_peer(text).map_err(|why| place.refuse(format!("{text:?} {why}")))?;
        if peers.contains(&peer) {
            return Err(place.refuse(format!("{peer} is there twice; remove one")));
        }
        peers.push(peer);
    }
    Ok(Some(peers))
}

fn parse_peer(text: &str) -> Result<Ipv4Addr, String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("is an IPv6 address; IPv6 is not supported yet, use an IPv4 address".to_owned());
    }
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        return Err("is not an IPv4 address without a port; the port is group_address' port".to_owned());
    };
    match not_unicast(address) {
        Some(kind) => Err(format!("is {kind}; name a node's address")),
        None => Ok(address),
    }
}
