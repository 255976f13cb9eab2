//! One fault from before it happens until all is well again, with the client asking all the time: what the
//! demo shows and the benches count.
//!
//! What a fault is stands in `fault`, what is shown meanwhile in `timeline`, what is kept in `record`.

mod fault;
mod record;
mod timeline;

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use anyhow::{Context, Result};
use vip_tests::{
    clock::Stamp,
    interrupt,
    oracle::{Oracle, OracleReport},
    prober::{Answer, Outage, Prober, ProberOptions, Report},
    wait,
};

pub(crate) use self::{fault::Fault, record::TrialRecord, timeline::Timeline};
use crate::systems::System;

/// Longer than any wait of a trial, together with the others.
const LIMIT: Duration = Duration::from_secs(120);
/// How long another node may take to serve, before the trial counts as failed.
const TAKEOVER: Duration = Duration::from_secs(20);
/// How long all nodes may take to be together again.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long the client watches the new holder before the old one comes back, and both after it has.
const WATCH: Duration = Duration::from_millis(250);

/// What one trial showed.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) fault: Fault,
    /// The node that failed.
    pub(crate) victim: u8,
    /// The node that served next.
    pub(crate) successor: u8,
    /// The longest time without service from the fault on, its repair included.
    pub(crate) outage: Duration,
    /// From the repair until all nodes were alive and agreed on a holder.
    pub(crate) recovery: Duration,
    pub(crate) probes: Report,
    pub(crate) requests: OracleReport,
    /// When the fault happened.
    pub(crate) broken: Stamp,
}

impl Trial {
    /// Requests of prober and oracle that two nodes answered.
    pub(crate) fn doubles(&self) -> u64 {
        self.probes.doubles + self.requests.doubles
    }
}

/// Runs one trial on a whole system with so many probes a second, and leaves it whole; an error has the
/// daemons' last words.
pub(crate) fn run(system: &mut dyn System, fault: Fault, rate: u32, timeline: &Timeline) -> Result<Trial> {
    let trial = attempt(system, fault, rate, timeline);
    trial.with_context(|| format!("{}: {}", fault.name(), system.log_tails()))
}

fn attempt(system: &mut dyn System, fault: Fault, rate: u32, timeline: &Timeline) -> Result<Trial> {
    system.wait_whole(RECOVERY)?;
    let oracle = Oracle::start(system.lab(), LIMIT)?;
    let options = ProberOptions { rate, limit: LIMIT, punctual: true, ..ProberOptions::default() };
    let prober = Prober::start(system.lab(), &options)?;
    wait_service(&prober)?;
    interrupt::pause(random_below(system.phases()))?;
    // Asked last: with leases of a few milliseconds, a busy machine can change the holder at any time.
    let victim = wait_service(&prober)?;

    let broken = Stamp::now();
    timeline.event(broken, broken, &format!("lb{victim} serves; {}", fault.name()));
    system.inflict(fault, victim)?;
    if fault.can_be_survived() {
        interrupt::pause(WATCH)?;
    }
    let successor = wait_successor(&prober, broken, |node| fault.can_be_survived() || node != victim)?;
    show_takeover(timeline, broken, victim, successor, &prober.report_so_far());
    interrupt::pause(WATCH)?;

    let repaired = Stamp::now();
    system.repair(fault, victim)?;
    timeline.event(broken, repaired, &format!("lb{victim}: {}", fault.repair_story()));
    let holder = system.wait_whole(RECOVERY)?;
    let whole = Stamp::now();
    timeline.event(broken, whole, &format!("all nodes are alive, lb{holder} holds the VIP"));
    interrupt::pause(WATCH)?;

    let (probes, requests) = (prober.finish(), oracle.finish());
    timeline.doubles(broken, probes.doubles, &requests);
    let outage = probes.outage_after(broken).map_or(Duration::ZERO, |outage| outage.duration);
    let (successor, recovery) = (successor.node, whole.since(repaired));
    Ok(Trial { fault, victim, successor, outage, recovery, probes, requests, broken })
}

/// The node that answers from now on.
fn wait_service(prober: &Prober) -> Result<u8> {
    let now = Stamp::now();
    wait::until("a node to serve", TAKEOVER, || Ok(prober.answer_after(now, |_| true)))
        .map(|answer| answer.node)
}

fn wait_successor(prober: &Prober, broken: Stamp, may_serve: impl Fn(u8) -> bool) -> Result<Answer> {
    wait::until("a node to serve then", TAKEOVER, || Ok(prober.answer_after(broken, &may_serve)))
}

fn show_takeover(timeline: &Timeline, broken: Stamp, victim: u8, successor: Answer, probes: &Report) {
    let Answer { sent, node } = successor;
    match probes.outage_after(broken) {
        Some(Outage { start, duration, lost, .. }) => {
            timeline.outage(broken, *start, &format!("lb{victim} answers no more"));
            let outage = duration.as_secs_f64() * 1e3;
            timeline.service(
                broken,
                sent,
                &format!("lb{node} answers: {outage:.1} ms without service, {lost} probes lost"),
            );
        }
        None => timeline.service(broken, sent, &format!("lb{node} answers: no probe lost")),
    }
}

/// Any duration below `span`; each hasher of the standard library has a random key.
pub(crate) fn random_below(span: Duration) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(RandomState::new().hash_one(()) % nanos)
}
