//! HAProxy, nginx, wrk and curl, for tests and benches with real front ends.

use std::{fs, path::PathBuf};

use anyhow::Result;
use vip_tests::fronts::{FOLDER, Program};

use super::{Outcome, debian};
use crate::cargo::target_dir;

/// What the tests run, and what benches run beside it; the packages have the same names.
const PROGRAMS: [&str; 4] = ["haproxy", "nginx", "wrk", "curl"];

/// Where they are, unless they are installed.
pub(crate) fn place() -> PathBuf {
    target_dir().join(FOLDER)
}

/// Tests do without what cannot be had, and say so.
pub(super) fn programs() -> Result<Outcome> {
    let what = format!("front ends: {}", PROGRAMS.join(", "));
    if PROGRAMS.iter().all(|program| Program::find(program).is_ok()) {
        return Ok(Outcome::Found(what));
    }
    Ok(match unpack() {
        Ok(()) => Outcome::Did(what),
        Err(error) => Outcome::Missing(format!("{what}: {error:#}")),
    })
}

fn unpack() -> Result<()> {
    let place = place();
    // Of another selection of packages.
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    debian::unpack(&debian::missing_for(&PROGRAMS)?, &place)
}
