//! What is left when the demo is over: a table for people, or one JSON object for programs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::Result;
use serde::Serialize;
use vip_tests::{clock::Stamp, prober::Outage};

use super::{fault::Fault, timeline::milliseconds_after, trial::Trial};
use crate::spread::Spread;

/// All trials so far.
#[derive(Debug)]
pub(super) struct Summary {
    interval: Duration,
    lease: Duration,
    faults: Vec<Fault>,
    trials: Vec<Trial>,
}

impl Summary {
    /// Of a demo with these settings, which will show `faults` in this order.
    pub(super) fn new(interval: Duration, lease: Duration, faults: &[Fault]) -> Self {
        Self { interval, lease, faults: faults.to_vec(), trials: Vec::new() }
    }

    pub(super) fn add(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// Requests that two nodes answered, in all trials.
    pub(super) fn doubles(&self) -> u64 {
        self.trials.iter().map(Trial::doubles).sum()
    }

    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.document())?);
        } else {
            print!("\n{}", self.table());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let document = self.document();
        let repeated = document.faults.iter().any(|fault| fault.trials.len() > 1);
        let mut table = String::new();
        let outage = if repeated { "outage, ms: median    min    max" } else { "outage, ms" };
        let lost = if repeated { "probes lost: median    max" } else { "probes lost" };
        let heading = format!("{:<14}{outage}   {lost}   answered by two nodes", "fault");
        // Writing to a string does not fail.
        let _ = writeln!(table, "{heading}\n{}", "-".repeat(heading.len()));
        for FaultRecord { fault, outage_ms, probes_lost, doubles, .. } in &document.faults {
            let outage = if repeated {
                format!("{:18.1} {:6.1} {:6.1}", outage_ms.median, outage_ms.min, outage_ms.max)
            } else {
                format!("{:10.1}", outage_ms.median)
            };
            let lost = if repeated {
                format!("{:19.0} {:6.0}", probes_lost.median, probes_lost.max)
            } else {
                format!("{:11.0}", probes_lost.median)
            };
            let _ = writeln!(table, "{fault:<14}{outage}   {lost}   {doubles:21}");
        }
        table
    }

    fn document(&self) -> Document {
        Document {
            interval_ms: milliseconds(self.interval),
            lease_ms: milliseconds(self.lease),
            doubles: self.doubles(),
            faults: self.faults.iter().map(|fault| self.fault_record(*fault)).collect(),
        }
    }

    fn fault_record(&self, fault: Fault) -> FaultRecord {
        let trials = || self.trials.iter().filter(|trial| trial.fault == fault);
        FaultRecord {
            fault: fault.name(),
            outage_ms: Spread::of(trials().map(|trial| milliseconds(trial.outage))),
            probes_lost: Spread::of(trials().map(|trial| trial.probes.lost as f64)),
            doubles: trials().map(Trial::doubles).sum(),
            trials: trials().map(TrialRecord::from).collect(),
        }
    }
}

/// What `--json` prints. Times are in milliseconds; those of outages count from the fault.
#[derive(Serialize)]
struct Document {
    interval_ms: f64,
    lease_ms: f64,
    doubles: u64,
    faults: Vec<FaultRecord>,
}

#[derive(Serialize)]
struct FaultRecord {
    fault: &'static str,
    outage_ms: Spread,
    probes_lost: Spread,
    /// Requests that two nodes answered.
    doubles: u64,
    trials: Vec<TrialRecord>,
}

#[derive(Serialize)]
struct TrialRecord {
    victim: u8,
    successor: u8,
    outage_ms: f64,
    recovery_ms: f64,
    probes_sent: u64,
    probes_lost: u64,
    probes_answered_by_node: BTreeMap<u8, u64>,
    probes_doubled: u64,
    /// How far the latest probe was behind its deadline, and how long the slowest answer took: the host's noise.
    worst_lateness_ms: f64,
    slowest_answer_ms: f64,
    outages: Vec<OutageRecord>,
    requests: u64,
    requests_answered: u64,
    requests_doubled: u64,
    doubles: Vec<String>,
}

#[derive(Serialize)]
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

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
