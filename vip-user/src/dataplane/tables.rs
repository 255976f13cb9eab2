//! The maps that the daemon fills and reads outside of the lease's time. None of them is touched between two heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;

use aya::Pod;
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray};
use vip_common::lease::{Acceptor, Renewal};
use vip_common::maps::{
    self, COUNTERS, Config, Counter, Interface, KeyUse, LockedAcceptor, LockedRenewal, Peer, SLOTS, Served,
    Tee, VRID_SETS, Vrids, bpf_spin_lock,
};
use vip_common::siphash::Key;

use super::grace::wait_for_runs;
use super::lookup::{ConfigWords, Table};
use super::mapping::Mapping;
use super::tee::Tees;
use super::{Error, Maps, Pins};

/// Take the value's spin lock (`BPF_F_LOCK`, Linux 5.1).
const LOCKED: u64 = 4;

/// A map value of `vip-common`, for aya.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T>(pub(super) T);

macro_rules! plain {
    ($($layout:ty),+) => {
        $(
            // SAFETY: `repr(C)`, made of integers and arrays of them, valid for any bit pattern.
            unsafe impl Pod for Plain<$layout> {}
        )+
    };
}
plain!(Config, LockedAcceptor, LockedRenewal, Peer, Tee, Vrids);

/// What the program is told of an IPv4 VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vip {
    /// Slot of the group that it belongs to.
    pub slot: u32,
    /// Index of the interface that it lies on.
    pub interface: u32,
}

/// What the program is told of an IPv6 VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vip6 {
    /// As [`Vip::slot`].
    pub slot: u32,
    /// 1 = answers say that a router has it, else 0.
    pub router: u32,
    /// As [`Vip::interface`].
    pub interface: u32,
}

/// The maps of the daemon's control side.
pub struct Tables {
    config: Array<MapData, Plain<Config>>,
    words: ConfigWords,
    interfaces: Table<Served>,
    vips: Table<maps::Vip>,
    vips6: Table<maps::Vip6>,
    numbers: Numbers,
    vrids: Array<MapData, Plain<Vrids>>,
    slots: HashMap<MapData, u32, u32>,
    acceptors: Array<MapData, Plain<LockedAcceptor>>,
    peers: HashMap<MapData, u32, Plain<Peer>>,
    counters: PerCpuArray<MapData, u64>,
    /// See [`super::tee`].
    pub(super) tees: Tees,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

macro_rules! table {
    ($maps:expr, $name:literal) => {
        $maps.take($name)?.try_into().map_err(Error::map($name))?
    };
}

impl Tables {
    pub(super) fn take(maps: &mut Maps<'_>) -> Result<Self, Error> {
        let config: Array<_, Plain<Config>> = table!(maps, "CONFIG");
        let mapping = Mapping::of_map(config.map().fd().as_fd(), 1).map_err(Error::mmap("CONFIG"))?;
        let words = ConfigWords::new(mapping);
        let interfaces = Table::take(maps, "INTERFACES", "interfaces")?;
        let vips = Table::take(maps, "VIPS", "IPv4 VIPs")?;
        let vips6 = Table::take(maps, "VIPS6", "IPv6 VIPs")?;
        let numbers = Numbers::of(
            interfaces.entries(words.at(INTERFACES)),
            vips.entries(words.at(VIPS)),
            vips6.entries(words.at(VIPS6)),
        );
        Ok(Self {
            config,
            words,
            interfaces,
            vips,
            vips6,
            numbers,
            vrids: table!(maps, "VRIDS"),
            slots: table!(maps, "SLOTS"),
            acceptors: table!(maps, "ACCEPTORS"),
            peers: table!(maps, "PEERS"),
            counters: table!(maps, "COUNTERS"),
            tees: Tees::take(maps)?,
        })
    }

