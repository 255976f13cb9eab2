//! The sockets of VRRP on one interface, for one family of addresses: adverts come in by a raw socket, and go out to the
//! multicast group as whole frames, since they have to come from the virtual router's MAC address (RFC 9568, section 7.2).

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use pnet::datalink::DataLinkSender;
use socket2::{Domain, InterfaceIndexOrAddress, MsgHdr, Protocol, SockAddr, Socket, Type};
use vip_common::checksum::Sum;
use vip_common::vrrp::{Arrival, Family, GROUP_IPV4, GROUP_IPV6, MAX_LEN, PROTOCOL, Path, TTL};

use crate::netlink::Interface;
use crate::packet_socket;
use crate::transport::{address_on, sent_from};

/// Room for the longest packet: an IPv4 header with options has 60 bytes.
pub(crate) const MAX_PACKET: usize = 60 + MAX_LEN;
/// RFC 2474: class selector 6, as routing protocols use it.
const CLASS_SELECTOR_6: u8 = 0xc0;
const ETHER_IPV4: [u8; 2] = [0x08, 0x00];
const ETHER_IPV6: [u8; 2] = [0x86, 0xdd];
/// Where the multicast groups are on Ethernet (RFC 1112, section 6.4; RFC 2464, section 7).
const GROUP_MAC_IPV4: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 18];
const GROUP_MAC_IPV6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x12];

/// See the module. Dropping it leaves the multicast group.
pub(crate) struct Link {
    index: u32,
    family: Family,
    socket: Socket,
    frames: Box<dyn DataLinkSender>,
    /// Room for the kernel's word on where a message was sent to, and with which hop limit.
    control: Vec<u8>,
}

impl Link {
    /// Opens the sockets, in the calling thread's network namespace, and joins the group.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW, and the kernel's others, with the step that failed.
    pub(crate) fn open(iface: &Interface, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))
            .map_err(step("raw socket of VRRP"))?;
        socket.bind_device(Some(iface.name.as_bytes())).map_err(step("SO_BINDTODEVICE"))?;
        match family {
            Family::V4 => prepare4(&socket, iface.index),
            Family::V6 => prepare6(&socket, iface.index),
        }?;
        let frames = packet_socket::open(iface)?;
        let control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        Ok(Self { index: iface.index, family, socket, frames, control })
    }

    /// The interface's index.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// Of the addresses.
    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    /// Takes a packet that waits: how it came, and the message in it; `None` when none does. One that is no packet of IP gives
    /// no message.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn receive<'a>(
        &mut self,
        buffer: &'a mut [u8; MAX_PACKET],
    ) -> io::Result<Option<(Arrival, &'a [u8])>> {
        match self.family {
            Family::V4 => self.receive4(buffer),
            Family::V6 => self.receive6(buffer),
        }
    }

    fn receive4<'a>(&self, buffer: &'a mut [u8; MAX_PACKET]) -> io::Result<Option<(Arrival, &'a [u8])>> {
        match (&self.socket).read(buffer) {
            Ok(len) => Ok(Some(Arrival::of_ipv4(&buffer[..len]).unwrap_or((NOWHERE, &[])))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive6<'a>(&mut self, buffer: &'a mut [u8; MAX_PACKET]) -> io::Result<Option<(Arrival, &'a [u8])>> {
        let mut room = [IoSliceMut::new(buffer)];
        let (fd, control) = (self.socket.as_raw_fd(), Some(&mut self.control[..]));
        let received = match recvmsg::<SockaddrStorage>(fd, &mut room, control, MsgFlags::empty()) {
            Ok(received) => received,
            Err(Errno::EWOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let source = received.address.and_then(|address| Some(address.as_sockaddr_in6()?.ip()));
        let (mut destination, mut hop_limit) = (None, None);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
                _ => {}
            }
        }
        let len = received.bytes;
        Ok(Some(match (source, destination, hop_limit) {
            (Some(source), Some(destination), Some(ttl)) => {
                (Arrival { path: Path::V6 { source, destination }, ttl }, &buffer[..len])
            }
            _ => (NOWHERE, &[]),
        }))
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// The kernel's, `WouldBlock` where there is no room for it in time.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.frames.send_to(frame, None).unwrap_or(Ok(()))
    }

    /// Sends a message from one address to another.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn send_to(&self, message: &[u8], path: &Path) -> io::Result<()> {
        let to = SockAddr::from(address_on(self.index, SocketAddr::new(path.destination(), 0)));
        let from = sent_from(path.source(), self.index);
        let buffers = [IoSlice::new(message)];
        self.socket
            .sendmsg(&MsgHdr::new().with_addr(&to).with_buffers(&buffers).with_control(&from), 0)
            .map(drop)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How something came that did not come.
const NOWHERE: Arrival =
    Arrival { path: Path::V4 { source: Ipv4Addr::UNSPECIFIED, destination: Ipv4Addr::UNSPECIFIED }, ttl: 0 };

/// Where adverts go that are for all routers.
pub(crate) const fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(GROUP_IPV4),
        Family::V6 => IpAddr::V6(GROUP_IPV6),
    }
}

