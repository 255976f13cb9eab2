//! The XDP data plane: answers ARP and NDP for the VIPs that this node holds, fences those that it does not, and
//! votes on leases, all in the driver and all gated by one lease word per group.
//!
//! The way of a frame: [`parse`] tells what it is, [`decide`] (with [`vote`] for lease messages, [`advert`] for VRRP) what becomes of it,
//! [`act`] does that. Whatever is not ours, or in doubt, passes.
//!
//! The crate compiles for the host as well, so that lints see it; there it does nothing.
#![no_std]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the BPF target has no stable 64-bit compare-and-swap")
)]

mod act;
mod advert;
mod copies;
mod decide;
mod egress;
mod mac;
mod maps;
mod parse;
mod shared;
mod tables;
mod tee;
mod tell;
mod verdict;
mod vote;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use vip_common::maps::Counter;

use crate::maps::CONFIG;
use crate::parse::Packet;

/// Handles one received frame.
#[xdp]
#[inline(always)]
fn vip_xdp(context: XdpContext) -> u32 {
    // An array has all of its entries.
    let Some(config) = CONFIG.get(0) else { return XDP_PASS };
    let mut packet = Packet::new(&context, config);
    let frame = parse::frame(&packet);
    if let Some(fate) = decide::traffic(&packet, &frame) {
        return act::let_be(&mut packet, &fate);
    }
    let verdict = decide::frame(&packet, &frame);
    tell::decision(&packet, &frame, &verdict);
    act::carry_out(&mut packet, verdict)
}

/// Handles one packet that is about to leave, with its Ethernet header. Other programs have their say after this one.
#[classifier]
#[inline(always)]
fn vip_egress(context: TcContext) -> i32 {
    if egress::may_leave(&context) {
        return TC_ACT_UNSPEC;
    }
    act::count(Counter::VipSilenced);
    TC_ACT_SHOT
}

/// Handles one packet that XDP has let in, with its Ethernet header. It goes on as it came.
#[classifier]
#[inline(always)]
fn vip_tee(context: TcContext) -> i32 {
    copies::send(&context);
    TC_ACT_UNSPEC
}

/// Unreachable: nothing in the program panics, and the verifier would refuse the loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// For its panic handler.
#[cfg(not(target_arch = "bpf"))]
extern crate std;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The kernel lends its GPL-only helpers to this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
