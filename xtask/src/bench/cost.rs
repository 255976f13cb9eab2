//! `cargo xtask bench cost`: nothing fails, and the daemons should have next to nothing to do. What that takes of processor,
//! memory and wire, in clusters of several sizes and at several intervals.
//!
//! Here: the clusters, the trials and the table. What a process takes is in `process`, its system calls in `strace`.
//!
//! The processor time of a daemon is that of its threads, and of its supervisor. What the XDP program does for frames that
//! come in is charged to whatever runs just then, so the kernel takes the time of the programs as well; what the kernel does
//! around them to receive and send a frame is in neither.

pub(super) mod process;
mod strace;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    interrupt,
    lab::{self, DaemonOptions},
    net::{Frames, frames_in},
};

use self::{
    process::{Runs, on_cpu, program_runs, resident_mib},
    strace::Strace,
};
use super::{
    machine::Machine,
    output::{announce, keep, print_json, progress},
    prepare,
};
use crate::{duration, spread::Spread, systems::Kind};

/// Of the lease, in intervals: as in the product's defaults.
const INTERVALS_OF_LEASE: u32 = 5;
/// How long the nodes may take to find each other.
const FORMATION: Duration = Duration::from_secs(60);
/// How long the members of a new cluster have more to say to each other than later.
const SETTLING: Duration = Duration::from_secs(2);
/// What a cluster takes to come up, settle and end, about.
const SET_UP: Duration = Duration::from_secs(8);
/// Trials in which the holder changed are repeated, so often at most: leases of few milliseconds feel the machine's stalls.
const MAX_DISTURBED: u32 = 10;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Sizes of clusters
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [3, 5, 9], value_parser = clap::value_parser!(u8).range(2..=15))]
    nodes: Vec<u8>,
    /// Times between two heartbeats of the holder; a lease is five of them
    #[arg(long, value_name = "TIME,…", value_delimiter = ',', default_values = ["1ms", "10ms", "100ms"], value_parser = duration::parse)]
    intervals: Vec<Duration>,
    /// Measurements of each cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    trials: u32,
    /// Length of each; the system calls are counted for as long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    span: Duration,
    /// Print one JSON object, with every trial, instead of the table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    vip_user: String,
    span_s: f64,
    clusters: Vec<Record>,
}

/// What a cluster cost.
#[derive(Serialize)]
struct Record {
    nodes: u8,
    interval_ms: f64,
    lease_ms: f64,
    /// Of every node, trial by trial.
    shares: Vec<Share>,
    /// Trials that were repeated because the holder changed.
    disturbed: u32,
    /// Per second, by name; of the holder, and of one follower.
    holder_calls: BTreeMap<String, f64>,
    follower_calls: BTreeMap<String, f64>,
}

/// What one node took in one trial.
#[derive(Serialize)]
struct Share {
    trial: u32,
    node: u8,
    is_holder: bool,
    /// Of one processor, by the threads of daemon and supervisor.
    cpu_percent: f64,
    /// Of one processor, by the BPF programs; those runs that cast the node's own vote are in `cpu_percent` as well.
    program_percent: f64,
    program_runs_per_second: f64,
    sent_per_second: f64,
    received_per_second: f64,
    /// At the end of the trial.
    daemon_rss_mib: f64,
    supervisor_rss_mib: f64,
}

/// Measures one cluster after the other; nothing happens to any of them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = prepare()?;
    let vip_user = Kind::Ours.version()?;
    let options = DaemonOptions {
        binary: Some(binary),
        // As the service unit has it.
        args: vec!["--supervise".to_owned()],
        ..DaemonOptions::default()
    };
    let settings: Vec<(u8, Duration)> = arguments
        .nodes
        .iter()
        .flat_map(|nodes| arguments.intervals.iter().map(|interval| (*nodes, *interval)))
        .collect();
    announce((SET_UP + arguments.span * (arguments.trials + 1)) * u32::try_from(settings.len())?);

    let machine = Machine::this()?;
    let _timing = lab::time_programs()?;
    let mut clusters = Vec::new();
    for (nodes, interval) in settings {
        progress(&format!("{nodes} nodes, renewal every {interval:?}"));
        let lease = interval * INTERVALS_OF_LEASE;
        let options = DaemonOptions { interval, lease, ..options.clone() };
        let record = measure(nodes, &options, arguments);
        clusters.push(record.with_context(|| format!("{nodes} nodes, renewal every {interval:?}"))?);
    }
    let report = Report { machine, vip_user, span_s: arguments.span.as_secs_f64(), clusters };
    keep("cost", &report)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print_table(&report.clusters);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(nodes: u8, options: &DaemonOptions, arguments: &Arguments) -> Result<Record> {
    let mut cluster = Cluster::start(nodes, options)?;
    let mut holder = cluster.wait_whole(FORMATION)?;
    interrupt::pause(SETTLING)?;
    let (mut shares, mut disturbed, mut trial) = (Vec::new(), 0, 1);
    while trial <= arguments.trials {
        let transitions = transitions(&cluster, nodes)?;
        let before = Sample::take(&mut cluster, nodes)?;
        interrupt::pause(arguments.span)?;
        let after = Sample::take(&mut cluster, nodes)?;
        let former = holder;
        holder = cluster.wait_whole(FORMATION)?;
        if holder == former && self::transitions(&cluster, nodes)? == transitions {
            shares.extend(after.since(&before, trial, holder)?);
            trial += 1;
        } else {
            disturbed += 1;
            ensure!(disturbed <= MAX_DISTURBED, "the holder changed in {disturbed} trials");
        }
    }
    // At last, as strace takes its own part of the daemons' time.
    let follower = (1..=nodes).find(|node| *node != holder).context("one node only")?;
    let mut attach = |node| Strace::attach(processes(&mut cluster, node)?.0);
    let (holder_calls, follower_calls) = (attach(holder)?, attach(follower)?);
    interrupt::pause(arguments.span)?;
    Ok(Record {
        nodes,
        interval_ms: milliseconds(options.interval),
        lease_ms: milliseconds(options.lease),
        shares,
        disturbed,
        holder_calls: holder_calls.detach()?,
        follower_calls: follower_calls.detach()?,
    })
}

