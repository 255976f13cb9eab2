//! `cargo xtask`: the project's commands for building, testing and showing it. One file per command; here they are
//! only dispatched.

mod bench;
mod build_ebpf;
mod cargo;
mod demo;
mod dist;
mod duration;
mod faults;
mod fuzz;
mod model;
mod mutate;
mod privilege;
mod setup;
mod simulate;
mod spread;
mod systems;
mod test;
mod trial;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use vip_tests::interrupt;

/// As a shell shows a command that SIGINT has ended.
const EXIT_INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, tests and shows vip-user")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the eBPF build and the tests need
    Setup,
    /// Build the XDP object and print its path
    BuildEbpf,
    /// Run all tests: unit, data-plane and cluster tests, model, simulation, mutations, fuzzing, faults, and some on other kernels
    Test(test::Arguments),
    /// Break the holder of a VIP in five ways, and show what a client sees
    Demo(demo::Arguments),
    /// Let everything go wrong that can, and check that no two nodes ever serve
    Faults(faults::Arguments),
    /// Run clusters in simulated time, and look for two holders
    Simulate(simulate::Arguments),
    /// Feed every decoder with bytes that nobody would write
    Fuzz(fuzz::Arguments),
    /// Search every state of small clusters for two holders
    Model(model::Arguments),
    /// Take the guards of the protocol out, one at a time, and check that this is noticed
    Mutate(mutate::Arguments),
    /// Make what is shipped: a program that needs no library, a Debian package and an archive, in target/dist
    Dist(dist::Arguments),
    /// Measure
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(code) => code,
        // Whatever failed, failed because it was to end.
        Err(_) if interrupt::check().is_err() => ExitCode::from(EXIT_INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => privilege::as_root("setup", setup::run),
        Command::BuildEbpf => build_ebpf::run(),
        Command::Test(arguments) => privilege::as_root("test", || test::run(&arguments)),
        Command::Faults(arguments) => privilege::as_root("faults", || faults::run(&arguments)),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Mutate(arguments) => mutate::run(&arguments),
        Command::Dist(arguments) if arguments.check => privilege::as_root("dist", || dist::run(&arguments)),
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Bench(arguments) => privilege::as_root("bench", || bench::run(&arguments)),
        Command::Demo(arguments) => privilege::as_root("demo", || demo::run(&arguments)),
    }
}
