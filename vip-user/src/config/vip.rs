//! One virtual IP: an address that may be shared, and the length of its prefix.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A virtual IP. Parse one from text ("10.77.0.100/24") to have it checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip {
    /// The address that clients use: unicast, and not of this machine alone.
    pub address: Ipv4Addr,
    /// The length of its network's prefix, 1 to 32.
    pub prefix_len: u8,
}

/// Why a text is no VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VipError {
    /// Not an address with a prefix length.
    #[error("is not an address with a prefix length, as in 10.77.0.100/24")]
    Syntax,
    /// An address alone.
    #[error("has no prefix length; write it as in 10.77.0.100/24")]
    NoPrefix,
    /// A prefix length out of range.
    #[error("has a prefix length that is not from 1 to 32")]
    PrefixLen,
    /// An IPv6 address.
    #[error("is an IPv6 address; IPv6 is not supported yet, use an IPv4 address")]
    Ipv6,
    /// An address that cannot be shared; says of which kind.
    #[error("is {0}, which no machine can hold; use a unicast address")]
    NotUnicast(&'static str),
}

impl FromStr for Vip {
    type Err = VipError;

    fn from_str(text: &str) -> Result<Self, VipError> {
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, prefix_len)) => (address, Some(prefix_len)),
            None => (text, None),
        };
        if address.parse::<Ipv6Addr>().is_ok() {
            return Err(VipError::Ipv6);
        }
        let address: Ipv4Addr = address.parse().map_err(|_| VipError::Syntax)?;
        let prefix_len =
            prefix_len.ok_or(VipError::NoPrefix)?.parse::<u8>().map_err(|_| VipError::PrefixLen)?;
        if !(1..=32).contains(&prefix_len) {
            return Err(VipError::PrefixLen);
        }
        let vip = Self { address, prefix_len };
        not_unicast(address)
            .or_else(|| vip.is_network_broadcast().then_some("the broadcast address of its network"))
            .map_or(Ok(vip), |kind| Err(VipError::NotUnicast(kind)))
    }
}

impl Vip {
    /// Networks of one or two addresses have no broadcast address (RFC 3021).
    fn is_network_broadcast(self) -> bool {
        let host_bits = u32::MAX.checked_shr(u32::from(self.prefix_len)).unwrap_or(0);
        self.prefix_len < 31 && self.address.to_bits() & host_bits == host_bits
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
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
    }

    #[test]
    fn each_fault_of_a_vip_is_told_apart() {
        let cases = [
            ("", VipError::Syntax),
            ("web/24", VipError::Syntax),
            ("10.77.0/24", VipError::Syntax),
            ("10.77.0.100", VipError::NoPrefix),
            ("10.77.0.100/", VipError::PrefixLen),
            ("10.77.0.100/0", VipError::PrefixLen),
            ("10.77.0.100/33", VipError::PrefixLen),
            ("10.77.0.100/24/24", VipError::PrefixLen),
            ("2001:db8::100/64", VipError::Ipv6),
            ("2001:db8::100", VipError::Ipv6),
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
