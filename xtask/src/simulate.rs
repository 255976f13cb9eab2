//! `cargo xtask simulate`: whole clusters in simulated time. Builds the package `simulation`, which does the rest.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use vip_tests::interrupt;

use crate::{cargo::cargo, setup};

/// Schedules of pairs in every test run.
const PAIRS: u64 = 4_000;

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// How many schedules to run; without, as many as in every test run
    #[arg(long, value_name = "N")]
    schedules: Option<u64>,
    /// The seed of the first one; each next one has the next seed [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Nodes in each cluster, 1 to 16; without, 3 to 7, by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: Option<u16>,
    /// Pairs in their place: two nodes with a gateway, of which one may go on alone
    #[arg(long, conflicts_with = "nodes")]
    pairs: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the simulation; fails if it has found a promise broken.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    let status = command(arguments).status().context("cannot run cargo")?;
    interrupt::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The simulation of pairs, as in every test run: some seconds on two processors.
pub(crate) fn command_of_pairs() -> Command {
    command(&Arguments { schedules: Some(PAIRS), pairs: true, ..Arguments::default() })
}

/// The simulation, compiled for speed: there are many schedules to run.
pub(crate) fn command(arguments: &Arguments) -> Command {
    let mut command = cargo("run");
    command.args(["--profile", "simulation", "--package", "vip-simulation", "--"]);
    let Arguments { schedules, seed, nodes, pairs, json } = *arguments;
    let nodes = nodes.map(u64::from);
    for (option, value) in [("--schedules", schedules), ("--seed", seed), ("--nodes", nodes)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    if pairs {
        command.arg("--pairs");
    }
    if json {
        command.arg("--json");
    }
    command
}
