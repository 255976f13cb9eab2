//! `cargo xtask model`: every state of small clusters. Builds the package `model`, which does the rest.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use vip_tests::interrupt;

use crate::{cargo::cargo, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this search; --list names them
    name: Option<String>,
    /// Nodes in each cluster: 3, to the end, or 5, to a bound
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: u8,
    /// The searches that take seconds, as in the tests
    #[arg(long)]
    quick: bool,
    /// Leave this guard of the protocol out, and find what it is for; --list names them
    #[arg(long, value_name = "GUARD", conflicts_with_all = ["name", "quick"])]
    without: Option<String>,
    /// Leave each guard out in turn; fails if nothing is found
    #[arg(long, conflicts_with_all = ["name", "quick", "without"])]
    guards: bool,
    /// Name the searches and the guards, and run nothing
    #[arg(long)]
    list: bool,
    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the model; fails if it has found a promise broken.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    let mut command = cargo("run");
    command.args(["--profile", "simulation", "--package", "vip-model", "--"]);
    command.args(&arguments.name).args(["--nodes", &arguments.nodes.to_string()]);
    if let Some(guard) = &arguments.without {
        command.args(["--without", guard]);
    }
    let flags = [
        ("--quick", arguments.quick),
        ("--guards", arguments.guards),
        ("--list", arguments.list),
        ("--json", arguments.json),
    ];
    command.args(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag));
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
