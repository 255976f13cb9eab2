//! A shared object for `LD_PRELOAD`: a program that is started with it sees CLOCK_REALTIME moved by as many seconds as
//! the file says that `WALL_CLOCK` names; other clocks are what they are. See `wall_clock.rs`; `build.rs` compiles it.
//!
//! Without the standard library, whose own way to the clock is what this stands in.
#![no_std]

use core::ffi::{CStr, c_char, c_int, c_long, c_void};

/// `struct timespec`.
#[repr(C)]
pub struct TimeSpec {
    tv_sec: c_long,
    tv_nsec: c_long,
}

#[link(name = "c")]
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(file: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn close(file: c_int) -> c_int;
}

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;
const CLOCK_REALTIME: c_int = 0;
const O_RDONLY_CLOEXEC: c_int = 0o2_000_000;
const VARIABLE: &CStr = c"WALL_CLOCK";

/// In place of the C library's.
///
/// # Safety
/// As there: `time` is a place for the time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int {
    // SAFETY: the caller's pointer, which the kernel checks.
    let result = unsafe { syscall(SYS_CLOCK_GETTIME, clock, time) };
    if result != 0 {
        return -1;
    }
    if clock == CLOCK_REALTIME {
        // SAFETY: the kernel has just written there.
        let seconds = unsafe { &mut (*time).tv_sec };
        *seconds = seconds.wrapping_add(offset());
    }
    0
}

/// What the file says: a native integer; 0 if there is none.
fn offset() -> c_long {
    let mut bytes = [0; size_of::<c_long>()];
    // SAFETY: the name is terminated.
    let path = unsafe { getenv(VARIABLE.as_ptr()) };
    if path.is_null() {
        return 0;
    }
    // SAFETY: what getenv gives is terminated.
    let file = unsafe { open(path, O_RDONLY_CLOEXEC) };
    if file < 0 {
        return 0;
    }
    // SAFETY: the buffer has that length.
    let length = unsafe { read(file, bytes.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: opened above.
    unsafe { close(file) };
    if usize::try_from(length) == Ok(bytes.len()) { c_long::from_ne_bytes(bytes) } else { 0 }
}

/// Nothing here panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
