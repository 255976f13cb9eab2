//! `cargo xtask model`: every state of small clusters. Builds the package `model`, which does the rest.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use vip_tests::interrupt;

use crate::{cargo::cargo, setup};

/// What the model is asked for: it knows, and `--help` tells.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    forwarded: Vec<String>,
}

/// Runs the model; fails if it has found a promise broken.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    let mut command = cargo("run");
    command.args(["--profile", "simulation", "--package", "vip-model", "--"]);
    command.args(&arguments.forwarded);
    let status = command.status().context("cannot run cargo")?;
    interrupt::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The model's tests, compiled for speed: each looks at many states.
pub(crate) fn tests() -> Command {
    let mut command = cargo("test");
    command.args(["--profile", "simulation", "--package", "vip-model", "--no-fail-fast"]);
    command
}
