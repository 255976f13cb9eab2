//! What the trials have shown: a table for people, and JSON for `target/bench/`.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::{MOST, NAME, RATES, SETTINGS, Setting, Trial};
use crate::{
    bench::{machine::Machine, output},
    spread::Spread,
};

/// All trials so far; as JSON, what `--json` prints.
#[derive(Serialize)]
pub(super) struct Results {
    machine: Machine,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    setting: Setting,
    /// Datagrams a second that were wanted; none: all that one thread can send.
    rate: Option<u32>,
    trials: Vec<Trial>,
}

impl Results {
    pub(super) fn new() -> Result<Self> {
        let records = SETTINGS.into_iter().flat_map(|setting| RATES.map(|rate| (setting, rate)));
        let records = records.map(|(setting, rate)| Record { setting, rate, trials: Vec::new() });
        Ok(Self { machine: Machine::this()?, records: records.collect() })
    }

    /// What it is measured on.
    pub(super) fn setting(&self) -> String {
        self.machine.with(std::iter::empty())
    }

    pub(super) fn add(&mut self, setting: Setting, rate: Option<u32>, trial: Trial) {
        let record = self.records.iter_mut().find(|record| record.setting == setting && record.rate == rate);
        if let Some(record) = record {
            record.trials.push(trial);
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        output::keep(NAME, self)
    }

    pub(super) fn print_table(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "\n{:<17}{:>6}{:>8}  {:<28}{:<28}{:<28}{:<24}{:>9}",
            "",
            "wanted",
            "trials",
            "sent/s",
            "holder's service/s",
            "each standby's/s",
            "ns per datagram",
            "failed"
        )?;
        self.records
            .iter()
            .filter(|record| !record.trials.is_empty())
            .try_for_each(|record| writeln!(out, "{}", record.row()))?;
        writeln!(
            out,
            "\nMedian (least – largest). ns: of the program that makes the copies, their way out included. failed: of all copies."
        )?;
        for rate in RATES {
            if let Some(ratio) = self.ratio(rate) {
                let wanted = wanted(rate);
                writeln!(out, "Holder's service with 1 of {MOST} overloaded to without, {wanted}: {ratio}")?;
            }
        }
        Ok(())
    }

    /// Of what the holder's service receives with an overloaded standby, to what it does without in the trial before.
    fn ratio(&self, rate: Option<u32>) -> Option<String> {
        let held = |setting| {
            let of = move |record: &&Record| record.setting == setting && record.rate == rate;
            let trials = self.records.iter().filter(of).flat_map(|record| &record.trials);
            trials.map(|trial| trial.held as f64 / trial.seconds)
        };
        let without = held(Setting::Standbys(MOST));
        let ratios: Vec<f64> =
            held(Setting::OneOverloaded).zip(without).map(|(with, without)| with / without).collect();
        let Spread { median, min, max, .. } = (!ratios.is_empty()).then(|| Spread::of(ratios))?;
        Some(format!("{median:.2} ({min:.2} – {max:.2})"))
    }
}

impl Record {
    fn row(&self) -> String {
        let title = match self.setting {
            Setting::NoTee => "no tee".to_owned(),
            Setting::Standbys(1) => "1 standby".to_owned(),
            Setting::Standbys(count) => format!("{count} standbys"),
            Setting::OneOverloaded => format!("{MOST}, 1 overloaded"),
        };
        let wanted = wanted(self.rate);
        let trials = || self.trials.iter();
        let per_second =
            |count: fn(&Trial) -> u64| shown(trials().map(|trial| count(trial) as f64 / trial.seconds));
        let admitted =
            trials().flat_map(|trial| trial.admitted.iter().map(|got| *got as f64 / trial.seconds));
        let failed = trials().map(|trial| trial.failed).sum::<u64>() as f64;
        let copies = failed + trials().map(|trial| trial.copied).sum::<u64>() as f64;
        let failed =
            if copies > 0.0 { format!("{:.2} %", 100.0 * failed / copies) } else { "–".to_owned() };
        format!(
            "{title:<17}{wanted:>6}{:>8}  {:<28}{:<28}{:<28}{:<24}{failed:>9}",
            self.trials.len(),
            per_second(|trial| trial.sent),
            per_second(|trial| trial.held),
            shown(admitted),
            shown(trials().filter_map(|trial| trial.ns)),
        )
    }
}

fn wanted(rate: Option<u32>) -> String {
    rate.map_or_else(|| "all".to_owned(), |rate| rate.to_string())
}

fn shown(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    if values.is_empty() {
        return "–".to_owned();
    }
    let Spread { median, min, max, .. } = Spread::of(values);
    format!("{median:.0} ({min:.0} – {max:.0})")
}
