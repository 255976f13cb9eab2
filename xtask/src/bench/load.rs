//! `cargo xtask bench load`: busy processors, and floods of packets. None of them should cost a holder its
//! lease, nor a failover much time.
//!
//! Here: the arguments and the order of events. What a load is stands in `kind`, what is kept and shown in
//! `results`. For how often a busy machine takes a holder for dead, `bench alarms` counts more heartbeats
//! than there are here.

mod kind;
mod results;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use vip_tests::{interrupt, lab};

use self::{kind::Load, results::Results};
use crate::{
    bench::{
        output::{self, progress},
        prepare,
    },
    duration, setup,
    systems::{Kind, System},
    trial::{self, Fault, Timeline},
};

/// Of the files.
const NAME: &str = "load";
const SYSTEMS: [Kind; 2] = [Kind::Ours, Kind::Keepalived];
/// Probes per second.
const RATE: u32 = 10_000;
/// Trials under each load before another system's turn.
const BLOCK: u32 = 5;
/// How long the nodes may take to find each other.
const FORMATION: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Failovers under each load
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    trials: u32,
    /// How long nothing but the load happens before each of them
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    watch: Duration,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Writes what there is when it is interrupted, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let daemon = prepare()?;
    setup::ensure_peers()?;
    let mut results = Results::new(arguments.watch)?;
    eprintln!("{}", results.setting());

    let ended = take_turns(arguments, &daemon, &mut results);
    results.write()?;
    ended?;
    if arguments.json { output::print_json(&results) } else { results.print_table() }?;
    Ok(ExitCode::SUCCESS)
}

/// Block by block, every system in turn, and under every load in turn.
fn take_turns(arguments: &Arguments, daemon: &Path, results: &mut Results) -> Result<()> {
    let mut left = arguments.trials;
    while left > 0 {
        let block = left.min(BLOCK);
        for kind in SYSTEMS {
            run_block(kind, block, arguments.watch, daemon, results)?;
        }
        left -= block;
    }
    Ok(())
}

/// On a system that is started for them; again whenever a trial has failed.
fn run_block(kind: Kind, trials: u32, watch: Duration, daemon: &Path, results: &mut Results) -> Result<()> {
    let mut running: Option<Box<dyn System>> = None;
    for _ in 0..trials {
        for load in Load::ALL.into_iter().filter(|load| load.concerns(kind)) {
            let started = running.take().map_or_else(|| kind.start(daemon, &[lab::VIP]), Ok);
            let trial = started.and_then(|mut started| {
                let trial = measure(started.as_mut(), load, watch)?;
                running = Some(started);
                Ok(trial)
            });
            interrupt::check()?;
            progress(&format!("{}, {}", kind.title(), load.title()));
            results.add(kind, load, trial);
        }
    }
    Ok(())
}

/// How often another node came to serve while nothing happened but the load, and then a failover under it.
fn measure(system: &mut dyn System, load: Load, watch: Duration) -> Result<(usize, trial::Trial)> {
    system.wait_whole(FORMATION)?;
    let _load = load.begin(system.lab()).with_context(|| load.title())?;
    let before = system.promotions()?;
    interrupt::pause(watch)?;
    let changes = system.promotions()? - before;
    Ok((changes, trial::run(system, Fault::Cable, RATE, &Timeline::silent())?))
}
