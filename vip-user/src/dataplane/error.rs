//! What can go wrong with the data plane, and what the operator can do about it.

use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::{ProgramError, loaded_programs};

use crate::config::XdpMode;

/// One kind of fault a variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A capability is missing.
    #[error("the kernel refuses BPF ({0}): CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed; run as root")]
    Privilege(String),
    /// The kernel's verifier refused the program.
    #[error("the kernel refuses the XDP program ({0}); Linux 5.15 or later is needed")]
    Verifier(String),
    /// The kernel lacks what loading takes.
    #[error("the kernel cannot have the XDP program: {0}; Linux 5.15 or later is needed")]
    Unsupported(String),
    /// Loading failed otherwise.
    #[error("cannot load the XDP program: {0}")]
    Load(String),
    /// The embedded object lacks a part.
    #[error("the embedded XDP object has no {0}: the build is broken")]
    Object(&'static str),
    /// No BPF file system.
    #[error("{0} is not on a BPF file system: mount one (`mount -t bpf bpf /sys/fs/bpf`) or set paths.bpffs")]
    NoBpffs(PathBuf),
    /// Another daemon's data plane is there.
    #[error("{0} is in use by another vip-user: stop it, or give this one another paths.bpffs")]
    InUse(PathBuf),
    /// A pin cannot be made or removed.
    #[error("cannot pin {path}: {source}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program holds the interface.
    #[error(
        "another XDP program{} is attached to {iface}: detach it if it is not needed (`ip link set {iface} xdp off`), or \
         serve another interface", quoted(.program)
    )]
    Busy {
        /// The interface.
        iface: String,
        /// The other program's name, where that is known.
        program: Option<String>,
    },
    /// No mode worked.
    #[error("cannot attach the XDP program to {iface} in mode {mode}: {reason}")]
    Attach {
        /// Whether it can in no mode, whatever else is done.
        unsupported: bool,
        /// The interface.
        iface: String,
        /// As configured.
        mode: &'static str,
        /// The kernel's, and what to do.
        reason: String,
    },
    /// The kernel cannot make a link that outlives the daemon.
    #[error(
        "the kernel makes no BPF link for XDP, which a fence that outlives the daemon needs: Linux 5.15 or later"
    )]
    NoLink,
    /// A map access failed.
    #[error("map {name}: {}", chain(.source))]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// Mapping a map into memory failed.
    #[error("cannot map {0} into memory: {1}")]
    Mmap(&'static str, io::Error),
    /// More entries than a table has room for.
    #[error("{count} {what} are more than the {most} that one node can have")]
    TooMany {
        /// What the entries are.
        what: &'static str,
        /// How many there are to be.
        count: usize,
        /// How many there can be.
        most: usize,
    },
    /// No multiplier brings all entries near enough to where the program looks for them.
    #[error(
        "these {count} {what} cannot be laid out so that the XDP program finds them: take one out, or add one"
    )]
    NoLayout {
        /// As in [`Self::TooMany`].
        what: &'static str,
        /// As in [`Self::TooMany`].
        count: usize,
    },
    /// The kernel does not tell when a table can be changed.
    #[error("cannot wait for the end of the XDP program's runs: {0}")]
    Wait(io::Error),
    /// Another operation on the program failed.
    #[error("XDP program: {}", chain(.0))]
    Program(ProgramError),
}

impl Error {
    /// Whether the process lacks a privilege, which the exit status tells apart.
    pub const fn is_privilege(&self) -> bool {
        matches!(self, Self::Privilege(_))
    }

    /// Whether the kernel, or the interface's driver, can have no such program: neither for want of a
    /// privilege, nor because something is in the way.
    pub const fn is_lack_of_support(&self) -> bool {
        matches!(self, Self::Unsupported(_) | Self::NoLink | Self::Attach { unsupported: true, .. })
    }

    /// Names the program in the way, which has this id.
    #[must_use]
    pub fn naming(self, occupant: Option<u32>) -> Self {
        match (self, occupant) {
            (Self::Busy { iface, .. }, Some(id)) => Self::Busy { iface, program: program_name(id) },
            (error, _) => error,
        }
    }

    pub(super) fn load(error: EbpfError) -> Self {
        match root_os_error(&error) {
            Some(libc::EPERM | libc::EACCES) => Self::Privilege(error.to_string()),
            Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => Self::Unsupported(chain(&error)),
            _ => Self::Load(chain(&error)),
        }
    }

    pub(super) fn verify(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
                Self::Privilege(io_error.to_string())
            }
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                tracing::debug!("verifier: {log}");
                let said = log.lines().rev().find(|line| {
                    let statistics = ["processed", "verification time", "stack depth"];
                    !line.trim().is_empty() && !statistics.iter().any(|word| line.starts_with(word))
                });
                Self::Verifier(format!("{io_error}; {}", said.unwrap_or("the verifier said nothing")))
            }
            other => Self::Load(chain(&other)),
        }
    }

    pub(super) fn map(name: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map { name, source }
    }

    pub(super) fn mmap(name: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Mmap(name, source)
    }

    pub(super) fn pin(path: &Path, error: PinError) -> Self {
        let source = match error {
            PinError::SyscallError(error) => error.io_error,
            other => io::Error::other(other.to_string()),
        };
        Self::Pin { path: path.to_owned(), source }
    }

    pub(super) fn is_busy(error: &ProgramError) -> bool {
        matches!(root_os_error(error), Some(libc::EBUSY | libc::EEXIST))
    }

    /// What the kernel said, in one line.
    pub(super) fn said(error: &ProgramError) -> String {
        match root_os_error(error) {
            Some(libc::EOPNOTSUPP) => "the driver has none".to_owned(),
            Some(code) => io::Error::from_raw_os_error(code).to_string(),
            None => chain(error),
        }
    }

    pub(super) fn attach(iface: &str, mode: XdpMode, refused: Option<ProgramError>) -> Self {
        let code = refused.as_ref().and_then(|error| root_os_error(error));
        let said = refused.map_or_else(|| "no mode to try".to_owned(), |error| chain(&error));
        let (mode, hint) = match mode {
            XdpMode::Native => ("native", "; --xdp generic works with every driver"),
            XdpMode::Generic => ("generic", ""),
            XdpMode::Auto | XdpMode::Off => ("auto", ""),
        };
        let unsupported = code == Some(libc::EOPNOTSUPP);
        let reason = match code {
            Some(libc::EOPNOTSUPP) => format!("the driver cannot{hint}"),
            Some(libc::EPERM) => format!("{said}; CAP_NET_ADMIN is needed"),
            _ => format!("{said}{hint}"),
        };
        Self::Attach { unsupported, iface: iface.to_owned(), mode, reason }
    }
}

fn program_name(id: u32) -> Option<String> {
    let program = loaded_programs().flatten().find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

fn quoted(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!(" ({name:?})"))
}

/// The first operating-system error in a chain of causes.
fn root_os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// An error with its causes on one line, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}
