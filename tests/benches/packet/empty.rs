//! The program that does nothing, for the others to be measured against: what is left is what the kernel takes for a run.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// `return XDP_PASS;` in the kernel.
pub(crate) struct Empty(OwnedFd);

// enum bpf_cmd, enum bpf_prog_type and the instructions of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_XDP: u32 = 6;
const INSTRUCTIONS: [u64; 2] = [MOVE_2_TO_R0, EXIT];
const MOVE_2_TO_R0: u64 = 0x0000_0002_0000_00b7;
const EXIT: u64 = 0x0000_0000_0000_0095;

// The parts of union bpf_attr; none has padding.

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

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
    pub(crate) fn load() -> io::Result<Self> {
        let mut attr = LoadAttr {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: 2,
            insns: INSTRUCTIONS.as_ptr().expose_provenance() as u64,
            license: c"GPL".as_ptr().expose_provenance() as u64,
        };
        let fd = bpf(PROG_LOAD, &mut attr)?;
        // SAFETY: the kernel has just made this descriptor, for this caller alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
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
        bpf(PROG_TEST_RUN, &mut attr)?;
        Ok(Duration::from_nanos(attr.duration.into()))
    }
}

fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attribute is that of the command, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<A>()) };
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
