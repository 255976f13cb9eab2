//! How the nodes reach each other: `group_address`, `peers` and `join` of the section `[cluster]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    cluster::MAX_VOTERS,
    document::{Field, Place, Section},
    vip::{not_unicast, not_unicast6},
};
use crate::exit::Failure;

/// In the block for an organisation's own use (RFC 2365).
const DEFAULT_GROUP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 86, 80)), 5680);
/// Scopes of IPv6 multicast groups (RFC 7346, section 2): reserved, and of one interface alone.
const RESERVED_SCOPE: u16 = 0;
const INTERFACE_LOCAL_SCOPE: u16 = 1;
const LINK_LOCAL_SCOPE: u16 = 2;

/// How the nodes reach each other, by IPv4 or by IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By one multicast group; nodes find each other.
    Multicast(SocketAddr),
    /// By a list of addresses.
    Unicast {
        /// Nodes, all of one version of IP; at least one. The others are learnt from these. The list may have this node's
        /// own address, so that all nodes can have the same file.
        peers: Vec<IpAddr>,
        /// The UDP port, the same on all nodes.
        port: u16,
    },
}

impl Transport {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let field = section.field("group_address");
        let group_address = match field.string()? {
            None => DEFAULT_GROUP_ADDRESS,
            Some(text) => parse_group_address(text).map_err(|why| field.refuse(format!("{text:?} {why}")))?,
        };
        match read_peers(&section.field("peers"))? {
            None => Ok(Self::Multicast(group_address)),
            Some(peers) => Ok(Self::Unicast { peers, port: group_address.port() }),
        }
    }

    /// The UDP port of all nodes.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Multicast(group) => group.port(),
            Self::Unicast { port, .. } => *port,
        }
    }

    /// The nodes that are named, if they are to be reached by these addresses.
    pub fn peers(&self) -> &[IpAddr] {
        match self {
            Self::Multicast(_) => &[],
            Self::Unicast { peers, .. } => peers,
        }
    }

    /// Whether the nodes talk IPv6.
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Multicast(group) => group.is_ipv6(),
            Self::Unicast { peers, .. } => peers.iter().any(IpAddr::is_ipv6),
        }
    }

    /// The address, of those that a node has where the others are, that it sends from and is answered at: one that the
    /// others have in their lists, `join` among them; else the first one that reaches as far as messages have to go.
    pub fn own_address(
        &self,
        join: &[IpAddr],
        addresses: impl Iterator<Item = IpAddr> + Clone,
    ) -> Option<IpAddr> {
        let mut candidates = addresses.filter(|address| address.is_ipv6() == self.is_ipv6());
        let is_listed = |address: &IpAddr| self.peers().contains(address) || join.contains(address);
        let listed = candidates.clone().find(is_listed);
        let stays_on_link = self.stays_on_link(join);
        let far_enough = candidates.clone().find(|address| is_link_local(*address) == stays_on_link);
        listed.or(far_enough).or_else(|| candidates.next())
    }

    /// Whether IPv6 messages go to addresses that are good on the link alone.
    fn stays_on_link(&self, join: &[IpAddr]) -> bool {
        let group = match self {
            Self::Multicast(group) => scope(group.ip()) == Some(LINK_LOCAL_SCOPE),
            Self::Unicast { .. } => true,
        };
        group && self.peers().iter().chain(join).all(|address| is_link_local(*address))
    }

    /// Reads `join`: members that a node asks where the others are. The flag's come after the file's.
    pub(super) fn read_join(&self, field: &Field<'_>, flags: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
        let mut join: Vec<IpAddr> = Vec::new();
        let check = |place: &Place, join: &[IpAddr], address: IpAddr| {
            if address.is_ipv6() != self.is_ipv6() {
                let version = if self.is_ipv6() { 6 } else { 4 };
                return Err(place.refuse(format!("{address}: the nodes talk to each other by IPv{version}")));
            }
            if join.len() == MAX_VOTERS {
                return Err(place.refuse(format!("one address more than the {MAX_VOTERS} that are possible")));
            }
            Ok(())
        };
        for (place, text) in field.strings()?.unwrap_or_default() {
            let address = parse_peer(text).map_err(|why| place.refuse(format!("{text:?} {why}")))?;
            if join.contains(&address) {
                return Err(place.refuse(format!("{address} is there twice; remove one")));
            }
            check(&place, &join, address)?;
            join.push(address);
        }
        for address in flags {
            if !join.contains(address) {
                check(&Place::Flag("--join"), &join, *address)?;
                join.push(*address);
            }
        }
        Ok(join)
    }
}

/// Whether an address is of IPv6 and known on its segment alone; that kind of IPv4 is like any other one here.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// How far an IPv6 group reaches (RFC 4291, section 2.7).
fn scope(group: IpAddr) -> Option<u16> {
    match group {
        IpAddr::V4(_) => None,
        IpAddr::V6(group) => Some(group.segments()[0] & 0xf),
    }
}

