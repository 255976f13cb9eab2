//! Debian packages that are unpacked beside what is built, and not installed: they would start their services on the machine.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::update_package_lists;

/// What `apt-get install` would install for these packages: those that are missing, and what they need and the machine has not.
pub(super) fn missing_for(packages: &[&str]) -> Result<Vec<String>> {
    update_package_lists()?;
    let mut simulation = Command::new("apt-get");
    simulation.args(["install", "--simulate", "--no-install-recommends"]).args(packages);
    let output = run(&mut simulation)?;
    let names = output.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// Unpacks packages into `place`, all or none.
pub(super) fn unpack<S: AsRef<OsStr>>(packages: &[S], place: &Path) -> Result<()> {
    update_package_lists()?;
    let partial = place.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    // apt-get downloads into the directory that it runs in.
    run(Command::new("apt-get").args(["download", "--quiet=2"]).args(packages).current_dir(&partial))?;
    let archives: Vec<PathBuf> =
        fs::read_dir(&partial)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    for archive in archives {
        run(Command::new("dpkg-deb").arg("--extract").args([&archive, &partial]))?;
    }
    fs::rename(partial.join("usr"), place.join("usr"))?;
    Ok(fs::remove_dir_all(partial)?)
}

/// Runs a command to its end; gives what it has printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, stderr.trim().lines().last().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
