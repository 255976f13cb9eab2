//! The tables that the program looks up in ([`vip_common::table`]), in this process's memory: how they change while it does.
//!
//! A run of the program reads a table's edition once, and then entries of that edition alone. So whatever is in both
//! the former and the next edition is found at every instant, as the one or the other says, if no entry changes in an edition
//! while a run may read it:
//!
//! - The next edition is written to the half that is not in use. Runs that have begun before that was so may still read
//!   there. They are over when [`wait_for_runs`] returns; later ones read the half that is in use.
//! - It is whole when the one store comes that brings it into use, which no write before it comes after (`Release`). The
//!   program computes from what it reads there where it reads next, so no processor reads that first.
//! - The table has one writer: the pins are this process's ([`Pins::lock`](super::Pins::lock)).
//!
//! A daemon that dies in between leaves the former edition in use, and half a next one where nobody looks. The next daemon
//! does not know when that was, and waits as well.

use std::mem::offset_of;
use std::os::fd::AsFd as _;
use std::slice;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use aya::maps::{Map, MapData};
use vip_common::maps::Config;
use vip_common::siphash::Key;
use vip_common::table::{Edition, Entry, Found, PROBES};

use super::grace::wait_for_runs;
use super::mapping::Mapping;
use super::{Error, Maps};

/// A table of the program.
#[derive(Debug)]
pub(super) struct Table<E> {
    /// Both halves.
    places: Mapping<E>,
    /// A program of the same object that is loaded later names it by this descriptor.
    map: MapData,
    /// What the entries are.
    what: &'static str,
}

impl<E: Entry + PartialEq> Table<E> {
    pub(super) fn take(maps: &mut Maps<'_>, name: &'static str, what: &'static str) -> Result<Self, Error> {
        let Map::Array(map) = maps.take(name)? else { return Err(Error::Object(name)) };
        let places = Mapping::of_map(map.fd().as_fd(), E::SHAPE.places()).map_err(Error::mmap(name))?;
        Ok(Self { places, map, what })
    }

    /// The entries that are in use, in no order.
    pub(super) fn entries(&self, in_use: &AtomicU64) -> impl Iterator<Item = &E> {
        self.half(Edition(in_use.load(Ordering::Acquire))).iter().filter(|entry| !entry.is_free())
    }

    /// Makes the entries exactly these, of different keys. What is so already is not touched.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::NoLayout`], [`Error::Wait`]; then the table is as it was.
    pub(super) fn set(&mut self, in_use: &AtomicU64, wanted: &[E]) -> Result<(), Error> {
        let (what, count) = (self.what, wanted.len());
        if self.entries(in_use).count() == count && wanted.iter().all(|entry| self.has(in_use, entry)) {
            return Ok(());
        }
        if count > E::SHAPE.most() {
            return Err(Error::TooMany { what, count, most: E::SHAPE.most() });
        }
        let former = Edition(in_use.load(Ordering::Acquire));
        let mut half = vec![E::default(); E::SHAPE.half()];
        let next = former.next(wanted, &mut half).ok_or(Error::NoLayout { what, count })?;
        // In a new map there is nothing to be read yet.
        if former != Edition::default() {
            wait_for_runs(self.map.fd().as_fd()).map_err(Error::Wait)?;
        }
        self.half_mut(next).copy_from_slice(&half);
        in_use.store(next.0, Ordering::Release);
        Ok(())
    }

    fn has(&self, in_use: &AtomicU64, entry: &E) -> bool {
        let edition = Edition(in_use.load(Ordering::Acquire));
        let half = self.half(edition);
        let at = |place: u32| half.get((place - edition.start(E::SHAPE)) as usize);
        edition.way::<E>(entry.key()).search(0..PROBES, at) == Found::Entry(entry)
    }

    fn half(&self, edition: Edition) -> &[E] {
        let start = self.places.start().as_ptr().wrapping_add(edition.start(E::SHAPE) as usize);
        // SAFETY: mapped as long as this lives; only this process writes there, through `half_mut`.
        unsafe { slice::from_raw_parts(start, E::SHAPE.half()) }
    }

    fn half_mut(&mut self, edition: Edition) -> &mut [E] {
        let start = self.places.start().as_ptr().wrapping_add(edition.start(E::SHAPE) as usize);
        // SAFETY: as above; and no run of the program reads there while this process writes.
        unsafe { slice::from_raw_parts_mut(start, E::SHAPE.half()) }
    }
}

/// The words of `CONFIG` that change while the program runs, each at one instant.
#[derive(Debug)]
pub(super) struct ConfigWords(Mapping<Config>);

impl ConfigWords {
    pub(super) const fn new(config: Mapping<Config>) -> Self {
        Self(config)
    }

    /// Which of the keys are in use: see [`KeyUse`](vip_common::maps::KeyUse).
    pub(super) const fn keys_in_use(&self) -> &AtomicU16 {
        let word = self.0.start().as_ptr().cast::<u8>().wrapping_add(offset_of!(Config, keys_in_use)).cast();
        // SAFETY: as in `at`.
        unsafe { AtomicU16::from_ptr(word) }
    }

    /// Writes a key to a place (0 or 1) that no run of the program reads.
    pub(super) fn put_key(&self, place: usize, key: Key) {
        let first = offset_of!(Config, keys) + place * size_of::<Key>();
        for (index, word) in key.into_iter().enumerate() {
            self.at(first + index * size_of::<u64>()).store(word, Ordering::Relaxed);
        }
    }

    /// The one at this offset in [`Config`].
    pub(super) const fn at(&self, offset: usize) -> &AtomicU64 {
        let word = self.0.start().as_ptr().cast::<u8>().wrapping_add(offset).cast();
        // SAFETY: within the mapping, aligned, and accessed atomically by all sides.
        unsafe { AtomicU64::from_ptr(word) }
    }
}
