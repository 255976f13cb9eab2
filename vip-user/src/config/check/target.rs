//! Where a service is reached: a host and a port.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::Field;
use crate::exit::Failure;

/// The longest name of a host, in bytes (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, which is looked up for every run, or an address.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Target {
    /// A host without brackets, and a port.
    ///
    /// # Errors
    /// Says what is wrong with the host.
    pub(super) fn new(host: &str, port: u16) -> Result<Self, String> {
        let is_name = |host: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (1..=MAX_HOST).contains(&host.len()) && host.chars().all(allowed)
        };
        if port == 0 {
            return Err("0 is no port".to_owned());
        }
        if host.parse::<IpAddr>().is_err() && !is_name(host) {
            return Err(format!("{host:?} is neither an IP address nor the name of a host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    pub(super) fn read(field: &Field<'_>) -> Result<Self, Failure> {
        let example = "write a host and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"";
        let text = field.string()?.ok_or_else(|| field.refuse(format!("missing; {example}")))?;
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            // Without brackets, the last colon of an IPv6 address would pass for the one before the port.
            let host = match bare {
                Some(bare) => Some(bare).filter(|bare| bare.parse::<Ipv6Addr>().is_ok()),
                None => Some(host).filter(|host| !host.contains(':')),
            };
            Some((host?, port.parse().ok()?))
        });
        let (host, port) =
            parsed.ok_or_else(|| field.refuse(format!("{text:?} is no address; {example}")))?;
        Self::new(host, port).map_err(|why| field.refuse(why))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
