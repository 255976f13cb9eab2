//! One run of a check: what it does, and why it fails. Nothing here blocks the thread.

mod exec;
mod file;
mod http;
mod interface;
mod network;
mod process;

use std::future::pending;
use std::time::Duration;

use tokio::time::timeout;

use self::exec::Exec;
use self::file::FileWatch;
use self::http::Client;
use self::interface::InterfaceWatch;
use self::network::Connector;
use self::process::ProcessWatch;
use crate::config::{Probe, format_duration};

/// What runs a check, with what it keeps from one run to the next.
#[derive(Debug)]
pub(super) enum Prober {
    Http(Box<Client>),
    Tcp(Connector),
    Exec(Exec),
    Process(ProcessWatch),
    Interface(InterfaceWatch),
    File(FileWatch),
    /// It fails each time, for this reason.
    Unusable(String),
}

impl Prober {
    /// To be called on the runtime that it is to run on.
    pub(super) fn new(probe: &Probe) -> Self {
        let made = match probe {
            Probe::Http(http) => Client::new(http).map(Box::new).map(Self::Http),
            Probe::Tcp(target) => Ok(Self::Tcp(Connector::new(target.clone()))),
            Probe::Exec(run) => Ok(Self::Exec(Exec::new(run.clone()))),
            Probe::Process(name) => Ok(Self::Process(ProcessWatch::new(name.clone()))),
            Probe::Interface(name) => InterfaceWatch::new(name.clone()).map(Self::Interface),
            Probe::File { path, absent } => Ok(Self::File(FileWatch::new(path.clone(), *absent))),
        };
        made.unwrap_or_else(Self::Unusable)
    }

    /// Runs it once, and no longer than `limit`; the error says what is wrong.
    pub(super) async fn run(&mut self, limit: Duration) -> Result<(), String> {
        // A program that is out of time is killed first, which takes a moment.
        let patience = if matches!(self, Self::Exec(_)) { limit.saturating_add(exec::SLACK) } else { limit };
        let run = async {
            match self {
                Self::Http(client) => client.ask().await,
                Self::Tcp(connector) => connector.connect().await.map(drop),
                Self::Exec(exec) => exec.run(limit).await,
                Self::Process(watch) => watch.look().await,
                Self::Interface(watch) => watch.look().await,
                Self::File(watch) => watch.look().await,
                Self::Unusable(reason) => Err(reason.clone()),
            }
        };
        let late = || Err(format!("not done within {}", format_duration(limit)));
        timeout(patience, run).await.unwrap_or_else(|_| late())
    }

    /// Waits until there is a reason to run it before its time; may be cancelled.
    pub(super) async fn hint(&mut self) {
        match self {
            Self::Interface(watch) => watch.changed().await,
            _ => pending().await,
        }
    }
}
