//! `cargo xtask bench alarms`: nothing fails, the processors are busy, and nobody should take a holder for dead.
//!
//! Several groups side by side make an hour of one holder's heartbeats pass in some minutes. Here: the cluster and the
//! counting. What a count supports is in `bound`.

mod bound;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    hog::{Class, Hogs},
    interrupt,
    lab::DaemonOptions,
    stalls::{Stall, Stalls},
    wait,
};

use self::bound::{CONFIDENCE, upper_bound};
use super::prepare;
use crate::duration::milliseconds;

const NODES: u8 = 3;
const HOGS: usize = 4;
/// The product's defaults, which the figure is about.
const INTERVAL: Duration = Duration::from_millis(10);
const LEASE: Duration = Duration::from_millis(50);
/// How long the nodes may take to find each other, and each group its holder.
const FORMATION: Duration = Duration::from_secs(60);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Of a holder's heartbeats.
const HOUR: f64 = 3600.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long to watch; with the default number of groups, ten minutes are an hour of one holder's heartbeats
    #[arg(long, value_name = "M", default_value_t = 10.0, value_parser = parse_minutes)]
    minutes: f64,
    /// Groups with a holder each, spread over the three nodes
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=60))]
    groups: u8,
    /// Print one JSON object instead of the report
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    groups: u8,
    hogs: usize,
    interval_ms: f64,
    lease_ms: f64,
    seconds: f64,
    /// Renewals that were voted on.
    heartbeats: u64,
    /// Elections, although every holder was alive: the former holder may have won again.
    changes: u64,
    confidence: f64,
    /// At most so many changes per heartbeat, with that confidence.
    bound_per_heartbeat: f64,
    /// And per hour of one holder.
    bound_per_hour: f64,
    /// The machine's own, the worst first.
    stalls: Vec<StallRecord>,
}

#[derive(Serialize)]
struct StallRecord {
    late_ms: f64,
    /// After the beginning.
    at_seconds: f64,
    processor: usize,
}

/// Watches a cluster that nothing happens to but hogs.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = prepare()?;
    let groups = arguments.groups;
    let mut cluster = Cluster::start_each(NODES, |node| DaemonOptions {
        binary: Some(binary.clone()),
        interval: INTERVAL,
        lease: LEASE,
        more_of_group: group_sections(node, groups),
        ..DaemonOptions::default()
    })?;
    wait_held(&cluster)?;

    let span = Duration::from_secs_f64(arguments.minutes * 60.0);
    let hogs = Hogs::start(HOGS, Class::Ordinary, span + FORMATION)?;
    let (stalls, begun, before) = (Stalls::watch()?, Stamp::now(), Count::take(&mut cluster)?);
    let mut seen = before.clone();
    while Stamp::now() < begun + span {
        interrupt::pause((begun + span).since(Stamp::now()).min(PROGRESS))?;
        seen = Count::take(&mut cluster)?;
        let (heartbeats, changes) = seen.since(&before);
        let minutes = Stamp::now().since(begun).as_secs_f64() / 60.0;
        eprintln!(
            "{minutes:5.1} of {} min: {heartbeats} heartbeats, {changes} changes of holder",
            arguments.minutes
        );
    }
    let seconds = Stamp::now().since(begun).as_secs_f64();
    let stalls = stalls.finish()?;
    drop(hogs);
    seen.agrees_with(&before)?;

    let (heartbeats, changes) = seen.since(&before);
    ensure!(heartbeats > 0, "no heartbeat was counted");
    let bound_per_heartbeat = upper_bound(changes) / heartbeats as f64;
    print(
        &Report {
            groups,
            hogs: HOGS,
            interval_ms: milliseconds(INTERVAL),
            lease_ms: milliseconds(LEASE),
            seconds,
            heartbeats,
            changes,
            confidence: CONFIDENCE,
            bound_per_heartbeat,
            bound_per_hour: bound_per_heartbeat * HOUR / INTERVAL.as_secs_f64(),
            stalls: stalls.iter().map(|stall| StallRecord::new(stall, begun)).collect(),
        },
        arguments.json,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if minutes > 0.0 && minutes <= 1440.0 {
        Ok(minutes)
    } else {
        Err("more than 0, a day at most".to_owned())
    }
}

