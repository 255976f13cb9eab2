//! `vip-model`: searches, and shows what breaks a promise. `cargo xtask model` builds and starts it.

use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use serde::Serialize;
use vip_model::check::{End, Found, Progress};
use vip_model::guards::{self, Guard};
use vip_model::searches::{self, Search};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(200);

/// Searches every state of small clusters for two holders
///
/// Exit status: 0 all promises kept, 1 one broken or a search vacuous, 2 usage.
#[derive(Parser)]
#[command(name = "vip-model", bin_name = "cargo xtask model")]
struct Arguments {
    /// Run only this search; --list names them
    name: Option<String>,
    /// Nodes in each cluster: 3, to the end, or 5, to a bound
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: u8,
    /// The searches that take seconds, as in the tests
    #[arg(long)]
    quick: bool,
    /// Leave this guard of the protocol out, and find what it is for; --list names them
    #[arg(long, value_name = "GUARD", conflicts_with_all = ["name", "quick"])]
    without: Option<String>,
    /// Leave each guard out in turn; fails if nothing is found
    #[arg(long, conflicts_with_all = ["name", "quick", "without"])]
    guards: bool,
    /// Name the searches and the guards, and run nothing
    #[arg(long)]
    list: bool,
    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let good = if arguments.guards {
        leave_out_each(arguments.json)?
    } else if let Some(name) = &arguments.without {
        let Some(guard) = guards::all().into_iter().find(|guard| guard.name == *name) else {
            bail!("there is no guard {name}: `--list` names them");
        };
        run(&guard.search, arguments.json)?.is_good()
    } else {
        run_all(&chosen(&arguments)?, arguments.json)?
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list() {
    println!("Searches with 3 nodes, to the end:");
    searches::three().iter().for_each(show);
    println!("\nWith --quick:");
    searches::quick().iter().for_each(show);
    println!("\nWith --nodes 5, to a bound:");
    searches::five().iter().for_each(show);
    println!("\nGuards that can be left out by --without:");
    for guard in guards::all() {
        println!("  {:<14} {}", guard.name, guard.without);
    }
}

fn show(search: &Search) {
    println!("  {:<14} {}; {}", search.name, search.about, search.bounds());
}

fn chosen(arguments: &Arguments) -> Result<Vec<Search>> {
    let all = match (arguments.nodes, arguments.quick) {
        (3, false) => searches::three(),
        (3, true) => searches::quick(),
        (5, false) => searches::five(),
        _ => bail!("there are searches with 3 nodes, and without --quick with 5"),
    };
    let Some(name) = &arguments.name else { return Ok(all) };
    let named: Vec<Search> = all.into_iter().filter(|search| search.name == *name).collect();
    if named.is_empty() {
        bail!("there is no such search {name}: `--list` names them");
    }
    Ok(named)
}

fn run_all(searches: &[Search], json: bool) -> Result<bool> {
    let mut good = true;
    for search in searches {
        good &= run(search, json)?.is_good();
    }
    if !json {
        let verdict = if good { "never two holders, and no other promise broken" } else { "FAILED" };
        println!("{verdict}{}", most_memory());
    }
    Ok(good)
}

/// Runs a search, and says what it has found.
fn run(search: &Search, json: bool) -> Result<Found> {
    if !json {
        println!("{}: {}\n  {}", search.name, search.about, search.bounds());
    }
    let mut shown = Shown::new();
    let found = search.run_to_shortest(&mut |progress| shown.show(progress));
    shown.clear();
    if json {
        println!(
            "{}",
            serde_json::to_string(&Report { search: search.name, bounds: search.bounds(), found: &found })?
        );
    } else {
        print(&found);
    }
    Ok(found)
}

/// A line for programs.
#[derive(Serialize)]
struct Report<'a> {
    search: &'static str,
    bounds: String,
    #[serde(flatten)]
    found: &'a Found,
}

fn print(found: &Found) {
    let Found { generated, unique, steps, seconds, end, promises } = found;
    let end = match end {
        End::Exhausted => format!("to the end; {steps} steps at most on the way"),
        End::AtSteps(steps) => format!("ended at its bound: all that {steps} steps lead to"),
        End::AtStates(steps) => {
            format!("ended at its bound of states, {steps} steps from the beginning")
        }
        End::Broken => "a promise is broken".to_owned(),
    };
    println!("  {unique} states, {generated} with repetitions, in {seconds:.1} s; {end}");
    for promise in promises {
        let kept = match (promise.always, promise.kept) {
            (true, true) => "always",
            (true, false) => "BROKEN",
            (false, true) => "seen",
            (false, false) => "NOT SEEN",
        };
        println!("    {kept}: {}", promise.says);
        for (number, step) in (1..).zip(&promise.broken_by) {
            println!("      {number:2}. {step}");
        }
    }
    println!();
}

fn leave_out_each(json: bool) -> Result<bool> {
    let mut all_found = true;
    for Guard { name, without, search } in guards::all() {
        let mut shown = Shown::new();
        let found = search.run_to_shortest(&mut |progress| shown.show(progress));
        shown.clear();
        all_found &= found.is_broken();
        if json {
            println!(
                "{}",
                serde_json::to_string(&Report { search: name, bounds: search.bounds(), found: &found })?
            );
            continue;
        }
        let outcome = match found.broken() {
            Some(promise) => format!("\"{}\" is broken in {} steps", promise.says, promise.broken_by.len()),
            None => "NOTHING FOUND".to_owned(),
        };
        println!("{name:<14} {without}: {outcome}; {} states, {:.1} s", found.unique, found.seconds);
    }
    Ok(all_found)
}

/// The most memory that this process has had.
fn most_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or_else(String::new, |kilobytes| format!("; at most {} MB of memory", kilobytes / 1000))
}

/// How far a search is, on a terminal.
struct Shown {
    started: Instant,
    last: Option<Instant>,
}

impl Shown {
    fn new() -> Self {
        Self { started: Instant::now(), last: None }
    }

    fn show(&mut self, progress: Progress) {
        if !stderr().is_terminal() || self.last.is_some_and(|last| last.elapsed() < PROGRESS) {
            return;
        }
        self.last = Some(Instant::now());
        let Progress { generated, unique, steps } = progress;
        let rate = generated as f64 / self.started.elapsed().as_secs_f64();
        eprint!(
            "\r  {unique} states, {generated} with repetitions, {rate:.0} a second, {steps} steps \x1b[K"
        );
        let _ = stderr().flush();
    }

    fn clear(&self) {
        if self.last.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
