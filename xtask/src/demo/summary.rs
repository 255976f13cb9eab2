//! What is left when the demo is over: a table for people, or one JSON object for programs.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    duration::milliseconds,
    spread::Spread,
    trial::{Fault, Trial, TrialRecord},
};

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
