//! `cargo xtask bench`: figures for the README. One file per bench; each keeps every trial.

mod alarms;
mod cost;
mod handover;
mod machine;
mod packet;
mod traffic;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// What a healthy cluster costs: CPU, memory and system calls of a holder and a follower, and packets
    Cost(cost::Arguments),
    /// What a client loses while the lease is handed over, there and back
    Handover(handover::Arguments),
    /// What the XDP program takes for a frame of each kind, in ns
    Packet(packet::Arguments),
    /// What a client gets through a VIP with the XDP program attached and without, and how many of its ARP requests are answered
    Traffic(traffic::Arguments),
    /// How often a holder is taken for dead on a busy machine, with the bound that the count supports
    Alarms(alarms::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.bench {
        Bench::Cost(arguments) => cost::run(arguments),
        Bench::Handover(arguments) => handover::run(arguments),
        Bench::Packet(arguments) => packet::run(arguments),
        Bench::Traffic(arguments) => traffic::run(arguments),
        Bench::Alarms(arguments) => alarms::run(arguments),
    }
}

/// Says how long a bench will take, about.
fn announce(span: Duration) {
    eprintln!("takes about {} s", span.as_secs());
}

/// Says what is measured now, to whoever watches.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        eprintln!("{what}");
    }
}
