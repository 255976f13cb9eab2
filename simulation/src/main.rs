//! `vip-simulation`: runs schedules, and shows the first one that breaks a promise. `cargo xtask simulate` builds and
//! starts it.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use serde::Serialize;
use vip_simulation::schedule::Schedule;
use vip_simulation::search::{Found, Search};
use vip_simulation::shrink::shrink;
use vip_simulation::world::{self, Counts};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(200);

#[derive(Parser)]
#[command(about = "Runs clusters in simulated time, and looks for two holders")]
struct Arguments {
    /// How many schedules to run; without, as many as in every test run: some seconds on two processors
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    schedules: u64,
    /// The seed of the first one; each next one has the next seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Nodes in each cluster, 1 to 16; without, 3 to 7, by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: Option<u16>,
    /// Pairs in their place: two nodes with a gateway, of which one may go on alone
    #[arg(long, conflicts_with = "nodes")]
    pairs: bool,
    /// Threads; without, one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Show a schedule that breaks a promise as it was drawn
    #[arg(long)]
    no_shrink: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let threads = arguments.threads.map_or_else(|| thread::available_parallelism().map(usize::from), Ok)?;
    let Arguments { seed: first, schedules, nodes, pairs, .. } = arguments;
    let search = Search { first, schedules, nodes, pairs, threads };
    let mut progress = Progress::new(arguments.schedules);
    let found = search.run(|done| progress.show(done));
    progress.clear();
    let failure = found.broken.as_ref().map(|(schedule, _)| Failure::of(schedule, &arguments));
    let report = Report::new(&found, failure);
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    Ok(if report.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was run, and how it went.
#[derive(Serialize)]
struct Report {
    schedules: u64,
    seconds: f64,
    schedules_per_second: f64,
    counts: Counts,
    failure: Option<Failure>,
}

/// A schedule that broke a promise.
#[derive(Serialize)]
struct Failure {
    seed: u64,
    repeat: String,
    broken: String,
    /// What is left of it when everything is left out that does not matter.
    smallest: String,
    smallest_broken: String,
    trace: Vec<String>,
}

impl Failure {
    fn of(schedule: &Schedule, arguments: &Arguments) -> Self {
        let mut failure = Self {
            seed: schedule.seed,
            repeat: repeat(schedule.seed, arguments),
            broken: "did not break again: the run depends on something else than its seed".to_owned(),
            smallest: String::new(),
            smallest_broken: String::new(),
            trace: Vec::new(),
        };
        if let Some(broken) = world::run(schedule, false).broken {
            let smallest =
                if arguments.no_shrink { schedule.clone() } else { shrink(schedule, &broken.promise) };
            let outcome = world::run(&smallest, true);
            failure.broken = broken.to_string();
            failure.smallest = smallest.to_string();
            failure.smallest_broken = outcome.broken.map_or_else(String::new, |broken| broken.to_string());
            failure.trace = outcome.trace.into();
        }
        failure
    }
}

/// The command that runs this seed again.
fn repeat(seed: u64, arguments: &Arguments) -> String {
    let nodes = arguments.nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
    let pairs = if arguments.pairs { " --pairs" } else { "" };
    format!("cargo xtask simulate --schedules 1 --seed {seed}{nodes}{pairs}")
}

impl Report {
    fn new(found: &Found, failure: Option<Failure>) -> Self {
        let seconds = found.took.as_secs_f64();
        Self {
            schedules: found.schedules,
            seconds,
            schedules_per_second: found.schedules as f64 / seconds.max(f64::MIN_POSITIVE),
            counts: found.counts,
            failure,
        }
    }

    fn print(&self) {
        let Self { schedules, seconds, schedules_per_second, counts, failure } = self;
        if let Some(failure) = failure {
            println!("seed {} breaks a promise {}\n", failure.seed, failure.broken);
            println!("The smallest schedule that does, {}:\n{}\n", failure.smallest_broken, failure.smallest);
            println!("Its last events:");
            failure.trace.iter().for_each(|line| println!("{line}"));
            println!("\nRun it again: {}", failure.repeat);
        }
        println!(
            "{schedules} schedules in {seconds:.1} s, {schedules_per_second:.0} a second: {:.1} h simulated, {} leases, \
             {} handovers, {} changes of voters, {} faults, {} messages",
            counts.time as f64 / 3.6e12,
            counts.leases,
            counts.handovers,
            counts.changes,
            counts.faults,
            counts.messages
        );
        if failure.is_none() {
            println!("never two holders, and no other promise broken");
        }
    }
}

/// How far it is, on a terminal.
struct Progress {
    all: u64,
    started: Instant,
    shown: Option<Instant>,
}

impl Progress {
    fn new(all: u64) -> Self {
        Self { all, started: Instant::now(), shown: None }
    }

    fn show(&mut self, done: u64) {
        if !stderr().is_terminal() || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS) {
            return;
        }
        self.shown = Some(Instant::now());
        let rate = done as f64 / self.started.elapsed().as_secs_f64();
        let left = self.all.saturating_sub(done) as f64 / rate.max(1.0);
        eprint!("\r{done} of {} schedules, {rate:.0} a second, {left:.0} s left \x1b[K", self.all);
        let _ = stderr().flush();
    }

    fn clear(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
