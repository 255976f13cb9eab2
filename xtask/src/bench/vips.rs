//! `cargo xtask bench vips`: the holder of one VIP, or of ten thousand, is cut off. A takeover should take
//! the same time; the announcements follow it.
//!
//! Probes go to the first VIP and to the last one, which a system that works through a list comes to last.
//! Here: the arguments and the order of events. A trial is in `trial`, what is kept and shown in `results`.

mod results;
mod trial;

use std::{net::Ipv4Addr, path::Path, process::ExitCode};

use anyhow::Result;
use vip_tests::{interrupt, lab};

use self::{results::Results, trial::Subject};
use crate::{
    bench::{
        output::{self, progress},
        prepare,
    },
    setup,
    systems::Kind,
};

/// Of the files.
const NAME: &str = "vips";
const SYSTEMS: [Kind; 2] = [Kind::Ours, Kind::Keepalived];
const COUNTS: [usize; 5] = [1, 10, 100, 1000, 10_000];
/// Trials before another system's turn.
const BLOCK: u32 = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Trials of each number of VIPs on each system
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: u32,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Writes what there is when it is interrupted, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let daemon = prepare()?;
    setup::ensure_peers()?;
    let mut results = Results::new()?;
    eprintln!("{}", results.setting());

    let ended = take_turns(arguments, &daemon, &mut results);
    results.write()?;
    ended?;
    if arguments.json { output::print_json(&results) } else { results.print_table() }?;
    Ok(ExitCode::SUCCESS)
}

/// Block by block, every system in turn with every number of VIPs.
fn take_turns(arguments: &Arguments, daemon: &Path, results: &mut Results) -> Result<()> {
    let mut left = arguments.trials;
    while left > 0 {
        let block = left.min(BLOCK);
        for count in COUNTS {
            for system in SYSTEMS {
                run_block(system, count, block, daemon, results);
                interrupt::check()?;
            }
        }
        left -= block;
    }
    Ok(())
}

/// Some trials on a system that is started for them. After a failure there are no more with so many VIPs: it
/// gave up.
fn run_block(system: Kind, count: usize, trials: u32, daemon: &Path, results: &mut Results) {
    if results.gave_up(system, count) {
        return;
    }
    let mut block = || -> Result<()> {
        let mut subject = Subject::start(system, daemon, &vips(count))?;
        for _ in 0..trials {
            let trial = subject.fail_over()?;
            progress(&format!("{}, {count} VIPs: {:.1} ms", system.title(), trial.outage_ms));
            results.add(system, count, trial);
        }
        Ok(())
    };
    if let Err(error) = block() {
        results.give_up(system, count, &error);
    }
}

/// The lab's own, and others of a network that the client has a route to.
fn vips(count: usize) -> Vec<Ipv4Addr> {
    let first = u32::from(trial::NETWORK);
    let others = (1..).map(|number| Ipv4Addr::from(first + number));
    std::iter::once(lab::VIP).chain(others).take(count).collect()
}
