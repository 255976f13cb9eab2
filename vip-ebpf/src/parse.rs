//! Frames: header layouts and where they lie. Reads packets and decides nothing.

pub(crate) mod ndp;

use aya_ebpf::programs::XdpContext;
use vip_common::maps::Config;
use vip_common::vrrp::{self, Header as VrrpHeader};
use vip_common::wire::{Be16, Be32, Message};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// VLAN tags that are looked through.
pub(crate) const MAX_TAGS: usize = 2;
pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;
/// Of the fragment field (RFC 791, section 3.1); 0 in a datagram's first fragment.
const FRAGMENT_OFFSET: u16 = 0x1fff;
const MORE_FRAGMENTS: u16 = 0x2000;

/// The layout of some bytes in a frame.
///
/// # Safety
/// Packed, so that it lies at any offset, and made of fields that any bytes are values of.
pub(crate) unsafe trait Header {}

macro_rules! headers {
    ($($name:ident),+) => {
        $(
            // SAFETY: `repr(C, packed)`, made of numbers and arrays of them.
            unsafe impl Header for $name {}
        )+
    };
}
headers!(Ethernet, VlanTag, Arp, Ipv4, Ipv6, Udp, Datagram, VrrpHeader);

// SAFETY: any bytes are bytes, and lie at any offset.
unsafe impl<const LEN: usize> Header for [u8; LEN] {}

/// IEEE 802.3.
#[repr(C, packed)]
pub(crate) struct Ethernet {
    pub(crate) destination: [u8; 6],
    pub(crate) source: [u8; 6],
    pub(crate) ethertype: Be16,
}

/// IEEE 802.1Q tag: follows the source address in place of the EtherType, which comes after it.
#[repr(C, packed)]
pub(crate) struct VlanTag {
    control: Be16,
    pub(crate) ethertype: Be16,
}

/// RFC 826, for IPv4 over Ethernet.
#[repr(C, packed)]
pub(crate) struct Arp {
    pub(crate) hardware_type: Be16,
    pub(crate) protocol_type: Be16,
    pub(crate) hardware_len: u8,
    pub(crate) protocol_len: u8,
    pub(crate) operation: Be16,
    pub(crate) sender_mac: [u8; 6],
    pub(crate) sender_ip: [u8; 4],
    pub(crate) target_mac: [u8; 6],
    pub(crate) target_ip: [u8; 4],
}

impl Arp {
    /// `operation` of a request (RFC 826).
    pub(crate) const REQUEST: u16 = 1;
    /// `operation` of a reply.
    pub(crate) const REPLY: u16 = 2;

    fn is_ipv4_over_ethernet(&self) -> bool {
        self.hardware_type.get() == 1
            && self.protocol_type.get() == ETHERTYPE_IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
    }
}

/// RFC 791, without options.
#[repr(C, packed)]
pub(crate) struct Ipv4 {
    pub(crate) version_and_len: u8,
    pub(crate) service: u8,
    pub(crate) total_len: Be16,
    pub(crate) id: Be16,
    pub(crate) fragment: Be16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: Be16,
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
}

impl Ipv4 {
    /// Whether a whole payload lies behind this header: no options, no fragment.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.version_and_len == 0x45 && !self.is_fragment()
    }

    /// Whether this is a part of a packet.
    #[inline(always)]
    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment.get() & (FRAGMENT_OFFSET | MORE_FRAGMENTS) != 0
    }

    /// The header's own bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8; size_of::<Self>()] {
        // SAFETY: packed, and made of numbers and arrays of them.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// Bytes up to the payload; at most 60, whatever the header says.
    #[inline(always)]
    pub(crate) fn header_len(&self) -> usize {
        usize::from(self.version_and_len & 0x0f) * 4
    }
}

/// RFC 8200, section 3.
#[repr(C, packed)]
pub(crate) struct Ipv6 {
    pub(crate) version_class_flow: Be32,
    pub(crate) payload_len: Be16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
}

impl Ipv6 {
    /// `version_class_flow` of a packet of no class and no flow.
    pub(crate) const PLAIN: u32 = 6 << 28;

    /// Whether the header is of the version that the EtherType says.
    #[inline(always)]
    pub(crate) fn is_version_6(&self) -> bool {
        self.version_class_flow.get() >> 28 == 6
    }
}

