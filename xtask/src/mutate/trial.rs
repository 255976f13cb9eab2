//! One guard taken out: building the code without it, and letting its finder look.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use vip_tests::interrupt;

use super::copy::Copy;
use super::guard::Finder;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// After so many schedules, where it was the simulation; and what was broken.
    Found { schedules: Option<u64>, broken: String },
    /// Not in so many schedules, or by the tests.
    Missed { schedules: Option<u64> },
}

/// What the simulation prints.
#[derive(Deserialize)]
struct Report {
    schedules: u64,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    broken: String,
}

/// How far the simulation goes where a guard's finder does not say.
pub(super) const ENOUGH: u64 = 10_000;

/// Builds the copy as it is now, and looks for broken promises: in so many schedules, or as many as the finder says.
pub(super) fn run(copy: &Copy, finder: Finder, schedules: Option<u64>, seed: u64) -> Result<Outcome> {
    match finder {
        Finder::Simulation { within } => simulate(copy, schedules.unwrap_or(within), seed, &[]),
        Finder::Pairs { within } => simulate(copy, schedules.unwrap_or(within), seed, &["--pairs"]),
        Finder::Nobody { .. } => simulate(copy, schedules.unwrap_or(ENOUGH), seed, &[]),
        Finder::Tests { package, names } => test(copy, package, names),
    }
}

fn simulate(copy: &Copy, schedules: u64, seed: u64, kind: &[&str]) -> Result<Outcome> {
    let mut build = copy.cargo("build");
    build.args(["--package", "vip-simulation"]);
    must_build(build)?;
    let mut simulation = Command::new(copy.simulation());
    simulation.args(["--json", "--no-shrink", "--schedules", &schedules.to_string()]);
    simulation.args(["--seed", &seed.to_string()]).args(kind);
    let output = output(simulation)?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the simulation ended without a report: {}", last_words(&output)))?;
    let schedules = Some(report.schedules);
    Ok(match report.failure {
        Some(Failure { broken }) => Outcome::Found { schedules, broken },
        None => Outcome::Missed { schedules },
    })
}

fn test(copy: &Copy, package: &str, names: &str) -> Result<Outcome> {
    let command = || {
        let mut command = copy.cargo("test");
        command.args(["--package", package]);
        command
    };
    let mut build = command();
    build.arg("--no-run");
    must_build(build)?;
    let mut tests = command();
    tests.args(["--no-fail-fast", names]);
    let output = output(tests)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.lines().any(|line| line.starts_with("running ") && line != "running 0 tests") {
        bail!("{package} has no test whose name contains \"{names}\"");
    }
    if output.status.success() {
        return Ok(Outcome::Missed { schedules: None });
    }
    let failed = text.lines().find_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"));
    Ok(Outcome::Found { schedules: None, broken: failed.unwrap_or("the tests end early").to_owned() })
}

fn must_build(command: Command) -> Result<()> {
    let built = output(command)?;
    if !built.status.success() {
        bail!("the code without the guard does not build: {}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(())
}

fn output(mut command: Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    interrupt::check()?;
    Ok(output)
}

fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().map_or_else(|| output.status.to_string(), str::to_owned)
}
