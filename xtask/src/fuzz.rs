//! `cargo xtask fuzz`: bytes that nobody would write, into everything that decodes bytes of others.
//!
//! Here: which targets run for how long. How they are built is in `build`, how libFuzzer is run and understood in
//! `session`, what is left of it in `report`. What the targets check is in the directory `fuzz`.

mod build;
mod report;
mod session;

use std::{
    num::NonZero,
    panic::resume_unwind,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser};
use vip_tests::interrupt;

use self::{
    build::{Instrumentation, Program},
    report::{Outcome, Report},
    session::{Effort, Scratch},
};
use crate::setup;

/// What can be fuzzed: the names of the programs in `fuzz/targets`, and what each of them decodes.
const TARGETS: [(&str, &str); 11] = [
    ("message", "datagrams of anybody"),
    ("hello", "the bodies of Hellos, and what a node does that hears them"),
    ("gossip", "what members tell each other beside leases and Hellos, and what comes of events and queries"),
    ("state", "files of the state directory"),
    ("control", "requests of the control socket's clients"),
    ("reply", "answers to these clients, and how they show them"),
    ("configuration", "configuration files"),
    ("key", "key files"),
    ("advert", "adverts of VRRP"),
    ("import", "configurations of keepalived"),
    ("netlink", "notifications about links and addresses"),
];

/// Of each target in every test run: the kept corpus, and some thousand inputs beyond, the same ones each time. Finding new ones is
/// for longer runs.
const SHORT: Effort = Effort { seconds: 3, seed: Some(1) };

/// Profiles: programs that are quick, and programs that are there sooner.
const QUICK: &str = "brief";
const SOON_BUILT: &str = "brief";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these targets
    #[arg(value_name = "TARGET", value_parser = PossibleValuesParser::new(TARGETS.map(|(name, what)| PossibleValue::new(name).help(what))))]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run the one target on this input alone, as to repeat a crash
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "json"])]
    input: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs targets; fails if an input has broken one.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_build_tools()?;
    setup::ensure_fuzz_tools()?;
    let all = arguments.targets.is_empty();
    let chosen = |name: &str| all || arguments.targets.iter().any(|target| target == name);
    let instrumentation = Instrumentation::find()?;
    let programs = instrumentation.build(QUICK, chosen)?;

    let good = match (&arguments.input, programs.as_slice()) {
        (Some(input), [program]) => session::repeat(program, input)?,
        (Some(_), _) => {
            bail!("an input is for one target: name it, as in `cargo xtask fuzz message --input FILE`")
        }
        (None, programs) => {
            let report = fuzz(&instrumentation, programs, Effort { seconds: arguments.seconds, seed: None })?;
            report.print(arguments.json)?;
            report.is_good()
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the targets whose name contains `filter` for a moment each; `false` if one does not build, or an input has broken
/// it. Where the tools for it are missing and cannot be had, says so and does without.
pub(crate) fn run_briefly(filter: Option<&str>) -> Result<bool> {
    let instrumentation = match setup::ensure_fuzz_tools().and_then(|()| Instrumentation::find()) {
        Ok(instrumentation) => instrumentation,
        Err(missing) => {
            eprintln!("NOT FUZZED: {missing:#}");
            return Ok(true);
        }
    };
    let built = instrumentation.build(SOON_BUILT, |name| filter.is_none_or(|filter| name.contains(filter)));
    interrupt::check()?;
    let programs = match built {
        Ok(programs) if programs.is_empty() => return Ok(true),
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(false);
        }
    };
    let report = fuzz(&instrumentation, &programs, SHORT)?;
    report.print(false)?;
    Ok(report.is_good())
}

/// Runs one target on each processor at a time.
fn fuzz(instrumentation: &Instrumentation, programs: &[Program], effort: Effort) -> Result<Report> {
    let scratch = Scratch::new().context("cannot make a directory for the targets' files")?;
    let next = AtomicUsize::new(0);
    let run_some = || {
        let mut outcomes = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(program) = programs.get(number) else { return Ok(outcomes) };
            outcomes.push((number, session::run(program, effort, &scratch)?));
        }
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let outcomes: Result<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(run_some)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut outcomes: Vec<(usize, Outcome)> = outcomes?.into_iter().flatten().collect();
    outcomes.sort_by_key(|(number, _)| *number);
    let mut report = Report::new(instrumentation.has_sanitizer());
    outcomes.into_iter().for_each(|(_, outcome)| report.add(outcome));
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    #[test]
    fn every_target_can_be_run_and_has_inputs_that_are_kept() {
        let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");
        let names = TARGETS.map(|(name, _)| name.to_owned());
        let programs = fs::read_dir(format!("{fuzz}/targets")).unwrap().map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".rs").unwrap().to_owned()
        });
        assert_eq!(programs.collect::<BTreeSet<_>>(), BTreeSet::from(names.clone()));
        for name in names {
            let kept = fs::read_dir(format!("{fuzz}/corpus/{name}")).unwrap().count();
            assert!(kept >= 10, "{name} has {kept}");
        }
    }
}
