//! `cargo xtask simulate`: whole clusters in simulated time. Builds the package `simulation`, which does the rest.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use vip_tests::interrupt;

use crate::{cargo::cargo, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many schedules to run
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) schedules: u64,
    /// The seed of the first one; each next one has the next seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Nodes in each cluster, 1 to 16; without, 3 to 7, by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) nodes: Option<u16>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the simulation; fails if it has found a promise broken.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    let status = command(arguments).status().context("cannot run cargo")?;
    interrupt::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The simulation, compiled for speed: there are many schedules to run.
pub(crate) fn command(arguments: &Arguments) -> Command {
    let mut command = cargo("run");
    command.args(["--profile", "simulation", "--package", "vip-simulation", "--"]);
    command.args(["--schedules", &arguments.schedules.to_string(), "--seed", &arguments.seed.to_string()]);
    if let Some(nodes) = arguments.nodes {
        command.args(["--nodes", &nodes.to_string()]);
    }
    if arguments.json {
        command.arg("--json");
    }
    command
}