fn parse_group_address(text: &str) -> Result<SocketAddr, &'static str> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err("is not ADDRESS:PORT, as in 239.255.86.80:5680 or [ff02::5680]:5680");
    };
    if !address.ip().is_multicast() {
        return Err(
            "is not a multicast address; use one of 239.255.0.0/16 or ff02::/16, or `peers` for unicast",
        );
    }
    if let SocketAddr::V6(address) = address
        && address.scope_id() != 0
    {
        return Err("names an interface after \"%\"; that is node.iface, so remove it here");
    }
    if matches!(scope(address.ip()), Some(RESERVED_SCOPE | INTERFACE_LOCAL_SCOPE)) {
        return Err("is a group that no packet leaves the machine for; use one of ff02::/16");
    }
    if address.port() == 0 {
        return Err("has port 0; use a port from 1 to 65535");
    }
    Ok(address)
}

fn read_peers(field: &Field<'_>) -> Result<Option<Vec<IpAddr>>, Failure> {
    let Some(entries) = field.strings()? else { return Ok(None) };
    if entries.is_empty() {
        return Err(field.refuse("the list is empty; name the other nodes, or remove it for multicast"));
    }
    if entries.len() > MAX_VOTERS {
        return Err(field.refuse(format!("{} peers; a cluster has at most {MAX_VOTERS}", entries.len())));
    }
    let mut peers: Vec<IpAddr> = Vec::with_capacity(entries.len());
    for (place, text) in entries {
        let peer = parse_peer(text).map_err(|why| place.refuse(format!("{text:?} {why}")))?;
        if peers.contains(&peer) {
            return Err(place.refuse(format!("{peer} is there twice; remove one")));
        }
        if peers.first().is_some_and(|first| first.is_ipv6() != peer.is_ipv6()) {
            return Err(place.refuse(format!("{peer} is of another version of IP than the peers before it")));
        }
        peers.push(peer);
    }
    Ok(Some(peers))
}

/// The address of a node, without a port.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_peer(text: &str) -> Result<IpAddr, String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err("is not an IP address without a port; the port is group_address' port".to_owned());
    };
    if address.to_canonical() != address {
        return Err(format!("is an IPv4 address; write {}", address.to_canonical()));
    }
    let kind = match address {
        IpAddr::V4(address) => not_unicast(address),
        IpAddr::V6(address) => not_unicast6(address),
    };
    match kind {
        Some(kind) => Err(format!("is {kind}; name a node's address")),
        None => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(transport: &Transport, addresses: &[&str]) -> Option<String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        transport.own_address(&[], addresses.into_iter()).map(|address| address.to_string())
    }

    fn multicast(group: &str) -> Transport {
        Transport::Multicast(group.parse().unwrap())
    }

    fn unicast(peers: &[&str]) -> Transport {
        Transport::Unicast { peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(), port: 5680 }
    }

    #[test]
    fn a_node_is_where_the_others_look_for_it() {
        let all = ["10.0.0.1", "10.0.0.2", "fd77::1", "fe80::1", "fd77::2"];
        let of = |transport: &Transport| own(transport, &all).unwrap();
        assert_eq!(of(&multicast("239.255.86.80:5680")), "10.0.0.1");
        assert_eq!(of(&multicast("[ff02::5680]:5680")), "fe80::1");
        assert_eq!(of(&multicast("[ff05::5680]:5680")), "fd77::1");
        assert_eq!(of(&unicast(&["10.0.0.9", "10.0.0.2"])), "10.0.0.2");
        assert_eq!(of(&unicast(&["10.0.0.9", "10.0.0.8"])), "10.0.0.1");
        assert_eq!(of(&unicast(&["fd77::2", "fd77::9"])), "fd77::2");
        assert_eq!(of(&unicast(&["fd77::8", "fd77::9"])), "fd77::1");
        assert_eq!(of(&unicast(&["fe80::8", "fe80::9"])), "fe80::1");
    }

    #[test]
    fn a_node_that_others_join_through_is_where_they_look_for_it() {
        let all = ["10.0.0.1", "10.0.0.2", "fe80::1", "fd77::1", "fd77::2"].map(|text| text.parse().unwrap());
        let own = |group: &str, join: &str| {
            multicast(group).own_address(&[join.parse().unwrap()], all.into_iter()).unwrap().to_string()
        };
        assert_eq!(own("239.255.86.80:5680", "10.0.0.2"), "10.0.0.2");
        assert_eq!(own("239.255.86.80:5680", "10.0.0.9"), "10.0.0.1");
        assert_eq!(own("[ff02::5680]:5680", "fd77::2"), "fd77::2");
        assert_eq!(own("[ff02::5680]:5680", "fd77::9"), "fd77::1");
        assert_eq!(own("[ff02::5680]:5680", "fe80::9"), "fe80::1");
    }

    #[test]
    fn a_node_without_an_address_of_that_version_has_none() {
        assert_eq!(own(&multicast("239.255.86.80:5680"), &["fd77::1", "fe80::1"]), None);
        assert_eq!(own(&multicast("[ff02::5680]:5680"), &["10.0.0.1"]), None);
        assert_eq!(own(&multicast("[ff05::5680]:5680"), &["fe80::1"]).unwrap(), "fe80::1");
    }
}
