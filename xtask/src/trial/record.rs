//! What a trial has shown, for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use vip_tests::{clock::Stamp, prober::Outage};

use super::{Trial, timeline::milliseconds_after};
use crate::duration::milliseconds;

/// A trial in the JSON. Times are in milliseconds; those of outages count from the fault.
#[derive(Debug, Serialize)]
pub(crate) struct TrialRecord {
    victim: u8,
    successor: u8,
    outage_ms: f64,
    recovery_ms: f64,
    probes_sent: u64,
    probes_lost: u64,
    probes_answered_by_node: BTreeMap<u8, u64>,
    probes_doubled: u64,
    /// How far the latest probe was behind its deadline, and how long the slowest answer took: the host's
    /// noise.
    worst_lateness_ms: f64,
    slowest_answer_ms: f64,
    outages: Vec<OutageRecord>,
    requests: u64,
    requests_answered: u64,
    requests_doubled: u64,
    /// Answered by one node after the other, since the VIP moved while they were under way.
    requests_moved: u64,
    doubles: Vec<String>,
}

impl TrialRecord {
    /// The longest time without service from the fault on.
    pub(crate) fn outage_ms(&self) -> f64 {
        self.outage_ms
    }

    /// By all outages together.
    pub(crate) fn probes_lost(&self) -> u64 {
        self.probes_lost
    }

    /// Probes and broadcast requests that two nodes answered.
    pub(crate) fn doubled(&self) -> u64 {
        self.probes_doubled + self.requests_doubled
    }
}

#[derive(Debug, Serialize)]
struct OutageRecord {
    start_ms: f64,
    duration_ms: f64,
    probes_lost: u64,
    before: Option<u8>,
    after: Option<u8>,
    /// Much above the probes' period, the host stalled.
    widest_gap_ms: f64,
}

impl From<&Trial> for TrialRecord {
    fn from(trial: &Trial) -> Self {
        let Trial { probes, requests, .. } = trial;
        Self {
            victim: trial.victim,
            successor: trial.successor,
            outage_ms: milliseconds(trial.outage),
            recovery_ms: milliseconds(trial.recovery),
            probes_sent: probes.sent,
            probes_lost: probes.lost,
            probes_answered_by_node: probes.answered_by_node.clone(),
            probes_doubled: probes.doubles,
            worst_lateness_ms: milliseconds(probes.worst_lateness),
            slowest_answer_ms: milliseconds(probes.slowest_answer),
            outages: probes.outages.iter().map(|outage| OutageRecord::new(outage, trial.broken)).collect(),
            requests: requests.requests,
            requests_answered: requests.arp_answered + requests.udp_answered,
            requests_doubled: requests.doubles,
            requests_moved: requests.moved,
            doubles: requests.described.iter().map(ToString::to_string).collect(),
        }
    }
}

impl OutageRecord {
    fn new(outage: &Outage, broken: Stamp) -> Self {
        Self {
            start_ms: milliseconds_after(broken, outage.start),
            duration_ms: milliseconds(outage.duration),
            probes_lost: outage.lost,
            before: outage.before,
            after: outage.after,
            widest_gap_ms: milliseconds(outage.widest_gap),
        }
    }
}
