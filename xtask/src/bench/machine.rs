//! What a figure is of: the machine and the programs.

use std::{ffi::OsStr, fs, process::Command, thread};

use anyhow::{Context, Result};
use serde::Serialize;

/// The machine that a bench runs on.
#[derive(Serialize)]
pub(super) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
}

impl Machine {
    /// This one.
    pub(super) fn describe() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let cpuinfo = read("/proc/cpuinfo")?;
        Ok(Self {
            processor: model(&cpuinfo).unwrap_or("unknown").to_owned(),
            processors: thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }
}

/// The first line of what `program --version` prints.
pub(super) fn version(program: impl AsRef<OsStr>) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Not every architecture names it.
fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_known_by_its_model_where_that_is_told() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(model("processor\t: 0\nCPU part\t: 0xd0c\n"), None);
    }
}
