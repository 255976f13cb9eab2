//! What leaves this node: nothing from a VIP that another node serves. Late resets of a former holder would break the
//! connections that clients have with the next one.

use aya_ebpf::programs::TcContext;
use vip_common::maps::Group;
use vip_common::wire::Be16;

use crate::decide::{group_of, group_of6, holds};
use crate::maps::CONFIG;
use crate::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAX_TAGS, is_vlan_tag};
use crate::tee;

/// Where the EtherType is in a frame without VLAN tags.
const ETHERTYPE: usize = 12;
const TAG: usize = 4;
/// Where the source address is behind the EtherType of an IPv4 packet, and of one of IPv6.
const IPV4_SOURCE: usize = 2 + 12;
const IPV6_SOURCE: usize = 2 + 8;

/// An IPv6 address on the stack: read in words, which the verifier wants at their alignment there.
#[repr(C, align(8))]
struct Address6([u8; 16]);

/// Whether a packet may leave. One from a VIP may if this node serves that; or has just given it away, since then answers to
/// what came before are under way; but not once it has copies of what the next holder answers.
#[inline(always)]
pub(crate) fn may_leave(context: &TcContext) -> bool {
    let Some((slot, group)) = group_of_source(context) else { return true };
    holds(group) || tee::gives_away(group) && !tee::follows(slot)
}

/// The group of the VIP that sends an IP packet, with its slot, if one does.
#[inline(always)]
fn group_of_source(context: &TcContext) -> Option<(u32, *mut Group)> {
    let mut offset = ETHERTYPE;
    let mut ethertype = context.load::<Be16>(offset).ok()?.get();
    for _ in 0..MAX_TAGS {
        if !is_vlan_tag(ethertype) {
            break;
        }
        offset += TAG;
        ethertype = context.load::<Be16>(offset).ok()?.get();
    }
    match ethertype {
        ETHERTYPE_IPV4 => {
            let (vip, group) = group_of(CONFIG.get(0)?, context.load(offset + IPV4_SOURCE).ok()?)?;
            Some((vip.slot.into(), group))
        }
        ETHERTYPE_IPV6 => {
            let Address6(address) = context.load(offset + IPV6_SOURCE).ok()?;
            let (vip, group) = group_of6(CONFIG.get(0)?, address)?;
            Some((vip.slot.into(), group))
        }
        _ => None,
    }
}
