//! bpf(2), for what aya does not do.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// Calls it; gives its result.
///
/// # Safety
/// `attributes` is the part of `union bpf_attr` that this command reads, without padding, and what it points to is there for the
/// kernel to read, or to write where the command does.
///
/// # Errors
/// The kernel's.
pub(super) unsafe fn bpf<A>(command: libc::c_int, attributes: &A) -> io::Result<libc::c_long> {
    // SAFETY: by the contract of this function; the kernel reads so many bytes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The descriptor that a command gave.
///
/// # Safety
/// The command opens one, and this is its result.
///
/// # Errors
/// None of such a result.
pub(super) unsafe fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened the descriptor for this caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor as attributes have it.
///
/// # Errors
/// None of an open one.
pub(super) fn number(fd: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(io::Error::other)
}
