//! `cargo xtask bench failover`: the holder fails in every way it can, under the probes of a client; ours
//! beside its peers.
//!
//! The systems take turns, a block of trials each, and only one of them runs at a time: none disturbs
//! another, and no noisy minute of the machine falls on one alone. Here: the arguments and the order of
//! events. What is kept and shown is in `results`.

mod results;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use vip_tests::{interrupt, lab};

use self::results::Results;
use crate::{
    bench::{
        output::{self, progress},
        prepare,
    },
    setup,
    systems::{Kind, System},
    trial::{self, Fault, Timeline},
};

/// Of the files.
const NAME: &str = "failover";
/// Probes per second.
const RATE: u32 = 10_000;
/// Trials of each fault before another system's turn.
const BLOCK: u32 = 5;
/// How long the nodes may take to find each other.
const FORMATION: Duration = Duration::from_secs(30);

/// About what the start and the end of a system take here.
const START: Duration = Duration::from_secs(3);

/// Not ucarp as fast as it goes, unless it is asked for: it sees what it has received only once a second, so
/// that both nodes take themselves for the master most of the time, and most trials come to no end.
const SYSTEMS: [Kind; 6] = [
    Kind::OursFast,
    Kind::Ours,
    Kind::KeepalivedBfd,
    Kind::Keepalived,
    Kind::KeepalivedDefaults,
    Kind::UcarpDefaults,
];
const FAULTS: [Fault; 6] =
    [Fault::Cable, Fault::SigkillBoth, Fault::Sigstop, Fault::Sigkill, Fault::Sigterm, Fault::Handover];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Trials of each fault on each system
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    trials: u32,
    /// Trials on the peers at their defaults, which take seconds each; no more than the others
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    default_trials: u32,
    /// Only this system; may be repeated
    #[arg(long = "system", value_name = "NAME")]
    systems: Vec<Kind>,
    /// Only this fault; may be repeated
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<Fault>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn systems(&self) -> Vec<Kind> {
        if self.systems.is_empty() { SYSTEMS.to_vec() } else { self.systems.clone() }
    }

    fn faults(&self) -> Vec<Fault> {
        if self.faults.is_empty() { FAULTS.to_vec() } else { self.faults.clone() }
    }

    /// Of each fault on this system.
    fn trials_of(&self, system: Kind) -> u32 {
        if system.is_slow() { self.default_trials.min(self.trials) } else { self.trials }
    }

    fn estimate(&self) -> Duration {
        let of_system = |system: Kind| {
            let faults = self.faults().into_iter().filter(|fault| system.knows(*fault)).count();
            let trials = self.trials_of(system) * u32::try_from(faults).unwrap_or(u32::MAX);
            about(system) * trials + START * self.trials_of(system).div_ceil(BLOCK)
        };
        self.systems().into_iter().map(of_system).sum()
    }
}

/// Writes what there is when it is interrupted, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let daemon = prepare()?;
    setup::ensure_peers()?;
    let (systems, faults) = (arguments.systems(), arguments.faults());
    let mut results = Results::new(&systems, &faults)?;
    eprintln!("{}; about {:.0} minutes", results.setting(), arguments.estimate().as_secs_f64() / 60.0);

    let ended = take_turns(arguments, &daemon, &mut results);
    results.write()?;
    ended?;
    if arguments.json { output::print_json(&results) } else { results.print_table() }?;
    Ok(ExitCode::SUCCESS)
}

/// What a trial takes here.
fn about(system: Kind) -> Duration {
    match system {
        _ if system.is_slow() => Duration::from_secs(8),
        Kind::KeepalivedBfd => Duration::from_secs(5),
        _ => Duration::from_millis(1500),
    }
}

/// Block by block, every system in turn.
fn take_turns(arguments: &Arguments, daemon: &Path, results: &mut Results) -> Result<()> {
    let mut done = 0;
    while done < arguments.trials {
        for system in arguments.systems() {
            let trials = arguments.trials_of(system).saturating_sub(done).min(BLOCK);
            if trials > 0 {
                run_block(system, arguments, trials, daemon, results)?;
            }
        }
        done += BLOCK;
    }
    Ok(())
}

/// So many trials of each fault on a system that is started for them, and again whenever a trial has failed.
fn run_block(
    system: Kind,
    arguments: &Arguments,
    trials: u32,
    daemon: &Path,
    results: &mut Results,
) -> Result<()> {
    let mut running: Option<Box<dyn System>> = None;
    for _ in 0..trials {
        for fault in arguments.faults().into_iter().filter(|fault| system.knows(*fault)) {
            let started = match running.take() {
                Some(running) => Ok(running),
                None => start(system, daemon),
            };
            let trial = started.and_then(|mut started| {
                let trial = trial::run(started.as_mut(), fault, RATE, &Timeline::silent())?;
                running = Some(started);
                Ok(trial)
            });
            interrupt::check()?;
            results.add(system, fault, trial);
            progress(&results.progress(system, fault));
        }
    }
    Ok(())
}

fn start(system: Kind, daemon: &Path) -> Result<Box<dyn System>> {
    let started = system.start(daemon, &[lab::VIP])?;
    started.wait_whole(FORMATION)?;
    Ok(started)
}
