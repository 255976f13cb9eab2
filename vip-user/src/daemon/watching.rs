//! What is shown to those who watch by HTTP: snapshots when they are asked for, and, while there is such a server at all, a
//! sample of the heartbeats each second.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::control_plane::{ControlPlane, nanoseconds};
use super::groups;
use super::lease_thread::Meter;
use super::shared::Shared;
use crate::clock;
use crate::dataplane::RenewalTable;
use crate::histogram::Histogram;
use crate::logging;
use crate::web::{Moment, Server, Snapshot, Source};

const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
/// Samples that are kept: of five minutes.
const MOMENTS: usize = 300;

/// Entries of the journal that are shown.
const TIMELINE: usize = 200;

/// What the control plane keeps for it.
#[derive(Debug)]
pub(super) struct Watching {
    meter: Arc<Meter>,
    /// Where it is served, if it is.
    address: watch::Sender<Option<SocketAddr>>,
    /// The answers to this node's renewals; `None` without XDP.
    renewals: Option<RenewalTable>,
    round_trips: BTreeMap<u16, Histogram>,
    moments: VecDeque<Moment>,
    /// As of the last sample.
    lateness: Histogram,
}

impl Watching {
    pub(super) fn new(
        meter: Arc<Meter>,
        renewals: Option<RenewalTable>,
        address: Option<SocketAddr>,
    ) -> Self {
        let (address, lateness) = (watch::Sender::new(address), Histogram::default());
        Self { meter, address, renewals, round_trips: BTreeMap::new(), moments: VecDeque::new(), lateness }
    }

    /// It is served there from now on, or no more.
    pub(super) fn serve_at(&self, address: Option<SocketAddr>) {
        self.address.send_if_modified(|current| mem::replace(current, address) != address);
    }
}

/// Serves those who watch, where the configuration says, until this is aborted.
pub(super) fn start(shared: &Shared) -> JoinHandle<Infallible> {
    let addresses = shared.with(|plane| plane.watching.address.subscribe());
    tokio::spawn(serve(shared.clone(), addresses))
}

async fn serve(shared: Shared, mut addresses: watch::Receiver<Option<SocketAddr>>) -> Infallible {
    loop {
        let address = *addresses.borrow_and_update();
        // Where nobody is to be served, only another address ends the wait.
        let attendance = async {
            match address {
                Some(address) => attend(&shared, address).await,
                None => pending().await,
            }
        };
        tokio::select! {
            never = attendance => match never {},
            _ = addresses.changed() => {}
        }
    }
}

/// Answers the server's questions, and takes the samples.
async fn attend(shared: &Shared, address: SocketAddr) -> Infallible {
    if !address.ip().is_loopback() {
        warn!("metrics and the web page are open to whoever reaches {address} (node.metrics)");
    }
    let (source, mut asked) = Source::new();
    // Ends when this does, at once: it waits for nothing but its clients and the answers from here.
    let _server = Server::start(address, source)
        .inspect_err(|error| warn!("no metrics and no web page at {address}: {error}"));
    let mut ticks = interval(SAMPLE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Who has asked may be gone.
            Some(reply) = asked.recv() => drop(reply.send(shared.with(ControlPlane::snapshot))),
            _ = ticks.tick() => shared.with(ControlPlane::take_sample),
        }
    }
}

impl ControlPlane {
    fn snapshot(&mut self) -> Snapshot {
        let status = self.status();
        let now = clock::now();
        let Watching { meter, round_trips, moments, .. } = &self.watching;
        let (lost_letters, lost_reports) = meter.lost();
        Snapshot {
            at: unix_millis(),
            status,
            cluster: self.settings.cluster.name.clone(),
            interval: self.settings.cluster.interval,
            groups: self.groups.iter().map(|group| group.figures.at(now)).collect(),
            outcomes: self.outcomes(),
            lateness: meter.lateness().read(),
            round_trips: round_trips.clone(),
            moments: moments.iter().copied().collect(),
            timeline: self.journal.newest(TIMELINE),
            handlers: self.events.figures(),
            lost_letters,
            lost_reports,
            suppressed_lines: logging::suppressed_lines(),
            stuck_for: meter.stuck_for(now),
        }
    }

    /// Takes note of how punctual the last second's renewals were, and how soon the last ones were answered.
    fn take_sample(&mut self) {
        let round_trips = self.round_trips();
        let watching = &mut self.watching;
        for (voter, ns) in &round_trips {
            watching.round_trips.entry(*voter).or_default().record(*ns);
        }
        let lateness = watching.meter.lateness().read();
        let renewals = lateness.total() - watching.lateness.total();
        let late = (lateness.sum - watching.lateness.sum) as f64 / 1e3;
        let worst = watching.meter.lateness().take_worst() as f64 / 1e3;
        watching.lateness = lateness;
        if watching.moments.len() >= MOMENTS {
            watching.moments.pop_front();
        }
        watching.moments.push_back(Moment {
            at: unix_millis(),
            renewals,
            mean_us: (renewals > 0).then(|| late / renewals as f64),
            worst_us: (renewals > 0).then_some(worst),
            round_trip_us: round_trips.values().max().map(|ns| *ns as f64 / 1e3),
        });
    }

    /// How long the last renewal of each voter that has answered it took, there and back, in ns.
    ///
    /// The data plane notes when it heard a voter last, and which renewal that had accepted. Of a voter that holds a group
    /// itself, it hears much else, and of others a Hello now and then, which makes an answer look late by less than an
    /// interval.
    fn round_trips(&self) -> BTreeMap<u16, u64> {
        let Some(renewals) = &self.watching.renewals else { return BTreeMap::new() };
        let now = clock::now();
        // First, so that an answer that comes now does not make the one before it look late.
        let peers = self.plane.peers().unwrap_or_default();
        let holders: Vec<u16> =
            self.groups.iter().filter_map(|group| groups::holder(self.words.read(group.slot), now)).collect();
        let held = self.groups.iter().filter(|group| self.words.holds(group.slot, now));
        let mut accepted: BTreeMap<u16, u64> = BTreeMap::new();
        for renewal in held.filter_map(|group| renewals.get(group.slot).ok()) {
            for (voter, at) in renewal.voters.iter().zip(renewal.accepted_at).take(renewal.count as usize) {
                let latest = accepted.entry(*voter).or_default();
                *latest = at.max(*latest);
            }
        }
        let interval = nanoseconds(self.settings.cluster.interval);
        let others = accepted.into_iter().filter(|(voter, _)| !holders.contains(voter));
        let round_trip = |(voter, at): (u16, u64)| {
            let ns = peers.get(&voter)?.last_heard.checked_sub(at)?;
            (at > 0 && ns < interval).then_some((voter, ns))
        };
        others.filter_map(round_trip).collect()
    }
}

fn unix_millis() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
