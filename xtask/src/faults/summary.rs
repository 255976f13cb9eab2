//! What is left of all rounds: a table for people, or one JSON object for programs.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;
use vip_tests::faults::{Fault, Outcome};

use crate::spread::Spread;

/// All rounds so far.
#[derive(Debug)]
pub(super) struct Summary {
    seed: u64,
    rounds: u32,
    faults: Vec<(&'static str, Vec<Round>)>,
}

impl Summary {
    /// Of so many rounds of these faults, from this seed on.
    pub(super) fn new(seed: u64, rounds: u32, faults: &[&'static Fault]) -> Self {
        Self { seed, rounds, faults: faults.iter().map(|fault| (fault.name, Vec::new())).collect() }
    }

    pub(super) fn add(&mut self, fault: &Fault, seed: u64, outcome: Outcome) {
        let rounds = self.faults.iter_mut().find(|(name, _)| *name == fault.name);
        rounds.into_iter().for_each(|(_, rounds)| rounds.push(Round::new(seed, &outcome)));
    }

    /// Whether every promise was kept.
    pub(super) fn is_good(&self) -> bool {
        let mut rounds = self.faults.iter().flat_map(|(_, rounds)| rounds);
        rounds.all(|round| round.doubles == 0 && round.failure.is_none())
    }

    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.document())?);
        } else {
            print!("{}", self.table());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let document = self.document();
        let heading = format!(
            "{:<22}{:>7}{:>11}{:>14}{:>11}{:>26}",
            "fault", "rounds", "answered", "by two nodes", "recovered", "outage, ms: median    max"
        );
        let mut table = format!("\n{heading}\n{}\n", "-".repeat(heading.len()));
        for record in &document.faults {
            let FaultRecord { fault, answered, doubles, recovered, outage_ms, rounds, .. } = record;
            let Spread { median, max, .. } = outage_ms;
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{fault:<22}{:>7}{answered:>11}{doubles:>14}{recovered:>11}{median:>19.1}{max:>7.1}",
                rounds.len()
            );
        }
        let excused: u64 = document.faults.iter().map(|record| record.excused).sum();
        let _ = writeln!(
            table,
            "\nseed {}; {} requests, {} answered, {} by two nodes",
            self.seed, document.requests, document.answered, document.doubles
        );
        if excused > 0 {
            let _ = writeln!(
                table,
                "{excused} more broadcasts were taken in by a node whose fence was taken away, before it noticed"
            );
        }
        table
    }

    fn document(&self) -> Document {
        let faults: Vec<FaultRecord> =
            self.faults.iter().map(|(fault, rounds)| FaultRecord::new(fault, rounds)).collect();
        Document {
            seed: self.seed,
            rounds: self.rounds,
            requests: faults.iter().map(|record| record.requests).sum(),
            answered: faults.iter().map(|record| record.answered).sum(),
            doubles: faults.iter().map(|record| record.doubles).sum(),
            faults,
        }
    }
}

/// What `--json` prints. Times are in milliseconds.
#[derive(Serialize)]
struct Document {
    /// Of the first round.
    seed: u64,
    rounds: u32,
    requests: u64,
    answered: u64,
    /// Requests that two nodes answered.
    doubles: u64,
    faults: Vec<FaultRecord>,
}

#[derive(Serialize)]
struct FaultRecord {
    fault: &'static str,
    requests: u64,
    answered: u64,
    doubles: u64,
    /// Broadcasts that a node took in between the loss of its fence and the moment that it noticed.
    excused: u64,
    /// Rounds after which all was well again, with every promise kept.
    recovered: usize,
    outage_ms: Spread,
    rounds: Vec<Round>,
}

impl FaultRecord {
    fn new(fault: &'static str, rounds: &[Round]) -> Self {
        let sum = |what: fn(&Round) -> u64| rounds.iter().map(what).sum();
        Self {
            fault,
            requests: sum(|round| round.requests),
            answered: sum(|round| round.answered),
            doubles: sum(|round| round.doubles),
            excused: sum(|round| round.excused),
            recovered: rounds.iter().filter(|round| round.failure.is_none()).count(),
            outage_ms: Spread::of(rounds.iter().map(|round| round.outage_ms)),
            rounds: rounds.to_vec(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Round {
    seed: u64,
    /// Probes and broadcasts.
    requests: u64,
    answered: u64,
    doubles: u64,
    excused: u64,
    outage_ms: f64,
    failure: Option<String>,
}

impl Round {
    fn new(seed: u64, outcome: &Outcome) -> Self {
        let sight = outcome.sight.as_ref();
        let requests = sight.map_or(0, |sight| sight.probes.sent + sight.requests.requests);
        let answered = sight.map_or(0, |sight| {
            let broadcasts = sight.requests.arp_answered + sight.requests.udp_answered;
            sight.probes.sent - sight.probes.lost + broadcasts
        });
        Self {
            seed,
            requests,
            answered,
            doubles: outcome.doubles(),
            excused: outcome.excused,
            outage_ms: outcome.outage.as_secs_f64() * 1e3,
            failure: outcome.failure.as_ref().map(|error| format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vip_tests::faults::FAULTS;

    use super::*;

    fn outcome(outage_ms: u64, failure: Option<&'static str>) -> Outcome {
        let outage = Duration::from_millis(outage_ms);
        Outcome { outage, failure: failure.map(anyhow::Error::msg), ..Outcome::default() }
    }

    #[test]
    fn rounds_are_counted_by_fault_and_one_bad_round_is_seen() {
        let [first, second] = [&FAULTS[0], &FAULTS[1]];
        let mut summary = Summary::new(7, 2, &[first, second]);
        summary.add(first, 7, outcome(10, None));
        summary.add(second, 7, outcome(20, None));
        summary.add(first, 8, outcome(30, None));
        assert!(summary.is_good());
        summary.add(second, 8, outcome(40, Some("it did not serve")));
        assert!(!summary.is_good());

        let document = summary.document();
        let shown = document.faults.iter().map(|record| (record.recovered, record.outage_ms.median));
        assert_eq!(shown.collect::<Vec<_>>(), [(2, 20.0), (1, 30.0)]);
        assert_eq!(document.faults[1].rounds[1].failure.as_deref(), Some("it did not serve"));
    }
}