/// The frame with a message for all routers, from this MAC address.
pub(crate) fn frame(mac: [u8; 6], path: &Path, message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    match path {
        Path::V4 { source, destination } => {
            let header = ipv4_header(*source, *destination, len);
            [&GROUP_MAC_IPV4[..], &mac, &ETHER_IPV4, &header, message].concat()
        }
        Path::V6 { source, destination } => {
            // RFC 8200, section 3: version, traffic class and flow label; length, next header, hop limit.
            let class = [0x60 | CLASS_SELECTOR_6 >> 4, CLASS_SELECTOR_6 << 4, 0, 0];
            let rest = [len.to_be_bytes(), [PROTOCOL, TTL]].concat();
            let addresses = [source.octets(), destination.octets()].concat();
            [&GROUP_MAC_IPV6[..], &mac, &ETHER_IPV6, &class, &rest, &addresses, message].concat()
        }
    }
}

/// RFC 791, section 3.1: not to be fragmented, and so without a number (RFC 6864, section 4.1).
fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, len: u16) -> [u8; 20] {
    let [len_high, len_low] = (len.saturating_add(20)).to_be_bytes();
    let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
    let mut header = [
        0x45,
        CLASS_SELECTOR_6,
        len_high,
        len_low,
        0,
        0,
        0x40,
        0,
        TTL,
        PROTOCOL,
        0,
        0,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ];
    let checksum = Sum::default().and(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
    header
}

fn prepare4(socket: &Socket, index: u32) -> io::Result<()> {
    socket.set_ttl_v4(TTL.into()).map_err(step("IP_TTL"))?;
    socket.set_tos_v4(CLASS_SELECTOR_6.into()).map_err(step("IP_TOS"))?;
    socket
        .join_multicast_v4_n(&GROUP_IPV4, &InterfaceIndexOrAddress::Index(index))
        .map_err(step("joining 224.0.0.18"))
}

fn prepare6(socket: &Socket, index: u32) -> io::Result<()> {
    socket.set_unicast_hops_v6(TTL.into()).map_err(step("IPV6_UNICAST_HOPS"))?;
    socket.set_tclass_v6(CLASS_SELECTOR_6.into()).map_err(step("IPV6_TCLASS"))?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
        .and_then(|()| setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true))
        .map_err(|errno| step("IPV6_RECVHOPLIMIT")(errno.into()))?;
    socket.join_multicast_v6(&GROUP_IPV6, index).map_err(step("joining ff02::12"))
}

fn step(name: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_headers_that_add_up() {
        let path = Path::V4 { source: Ipv4Addr::new(10, 0, 0, 1), destination: GROUP_IPV4 };
        let frame4 = frame([2; 6], &path, &[0; 12]);
        assert_eq!(frame4.len(), 14 + 20 + 12);
        let header: &[u8; 20] = frame4[14..34].try_into().unwrap();
        assert!(Sum::default().and(header).is_right());
        let (arrival, message) = Arrival::of_ipv4(&frame4[14..]).unwrap();
        assert_eq!((arrival, message), (Arrival { path, ttl: 255 }, &[0; 12][..]));
        let path = Path::V6 { source: "fe80::1".parse().unwrap(), destination: GROUP_IPV6 };
        let frame6 = frame([2; 6], &path, &[0; 24]);
        assert_eq!(frame6[12..22], [0x86, 0xdd, 0x6c, 0, 0, 0, 0, 24, 112, 255]);
        assert_eq!(frame6.len(), 14 + 40 + 24);
    }
}