    /// Sets what the program knows of its node and cluster; the keys as [`Self::set_keys`] does. The editions stay as they
    /// are: the kernel writes the same bytes over them.
    ///
    /// # Errors
    /// [`Error::Map`], as for every access here; [`Error::Wait`].
    pub fn set_config(&mut self, config: Config) -> Result<(), Error> {
        let Config { editions, keys, keys_in_use, .. } = self.config()?;
        let wanted = Config { editions, keys, keys_in_use, ..config };
        self.config.set(0, Plain(wanted), 0).map_err(Error::map("CONFIG"))?;
        let in_use = KeyUse(config.keys_in_use);
        let (first, second) = (in_use.signing(), 1 - in_use.signing());
        match in_use.verifies(second) {
            true => self.set_keys(&[config.keys[first], config.keys[second]]),
            false => self.set_keys(&[config.keys[first]]),
        }
    }

    /// Has the program verify by these keys, one or two, and sign by the first one. What is signed by a key that it had and is to
    /// keep is accepted all the time; and at no time is anything but a key taken for one. It may first wait for the end of
    /// the program's runs: milliseconds.
    ///
    /// # Errors
    /// [`Error::Map`], [`Error::Wait`].
    pub fn set_keys(&mut self, wanted: &[Key]) -> Result<(), Error> {
        let Config { keys, keys_in_use, .. } = self.config()?;
        let in_use = KeyUse(keys_in_use);
        let place_of =
            |key: &Key| (0..keys.len()).find(|place| in_use.verifies(*place) && keys[*place] == *key);
        match *wanted {
            [] => Ok(()),
            [signing, other, ..] => match (place_of(&signing), place_of(&other)) {
                // Nothing of what was is to stay. One after the other, since there are two places.
                (None, None) => self.set_keys(&[signing]).and_then(|()| self.set_keys(wanted)),
                (None, Some(known)) => self.add_key(1 - known, signing, KeyUse::new(1 - known, true), &keys),
                (Some(known), None) => self.add_key(1 - known, other, KeyUse::new(known, true), &keys),
                (Some(signing), Some(_)) => {
                    self.use_keys(KeyUse::new(signing, true));
                    Ok(())
                }
            },
            [only] => match (place_of(&only), 1 - in_use.signing()) {
                (None, free) => self.add_key(free, only, KeyUse::new(free, false), &keys),
                (Some(place), _) => {
                    self.use_keys(KeyUse::new(place, false));
                    Ok(())
                }
            },
        }
    }

    /// Writes a key to a place, where none is in use from now on that is not to stay, and goes on with these then.
    fn add_key(&mut self, place: usize, key: Key, next: KeyUse, keys: &[Key; 2]) -> Result<(), Error> {
        if keys[place] != key {
            // In a new map there is nothing to be read yet.
            if self.words.keys_in_use().load(Ordering::Acquire) != 0 {
                self.use_keys(KeyUse::new(1 - place, false));
                wait_for_runs(self.config.map().fd().as_fd()).map_err(Error::Wait)?;
            }
            self.words.put_key(place, key);
        }
        self.use_keys(next);
        Ok(())
    }

    fn use_keys(&self, in_use: KeyUse) {
        self.words.keys_in_use().store(in_use.0, Ordering::Release);
    }

    /// What the program knows of its node and cluster; zeros in a new map.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn config(&self) -> Result<Config, Error> {
        self.config.get(&0, 0).map(|plain| plain.0).map_err(Error::map("CONFIG"))
    }

    /// Has the program serve exactly these interfaces (by index).
    ///
    /// # Errors
    /// As [`Self::set_vips`].
    pub fn set_interfaces(&mut self, wanted: &BTreeMap<u32, Interface>) -> Result<(), Error> {
        let numbered = wanted.iter().map(|(index, interface)| {
            let number = self.numbers.of_interface(*index);
            Served { index: *index, number, reserved: 0, interface: *interface }
        });
        let wanted: Vec<Served> = numbered.collect();
        self.interfaces.set(self.words.at(INTERFACES), &wanted)
    }

    /// Has the program serve this interface, or know other addresses of it.
    ///
    /// # Errors
    /// As [`Self::set_vips`].
    pub fn set_interface(&mut self, index: u32, interface: Interface) -> Result<(), Error> {
        let served = self.interfaces.entries(self.words.at(INTERFACES));
        let mut wanted: BTreeMap<_, _> = served.map(|one| (one.index, one.interface)).collect();
        wanted.insert(index, interface);
        self.set_interfaces(&wanted)
    }

