//! The program's maps. Layouts, and who writes what, are in [`vip_common::maps`].

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, PerfEventArray, RingBuf};
use aya_ebpf::macros::btf_map;
use vip_common::maps::{
    COUNTERS as COUNTER_COUNT, Config, EVENTS_BYTES, Event, Group, Interface, LockedAcceptor, LockedRenewal,
    MAX_INTERFACES, MAX_PEERS, MAX_VIPS, Peer, SLOTS as SLOT_COUNT, Vip, Vip6,
};

#[btf_map]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();

#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, Interface, MAX_INTERFACES> = HashMap::new();

#[btf_map]
pub(crate) static VIPS: HashMap<[u8; 4], Vip, MAX_VIPS> = HashMap::new();

#[btf_map]
pub(crate) static VIPS6: HashMap<[u8; 16], Vip6, MAX_VIPS> = HashMap::new();

#[btf_map]
pub(crate) static SLOTS: HashMap<u32, u32, SLOT_COUNT> = HashMap::new();

#[btf_map]
pub(crate) static GROUPS: Array<Group, SLOT_COUNT, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
pub(crate) static ACCEPTORS: Array<LockedAcceptor, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static RENEWALS: Array<LockedRenewal, SLOT_COUNT> = Array::new();

#[btf_map]
pub(crate) static PEERS: HashMap<u32, Peer, MAX_PEERS> = HashMap::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, COUNTER_COUNT> = PerCpuArray::new();

/// Not pinned: frames are kept for the daemon that gives the lease away, and for no later one.
#[btf_map]
pub(crate) static KEPT: PerfEventArray = PerfEventArray::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, EVENTS_BYTES> = RingBuf::new();
