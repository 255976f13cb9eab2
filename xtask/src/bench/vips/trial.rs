//! One failover of a system with many VIPs.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    interrupt,
    net::ip,
    oracle::Announcements,
    prober::{Prober, ProberOptions, Report},
    responder::{PORT, Responder},
    wait,
};

use crate::{
    duration::milliseconds,
    systems::{Kind, System},
    trial::{Fault, random_below},
};

/// Of the VIPs but the first.
pub(super) const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 0);
/// Probes per second to each of the two VIPs: half of what the other benches send to one.
const RATE: u32 = 5000;
/// How long a start, a takeover and a return may take, each; a system that takes longer gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long all announcements may take: what has not been sent by then is lost.
const ANNOUNCEMENTS: Duration = Duration::from_secs(10);
/// Longer than all of a trial.
const LIMIT: Duration = Duration::from_secs(200);
/// How long the client watches the new holder: some fail again when there is much to announce.
const WATCH: Duration = Duration::from_secs(1);

/// What one trial showed. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct TrialRecord {
    /// Of the first VIP.
    pub(super) outage_ms: f64,
    pub(super) outage_last_vip_ms: f64,
    /// From the fault until the new holder had announced every VIP once; `None`: it has not.
    pub(super) announced_ms: Option<f64>,
    announced: usize,
    /// Of both VIPs.
    probes_lost: u64,
    probes_doubled: u64,
    worst_lateness_ms: f64,
}

impl TrialRecord {
    /// From the probes to the first VIP and to the last one, and the announcements.
    fn new(reports: &[Report], (announced, at): (usize, Option<Stamp>), vips: usize, broken: Stamp) -> Self {
        let outage = |report: Option<&Report>| {
            let outage = report.and_then(|report| report.outage_after(broken));
            outage.map_or(0.0, |outage| milliseconds(outage.duration))
        };
        let latest = reports.iter().map(|report| report.worst_lateness).max();
        Self {
            outage_ms: outage(reports.first()),
            outage_last_vip_ms: outage(reports.last()),
            announced_ms: at.filter(|_| announced == vips).map(|at| milliseconds(at.since(broken))),
            announced,
            probes_lost: reports.iter().map(|report| report.lost).sum(),
            probes_doubled: reports.iter().map(|report| report.doubles).sum(),
            worst_lateness_ms: milliseconds(latest.unwrap_or_default()),
        }
    }
}

/// A running system with its VIPs.
pub(super) struct Subject {
    vips: Vec<Ipv4Addr>,
    /// Behind the last VIP; the system has those of the first.
    _responders: Vec<Responder>,
    system: Box<dyn System>,
}

impl Subject {
    /// Starts it, and waits until it serves.
    pub(super) fn start(kind: Kind, daemon: &Path, vips: &[Ipv4Addr]) -> Result<Self> {
        let system = kind.start(daemon, vips)?;
        let lab = system.lab();
        ip(&lab.client_netns(), &["route", "add", &format!("{NETWORK}/16"), "dev", "eth0"])?;
        let responder = |(node, vip): (u8, Ipv4Addr)| Responder::start(lab, node, vip);
        let last = vips.last().filter(|_| vips.len() > 1);
        let pairs = last.into_iter().flat_map(|vip| lab.nodes().map(move |node| (node, *vip)));
        let responders = pairs.map(responder).collect::<Result<_>>()?;
        system.wait_whole(PATIENCE)?;
        Ok(Self { vips: vips.to_vec(), _responders: responders, system })
    }

    /// Cuts the holder off, waits until another node serves and has announced itself, and plugs the cable in
    /// again.
    pub(super) fn fail_over(&mut self) -> Result<TrialRecord> {
        let trial = self.attempt();
        trial.with_context(|| format!("with {} VIPs: {}", self.vips.len(), self.system.log_tails()))
    }

    fn attempt(&mut self) -> Result<TrialRecord> {
        self.system.wait_whole(PATIENCE)?;
        let probers: Vec<Prober> = self.ends().map(|vip| self.probe(vip)).collect::<Result<_>>()?;
        let served = probers.iter().map(|prober| wait_service(prober, None)).collect::<Result<Vec<u8>>>()?;
        let victim = *served.first().context("no VIP")?;
        interrupt::pause(random_below(self.system.phases()))?;

        let announcements = Announcements::watch(self.system.lab(), &self.vips, victim)?;
        let broken = Stamp::now();
        self.system.inflict(Fault::Cable, victim)?;
        probers.iter().try_for_each(|prober| wait_service(prober, Some(victim)).map(drop))?;
        let announced = wait_announced(&announcements, self.vips.len())?;
        interrupt::pause(WATCH)?;

        let reports: Vec<Report> = probers.into_iter().map(Prober::finish).collect();
        self.system.repair(Fault::Cable, victim)?;
        Ok(TrialRecord::new(&reports, announced, self.vips.len(), broken))
    }

    /// The first VIP and the last one, if they are two.
    fn ends(&self) -> impl Iterator<Item = Ipv4Addr> {
        let last = self.vips.last().filter(|_| self.vips.len() > 1);
        self.vips.first().into_iter().chain(last).copied()
    }

    fn probe(&self, vip: Ipv4Addr) -> Result<Prober> {
        let target = SocketAddrV4::new(vip, PORT);
        Prober::start(self.system.lab(), &ProberOptions { target, rate: RATE, limit: LIMIT, punctual: true })
    }
}

/// The node that answers from now on, and is not `former`.
fn wait_service(prober: &Prober, former: Option<u8>) -> Result<u8> {
    let now = Stamp::now();
    wait::until("a node to serve", PATIENCE, || Ok(prober.answer_after(now, |node| Some(node) != former)))
        .map(|answer| answer.node)
}

/// How many were announced, and when the last one was.
fn wait_announced(announcements: &Announcements, count: usize) -> Result<(usize, Option<Stamp>)> {
    let all = || Ok((announcements.so_far().0 == count).then_some(()));
    // Not all of them is a result, too.
    let _ = wait::until("all announcements", ANNOUNCEMENTS, all);
    interrupt::check()?;
    Ok(announcements.so_far())
}
