//! The pins of maps and links in the BPF file system: where they are, whether they can be adopted, their removal.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use vip_common::maps;
use vip_common::table::Entry as _;

use super::syscall::{bpf, descriptor, number};
use super::{Error, remove_egress, remove_tee};
use crate::descriptor::release_early;

/// A map and its layout.
#[derive(Debug)]
pub struct MapLayout {
    /// As in the object and the pin.
    pub name: &'static str,
    key: usize,
    value: usize,
    entries: usize,
}

const fn layout(name: &'static str, key: usize, value: usize, entries: usize) -> MapLayout {
    MapLayout { name, key, value, entries }
}

/// Every map of the program.
pub const MAPS: [MapLayout; 15] = [
    layout("CONFIG", 4, size_of::<maps::Config>(), 1),
    layout("INTERFACES", 4, size_of::<maps::Served>(), maps::Served::SHAPE.places()),
    layout("VIPS", 4, size_of::<maps::Vip>(), maps::Vip::SHAPE.places()),
    layout("VIPS6", 4, size_of::<maps::Vip6>(), maps::Vip6::SHAPE.places()),
    layout("VRIDS", 4, size_of::<maps::Vrids>(), maps::VRID_SETS),
    layout("SLOTS", 4, 4, maps::SLOTS),
    layout("GROUPS", 4, size_of::<maps::Group>(), maps::SLOTS),
    layout("ACCEPTORS", 4, size_of::<maps::LockedAcceptor>(), maps::SLOTS),
    layout("RENEWALS", 4, size_of::<maps::LockedRenewal>(), maps::SLOTS),
    layout("PEERS", 4, size_of::<maps::Peer>(), maps::MAX_PEERS),
    layout("STANDBYS", 4, size_of::<maps::Standbys>(), maps::SLOTS),
    layout("TEES", 4, size_of::<maps::Tee>(), maps::MAX_TEES),
    layout(
        "FRAGMENTS",
        size_of::<maps::Fragmented>(),
        size_of::<maps::FirstFragment>(),
        maps::MAX_FRAGMENTED,
    ),
    layout("COUNTERS", 4, 8, maps::COUNTERS),
    layout("EVENTS", 0, 0, maps::EVENTS_BYTES),
];

/// What the pins of links begin with.
const LINK: &str = "link-";
/// What the names of egress programs' pins begin with.
const EGRESS: &str = "egress-";
/// The same, for the programs that copy for standbys.
const TEE: &str = "tee-";

/// The directory of this layout's pins, `<paths.bpffs>/v<LAYOUT_VERSION>`.
#[derive(Clone, Debug)]
pub struct Pins {
    base: PathBuf,
    directory: PathBuf,
}

impl Pins {
    /// Pins under `paths.bpffs`.
    pub fn new(bpffs: &Path) -> Self {
        let directory = bpffs.join(format!("v{}", maps::LAYOUT_VERSION));
        Self { base: bpffs.to_owned(), directory }
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where the link of an interface is pinned: `link-<iface>`, with `:` for each dot. The BPF file system takes no
    /// dots (`bpf_lookup` in kernel/bpf/inode.c), which VLAN interfaces have, and no interface has a colon.
    pub fn link(&self, iface: &str) -> PathBuf {
        self.directory.join(format!("{LINK}{}", iface.replace('.', ":")))
    }

    /// Where the program for what leaves by an interface is pinned, or its link, named like [`Self::link`].
    pub fn egress(&self, iface: &str) -> PathBuf {
        self.directory.join(format!("{EGRESS}{}", iface.replace('.', ":")))
    }

    /// Where the program that copies what comes in by an interface is pinned, or its link, named like [`Self::link`].
    pub fn tee(&self, iface: &str) -> PathBuf {
        self.directory.join(format!("{TEE}{}", iface.replace('.', ":")))
    }

    /// The interfaces whose links are pinned.
    pub fn linked_interfaces(&self) -> Vec<String> {
        let links = self.all_named(LINK).filter_map(|pin| pin.file_name()?.to_str().map(str::to_owned));
        links.filter_map(|name| Some(name.strip_prefix(LINK)?.replace(':', "."))).collect()
    }

    /// Takes the programs off an interface, and their pins away.
    ///
    /// # Errors
    /// [`Error::Pin`].
    pub fn release(&self, iface: &str) -> Result<(), Error> {
        remove_egress(iface, &self.egress(iface))?;
        remove_tee(iface, &self.tee(iface))?;
        remove_pin(&self.link(iface))
    }

    /// Makes the directory and takes it for this process, until the lock is dropped: two daemons that share a data
    /// plane would each serve on the other's lease.
    ///
    /// # Errors
    /// [`Error::NoBpffs`], [`Error::InUse`] when another process has it, [`Error::Pin`].
    pub fn lock(&self) -> Result<Flock<File>, Error> {
        self.make_directory()?;
        let failed = |source| Error::Pin { path: self.directory.clone(), source };
        let directory = File::open(&self.directory).map(release_early).map_err(failed)?;
        Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => Error::InUse(self.base.clone()),
            errno => failed(errno.into()),
        })
    }

    /// Makes the directory, and tells whether all maps are there to be adopted. If some are missing or of another
    /// layout, all pins are removed: half a memory is none, and quarantine follows.
    pub(super) fn prepare(&self) -> Result<bool, Error> {
        self.make_directory()?;
        self.remove_other_layouts()?;
        let whole = self.are_whole();
        if !whole {
            self.clear()?;
        }
        Ok(whole)
    }

    /// Whether a former run's program is on this interface, and will stay there until another one takes its place.
    pub fn fence(&self, iface: &str, index: u32) -> bool {
        self.are_whole() && link_interface(&self.link(iface)).is_ok_and(|interface| interface == index)
    }

    /// The pins whose names begin with this.
    pub(super) fn all_named(&self, prefix: &str) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let is_named = move |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
        entries.filter(is_named).map(|entry| entry.path())
    }

    fn are_whole(&self) -> bool {
        MAPS.iter().all(|map| self.fits(map))
    }

    /// Removes all pins. A link without its pin is gone, and with it the program from its interface.
    ///
    /// # Errors
    /// [`Error::Pin`] for the first that cannot be removed.
    pub fn clear(&self) -> Result<(), Error> {
        remove_pins(&self.directory)
    }

    /// Removes all pins and their directories, as far as they are empty.
    ///
    /// # Errors
    /// [`Error::Pin`] for the first that cannot be removed.
    pub fn remove_all(&self) -> Result<(), Error> {
        remove_directory(&self.directory)?;
        // Shared with other daemons, or the file system's root: it may stay.
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }

    /// Removes what a former run has left on this interface, and all that belongs to it; nothing if its link
    /// is not here.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it, [`Error::Pin`].
    pub fn remove_former(&self, iface: &str) -> Result<(), Error> {
        if !self.link(iface).exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.remove_all()
    }

    fn fits(&self, map: &MapLayout) -> bool {
        let Ok(info) = MapInfo::from_pin(self.map(map.name)) else { return false };
        let is = |have: u32, want: usize| usize::try_from(have) == Ok(want);
        is(info.key_size(), map.key)
            && is(info.value_size(), map.value)
            && is(info.max_entries(), map.entries)
    }

    /// Pins of a former version hold a program on the interface that nobody looks after any more.
    fn remove_other_layouts(&self) -> Result<(), Error> {
        let Ok(entries) = fs::read_dir(&self.base) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_layout = name.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
            if is_layout && entry.path() != self.directory {
                remove_directory(&entry.path())?;
            }
        }
        Ok(())
    }

    fn make_directory(&self) -> Result<(), Error> {
        let existing = self.base.ancestors().find(|path| path.exists());
        let is_bpffs = existing
            .and_then(|path| statfs(path).ok())
            .is_some_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
        if !is_bpffs {
            return Err(match kernel_has_bpffs() {
                true => Error::NoBpffs(self.base.clone()),
                false => Error::Unsupported("it has no BPF file system".to_owned()),
            });
        }
        fs::create_dir_all(&self.directory)
            .map_err(|source| Error::Pin { path: self.directory.clone(), source })
    }
}

