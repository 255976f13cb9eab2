//! Adverts of VRRP: those of virtual routers that the daemon listens to go up to it if they are as RFC 9568, section 7.1, has
//! them, and no further if not. The rules are [`vip_common::vrrp`]'s; the daemon applies them again, since nothing of this comes
//! before a socket where the program is not, and fragments are whole only there.

use core::hint::black_box;
use core::ptr;

use aya_ebpf::helpers::generated::bpf_csum_diff;
use vip_common::checksum::Sum;
use vip_common::maps::{Counter, Vrids};
use vip_common::vrrp::{self, Family, Invalid, adds_up};

use crate::decide::served;
use crate::maps::VRIDS;
use crate::parse::{Ip, Ipv4, Ipv6, Packet, Version};
use crate::verdict::Verdict;

/// Decides on a packet of VRRP.
#[inline(always)]
pub(crate) fn verdict(packet: &Packet<'_>, ip: Ip) -> Verdict {
    let Some(message) = message(packet, ip) else { return Verdict::pass(Counter::Other) };
    let (Some(header), Some(vrids)) = (packet.at::<vrrp::Header>(message.start), vrids(packet)) else {
        return Verdict::pass(Counter::Other);
    };
    if !vrids.has_any(message.family, header.vrid) {
        return Verdict::pass(Counter::Other);
    }
    match check(packet, &message, header, vrids) {
        Ok(()) => Verdict::pass(Counter::VrrpAdvert),
        Err(invalid) => Verdict::drop(invalid.into()),
    }
}

/// A message of VRRP, and how it came.
struct Message {
    family: Family,
    ttl: u8,
    start: usize,
    len: usize,
    /// Of all that is not in the message.
    pseudo_header: Sum,
}

/// `None` for fragments, which the stack puts together, and for packets that it does not take.
#[inline(always)]
fn message(packet: &Packet<'_>, ip: Ip) -> Option<Message> {
    let Ip { version, offset } = ip;
    match version {
        Version::V4 => {
            let ipv4 = packet.at::<Ipv4>(offset)?;
            let (total_len, header_len) = (usize::from(ipv4.total_len.get()), ipv4.header_len());
            if ipv4.is_fragment() || header_len < size_of::<Ipv4>() || total_len < header_len {
                return None;
            }
            let len = total_len - header_len;
            let addresses = packet.at::<[u8; 8]>(offset + size_of::<Ipv4>() - 8)?;
            let pseudo_header = pseudo_header(len).and(addresses);
            Some(Message {
                family: Family::V4,
                ttl: ipv4.ttl,
                start: offset + header_len,
                len,
                pseudo_header,
            })
        }
        Version::V6 => {
            let ipv6 = packet.at::<Ipv6>(offset)?;
            let len = usize::from(ipv6.payload_len.get());
            let addresses = packet.at::<[u8; 32]>(offset + size_of::<Ipv6>() - 32)?;
            let pseudo_header = pseudo_header(len).and(addresses);
            let start = offset + size_of::<Ipv6>();
            Some(Message { family: Family::V6, ttl: ipv6.hop_limit, start, len, pseudo_header })
        }
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "from a field of 16 bits")]
fn pseudo_header(len: usize) -> Sum {
    Sum::of_pseudo_header(vrrp::PROTOCOL, len as u16)
}

/// Those on the interface that the frame came in on.
#[inline(always)]
fn vrids(packet: &Packet<'_>) -> Option<&'static Vrids> {
    VRIDS.get(served(packet)?.number.into())
}

#[inline(always)]
fn check(
    packet: &Packet<'_>,
    message: &Message,
    header: &vrrp::Header,
    vrids: &Vrids,
) -> Result<(), Invalid> {
    let Message { family, ttl, start, len, pseudo_header } = *message;
    if (packet.len() as usize) < start + len {
        return Err(Invalid::Length);
    }
    let version = header.check(family, ttl, len)?;
    if !vrids.has(family, version, header.vrid) {
        return Err(Invalid::Version);
    }
    if !adds_up(version, family, sum(packet, start, len), pseudo_header) {
        return Err(Invalid::Checksum);
    }
    Ok(())
}

/// Of this part of the frame, a multiple of 4 bytes and less than 4 KiB. The kernel sums up parts of sizes that are known: each
/// bit of `len` is one, the larger ones first. The verifier would go through all rounds of a loop in place of that, for every
/// place where an IP header can be.
#[inline(never)]
fn sum(packet: &Packet<'_>, start: usize, len: usize) -> Sum {
    const { assert!(vrrp::MAX_LEN < 4096) };
    // The compiler is not to know how small this is: it would add by "or", after which Linux 6.1 knows no bounds.
    let (start, len) = (black_box(start), len & 0xffc);
    let sum = part::<2048>(packet, start, len, 0);
    let sum = part::<1024>(packet, start, len, sum);
    let sum = part::<512>(packet, start, len, sum);
    let sum = part::<256>(packet, start, len, sum);
    let sum = part::<128>(packet, start, len, sum);
    let sum = part::<64>(packet, start, len, sum);
    let sum = part::<32>(packet, start, len, sum);
    let sum = part::<16>(packet, start, len, sum);
    let sum = part::<8>(packet, start, len, sum);
    let sum = part::<4>(packet, start, len, sum);
    Sum::from(sum)
}

/// Most bytes that the kernel sums up at a time (before Linux 6.13, net/core/filter.c).
const MOST: usize = 512;

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "512 bytes at most; a sum of 32 bits, since no length is wrong"
)]
fn part<const LEN: usize>(packet: &Packet<'_>, start: usize, len: usize, mut sum: u32) -> u32 {
    if len & LEN == 0 {
        return sum;
    }
    let larger_ones = len & !(2 * LEN - 1);
    let Some(bytes) = packet.at::<[u8; LEN]>(start + larger_ones) else { return sum };
    for block in bytes.chunks(MOST) {
        let (words, len) = (block.as_ptr().cast_mut().cast::<u32>(), block.len() as u32);
        // SAFETY: reads `len` bytes of the frame, a multiple of 4.
        sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, words, len, sum) } as u32;
    }
    sum
}
