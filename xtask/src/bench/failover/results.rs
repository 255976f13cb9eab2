//! What the trials have shown: a table for people, JSON and a plot for `target/bench/`.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::{NAME, RATE};
use crate::{
    bench::{
        machine::{Contestant, Machine},
        output,
        plot::{Axis, Panel, Plot, distribution},
    },
    spread::Spread,
    systems::Kind,
    trial::{Fault, Trial, TrialRecord},
};

/// The ratios are to this one.
const REFERENCE: Kind = Kind::Keepalived;
/// Of the plot, in ms; an outage that cost no probe is at its left end.
const SHOWN: std::ops::Range<f64> = 0.1..10_000.0;

/// All trials so far; as JSON, what `--json` prints.
#[derive(Serialize)]
pub(super) struct Results {
    machine: Machine,
    probes_per_second: u32,
    systems: Vec<SystemRecord>,
}

#[derive(Serialize)]
struct SystemRecord {
    #[serde(flatten)]
    contestant: Contestant,
    faults: Vec<FaultRecord>,
}

#[derive(Serialize)]
struct FaultRecord {
    fault: Fault,
    trials: Vec<TrialRecord>,
    /// Why trials came to no end.
    failures: Vec<String>,
}

impl Results {
    /// Of these systems and faults, in this order.
    pub(super) fn new(systems: &[Kind], faults: &[Fault]) -> Result<Self> {
        let record = |system: &Kind| {
            let known = faults.iter().filter(|fault| system.knows(**fault));
            let faults = known.map(|fault| FaultRecord { fault: *fault, trials: vec![], failures: vec![] });
            Ok(SystemRecord { contestant: Contestant::new(*system)?, faults: faults.collect() })
        };
        let systems = systems.iter().map(record).collect::<Result<_>>()?;
        Ok(Self { machine: Machine::this()?, probes_per_second: RATE, systems })
    }

    /// What is measured on what.
    pub(super) fn setting(&self) -> String {
        self.machine.with(self.systems.iter().map(|record| &record.contestant))
    }

    pub(super) fn add(&mut self, system: Kind, fault: Fault, trial: Result<Trial>) {
        let Some(record) = self.record(system, fault) else { return };
        match trial {
            Ok(trial) => record.trials.push(TrialRecord::from(&trial)),
            Err(error) => record.failures.push(format!("{error:#}")),
        }
    }

    /// The last trial in a line.
    pub(super) fn progress(&mut self, system: Kind, fault: Fault) -> String {
        let Some(record) = self.record(system, fault) else { return String::new() };
        let outage = record.trials.last().map_or(0.0, TrialRecord::outage_ms);
        format!("{}, {}, {}: {outage:.1} ms", system.title(), fault.name(), record.trials.len())
    }

    /// The files: everything as JSON, and the plot.
    pub(super) fn write(&self) -> Result<()> {
        output::write(NAME, self, &self.plot())
    }

    pub(super) fn print_table(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for fault in self.faults() {
            writeln!(out, "\n{}: {}", fault.name(), fault.story())?;
            writeln!(
                out,
                "{:<32}{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}{:>8}",
                "", "trials", "median", "25 %", "75 %", "min", "max", "ratio", "lost", "doubled", "failed"
            )?;
            for (system, record) in self.of_fault(fault) {
                writeln!(out, "{}", self.row(system, record))?;
            }
        }
        writeln!(
            out,
            "\nOutage in ms, by {RATE} probes a second; ratio: of the medians, to {}.\nlost: probes, of all trials. \
             doubled: probes and broadcast requests that two nodes answered.",
            REFERENCE.title()
        )?;
        Ok(())
    }

    fn row(&self, system: Kind, record: &FaultRecord) -> String {
        let Spread { median, lower, upper, min, max } = record.outages();
        let reference = self.of_fault(record.fault).find(|(system, _)| *system == REFERENCE);
        let reference = reference.map(|(_, record)| record.outages().median).filter(|median| *median > 0.0);
        let ratio = reference.map_or("–".to_owned(), |reference| format!("{:.2}", median / reference));
        let sum = |count: fn(&TrialRecord) -> u64| record.trials.iter().map(count).sum::<u64>();
        let (lost, doubled) = (sum(TrialRecord::probes_lost), sum(TrialRecord::doubled));
        let (trials, failed) = (record.trials.len(), record.failures.len());
        format!(
            "{:<32}{trials:>7}{median:>9.1}{lower:>9.1}{upper:>9.1}{min:>9.1}{max:>9.1}{ratio:>8}{lost:>8}{doubled:>9}{failed:>8}",
            system.title()
        )
    }

    fn plot(&self) -> Plot {
        let panel = |fault: Fault| {
            let line = |(index, system): (usize, &SystemRecord)| {
                let record = system.faults.iter().find(|record| record.fault == fault)?;
                let outages = record.trials.iter().map(TrialRecord::outage_ms);
                (!record.trials.is_empty()).then(|| (index, distribution(outages, &SHOWN)))
            };
            Panel {
                title: fault.name().to_owned(),
                lines: self.systems.iter().enumerate().filter_map(line).collect(),
            }
        };
        Plot {
            title: "Time without service, by fault: share of the trials that took no longer".to_owned(),
            x: Axis { label: "outage, ms", range: SHOWN, logarithmic: true },
            y: Axis { label: "share of trials", range: 0.0..1.0, logarithmic: false },
            series: self.systems.iter().map(|record| record.contestant.system.title()).collect(),
            panels: self.faults().into_iter().map(panel).collect(),
        }
    }

    /// Those of any system, in their order.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for record in self.systems.iter().flat_map(|system| &system.faults) {
            if !faults.contains(&record.fault) {
                faults.push(record.fault);
            }
        }
        faults
    }

    fn of_fault(&self, fault: Fault) -> impl Iterator<Item = (Kind, &FaultRecord)> {
        self.systems.iter().flat_map(move |system| {
            let records = system.faults.iter().filter(move |record| record.fault == fault);
            records.map(|record| (system.contestant.system, record))
        })
    }

    fn record(&mut self, system: Kind, fault: Fault) -> Option<&mut FaultRecord> {
        let system = self.systems.iter_mut().find(|record| record.contestant.system == system)?;
        system.faults.iter_mut().find(|record| record.fault == fault)
    }
}

impl FaultRecord {
    fn outages(&self) -> Spread {
        Spread::of(self.trials.iter().map(TrialRecord::outage_ms))
    }
}
