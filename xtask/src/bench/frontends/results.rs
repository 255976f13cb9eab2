//! What the trials have shown: tables for people, JSON for `target/bench/`.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use vip_tests::visitors::Report;

use super::{event::Event, site::FrontEnd, throughput::Throughput, trial::Trial};
use crate::{
    bench::machine::{Contestant, Machine},
    spread::Spread,
    systems::Kind,
};

/// All trials so far; as JSON, what `--json` prints.
#[derive(Serialize)]
pub(super) struct Results {
    machine: Machine,
    /// Over connections that are kept, and as many over new ones.
    requests_per_second: u32,
    systems: Vec<Contestant>,
    records: Vec<Record>,
    throughput: Vec<ThroughputRecord>,
}

#[derive(Serialize)]
struct Record {
    system: Kind,
    front: FrontEnd,
    event: Event,
    trials: Vec<Trial>,
    /// Why trials came to no end.
    failures: Vec<String>,
}

#[derive(Serialize)]
struct ThroughputRecord {
    system: Kind,
    front: FrontEnd,
    requests_per_second: Throughput,
}

impl Results {
    pub(super) fn new(requests_per_second: u32, systems: &[Kind]) -> Result<Self> {
        Ok(Self {
            machine: Machine::this()?,
            requests_per_second,
            systems: systems.iter().map(|system| Contestant::new(*system)).collect::<Result<_>>()?,
            records: Vec::new(),
            throughput: Vec::new(),
        })
    }

    /// What is measured on what.
    pub(super) fn setting(&self) -> String {
        self.machine.with(self.systems.iter())
    }

    pub(super) fn add(&mut self, system: Kind, front: FrontEnd, event: Event, result: Result<Trial>) {
        let is_it = |record: &Record| (record.system, record.front, record.event) == (system, front, event);
        let index = self.records.iter().position(is_it).unwrap_or_else(|| {
            self.records.push(Record { system, front, event, trials: Vec::new(), failures: Vec::new() });
            self.records.len() - 1
        });
        let record = &mut self.records[index];
        match result {
            Ok(trial) => record.trials.push(trial),
            Err(error) => record.failures.push(format!("{error:#}")),
        }
    }

    pub(super) fn add_throughput(&mut self, system: Kind, front: FrontEnd, requests_per_second: Throughput) {
        self.throughput.push(ThroughputRecord { system, front, requests_per_second });
    }

    pub(super) fn print_tables(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let mut part = None;
        for record in &self.records {
            if part.replace((record.front, record.system)) != Some((record.front, record.system)) {
                let title = format!("{}, {}", record.system.title(), record.front.name());
                let heads = ["kept: failed", "slow", "≥ 1 s", "new: failed", "slow", "≥ 1 s"];
                write!(out, "\n{title:<36}{:>7}", "trials")?;
                heads.iter().try_for_each(|head| write!(out, "{head:>19}"))?;
                writeln!(out, "{:>22}{:>8}", "p50, p99, max, ms", "broken")?;
            }
            writeln!(out, "{}", record.row())?;
        }
        writeln!(out, "\nRequests a second by wrk, while nothing happens{:>20}{:>14}", "kept", "new")?;
        for (system, front) in self.throughput_rows() {
            let of = |value: fn(&Throughput) -> f64| {
                let is_it = |record: &&ThroughputRecord| (record.system, record.front) == (system, front);
                Spread::of(
                    self.throughput.iter().filter(is_it).map(|record| value(&record.requests_per_second)),
                )
            };
            let (title, kept, new) =
                (format!("{}, {}", system.title(), front.name()), of(|of| of.kept), of(|of| of.new));
            writeln!(
                out,
                "{title:<44}{:>8.0} ({:.0} – {:.0}){:>8.0} ({:.0} – {:.0})",
                kept.median, kept.min, kept.max, new.median, new.min, new.max
            )?;
        }
        writeln!(
            out,
            "\n{} requests a second over connections that are kept, and as many over new ones, each from the time when it was due. \
             Per trial: median (least – largest). slow: answered\nafter more than 50 ms, those of a second or more included. \
             p50, p99: median of the trials, max: of all, of the answers over new connections. broken: trials that came to no end.",
            self.requests_per_second
        )?;
        Ok(())
    }

    fn throughput_rows(&self) -> Vec<(Kind, FrontEnd)> {
        let mut rows = Vec::new();
        for record in &self.throughput {
            let row = (record.system, record.front);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }
}

impl Record {
    fn row(&self) -> String {
        let count = |value: fn(&Trial) -> usize| {
            let Spread { median, min, max, .. } =
                Spread::of(self.trials.iter().map(|trial| value(trial) as f64));
            format!("{median} ({min} – {max})")
        };
        let counts = [
            count(|trial| trial.kept.failed),
            count(|trial| trial.kept.slow),
            count(|trial| trial.kept.very_slow),
            count(|trial| trial.new.failed),
            count(|trial| trial.new.slow),
            count(|trial| trial.new.very_slow),
        ];
        let [p50, p99, max] = [
            |report: &Report| report.median_ms,
            |report: &Report| report.p99_ms,
            |report: &Report| report.max_ms,
        ]
        .map(|value| Spread::of(self.trials.iter().map(|trial| value(&trial.new))));
        let counts: String = counts.iter().map(|count| format!("{count:>19}")).collect();
        let times = format!("{:.1}, {:.1}, {:.0}", p50.median, p99.median, max.max);
        format!(
            "  {:<34}{:>7}{counts}{times:>22}{:>8}",
            self.event.name(),
            self.trials.len(),
            self.failures.len()
        )
    }
}
