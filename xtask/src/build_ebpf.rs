//! `cargo xtask build-ebpf`: the XDP object as a file, built as the daemon's own build does it.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};

use crate::{cargo::target_dir, setup};

/// Builds the object and prints its path.
pub(crate) fn run() -> Result<ExitCode> {
    setup::ensure_build_tools()?;
    let out_dir = target_dir().join("ebpf");
    fs::create_dir_all(&out_dir).with_context(|| format!("cannot make {}", out_dir.display()))?;
    let object = ebpf_build::build(&out_dir)?;
    println!("{}", object.display());
    Ok(ExitCode::SUCCESS)
}
