//! Making a thread punctual: real-time priority, locked memory, exact timers.
//!
//! Each of these is a wish: without the privilege the thread works all the same, only later under load. Callers log
//! the refusal and go on.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;

/// Puts the calling thread under SCHED_FIFO at `priority` (1 to 99). Processes and threads that it starts do not
/// inherit it.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_NICE or a sufficient RLIMIT_RTPRIO; `InvalidInput` for a priority out of range.
pub fn realtime(priority: i32) -> io::Result<()> {
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // The system's call, since musl's function of that name does nothing. Its structure has the priority alone.
    // SAFETY: the pointer is to a live, initialised number, which the call only reads; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the memory of the whole process from being swapped out, present and future, each page from its first use
/// on: what is reserved but never touched (stacks, arenas) costs nothing.
///
/// # Errors
/// `PermissionDenied` or `OutOfMemory` without CAP_IPC_LOCK or a sufficient RLIMIT_MEMLOCK.
pub fn lock_memory() -> io::Result<()> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(())
}

/// Lets the calling thread's timers expire on time: the kernel otherwise delays them by up to 50 µs to save
/// wake-ups. Without effect under SCHED_FIFO, whose timers are exact already.
///
/// # Errors
/// None are known; the kernel refuses only what it does not support.
pub fn exact_timers() -> io::Result<()> {
    prctl::set_timerslack(1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_out_of_range_is_an_error() {
        for priority in [0, 100] {
            assert_eq!(realtime(priority).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
