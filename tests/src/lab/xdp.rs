//! An XDP program that passes everything: on a port of the switch it is what it takes for a veth to accept the frames
//! that its peer sends by XDP_TX, on a node it takes the place of the daemon's program, as other software would. And the time
//! that programs take.

use std::{os::fd::OwnedFd, path::Path};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use crate::{
    bpf::{self, BPF_XDP, Instruction, bpf, descriptor, number, open_pin},
    net::in_netns,
};

/// Lets `port`, a veth in the namespace `netns`, accept what its peer sends by XDP_TX, until the result is dropped.
///
/// The kernel puts such frames into the port's ring, but wakes its receive poll only if the port has an XDP program
/// (`veth_xdp_flush` in drivers/net/veth.c). Generic receive offload gives the port a ring, but not the wake-up:
/// with it alone, frames stay in the ring until something else wakes the poll.
pub(super) fn accept_xdp_tx(netns: &str, port: &str) -> Result<OwnedFd> {
    attach(netns, port, Verdict::Pass)
        .with_context(|| format!("cannot attach a program to {port} in {netns}"))
}

/// Takes the program of the link that is pinned at `pin` off its interface; the link stays, on nothing.
pub(super) fn detach(pin: &Path) -> Result<()> {
    let link = open_pin(pin)?;
    let mut attributes = LinkDetach { link_fd: number(&link)? };
    bpf(BPF_LINK_DETACH, &mut attributes).context("BPF_LINK_DETACH").map(drop)
}

/// Puts a program that passes everything in the place of the one whose link is pinned at `pin`.
pub(super) fn replace(pin: &Path) -> Result<()> {
    let (link, program) = (open_pin(pin)?, load(Verdict::Pass)?);
    let mut attributes =
        LinkUpdate { link_fd: number(&link)?, new_prog_fd: number(&program)?, flags: 0, old_prog_fd: 0 };
    bpf(BPF_LINK_UPDATE, &mut attributes).context("BPF_LINK_UPDATE").map(drop)
}

/// A program that passes everything, on no interface.
pub fn program_that_passes() -> Result<OwnedFd> {
    load(Verdict::Pass)
}

/// Has the kernel take the time of every BPF program on the machine, until the result is dropped. It is in the `fdinfo` of a
/// program's descriptors, as `run_time_ns`; taking it adds some tens of ns to each run.
pub fn time_programs() -> Result<OwnedFd> {
    let mut attributes = EnableStats { kind: BPF_STATS_RUN_TIME };
    bpf(BPF_ENABLE_STATS, &mut attributes).and_then(descriptor).context("BPF_ENABLE_STATS")
}

/// What a program says of every frame: `enum xdp_action`.
#[derive(Clone, Copy)]
enum Verdict {
    Pass = 2,
    #[cfg(test)]
    Tx = 3,
}

fn attach(netns: &str, interface: &str, verdict: Verdict) -> Result<OwnedFd> {
    in_netns(netns, || link(&load(verdict)?, if_nametoindex(interface)?))
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE reads; it has no padding.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_DETACH reads.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_UPDATE reads; it has no padding.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// The part of `union bpf_attr` that BPF_ENABLE_STATS reads.
#[repr(C)]
struct EnableStats {
    kind: u32,
}

const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_ENABLE_STATS: libc::c_long = 32;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_STATS_RUN_TIME: u32 = 0;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

fn load(verdict: Verdict) -> Result<OwnedFd> {
    bpf::load("pass_all", &[Instruction::set(0, verdict as i32), Instruction::EXIT])
}

/// The attachment ends when the link's last descriptor is closed. Looks `interface` up in the thread's namespace.
fn link(program: &OwnedFd, interface: u32) -> Result<OwnedFd> {
    let mut attributes = LinkCreate {
        prog_fd: number(program)?,
        target_ifindex: interface,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    bpf(BPF_LINK_CREATE, &mut attributes).and_then(descriptor).context("BPF_LINK_CREATE")
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::fd::AsRawFd, time::Duration};

    use super::*;
    use crate::{
        flood::Flood,
        lab::Lab,
        oracle::{arp_requests, packet_socket},
        wait,
    };

    #[test]
    fn what_a_node_sends_by_xdp_tx_reaches_the_others() {
        // Input: a node that sends every frame back unchanged. Expected: the client receives its own broadcast.
        let lab = Lab::new(1).unwrap();
        let _reflector = attach(&lab.node_netns(1), "eth0", Verdict::Tx).unwrap();
        let socket = in_netns(&lab.client_netns(), || packet_socket("eth0", Some(libc::ETH_P_ARP))).unwrap();
        socket.set_nonblocking(true).unwrap();

        let mut frame = [0xff; 60];
        frame[6..12].copy_from_slice(&[0x02, 0x77, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        socket.send(&frame).unwrap();
        let received = wait::until("the frame to come back", Duration::from_secs(10), || {
            let mut received = [0; 60];
            Ok(Some((&socket).read(&mut received).map(|length| (length, received))?))
        });
        assert_eq!(received.unwrap(), (frame.len(), frame));
    }

    #[test]
    fn the_runs_of_a_program_are_counted_while_their_time_is_taken() {
        let lab = Lab::new(1).unwrap();
        let program = load(Verdict::Pass).unwrap();
        let _link = in_netns(&lab.node_netns(1), || link(&program, if_nametoindex("eth0")?)).unwrap();
        let runs = || {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
            let count = info.lines().find_map(|line| line.strip_prefix("run_cnt:")).context("no run_cnt")?;
            anyhow::Ok(count.trim().parse::<u64>()?)
        };
        let _timing = time_programs().unwrap();
        let _flood = Flood::start(&lab, arp_requests(), Duration::from_secs(10)).unwrap();
        wait::until("a run to be counted", Duration::from_secs(10), || Ok((runs()? > 0).then_some(())))
            .unwrap();
    }
}
