//! What the kernel has to do for IPv6 VIPs beside carrying them: have IPv6 on the interfaces, and listen to the
//! groups that neighbours ask in.
//!
//! Files and sockets are those of the calling thread's network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

/// An address as one of IPv6: one of IPv4 is mapped (RFC 4291, section 2.5.5.2).
pub fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Switches IPv6 on for an interface, unless it is.
///
/// # Errors
/// The kernel has no IPv6, or the sysctl cannot be written.
pub fn enable(iface: &str) -> io::Result<()> {
    if is_disabled(iface)? {
        let path = sysctl(iface);
        fs::write(&path, "0")
            .map_err(|error| io::Error::new(error.kind(), format!("writing {path}: {error}")))?;
    }
    Ok(())
}

/// Whether IPv6 is switched off for an interface (`disable_ipv6` in Linux `Documentation/networking/ip-sysctl.rst`).
///
/// # Errors
/// The kernel has no IPv6, on that interface or at all.
pub fn is_disabled(iface: &str) -> io::Result<bool> {
    let path = sysctl(iface);
    let value = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let reason = "there is no IPv6 here: see `ipv6.disable` on the kernel's command line, and the interface's MTU";
            io::Error::new(error.kind(), format!("no {path}; {reason}"))
        }
        kind => io::Error::new(kind, format!("reading {path}: {error}")),
    })?;
    Ok(value.trim() != "0")
}

/// The file, since names with dots ("eth0.42") need no escaping there.
fn sysctl(iface: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{iface}/disable_ipv6")
}

/// Membership in the solicited-node groups of VIPs on an interface: its card takes in the solicitations that are sent
/// there, and switches that snoop on MLD (RFC 4541) forward them. The kernel is a member for addresses of that
/// interface alone, which the VIPs are not. Dropping it leaves the groups.
#[derive(Debug)]
pub struct SolicitedNodes {
    _sockets: Vec<Socket>,
}

impl SolicitedNodes {
    /// Joins the groups of these VIPs on the interface of that index, each once.
    ///
    /// # Errors
    /// The kernel's, with what was tried.
    pub fn join(index: u32, vips: impl IntoIterator<Item = Ipv6Addr>) -> io::Result<Self> {
        let groups: BTreeSet<Ipv6Addr> = vips.into_iter().map(solicited_node).collect();
        let mut sockets = Vec::new();
        for group in groups {
            let failed = |error: io::Error| io::Error::new(error.kind(), format!("joining {group}: {error}"));
            let joined = match sockets.last() {
                Some(socket) => join(socket, group, index),
                None => Err(io::ErrorKind::OutOfMemory.into()),
            };
            match joined {
                Ok(()) => {}
                // A socket has room for some hundred groups (`net.core.optmem_max`).
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), Some(Protocol::UDP));
                    let socket = socket.map_err(failed)?;
                    join(&socket, group, index).map_err(failed)?;
                    sockets.push(socket);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Self { _sockets: sockets })
    }
}

fn join(socket: &Socket, group: Ipv6Addr, index: u32) -> io::Result<()> {
    socket.join_multicast_v6(&group, index)
}

/// RFC 4291, section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(PREFIX | address.to_bits() & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input and expected: the example of RFC 4291, section 2.7.1.
    #[test]
    fn the_solicited_node_group_is_that_of_the_last_24_bits() {
        let address: Ipv6Addr = "4037::01:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }
}
