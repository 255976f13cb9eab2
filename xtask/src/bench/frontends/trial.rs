//! One event from before it happens until all is well again, with clients asking all the time.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    interrupt,
    visitors::{Connections, Report, Visit, VisitorOptions, Visitors},
    wait,
};

use super::{
    event::Event,
    site::{Site, TARGET},
};
use crate::{duration::milliseconds, trial::random_below};

/// How many connections are kept.
const KEPT: usize = 50;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long another node may take to serve, before the trial counts as failed.
const TAKEOVER: Duration = Duration::from_secs(20);
/// How long all nodes may take to be together again.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long clients ask before the event, and after the repair.
const CALM: Duration = Duration::from_millis(300);
/// How long they ask from the takeover to the repair: TCP asks for a connection again after a second.
const WATCH: Duration = Duration::from_millis(1500);

/// What one trial showed.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    victim: u8,
    successor: u8,
    /// From the event to the first request that was due then and that the successor answered; where the holder may go on, any.
    served_after_ms: f64,
    /// Requests over connections that are kept.
    pub(super) kept: Report,
    /// Requests over new ones.
    pub(super) new: Report,
}

/// Leaves the site whole; an error has the daemons' last words.
pub(super) fn run(site: &mut Site, event: Event, rate: u32) -> Result<Trial> {
    let trial = attempt(site, event, rate);
    trial.with_context(|| format!("{}: {}", event.name(), site.system.log_tails()))
}

fn attempt(site: &mut Site, event: Event, rate: u32) -> Result<Trial> {
    site.system.wait_whole(RECOVERY)?;
    let clients = Clients::start(site, rate)?;
    clients.wait_answer(Stamp::now(), |_| true)?;
    interrupt::pause(CALM + random_below(site.system.phases()))?;
    let victim = clients.wait_answer(Stamp::now(), |_| true)?;

    let begun = Stamp::now();
    site.inflict(event, victim)?;
    let successor = clients.wait_answer(begun, |node| event.can_be_survived() || node != victim)?;
    let served_after_ms = milliseconds(Stamp::now().since(begun));
    interrupt::pause(WATCH)?;
    site.repair(event, victim)?;
    site.system.wait_whole(RECOVERY)?;
    interrupt::pause(CALM)?;
    let [kept, new] = clients.finish()?;
    Ok(Trial { victim, successor, served_after_ms, kept, new })
}

/// Those with connections that they keep, and those without.
struct Clients {
    kept: Visitors,
    new: Visitors,
}

impl Clients {
    fn start(site: &Site, rate: u32) -> Result<Self> {
        let start = |connections| {
            let options = VisitorOptions { target: TARGET, rate, connections, patience: PATIENCE };
            Visitors::start(site.lab(), &options)
        };
        Ok(Self { kept: start(Connections::Kept(KEPT))?, new: start(Connections::New)? })
    }

    /// Waits for an answer to a new client's request that was due at `after` or later; gives the node.
    fn wait_answer(&self, after: Stamp, by: impl Fn(u8) -> bool) -> Result<u8> {
        wait::until("an answer", TAKEOVER, || {
            Ok(self.new.outcome_after(after, |outcome| outcome.ok().filter(|node| by(*node))))
        })
    }

    fn finish(mut self) -> Result<[Report; 2]> {
        self.kept.stop();
        self.new.stop();
        let report = |visits: Vec<Visit>| Report::of(&visits);
        Ok([report(self.kept.finish()?), report(self.new.finish()?)])
    }
}
