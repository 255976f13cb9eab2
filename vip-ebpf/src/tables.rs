//! The entries of VIPs and interfaces, by what frames say. Where they lie is [`vip_common::table`]'s to know.

use core::ptr;

use vip_common::maps::{Config, Served, Vip, Vip6};
use vip_common::table::{Edition, Entry, Found, PROBES, Way};

use crate::maps::{INTERFACES, VIPS, VIPS6};

/// The VIP of this IPv4 address.
#[inline(always)]
pub(crate) fn vip(config: &Config, address: [u8; 4]) -> Option<&'static Vip> {
    find(&config.editions.vips, u32::from_ne_bytes(address))
}

/// The VIP of this IPv6 address.
#[inline(always)]
pub(crate) fn vip6(config: &Config, address: [u8; 16]) -> Option<&'static Vip6> {
    find(&config.editions.vips6, u128::from_ne_bytes(address))
}

/// The entry of the interface with this index, if the daemon serves it.
#[inline(always)]
pub(crate) fn served(config: &Config, index: u32) -> Option<&'static Served> {
    find(&config.editions.interfaces, index)
}

/// An entry of a table in a map.
trait Placed: Entry + 'static {
    /// What lies at a place.
    fn at(place: u32) -> Option<&'static Self>;
}

impl Placed for Vip {
    #[inline(always)]
    fn at(place: u32) -> Option<&'static Self> {
        VIPS.get(place)
    }
}

impl Placed for Vip6 {
    #[inline(always)]
    fn at(place: u32) -> Option<&'static Self> {
        VIPS6.get(place)
    }
}

impl Placed for Served {
    #[inline(always)]
    fn at(place: u32) -> Option<&'static Self> {
        INTERFACES.get(place)
    }
}

/// Most ways end at the first place.
#[inline(always)]
fn find<E: Placed>(edition: &u64, key: E::Key) -> Option<&'static E> {
    // SAFETY: a reference. The daemon may store to it meanwhile; this run of the program goes on with what it has read, which
    // the daemon leaves as it is until the run ends.
    let edition = unsafe { ptr::from_ref(edition).read_volatile() };
    let way = Edition(edition).way::<E>(key);
    match way.search(0..1, E::at) {
        Found::Entry(entry) => Some(entry),
        Found::Free => None,
        Found::Others => find_further(edition, key, way.hash),
    }
}

/// A function of its own, so that the program holds each loop once. It takes numbers, which fit registers: a [`Way`] would be
/// written to the stack each time, in case it is gone on with.
#[inline(never)]
fn find_further<E: Placed>(edition: u64, key: E::Key, hash: u64) -> Option<&'static E> {
    let way = Way::<E> { edition: Edition(edition), key, hash };
    match way.search(1..PROBES, E::at) {
        Found::Entry(entry) => Some(entry),
        Found::Free | Found::Others => None,
    }
}
