//! The order in which the kernel lets go of what a process had open when it is killed.
//!
//! It goes from the highest descriptor down: `close_files` (fs/file.c) puts off each release from the lowest up, and
//! `task_work_run` (kernel/task_work.c) takes what was put off last first, since Linux 4.4. Each packet socket makes it wait
//! for an RCU grace period, some ten milliseconds, in which a next daemon could not have what this one still holds.

use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};

/// Higher than descriptors that nobody moves, and lower than their usual limit of 1024.
const HIGH: i32 = 256;

/// Moves a descriptor up, so that it is let go of before all that were opened, or moved, before it. It stays where it
/// is if it cannot be moved: then a next daemon waits for longer.
pub(crate) fn release_early<T: From<OwnedFd> + Into<OwnedFd>>(file: T) -> T {
    let low = file.into();
    match fcntl(&low, FcntlArg::F_DUPFD_CLOEXEC(HIGH)) {
        // SAFETY: the kernel has just made this descriptor, for this caller alone.
        Ok(high) => unsafe { OwnedFd::from_raw_fd(high) }.into(),
        Err(_) => low.into(),
    }
}