/// RFC 768.
#[repr(C, packed)]
pub(crate) struct Udp {
    pub(crate) source: Be16,
    pub(crate) destination: Be16,
    pub(crate) len: Be16,
    pub(crate) checksum: Be16,
}

/// A message of the protocol in a UDP datagram, up to the end of the message header.
#[repr(C, packed)]
pub(crate) struct Datagram {
    pub(crate) udp: Udp,
    pub(crate) message: Message,
}

impl Datagram {
    /// Whether the lengths agree: of the IP header's payload, of the UDP header's, and of the message's body.
    #[inline(always)]
    pub(crate) fn fits(&self, payload_len: usize) -> bool {
        let udp_len = size_of::<Udp>() + size_of::<Message>() + usize::from(self.message.body_len.get());
        usize::from(self.udp.len.get()) == udp_len && payload_len == udp_len
    }
}

/// The version of an IP header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4 = 4,
    V6 = 6,
}

/// Where an IP header is.
#[derive(Clone, Copy)]
pub(crate) struct Ip {
    pub(crate) version: Version,
    pub(crate) offset: usize,
}

impl Ip {
    /// Where the payload is, if nothing comes between: no options, no extension headers.
    #[inline(always)]
    pub(crate) const fn payload(self) -> usize {
        self.offset
            + match self.version {
                Version::V4 => size_of::<Ipv4>(),
                Version::V6 => size_of::<Ipv6>(),
            }
    }
}

/// No UDP port. A number, since the compiler may read the value of an absent `Option`, and the verifier minds.
pub(crate) const NO_PORT: u32 = 1 << 16;
/// No UDP port: the packet is of VRRP.
pub(crate) const ADVERT: u32 = NO_PORT + 1;

/// What a frame is, with the offset of the header that tells.
pub(crate) enum Frame {
    /// Nothing that concerns us.
    Other,
    /// ARP for IPv4 over Ethernet.
    Arp { offset: usize },
    /// IPv4; `udp_port` is the destination port of the UDP datagram that the packet is or begins, else [`ADVERT`] or
    /// [`NO_PORT`].
    Ipv4 { offset: usize, udp_port: u32 },
    /// IPv6, but for what comes next; `udp_port` is that of a UDP datagram right behind its header, else [`ADVERT`] for
    /// VRRP there, or [`NO_PORT`].
    Ipv6 { offset: usize, udp_port: u32 },
    /// IPv6 with a neighbour solicitation or advertisement right behind its header.
    Neighbour { offset: usize },
}

/// A frame, as XDP or traffic control has it.
pub(crate) trait Bytes {
    /// The header at this offset, if the frame is long enough.
    fn at<T: Header>(&self, offset: usize) -> Option<&T>;
}

/// The bytes of the frame that the program was called for, and what the daemon has said of the node.
pub(crate) struct Packet<'a> {
    context: &'a XdpContext,
    config: &'static Config,
}

impl<'a> Packet<'a> {
    /// The frame of this call.
    #[inline(always)]
    pub(crate) fn new(context: &'a XdpContext, config: &'static Config) -> Self {
        Self { context, config }
    }

    /// The header at this offset, if the frame is long enough. Offsets stay below the verifier's bound for packets.
    #[inline(always)]
    pub(crate) fn at<T: Header>(&self, offset: usize) -> Option<&T> {
        // SAFETY: within the frame, and the frame changes through `at_mut` alone.
        self.address(offset, size_of::<T>()).map(|address| unsafe { &*(address as *const T) })
    }

    /// As [`Self::at`], to be rewritten.
    #[inline(always)]
    pub(crate) fn at_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: within the frame, which is borrowed for as long.
        self.address(offset, size_of::<T>()).map(|address| unsafe { &mut *(address as *mut T) })
    }

    #[inline(always)]
    fn address(&self, offset: usize, len: usize) -> Option<usize> {
        let start = self.context.data() + offset;
        if start + len > self.context.data_end() { None } else { Some(start) }
    }

    /// Bytes of the frame.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a frame lies in one buffer, of less than 64 KiB")]
    pub(crate) fn len(&self) -> u32 {
        (self.context.data_end() - self.context.data()) as u32
    }

    /// What the daemon has said.
    #[inline(always)]
    pub(crate) fn config(&self) -> &'static Config {
        self.config
    }

    /// What the kernel called the program with.
    #[inline(always)]
    pub(crate) fn context(&self) -> &XdpContext {
        self.context
    }

    /// Index of the interface that the frame came in on; the loopback interface's in BPF_PROG_TEST_RUN.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        // SAFETY: the kernel gave this context.
        unsafe { (*self.context.ctx).ingress_ifindex }
    }
}

