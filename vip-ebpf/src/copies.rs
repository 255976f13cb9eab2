//! The holder's side of the tee: a copy of each of its datagrams for each standby, made where packets come up from XDP. See
//! [`crate::tee`] for why none is made twice.

use aya_ebpf::programs::TcContext;
use vip_common::maps::{Counter, Group, MAX_STANDBYS, Standbys, Tee};

use crate::act::count;
use crate::decide::{group_of, group_of6, is_home};
use crate::mac::Mac;
use crate::maps::{CONFIG, STANDBYS};
use crate::parse::{
    self, Bytes, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Header, Ip, Ipv4, Ipv6, NO_PORT, Version,
};
use crate::shared::shared;
use crate::tables;
use crate::tee::{self, UNMATCHED};

/// What of a frame is looked at: Ethernet, two tags, the longest IPv4 header, UDP.
const LOOKED_AT: u32 = 14 + 2 * 4 + 60 + 8;
/// `pkt_type` of what is for another host's MAC address, which the stack drops (include/uapi/linux/if_packet.h).
const OTHERHOST: u32 = 3;

/// A frame in a socket buffer.
struct Skb<'a>(&'a TcContext);

impl Bytes for Skb<'_> {
    #[inline(always)]
    fn at<T: Header>(&self, offset: usize) -> Option<&T> {
        // SAFETY: within the frame, which nobody changes while this is borrowed.
        self.address::<T>(offset).map(|address| unsafe { &*(address as *const T) })
    }
}

impl Skb<'_> {
    #[inline(always)]
    fn address<T: Header>(&self, offset: usize) -> Option<usize> {
        let start = self.0.data() + offset;
        if start + size_of::<T>() > self.0.data_end() { None } else { Some(start) }
    }

    /// The frame's own header, to be rewritten.
    #[inline(always)]
    fn ethernet_mut(&mut self) -> Option<&mut Ethernet> {
        // SAFETY: as in `at`; the kernel has made the buffer this program's own, since it writes to it.
        self.address::<Ethernet>(0).map(|address| unsafe { &mut *(address as *mut Ethernet) })
    }
}

/// A datagram that is to be copied: who gets it, the tee's numbers, and the interface's own address.
struct Wanted {
    standbys: *mut Standbys,
    tee: *mut Tee,
    own: Mac,
}

/// Sends copies of what a packet has, if it is a datagram of a tee that this node serves. The packet stays as it is.
#[inline(always)]
pub(crate) fn send(context: &TcContext) {
    if let Some(wanted) = wanted(context) {
        send_to_all(context, &wanted);
    }
}

#[inline(always)]
fn wanted(context: &TcContext) -> Option<Wanted> {
    // SAFETY: the kernel gave this context.
    if unsafe { (*context.skb.skb).pkt_type } == OTHERHOST {
        return None;
    }
    make_readable(context)?;
    let skb = Skb(context);
    let config = CONFIG.get(0)?;
    let ip = ip(&skb)?;
    let (slot, group) = match ip.version {
        Version::V4 => {
            group_of(config, skb.at::<Ipv4>(ip.offset)?.destination).map(|(vip, group)| (vip.slot, group))
        }
        Version::V6 => {
            group_of6(config, skb.at::<Ipv6>(ip.offset)?.destination).map(|(vip, group)| (vip.slot, group))
        }
    }?;
    let interface = &tables::served(config, index(context))?.interface;
    let standbys = STANDBYS.get_ptr_mut(slot.into())?;
    if shared!(standbys, ports).load() == 0 || !is_home(interface) || !is_clients(&skb, group, standbys)? {
        return None;
    }
    let tee = match tee::port(&skb, ip) {
        NO_PORT => None,
        UNMATCHED => {
            count(Counter::TeeUnmatched);
            None
        }
        port => tee::tee(slot.into(), port),
    }?;
    Some(Wanted { standbys, tee, own: Mac::read(&interface.mac) })
}

/// Of the interface.
#[inline(always)]
fn index(context: &TcContext) -> u32 {
    // SAFETY: the kernel gave this context.
    unsafe { (*context.skb.skb).ifindex }
}

/// Whether this node serves a packet that a client has sent.
#[inline(always)]
fn is_clients(skb: &Skb<'_>, group: *mut Group, standbys: *mut Standbys) -> Option<bool> {
    let source = Mac::read(&skb.at::<Ethernet>(0)?.source);
    Some(tee::served_lately(group) && !tee::is_copy(group, standbys, source))
}

/// Has the headers in the buffer's own memory, where drivers leave them in pages.
#[inline(always)]
fn make_readable(context: &TcContext) -> Option<()> {
    let len = context.len().min(LOOKED_AT);
    if context.data() + len as usize > context.data_end() {
        context.pull_data(len).ok()?;
    }
    Some(())
}

/// Where the IP header is. VLAN tags are looked through; the outermost may be beside the frame.
#[inline(always)]
fn ip(skb: &Skb<'_>) -> Option<Ip> {
    let (ethertype, offset) = parse::behind_tags(skb)?;
    match ethertype {
        ETHERTYPE_IPV4 => Some(Ip { version: Version::V4, offset }),
        ETHERTYPE_IPV6 => Some(Ip { version: Version::V6, offset }),
        _ => None,
    }
}

/// Each copy shares the datagram's memory and goes through the way out's own queue: what has no room there is lost, counted, and
/// holds up nobody. Then the frame has its own addresses again.
#[inline(always)]
fn send_to_all(context: &TcContext, wanted: &Wanted) {
    let mut skb = Skb(context);
    let Some(ethernet) = skb.at::<Ethernet>(0) else { return };
    let (destination, source) = (Mac::read(&ethernet.destination), Mac::read(&ethernet.source));
    for place in 0..MAX_STANDBYS {
        let standby = tee::standby(wanted.standbys, place);
        if standby == Mac::NONE {
            continue;
        }
        if address(&mut skb, standby, wanted.own).is_none() {
            return;
        }
        if context.clone_redirect(index(context), 0).is_ok() {
            count(Counter::TeeCopied);
            tee::add_one(shared!(wanted.tee, copied));
        } else {
            count(Counter::TeeFailed);
            tee::add_one(shared!(wanted.tee, failed));
        }
    }
    // A frame that cannot be written to any more has been cut short by nobody: its headers were there before.
    let _ = address(&mut skb, destination, source);
}

#[inline(always)]
fn address(skb: &mut Skb<'_>, destination: Mac, source: Mac) -> Option<()> {
    let ethernet = skb.ethernet_mut()?;
    destination.write(&mut ethernet.destination);
    source.write(&mut ethernet.source);
    Some(())
}
