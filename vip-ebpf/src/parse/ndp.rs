//! Neighbour discovery for IPv6 (RFC 4861): how its messages lie in a frame, and which of them are valid.
//!
//! Messages are read right behind the IPv6 header. With extension headers in between, as nobody sends them, they are
//! packets like any other: the kernel answers none for a VIP, since the VIPs are not on the interface that it came in
//! on.

use vip_common::wire::Be32;

use super::{Ethernet, Header, Ipv6, PROTOCOL_ICMPV6, Packet};
use crate::mac::Mac;
use vip_common::checksum::Sum;

/// A solicitation (RFC 4861, section 4.3) or an advertisement (section 4.4), up to its options.
#[repr(C, packed)]
pub(crate) struct Neighbour {
    pub(crate) ipv6: Ipv6,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) checksum: [u8; 2],
    /// An advertisement's; else reserved.
    pub(crate) flags: Be32,
    pub(crate) target: [u8; 16],
}

/// An option (RFC 4861, section 4.6.1), as long as that of an Ethernet address.
#[repr(C, packed)]
pub(crate) struct LinkLayerAddress {
    pub(crate) kind: u8,
    /// Of the whole option, in units of 8 bytes.
    pub(crate) len: u8,
    pub(crate) address: [u8; 6],
}

/// An advertisement with one option, the target's link-layer address.
#[repr(C, packed)]
pub(crate) struct Advertisement {
    pub(crate) header: Neighbour,
    pub(crate) target: LinkLayerAddress,
}

// SAFETY: `repr(C, packed)`, made of numbers and arrays of them.
unsafe impl Header for Neighbour {}
// SAFETY: as above.
unsafe impl Header for LinkLayerAddress {}
// SAFETY: as above.
unsafe impl Header for Advertisement {}

/// Bytes of a message without options, and of an option at least. All options are multiples of that.
pub(crate) const MESSAGE_LEN: usize = size_of::<Neighbour>() - size_of::<Ipv6>();
pub(crate) const OPTION_LEN: usize = size_of::<LinkLayerAddress>();
/// Longest options that are read, in units of [`OPTION_LEN`]; stacks send one or two.
const MAX_OPTIONS: usize = 8;
/// Offset of the first thing that a checksum covers.
pub(crate) const ADDRESSES: usize = core::mem::offset_of!(Ipv6, source);
/// The bytes from there to the options.
pub(crate) type Covered = [u8; size_of::<Neighbour>() - ADDRESSES];

/// Hop limit of all neighbour discovery: who is not on the segment cannot send it.
pub(crate) const HOP_LIMIT: u8 = 255;
/// ff02::1:ff00:0/104, without the last 24 bits.
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000 >> 24;

impl Neighbour {
    /// `kind` of an advertisement.
    pub(crate) const ADVERTISEMENT: u8 = 136;
    const SOLICITATION: u8 = 135;
    /// `flags` of an advertisement: of a router; in answer to a solicitation; in place of what was known.
    pub(crate) const ROUTER: u32 = 1 << 31;
    pub(crate) const SOLICITED: u32 = 1 << 30;
    pub(crate) const OVERRIDE: u32 = 1 << 29;

    #[inline(always)]
    pub(crate) fn is_solicitation(&self) -> bool {
        self.kind == Self::SOLICITATION
    }

    #[inline(always)]
    pub(crate) fn is_advertisement(&self) -> bool {
        self.kind == Self::ADVERTISEMENT
    }

    /// Whether this is of a station that has no address yet, and asks if anybody has the target (RFC 4862, section
    /// 5.4.2).
    #[inline(always)]
    pub(crate) fn is_probe(&self) -> bool {
        self.is_solicitation() && is_unspecified(self.ipv6.source)
    }

    /// The address that the sender says it has, or means to have.
    #[inline(always)]
    pub(crate) fn claimed(&self) -> [u8; 16] {
        if self.is_solicitation() && !is_unspecified(self.ipv6.source) {
            self.ipv6.source
        } else {
            self.target
        }
    }

