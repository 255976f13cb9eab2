//! Running cargo on this workspace from any directory, with the cargo and the target directory of the caller.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use vip_tests::interrupt;

/// How the daemon is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, with debug assertions.
    Dev,
    /// As it is shipped.
    Release,
}

/// A cargo command in the workspace.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(workspace()).arg(subcommand);
    command
}

/// Builds the daemon, showing cargo's progress; gives the path of the program.
pub(crate) fn build_daemon(profile: Profile) -> Result<PathBuf> {
    let mut command = cargo("build");
    command.args(["--package", "vip-user", "--message-format=json-render-diagnostics"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    interrupt::check()?;
    if !output.status.success() {
        bail!("vip-user does not build ({})", output.status);
    }
    // Other messages than those about a program have other fields.
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut artifacts = messages.filter_map(|line| serde_json::from_slice::<Artifact>(line).ok());
    let daemon = artifacts.find(|artifact| artifact.target.name == "vip-user");
    Ok(daemon.context("cargo names no program vip-user")?.executable)
}

/// Where build results go.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// What cargo says about a program that it has built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The root of this repository.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
