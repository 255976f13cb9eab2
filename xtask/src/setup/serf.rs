//! Serf, and a Python library that handlers of it are written with: tests compare with them. Both are unpacked beside what is
//! built, and not installed: Debian's package would start a Serf agent on the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use vip_tests::serf::{FOLDER, LIBRARY, MODULE, PROGRAM};

use super::{Outcome, update_package_lists};
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
    update_package_lists()?;
    let partial = place.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir(&partial)?;
    // apt-get downloads into the directory that it runs in.
    run(Command::new("apt-get").args(["download", "--quiet=2", "serf"]).current_dir(&partial))?;
    let archive = fs::read_dir(&partial)?.next().context("apt-get download serf: no file")??.path();
    run(Command::new("dpkg-deb").arg("--extract").args([&archive, &partial]))?;
    fs::rename(partial.join("usr"), place.join("usr"))?;
    Ok(fs::remove_dir_all(partial)?)
}

fn download_library(place: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    run(pip.arg(place.join(LIBRARY)).arg(LIBRARY_PACKAGE))
}

fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, stderr.trim().lines().last().unwrap_or_default());
    }
    Ok(())
}
