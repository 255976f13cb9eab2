//! The command `vip-user`: parses the command line, runs what it asks for, and reports how that ended.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use vip_user::{
    cli::{Cli, Command, check, client, depart, keygen},
    daemon,
    exit::Failure,
    logging,
};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody can be told that standard error is closed.
            let _ = writeln!(io::stderr(), "vip-user: {failure}");
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => {
            let settings = cli.settings.load()?;
            logging::init(&cli.log.filter, cli.log.log_format)?;
            daemon::run(settings)
        }
        Some(Command::Status(args)) => client::status(&args),
        Some(Command::Members(args)) => client::members(&args),
        Some(Command::Handover(args)) => client::handover(args),
        Some(Command::Leave(args)) => depart::leave(&args),
        Some(Command::Forget(args)) => depart::forget(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Keygen) => keygen::keygen(),
    }
}