impl Bytes for Packet<'_> {
    #[inline(always)]
    fn at<T: Header>(&self, offset: usize) -> Option<&T> {
        self.at(offset)
    }
}

/// Tells what a frame is. VLAN tags, up to two, are looked through.
#[inline(always)]
pub(crate) fn frame(packet: &Packet<'_>) -> Frame {
    parse(packet).unwrap_or(Frame::Other)
}

#[inline(always)]
fn parse(packet: &Packet<'_>) -> Option<Frame> {
    let (ethertype, offset) = behind_tags(packet)?;
    match ethertype {
        ETHERTYPE_ARP => arp(packet, offset),
        ETHERTYPE_IPV4 => ipv4(packet, offset),
        ETHERTYPE_IPV6 => ipv6(packet, offset),
        _ => None,
    }
}

/// The EtherType behind a frame's VLAN tags, and where what it tells of begins. Up to two tags are looked through.
#[inline(always)]
pub(crate) fn behind_tags(bytes: &impl Bytes) -> Option<(u16, usize)> {
    let mut ethertype = bytes.at::<Ethernet>(0)?.ethertype.get();
    let mut offset = size_of::<Ethernet>();
    for _ in 0..MAX_TAGS {
        if !is_vlan_tag(ethertype) {
            break;
        }
        ethertype = bytes.at::<VlanTag>(offset)?.ethertype.get();
        offset += size_of::<VlanTag>();
    }
    Some((ethertype, offset))
}

/// Whether a VLAN tag follows (IEEE 802.1Q).
#[inline(always)]
pub(crate) const fn is_vlan_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_VLAN
}

#[inline(always)]
fn arp(packet: &Packet<'_>, offset: usize) -> Option<Frame> {
    let arp = packet.at::<Arp>(offset)?;
    arp.is_ipv4_over_ethernet().then_some(Frame::Arp { offset })
}

#[inline(always)]
fn ipv4(packet: &Packet<'_>, offset: usize) -> Option<Frame> {
    let ipv4 = packet.at::<Ipv4>(offset)?;
    Some(Frame::Ipv4 { offset, udp_port: udp_port(packet, offset, ipv4).unwrap_or(NO_PORT) })
}

#[inline(always)]
fn udp_port(packet: &Packet<'_>, offset: usize, ipv4: &Ipv4) -> Option<u32> {
    let header_len = ipv4.header_len();
    if ipv4.protocol == vrrp::PROTOCOL {
        return Some(ADVERT);
    }
    // RFC 791, section 3.1: a correct header has 5 words at least. In a shorter one, no port is where it should be.
    let is_datagram = ipv4.protocol == PROTOCOL_UDP && header_len >= size_of::<Ipv4>();
    if !is_datagram || ipv4.fragment.get() & FRAGMENT_OFFSET != 0 {
        return None;
    }
    let udp = packet.at::<Udp>(offset + header_len)?;
    Some(u32::from(udp.destination.get()))
}

#[inline(always)]
fn ipv6(packet: &Packet<'_>, offset: usize) -> Option<Frame> {
    let ipv6 = packet.at::<Ipv6>(offset)?;
    if ipv6.next_header == PROTOCOL_ICMPV6
        && let Some(message) = packet.at::<ndp::Neighbour>(offset)
        && (message.is_solicitation() || message.is_advertisement())
    {
        return Some(Frame::Neighbour { offset });
    }
    let mut udp_port = NO_PORT;
    if ipv6.next_header == PROTOCOL_UDP
        && let Some(udp) = packet.at::<Udp>(offset + size_of::<Ipv6>())
    {
        udp_port = u32::from(udp.destination.get());
    } else if ipv6.next_header == vrrp::PROTOCOL {
        udp_port = ADVERT;
    }
    Some(Frame::Ipv6 { offset, udp_port })
}
