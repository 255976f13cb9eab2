//! Tables of open addressing, in BPF arrays: where an entry lies, and how it is found. The XDP program looks up in them
//! what the daemon has put there.
//!
//! An array has two halves. One of them is in use, the *edition* that a word of [`Config`](crate::maps::Config) names; the
//! daemon builds the next one in the other half, and brings it into use by one store to that word. Within an edition,
//! entries are never moved, changed or removed. It takes as few places as it can do with, so that most of them stay in the
//! processor's caches.
//!
//! The way to a key goes through the places of one [`NEIGHBOURHOOD`], and on through others that are far away. An entry lies at
//! the first place on the way to its key that was free; so the way ends at a free place, and after [`PROBES`] places in any
//! case, as the verifier wants it.

use core::iter;
use core::ops::Range;

/// Places that are tried next to each other: as many as a cache line has of the smallest entries.
const NEIGHBOURHOOD: u32 = 8;
/// Most places on the way to a key.
pub const PROBES: u32 = 4 * NEIGHBOURHOOD;
/// Least places of an edition.
const LEAST: usize = 2 * PROBES as usize;
/// Of eight places of an edition, this many are taken at most. With more, hardly any multiplier would do.
const TAKEN: usize = 5;
/// Multipliers that are tried for an edition of so many places; most often, one of the first two does.
const TRIES: u64 = 64;

/// How many places a table has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Of the number of places in a half, which is a power of two.
    bits: u32,
}

impl Shape {
    /// For so many entries: each half has twice as many places.
    pub const fn for_entries(most: usize) -> Self {
        Self { bits: (2 * most).next_power_of_two().ilog2() }
    }

    /// Most entries.
    pub const fn most(self) -> usize {
        self.half() / 2
    }

    /// Places of one half.
    pub const fn half(self) -> usize {
        1 << self.bits
    }

    /// Places of the array.
    pub const fn places(self) -> usize {
        2 << self.bits
    }
}

/// What entries are found by.
pub trait Key: Copy + PartialEq {
    /// A number whose upper half depends on the whole key, and on a multiplier in many ways.
    fn hash(self, multiplier: u64) -> u64;
}

impl Key for u32 {
    #[inline(always)]
    fn hash(self, multiplier: u64) -> u64 {
        spread(u64::from(self).wrapping_mul(multiplier))
    }
}

impl Key for u128 {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "two halves")]
    fn hash(self, multiplier: u64) -> u64 {
        let (low, high) = (self as u64, (self >> 64) as u64);
        spread((spread(low.wrapping_mul(multiplier)) ^ high).wrapping_mul(multiplier))
    }
}

/// The golden ratio's fraction, times 2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A product's lower bits depend on its factors' lower bits alone: the upper ones are brought down, and multiplied up again.
#[inline(always)]
const fn spread(product: u64) -> u64 {
    (product ^ product >> 32).wrapping_mul(GOLDEN)
}

/// An entry of such a table; of zeros: a free place.
pub trait Entry: Copy + Default {
    /// The type of [`Self::key`].
    type Key: Key;
    /// Of its table.
    const SHAPE: Shape;

    /// What it is found by.
    fn key(&self) -> Self::Key;

    /// Whether there is no entry at this place.
    fn is_free(&self) -> bool;
}

/// The entries of a table at one time, as the word that names them. Its lowest bit is the half, and the next ones of the lower half
/// of the word are set for all bits that a place in there has. The whole word is the multiplier. Zeros: a new array, and
/// nothing in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Edition(pub u64);

impl Edition {
    /// Where its half begins in the array.
    #[inline(always)]
    pub const fn start(self, shape: Shape) -> u32 {
        ((self.0 & 1) as u32) << shape.bits
    }

    /// The way to a key.
    #[inline(always)]
    pub fn way<E: Entry>(self, key: E::Key) -> Way<E> {
        Way { edition: self, key, hash: key.hash(self.0 | 1) }
    }

    /// Makes `half` one of these entries, of different keys, and nothing else. Gives the edition that has them in the other
    /// half than this one, or `None` if they do not all lie on their ways, whatever the multiplier.
    pub fn next<E: Entry>(self, entries: &[E], half: &mut [E]) -> Option<Self> {
        let enough = (entries.len() * 8).div_ceil(TAKEN).next_power_of_two().max(LEAST);
        let sizes = iter::successors(Some(enough.min(half.len())), |size| Some(size * 2));
        let sizes = sizes.take_while(|size| *size <= E::SHAPE.half());
        sizes.flat_map(|size| self.successors(size)).find(|edition| {
            half.fill(E::default());
            entries.iter().all(|entry| edition.put(entry, half))
        })
    }

    /// Editions of so many places in the other half.
    fn successors(self, places: usize) -> impl Iterator<Item = Self> {
        let mask = places as u64 - 1;
        let low = mask << 1 | !self.0 & 1;
        let random = move |number: u64| spread(self.0.wrapping_add(number.wrapping_mul(GOLDEN)));
        (1..=TRIES).map(move |number| Self(random(number) & !u64::from(u32::MAX) | low))
    }

    fn put<E: Entry>(self, entry: &E, half: &mut [E]) -> bool {
        let way = self.way::<E>(entry.key());
        let mut places = (0..PROBES).map(|probe| (way.place(probe) - self.start(E::SHAPE)) as usize);
        let free = places.find(|place| half[*place].is_free());
        if let Some(place) = free {
            half[place] = *entry;
        }
        free.is_some()
    }
}

/// The places where an entry may lie, in order.
#[derive(Clone, Copy, Debug)]
pub struct Way<E: Entry> {
    /// In which they are.
    pub edition: Edition,
    /// Of the entry.
    pub key: E::Key,
    /// Of the key, by the edition's multiplier.
    pub hash: u64,
}

/// What was found on a part of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a, E> {
    /// The entry.
    Entry(&'a E),
    /// A free place: the way ends here.
    Free,
    /// Others' entries.
    Others,
}

impl<E: Entry> Way<E> {
    /// Looks at some of the places; `at` has what lies there.
    #[inline(always)]
    pub fn search<'a>(self, probes: Range<u32>, at: impl Fn(u32) -> Option<&'a E>) -> Found<'a, E> {
        for probe in probes {
            let Some(entry) = at(self.place(probe)) else { return Found::Free };
            if entry.is_free() {
                return Found::Free;
            }
            if entry.key() == self.key {
                return Found::Entry(entry);
            }
        }
        Found::Others
    }

    /// The place in the array that is looked at after so many others.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves of words")]
    pub fn place(self, probe: u32) -> u32 {
        let first = (self.hash >> 32) as u32;
        let mask = self.edition.0 as u32 >> 1;
        // From neighbourhood to neighbourhood by an odd number of them: each comes once.
        let step = self.hash as u32 & !(2 * NEIGHBOURHOOD - 1) | NEIGHBOURHOOD;
        let far = first.wrapping_add((probe / NEIGHBOURHOOD).wrapping_mul(step));
        let near = far & !(NEIGHBOURHOOD - 1) | first.wrapping_add(probe) & (NEIGHBOURHOOD - 1);
        self.edition.start(E::SHAPE) | near & mask
    }
}

#[cfg(test)]
mod tests;
