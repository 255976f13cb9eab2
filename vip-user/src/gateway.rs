//! Asking the gateway whether it is there: ARP requests (RFC 826) from the node's own address, and the answers to them.
//!
//! Only what answers such a request counts: an ARP reply of the gateway's address to this node's addresses, from a MAC address
//! that is neither this node's nor the other voter's. A filter in the kernel keeps all other frames away, so that the segment's
//! ARP wakes nobody.

use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::netlink::Interface;

/// An ARP frame of Ethernet and IPv4, without padding.
const FRAME: usize = 42;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Ethernet type of ARP, then hardware type, protocol type and lengths of Ethernet and IPv4.
const ETHER_TYPE: [u8; 2] = [0x08, 0x06];
const ARP_HEAD: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Who asks, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The node's own MAC address.
    pub mac: [u8; 6],
    /// The node's own address.
    pub own: Ipv4Addr,
    /// The gateway's.
    pub gateway: Ipv4Addr,
}

impl Question {
    /// The request, as it is sent to all stations.
    pub fn request(&self) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        let parts: [&[u8]; 9] = [
            &BROADCAST,
            &self.mac,
            &ETHER_TYPE,
            &ARP_HEAD,
            &REQUEST,
            &self.mac,
            &self.own.octets(),
            &[0; 6],
            &self.gateway.octets(),
        ];
        frame.iter_mut().zip(parts.concat()).for_each(|(to, byte)| *to = byte);
        frame
    }

    /// Who answers the request by this frame; `None` if it is no such answer.
    pub fn answered_by(&self, frame: &[u8]) -> Option<[u8; 6]> {
        let frame: &[u8; FRAME] = frame.first_chunk()?;
        let sender: [u8; 6] = frame[22..28].try_into().ok()?;
        let is_reply = frame[12..14] == ETHER_TYPE && frame[14..20] == ARP_HEAD && frame[20..22] == REPLY;
        let is_ours = frame[..6] == self.mac && frame[32..38] == self.mac && frame[38..] == self.own.octets();
        let is_gateways = frame[28..32] == self.gateway.octets() && sender != self.mac && sender[0] & 1 == 0;
        (is_reply && is_ours && is_gateways).then_some(sender)
    }
}

/// The socket on the node's interface. Sends and receives never block.
#[derive(Debug)]
pub struct Gateway {
    socket: Socket,
    to: SockAddr,
    question: Question,
}

impl Gateway {
    /// Opens the socket, in the calling thread's network namespace.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW, and the kernel's others.
    pub fn open(iface: &Interface, question: Question) -> io::Result<Self> {
        // Of no protocol until the filter is there: nothing comes in before.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        socket.attach_filter(&filter(question.gateway))?;
        let to = arp_on(iface.index)?;
        socket.bind(&to)?;
        Ok(Self { socket, to, question })
    }

    /// The interface has another address.
    pub fn set_own(&mut self, own: Ipv4Addr) {
        self.question.own = own;
    }

    /// Asks. The request's stamp has to be taken before.
    ///
    /// # Errors
    /// The kernel's; the request is lost then, as on any network.
    pub fn ask(&self) -> io::Result<()> {
        self.socket.send_to(&self.question.request(), &self.to).map(drop)
    }

    /// The MAC address of whoever has answered; `None` when nobody has. What is no answer is passed over, as much as `most`.
    pub fn answer(&self, most: usize) -> Option<[u8; 6]> {
        let mut buffer = [0; FRAME];
        for _ in 0..most {
            let length = (&self.socket).read(&mut buffer).ok()?;
            let sender = self.question.answered_by(buffer.get(..length)?);
            if sender.is_some() {
                return sender;
            }
        }
        None
    }
}

impl AsFd for Gateway {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// ARP on the interface of this index.
fn arp_on(index: u32) -> io::Result<SockAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: u16::from_be_bytes(ETHER_TYPE).to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large and aligned enough for any kind of address, and zeros are one of this kind.
    *unsafe { storage.view_as::<libc::sockaddr_ll>() } = address;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: so much of it has just been written, by the family that it names.
    Ok(unsafe { SockAddr::new(storage, length) })
}

/// Lets through ARP replies of the gateway's address alone: classic BPF, in which a word that does not match goes on to the
/// last instruction.
fn filter(gateway: Ipv4Addr) -> [SockFilter; 6] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, u32::from(u16::from_be_bytes(REPLY))),
        SockFilter::new(LOAD_WORD, 0, 0, 28),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, gateway.to_bits()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 254];
    const QUESTION: Question = Question {
        mac: [2, 0, 0, 0, 0, 1],
        own: Ipv4Addr::new(10, 77, 0, 1),
        gateway: Ipv4Addr::new(10, 77, 0, 254),
    };

    /// What the gateway answers.
    fn reply() -> [u8; FRAME] {
        let mut frame = QUESTION.request();
        frame[..6].copy_from_slice(&QUESTION.mac);
        frame[6..12].copy_from_slice(&GATEWAY_MAC);
        frame[20..22].copy_from_slice(&REPLY);
        frame[22..28].copy_from_slice(&GATEWAY_MAC);
        frame[28..32].copy_from_slice(&QUESTION.gateway.octets());
        frame[32..38].copy_from_slice(&QUESTION.mac);
        frame[38..].copy_from_slice(&QUESTION.own.octets());
        frame
    }

    #[test]
    fn a_request_is_one_of_rfc_826_to_all_stations() {
        let frame = QUESTION.request();
        assert_eq!(frame[..12], [BROADCAST, QUESTION.mac].concat());
        assert_eq!(frame[12..22], [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 1, 10, 77, 0, 1]);
        assert_eq!(frame[32..], [0, 0, 0, 0, 0, 0, 10, 77, 0, 254]);
    }

    #[test]
    fn only_what_answers_the_request_counts() {
        assert_eq!(QUESTION.answered_by(&reply()), Some(GATEWAY_MAC));
        assert_eq!(QUESTION.answered_by(&QUESTION.request()), None);
        assert_eq!(QUESTION.answered_by(&reply()[..FRAME - 1]), None);
        // Input: another byte at each place that says what the frame is, and whose. Expected: it does not count.
        for place in (0..6).chain(12..22).chain(28..FRAME) {
            let mut frame = reply();
            frame[place] ^= 1;
            assert_eq!(QUESTION.answered_by(&frame), None, "byte {place}");
        }
    }

    #[test]
    fn an_answer_from_the_own_mac_or_a_group_address_is_none_of_a_gateway() {
        for sender in [QUESTION.mac, BROADCAST] {
            let mut frame = reply();
            frame[22..28].copy_from_slice(&sender);
            assert_eq!(QUESTION.answered_by(&frame), None);
        }
    }
}
