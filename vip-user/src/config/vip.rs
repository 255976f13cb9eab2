//! One virtual IP: an address that may be shared, the length of its prefix, and where it lies.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::node::{InterfaceNameError, parse_interface_name};

/// A virtual IP. Parse one from text ("10.77.0.100/24", "2001:db8::100/64 dev eth1") to have it checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip {
    /// The address that clients use: unicast, and not of this machine alone.
    pub address: IpAddr,
    /// The length of its network's prefix: 1 to 32, of IPv6 1 to 128.
    pub prefix_len: u8,
    /// The interface that it lies on; `None`: the node's.
    pub dev: Option<String>,
}

/// Why a text is no VIP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VipError {
    /// Not an address with a prefix length.
    #[error("is not an address with a prefix length, as in 10.77.0.100/24 or 2001:db8::100/64")]
    Syntax,
    /// An address alone.
    #[error("has no prefix length; write it as in 10.77.0.100/24 or 2001:db8::100/64")]
    NoPrefix,
    /// A prefix length out of range; says what the longest is.
    #[error("has a prefix length that is not from 1 to {0}")]
    PrefixLen(u8),
    /// An IPv6 address that is another one's name.
    #[error("is an IPv4 address in IPv6 form; write it as an IPv4 address")]
    Mapped,
    /// More than an address and its interface.
    #[error("is more than a VIP; its interface is written as in \"10.77.0.100/24 dev eth1\"")]
    Words,
    /// No interface that VIPs can lie on.
    #[error("is on {0:?}, which {1}")]
    Device(String, InterfaceNameError),
    /// An address that cannot be shared; says of which kind.
    #[error("is {0}, which no machine can hold; use a unicast address")]
    NotUnicast(&'static str),
}

impl FromStr for Vip {
    type Err = VipError;

    fn from_str(text: &str) -> Result<Self, VipError> {
        let vip = Self::parse(text)?;
        match vip.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Err(VipError::NotUnicast(
                "a link-local address, which the kernel takes no packets for on another interface",
            )),
            _ => Ok(vip),
        }
    }
}

impl Vip {
    /// As `parse` of the standard library, and link-local addresses, too, which virtual routers have.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Self, VipError> {
        let (text, dev) = match *text.split(' ').collect::<Vec<_>>() {
            [text] => (text, None),
            [text, "dev", dev] => (text, Some(dev)),
            _ => return Err(VipError::Words),
        };
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, prefix_len)) => (address, Some(prefix_len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| VipError::Syntax)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let out_of_range = VipError::PrefixLen(longest);
        let prefix_len = prefix_len.ok_or(VipError::NoPrefix)?.parse::<u8>();
        let prefix_len =
            prefix_len.ok().filter(|length| (1..=longest).contains(length)).ok_or(out_of_range)?;
        if address.to_canonical() != address {
            return Err(VipError::Mapped);
        }
        if let Some(kind) = not_shareable(address).or_else(|| of_whole_network(address, prefix_len)) {
            return Err(VipError::NotUnicast(kind));
        }
        let checked =
            |dev: &str| parse_interface_name(dev).map_err(|why| VipError::Device(dev.to_owned(), why));
        Ok(Self { address, prefix_len, dev: dev.map(checked).transpose()? })
    }
}

/// The kind of an address that does not stand for one host of its network. Networks of one or two addresses have no
/// such (RFC 3021, RFC 6164).
fn of_whole_network(address: IpAddr, prefix_len: u8) -> Option<&'static str> {
    let prefix_len = u32::from(prefix_len);
    match address {
        IpAddr::V4(address) if prefix_len < 31 => {
            let host_bits = u32::MAX >> prefix_len;
            let is_broadcast = address.to_bits() & host_bits == host_bits;
            is_broadcast.then_some("the broadcast address of its network")
        }
        IpAddr::V6(address) if prefix_len < 127 => {
            let is_anycast = address.to_bits() & (u128::MAX >> prefix_len) == 0;
            is_anycast.then_some("the address of all routers of its network (RFC 4291, section 2.6.1)")
        }
        _ => None,
    }
}

