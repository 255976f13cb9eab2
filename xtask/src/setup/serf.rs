//! Serf, and a Python library that handlers of it are written with: tests compare with them. Both are unpacked beside what is
//! built, and not installed: Debian's package would start a Serf agent on the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use vip_tests::serf::{FOLDER, LIBRARY, MODULE, PROGRAM};

use super::{Outcome, debian};
use crate::cargo::target_dir;

/// The version of the library, from PyPI.
const LIBRARY_PACKAGE: &str = "serf-master==0.4";

/// Where both are.
pub(crate) fn place() -> PathBuf {
    target_dir().join(FOLDER)
}

pub(super) fn program() -> Result<Outcome> {
    get("Serf to compare with", PROGRAM, download_serf)
}

pub(super) fn library() -> Result<Outcome> {
    get(&format!("{MODULE} to try handlers with"), &format!("{LIBRARY}/{MODULE}"), download_library)
}

/// Tests do without what cannot be had, and say so.
fn get(what: &str, within: &str, download: fn(&Path) -> Result<()>) -> Result<Outcome> {
    let place = place();
    if place.join(within).exists() {
        return Ok(Outcome::Found(what.to_owned()));
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(match download(&place) {
        Ok(()) => Outcome::Did(what.to_owned()),
        Err(error) => Outcome::Missing(format!("{what}: {error:#}")),
    })
}

fn download_serf(place: &Path) -> Result<()> {
    debian::unpack(&["serf"], place)
}

fn download_library(place: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    debian::run(pip.arg(place.join(LIBRARY)).arg(LIBRARY_PACKAGE)).map(drop)
}
