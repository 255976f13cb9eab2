//! What a figure was measured on, and of what.

use std::{fs, thread::available_parallelism};

use anyhow::{Context, Result};
use nix::sys::utsname::uname;
use serde::Serialize;

use crate::systems::Kind;

/// The machine, for the record.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        // Not every architecture names it.
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let processor = model.map_or("unknown", |(_, name)| name.trim()).to_owned();
        let kernel = uname()?.release().to_string_lossy().into_owned();
        Ok(Self { processor, processors: available_parallelism()?.get(), kernel })
    }

    /// In a line, with those that are measured on it.
    pub(super) fn with<'a>(&self, contestants: impl Iterator<Item = &'a Contestant>) -> String {
        let contestants =
            contestants.map(|Contestant { system, version, .. }| format!("{} ({version})", system.title()));
        let Self { processor, processors, kernel } = self;
        let contestants = contestants.collect::<Vec<_>>().join(", ");
        format!("{processors} processors, {processor}, Linux {kernel}; {contestants}")
    }
}

/// A system that takes part, for the record.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Contestant {
    pub(super) system: Kind,
    version: String,
    settings: String,
}

impl Contestant {
    pub(super) fn new(system: Kind) -> Result<Self> {
        Ok(Self { system, version: system.version()?, settings: system.settings() })
    }
}
