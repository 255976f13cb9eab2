//! Until when programs may still go by what a map said before.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::syscall::{bpf, descriptor, number};

/// Waits until every run of a program that has begun by now is over: some milliseconds, and more on a busy machine.
///
/// The kernel does that before an update of an array of maps returns, so that user space can do as it likes with the map that
/// was there before (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c, Linux 5.0). Here there is nothing else to it: the
/// array is one that no program has, and `map` is any array without locks.
///
/// # Errors
/// The kernel's.
pub(super) fn wait_for_runs(map: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct MapUpdate {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
    let array = array_of(map)?;
    let (key, value) = (0_u32, number(map)?);
    let attributes = MapUpdate {
        map: number(array.as_fd())?,
        padding: 0,
        key: (&raw const key).expose_provenance() as u64,
        value: (&raw const value).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: of this command; the kernel reads the key and the value, four bytes each, which outlive the call.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// A new array with room for one such map.
fn array_of(map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct MapCreate {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map: u32,
    }
    const BPF_MAP_CREATE: libc::c_int = 0;
    const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
    let attributes = MapCreate {
        map_type: BPF_MAP_TYPE_ARRAY_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
        inner_map: number(map)?,
    };
    // SAFETY: of this command; they point to nothing.
    let made = unsafe { bpf(BPF_MAP_CREATE, &attributes) }?;
    // SAFETY: the result of a command that opens what it makes.
    unsafe { descriptor(made) }
}
