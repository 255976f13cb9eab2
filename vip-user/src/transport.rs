//! The datagrams between the nodes: one UDP socket, to a multicast group and to a list of addresses, by IPv4 or IPv6.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, MsgHdr, Protocol, SockAddr, Socket, Type};

use crate::config;
use crate::contacts::Way;
use crate::descriptor::release_early;

/// Longest datagram that is read; longer ones are not of this protocol.
pub const MAX_DATAGRAM: usize = 1500;
/// Multicast messages stay on the segment, as the leases do.
const MULTICAST_TTL: u32 = 1;
/// RFC 2474: class selector 6, as routing protocols use it, so that switches with queues send leases first.
const CLASS_SELECTOR_6: u32 = 0xc0;

/// What has come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// Its bytes; none, if it is to be ignored.
    pub datagram: &'a [u8],
    /// The address that it came from.
    pub source: IpAddr,
    /// How it has come.
    pub way: Way,
}

/// The node's socket on one interface. Sends and receives never block.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    own: IpAddr,
    index: u32,
    group: Option<SocketAddr>,
    contacts: Vec<SocketAddr>,
    port: u16,
    /// Has the kernel send from the own address, of all that the interface has.
    from: Vec<u8>,
    /// Room for the kernel's word on where a datagram was sent to, and for no more.
    control: Vec<u8>,
}

impl Transport {
    /// Opens the socket on an interface, of which `own` is an address. What is for all nodes goes to the group or the
    /// peers, and to `join`; those lists may have the own address as well. Later, [`Self::set_contacts`] says where.
    ///
    /// # Errors
    /// `AddrInUse` when another program has the port, `PermissionDenied` without CAP_NET_RAW, and the kernel's
    /// others, with the step that failed.
    pub fn open(
        iface: &str,
        index: u32,
        own: IpAddr,
        transport: &config::Transport,
        join: &[IpAddr],
    ) -> io::Result<Self> {
        let is_ipv6 = transport.is_ipv6();
        let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let socket = release_early(socket);
        // Daemons on other interfaces of this machine share the port; the device keeps them apart.
        socket.set_reuse_address(true).map_err(step("SO_REUSEADDR"))?;
        socket.bind_device(Some(iface.as_bytes())).map_err(step("SO_BINDTODEVICE"))?;
        if is_ipv6 { prepare6(&socket) } else { prepare4(&socket) }?;
        let port = transport.port();
        let any = if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        socket
            .bind(&SocketAddr::new(any, port).into())
            .map_err(|error| io::Error::new(error.kind(), format!("UDP port {port}: {error}")))?;
        let group = match transport {
            config::Transport::Multicast(group) => {
                join_group(&socket, group.ip(), index).map_err(step("joining the multicast group"))?;
                Some(address_on(index, *group))
            }
            config::Transport::Unicast { .. } => None,
        };
        let control = if is_ipv6 { cmsg_space!(libc::in6_pktinfo) } else { cmsg_space!(libc::in_pktinfo) };
        let from = sent_from(own, index);
        let mut opened = Self { socket, own, index, group, contacts: Vec::new(), port, from, control };
        opened.set_contacts(transport.peers().iter().chain(join).copied());
        Ok(opened)
    }

    /// The interface has another address.
    pub fn set_own(&mut self, own: IpAddr) {
        self.own = own;
        self.from = sent_from(own, self.index);
    }

    /// What is for all nodes goes to these from now on, besides the group.
    pub fn set_contacts(&mut self, contacts: impl IntoIterator<Item = IpAddr>) {
        let (index, port) = (self.index, self.port);
        let contacts = contacts.into_iter().map(|contact| address_on(index, SocketAddr::new(contact, port)));
        self.contacts = contacts.collect();
    }

