//! The program's maps. Layouts, and who writes what, are in [`vip_common::maps`].

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, PerfEventArray, RingBuf};
use aya_ebpf::macros::btf_map;
use vip_common::maps::{
    COUNTERS as COUNTER_COUNT, Config, EVENTS_BYTES, Event, FirstFragment, Fragmented, Group, LockedAcceptor,
    LockedRenewal, MAX_FRAGMENTED, MAX_PEERS, MAX_TEES, Peer, SLOTS as SLOT_COUNT, Served, Standbys, Tee,
    VRID_SETS, Vip, Vip6, Vrids,
};
use vip_common::table::Entry;

/// An array in the daemon's memory as well.
type Mapped<T, const LEN: usize> = Array<T, LEN, { BPF_F_MMAPABLE as usize }>;

#[btf_map]
pub(crate) static CONFIG: Mapped<Config, 1> = Array::new();

#[btf_map]
pub(crate) static INTERFACES: Mapped<Served, { Served::SHAPE.places() }> = Array::new();

#[btf_map]
pub(crate) static VIPS: Mapped<Vip, { Vip::SHAPE.places() }> = Array::new();

#[btf_map]
pub(crate) static VIPS6: Mapped<Vip6, { Vip6::SHAPE.places() }> = Array::new();

#[btf_map]
pub(crate) static VRIDS: Array<Vrids, VRID_SETS> = Array::new();

#[btf_map]
pub(crate) static SLOTS: HashMap<u32, u32, SLOT_COUNT> = HashMap::new();

#[btf_map]
pub(crate) static GROUPS: Mapped<Group, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static ACCEPTORS: Array<LockedAcceptor, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static RENEWALS: Array<LockedRenewal, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static PEERS: HashMap<u32, Peer, MAX_PEERS> = HashMap::new();

#[btf_map]
pub(crate) static STANDBYS: Mapped<Standbys, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static TEES: PerCpuHashMap<u32, Tee, MAX_TEES> = PerCpuHashMap::new();

#[btf_map]
pub(crate) static FRAGMENTS: LruHashMap<Fragmented, FirstFragment, MAX_FRAGMENTED> = LruHashMap::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, COUNTER_COUNT> = PerCpuArray::new();

/// Not pinned: frames are kept for the daemon that gives the lease away, and for no later one.
#[btf_map]
pub(crate) static KEPT: PerfEventArray = PerfEventArray::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, EVENTS_BYTES> = RingBuf::new();
