//! CLOCK_BOOTTIME, the clock of all leases: it goes on during suspend, and nobody sets it.

use nix::time::{ClockId, clock_gettime};

/// Now, in ns since the machine's start. No system call: the vDSO reads it.
///
/// # Panics
/// Never: the clock exists since Linux 2.6.39, and shows no negative time.
#[expect(clippy::expect_used, reason = "a node without its clock can hold nothing, and must not guess")]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME is always there");
    let seconds = u64::try_from(time.tv_sec()).expect("the time since the start is not negative");
    let nanoseconds = u64::try_from(time.tv_nsec()).expect("nanoseconds are not negative");
    seconds * 1_000_000_000 + nanoseconds
}
