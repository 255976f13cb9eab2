//! Real-time threads, for instruments that must be punctual and for hogs that must be rude.

use std::io;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Puts the calling thread under SCHED_FIFO at `priority` (1 to 99).
pub fn fifo(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the pointer is to a live, initialised structure, which the call only reads; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the calling thread on one processor.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}