    /// Makes the groups' slots exactly these (group id → slot).
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_slots(&mut self, wanted: &BTreeMap<u32, u32>) -> Result<(), Error> {
        for gone in self.slots()?.keys().filter(|id| !wanted.contains_key(id)) {
            self.slots.remove(gone).map_err(Error::map("SLOTS"))?;
        }
        for (id, slot) in wanted {
            self.slots.insert(id, slot, 0).map_err(Error::map("SLOTS"))?;
        }
        Ok(())
    }

    /// The groups' slots (group id → slot).
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn slots(&self) -> Result<BTreeMap<u32, u32>, Error> {
        self.slots.iter().collect::<Result<_, _>>().map_err(Error::map("SLOTS"))
    }

    /// Makes the IPv4 VIPs exactly these, at one instant. If they are already, nothing is written; if not, this first waits
    /// for the end of the program's runs, where there may be some: milliseconds.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::NoLayout`], [`Error::Wait`].
    ///
    /// # Panics
    /// For a slot that no group has.
    pub fn set_vips(&mut self, wanted: &BTreeMap<Ipv4Addr, Vip>) -> Result<(), Error> {
        let placed = wanted.iter().map(|(vip, value)| maps::Vip {
            address: vip.octets(),
            slot: group_slot(value.slot),
            interface: self.numbers.of_interface(value.interface),
        });
        let wanted: Vec<_> = placed.collect();
        self.vips.set(self.words.at(VIPS), &wanted)
    }

    /// As [`Self::set_vips`], for those of IPv6.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn set_vips6(&mut self, wanted: &BTreeMap<Ipv6Addr, Vip6>) -> Result<(), Error> {
        let placed = wanted.iter().map(|(vip, value)| maps::Vip6 {
            address: vip.octets(),
            slot: group_slot(value.slot),
            interface: self.numbers.of_interface(value.interface),
            router: value.router,
        });
        let wanted: Vec<_> = placed.collect();
        self.vips6.set(self.words.at(VIPS6), &wanted)
    }

    /// Makes the virtual routers whose adverts are checked, counted and passed exactly these, by the index of the interface that
    /// they are on. Adverts of others pass as they came.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_vrids(&mut self, wanted: &BTreeMap<u32, Vrids>) -> Result<(), Error> {
        let mut sets = [Vrids::default(); VRID_SETS];
        for (interface, vrids) in wanted {
            if let Some(set) = sets.get_mut(usize::from(self.numbers.of_interface(*interface))) {
                *set = *vrids;
            }
        }
        for (number, set) in (0..).zip(sets) {
            self.vrids.set(number, Plain(set), 0).map_err(Error::map("VRIDS"))?;
        }
        Ok(())
    }

    /// A group's acceptor.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn acceptor(&self, slot: u32) -> Result<Acceptor, Error> {
        let locked = self.acceptors.get(&slot, LOCKED).map_err(Error::map("ACCEPTORS"))?;
        Ok(locked.0.state)
    }

    /// Gives a group an acceptor without a past, silent until `quarantine_until` (CLOCK_BOOTTIME, ns).
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn quarantine(&mut self, slot: u32, quarantine_until: u64) -> Result<(), Error> {
        let state = Acceptor { quarantine_until, ..Acceptor::default() };
        let locked = LockedAcceptor { lock: bpf_spin_lock::default(), reserved: 0, state };
        self.acceptors.set(slot, Plain(locked), LOCKED).map_err(Error::map("ACCEPTORS"))
    }

    /// All nodes heard, by id.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn peers(&self) -> Result<BTreeMap<u16, Peer>, Error> {
        let mut peers = BTreeMap::new();
        for entry in self.peers.iter() {
            let (id, peer) = entry.map_err(Error::map("PEERS"))?;
            if let Ok(id) = u16::try_from(id) {
                peers.insert(id, peer.0);
            }
        }
        Ok(peers)
    }

    /// Outcomes of frames since the maps were made, all CPUs together, by [`Counter`].
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn counters(&self) -> Result<Counters, Error> {
        let mut totals = [0; COUNTERS];
        for (index, total) in (0..).zip(&mut totals) {
            let values = self.counters.get(&index, 0).map_err(Error::map("COUNTERS"))?;
            *total = values.iter().sum();
        }
        Ok(Counters::new(totals))
    }
}

