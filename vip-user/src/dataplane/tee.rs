//! The tee: which ports are teed, where the standbys are, and the program that makes the copies. That is loaded by itself, when
//! it is wanted: a data plane that was resumed has no object to take it from, and a reload may come when a daemon has run for
//! long.

use std::collections::BTreeSet;
use std::mem::offset_of;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData, PerCpuHashMap, PerCpuValues};
use aya::programs::TcAttachType;
use aya::util::nr_cpus;
use vip_common::maps::{MAX_STANDBYS, SLOTS, Standbys, Tee, mac_number, tee_key};

use super::hook::Hook;
use super::mapping::Mapping;
use super::tables::{Plain, Tables};
use super::{Error, Maps, OBJECT, Pins, loader, pin_maps};

const HOOK: Hook = Hook { program: "vip_tee", way: TcAttachType::Ingress };
const STANDBYS: &str = "STANDBYS";
const TEES: &str = "TEES";

/// Has copies made of what comes in by an interface, with a pin at `pins.tee(iface)`. The program takes the place of a former run's.
/// The maps are those that are pinned.
///
/// # Errors
/// The kernel's, which may lack traffic control; nothing is left behind.
pub fn attach_tee(pins: &Pins, iface: &str) -> Result<(), Error> {
    let mut loader = loader();
    pin_maps(&mut loader, pins);
    let mut ebpf = loader.load(OBJECT).map_err(Error::load)?;
    HOOK.attach(&mut ebpf, iface, &pins.tee(iface))
}

/// Takes that program off an interface, and its pin away.
///
/// # Errors
/// The kernel's; where there is no such program, or no such interface any more, there is none.
pub fn remove_tee(iface: &str, pin: &Path) -> Result<(), Error> {
    if pin.exists() { HOOK.remove(iface, pin) } else { Ok(()) }
}

/// What has become of a tee's copies, on all processors together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TeeCounts {
    /// Sent as the holder.
    pub copied: u64,
    /// Could not be sent.
    pub failed: u64,
    /// Let in as a standby.
    pub admitted: u64,
}

/// The maps.
pub(super) struct Tees {
    standbys: Mapping<Standbys>,
    /// A program of the same object that is loaded later names it by this descriptor.
    _map: MapData,
    tees: PerCpuHashMap<MapData, u32, Plain<Tee>>,
}

impl Tees {
    pub(super) fn take(maps: &mut Maps<'_>) -> Result<Self, Error> {
        let Map::Array(map) = maps.take(STANDBYS)? else { return Err(Error::Object(STANDBYS)) };
        let standbys = Mapping::of_map(map.fd().as_fd(), SLOTS).map_err(Error::mmap(STANDBYS))?;
        let tees = maps.take(TEES)?.try_into().map_err(Error::map(TEES))?;
        Ok(Self { standbys, _map: map, tees })
    }

    fn word(&self, slot: u32, offset: usize) -> &AtomicU64 {
        assert!((slot as usize) < SLOTS, "slot {slot} of {SLOTS}");
        let entry = self.standbys.start().as_ptr().wrapping_add(slot as usize).cast::<u8>();
        // SAFETY: within the mapping, aligned, and accessed atomically by all sides.
        unsafe { AtomicU64::from_ptr(entry.wrapping_add(offset).cast()) }
    }

    fn places(&self, slot: u32) -> impl Iterator<Item = &AtomicU64> {
        let first = offset_of!(Standbys, macs);
        (0..MAX_STANDBYS).map(move |index| self.word(slot, first + index * size_of::<u64>()))
    }
}

impl Tables {
    /// Tees exactly these ports of these slots. What a tee has counted stays while it does.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_tees(&mut self, wanted: &BTreeSet<(u32, u16)>) -> Result<(), Error> {
        let keys: BTreeSet<u32> = wanted.iter().map(|(slot, port)| tee_key(*slot, *port)).collect();
        let known: BTreeSet<u32> =
            self.tees.tees.keys().collect::<Result<_, _>>().map_err(Error::map(TEES))?;
        for gone in known.difference(&keys) {
            self.tees.tees.remove(gone).map_err(Error::map(TEES))?;
        }
        for new in keys.difference(&known) {
            let cpus = nr_cpus().map_err(|(_, error)| Error::mmap(TEES)(error))?;
            let zeros =
                PerCpuValues::try_from(vec![Plain(Tee::default()); cpus]).map_err(Error::mmap(TEES))?;
            self.tees.tees.insert(new, zeros, 0).map_err(Error::map(TEES))?;
        }
        for slot in (0..).take(SLOTS) {
            let ports = wanted.iter().filter(|(of, _)| *of == slot).count() as u64;
            self.tees.word(slot, offset_of!(Standbys, ports)).store(ports, Ordering::Release);
        }
        Ok(())
    }

    /// What has become of a tee's copies; `None` if that port is not teed.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn tee_counts(&self, slot: u32, port: u16) -> Result<Option<TeeCounts>, Error> {
        let values = match self.tees.tees.get(&tee_key(slot, port), 0) {
            Ok(values) => values,
            Err(aya::maps::MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(Error::map(TEES)(error)),
        };
        let sum = |sum: TeeCounts, Plain(Tee { copied, failed, admitted }): &Plain<Tee>| TeeCounts {
            copied: sum.copied + copied,
            failed: sum.failed + failed,
            admitted: sum.admitted + admitted,
        };
        Ok(Some(values.iter().fold(TeeCounts::default(), sum)))
    }

    /// Where the copies of a group go to, as numbers.
    pub fn standbys(&self, slot: u32) -> BTreeSet<u64> {
        self.tees.places(slot).map(|place| place.load(Ordering::Acquire)).filter(|mac| *mac != 0).collect()
    }

    /// Has the copies of a group go to these addresses, and to no other; of more than [`MAX_STANDBYS`], to the first ones. An
    /// address that stays gets each datagram once meanwhile, too.
    pub fn set_standbys(&mut self, slot: u32, wanted: impl IntoIterator<Item = [u8; 6]>) {
        let mut missing: BTreeSet<u64> = wanted.into_iter().map(mac_number).filter(|mac| *mac != 0).collect();
        for place in self.tees.places(slot) {
            let mac = place.load(Ordering::Acquire);
            if mac != 0 && !missing.remove(&mac) {
                place.store(0, Ordering::Release);
            }
        }
        let free = self.tees.places(slot).filter(|place| place.load(Ordering::Acquire) == 0);
        free.zip(missing).for_each(|(place, mac)| place.store(mac, Ordering::Release));
    }
}
