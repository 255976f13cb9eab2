//! Where benches leave what they have measured: files in `target/bench/`, JSON on stdout, and progress on a
//! terminal.

use std::{
    fs,
    io::{IsTerminal, stderr},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::plot::Plot;
use crate::cargo::target_dir;

/// Writes `<name>.json` and `<name>.svg`, and says so.
pub(super) fn write(name: &str, results: &impl Serialize, plot: &Plot) -> Result<()> {
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let [json, svg] = ["json", "svg"].map(|ending| dir.join(format!("{name}.{ending}")));
    fs::write(&json, serde_json::to_vec_pretty(results)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    plot.write(&svg)?;
    progress("");
    eprintln!("wrote {} and {}", json.display(), svg.display());
    Ok(())
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
