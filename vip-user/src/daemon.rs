//! The daemon: the one driver of the election, which turns its actions into effects.

use crate::{config::Settings, exit::Failure};

/// Serves the configured VIPs until a signal asks to stop.
///
/// # Errors
/// What kept the daemon from starting, or stopped it.
pub fn run(settings: Settings) -> Result<(), Failure> {
    drop(settings);
    Err(Failure::refused("not built yet"))
}
