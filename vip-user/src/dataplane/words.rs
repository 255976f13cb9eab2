//! The lease words: the `GROUPS` map in this process's memory, where arming and disarming are one store each.
//! Without XDP, memory of this process alone takes its place.

use std::mem::offset_of;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use aya::maps::{Map, MapData};
use vip_common::lease::{Acceptor, Ballot, extension, held};
use vip_common::maps::{Group, Role, SLOTS, Stale};

use super::mapping::Mapping;
use super::{Error, Maps};

const GROUPS: &str = "GROUPS";

/// Shared view of the `GROUPS` map, or of what takes its place; clones are the same memory. Slots are below
/// [`SLOTS`].
#[derive(Clone, Debug)]
pub struct Words {
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// All access to it is atomic.
    groups: Mapping<Group>,
    /// A program of the same object that is loaded later names it by this descriptor. `None`: memory of this
    /// process.
    _map: Option<MapData>,
}

/// What a group's entry says, read at one time. The acceptor's three fields are read one after the other: they may be
/// of two neighbouring states, and only `holder_until` is acted on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Word {
    /// The lease word.
    pub lease_until: u64,
    /// Until when somebody's lease runs, by this node's acceptor.
    pub holder_until: u64,
    /// That lease's ballot.
    pub holder_ballot: Ballot,
}

impl Words {
    pub(super) fn map(maps: &mut Maps<'_>) -> Result<Self, Error> {
        let Map::Array(groups) = maps.take(GROUPS)? else { return Err(Error::Object(GROUPS)) };
        let mapping = Mapping::of_map(groups.fd().as_fd(), SLOTS).map_err(Error::mmap(GROUPS))?;
        Ok(Self { memory: Arc::new(Memory { groups: mapping, _map: Some(groups) }) })
    }

    /// Words that no program knows of, all of them disarmed: they end with this process.
    ///
    /// # Errors
    /// The system has no memory left.
    pub fn in_process() -> Result<Self, Error> {
        let groups = Mapping::of_process(SLOTS).map_err(Error::mmap(GROUPS))?;
        Ok(Self { memory: Arc::new(Memory { groups, _map: None }) })
    }

    /// Reads a group's entry.
    pub fn read(&self, slot: u32) -> Word {
        Word {
            lease_until: self.lease_until(slot).load(Ordering::Acquire),
            holder_until: self.word(slot, offset_of!(Group, holder_until)).load(Ordering::Acquire),
            holder_ballot: Ballot(self.word(slot, offset_of!(Group, holder_ballot)).load(Ordering::Acquire)),
        }
    }

    /// Where the node is that has the group's lease, as far as this node's acceptor knows; zeros if that is unknown.
    pub fn holder_mac(&self, slot: u32) -> [u8; 6] {
        std::array::from_fn(|index| {
            let byte = self.field(slot, offset_of!(Group, holder_mac) + index);
            // SAFETY: `field` gives a live address that all sides access atomically.
            unsafe { AtomicU8::from_ptr(byte) }.load(Ordering::Acquire)
        })
    }

    /// Whether this node serves the group at `now`.
    pub fn holds(&self, slot: u32, now: u64) -> bool {
        held(self.lease_until(slot).load(Ordering::Acquire), now)
    }

    /// Lets the data plane serve the group until `until`. The caller has a quorum for it.
    pub fn arm(&self, slot: u32, until: u64) {
        self.lease_until(slot).fetch_max(until, Ordering::AcqRel);
    }

    /// Lets the data plane serve the group until `until`, and not longer, whatever was promised before. For a group of VRRP,
    /// whose word has the caller as its only writer.
    pub fn promise(&self, slot: u32, until: u64) {
        self.lease_until(slot).store(until, Ordering::Release);
    }

    /// Stops the data plane from serving the group, at once; no extension under way undoes it.
    pub fn disarm(&self, slot: u32) {
        self.lease_until(slot).store(0, Ordering::Release);
    }

    /// Moves the word forward after a renewal, as the XDP program does: never from 0, whoever else changes it
    /// meanwhile.
    pub fn extend(&self, slot: u32, until: u64) {
        let extended = |word| extension(word, until);
        // Refused where the word is to stay as it is.
        let _ = self.lease_until(slot).fetch_update(Ordering::AcqRel, Ordering::Acquire, extended);
    }

    /// Shows whose lease this node's acceptor knows of, as the XDP program does.
    pub fn show(&self, slot: u32, acceptor: &Acceptor) {
        self.word(slot, offset_of!(Group, holder_until)).store(acceptor.expires, Ordering::Release);
        self.word(slot, offset_of!(Group, holder_ballot)).store(acceptor.ballot, Ordering::Release);
    }

    /// Whether the daemon knows that it holds the group.
    pub fn is_holder(&self, slot: u32) -> bool {
        self.half_word(slot, offset_of!(Group, role)).load(Ordering::Acquire) == Role::Holder as u32
    }

    /// Tells the data plane who takes the answers to renewals.
    pub fn set_role(&self, slot: u32, role: Role) {
        self.half_word(slot, offset_of!(Group, role)).store(role as u32, Ordering::Release);
    }

    /// Tells the data plane what becomes of packets that reach this node while it does not serve the group.
    pub fn set_stale(&self, slot: u32, stale: Stale) {
        self.half_word(slot, offset_of!(Group, stale)).store(stale as u32, Ordering::Release);
    }

    /// Tells the data plane the MAC address that neighbours have the group's VIPs at; zeros: the interface's own. Not to be
    /// called while the group is served.
    pub fn set_virtual_mac(&self, slot: u32, mac: [u8; 6]) {
        for (index, byte) in mac.into_iter().enumerate() {
            let place = self.field(slot, offset_of!(Group, virtual_mac) + index);
            // SAFETY: `field` gives a live address that all sides access atomically.
            unsafe { AtomicU8::from_ptr(place) }.store(byte, Ordering::Release);
        }
    }

    /// Names the slot for those who read the map.
    pub fn set_id(&self, slot: u32, id: u32) {
        self.half_word(slot, offset_of!(Group, id)).store(id, Ordering::Release);
    }

    fn lease_until(&self, slot: u32) -> &AtomicU64 {
        self.word(slot, offset_of!(Group, lease_until))
    }

    fn word(&self, slot: u32, offset: usize) -> &AtomicU64 {
        // SAFETY: `field` gives a live, aligned address of eight bytes that all sides access atomically.
        unsafe { AtomicU64::from_ptr(self.field(slot, offset).cast()) }
    }

    fn half_word(&self, slot: u32, offset: usize) -> &AtomicU32 {
        // SAFETY: as in `word`, for four bytes.
        unsafe { AtomicU32::from_ptr(self.field(slot, offset).cast()) }
    }

    /// # Panics
    /// For a slot that is not: slots come from this node's own table.
    fn field(&self, slot: u32, offset: usize) -> *mut u8 {
        assert!((slot as usize) < SLOTS, "slot {slot} of {SLOTS}");
        self.memory.groups.start().as_ptr().wrapping_add(slot as usize).cast::<u8>().wrapping_add(offset)
    }
}
