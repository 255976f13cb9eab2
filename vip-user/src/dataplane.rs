//! The kernel's side of the node, and all that knows aya: loading and attaching the XDP program, its maps, its events.
//!
//! Order of a start: [`load`], fill the [`Tables`], [`Program::attach`]. From then on frames are decided on by what
//! the tables say, whether this process lives or not: maps and link are pinned, and a later start adopts them.

mod egress;
mod error;
mod fence;
mod kept;
mod pins;
mod tables;
mod words;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{MapData, RingBuf};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfLoader};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vip_common::maps::Event;

pub use self::egress::remove as remove_egress;
pub use self::error::Error;
pub use self::fence::{Fence, FenceLost};
pub use self::kept::Kept;
pub use self::pins::{MAPS, Pins};
pub use self::tables::{Counters, RenewalTable, Tables};
pub use self::words::{Word, Words};
use crate::config::XdpMode;

const PROGRAM: &str = "vip_xdp";
const EVENTS: &str = "EVENTS";
const LOG_LEVEL: &str = aya_log::LEVEL;
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vip-ebpf.o"));

/// What [`load`] gives: each part for the thread that uses it.
#[derive(Debug)]
pub struct DataPlane {
    /// The loaded program.
    pub program: Program,
    /// What the daemon tells the program and reads from it.
    pub tables: Tables,
    /// What a holder knows of its leases, for the thread that renews them.
    pub renewals: RenewalTable,
    /// The lease words.
    pub words: Words,
    /// What the program tells the daemon.
    pub events: Events,
    /// The frames that came while a lease changed hands.
    pub kept: Kept,
    /// Whether maps of a former run were adopted, and with them every promise that this node made.
    pub adopted: bool,
}

/// Whether the program logs its decisions, for the daemon's log at level debug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramLog {
    /// The logging code is not even loaded.
    Off,
    /// Records go to [`Program::take_logger`].
    Debug,
}

/// Loads the program. With `pins`, maps of a former run are adopted if they are whole and of this layout; otherwise,
/// what is left of them is removed (which detaches a former program) and new ones are pinned.
///
/// # Errors
/// [`Error`], each with what the operator can do; nothing is left behind.
pub fn load(pins: Option<&Pins>, log: ProgramLog) -> Result<DataPlane, Error> {
    let adopted = match pins {
        Some(pins) => pins.prepare()?,
        None => false,
    };
    let loaded = load_object(pins, log);
    if loaded.is_err()
        && !adopted
        && let Some(pins) = pins
    {
        pins.remove_all()?;
    }
    let (ebpf, maps) = loaded?;
    Ok(DataPlane {
        program: Program { ebpf, log },
        tables: maps.tables,
        renewals: maps.renewals,
        words: maps.words,
        events: maps.events,
        kept: maps.kept,
        adopted,
    })
}

struct Maps {
    tables: Tables,
    renewals: RenewalTable,
    words: Words,
    events: Events,
    kept: Kept,
}

fn load_object(pins: Option<&Pins>, log: ProgramLog) -> Result<(Ebpf, Maps), Error> {
    let mut loader = EbpfLoader::new();
    // The program reads no kernel structures, so the kernel's own type information (megabytes) is not needed.
    loader.btf(None);
    let level: u8 = match log {
        ProgramLog::Off => 0,
        ProgramLog::Debug => aya_log::Level::Debug as u8,
    };
    loader.override_global(LOG_LEVEL, &level, false);
    if let Some(pins) = pins {
        for map in MAPS {
            loader.map_pin_path(map.name, pins.map(map.name));
        }
    }
    let mut ebpf = loader.load(OBJECT).map_err(Error::load)?;
    xdp(&mut ebpf)?.load().map_err(Error::verify)?;
    let words = Words::map(&ebpf)?;
    let events = Events { ring: RingBuf::try_from(take(&mut ebpf, EVENTS)?).map_err(Error::map(EVENTS))? };
    let renewals = RenewalTable::take(&mut ebpf)?;
    let tables = Tables::take(&mut ebpf)?;
    let kept = Kept::open(&mut ebpf)?;
    Ok((ebpf, Maps { tables, renewals, words, events, kept }))
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM).ok_or(Error::Object(PROGRAM))?.try_into().map_err(|_| Error::Object(PROGRAM))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, Error> {
    ebpf.take_map(name).ok_or(Error::Object(name))
}

/// The XDP program in the kernel.
#[derive(Debug)]
pub struct Program {
    ebpf: Ebpf,
    log: ProgramLog,
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
}

impl Program {
    /// Puts the program on an interface and pins the link at `pin`, or replaces the program of a link that is pinned
    /// there. The program decides on frames from then on.
    ///
    /// # Errors
    /// [`Error::Busy`] when another program is there, [`Error::Attach`] with the modes that were tried.
    pub fn attach(&mut self, iface: &str, index: u32, mode: XdpMode, pin: &Path) -> Result<Attached, Error> {
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
            match xdp(&mut self.ebpf)?.attach_to_if_index(index, *aya_mode) {
                Ok(link) => return self.pin_link(link, pin).map(|()| *attached),
                Err(error) if Error::is_busy(&error) => return Err(Error::Busy { iface: iface.to_owned() }),
                Err(error) => refused = Some(error),
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
        let program = xdp(&mut self.ebpf)?;
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
        let link = xdp(&mut self.ebpf)?.take_link(id).map_err(Error::Program)?;
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
        if self.log == ProgramLog::Off {
            return Ok(None);
        }
        let records =
            aya_log::EbpfLogger::init(&mut self.ebpf).map_err(|error| Error::Load(error.to_string()))?;
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

    fn xdp(&self) -> Result<&Xdp, Error> {
        self.ebpf
            .program(PROGRAM)
            .ok_or(Error::Object(PROGRAM))?
            .try_into()
            .map_err(|_| Error::Object(PROGRAM))
    }
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

/// The ring of events from the program.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// The events that are there; `None` until there are more. Readable by poll when there may be.
impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let item = self.ring.next()?;
        let mut event = MaybeUninit::<Event>::zeroed();
        let len = item.len().min(size_of::<Event>());
        // SAFETY: source and destination are `len` bytes at least and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(item.as_ptr(), event.as_mut_ptr().cast::<u8>(), len) };
        // SAFETY: zeroed or copied from the kernel; every bit pattern is an `Event`.
        Some(unsafe { event.assume_init() })
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
