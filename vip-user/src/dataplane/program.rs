//! The XDP program in the kernel: on its interface, and run for this node's own votes.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp, XdpMode as AyaMode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Error, Fence, pins};
use crate::config::XdpMode;

const PROGRAM: &str = "vip_xdp";

/// Whether the program logs its decisions, for the daemon's log at level debug.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProgramLog {
    /// The logging code is not even loaded.
    Off,
    /// Records go to [`Program::take_logger`].
    Debug,
}

/// The XDP program in the kernel.
#[derive(Debug)]
pub struct Program {
    pub(super) code: Code,
    native_refused: Option<String>,
}

/// Where the program is from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum Code {
    /// This process has loaded it.
    Loaded {
        /// The object with all its programs.
        ebpf: Ebpf,
        log: ProgramLog,
    },
    /// A former run has, and it is on the interface.
    Resumed(Xdp),
}

/// How the program runs on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the stack, for drivers without XDP: slower, and as safe.
    Generic,
    /// In place of a former run's program, atomically, and as that one ran.
    Replaced,
    /// By a former run.
    Resumed,
}

impl Program {
    pub(super) const fn loaded(ebpf: Ebpf, log: ProgramLog) -> Self {
        Self { code: Code::Loaded { ebpf, log }, native_refused: None }
    }

    pub(super) const fn resumed(program: Xdp) -> Self {
        Self { code: Code::Resumed(program), native_refused: None }
    }

    /// Whether a former run has loaded it.
    pub const fn is_resumed(&self) -> bool {
        matches!(self.code, Code::Resumed(_))
    }

    /// What the kernel said against native XDP, where [`Self::attach`] has tried that in vain.
    pub fn why_not_native(&self) -> Option<&str> {
        self.native_refused.as_deref()
    }

    /// Puts the program on an interface, unless a former run has, and pins the link at `pin`, or replaces the program of a link that is pinned
    /// there. The program decides on frames from then on.
    ///
    /// # Errors
    /// [`Error::Busy`] when another program is there, [`Error::Attach`] with the modes that were tried.
    pub fn attach(&mut self, iface: &str, index: u32, mode: XdpMode, pin: &Path) -> Result<Attached, Error> {
        if matches!(self.code, Code::Resumed(_)) {
            return Ok(Attached::Resumed);
        }
        if pin.exists() {
            if self.replace(index, pin)? {
                return Ok(Attached::Replaced);
            }
            std::fs::remove_file(pin).map_err(|source| Error::Pin { path: pin.to_owned(), source })?;
        }
        let modes: &[(AyaMode, Attached)] = match mode {
            XdpMode::Native => &[(AyaMode::Driver, Attached::Native)],
            XdpMode::Generic => &[(AyaMode::Skb, Attached::Generic)],
            XdpMode::Auto | XdpMode::Off => {
                &[(AyaMode::Driver, Attached::Native), (AyaMode::Skb, Attached::Generic)]
            }
        };
        let mut refused = None;
        for (aya_mode, attached) in modes {
            match self.xdp_mut()?.attach_to_if_index(index, *aya_mode) {
                Ok(link) => return self.pin_link(link, pin).map(|()| *attached),
                Err(error) if Error::is_busy(&error) => {
                    return Err(Error::Busy { iface: iface.to_owned(), program: None });
                }
                Err(error) => {
                    if *attached == Attached::Native {
                        self.native_refused = Some(Error::said(&error));
                    }
                    refused = Some(error);
                }
            }
        }
        Err(Error::attach(iface, mode, refused))
    }

