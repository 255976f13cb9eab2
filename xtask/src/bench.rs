//! `cargo xtask bench`: figures for the README. One file per bench; each keeps every trial.

mod steady;

use std::process::ExitCode;

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// What a healthy cluster costs: system calls, CPU and memory of a holder and a follower
    Steady(steady::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.bench {
        Bench::Steady(arguments) => steady::run(arguments),
    }
}