/// How often a node has become master or ceased to be, or so: what counts is that it is the same later.
fn transitions(cluster: &Cluster, nodes: u8) -> Result<u64> {
    let of = |node| Ok(cluster.status(node)?.groups.iter().map(|group| group.transitions).sum::<u64>());
    (1..=nodes).map(of).sum()
}

/// The daemon of a node, and its supervisor.
fn processes(cluster: &mut Cluster, node: u8) -> Result<(Pid, Pid)> {
    let supervisor = cluster.daemon(node)?;
    let daemon = supervisor.supervised()?.with_context(|| format!("no daemon on node {node}"))?;
    Ok((daemon, supervisor.pid()))
}

/// What has been used up to a moment, by each node.
struct Sample {
    taken: Stamp,
    nodes: BTreeMap<u8, Used>,
}

struct Used {
    on_cpu: Duration,
    programs: Runs,
    /// At the switch's end of the cable.
    frames: Frames,
    daemon_rss_mib: f64,
    supervisor_rss_mib: f64,
}

impl Sample {
    fn take(cluster: &mut Cluster, nodes: u8) -> Result<Self> {
        let taken = Stamp::now();
        let ports = frames_in(&cluster.lab().switch_netns())?;
        let mut used = BTreeMap::new();
        for node in 1..=nodes {
            let (daemon, supervisor) = processes(cluster, node)?;
            let port = cluster.lab().port(node);
            let frames = *ports.get(&port).with_context(|| format!("the switch has no port {port}"))?;
            used.insert(
                node,
                Used {
                    on_cpu: on_cpu(daemon)? + on_cpu(supervisor)?,
                    programs: program_runs(daemon)?,
                    frames,
                    daemon_rss_mib: resident_mib(daemon)?,
                    supervisor_rss_mib: resident_mib(supervisor)?,
                },
            );
        }
        Ok(Self { taken, nodes: used })
    }

    fn since(&self, earlier: &Self, trial: u32, holder: u8) -> Result<Vec<Share>> {
        let seconds = self.taken.since(earlier.taken).as_secs_f64();
        let percent =
            |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / seconds * 100.0;
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let share = |(node, after): (&u8, &Used)| {
            let before = earlier.nodes.get(node).context("a node that was not there")?;
            Ok(Share {
                trial,
                node: *node,
                is_holder: *node == holder,
                cpu_percent: percent(before.on_cpu, after.on_cpu),
                program_percent: percent(before.programs.time, after.programs.time),
                program_runs_per_second: rate(before.programs.count, after.programs.count),
                // What the node sends, the switch receives.
                sent_per_second: rate(before.frames.received, after.frames.received),
                received_per_second: rate(before.frames.sent, after.frames.sent),
                daemon_rss_mib: after.daemon_rss_mib,
                supervisor_rss_mib: after.supervisor_rss_mib,
            })
        };
        self.nodes.iter().map(share).collect()
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn print_table(clusters: &[Record]) {
    println!(
        "\n{:>5}{:>10}  {:<10}{:<22}{:>9}{:>10}{:>12}{:>10}{:>11}{:>9}{:>14}",
        "nodes",
        "interval",
        "",
        "CPU, %: median",
        "programs,",
        "RSS, MiB:",
        "",
        "frames/s:",
        "",
        "all",
        "system calls/s"
    );
    println!(
        "{:>15}  {:<10}{:<22}{:>9}{:>10}{:>12}{:>10}{:>11}{:>9}",
        "", "", "(quartiles)", "%", "daemon", "supervisor", "sent", "received", "sent"
    );
    for record in clusters {
        for (role, is_holder) in [("holder", true), ("follower", false)] {
            print_row(record, role, is_holder);
        }
    }
}

/// What a holder costs, or a follower: of the latter all, in all trials.
fn print_row(record: &Record, role: &str, is_holder: bool) {
    let quartiles = |of: fn(&Share) -> f64| {
        Spread::of(record.shares.iter().filter(|share| share.is_holder == is_holder).map(of))
    };
    let median = |of| quartiles(of).median;
    let Spread { lower, median: middle, upper, .. } = quartiles(|share| share.cpu_percent);
    let cpu = format!("{middle:.2} ({lower:.2} – {upper:.2})");
    let calls = if is_holder { &record.holder_calls } else { &record.follower_calls };
    println!(
        "{:>5}{:>7} ms  {role:<10}{cpu:<22}{:>9.3}{:>10.1}{:>12.1}{:>10.0}{:>11.0}{:>9.0}{:>14.0}",
        record.nodes,
        record.interval_ms,
        median(|share| share.program_percent),
        median(|share| share.daemon_rss_mib),
        median(|share| share.supervisor_rss_mib),
        median(|share| share.sent_per_second),
        median(|share| share.received_per_second),
        all_sent(&record.shares),
        calls.values().sum::<f64>(),
    );
}

/// By all nodes together, per second: the median of the trials.
fn all_sent(shares: &[Share]) -> f64 {
    let mut trials = BTreeMap::<u32, f64>::new();
    for share in shares {
        *trials.entry(share.trial).or_default() += share.sent_per_second;
    }
    Spread::of(trials.into_values()).median
}
