//! `cargo xtask bench frontends`: HAProxy and nginx behind the VIP, under the requests of clients with connections that they keep
//! and of clients with new ones, while machines, daemons and the front ends themselves fail, or are taken out of service;
//! ours beside keepalived.
//!
//! Here: the arguments and the order of events. What runs on the nodes is in `site`, what happens to it in `event`, one event
//! from before it to after its repair in `trial`, what a front end bears at most in `throughput`, and what is kept and shown in `results`.

mod event;
mod results;
mod site;
mod throughput;
mod trial;

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use vip_tests::interrupt;

use self::{event::Event, results::Results, site::Site};
use crate::{
    bench::{
        output::{self, progress},
        prepare,
    },
    setup,
    systems::Kind,
};

/// Of the file.
const NAME: &str = "frontends";
const SYSTEMS: [Kind; 3] = [Kind::Ours, Kind::Keepalived, Kind::KeepalivedDefaults];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Trials of each event on each system with each front end
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    trials: u32,
    /// Trials on keepalived at its defaults, which takes seconds each; no more than the others
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    default_trials: u32,
    /// Requests per second over connections that are kept, and as many over new ones
    #[arg(long, value_name = "HZ", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// Only this system; may be repeated
    #[arg(long = "system", value_name = "NAME")]
    systems: Vec<Kind>,
    /// Only this front end; may be repeated
    #[arg(long = "front", value_name = "NAME")]
    fronts: Vec<site::FrontEnd>,
    /// Only this event; may be repeated
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<Event>,
    /// Print one JSON object, with every trial, instead of the table
    #[arg(long)]
    json: bool,
}

/// Writes what there is when it is interrupted, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let daemon = prepare()?;
    setup::ensure_peers()?;
    setup::ensure_fronts()?;
    let mut results = Results::new(arguments.rate, &chosen(&arguments.systems, &SYSTEMS))?;
    eprintln!("{}", results.setting());

    let ended = take_turns(arguments, &daemon, &mut results);
    output::keep(NAME, &results)?;
    ended?;
    if arguments.json { output::print_json(&results) } else { results.print_tables() }?;
    Ok(ExitCode::SUCCESS)
}

/// All if none is named.
fn chosen<T: Copy>(named: &[T], all: &[T]) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named.to_vec() }
}

/// One trial of each event after the other, every system in turn.
fn take_turns(arguments: &Arguments, daemon: &Path, results: &mut Results) -> Result<()> {
    for done in 0..arguments.trials {
        for front in chosen(&arguments.fronts, &site::FrontEnd::ALL) {
            let systems = chosen(&arguments.systems, &SYSTEMS).into_iter();
            for system in systems.filter(|system| done < arguments.default_trials || !system.is_slow()) {
                run_round(arguments, system, front, daemon, results)?;
            }
        }
    }
    Ok(())
}

/// On a site that is set up for it, and again whenever a trial has failed.
fn run_round(
    arguments: &Arguments,
    system: Kind,
    front: site::FrontEnd,
    daemon: &Path,
    results: &mut Results,
) -> Result<()> {
    let mut running: Option<Site> = None;
    for event in chosen(&arguments.events, &Event::ALL).into_iter().filter(|event| event.concerns(system)) {
        progress(&format!("{}, {}, {}", system.title(), front.name(), event.name()));
        let started = running.take().map_or_else(|| Site::start(system, front, daemon), Ok);
        let trial = started.and_then(|mut site| {
            let trial = trial::run(&mut site, event, arguments.rate)?;
            running = Some(site);
            Ok(trial)
        });
        interrupt::check()?;
        results.add(system, front, event, trial);
    }
    if let Some(site) = running {
        results.add_throughput(system, front, throughput::measure(&site)?);
    }
    Ok(())
}
