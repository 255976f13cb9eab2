//! Debian packages that are unpacked beside what is built, and not installed, as they would start services on the machine.
//! `cargo xtask setup` and the benches get them.

use std::{env, path::PathBuf};

/// Where packages are: the folder that the environment variable names, or else `folder` of the build's own.
pub(crate) fn place(variable: &str, folder: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).or_else(|| {
        // target/debug/deps/<this test>
        let this = env::current_exe().ok()?;
        let target = this.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
        Some(target?.join(folder))
    })
}
