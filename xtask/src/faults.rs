//! `cargo xtask faults`: everything that can go wrong, again and again, at moments that a seed decides.
//!
//! Here: which faults are played how often. What they are and what must hold is in `vip_tests::faults`, what is left of
//! the rounds in `summary`.

mod summary;

use std::{
    hash::{BuildHasher, RandomState},
    process::ExitCode,
};

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use vip_tests::{
    faults::{self, FAULTS, Fault, Outcome},
    interrupt,
    lab::{self, DaemonOptions},
};

use self::summary::Summary;
use crate::{
    cargo::{Profile, build_daemon},
    setup,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these faults; --list tells them all
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(FAULTS.iter().map(|fault| fault.name)), hide_possible_values = true)]
    names: Vec<String>,
    /// How often each fault is played
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Decides on moments, victims and luck of the first round; the next round has the next seed [default: any]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Say what is done and what must hold, and do nothing
    #[arg(long)]
    list: bool,
}

/// Plays the faults, round by round; fails if a promise was not kept, or two nodes ever answered the same request.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let chosen: Vec<&Fault> = if arguments.names.is_empty() {
        FAULTS.iter().collect()
    } else {
        arguments.names.iter().filter_map(|name| faults::named(name)).collect()
    };
    if arguments.list {
        chosen.iter().for_each(|fault| describe(fault));
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::watch()?;
    setup::ensure_all()?;
    lab::sweep_leftovers()?;
    let options = DaemonOptions { binary: Some(build_daemon(Profile::Release)?), ..DaemonOptions::default() };

    // Each hasher of the standard library has a random key.
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().hash_one(()) >> 32);
    let mut summary = Summary::new(seed, arguments.rounds, &chosen);
    // Round by round, so that a noisy minute of the machine does not fall on one fault alone.
    for round in 0..arguments.rounds {
        for fault in &chosen {
            let seed = seed.wrapping_add(round.into());
            eprint!("round {} of {}, seed {seed}: {:<22}", round + 1, arguments.rounds, fault.name);
            let outcome = fault.play(seed, &options)?;
            tell(fault, seed, &outcome);
            summary.add(fault, seed, outcome);
        }
    }
    summary.print(arguments.json)?;
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(fault: &Fault) {
    println!("{}\n    {}\n    expected: {}", fault.name, fault.story, fault.promise);
}

/// How the round ended, behind its name.
fn tell(fault: &Fault, seed: u64, outcome: &Outcome) {
    let outage = outcome.outage.as_secs_f64() * 1e3;
    match &outcome.failure {
        None => eprintln!("all is well again; {outage:.1} ms without service"),
        Some(error) => eprintln!("FAILED: {error:#}"),
    }
    if outcome.doubles() > 0 {
        eprintln!("    TWO NODES ANSWERED {} requests", outcome.doubles());
        let described = outcome.sight.iter().flat_map(|sight| &sight.requests.described);
        described.take(5).for_each(|double| eprintln!("    {double}"));
    }
    if !outcome.is_good() {
        eprintln!("    expected: {}", fault.promise);
        eprintln!("    once more: cargo xtask faults {} --seed {seed}", fault.name);
    }
}
