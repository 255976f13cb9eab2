//! What leaves this node: nothing from a VIP that another node serves. Late resets of a former holder would break the
//! connections that clients have with the next one.

use aya_ebpf::programs::TcContext;
use vip_common::maps::Stale;
use vip_common::wire::Be16;

use crate::decide::{group_of, holds};
use crate::parse::{ETHERTYPE_IPV4, MAX_TAGS, is_vlan_tag};
use crate::shared::shared;

/// Where the EtherType is in a frame without VLAN tags.
const ETHERTYPE: usize = 12;
const TAG: usize = 4;
/// Where the source address is behind the EtherType of an IPv4 packet.
const IPV4_SOURCE: usize = 2 + 12;

/// Whether a packet may leave. One from a VIP may if this node serves that; or has just given it away, since then answers to
/// what came before are under way.
#[inline(always)]
pub(crate) fn may_leave(context: &TcContext) -> bool {
    let Some((_, group)) = source(context).and_then(group_of) else { return true };
    holds(group) || shared!(group, stale).load() == Stale::Keep as u32
}

/// Who sends an IPv4 packet.
#[inline(always)]
fn source(context: &TcContext) -> Option<[u8; 4]> {
    let mut offset = ETHERTYPE;
    let mut ethertype = context.load::<Be16>(offset).ok()?.get();
    for _ in 0..MAX_TAGS {
        if !is_vlan_tag(ethertype) {
            break;
        }
        offset += TAG;
        ethertype = context.load::<Be16>(offset).ok()?.get();
    }
    if ethertype != ETHERTYPE_IPV4 {
        return None;
    }
    context.load(offset + IPV4_SOURCE).ok()
}
