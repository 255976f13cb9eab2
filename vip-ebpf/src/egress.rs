//! What leaves this node: nothing from a VIP that another node serves. Late resets of a former holder would break the
//! connections that clients have with the next one.

use aya_ebpf::programs::TcContext;
use vip_common::maps::Group;
use vip_common::wire::Be16;

use crate::decide::{group_of, group_of6, holds, keeps};
use crate::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAX_TAGS, is_vlan_tag};

/// Where the EtherType is in a frame without VLAN tags.
const ETHERTYPE: usize = 12;
const TAG: usize = 4;
/// Where the source address is behind the EtherType: of an IPv4 packet (RFC 791), and of an IPv6 packet (RFC 8200).
const IPV4_SOURCE: usize = 2 + 12;
const IPV6_SOURCE: usize = 2 + 8;

/// Whether a packet may leave. One from a VIP may if this node serves that; or has just given it away, since then answers to
/// what came before are under way.
#[inline(always)]
pub(crate) fn may_leave(context: &TcContext) -> bool {
    source_group(context).is_none_or(|group| holds(group) || keeps(group))
}

/// The group of the VIP that a packet comes from.
#[inline(always)]
fn source_group(context: &TcContext) -> Option<*mut Group> {
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
        ETHERTYPE_IPV4 => group_of(context.load(offset + IPV4_SOURCE).ok()?).map(|(_, group)| group),
        ETHERTYPE_IPV6 => group_of6(context.load(offset + IPV6_SOURCE).ok()?).map(|(_, group)| group),
        _ => None,
    }
}
