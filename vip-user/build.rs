//! Embeds the XDP object, built by the one way there is: `ebpf-build`.

use std::env;
use std::path::Path;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    if env::var_os("CARGO_FEATURE_DAEMON").is_none() {
        return Ok(());
    }
    for source in ebpf_build::sources() {
        println!("cargo:rerun-if-changed={}", source.display());
    }
    let out_dir = env::var_os("OUT_DIR").context("OUT_DIR: not run by cargo")?;
    ebpf_build::build(Path::new(&out_dir))?;
    Ok(())
}