    /// RFC 4861, sections 7.1.1 and 7.1.2, but for lengths, checksum and options. A source that is a group has no
    /// right to be one (RFC 4291, section 2.7).
    #[inline(always)]
    fn is_sensible(&self) -> bool {
        let Ipv6 { hop_limit, source, destination, .. } = self.ipv6;
        let is_addressed = if self.is_advertisement() {
            !is_multicast(destination) || self.flags.get() & Self::SOLICITED == 0
        } else {
            !is_unspecified(source) || u128::from_be_bytes(destination) >> 24 == SOLICITED_NODE
        };
        self.ipv6.is_version_6()
            && hop_limit == HOP_LIMIT
            && self.code == 0
            && !is_multicast(self.target)
            && !is_multicast(source)
            && is_addressed
    }
}

impl LinkLayerAddress {
    /// `kind` of the target's.
    pub(crate) const TARGET: u8 = 2;
    const SOURCE: u8 = 1;
}

/// Whether this is no station's address, "::".
#[inline(always)]
pub(crate) fn is_unspecified(address: [u8; 16]) -> bool {
    u128::from_ne_bytes(address) == 0
}

/// Whether an address is a multicast group (RFC 4291, section 2.7).
#[inline(always)]
pub(crate) fn is_multicast(address: [u8; 16]) -> bool {
    address[0] == 0xff
}

/// The MAC address that the sender of the message behind the IPv6 header at this offset has: the one that the message
/// names, or else that which it came from. `None` if the message is not valid.
#[inline(always)]
pub(crate) fn sender(packet: &Packet<'_>, offset: usize) -> Option<Mac> {
    match sender_bits(packet, offset) {
        INVALID => None,
        bits => Some(Mac::from_bits(bits)),
    }
}

/// No MAC address.
const INVALID: u64 = u64::MAX;

/// A function of its own, as the next one: where it was left does not matter to the verifier then. What functions give
/// has to fit a register.
#[inline(never)]
fn sender_bits(packet: &Packet<'_>, offset: usize) -> u64 {
    check(packet, offset).map_or(INVALID, Mac::to_bits)
}

#[inline(always)]
fn check(packet: &Packet<'_>, offset: usize) -> Option<Mac> {
    let message = packet.at::<Neighbour>(offset)?;
    let len = message.ipv6.payload_len.get();
    let options_len = usize::from(len).checked_sub(MESSAGE_LEN)?;
    if options_len > MAX_OPTIONS * OPTION_LEN
        || !options_len.is_multiple_of(OPTION_LEN)
        || !message.is_sensible()
    {
        return None;
    }
    let options = offset + size_of::<Neighbour>();
    let covered = Sum::of_pseudo_header(PROTOCOL_ICMPV6, len).and(packet.at::<Covered>(offset + ADDRESSES)?);
    if !add_options(packet, options, options_len, covered)?.is_right() {
        return None;
    }
    match source_link_layer_address(packet, options, options_len)? {
        NO_OPTION => packet.at::<Ethernet>(0).map(|ethernet| Mac::read(&ethernet.source)),
        // A station without an address has none to name.
        _ if message.is_probe() => None,
        at => packet.at::<LinkLayerAddress>(at).map(|option| Mac::read(&option.address)),
    }
}

/// The sum with the options; `None` if the frame ends before they do.
#[inline(always)]
fn add_options(packet: &Packet<'_>, start: usize, len: usize, mut sum: Sum) -> Option<Sum> {
    for number in 0..MAX_OPTIONS {
        let at = number * OPTION_LEN;
        if at >= len {
            break;
        }
        sum = sum.and(packet.at::<[u8; OPTION_LEN]>(start + at)?);
    }
    Some(sum)
}

/// Where no option is. A number, as with [`NO_PORT`](super::NO_PORT).
const NO_OPTION: usize = 0;

/// Where the first option of that kind is, or [`NO_OPTION`]; `None` if the options are not as they must be: each has
/// a length, and all of them end where the message does.
#[inline(never)]
fn source_link_layer_address(packet: &Packet<'_>, start: usize, len: usize) -> Option<usize> {
    let mut at = 0;
    let mut found = NO_OPTION;
    for _ in 0..MAX_OPTIONS {
        if at >= len {
            break;
        }
        let option = packet.at::<LinkLayerAddress>(start + at)?;
        if option.len == 0 {
            return None;
        }
        if option.kind == LinkLayerAddress::SOURCE && found == NO_OPTION {
            // RFC 2464, section 6: an Ethernet address takes one unit.
            if option.len != 1 {
                return None;
            }
            found = start + at;
        }
        at += usize::from(option.len) * OPTION_LEN;
    }
    if at == len { Some(found) } else { None }
}
