//! bpf(2) as the test bed needs it: programs of a few instructions, which take neither a compiler nor a loader library.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};

/// `struct bpf_insn`; `registers` is the destination in the low and the source in the high four bits.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u8,
    /// With which registers.
    pub registers: u8,
    /// Where in memory, or how many instructions to jump over.
    pub offset: i16,
    /// The number that it takes.
    pub immediate: i32,
}

impl Instruction {
    /// `destination = number`.
    pub const fn set(destination: u8, number: i32) -> Self {
        Self { code: 0xb7, registers: destination, offset: 0, immediate: number }
    }

    /// The end of the program, with what register 0 holds.
    pub const EXIT: Self = Self { code: 0x95, registers: 0, offset: 0, immediate: 0 };
}

/// `map_type` of an array, and of an array of programs.
pub const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;
/// `map_flags` of a map that user space can have in its memory (BPF_F_MMAPABLE).
pub const MAPPABLE: u32 = 1 << 10;

/// The part of `union bpf_attr` that BPF_MAP_CREATE reads.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The part of `union bpf_attr` that BPF_MAP_UPDATE_ELEM reads; it has no padding.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
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

/// The part of `union bpf_attr` that BPF_OBJ_GET reads; it has no padding.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN takes; it has no padding.
#[derive(Default)]
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;
pub(crate) const BPF_XDP: u32 = 37;

/// Loads an XDP program, on no interface yet; a name has at most 15 bytes.
///
/// # Errors
/// When the kernel refuses it.
pub fn load(name: &str, instructions: &[Instruction]) -> Result<OwnedFd> {
    let mut prog_name = [0; 16];
    for (to, from) in prog_name[..15].iter_mut().zip(name.as_bytes()) {
        *to = *from;
    }
    let mut attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(instructions.len())?,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: c"Dual MIT/GPL".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
        prog_ifindex: 0,
        // As the daemon's: a link takes no program with another one.
        expected_attach_type: BPF_XDP,
    };
    bpf(BPF_PROG_LOAD, &mut attributes).and_then(descriptor).context("BPF_PROG_LOAD")
}

/// Makes a map of one entry, with a key of 32 bits.
///
/// # Errors
/// When the kernel refuses it.
pub fn create_map(map_type: u32, value_size: usize, map_flags: u32) -> Result<OwnedFd> {
    let value_size = u32::try_from(value_size)?;
    let mut attributes = MapCreate { map_type, key_size: 4, value_size, max_entries: 1, map_flags };
    bpf(BPF_MAP_CREATE, &mut attributes).and_then(descriptor).context("BPF_MAP_CREATE")
}

/// An array of one program, for tail calls.
///
/// # Errors
/// When the kernel refuses it.
pub fn program_array(program: impl AsFd) -> Result<OwnedFd> {
    let map = create_map(PROGRAM_ARRAY, size_of::<u32>(), 0)?;
    let (key, value): (u32, u32) = (0, number(&program)?);
    let mut attributes = MapUpdate {
        map_fd: number(&map)?,
        reserved: 0,
        key: (&raw const key).expose_provenance() as u64,
        value: (&raw const value).expose_provenance() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attributes).context("BPF_MAP_UPDATE_ELEM")?;
    Ok(map)
}

/// How long a program takes for a frame that came in on the loopback interface, by the kernel's clock: so many times over on
/// the same bytes, whatever it makes of them, and the mean of these.
///
/// # Errors
/// When the kernel refuses the run.
pub fn time(program: impl AsFd, frame: &[u8], times: u32) -> Result<Duration> {
    let mut attributes = TestRun {
        prog_fd: number(&program)?,
        data_size_in: u32::try_from(frame.len())?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        repeat: times,
        ..TestRun::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut attributes).context("BPF_PROG_TEST_RUN")?;
    Ok(Duration::from_nanos(attributes.duration.into()))
}

pub(crate) fn open_pin(pin: &Path) -> Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attributes = ObjectGet { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    let opened = bpf(BPF_OBJ_GET, &mut attributes).and_then(descriptor);
    opened.with_context(|| format!("cannot open the pin {}", pin.display()))
}

/// A descriptor as attributes and instructions have it.
///
/// # Errors
/// None of an open one.
pub fn number<T: TryFrom<RawFd, Error: Into<anyhow::Error>>>(descriptor: &impl AsFd) -> Result<T> {
    T::try_from(descriptor.as_fd().as_raw_fd()).map_err(Into::into)
}

/// Calls bpf(2); gives its result.
pub(crate) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes of a live value without padding, and the addresses in it
    // are of values that live until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The result of a command that makes or opens something.
pub(crate) fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
