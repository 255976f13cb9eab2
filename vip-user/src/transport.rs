//! The datagrams between the nodes: one UDP socket, to a multicast group or to a list of addresses.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::config;
use crate::descriptor::release_early;

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
    own: Ipv4Addr,
    destinations: Vec<SocketAddrV4>,
    port: u16,
    /// Room for the kernel's word on where a datagram was sent to.
    control: Vec<u8>,
}

impl Transport {
    /// Opens the socket on an interface, of which `own` is an address; the list of peers may have that as well.
    ///
    /// # Errors
    /// `AddrInUse` when another program has the port, `PermissionDenied` without CAP_NET_RAW, and the kernel's
    /// others, with the step that failed.
    pub fn open(iface: &str, index: u32, own: Ipv4Addr, transport: &config::Transport) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let socket = release_early(socket);
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
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)
            .map_err(|errno| step("IP_PKTINFO")(errno.into()))?;
        let control = cmsg_space!(libc::in_pktinfo);
        Ok(Self { socket: socket.into(), own, destinations, port, control })
    }

    /// The interface has another address.
    pub const fn set_own(&mut self, own: Ipv4Addr) {
        self.own = own;
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
    /// Only what was sent to the multicast group or to the own address counts: XDP has verified that and keeps replays
    /// away. What comes to the port by another address of this machine, a VIP for one, gives an empty datagram.
    ///
    /// # Errors
    /// The kernel's; an unreachable peer's is one of them, and harmless.
    pub fn receive<'a>(
        &mut self,
        buffer: &'a mut [u8; MAX_DATAGRAM],
    ) -> io::Result<Option<(&'a [u8], Ipv4Addr)>> {
        let mut room = [IoSliceMut::new(buffer)];
        let (fd, control) = (self.socket.as_raw_fd(), Some(&mut self.control[..]));
        let received = match recvmsg::<SockaddrIn>(fd, &mut room, control, MsgFlags::empty()) {
            Ok(received) => received,
            Err(Errno::EWOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let source = received.address.map_or(Ipv4Addr::UNSPECIFIED, |address| address.ip());
        let verified = received.cmsgs()?.any(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let destination = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                destination.is_multicast() || destination == self.own
            }
            _ => false,
        });
        let len = if verified { received.bytes } else { 0 };
        Ok(Some((&buffer[..len], source)))
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_to_another_address_of_the_machine_is_not_taken() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Free, and not given to others for now.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = config::Transport::Unicast { peers: Vec::new(), port };
        let mut transport = Transport::open("lo", 1, Ipv4Addr::LOCALHOST, &settings).unwrap();
        for destination in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST] {
            sender.send_to(b"hello", (destination, port)).unwrap();
        }
        let mut buffer = [0; MAX_DATAGRAM];
        let mut taken = || transport.receive(&mut buffer).unwrap().map(|(datagram, _)| datagram.to_vec());
        assert_eq!([taken(), taken(), taken()], [Some(Vec::new()), Some(b"hello".to_vec()), None]);
    }
}
