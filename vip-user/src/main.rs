//! The command `vip-user`: parses the command line, runs what it asks for, and reports how that ended.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::Parser;
use vip_user::{
    cli::{
        Cli, Command, check, client, depart, history, import, join, keygen, maintenance, reload, tell,
        upgrade,
    },
    confinement,
    daemon::{self, Ended},
    exit::Failure,
    logging,
    supervisor::{self, Follower},
};

/// How long the last words of a process may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let supervised = cli.life.supervised_by.map(Follower::of).transpose();
    let (follower, result) = match supervised {
        Ok(follower) => (follower, run(cli)),
        Err(failure) => (None, Err(failure)),
    };
    let (code, ended) = result.unwrap_or_else(|failure| {
        say_last(format!("vip-user: {failure}\n"));
        (failure.exit.into(), Ended::Stopped)
    });
    follower.into_iter().for_each(|follower| follower.take_leave(ended));
    code
}

/// Says something on standard error. Nobody can be told that it is closed, and one that nobody reads keeps no process.
fn say_last(text: String) {
    let (done, is_done) = mpsc::channel();
    let say = move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _ = is_done.recv_timeout(LAST_WORDS);
    }
}

fn run(cli: Cli) -> Result<(ExitCode, Ended), Failure> {
    let Some(command) = cli.command else { return serve(&cli) };
    match command {
        Command::Import(args) => return Ok((import::import(&args)?, Ended::Stopped)),
        Command::Status(args) => client::status(&args),
        Command::History(args) => history::history(&args),
        Command::Members(args) => client::members(&args),
        Command::Handover(args) => client::handover(args),
        Command::Maintenance(args) => maintenance::maintenance(&args),
        Command::Leave(args) => depart::leave(&args),
        Command::Forget(args) => depart::forget(&args),
        Command::Join(args) => join::join(&args),
        Command::Event(args) => tell::event(args),
        Command::Query(args) => tell::query(args),
        Command::Reload(args) => reload::reload(&args),
        Command::Upgrade(args) => upgrade::upgrade(&args),
        Command::Check(args) => check::check(&args),
        Command::Keygen => keygen::keygen(),
    }?;
    Ok((ExitCode::SUCCESS, Ended::Stopped))
}

fn serve(cli: &Cli) -> Result<(ExitCode, Ended), Failure> {
    // Before there is a key in it.
    confinement::seal_memory()?;
    let source = cli.settings.source();
    let settings = source.load()?;
    let _written_at_the_end = logging::init(&cli.log.filter, cli.log.log_format)?;
    if cli.life.supervise {
        // They were read to refuse what is wrong at once; the daemon reads them itself, and the keys stay with it.
        drop(settings);
        let code = supervisor::run(cli.life.succeeds)?;
        return Ok((code.into(), Ended::Stopped));
    }
    let ended = daemon::run(settings, source, cli.life.supervised_by.is_some())?;
    Ok((ExitCode::SUCCESS, ended))
}
