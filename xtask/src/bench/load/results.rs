//! What the trials have shown: a table for people, JSON and a plot for `target/bench/`.

use std::{io::Write as _, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::{Load, NAME, RATE, SYSTEMS};
use crate::{
    bench::{
        machine::{Contestant, Machine},
        output,
        plot::{Axis, Panel, Plot, distribution},
    },
    duration::milliseconds,
    spread::Spread,
    systems::Kind,
    trial::{Trial, TrialRecord},
};

/// Of the plot, in ms.
const SHOWN: std::ops::Range<f64> = 1.0..1000.0;

/// All trials so far; as JSON, what `--json` prints.
#[derive(Serialize)]
pub(super) struct Results {
    machine: Machine,
    probes_per_second: u32,
    watch_ms: f64,
    systems: Vec<SystemRecord>,
}

#[derive(Serialize)]
struct SystemRecord {
    #[serde(flatten)]
    contestant: Contestant,
    loads: Vec<LoadRecord>,
}

#[derive(Serialize)]
struct LoadRecord {
    load: Load,
    /// While nothing else happened, before each trial.
    changes: Vec<usize>,
    trials: Vec<TrialRecord>,
    /// Why trials came to no end.
    failures: Vec<String>,
}

impl Results {
    /// Of trials that are watched for so long before the fault.
    pub(super) fn new(watch: Duration) -> Result<Self> {
        let record = |system: Kind| {
            let loads = Load::ALL.into_iter().filter(|load| load.concerns(system)).map(LoadRecord::new);
            Ok(SystemRecord { contestant: Contestant::new(system)?, loads: loads.collect() })
        };
        let systems = SYSTEMS.into_iter().map(record).collect::<Result<_>>()?;
        Ok(Self {
            machine: Machine::this()?,
            probes_per_second: RATE,
            watch_ms: milliseconds(watch),
            systems,
        })
    }

    /// What is measured on what.
    pub(super) fn setting(&self) -> String {
        self.machine.with(self.systems.iter().map(|record| &record.contestant))
    }

    pub(super) fn add(&mut self, system: Kind, load: Load, result: Result<(usize, Trial)>) {
        let system = self.systems.iter_mut().find(|record| record.contestant.system == system);
        let record = system.and_then(|system| system.loads.iter_mut().find(|record| record.load == load));
        let Some(record) = record else { return };
        match result {
            Ok((changes, trial)) => {
                record.changes.push(changes);
                record.trials.push(TrialRecord::from(&trial));
            }
            Err(error) => record.failures.push(format!("{error:#}")),
        }
    }

    /// The files: everything as JSON, and the plot.
    pub(super) fn write(&self) -> Result<()> {
        output::write(NAME, self, &self.plot())
    }

    pub(super) fn print_table(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for SystemRecord { contestant, loads } in &self.systems {
            writeln!(
                out,
                "\n{:<28}{:>7}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>8}",
                contestant.system.title(),
                "trials",
                "changes",
                "median",
                "25 %",
                "75 %",
                "min",
                "max",
                "ratio",
                "doubled",
                "failed"
            )?;
            let quiet = loads.first().map_or(0.0, |quiet| quiet.outages().median);
            for load in loads {
                writeln!(out, "{}", load.row(quiet))?;
            }
        }
        writeln!(
            out,
            "\nchanges: of the holder, in {:.1} s before each trial, when nothing had failed. Outage in ms from the pull of \
             the holder's cable;\nratio: of the medians, to the quiet one. doubled: probes and broadcast requests that two \
             nodes answered.",
            self.watch_ms / 1e3
        )?;
        Ok(())
    }

    fn plot(&self) -> Plot {
        let panel = |system: &SystemRecord| {
            let loads = system.loads.iter().filter(|record| !record.trials.is_empty());
            let line = |record: &LoadRecord| {
                let outages = record.trials.iter().map(TrialRecord::outage_ms);
                let index = Load::ALL.iter().position(|load| *load == record.load)?;
                Some((index, distribution(outages, &SHOWN)))
            };
            Panel {
                title: system.contestant.system.title().to_owned(),
                lines: loads.filter_map(line).collect(),
            }
        };
        Plot {
            title: "Cable of the holder pulled, under load: share of the trials that took no longer"
                .to_owned(),
            x: Axis { label: "outage, ms", range: SHOWN, logarithmic: true },
            y: Axis { label: "share of trials", range: 0.0..1.0, logarithmic: false },
            series: Load::ALL.map(Load::title).to_vec(),
            panels: self.systems.iter().map(panel).collect(),
        }
    }
}

impl LoadRecord {
    fn new(load: Load) -> Self {
        Self { load, changes: Vec::new(), trials: Vec::new(), failures: Vec::new() }
    }

    fn outages(&self) -> Spread {
        Spread::of(self.trials.iter().map(TrialRecord::outage_ms))
    }

    fn row(&self, quiet: f64) -> String {
        let Spread { median, lower, upper, min, max } = self.outages();
        let ratio = if quiet > 0.0 { format!("{:.2}", median / quiet) } else { "–".to_owned() };
        let (trials, changes) = (self.trials.len(), self.changes.iter().sum::<usize>());
        let doubled: u64 = self.trials.iter().map(TrialRecord::doubled).sum();
        format!(
            "{:<28}{trials:>7}{changes:>10}{median:>9.1}{lower:>9.1}{upper:>9.1}{min:>9.1}{max:>9.1}{ratio:>8}{doubled:>9}{:>8}",
            self.load.title(),
            self.failures.len()
        )
    }
}