/// The kind of an address that no single machine on the network can have for others to reach it there.
fn not_shareable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_unicast(address),
        IpAddr::V6(address) => not_unicast6(address),
    }
}

/// As [`not_unicast`].
pub(super) fn not_unicast6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("the loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)?;
        match &self.dev {
            Some(dev) => write!(f, " dev {dev}"),
            None => Ok(()),
        }
    }
}

/// The kind of an address that no single machine on the network can have.
pub(super) fn not_unicast(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_broadcast() {
        Some("the broadcast address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_written_as_it_is_read() {
        for text in ["10.77.0.100/24", "192.0.2.1/32", "192.0.2.255/32", "192.0.2.1/31", "10.0.0.1/1"] {
            assert_eq!(text.parse::<Vip>().unwrap().to_string(), text);
        }
        for text in ["10.77.0.100/24 dev eth1", "2001:db8::100/64 dev bond0.20"] {
            assert_eq!(text.parse::<Vip>().unwrap().to_string(), text);
        }
        for text in ["2001:db8::100/64", "fd77::/128", "fd77::/127", "fd77:0:0:1::ffff/96", "::2/1"] {
            assert_eq!(text.parse::<Vip>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_fault_of_a_vip_is_told_apart() {
        let cases = [
            ("", VipError::Syntax),
            ("web/24", VipError::Syntax),
            ("10.77.0/24", VipError::Syntax),
            ("10.77.0.100", VipError::NoPrefix),
            ("10.77.0.100/", VipError::PrefixLen(32)),
            ("10.77.0.100/0", VipError::PrefixLen(32)),
            ("10.77.0.100/33", VipError::PrefixLen(32)),
            ("10.77.0.100/24/24", VipError::PrefixLen(32)),
            ("2001:db8::100/129", VipError::PrefixLen(128)),
            ("2001:db8::100", VipError::NoPrefix),
            ("2001:db8::g/64", VipError::Syntax),
            ("fd77::1%eth0/64", VipError::Syntax),
            ("::ffff:10.77.0.100/120", VipError::Mapped),
            ("::/64", VipError::NotUnicast("the unspecified address")),
            ("::1/128", VipError::NotUnicast("the loopback address")),
            ("ff02::1/128", VipError::NotUnicast("a multicast address")),
            (
                "2001:db8::/64",
                VipError::NotUnicast("the address of all routers of its network (RFC 4291, section 2.6.1)"),
            ),
            (
                "fe80::1/64",
                VipError::NotUnicast(
                    "a link-local address, which the kernel takes no packets for on another interface",
                ),
            ),
            ("10.77.0.100/24 ", VipError::Words),
            ("10.77.0.100/24  dev eth1", VipError::Words),
            ("10.77.0.100/24 eth1", VipError::Words),
            ("10.77.0.100/24 dev", VipError::Words),
            ("10.77.0.100/24 dev eth1 label eth1:0", VipError::Words),
            ("10.77.0.100/24 dev ", VipError::Device(String::new(), InterfaceNameError::Length)),
            ("10.77.0.100/24 dev lo", VipError::Device("lo".to_owned(), InterfaceNameError::Loopback)),
            (
                "10.77.0.100/24 dev eth1:0",
                VipError::Device("eth1:0".to_owned(), InterfaceNameError::Characters),
            ),
            ("10.77.0.100 dev eth1", VipError::NoPrefix),
            ("0.0.0.0/8", VipError::NotUnicast("the unspecified address")),
            ("127.0.0.2/8", VipError::NotUnicast("a loopback address")),
            ("224.0.0.18/32", VipError::NotUnicast("a multicast address")),
            ("255.255.255.255/32", VipError::NotUnicast("the broadcast address")),
            ("10.77.0.255/24", VipError::NotUnicast("the broadcast address of its network")),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Vip>(), Err(error), "{text}");
        }
    }
}
