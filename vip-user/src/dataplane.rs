//! The kernel's side of the node, and all that knows aya: loading and attaching the XDP program, its maps, its events.
//!
//! Order of a start: [`load`], fill the [`Tables`], [`Program::attach`]. From then on frames are decided on by what
//! the tables say, whether this process lives or not: maps, program and link are pinned, and a later start adopts the
//! maps. One of the same build, where nothing has changed, finds the program where it wants it ([`resume`]).

mod egress;
mod error;
mod fence;
mod grace;
mod hook;
mod kept;
mod lookup;
mod mapping;
mod pins;
mod program;
mod resume;
mod syscall;
mod tables;
mod tee;
mod words;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData, RingBuf};
use aya::{Ebpf, EbpfLoader};
use vip_common::maps::Event;

pub use self::egress::remove_egress;
pub use self::error::Error;
pub use self::fence::{Fence, FenceLost};
pub use self::kept::Kept;
pub use self::pins::{MAPS, Pins, remove_pin};
pub use self::program::{Action, Attached, Program, ProgramLog, ProgramLogger};
pub use self::resume::{Wishes, identity, resume};
pub use self::tables::{Counters, PeerTable, RenewalTable, Tables, Vip, Vip6};
pub use self::tee::{TeeCounts, attach_tee, remove_tee};
pub use self::words::{Word, Words};

const EVENTS: &str = "EVENTS";
const KEPT: &str = "KEPT";
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
    let (ebpf, parts) = loaded?;
    Ok(parts.with(Program::loaded(ebpf, log), adopted))
}

fn load_object(pins: Option<&Pins>, log: ProgramLog) -> Result<(Ebpf, Parts), Error> {
    let mut loader = loader();
    let level: u8 = match log {
        ProgramLog::Off => 0,
        ProgramLog::Debug => aya_log::Level::Debug as u8,
    };
    loader.override_global(LOG_LEVEL, &level, false);
    if let Some(pins) = pins {
        pin_maps(&mut loader, pins);
        // Of a former run, it may have been made for another number of processors.
        remove_pin(&pins.map(KEPT))?;
        loader.map_pin_path(KEPT, pins.map(KEPT));
    }
    let mut ebpf = loader.load(OBJECT).map_err(Error::load)?;
    program::xdp(&mut ebpf)?.load().map_err(Error::verify)?;
    let parts = Parts::take(&mut Maps::Object(&mut ebpf))?;
    Ok((ebpf, parts))
}

fn loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    // The program reads no kernel structures, so the kernel's own type information (megabytes) is not needed.
    loader.btf(None);
    loader
}

/// Has an object take the maps that are pinned, or pin those that it makes.
fn pin_maps(loader: &mut EbpfLoader<'_>, pins: &Pins) {
    for map in MAPS {
        loader.map_pin_path(map.name, pins.map(map.name));
    }
}

/// All of a [`DataPlane`] but the program.
struct Parts {
    tables: Tables,
    renewals: RenewalTable,
    words: Words,
    events: Events,
    kept: Kept,
}

impl Parts {
    fn take(maps: &mut Maps<'_>) -> Result<Self, Error> {
        Ok(Self {
            words: Words::map(maps)?,
            events: Events { ring: RingBuf::try_from(maps.take(EVENTS)?).map_err(Error::map(EVENTS))? },
            renewals: RenewalTable::take(maps)?,
            tables: Tables::take(maps)?,
            kept: Kept::open(maps)?,
        })
    }

    fn with(self, program: Program, adopted: bool) -> DataPlane {
        let Self { tables, renewals, words, events, kept } = self;
        DataPlane { program, tables, renewals, words, events, kept, adopted }
    }
}

/// Where maps are taken from, each once.
enum Maps<'a> {
    /// An object that has just been loaded.
    Object(&'a mut Ebpf),
    /// The pins of a former run.
    Pinned(&'a Pins),
}

impl Maps<'_> {
    fn take(&mut self, name: &'static str) -> Result<Map, Error> {
        match self {
            Self::Object(ebpf) => ebpf.take_map(name).ok_or(Error::Object(name)),
            Self::Pinned(pins) => {
                MapData::from_pin(pins.map(name)).and_then(Map::from_map_data).map_err(Error::map(name))
            }
        }
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
