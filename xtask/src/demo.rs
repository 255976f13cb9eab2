//! `cargo xtask demo`: three nodes share a VIP, the holder fails in every way it can, and a client keeps
//! asking.
//!
//! Here: the arguments and the order of events. How a fault is measured and shown stands in [`crate::trial`],
//! and what is left at the end in `summary`.

mod summary;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use vip_tests::{
    interrupt,
    lab::{self, DaemonOptions},
};

use self::summary::Summary;
use crate::{
    cargo::{Profile, build_daemon},
    duration, setup,
    systems::{System as _, ours::Ours},
    trial::{self, Fault, Timeline},
};

const NODES: u8 = 3;
/// Probes per second.
const RATE: u32 = 5000;
/// How long the nodes may take to find each other at first; far more than they need.
const FORMATION: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each fault is tried; more than one gives medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Time between two heartbeats of the holder
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = duration::parse)]
    interval: Duration,
    /// How long a holder serves without a quorum's renewal
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration::parse)]
    lease: Duration,
    /// Only this fault; may be repeated
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<Fault>,
    /// Print one JSON object instead of the timeline and the table
    #[arg(long)]
    json: bool,
}

/// Shows every fault in turn, trial by trial; fails if two nodes ever answered the same request.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_all()?;
    lab::sweep_leftovers()?;
    let options = DaemonOptions {
        binary: Some(build_daemon(Profile::Release)?),
        interval: arguments.interval,
        lease: arguments.lease,
        ..DaemonOptions::default()
    };
    let faults = if arguments.faults.is_empty() { Fault::ALL.to_vec() } else { arguments.faults.clone() };

    let timeline = if arguments.json { Timeline::silent() } else { Timeline::on_stdout() };
    let mut summary = Summary::new(arguments.interval, arguments.lease, &faults);
    timeline.title(&format!(
        "{NODES} nodes and a client on one switch; the VIP is {}; renewal every {:?}, lease {:?}",
        lab::VIP,
        arguments.interval,
        arguments.lease
    ));
    let mut system = Ours::start(NODES, &options)?;
    let holder = system.wait_whole(FORMATION)?;
    timeline.note(&format!("{NODES} nodes are alive, lb{holder} holds the VIP"));

    // Round by round, so that a noisy minute of the machine does not fall on one fault alone.
    for round in 1..=arguments.trials {
        for fault in &faults {
            timeline.title(&heading(*fault, round, arguments.trials));
            summary.add(trial::run(&mut system, *fault, RATE, &timeline)?);
        }
    }
    drop(system);
    summary.print(arguments.json)?;
    Ok(if summary.doubles() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn heading(fault: Fault, round: u32, rounds: u32) -> String {
    let trial = if rounds > 1 { format!(" ({round} of {rounds})") } else { String::new() };
    format!("{}: {}{trial}", fault.name(), fault.story())
}
