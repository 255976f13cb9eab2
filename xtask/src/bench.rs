//! `cargo xtask bench`: figures for the README. One file per bench; each keeps every trial.

mod alarms;
mod cost;
mod failover;
mod frontends;
mod handover;
mod load;
mod machine;
mod members;
mod output;
mod packet;
mod plot;
mod tee;
mod traffic;
mod vips;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use vip_tests::{interrupt, lab};

use crate::{
    cargo::{Profile, build_daemon},
    setup,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// How long a client goes without service when the holder fails, beside keepalived and ucarp
    Failover(failover::Arguments),
    /// How many requests fail or wait when the machine, the daemon or HAProxy dies under load, beside keepalived
    Frontends(frontends::Arguments),
    /// What a failover takes with up to 10,000 VIPs, beside keepalived
    Vips(vips::Arguments),
    /// Whether busy processors and floods of packets cost a holder its lease, or a failover time, beside keepalived
    Load(load::Arguments),
    /// What a healthy cluster costs: CPU, memory and system calls of a holder and a follower, and packets
    Cost(cost::Arguments),
    /// What a cluster of many members costs, and how soon all know of a join, a failure and an event, beside Serf
    Members(members::Arguments),
    /// What a client loses while the lease is handed over: by an operator, for a check, for maintenance, by preemption
    Handover(handover::Arguments),
    /// What the XDP program takes for a frame of each kind, in ns
    Packet(packet::Arguments),
    /// What a client gets through a VIP with the XDP program attached and without, and how many of its ARP requests are answered
    Traffic(traffic::Arguments),
    /// What the copies for standbys cost their holder, and how many datagrams come through
    Tee(tee::Arguments),
    /// How often a holder is taken for dead on a busy machine, with the bound that the count supports
    Alarms(alarms::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.bench {
        Bench::Failover(arguments) => failover::run(arguments),
        Bench::Frontends(arguments) => frontends::run(arguments),
        Bench::Vips(arguments) => vips::run(arguments),
        Bench::Load(arguments) => load::run(arguments),
        Bench::Cost(arguments) => cost::run(arguments),
        Bench::Members(arguments) => members::run(arguments),
        Bench::Handover(arguments) => handover::run(arguments),
        Bench::Packet(arguments) => packet::run(arguments),
        Bench::Traffic(arguments) => traffic::run(arguments),
        Bench::Tee(arguments) => tee::run(arguments),
        Bench::Alarms(arguments) => alarms::run(arguments),
    }
}

/// What comes before every bench in a lab: Ctrl-C is heeded, the tools are there, nothing of a killed run is left. Gives the daemon
/// that is measured.
fn prepare() -> Result<PathBuf> {
    interrupt::watch()?;
    setup::ensure_all()?;
    lab::sweep_leftovers()?;
    build_daemon(Profile::Release)
}