/// What follows the first group in the file of a node: its priority, and the other groups. Each node is the fittest for a
/// third of them.
fn group_sections(node: u8, groups: u8) -> String {
    let priority = |group: u8| if group % NODES + 1 == node { 200 } else { 100 };
    let others = (1..groups).map(|group| {
        let (vip, priority) = (100 + group, priority(group));
        format!("\n[[group]]\nname = \"g{group}\"\nvips = [\"10.77.0.{vip}/24\"]\npriority = {priority}\n")
    });
    let first = format!("priority = {}\n", priority(0));
    std::iter::once(first).chain(others).collect()
}

/// Waits until all nodes are alive and know a holder of every group.
fn wait_held(cluster: &Cluster) -> Result<()> {
    for node in 1..=NODES {
        cluster.wait_status(node, "all to be alive and all groups to be held", FORMATION, |status| {
            let alive = status.members.iter().filter(|member| member.status == "alive").count();
            alive == usize::from(NODES) && status.groups.iter().all(|group| group.holder.is_some())
        })?;
    }
    Ok(())
}

/// What has been counted up to a moment.
#[derive(Clone, Debug)]
struct Count {
    /// Requests that acceptors answered, of all nodes.
    answers: u64,
    /// Times that a node became master, by their logs.
    promotions: u64,
    /// Under which each group is held; none while it is not.
    ballots: BTreeMap<String, Option<String>>,
}

impl Count {
    fn take(cluster: &mut Cluster) -> Result<Self> {
        let mut count = Self { answers: 0, promotions: 0, ballots: BTreeMap::new() };
        for node in 1..=NODES {
            let status = wait::until("a busy node to answer", FORMATION, || cluster.status(node).map(Some))?;
            count.answers += status.counters.get("lease_replies").context("no lease_replies")?;
            let log = cluster.daemon(node)?.log();
            count.promotions += log.matches("this node is master now").count() as u64;
            for group in status.groups {
                let held = group.holder.is_some().then_some(group.ballot);
                count.ballots.insert(group.name, held);
            }
        }
        Ok(count)
    }

    /// Heartbeats and changes of holder since an earlier count. Each heartbeat is answered by every node, its sender
    /// included.
    fn since(&self, earlier: &Self) -> (u64, u64) {
        let answers = self.answers - earlier.answers;
        (answers / u64::from(NODES), self.promotions - earlier.promotions)
    }

    /// A check of the count by other means: without a change, every group is held under its former ballot.
    fn agrees_with(&self, earlier: &Self) -> Result<()> {
        let (_, changes) = self.since(earlier);
        ensure!(
            changes > 0 || self.ballots == earlier.ballots,
            "no promotion is in the logs, but ballots have changed: {:?}, then {:?}",
            earlier.ballots,
            self.ballots
        );
        Ok(())
    }
}

impl StallRecord {
    fn new(stall: &Stall, begun: Stamp) -> Self {
        Self {
            late_ms: milliseconds(stall.late),
            at_seconds: stall.due.since(begun).as_secs_f64(),
            processor: stall.processor,
        }
    }
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let Report { groups, hogs, interval_ms, lease_ms, seconds, heartbeats, changes, .. } = report;
    let hours = *heartbeats as f64 * INTERVAL.as_secs_f64() / HOUR;
    println!(
        "\n{groups} groups on {NODES} nodes, renewal every {interval_ms} ms, lease {lease_ms} ms, {hogs} CPU hogs"
    );
    println!(
        "{heartbeats} heartbeats in {seconds:.0} s ({hours:.2} h of one holder): {changes} changes of holder"
    );
    println!(
        "at {:.0} % confidence, at most {:.2e} per heartbeat, {:.2} per hour of one holder",
        CONFIDENCE * 100.0,
        report.bound_per_heartbeat,
        report.bound_per_hour
    );
    let stalls = report.stalls.iter().map(|stall| format!("{:.1}", stall.late_ms)).collect::<Vec<_>>();
    println!("the machine's own worst stalls (1 kHz timer, SCHED_FIFO), in ms: {}", stalls.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_the_fittest_for_its_share_of_the_groups() {
        let fittest = |node| group_sections(node, 6).matches("priority = 200").count();
        assert_eq!([1, 2, 3].map(fittest), [2, 2, 2]);
    }

    #[test]
    fn a_span_is_some_minutes_of_a_day() {
        assert_eq!(parse_minutes("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "1441", "ten"] {
            assert!(parse_minutes(wrong).is_err(), "{wrong}");
        }
    }
}
