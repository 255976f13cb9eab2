//! `cargo xtask mutate`: takes the guards of the protocol out of the code, one at a time, and checks that this is noticed.
//!
//! A check that cannot fail shows nothing. Here: what is tried, and when that is good. The guards are in `guards`, the
//! copy of the sources in `copy`, one guard's trial in `trial`.

mod copy;
mod guard;
mod guards;
mod summary;
mod trial;

use std::fmt::Display;
use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use vip_tests::interrupt;

use self::copy::Copy;
use self::guard::{Finder, Guard};
use self::summary::{Record, Summary};
use self::trial::Outcome;
use crate::setup;

/// Schedules in which the unchanged copy must break nothing, before anything else is believed.
const UNCHANGED: u64 = 1_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only guards whose names contain one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Say which guards there are and who is to find that they are gone, and do nothing
    #[arg(long)]
    list: bool,
    /// How many schedules the simulation may run for each guard, instead of the number in the table
    #[arg(long, value_name = "N")]
    schedules: Option<u64>,
    /// The seed of the simulation's first schedule
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Tries the chosen guards; fails if one is missing and that is not found, or does not build.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let names = &arguments.names;
    let is_meant = |guard: &&Guard| names.is_empty() || names.iter().any(|name| guard.name.contains(name));
    let chosen: Vec<&Guard> = guards::all().filter(is_meant).collect();
    if chosen.is_empty() {
        bail!("no guard's name contains {}: `cargo xtask mutate --list` tells them all", names.join(" or "));
    }
    if arguments.list {
        chosen.iter().for_each(|guard| describe(guard));
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    let trials =
        Trials { chosen, schedules: arguments.schedules, seed: arguments.seed, silent: arguments.json };
    let summary = trials.run()?;
    if arguments.json {
        println!("{}", summary.json()?);
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries the guards that every test run tries, and then prints the table at once; whether all is as it says.
pub(crate) fn passes_in_short() -> Result<bool> {
    let chosen: Vec<&Guard> = guards::all().filter(|guard| guard.always).collect();
    let summary = Trials { chosen, schedules: None, seed: 0, silent: true }.run()?;
    println!("{}", summary.table());
    Ok(summary.is_good())
}

/// Which guards are tried, and how.
struct Trials {
    chosen: Vec<&'static Guard>,
    schedules: Option<u64>,
    seed: u64,
    /// No table.
    silent: bool,
}

impl Trials {
    fn run(&self) -> Result<Summary> {
        let copy = Copy::refresh()?;
        self.check_unchanged(&copy)?;
        let mut summary = Summary::default();
        self.tell(&summary::heading());
        for (number, guard) in (1..).zip(&self.chosen) {
            progress(&format!("{number} of {}: the code without {}", self.chosen.len(), guard.name));
            let started = Instant::now();
            let mutation = copy.without(guard)?;
            let outcome = trial::run(&copy, guard.finder, self.schedules, self.seed);
            drop(mutation);
            let outcome = outcome.with_context(|| format!("guard \"{}\"", guard.name))?;
            let record = Record::new(guard, &outcome, started.elapsed());
            self.tell(&record);
            summary.add(record);
        }
        self.tell(&format!("\n{summary}"));
        Ok(summary)
    }

    /// With every guard in its place, nothing is broken.
    fn check_unchanged(&self, copy: &Copy) -> Result<()> {
        let tests =
            self.chosen.iter().map(|guard| guard.finder).filter(|it| matches!(it, Finder::Tests { .. }));
        let simulations = [Finder::Simulation { within: UNCHANGED }, Finder::Pairs { within: UNCHANGED }];
        for finder in simulations.into_iter().chain(tests) {
            progress(&format!("the code with all guards: {finder}"));
            if let Outcome::Found { broken, .. } = trial::run(copy, finder, None, self.seed)? {
                progress("");
                bail!("with all its guards the code breaks a promise, so its trials show nothing: {broken}");
            }
        }
        Ok(())
    }

    fn tell(&self, text: &impl Display) {
        progress("");
        if !self.silent {
            println!("{text}");
        }
    }
}

fn describe(guard: &Guard) {
    println!("{}\n    the code without this {}\n    found by {}", guard.name, guard.without, guard.finder);
}

/// Says what is being done, in place of what was said before, on a terminal.
fn progress(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r{text}\x1b[K");
    }
}