    /// Replaces the program of a pinned link; `false` when that link is not on this interface any more.
    fn replace(&mut self, index: u32, pin: &Path) -> Result<bool, Error> {
        let Ok(pinned) = PinnedLink::from_pin(pin) else { return Ok(false) };
        if pins::link_interface(pin).ok() != Some(index) {
            return Ok(false);
        }
        let Ok(link) = XdpLink::try_from(FdLink::from(pinned)) else { return Ok(false) };
        let program = self.xdp_mut()?;
        let replaced = program.attach_to_link(link).and_then(|id| program.take_link(id));
        match replaced {
            Ok(link) => {
                // The pin holds the link; this handle would detach it on drop only if there were no pin.
                drop(link);
                Ok(true)
            }
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOLINK) =>
            {
                Ok(false)
            }
            Err(error) => Err(Error::Program(error)),
        }
    }

    fn pin_link(&mut self, id: XdpLinkId, pin: &Path) -> Result<(), Error> {
        let link = self.xdp_mut()?.take_link(id).map_err(Error::Program)?;
        // aya falls back to a netlink attachment without a word, which cannot be pinned; dropping it detaches it.
        let link = FdLink::try_from(link).map_err(|_| Error::NoLink)?;
        link.pin(pin).map(drop).map_err(|error| Error::pin(pin, error))
    }

    /// The program's hold on the interface that it was attached to, to be looked at now and then.
    ///
    /// # Errors
    /// When the link is not at `pin`, or the kernel tells nothing of the program.
    pub fn fence(&self, iface: &str, index: u32, pin: &Path) -> Result<Fence, Error> {
        let program = self.xdp()?.info().map_err(Error::Program)?.id();
        Fence::open(iface, index, program, pin).map_err(|source| Error::Pin { path: pin.to_owned(), source })
    }

    /// What forwards the program's log records, where it was loaded with [`ProgramLog::Debug`].
    ///
    /// # Errors
    /// When the kernel refuses to have their buffer read.
    pub fn take_logger(&mut self) -> Result<Option<ProgramLogger>, Error> {
        let Code::Loaded { ebpf, log: ProgramLog::Debug } = &mut self.code else { return Ok(None) };
        let records = aya_log::EbpfLogger::init(ebpf).map_err(|error| Error::Load(error.to_string()))?;
        // SAFETY: the reader owns its descriptor and gives the same one until it is dropped, which `AsyncFd` does
        // after it has let go of it.
        let records = unsafe { AsyncFd::register_with_interest(records, Interest::READABLE) };
        let records = records.map_err(|error| Error::Load(error.to_string()))?;
        Ok(Some(ProgramLogger { records }))
    }

    /// Runs the program on a frame, as if it had come in on the loopback interface (BPF_PROG_TEST_RUN), and gives
    /// the action and the length of the frame in `out` afterwards. This is how a node casts its own vote.
    ///
    /// # Errors
    /// When the kernel refuses the run, or `out` is shorter than the frame.
    pub fn run(&self, frame: &[u8], out: &mut [u8]) -> Result<(Action, usize), Error> {
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(out), ..TestRunOptions::default() };
        let result = self.xdp()?.test_run(options).map_err(Error::Program)?;
        let action = Action::from_u32(result.return_value).ok_or(Error::Object(PROGRAM))?;
        Ok((action, usize::try_from(result.data_size_out).unwrap_or(0)))
    }

    /// The loaded program, for other calls of bpf(2).
    ///
    /// # Errors
    /// When it is not loaded.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.xdp()?.fd().map_err(Error::Program)?.as_fd())
    }

    fn xdp(&self) -> Result<&Xdp, Error> {
        match &self.code {
            Code::Loaded { ebpf, .. } => {
                let program = ebpf.program(PROGRAM).ok_or(Error::Object(PROGRAM))?;
                program.try_into().map_err(|_| Error::Object(PROGRAM))
            }
            Code::Resumed(xdp) => Ok(xdp),
        }
    }

    pub(super) fn xdp_mut(&mut self) -> Result<&mut Xdp, Error> {
        match &mut self.code {
            Code::Loaded { ebpf, .. } => xdp(ebpf),
            Code::Resumed(xdp) => Ok(xdp),
        }
    }
}

pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM).ok_or(Error::Object(PROGRAM))?.try_into().map_err(|_| Error::Object(PROGRAM))
}

/// The program's log records on their way to the daemon's log.
pub struct ProgramLogger {
    records: AsyncFd<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl ProgramLogger {
    /// Forwards records until the future is dropped.
    pub async fn forward(mut self) {
        while let Ok(mut ready) = self.records.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}

/// What the program does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nowhere.
    Drop,
    /// To the stack.
    Pass,
    /// Back where it came from.
    Tx,
}

impl Action {
    fn from_u32(action: u32) -> Option<Self> {
        Some(match action {
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            _ => return None,
        })
    }
}
