//! Manual pages and completions, made by a program of the package `vip-user` from its own command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

/// Writes them into a directory of their own in `out`; gives that.
pub(super) fn write(out: &Path) -> Result<PathBuf> {
    let dir = out.join("manuals");
    let mut command = cargo("run");
    command.args(["--quiet", "--package", "vip-user", "--example", "manuals", "--"]).arg(&dir);
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(dir)
}

/// The manual pages among the files of that directory, sorted.
pub(super) fn pages(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut pages: Vec<_> =
        files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "8")).collect();
    pages.sort();
    Ok(pages)
}
