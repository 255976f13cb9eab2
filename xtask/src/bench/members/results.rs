//! What has been measured: JSON with every value, and a table of what it comes to.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    System, VOTERS,
    quiet::Share,
    swarm::{INTERVAL, LEASE, serf_version},
};
use crate::{bench::machine::Machine, duration::milliseconds, spread::Spread, systems::Kind};

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    vip_user: String,
    serf: String,
    voters: u8,
    interval_ms: f64,
    lease_ms: f64,
    span_s: f64,
    pub(super) clusters: Vec<Cluster>,
}

/// One cluster of one system.
#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    system: System,
    members: u8,
    pub(super) joins: Vec<Told>,
    pub(super) quiet: Vec<Share>,
    pub(super) events: Vec<Told>,
    pub(super) failures: Vec<Told>,
    /// How often any handler was told of a failure before there was one.
    pub(super) false_failures: usize,
}

/// One event, and when the handlers ran for it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) trial: u8,
    /// After its cause, of each node in order.
    seconds: Vec<f64>,
}

impl Told {
    /// Fails when a handler ran before `start`: the clock has been set meanwhile.
    pub(super) fn since(start: SystemTime, trial: u8, told: &[SystemTime]) -> Result<Self> {
        let seconds = |at: &SystemTime| Ok(at.duration_since(start)?.as_secs_f64());
        let seconds = told.iter().map(seconds).collect::<Result<_>>();
        Ok(Self { trial, seconds: seconds.context("the clock has been set back")? })
    }
}

impl Report {
    /// Without any cluster yet.
    pub(super) fn new(machine: Machine, span: Duration) -> Result<Self> {
        Ok(Self {
            machine,
            vip_user: Kind::Ours.version()?,
            serf: serf_version()?,
            voters: VOTERS,
            interval_ms: milliseconds(INTERVAL),
            lease_ms: milliseconds(LEASE),
            span_s: span.as_secs_f64(),
            clusters: Vec::new(),
        })
    }

    pub(super) fn print_table(&self) {
        println!("\n{}", self.table());
    }

