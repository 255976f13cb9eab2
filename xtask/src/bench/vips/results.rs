//! What the trials have shown: a table for people, JSON and a plot for `target/bench/`.

use std::io::Write as _;

use anyhow::{Error, Result};
use serde::Serialize;

use super::{COUNTS, NAME, SYSTEMS, trial::TrialRecord};
use crate::{
    bench::{
        machine::{Contestant, Machine},
        output,
        plot::{Axis, Panel, Plot},
    },
    spread::Spread,
    systems::Kind,
};

/// All trials so far; as JSON, what `--json` prints.
#[derive(Serialize)]
pub(super) struct Results {
    machine: Machine,
    systems: Vec<SystemRecord>,
}

#[derive(Serialize)]
struct SystemRecord {
    #[serde(flatten)]
    contestant: Contestant,
    counts: Vec<CountRecord>,
}

#[derive(Serialize)]
struct CountRecord {
    vips: usize,
    trials: Vec<TrialRecord>,
    /// Why there are no more.
    gave_up: Option<String>,
}

impl Results {
    pub(super) fn new() -> Result<Self> {
        let record = |system: Kind| {
            let count = |vips| CountRecord { vips, trials: Vec::new(), gave_up: None };
            Ok(SystemRecord { contestant: Contestant::new(system)?, counts: COUNTS.map(count).into() })
        };
        let systems = SYSTEMS.into_iter().map(record).collect::<Result<_>>()?;
        Ok(Self { machine: Machine::this()?, systems })
    }

    /// What is measured on what.
    pub(super) fn setting(&self) -> String {
        self.machine.with(self.systems.iter().map(|record| &record.contestant))
    }

    pub(super) fn add(&mut self, system: Kind, vips: usize, trial: TrialRecord) {
        if let Some(record) = self.record(system, vips) {
            record.trials.push(trial);
        }
    }

    /// There is no more to be had of it with so many VIPs.
    pub(super) fn give_up(&mut self, system: Kind, vips: usize, why: &Error) {
        if let Some(record) = self.record(system, vips) {
            record.gave_up = Some(format!("{why:#}"));
        }
    }

    pub(super) fn gave_up(&mut self, system: Kind, vips: usize) -> bool {
        self.record(system, vips).is_some_and(|record| record.gave_up.is_some())
    }

    /// The files: everything as JSON, and the plot.
    pub(super) fn write(&self) -> Result<()> {
        output::write(NAME, self, &self.plot())
    }

    pub(super) fn print_table(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "\n{:<24}{:>7}{:>8}  {:<26}{:<26}{:<26}",
            "", "VIPs", "trials", "outage, first VIP", "outage, last VIP", "all announced"
        )?;
        for SystemRecord { contestant, counts } in &self.systems {
            for count in counts {
                writeln!(out, "{}", row(contestant.system, count))?;
            }
            writeln!(
                out,
                "outage with {} VIPs over that with one: {}",
                COUNTS[COUNTS.len() - 1],
                ratio(counts)
            )?;
        }
        writeln!(out, "\nIn ms from the cable's end: median (least – largest).")?;
        Ok(())
    }

    fn plot(&self) -> Plot {
        let panel = |title: &str, of_trial: fn(&TrialRecord) -> Option<f64>| {
            let line = |(index, system): (usize, &SystemRecord)| {
                let points = system.counts.iter().filter(|count| !count.trials.is_empty());
                let points = points.map(|count| (count.vips as f64, spread(count, of_trial).median));
                (index, points.collect())
            };
            Panel { title: title.to_owned(), lines: self.systems.iter().enumerate().map(line).collect() }
        };
        Plot {
            title: "Cable of the holder pulled, by the number of VIPs (medians)".to_owned(),
            x: Axis { label: "VIPs", range: 1.0..10_000.0, logarithmic: true },
            y: Axis { label: "ms", range: 1.0..10_000.0, logarithmic: true },
            series: self.systems.iter().map(|record| record.contestant.system.title()).collect(),
            panels: vec![
                panel("outage of the first VIP", |trial| Some(trial.outage_ms)),
                panel("outage of the last VIP", |trial| Some(trial.outage_last_vip_ms)),
                panel("until every VIP is announced", |trial| trial.announced_ms),
            ],
        }
    }

    fn record(&mut self, system: Kind, vips: usize) -> Option<&mut CountRecord> {
        let system = self.systems.iter_mut().find(|record| record.contestant.system == system)?;
        system.counts.iter_mut().find(|record| record.vips == vips)
    }
}

fn row(system: Kind, count: &CountRecord) -> String {
    let columns: [fn(&TrialRecord) -> Option<f64>; 3] =
        [|trial| Some(trial.outage_ms), |trial| Some(trial.outage_last_vip_ms), |trial| trial.announced_ms];
    let columns = columns.map(|of_trial| {
        let Spread { median, min, max, .. } = spread(count, of_trial);
        let found = count.trials.iter().any(|trial| of_trial(trial).is_some());
        if found { format!("{median:.1} ({min:.1} – {max:.1})") } else { "–".to_owned() }
    });
    let [first, last, announced] = columns;
    let gave_up = if count.gave_up.is_some() { "gave up" } else { "" };
    let (title, vips, trials) = (system.title(), count.vips, count.trials.len());
    format!("{title:<24}{vips:>7}{trials:>8}  {first:<26}{last:<26}{announced:<26}{gave_up}")
}

fn ratio(counts: &[CountRecord]) -> String {
    let (Some(one), Some(most)) = (counts.first(), counts.last()) else { return "–".to_owned() };
    if one.trials.is_empty() || most.trials.is_empty() {
        return "–".to_owned();
    }
    let of = |of_trial: fn(&TrialRecord) -> Option<f64>| {
        spread(most, of_trial).median / spread(one, of_trial).median
    };
    let (first, last) = (of(|trial| Some(trial.outage_ms)), of(|trial| Some(trial.outage_last_vip_ms)));
    format!("{first:.2} (first VIP), {last:.2} (last VIP)")
}

fn spread(count: &CountRecord, of_trial: fn(&TrialRecord) -> Option<f64>) -> Spread {
    Spread::of(count.trials.iter().filter_map(of_trial))
}
