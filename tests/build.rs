//! Compiles `src/wall_clock/preload.rs`, the shared object that gives a daemon a time of day of its own.

#![expect(clippy::expect_used, clippy::panic, reason = "a build script says what is wrong by panicking")]

use std::{env, path::Path, process::Command};

const SOURCE: &str = "src/wall_clock/preload.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "wall_clock"]);
    command.args(["-C", "panic=abort", "-C", "opt-level=s", SOURCE, "-o"]);
    let status = command.arg(Path::new(&out_dir).join("wall_clock.so")).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{command:?}: {status}"),
        Err(error) => panic!("{command:?}: {error}"),
    }
}
