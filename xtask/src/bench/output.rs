//! Where benches leave what they have measured: files in `target/bench/`, JSON on stdout, and progress on a
//! terminal.

use std::{
    fs,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::plot::Plot;
use crate::cargo::target_dir;

/// Writes `<name>.json` and `<name>.svg`, and says so.
pub(super) fn write(name: &str, results: &impl Serialize, plot: &Plot) -> Result<()> {
    keep(name, results)?;
    let svg = path(name, "svg")?;
    plot.write(&svg)?;
    eprintln!("wrote {}", svg.display());
    Ok(())
}

/// Writes `<name>.json`, and says so.
pub(super) fn keep(name: &str, results: &impl Serialize) -> Result<()> {
    let json = path(name, "json")?;
    fs::write(&json, serde_json::to_vec_pretty(results)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    progress("");
    eprintln!("wrote {}", json.display());
    Ok(())
}

fn path(name: &str, ending: &str) -> Result<PathBuf> {
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir.join(format!("{name}.{ending}")))
}

/// What `--json` asks for.
pub(super) fn print_json(results: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(results)?);
    Ok(())
}

/// Says how long a bench will take, about.
pub(super) fn announce(span: Duration) {
    eprintln!("takes about {} s", span.as_secs());
}

/// One line that is written over again and again; only a person wants it.
pub(super) fn progress(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