/// Where that cannot be told, it is taken to have one: then the operator is told to mount it.
fn kernel_has_bpffs() -> bool {
    let known = fs::read_to_string("/proc/filesystems");
    known.map_or(true, |known| known.lines().any(|line| line.split_whitespace().last() == Some("bpf")))
}

/// Removes what is pinned there, if something is: a link that goes takes its program off its interface.
///
/// # Errors
/// [`Error::Pin`].
pub fn remove_pin(pin: &Path) -> Result<(), Error> {
    match fs::remove_file(pin) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Pin { path: pin.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn remove_pins(directory: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Pin { path: directory.to_owned(), source }),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().replace(':', ".");
        match (name.strip_prefix(EGRESS), name.strip_prefix(TEE)) {
            (Some(iface), _) => remove_egress(iface, &path)?,
            (None, Some(iface)) => remove_tee(iface, &path)?,
            (None, None) => remove_pin(&path)?,
        }
    }
    Ok(())
}

fn remove_directory(directory: &Path) -> Result<(), Error> {
    remove_pins(directory)?;
    match fs::remove_dir(directory) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Pin { path: directory.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Index of the interface that a pinned XDP link is on; 0 when that is gone.
pub(super) fn link_interface(pin: &Path) -> io::Result<u32> {
    link_info(&open_pin(pin)?).map(|info| info.interface)
}

/// The kernel's id of the program of a pinned XDP link.
pub(super) fn link_program(pin: &Path) -> io::Result<u32> {
    link_info(&open_pin(pin)?).map(|info| info.program)
}

/// What the kernel says of an XDP link (`struct bpf_link_info`, Linux 5.9).
#[repr(C)]
#[derive(Default)]
pub(super) struct LinkInfo {
    kind: u32,
    id: u32,
    /// The program's id.
    pub(super) program: u32,
    padding: u32,
    /// Index of the interface; 0 when that is gone, or the program was detached.
    pub(super) interface: u32,
    rest: [u32; 11],
}

/// Asks the kernel about an XDP link.
pub(super) fn link_info(link: &OwnedFd) -> io::Result<LinkInfo> {
    #[repr(C)]
    struct InfoByFd {
        fd: u32,
        len: u32,
        info: u64,
    }
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    let mut info = LinkInfo::default();
    let attributes = InfoByFd {
        fd: number(link.as_fd())?,
        len: u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: of this command; the kernel writes `len` bytes at most to `info`, which outlives the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) }?;
    Ok(info)
}

/// Opens what is pinned at a path; aya's own handle does not show its descriptor.
pub(super) fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ObjectGet {
        path: u64,
        fd: u32,
        flags: u32,
    }
    const BPF_OBJ_GET: libc::c_int = 7;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = ObjectGet { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    // SAFETY: of this command; the kernel reads the terminated string, which outlives the call.
    let opened = unsafe { bpf(BPF_OBJ_GET, &attributes) }?;
    // SAFETY: the result of a command that opens what it finds.
    unsafe { descriptor(opened) }
}
