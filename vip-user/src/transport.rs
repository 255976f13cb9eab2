//! The datagrams between the nodes: one UDP socket, to a multicast group or to a list of addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::config;

/// Longest datagram that is read; longer ones are not of this protocol.
pub const MAX_DATAGRAM: usize = 1500;
/// Multicast messages stay on the segment, as the leases do.
const MULTICAST_TTL: u32 = 1;
/// RFC 2474: class selector 6, as routing protocols use it, so that switches with queues send leases first.
const CLASS_SELECTOR_6: u32 = 0xc0;

/// The node's socket on one interface. Sends and receives never block.
#[derive(Debug)]
pub struct Transport {
    socket: UdpSocket,
    destinations: Vec<SocketAddrV4>,
    port: u16,
}

impl Transport {
    /// Opens the socket on an interface, of which `own` is an address; the list of peers may have that as well.
    ///
    /// # Errors
    /// `AddrInUse` when another program has the port, `PermissionDenied` without CAP_NET_RAW, and the kernel's
    /// others, with the step that failed.
    pub fn open(iface: &str, index: u32, own: Ipv4Addr, transport: &config::Transport) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let port = match transport {
            config::Transport::Multicast(group) => group.port(),
            config::Transport::Unicast { port, .. } => *port,
        };
        let step = |name: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"))
        };
        // Daemons on other interfaces of this machine share the port; the device keeps them apart.
        socket.set_reuse_address(true).map_err(step("SO_REUSEADDR"))?;
        socket.bind_device(Some(iface.as_bytes())).map_err(step("SO_BINDTODEVICE"))?;
        socket.set_tos_v4(CLASS_SELECTOR_6).map_err(step("IP_TOS"))?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        socket
            .bind(&any.into())
            .map_err(|error| io::Error::new(error.kind(), format!("UDP port {port}: {error}")))?;
        let destinations = match transport {
            config::Transport::Multicast(group) => {
                let device = InterfaceIndexOrAddress::Index(index);
                socket
                    .join_multicast_v4_n(group.ip(), &device)
                    .map_err(step("joining the multicast group"))?;
                socket.set_multicast_if_v4(&own).map_err(step("IP_MULTICAST_IF"))?;
                socket.set_multicast_loop_v4(false).map_err(step("IP_MULTICAST_LOOP"))?;
                socket.set_multicast_ttl_v4(MULTICAST_TTL).map_err(step("IP_MULTICAST_TTL"))?;
                vec![*group]
            }
            config::Transport::Unicast { peers, port } => {
                let others = peers.iter().filter(|peer| **peer != own);
                others.map(|peer| SocketAddrV4::new(*peer, *port)).collect()
            }
        };
        Ok(Self { socket: socket.into(), destinations, port })
    }

    /// Sends to all other nodes: one system call with multicast, one per peer otherwise.
    ///
    /// # Errors
    /// The last one of the kernel's, after all were tried; a message is lost then, as on any network.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        for destination in &self.destinations {
            if let Err(error) = self.socket.send_to(datagram, destination) {
                result = Err(error);
            }
        }
        result
    }

    /// Sends to one node.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_to(&self, datagram: &[u8], to: Ipv4Addr) -> io::Result<()> {
        self.socket.send_to(datagram, SocketAddrV4::new(to, self.port)).map(drop)
    }

    /// Takes a datagram that waits, with its source; `None` when none does.
    ///
    /// # Errors
    /// The kernel's; an unreachable peer's is one of them, and harmless.
    pub fn receive<'a>(
        &self,
        buffer: &'a mut [u8; MAX_DATAGRAM],
    ) -> io::Result<Option<(&'a [u8], Ipv4Addr)>> {
        match self.socket.recv_from(buffer) {
            Ok((len, SocketAddr::V4(source))) => Ok(Some((&buffer[..len], *source.ip()))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
