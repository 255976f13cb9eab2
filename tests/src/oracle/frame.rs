//! The oracle's frames, and the packet sockets that they pass through.

use std::{fmt, io, net::Ipv4Addr, os::fd::AsRawFd};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::responder::PROBE_LEN;

const BROADCAST: Mac = Mac([0xff; 6]);
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
/// RFC 826: hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const IPV4_HEADER_LEN: u16 = 20;
const UDP_HEADER_LEN: u16 = 8;
#[expect(clippy::cast_possible_truncation, reason = "a probe is a few bytes long")]
const UDP_LEN: u16 = UDP_HEADER_LEN + PROBE_LEN as u16;
const PROTOCOL_UDP: u8 = 17;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl Mac {
    pub(super) fn to_number(self) -> u64 {
        self.0.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    pub(super) fn from_number(number: u64) -> Self {
        let [_, _, mac @ ..] = number.to_be_bytes();
        Self(mac)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arp {
    operation: u16,
    pub(super) sender_mac: Mac,
    sender: Ipv4Addr,
    target_mac: Mac,
    /// In an answer: who has asked.
    pub(super) target: Ipv4Addr,
}

impl Arp {
    pub(super) fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { operation: ARP_REQUEST, sender_mac, sender, target_mac: Mac([0; 6]), target }
    }

    pub(super) fn is_answer_for(&self, address: Ipv4Addr) -> bool {
        self.operation == ARP_REPLY && self.sender == address
    }

    /// Whose address it makes known to everybody: who asks for its own, or answers itself (RFC 5227, section 3).
    pub(super) fn announced(&self) -> Option<Ipv4Addr> {
        (self.sender == self.target).then_some(self.sender)
    }

    /// As an Ethernet broadcast.
    pub(super) fn to_frame(self) -> Vec<u8> {
        let ethernet = ethernet(self.sender_mac, ETHERTYPE_ARP);
        let operation = self.operation.to_be_bytes();
        let (sender, target) = (self.sender.octets(), self.target.octets());
        let Mac(sender_mac) = self.sender_mac;
        let Mac(target_mac) = self.target_mac;
        [&ethernet[..], &ARP_ETHERNET_IPV4, &operation, &sender_mac, &sender, &target_mac, &target].concat()
    }

    /// `None`: not an ARP packet for IPv4 over Ethernet.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let (_addresses, rest) = frame.split_first_chunk::<12>()?;
        let (ethertype, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk()?;
        let (sender_mac, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk()?;
        let (target, _padding) = rest.split_first_chunk::<4>()?;
        (u16::from_be_bytes(*ethertype) == ETHERTYPE_ARP && *kind == ARP_ETHERNET_IPV4).then_some(Self {
            operation: u16::from_be_bytes(*operation),
            sender_mac: Mac(*sender_mac),
            sender: (*sender).into(),
            target_mac: Mac(*target_mac),
            target: (*target).into(),
        })
    }
}

/// An ARP request as an Ethernet broadcast.
pub(crate) fn arp_request(sender_mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    Arp::request(Mac(sender_mac), sender, target).to_frame()
}

/// A UDP packet to one host, as an Ethernet broadcast to all of them.
pub(super) fn udp_broadcast(
    source_mac: Mac,
    (source, source_port): (Ipv4Addr, u16),
    (target, target_port): (Ipv4Addr, u16),
    payload: [u8; PROBE_LEN],
) -> Vec<u8> {
    let total_len = (IPV4_HEADER_LEN + UDP_LEN).to_be_bytes();
    let (source, target) = (source.octets(), target.octets());

    let ip_header = |checksum: [u8; 2]| {
        let fixed = [0x45, 0, total_len[0], total_len[1], 0, 0, 0, 0, 64, PROTOCOL_UDP];
        [&fixed[..], &checksum, &source, &target].concat()
    };
    let ip_header = ip_header(internet_checksum(&ip_header([0; 2])).to_be_bytes());
    // A zero checksum: none (RFC 768).
    let udp_header = [source_port, target_port, UDP_LEN, 0].map(u16::to_be_bytes).concat();
    [&ethernet(source_mac, ETHERTYPE_IPV4)[..], &ip_header, &udp_header, &payload].concat()
}

/// A raw socket on `interface` of the thread's namespace: for sending, or for what comes in of `protocol`.
pub fn packet_socket(interface: &str, protocol: Option<libc::c_int>) -> Result<Socket> {
    let index = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
    // Protocol 0 receives nothing, until bound to one.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: u16::try_from(protocol.unwrap_or(0))?.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address))?;
    // SAFETY: the kernel reads `length` bytes of a live sockaddr_ll.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if result < 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot bind a packet socket to {interface}"));
    }
    Ok(socket)
}

fn ethernet(Mac(source): Mac, ethertype: u16) -> Vec<u8> {
    [&BROADCAST.0[..], &source, &ethertype.to_be_bytes()].concat()
}

/// RFC 1071, of an even number of bytes.
pub(super) fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let sum = words.fold(0u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        // Cannot overflow: a sum that has just wrapped is below its maximum.
        sum + u16::from(carry)
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arp_packet_reads_back_as_it_was_written() {
        let arp = Arp::request(Mac([2, 0, 0, 0, 0, 7]), [10, 77, 1, 9].into(), [10, 77, 0, 100].into());
        assert_eq!(Arp::parse(&arp.to_frame()), Some(arp));
        assert!(!arp.is_answer_for(arp.sender), "a request is no answer");
        assert_eq!(arp.announced(), None, "it asks for somebody else");
        assert_eq!(Arp::parse(&arp.to_frame()[..41]), None, "cut short");
    }

    #[test]
    fn a_header_with_its_checksum_sums_up_to_nothing() {
        let frame = udp_broadcast(
            Mac([2; 6]),
            ([10, 77, 0, 200].into(), 40000),
            ([10, 77, 0, 100].into(), 7777),
            [7; 8],
        );
        assert_eq!(internet_checksum(&frame[14..34]), 0);
        assert_eq!(frame.len(), 14 + 20 + 8 + PROBE_LEN);
    }
}
