//! What goes from this process to no other one: the keys in its memory, and its capabilities.

use std::fmt::Display;

use caps::CapSet;
use nix::sys::prctl;

use crate::exit::Failure;

/// From now on no core dump is made of this process, and no other one of its user reads its memory or traces it: handlers are
/// of the same user. Root still can.
///
/// # Errors
/// None are known.
pub fn seal_memory() -> Result<(), Failure> {
    prctl::set_dumpable(false).map_err(|error| failed("seal the memory", error))
}

/// The programs that this thread starts from now on, and threads that it makes, have none of the capabilities that were
/// given to this process as one that is not root's. To be called before there are other threads.
///
/// # Errors
/// None are known.
pub fn keep_capabilities() -> Result<(), Failure> {
    // In this order, since what is ambient has to be inheritable.
    [CapSet::Ambient, CapSet::Inheritable]
        .into_iter()
        .try_for_each(|set| caps::clear(None, set))
        .map_err(|error| failed("keep capabilities from handlers", error))
}

fn failed(what: &str, error: impl Display) -> Failure {
    Failure::refused(format!("cannot {what}: {error}"))
}
