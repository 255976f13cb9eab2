//! One fault from before it happens until all is well again, with the client asking all the time.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use anyhow::{Context, Result};
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    interrupt,
    oracle::{Oracle, OracleReport},
    prober::{Answer, Outage, Prober, ProberOptions, Report},
    wait,
};

use super::{fault::Fault, timeline::Timeline};

/// Longer than any wait of a trial, together with the others.
const LIMIT: Duration = Duration::from_secs(120);
/// How long another node may take to serve, before the trial counts as failed.
const TAKEOVER: Duration = Duration::from_secs(20);
/// How long all nodes may take to be together again.
const RECOVERY: Duration = Duration::from_secs(30);
/// The holder is broken at some moment of this span, whatever its heartbeats do.
const PHASES: Duration = Duration::from_millis(50);
/// How long the client watches the new holder before the old one comes back, and both after it has.
const WATCH: Duration = Duration::from_millis(250);

/// What one trial showed.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) fault: Fault,
    /// The node that failed.
    pub(super) victim: u8,
    /// The node that served next.
    pub(super) successor: u8,
    /// The longest time without service from the fault on, its repair included.
    pub(super) outage: Duration,
    /// From the repair until all nodes were alive and agreed on a holder.
    pub(super) recovery: Duration,
    pub(super) probes: Report,
    pub(super) requests: OracleReport,
    /// When the fault happened.
    pub(super) broken: Stamp,
}

impl Trial {
    /// Requests of prober and oracle that two nodes answered.
    pub(super) fn doubles(&self) -> u64 {
        self.probes.doubles + self.requests.doubles
    }
}

/// Runs one trial on a cluster that is whole, and leaves it so; an error has the daemons' last words.
pub(super) fn run(cluster: &mut Cluster, fault: Fault, timeline: &Timeline) -> Result<Trial> {
    let trial = attempt(cluster, fault, timeline);
    trial.with_context(|| format!("{}: {}", fault.name(), cluster.log_tails()))
}

fn attempt(cluster: &mut Cluster, fault: Fault, timeline: &Timeline) -> Result<Trial> {
    cluster.wait_whole(RECOVERY)?;
    let oracle = Oracle::start(cluster.lab(), LIMIT)?;
    let prober = Prober::start(cluster.lab(), &ProberOptions { limit: LIMIT, ..ProberOptions::default() })?;
    wait_service(&prober)?;
    interrupt::pause(random_below(PHASES))?;
    // Asked last: with leases of a few milliseconds, a busy machine can change the holder at any time.
    let victim = wait_service(&prober)?;

    let broken = Stamp::now();
    timeline.event(broken, broken, &format!("lb{victim} serves; {}", fault.name()));
    fault.inflict(cluster, victim)?;
    if fault.can_be_survived() {
        interrupt::pause(WATCH)?;
    }
    let successor = wait_successor(&prober, broken, |node| fault.can_be_survived() || node != victim)?;
    show_takeover(timeline, broken, victim, successor, &prober.report_so_far());
    interrupt::pause(WATCH)?;

    let repaired = Stamp::now();
    fault.repair(cluster, victim)?;
    timeline.event(broken, repaired, &format!("lb{victim}: {}", fault.repair_story()));
    let holder = cluster.wait_whole(RECOVERY)?;
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
fn random_below(span: Duration) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(RandomState::new().hash_one(()) % nanos)
}
