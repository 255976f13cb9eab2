//! Ctrl-C without leftovers: SIGINT, SIGTERM and SIGHUP become a flag that every wait looks at.
//!
//! A program that calls [`watch`] unwinds by ordinary errors when it is interrupted, so that each `Drop` cleans up.
//! A second signal ends it at once; what that leaves is removed by [`crate::lab::sweep_leftovers`] next time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::clock::Stamp;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The error of everything that stopped because the user asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// From now on the first SIGINT, SIGTERM or SIGHUP sets the flag; the second one of a kind has its default effect.
pub fn watch() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESETHAND | SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler stores into an atomic and does nothing else, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot handle {signal}"))?;
    }
    Ok(())
}

/// Fails with [`Interrupted`] once a signal has come.
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) {
        bail!(Interrupted);
    }
    Ok(())
}

/// Lets `span` pass, or fails with [`Interrupted`] within a few milliseconds of a signal.
pub fn pause(span: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(10);
    let end = Stamp::now() + span;
    loop {
        check()?;
        let now = Stamp::now();
        if now >= end {
            return Ok(());
        }
        end.min(now + STEP).sleep_until();
    }
}

extern "C" fn note(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
}
