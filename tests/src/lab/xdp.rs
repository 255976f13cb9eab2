//! An XDP program that passes everything: on a port of the switch it is what it takes for a veth to accept the frames
//! that its peer sends by XDP_TX, on a node it takes the place of the daemon's program, as other software would. And the time
//! that programs take.
//!
//! Two instructions need neither a compiler nor a loader library, so this speaks bpf(2) itself.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use crate::net::in_netns;

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
    let attributes = LinkDetach { link_fd: u32::try_from(link.as_raw_fd())? };
    bpf(BPF_LINK_DETACH, &attributes).context("BPF_LINK_DETACH").map(drop)
}

/// Puts a program that passes everything in the place of the one whose link is pinned at `pin`.
pub(super) fn replace(pin: &Path) -> Result<()> {
    let (link, program) = (open_pin(pin)?, load(Verdict::Pass)?);
    let attributes = LinkUpdate {
        link_fd: u32::try_from(link.as_raw_fd())?,
        new_prog_fd: u32::try_from(program.as_raw_fd())?,
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &attributes).context("BPF_LINK_UPDATE").map(drop)
}

/// A program that passes everything, on no interface.
pub fn program_that_passes() -> Result<OwnedFd> {
    load(Verdict::Pass)
}

/// Has the kernel take the time of every BPF program on the machine, until the result is dropped. It is in the `fdinfo` of a
/// program's descriptors, as `run_time_ns`; taking it adds some tens of ns to each run.
pub fn time_programs() -> Result<OwnedFd> {
    let attributes = EnableStats { kind: BPF_STATS_RUN_TIME };
    bpf(BPF_ENABLE_STATS, &attributes).and_then(descriptor).context("BPF_ENABLE_STATS")
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

/// `struct bpf_insn`; `registers` is the destination in the low and the source in the high four bits.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads; it has no padding.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE reads; it has no padding.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_OBJ_GET reads; it has no padding.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
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

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_ENABLE_STATS: libc::c_long = 32;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_STATS_RUN_TIME: u32 = 0;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_ALU64_MOV_K: u8 = 0xb7;
const BPF_JMP_EXIT: u8 = 0x95;

fn load(verdict: Verdict) -> Result<OwnedFd> {
    let instructions = [
        Instruction { code: BPF_ALU64_MOV_K, registers: 0, offset: 0, immediate: verdict as i32 },
        Instruction { code: BPF_JMP_EXIT, registers: 0, offset: 0, immediate: 0 },
    ];
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(instructions.len())?,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: c"Dual MIT/GPL".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"pass_all\0\0\0\0\0\0\0\0",
        prog_ifindex: 0,
        // As the daemon's: a link takes no program with another one.
        expected_attach_type: BPF_XDP,
    };
    bpf(BPF_PROG_LOAD, &attributes).and_then(descriptor).context("BPF_PROG_LOAD")
}

/// The attachment ends when the link's last descriptor is closed. Looks `interface` up in the thread's namespace.
fn link(program: &OwnedFd, interface: u32) -> Result<OwnedFd> {
    let attributes = LinkCreate {
        prog_fd: u32::try_from(program.as_raw_fd())?,
        target_ifindex: interface,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    bpf(BPF_LINK_CREATE, &attributes).and_then(descriptor).context("BPF_LINK_CREATE")
}

fn open_pin(pin: &Path) -> Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = ObjectGet { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    let opened = bpf(BPF_OBJ_GET, &attributes).and_then(descriptor);
    opened.with_context(|| format!("cannot open the pin {}", pin.display()))
}

/// Calls bpf(2); gives its result.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live value without padding, and the addresses in it are
    // of values that live until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The result of a command that makes or opens something.
fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, time::Duration};

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