    fn table(&self) -> String {
        const TITLES: [&str; 9] = [
            "nodes",
            "system",
            "join, s",
            "failure, s",
            "event, ms",
            "sent/s",
            "heard/s",
            "CPU, %",
            "RSS, MiB",
        ];
        const UNITS: [&str; 9] = [
            "",
            "",
            "last node",
            "first, median, last",
            "first, median, last",
            "frames, bytes: median (most)",
            "frames, bytes: median (most)",
            "median (most)",
            "median",
        ];
        let head = [TITLES, UNITS].map(|words| words.map(str::to_owned));
        let rows = self.clusters.iter().map(Cluster::row);
        let rows: Vec<[String; 9]> = head.into_iter().chain(rows).collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 9] = std::array::from_fn(width);
        let line = |row: &[String; 9]| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let lines = rows.iter().map(line).chain(self.clusters.iter().filter_map(Cluster::false_alarm));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Cluster {
    pub(super) fn of(system: System, members: u8) -> Self {
        Self {
            system,
            members,
            joins: vec![],
            quiet: vec![],
            events: vec![],
            failures: vec![],
            false_failures: 0,
        }
    }

    fn false_alarm(&self) -> Option<String> {
        let Self { system, members, false_failures: count, .. } = self;
        let title = system.title();
        (*count > 0).then(|| {
            format!("{members} nodes, {title}: handlers were told {count} times of failures that were none")
        })
    }

    fn row(&self) -> [String; 9] {
        let quiet = |of: fn(&Share) -> f64| Spread::of(self.quiet.iter().map(of));
        let traffic = |frames: Spread, bytes: Spread| {
            let [Spread { median, max, .. }, Spread { median: bytes, max: most, .. }] = [frames, bytes];
            format!("{median:.1} ({max:.1}), {bytes:.0} ({most:.0})")
        };
        let cpu = quiet(|share| share.cpu_percent);
        let (first, middle, last) = medians(&self.failures);
        let event = medians(&self.events);
        [
            self.members.to_string(),
            self.system.title().to_owned(),
            format!("{:.2}", medians(&self.joins).2),
            format!("{first:.2}, {middle:.2}, {last:.2}"),
            format!("{:.0}, {:.0}, {:.0}", event.0 * 1e3, event.1 * 1e3, event.2 * 1e3),
            traffic(quiet(|share| share.sent_per_second), quiet(|share| share.sent_bytes_per_second)),
            traffic(quiet(|share| share.received_per_second), quiet(|share| share.received_bytes_per_second)),
            format!("{:.2} ({:.2})", cpu.median, cpu.max),
            format!("{:.1}", quiet(|share| share.rss_mib).median),
        ]
    }
}

/// When the first node was told, the median one and the last one, in s: the medians of the trials.
fn medians(told: &[Told]) -> (f64, f64, f64) {
    let spreads: Vec<Spread> = told.iter().map(|told| Spread::of(told.seconds.iter().copied())).collect();
    let median = |of: fn(&Spread) -> f64| Spread::of(spreads.iter().map(of)).median;
    (median(|spread| spread.min), median(|spread| spread.median), median(|spread| spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(trial: u8, seconds: &[f64]) -> Told {
        Told { trial, seconds: seconds.to_vec() }
    }

    fn share(node: u8, sent: f64) -> Share {
        Share {
            trial: 1,
            node,
            may_vote: node <= VOTERS,
            sent_per_second: sent,
            received_per_second: 10.0,
            sent_bytes_per_second: 100.0 * sent,
            received_bytes_per_second: 1000.0,
            cpu_percent: 0.25,
            rss_mib: 14.0,
        }
    }

    /// Input: two joins, a failure and two events of a cluster, and the quiet span of two nodes.
    fn report() -> Report {
        let cluster = Cluster {
            joins: vec![told(1, &[0.1, 0.3]), told(2, &[0.2, 0.5])],
            failures: vec![told(1, &[3.0, 4.0, 3.25])],
            events: vec![told(1, &[0.01, 0.02, 0.03]), told(2, &[0.03, 0.04, 0.05])],
            quiet: vec![share(1, 2.0), share(6, 4.0)],
            ..Cluster::of(System::VipUser, 6)
        };
        Report {
            machine: Machine::this().unwrap(),
            vip_user: "vip-user 1".to_owned(),
            serf: "Serf 1".to_owned(),
            voters: VOTERS,
            interval_ms: 50.0,
            lease_ms: 1000.0,
            span_s: 10.0,
            clusters: vec![cluster],
        }
    }

    #[test]
    fn a_row_has_the_medians_of_the_trials_and_the_spread_over_the_nodes() {
        let table = report().table();
        let row = table.lines().last().unwrap();
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let expected = [
            "6",
            "vip-user",
            "0.40",
            "3.00, 3.25, 4.00",
            "20, 30, 40",
            "3.0 (4.0), 300 (400)",
            "10.0 (10.0), 1000 (1000)",
            "0.25 (0.25)",
            "14.0",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn the_json_keeps_each_node_in_each_trial() {
        let json = serde_json::to_value(report()).unwrap();
        let cluster = &json["clusters"][0];
        assert_eq!((&cluster["system"], &cluster["members"]), (&"vip-user".into(), &6.into()));
        assert_eq!(cluster["joins"][1]["seconds"], serde_json::json!([0.2, 0.5]));
        assert_eq!(
            (&cluster["quiet"][1]["node"], &cluster["quiet"][1]["may_vote"]),
            (&6.into(), &false.into())
        );
    }

    #[test]
    fn what_is_told_before_its_cause_shows_that_the_clock_was_set() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Told::since(start, 1, &[at(11), at(12)]).unwrap().seconds, [1.0, 2.0]);
        assert!(Told::since(start, 1, &[at(9)]).is_err());
    }
}
