//! Time, told backwards: all clocks show [`NOW`] for ever, and what they have stamped moves into the past.
//!
//! The rules compare times of one clock with each other and never ask for the date, so states that differ in nothing
//! but how long ago everything began are one. Together with forgetting what is over this makes the states of a
//! cluster that runs for ever finite.

use crate::letters::Letter;
use crate::plane::Plane;

/// What every clock shows.
pub const NOW: u64 = 1_000_000;

/// What the clock of a fast node gains in a tick of true time.
pub const FAST: u64 = 100;

/// The same for a slow one: clocks differ by the drift bound, to the last unit.
pub const SLOW: u64 = 99;

/// What a word says whose time is over, if it was not disarmed.
pub(super) const OVER: u64 = 1;

/// A deadline, when so much time has passed; 0 = it is over.
pub(super) fn deadline(at: u64, passed: u64) -> u64 {
    if at > NOW + passed { at - passed } else { 0 }
}

/// A stamp, when so much time has passed; 0 = it is `limit` old or more, or was none.
pub(super) fn stamp(at: u64, passed: u64, limit: u64) -> u64 {
    if at != 0 && NOW + passed - at < limit { at - passed } else { 0 }
}

/// The lease word, when so much time has passed.
pub(super) fn word(until: u64, passed: u64) -> u64 {
    if until == 0 { 0 } else { deadline(until, passed).max(OVER) }
}

/// Lets so much time pass for a data plane, which forgets what has become meaningless.
pub(super) fn pass<const N: usize>(plane: &mut Plane<N>, passed: u64) {
    plane.acceptor.expires = deadline(plane.acceptor.expires, passed);
    plane.acceptor.quarantine_until = deadline(plane.acceptor.quarantine_until, passed);
    plane.lease_until = word(plane.lease_until, passed);
    for at in &mut plane.renewal.accepted_at {
        // Nobody may serve any more for having been accepted then.
        *at = stamp(*at, passed, plane.renewal.serving);
    }
}

/// Lets so much time pass by the clock that has stamped a letter; 0 = too long ago to mean anything.
pub(super) fn age(letter: &mut Letter, passed: u64, lease: u64) {
    letter.sent_at = stamp(letter.sent_at, passed, lease);
}
