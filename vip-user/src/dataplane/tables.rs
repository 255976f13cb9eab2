//! The maps that the daemon fills and reads by system calls. None of them is touched between two heartbeats.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use vip_common::lease::{Acceptor, Renewal};
use vip_common::maps::{
    COUNTERS, Config, Counter, Interface, LockedAcceptor, LockedRenewal, Peer, Vip, Vip6, bpf_spin_lock,
};

use super::{Error, Maps};

/// Take the value's spin lock (`BPF_F_LOCK`, Linux 5.1).
const LOCKED: u64 = 4;

/// A map value of `vip-common`, for aya.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);

macro_rules! plain {
    ($($layout:ty),+) => {
        $(
            // SAFETY: `repr(C)`, made of integers and arrays of them, valid for any bit pattern.
            unsafe impl Pod for Plain<$layout> {}
        )+
    };
}
plain!(Config, Interface, LockedAcceptor, LockedRenewal, Peer, Vip, Vip6);

/// The maps of the daemon's control side.
pub struct Tables {
    config: Array<MapData, Plain<Config>>,
    interfaces: HashMap<MapData, u32, Plain<Interface>>,
    vips: HashMap<MapData, [u8; 4], Plain<Vip>>,
    vips6: HashMap<MapData, [u8; 16], Plain<Vip6>>,
    slots: HashMap<MapData, u32, u32>,
    acceptors: Array<MapData, Plain<LockedAcceptor>>,
    peers: HashMap<MapData, u32, Plain<Peer>>,
    counters: PerCpuArray<MapData, u64>,
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
        Ok(Self {
            config: table!(maps, "CONFIG"),
            interfaces: table!(maps, "INTERFACES"),
            vips: table!(maps, "VIPS"),
            vips6: table!(maps, "VIPS6"),
            slots: table!(maps, "SLOTS"),
            acceptors: table!(maps, "ACCEPTORS"),
            peers: table!(maps, "PEERS"),
            counters: table!(maps, "COUNTERS"),
        })
    }

    /// Sets what the program knows of its node and cluster.
    ///
    /// # Errors
    /// [`Error::Map`], as for every access here.
    pub fn set_config(&mut self, config: Config) -> Result<(), Error> {
        self.config.set(0, Plain(config), 0).map_err(Error::map("CONFIG"))
    }

    /// What the program knows of its node and cluster; zeros in a new map.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn config(&self) -> Result<Config, Error> {
        self.config.get(&0, 0).map(|plain| plain.0).map_err(Error::map("CONFIG"))
    }

    /// Tells the program the addresses of an interface, before it is attached there.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_interface(&mut self, index: u32, interface: Interface) -> Result<(), Error> {
        self.interfaces.insert(index, Plain(interface), 0).map_err(Error::map("INTERFACES"))
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

    /// Has the program serve none but these interfaces.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn keep_interfaces(&mut self, served: &[u32]) -> Result<(), Error> {
        let known: Result<Vec<u32>, _> = self.interfaces.keys().collect();
        for gone in known.map_err(Error::map("INTERFACES"))?.iter().filter(|index| !served.contains(index)) {
            self.interfaces.remove(gone).map_err(Error::map("INTERFACES"))?;
        }
        Ok(())
    }

    /// Makes the IPv4 VIPs exactly these. What stays is not touched.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_vips(&mut self, wanted: &BTreeMap<Ipv4Addr, Vip>) -> Result<(), Error> {
        let wanted = wanted.iter().map(|(vip, value)| (vip.octets(), Plain(*value))).collect();
        replace(&mut self.vips, &wanted).map_err(Error::map("VIPS"))
    }

    /// As [`Self::set_vips`], for those of IPv6.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn set_vips6(&mut self, wanted: &BTreeMap<Ipv6Addr, Vip6>) -> Result<(), Error> {
        let wanted = wanted.iter().map(|(vip, value)| (vip.octets(), Plain(*value))).collect();
        replace(&mut self.vips6, &wanted).map_err(Error::map("VIPS6"))
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

/// Makes the entries of a map exactly these.
fn replace<K: Pod + Ord, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    wanted: &BTreeMap<K, V>,
) -> Result<(), MapError> {
    let present: Vec<K> = map.keys().collect::<Result<_, MapError>>()?;
    for gone in present.iter().filter(|key| !wanted.contains_key(key)) {
        map.remove(gone)?;
    }
    wanted.iter().try_for_each(|(key, value)| map.insert(key, value, 0))
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
