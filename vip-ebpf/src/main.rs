//! The XDP data plane: answers ARP for the VIPs that this node holds, fences those that it does not, and votes on
//! leases, all in the driver and all gated by one lease word per group.
//!
//! The way of a frame: [`parse`] tells what it is, [`decide`] (with [`vote`] for lease messages) what becomes of it,
//! [`act`] does that. Whatever is not ours, or in doubt, passes.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the BPF target has no stable 64-bit compare-and-swap")]

mod act;
mod decide;
mod maps;
mod parse;
mod verdict;
mod vote;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::parse::Packet;

/// Handles one received frame.
#[xdp]
pub fn vip_xdp(context: XdpContext) -> u32 {
    let packet = Packet::new(&context);
    let verdict = decide::frame(&packet, parse::frame(&packet));
    act::carry_out(&packet, verdict)
}

/// Unreachable: nothing in the program panics, and the verifier would refuse the loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends its GPL-only helpers to this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