/// Where the editions' words are in `CONFIG`.
const INTERFACES: usize = offset_of!(Config, editions.interfaces);
const VIPS: usize = offset_of!(Config, editions.vips);
const VIPS6: usize = offset_of!(Config, editions.vips6);

/// A group's slot as entries have it.
#[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
fn group_slot(slot: u32) -> u16 {
    assert!((1..SLOTS).contains(&(slot as usize)), "slot {slot} of {SLOTS}");
    slot as u16
}

/// The numbers that entries have for interfaces. None is given a second time while an entry may still have it for another
/// interface: a VIP would lie there as well.
#[derive(Debug)]
struct Numbers {
    /// By index.
    known: BTreeMap<u32, u16>,
    taken: BTreeSet<u16>,
}

impl Numbers {
    /// Those of a former run.
    fn of<'a>(
        interfaces: impl Iterator<Item = &'a Served>,
        vips: impl Iterator<Item = &'a maps::Vip>,
        vips6: impl Iterator<Item = &'a maps::Vip6>,
    ) -> Self {
        let known: BTreeMap<_, _> = interfaces.map(|served| (served.index, served.number)).collect();
        let of_vips = vips.map(|vip| vip.interface).chain(vips6.map(|vip| vip.interface));
        let taken = known.values().copied().chain(of_vips).collect();
        Self { known, taken }
    }

    /// The number of the interface with this index.
    fn of_interface(&mut self, index: u32) -> u16 {
        *self.known.entry(index).or_insert_with(|| {
            let mut free = (0..u16::MAX).filter(|number| !self.taken.contains(number));
            // This run and the former one have `MAX_INTERFACES` each.
            let number = free.next().unwrap_or(u16::MAX);
            self.taken.insert(number);
            number
        })
    }
}

/// The nodes heard, for who looks at one of them often.
pub struct PeerTable {
    peers: HashMap<MapData, u32, Plain<Peer>>,
}

impl std::fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTable")
    }
}

impl PeerTable {
    /// Opens the map that is pinned there.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let map = MapData::from_pin(pins.map("PEERS")).map_err(Error::map("PEERS"))?;
        let peers = HashMap::try_from(Map::HashMap(map)).map_err(Error::map("PEERS"))?;
        Ok(Self { peers })
    }

    /// One of them, if it was heard.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn get(&self, node: u16) -> Result<Option<Peer>, Error> {
        match self.peers.get(&node.into(), 0) {
            Ok(peer) => Ok(Some(peer.0)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::map("PEERS")(error)),
        }
    }
}

/// Outcomes of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters([u64; COUNTERS]);

impl Counters {
    /// So many of each, by [`Counter`].
    pub const fn new(totals: [u64; COUNTERS]) -> Self {
        Self(totals)
    }

    /// How often this was the outcome.
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

/// What this node knows of its own leases, by slot; written before each proposal.
pub struct RenewalTable {
    renewals: Array<MapData, Plain<LockedRenewal>>,
}

impl std::fmt::Debug for RenewalTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RenewalTable")
    }
}

impl RenewalTable {
    pub(super) fn take(maps: &mut Maps<'_>) -> Result<Self, Error> {
        Ok(Self { renewals: table!(maps, "RENEWALS") })
    }

    /// Opens the map that is pinned there.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let map = MapData::from_pin(pins.map("RENEWALS")).map_err(Error::map("RENEWALS"))?;
        let renewals = Array::try_from(Map::Array(map)).map_err(Error::map("RENEWALS"))?;
        Ok(Self { renewals })
    }

    /// Starts counting answers to a new proposal.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set(&mut self, slot: u32, state: Renewal) -> Result<(), Error> {
        let locked = LockedRenewal { lock: bpf_spin_lock::default(), reserved: 0, state };
        self.renewals.set(slot, Plain(locked), LOCKED).map_err(Error::map("RENEWALS"))
    }

    /// What is known of a group's lease.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn get(&self, slot: u32) -> Result<Renewal, Error> {
        let locked = self.renewals.get(&slot, LOCKED).map_err(Error::map("RENEWALS"))?;
        Ok(locked.0.state)
    }
}
