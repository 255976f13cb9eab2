//! `cargo xtask test`: every test there is.

use std::{
    panic::resume_unwind,
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context, Result};
use vip_tests::{interrupt, lab};

use crate::{
    cargo::{Profile, build_daemon, cargo},
    fuzz, model, mutate, setup, simulate, vm,
};

const ONE_BY_ONE: &str = "--test-threads=1";
const SIDE_BY_SIDE: &str = "--test-threads=3";
/// Of the values that nice(2) takes.
const LOWEST_PRIORITY: i32 = 19;
/// Tests of the data plane that have two processors meet in the program.
const RACES: [&str; 2] = ["dataplane::races::", "dataplane::differential::concurrency::"];

/// Tests of clusters that mostly wait, most of them with leases of a second: of nothing that a late thread could change.
const PATIENT: [&str; 16] = [
    "cluster::egress::",
    "cluster::events::",
    "cluster::gossip::",
    "cluster::groups::",
    "cluster::handover::",
    "cluster::health::",
    "cluster::history::",
    "cluster::join::",
    "cluster::notify::",
    "cluster::pair::",
    "cluster::presence::",
    "cluster::reload::",
    "cluster::upgrade::",
    "cluster::virtual_mac::",
    "cluster::voters::",
    "cluster::web::",
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Run only the tests that run on other kernels, in virtual machines
    #[arg(long, conflicts_with_all = ["filter", "options"])]
    vm: bool,
    /// Options for the test programs, such as --nocapture
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs unit tests, then those of the test bed; fails if one of them does.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_all()?;
    setup::ensure_serf()?;
    setup::ensure_fronts()?;
    if arguments.vm {
        return Ok(exit_code(vm::passes()?));
    }
    setup::ensure_browser()?;
    setup::ensure_routers()?;
    lab::sweep_leftovers()?;
    let daemon = build_daemon(Profile::Dev)?;

    // The eBPF crate builds for its own target only; its rules are tested where they are defined, in vip-common.
    let mut units = cargo("test");
    let elsewhere = ["vip-ebpf", "vip-tests", "vip-model"].map(|package| ["--exclude", package]);
    units.args(["--workspace", "--no-fail-fast"]).args(elsewhere.as_flattened());
    units.args(&arguments.filter).arg("--").args(&arguments.options);

    let mut searches = model::tests();
    searches.args(&arguments.filter).arg("--").args(&arguments.options);

    let simulation = simulate::command(&simulate::Arguments::default());

    // Simulation, mutations and other kernels have no names that a filter could go by.
    let is_filtered = arguments.filter.is_some();
    let mut passed = vec![passes(units)?];
    let compute = || {
        let searched = ends_well(searches)?;
        let simulated = is_filtered || ends_well(simulation)? & ends_well(simulate::command_of_pairs())?;
        let fuzzed = fuzz::run_briefly(arguments.filter.as_deref())?;
        let mutated = is_filtered || mutate::passes_in_short()?;
        Ok(searched && simulated && fuzzed && mutated)
    };
    let TestBed { waiting, racing } = test_bed(&daemon, arguments);
    passed.push(beside(compute, || all_pass(waiting))?);
    passed.push(all_pass(racing)?);
    passed.push(is_filtered || vm::passes_where_it_runs()?);
    Ok(exit_code(passed.into_iter().all(|passed| passed)))
}

/// Does what only computes beside what mostly waits, and gives way to it; whether both have passed.
fn beside(
    compute: impl FnOnce() -> Result<bool> + Send,
    wait: impl FnOnce() -> Result<bool>,
) -> Result<bool> {
    thread::scope(|scope| {
        let computed = scope.spawn(|| {
            // Of this thread, and of the processes that it starts.
            rustix::process::nice(LOWEST_PRIORITY).context("cannot give way to other processes")?;
            compute()
        });
        let waited = wait();
        let computed = computed.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(waited? && computed?)
    })
}

/// The tests of the test bed.
struct TestBed {
    /// These leave the processors idle most of the time.
    waiting: Vec<Command>,
    /// These want all of them.
    racing: Vec<Command>,
}

/// A cluster's nodes share two cores at times, and their leases are milliseconds long: so its
/// tests run one after the other, but for the patient ones. Each test of the data plane has a program and maps of its own and is in no haste: they
/// run side by side, but for those that want two processors for themselves.
fn test_bed(daemon: &Path, arguments: &Arguments) -> TestBed {
    let tests = |target: &[&str], options: &[&str]| {
        let mut command = cargo("test");
        command.args(["--package", "vip-tests", "--no-fail-fast"]).args(target).env("VIP_USER_BIN", daemon);
        command.env(vip_tests::serf::PLACE, setup::serf::place());
        command.env(vip_tests::fronts::PLACE, setup::fronts::place());
        command.args(&arguments.filter).arg("--").args(options).args(&arguments.options);
        command
    };
    if arguments.filter.is_some() {
        return TestBed { waiting: vec![tests(&[], &[ONE_BY_ONE])], racing: Vec::new() };
    }
    let data_plane = ["--test", "dataplane"];
    let skip = |names: &[&'static str]| names.iter().flat_map(|name| ["--skip", name]).collect::<Vec<_>>();
    let waiting = vec![
        tests(&[], &[&[ONE_BY_ONE, "--skip", "dataplane::"][..], &skip(&PATIENT)].concat()),
        tests(&["--test", "cluster"], &[&[SIDE_BY_SIDE], &PATIENT[..]].concat()),
        tests(&data_plane, &skip(&RACES)),
    ];
    TestBed { waiting, racing: vec![tests(&data_plane, &[&[ONE_BY_ONE], &RACES[..]].concat())] }
}

fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all of them, also where one fails.
fn all_pass(commands: Vec<Command>) -> Result<bool> {
    let passed: Vec<bool> = commands.into_iter().map(passes).collect::<Result<_>>()?;
    Ok(passed.into_iter().all(|passed| passed))
}

/// Runs a test command, and removes what it could not remove if it was killed.
fn passes(command: Command) -> Result<bool> {
    let passed = ends_well(command);
    lab::sweep_leftovers()?;
    passed
}

/// Runs a command that makes nothing that stays.
fn ends_well(mut command: Command) -> Result<bool> {
    let status = command.status().context("cannot run cargo")?;
    interrupt::check()?;
    Ok(status.success())
}