    /// Sends to all other nodes: one system call for the group, and one per contact.
    ///
    /// # Errors
    /// The last one of the kernel's, after all were tried; a message is lost then, as on any network.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        // The group first: a node that hears both ways takes what comes first, and knows by that how it is reached.
        let destinations = self.group.iter().chain(&self.contacts);
        for destination in destinations.filter(|destination| destination.ip() != self.own) {
            if let Err(error) = self.send_datagram(datagram, *destination) {
                result = Err(error);
            }
        }
        result
    }

    /// Sends to one node.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_to(&self, datagram: &[u8], to: IpAddr) -> io::Result<()> {
        self.send_datagram(datagram, address_on(self.index, SocketAddr::new(to, self.port)))
    }

    fn send_datagram(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let (to, buffers) = (SockAddr::from(to), [IoSlice::new(datagram)]);
        let message = MsgHdr::new().with_addr(&to).with_buffers(&buffers).with_control(&self.from);
        self.socket.sendmsg(&message, 0).map(drop)
    }

    /// Takes a datagram that waits; `None` when none does.
    ///
    /// Only what was sent to the multicast group or to the own address counts: XDP has verified that and keeps replays
    /// away. What comes to the port by another address of this machine, a VIP for one, gives an empty datagram; and so
    /// does what had IPv6 extension headers, which XDP does not look through.
    ///
    /// # Errors
    /// The kernel's; an unreachable peer's is one of them, and harmless.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8; MAX_DATAGRAM]) -> io::Result<Option<Incoming<'a>>> {
        let mut room = [IoSliceMut::new(buffer)];
        let (fd, own, control) = (self.socket.as_raw_fd(), self.own, Some(&mut self.control[..]));
        let received = match recvmsg::<SockaddrStorage>(fd, &mut room, control, MsgFlags::empty()) {
            Ok(received) => received,
            Err(Errno::EWOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let source = received.address.and_then(source).unwrap_or(own);
        // An error says that there was more than room for it: the kernel's word on an extension header.
        let destination =
            received.cmsgs().ok().and_then(|mut messages| messages.find_map(|message| destination(&message)));
        let way = destination.and_then(|destination| way_to(destination, own));
        let (len, way) = way.map_or((0, Way::Direct), |way| (received.bytes, way));
        Ok(Some(Incoming { datagram: &buffer[..len], source, way }))
    }
}

fn step(name: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn prepare4(socket: &Socket) -> io::Result<()> {
    socket.set_tos_v4(CLASS_SELECTOR_6).map_err(step("IP_TOS"))?;
    socket.set_multicast_loop_v4(false).map_err(step("IP_MULTICAST_LOOP"))?;
    socket.set_multicast_ttl_v4(MULTICAST_TTL).map_err(step("IP_MULTICAST_TTL"))?;
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true).map_err(|errno| step("IP_PKTINFO")(errno.into()))
}

fn prepare6(socket: &Socket) -> io::Result<()> {
    socket.set_only_v6(true).map_err(step("IPV6_V6ONLY"))?;
    socket.set_tclass_v6(CLASS_SELECTOR_6).map_err(step("IPV6_TCLASS"))?;
    socket.set_multicast_loop_v6(false).map_err(step("IPV6_MULTICAST_LOOP"))?;
    socket.set_multicast_hops_v6(MULTICAST_TTL).map_err(step("IPV6_MULTICAST_HOPS"))?;
    let told = setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
        .and_then(|()| setsockopt(socket, told::HopByHopOptions, &true))
        .and_then(|()| setsockopt(socket, told::DestinationOptions, &true))
        .and_then(|()| setsockopt(socket, told::RoutingHeader, &true))
        .and_then(|()| setsockopt(socket, told::FragmentSize, &true));
    told.map_err(|errno| step("IPV6_RECVPKTINFO")(errno.into()))
}

/// What the kernel is asked to tell of a datagram: which extension headers it had (RFC 3542, section 4; the size of its
/// fragments, if it came in some, since Linux 4.2).
mod told {
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(HopByHopOptions, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPOPTS, bool);
    sockopt_impl!(DestinationOptions, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_RECVDSTOPTS, bool);
    sockopt_impl!(RoutingHeader, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_RECVRTHDR, bool);
    sockopt_impl!(FragmentSize, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_RECVFRAGSIZE, bool);
}

fn join_group(socket: &Socket, group: IpAddr, index: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index),
    }
}

/// Addresses that are good on one link alone need to say on which (RFC 4007).
pub(crate) fn address_on(index: u32, address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(address) => SocketAddrV6::new(*address.ip(), address.port(), 0, index).into(),
    }
}

/// A control message that has the kernel send from this address, by this interface (`IP_PKTINFO` in ip(7); RFC 3542,
/// section 6.2): as it lies in memory, made once.
pub(crate) fn sent_from(own: IpAddr, index: u32) -> Vec<u8> {
    let index = index.to_ne_bytes();
    let (level, kind, information) = match own {
        // A `struct in_pktinfo`; its last field is for what is received.
        IpAddr::V4(own) => (libc::IPPROTO_IP, libc::IP_PKTINFO, [index, own.octets(), [0; 4]].concat()),
        // A `struct in6_pktinfo`.
        IpAddr::V6(own) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [&own.octets()[..], &index].concat()),
    };
    let len = size_of::<libc::cmsghdr>() + information.len();
    let head = [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes()].concat();
    let mut message = [head, information].concat();
    message.resize(len.next_multiple_of(size_of::<usize>()), 0);
    message
}

