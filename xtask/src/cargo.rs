//! Running cargo on this workspace from any directory, with the cargo and the target directory of the caller.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
pub(crate) use ebpf_build::{target_dir, workspace};
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
    command.args(["--package", "vip-user"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let mut programs = build(command)?;
    programs.remove("vip-user").context("cargo names no program vip-user")
}

/// Builds the test programs of the test bed, showing cargo's progress; gives their paths by their names.
pub(crate) fn build_tests() -> Result<BTreeMap<String, PathBuf>> {
    let mut command = cargo("test");
    command.args(["--package", "vip-tests", "--no-run"]);
    build(command)
}

fn build(mut command: Command) -> Result<BTreeMap<String, PathBuf>> {
    command.arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    interrupt::check()?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    // Other messages than those about a program have other fields.
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let artifacts = messages.filter_map(|line| serde_json::from_slice::<Artifact>(line).ok());
    Ok(artifacts.map(|artifact| (artifact.target.name, artifact.executable)).collect())
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
