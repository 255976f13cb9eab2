//! `cargo xtask bench packet`: what the XDP program takes for a frame of each kind. The bench of the package `vip-tests` does
//! the rest.

use std::process::ExitCode;

use anyhow::{Context, Result};
use vip_tests::interrupt;

use crate::{cargo::cargo, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON, with every round, instead of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_all()?;
    let mut command = cargo("bench");
    command.args(["--profile", "simulation", "--package", "vip-tests", "--bench", "packet", "--"]);
    if arguments.json {
        command.arg("--json");
    }
    let status = command.status().context("cannot run cargo")?;
    interrupt::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
