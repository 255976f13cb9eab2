//! Maps by the bpf system call, with every field as the kernel has it: what the daemon makes of them is left out.

use std::ffi::CString;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use vip_common::maps::{Group, LockedAcceptor, LockedRenewal, Peer, Served, Vip, Vip6};

// enum bpf_cmd of linux/bpf.h.
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const OBJ_GET: libc::c_int = 7;
const MAP_LOOKUP_BATCH: libc::c_int = 24;

/// Copy the value under its spin lock (`BPF_F_LOCK`).
pub(super) const LOCKED: u64 = 4;

/// A map value.
///
/// # Safety
/// Made of integers and arrays of them, without padding: any bytes are one.
pub(super) unsafe trait Value: Copy {}

macro_rules! values {
    ($($layout:ty),+) => {
        $(
            // SAFETY: integers and arrays of them, whose sizes `vip_common::maps` checks.
            unsafe impl Value for $layout {}
        )+
    };
}
values!(u64, Served, Vip, Vip6, Group, LockedAcceptor, LockedRenewal, Peer);

/// A map with u32 keys.
pub(super) struct Map<V> {
    fd: OwnedFd,
    value: PhantomData<V>,
}

impl<V: Value> Map<V> {
    /// The map that is pinned here; the pin may go afterwards.
    pub(super) fn open(pin: &Path) -> Self {
        let path = CString::new(pin.as_os_str().as_bytes()).unwrap();
        let fd = bpf(OBJ_GET, &mut ObjectAttr { pathname: path.as_ptr() as u64, ..ObjectAttr::default() });
        let fd = fd.unwrap_or_else(|error| panic!("{}: {error}", pin.display()));
        // SAFETY: the kernel has just given this descriptor to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self { fd, value: PhantomData }
    }

    /// The value of a key that is there.
    pub(super) fn lookup(&self, key: u32, flags: u64) -> V {
        let mut value = MaybeUninit::<V>::zeroed();
        let value_at = value.as_mut_ptr() as u64;
        self.element(MAP_LOOKUP_ELEM, key, value_at, flags).unwrap();
        // SAFETY: zeroed or written by the kernel, and any bytes are a value.
        unsafe { value.assume_init() }
    }

    pub(super) fn update(&self, key: u32, value: V, flags: u64) {
        self.element(MAP_UPDATE_ELEM, key, (&raw const value) as u64, flags).unwrap();
    }

    /// All keys, at most `most`, and the values of each, `per_key` of them.
    pub(super) fn entries(&self, most: usize, per_key: usize) -> (Vec<u32>, Vec<V>) {
        let mut keys = vec![0_u32; most];
        let mut values = Vec::<V>::with_capacity(most * per_key);
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(most).unwrap(),
            map_fd: self.number(),
            ..BatchAttr::default()
        };
        match bpf(MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => {}
            // The end of the map.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => panic!("{error}"),
        }
        let count = usize::try_from(attr.count).unwrap();
        // SAFETY: the kernel has written so many values, within the capacity.
        unsafe { values.set_len(count * per_key) };
        keys.truncate(count);
        (keys, values)
    }

    fn element(&self, command: libc::c_int, key: u32, value: u64, flags: u64) -> io::Result<libc::c_int> {
        let key_at = (&raw const key) as u64;
        let mut attr = ElementAttr { map_fd: self.number(), padding: 0, key: key_at, value, flags };
        bpf(command, &mut attr)
    }

    fn number(&self) -> u32 {
        u32::try_from(self.fd.as_raw_fd()).unwrap()
    }
}

/// How many values an entry of a per-CPU map has.
pub(super) fn possible_cpus() -> usize {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = list.trim().rsplit(['-', ',']).next().unwrap();
    last.parse::<usize>().unwrap() + 1
}

// The parts of union bpf_attr.

#[derive(Default)]
#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Default)]
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attribute is that of the command, and what it points to lives in the callers' frames.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, mem::size_of::<A>()) };
    match i32::try_from(result).unwrap() {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
