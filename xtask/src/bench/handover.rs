//! `cargo xtask bench handover`: a holder hands over, there and back again and again, under a client's probes. None should
//! be lost.

use std::{
    net::SocketAddrV4,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use vip_tests::{
    cluster::{Cluster, Status},
    interrupt,
    lab::{DaemonOptions, VIP},
    prober::{Prober, ProberOptions, Report},
    responder::PORT,
};

use super::prepare;
use crate::{
    duration::{self, milliseconds},
    spread::Spread,
};

const NODES: u8 = 3;
/// Handovers from one line of progress to the next.
const PROGRESS: u32 = 10;
/// How long the nodes may take to find each other, and a node to know that it holds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handovers under each kind of client
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    handovers: u32,
    /// Time from one to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    every: Duration,
    /// Probes per second
    #[arg(long, value_name = "HZ", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What a client makes of announcements.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Client {
    /// It changes its neighbour entry.
    Hears,
    /// It goes on sending to the node that it knew first.
    Ignores,
}

#[derive(Serialize)]
struct Record {
    client: Client,
    handovers: u32,
    probes: u64,
    lost: u64,
    answered_by_two: u64,
    /// Probes lost at a time, and for how long; in order.
    outages: Vec<Outage>,
    slowest_answer_ms: f64,
    /// By how much the latest probe was late: the machine's doing.
    latest_probe_ms: f64,
    /// What `vip-user handover` took, each.
    commands_ms: Vec<f64>,
}

#[derive(Serialize)]
struct Outage {
    lost: u64,
    ms: f64,
    /// Whether another node answered afterwards.
    in_handover: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = DaemonOptions { binary: Some(prepare()?), ..DaemonOptions::default() };
    let mut records = Vec::new();
    for client in [Client::Hears, Client::Ignores] {
        records.push(measure(&options, client, arguments)?);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&records)?);
    } else {
        print_table(&records);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &DaemonOptions, client: Client, arguments: &Arguments) -> Result<Record> {
    let cluster = Cluster::start(NODES, options)?;
    let mut holder = cluster.wait_whole(PATIENCE)?;
    if matches!(client, Client::Ignores) {
        cluster.lab().fix_neighbour(holder)?;
    }
    let mut other = (1..=NODES).find(|node| *node != holder).context("one node only")?;
    let span = arguments.every * arguments.handovers + PATIENCE;
    let target = SocketAddrV4::new(VIP, PORT);
    let prober = Prober::start(
        cluster.lab(),
        &ProberOptions { target, rate: arguments.rate, limit: 2 * span, punctual: true },
    )?;
    let mut commands_ms = Vec::new();
    for done in 0..arguments.handovers {
        interrupt::pause(arguments.every)?;
        commands_ms.push(hand_over(&cluster, holder, other)?);
        (holder, other) = (other, holder);
        if (done + 1) % PROGRESS == 0 {
            eprintln!("{} of {} handovers", done + 1, arguments.handovers);
        }
    }
    interrupt::pause(arguments.every)?;
    Ok(Record::new(client, arguments.handovers, &prober.finish(), commands_ms))
}

/// Gives how long the command took, in ms.
fn hand_over(cluster: &Cluster, from: u8, to: u8) -> Result<f64> {
    cluster.wait_status(from, "to know that it holds", PATIENCE, Status::is_master)?;
    let begun = Instant::now();
    let output = cluster.order(from, &["handover", "web", "--to", &format!("lb{to}")])?;
    let took = begun.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(milliseconds(took))
}

impl Record {
    fn new(client: Client, handovers: u32, report: &Report, commands_ms: Vec<f64>) -> Self {
        let outages = report.outages.iter().map(|outage| Outage {
            lost: outage.lost,
            ms: milliseconds(outage.duration),
            in_handover: outage.before != outage.after,
        });
        Self {
            client,
            handovers,
            probes: report.sent,
            lost: report.lost,
            answered_by_two: report.doubles,
            outages: outages.collect(),
            slowest_answer_ms: milliseconds(report.slowest_answer),
            latest_probe_ms: milliseconds(report.worst_lateness),
            commands_ms,
        }
    }
}

fn print_table(records: &[Record]) {
    println!(
        "\n{:<27}{:>9}{:>10}{:>6}{:>16}{:>13}   command, ms: median min max",
        "client", "handovers", "probes", "lost", "answered by two", "slowest, ms"
    );
    for record in records {
        let client = match record.client {
            Client::Hears => "hears announcements",
            Client::Ignores => "keeps its neighbour entry",
        };
        let Spread { median, min, max, .. } = Spread::of(record.commands_ms.iter().copied());
        println!(
            "{client:<27}{:>9}{:>10}{:>6}{:>16}{:>13.1}   {median:.1} {min:.1} {max:.1}",
            record.handovers, record.probes, record.lost, record.answered_by_two, record.slowest_answer_ms
        );
        for Outage { lost, ms, in_handover } in &record.outages {
            let when = if *in_handover { "in a handover" } else { "between two handovers" };
            println!("  {lost} lost within {ms:.1} ms, {when}");
        }
    }
}
