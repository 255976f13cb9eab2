//! Where entries lie, and that they are found there.
extern crate std;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::maps::{MAX_INTERFACES, MAX_VIPS, Served, Vip, Vip6};

/// Places that are looked at until an entry is found, on average of a table.
const MOST_PROBES: f64 = 2.0;

#[test]
fn vips_in_a_row_are_found_and_their_neighbours_are_not() {
    for count in [1, 10_000, MAX_VIPS] {
        let ipv4 = |number| vip(0x0a50_0000 + number);
        assert_found(
            &first(count, ipv4),
            &(0..1000).map(|after| ipv4(number(count) + after)).collect::<Vec<_>>(),
        );
        let ipv6 = |number: u32| vip6(0xfd77_0001 << 96 | u128::from(number));
        assert_found(
            &first(count, ipv6),
            &(0..1000).map(|after| ipv6(number(count) + after)).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn vips_anywhere_are_found_and_others_are_not() {
    for count in [1, 10_000, MAX_VIPS] {
        let random: BTreeSet<u32> = (0..).map(random).take(count + 1000).collect();
        let (vips, others): (Vec<_>, Vec<_>) = random.iter().partition(|number| **number % 17 != 0);
        let some = vips.len().min(count);
        assert_found(&of(&vips[..some], vip), &of(&others, vip));
        let spread = |number: u32| vip6(u128::from(number) * 0x1_0001_0000_0001_0000_0000_0001);
        assert_found(&of(&vips[..some], spread), &of(&others, spread));
    }
}

/// Input: VIPs of one /24 each, of every second address, and of networks that differ in their first bytes alone.
#[test]
fn vips_in_patterns_are_found() {
    let apart: [fn(u32) -> u32; 4] = [
        |number| number << 8,
        |number| number * 2,
        |number| number.reverse_bits(),
        |number| (number & 0xff) << 24 | number >> 8,
    ];
    for place in apart {
        assert_found(&first(MAX_VIPS, |number| vip(place(number))), &[]);
        assert_found(&first(MAX_VIPS, |number| vip6(u128::from(place(number)) << 64)), &[]);
    }
}

#[test]
fn interfaces_are_found_whatever_their_indices() {
    let served = |index| Served { index, ..Served::default() };
    for apart in [1, 2, 64, 1 << 16, 0x0400_0001] {
        let all: Vec<_> =
            (1..=number(MAX_INTERFACES)).map(|count| served(count.wrapping_mul(apart))).collect();
        assert_found(&all, &[served(u32::MAX), served(apart.wrapping_mul(65))]);
    }
    assert_found(&(0..).map(random).take(MAX_INTERFACES).map(served).collect::<Vec<_>>(), &[]);
}

/// Expected: the next edition, in the other half, has what is left, and nothing else.
#[test]
fn an_edition_does_not_know_what_was_in_the_one_before() {
    let all = first(10_000, vip);
    let (gone, rest) = all.split_at(5000);
    let mut table = Table::<Vip>::new();
    for entries in [&all[..], rest, gone, &[], &all] {
        let former = table.edition;
        table.replace(entries).unwrap();
        assert_ne!(former.start(Vip::SHAPE), table.edition.start(Vip::SHAPE));
        assert_eq!(all.iter().filter(|entry| table.has(entry)).count(), entries.len());
        assert!(entries.iter().all(|entry| table.has(entry)));
    }
}

/// Input: a new array.
#[test]
fn zeros_are_an_empty_edition() {
    assert!(!Table::<Vip>::new().has(&vip(0x0a50_0001)));
    assert!(!Table::<Vip6>::new().has(&vip6(1)));
}

/// Input: entries that all have the same way. Expected: each at its own place, of which the last is found as well; and none
/// of them too many.
#[test]
fn as_many_entries_as_a_way_has_places_lie_on_it() {
    let all: Vec<_> = (1..=PROBES + 1).map(Alike).collect();
    let (fitting, one_more) = all.split_at(PROBES as usize);
    let mut table = Table::new();
    table.replace(fitting).unwrap();
    assert!(fitting.iter().all(|entry| table.has(entry)));
    assert!(one_more.iter().all(|entry| !table.has(entry)));
    assert_eq!(table.replace(&all), None);
}

/// Input: as before, with one entry less than the way has places. Expected: what is not there is looked for up to the free place.
#[test]
fn a_way_ends_at_the_first_free_place() {
    let all: Vec<_> = (1..PROBES).map(Alike).collect();
    let mut table = Table::new();
    table.replace(&all).unwrap();
    let way = table.edition.way::<Alike>(AlikeKey(PROBES));
    assert_eq!(way.search(0..PROBES - 1, |place| table.at(place)), Found::Others);
    assert_eq!(way.search(0..PROBES, |place| table.at(place)), Found::Free);
}

#[test]
fn no_place_comes_twice_on_a_way_and_none_is_in_the_other_half() {
    for (key, word) in (0..1000).zip(1..) {
        let edition = Edition(word).successors(LEAST).next().unwrap();
        let places: BTreeSet<u32> =
            (0..PROBES).map(|probe| edition.way::<Served>(key).place(probe)).collect();
        assert_eq!(places.len(), PROBES as usize);
        let half = edition.start(Served::SHAPE)..edition.start(Served::SHAPE) + number(LEAST);
        assert!(places.iter().all(|place| half.contains(place)));
        let first: Vec<_> =
            (0..NEIGHBOURHOOD).map(|probe| edition.way::<Served>(key).place(probe) / NEIGHBOURHOOD).collect();
        assert_eq!(BTreeSet::from_iter(first).len(), 1);
    }
}

/// Whether all entries are found in a table of them, with few probes on average, and none of the others.
fn assert_found<E: Entry + PartialEq + core::fmt::Debug>(entries: &[E], others: &[E]) {
    let mut table = Table::new();
    table.replace(entries).unwrap_or_else(|| panic!("no layout for {} entries", entries.len()));
    let probes = entries.iter().map(|entry| table.probes_to(entry)).sum::<u32>();
    let average = f64::from(probes) / f64::from(number(entries.len()));
    assert!(average <= MOST_PROBES, "{average} probes to each of {} entries", entries.len());
    if let Some(found) = others.iter().find(|entry| table.has(entry)) {
        panic!("{found:?} is not there");
    }
}

/// A table as the program has it.
struct Table<E> {
    edition: Edition,
    places: Vec<E>,
}

impl<E: Entry + PartialEq> Table<E> {
    fn new() -> Self {
        Self { edition: Edition::default(), places: vec![E::default(); E::SHAPE.places()] }
    }

    /// As the daemon does it.
    fn replace(&mut self, entries: &[E]) -> Option<()> {
        let mut half = vec![E::default(); E::SHAPE.half()];
        self.edition = self.edition.next(entries, &mut half)?;
        let start = self.edition.start(E::SHAPE) as usize;
        self.places[start..][..half.len()].copy_from_slice(&half);
        Some(())
    }

    fn at(&self, place: u32) -> Option<&E> {
        self.places.get(place as usize)
    }

    fn has(&self, entry: &E) -> bool {
        match self.edition.way::<E>(entry.key()).search(0..PROBES, |place| self.at(place)) {
            Found::Entry(found) => found == entry,
            Found::Free | Found::Others => false,
        }
    }

    fn probes_to(&self, entry: &E) -> u32 {
        let way = self.edition.way::<E>(entry.key());
        let is_there = |probe: &u32| self.at(way.place(*probe)) == Some(entry);
        (0..PROBES).find(is_there).expect("an entry on its way") + 1
    }
}

fn vip(address: u32) -> Vip {
    Vip { address: address.to_be_bytes(), slot: 1, interface: 0 }
}

fn vip6(address: u128) -> Vip6 {
    Vip6 { address: address.to_be_bytes(), slot: 1, ..Vip6::default() }
}

fn first<E>(count: usize, entry: impl Fn(u32) -> E) -> Vec<E> {
    (0..number(count)).map(entry).collect()
}

fn of<E>(numbers: &[&u32], entry: impl Fn(u32) -> E) -> Vec<E> {
    numbers.iter().map(|number| entry(**number)).collect()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}

/// The number at this place of a fixed row of random ones.
fn random(place: u32) -> u32 {
    (spread(spread(u64::from(place) + 1)) >> 32) as u32
}

/// An entry that lies where all others of its kind do.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Alike(u32);

#[derive(Clone, Copy, PartialEq, Debug)]
struct AlikeKey(u32);

impl Key for AlikeKey {
    fn hash(self, multiplier: u64) -> u64 {
        multiplier
    }
}

impl Entry for Alike {
    type Key = AlikeKey;
    const SHAPE: Shape = Shape::for_entries(MAX_INTERFACES);

    fn key(&self) -> AlikeKey {
        AlikeKey(self.0)
    }

    fn is_free(&self) -> bool {
        self.0 == 0
    }
}
