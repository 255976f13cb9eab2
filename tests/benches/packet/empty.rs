//! The program that does nothing, for the others to be measured against: what is left is what the kernel takes for a run.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use vip_tests::lab::program_that_passes;

/// `return XDP_PASS;` in the kernel.
pub(crate) struct Empty(OwnedFd);

/// Of enum bpf_cmd in linux/bpf.h.
const PROG_TEST_RUN: libc::c_int = 10;

/// The part of union bpf_attr that it takes; it has no padding.
#[derive(Default)]
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

impl Empty {
    pub(crate) fn load() -> Result<Self> {
        program_that_passes().map(Self)
    }

    /// As `Program::time`.
    pub(crate) fn time(&self, frame: &[u8], times: u32) -> io::Result<Duration> {
        let mut attr = TestRunAttr {
            prog_fd: u32::try_from(self.0.as_raw_fd()).map_err(io::Error::other)?,
            data_size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
            data_in: frame.as_ptr().expose_provenance() as u64,
            repeat: times,
            ..TestRunAttr::default()
        };
        // SAFETY: the attribute is that of the command, and what it points to outlives the call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut attr, size_of::<TestRunAttr>()) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(Duration::from_nanos(attr.duration.into()))
        }
    }
}