fn source(address: SockaddrStorage) -> Option<IpAddr> {
    let ipv4 = address.as_sockaddr_in().map(|address| address.ip().into());
    ipv4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// Where a datagram was sent to.
fn destination(message: &ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    }
}

/// How a datagram comes to the node at `own`; `None` if it is not for the daemon.
fn way_to(destination: IpAddr, own: IpAddr) -> Option<Way> {
    match destination {
        group if group.is_multicast() => Some(Way::Group),
        address => (address == own).then_some(Way::Direct),
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    const LOOPBACK: u32 = 1;

    /// A port that nobody has, and nobody is given for now.
    fn free_port() -> u16 {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn open(own: &str, port: u16) -> Transport {
        let own: IpAddr = own.parse().unwrap();
        let transport = config::Transport::Unicast { peers: vec![own], port };
        Transport::open("lo", LOOPBACK, own, &transport, &[]).unwrap()
    }

    fn taken(transport: &mut Transport) -> Option<(Vec<u8>, IpAddr)> {
        let mut buffer = [0; MAX_DATAGRAM];
        let incoming = transport.receive(&mut buffer).unwrap();
        incoming.map(|incoming| (incoming.datagram.to_vec(), incoming.source))
    }

    #[test]
    fn what_was_sent_to_another_address_of_the_machine_is_not_taken() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free_port();
        let mut transport = open("127.0.0.1", port);
        for destination in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST] {
            sender.send_to(b"hello", (destination, port)).unwrap();
        }
        let mut taken = || taken(&mut transport).map(|(datagram, _)| datagram);
        assert_eq!([taken(), taken(), taken()], [Some(Vec::new()), Some(b"hello".to_vec()), None]);
    }

    #[test]
    fn what_had_extension_headers_is_not_taken() {
        let sender = UdpSocket::bind("[::1]:0").unwrap();
        let port = free_port();
        let mut transport = open("::1", port);
        sender.send_to(b"plain", ("::1", port)).unwrap();
        // RFC 8200, section 4.6: an empty one, padded to its least length.
        let padding = [0, 0, 1, 4, 0, 0, 0, 0];
        setsockopt(&sender, sending::DestinationOptions, &padding).unwrap();
        sender.send_to(b"with options", ("::1", port)).unwrap();
        let mut taken = || taken(&mut transport).map(|(datagram, _)| datagram);
        assert_eq!([taken(), taken(), taken()], [Some(b"plain".to_vec()), Some(Vec::new()), None]);
    }

    mod sending {
        use nix::{setsockopt_impl, sockopt_impl};

        sockopt_impl!(DestinationOptions, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, [u8; 8]);
    }

    #[test]
    fn messages_come_from_the_own_address_of_several() {
        let port = free_port();
        let mut transport = open("127.0.0.2", port);
        transport.send_to(b"to myself", [127, 0, 0, 2].into()).unwrap();
        assert_eq!(taken(&mut transport), Some((b"to myself".to_vec(), [127, 0, 0, 2].into())));
        transport.set_own([127, 0, 0, 3].into());
        transport.send_to(b"again", [127, 0, 0, 3].into()).unwrap();
        assert_eq!(taken(&mut transport), Some((b"again".to_vec(), [127, 0, 0, 3].into())));
    }

    #[test]
    fn what_is_for_all_nodes_goes_to_each_contact() {
        let port = free_port();
        let contacts = [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];
        let receivers = contacts.map(|address| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind_device(Some(b"lo")).unwrap();
            socket.bind(&SocketAddr::new(address.into(), port).into()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            UdpSocket::from(socket)
        });
        let mut transport = open("127.0.0.2", port);
        transport.set_contacts(contacts.map(IpAddr::V4));
        transport.send(b"to all").unwrap();
        for receiver in receivers {
            let mut buffer = [0; MAX_DATAGRAM];
            let (len, source) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], source.ip()), (&b"to all"[..], [127, 0, 0, 2].into()));
        }
    }

    #[test]
    fn a_node_does_not_send_to_itself() {
        let mut transport = open("::1", free_port());
        transport.send(b"to all others").unwrap();
        assert_eq!(taken(&mut transport), None);
    }
}
