//! `cargo xtask bench`: figures for the README. One file per bench; each keeps every trial.

mod alarms;
mod handover;
mod packet;
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
    /// What a client loses while the lease is handed over, there and back
    Handover(handover::Arguments),
    /// What the XDP program takes for a frame of each kind, in ns
    Packet(packet::Arguments),
    /// How often a holder is taken for dead on a busy machine, with the bound that the count supports
    Alarms(alarms::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.bench {
        Bench::Steady(arguments) => steady::run(arguments),
        Bench::Handover(arguments) => handover::run(arguments),
        Bench::Packet(arguments) => packet::run(arguments),
        Bench::Alarms(arguments) => alarms::run(arguments),
    }
}
