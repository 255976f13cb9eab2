//! `cargo xtask bench handover`: a holder hands over again and again, for each reason that there is to do so, or is changed where it
//! is, under a client's probes. None should be lost.

use std::{
    fs,
    net::SocketAddrV4,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
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
/// The node that takes its group back, where one is preferred.
const PREFERRED: u8 = 3;
/// What a reload adds to the group, and takes away.
const OTHER_VIP: &str = "10.77.0.101/24";
/// Handovers from one line of progress to the next.
const PROGRESS: u32 = 10;
/// How long the nodes may take to find each other, and a node to know that it holds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handovers for each reason, and under each kind of client
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    handovers: u32,
    /// Only for this reason; may be repeated [default: for each]
    #[arg(long = "cause", value_name = "CAUSE", value_enum)]
    causes: Vec<Cause>,
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

/// Why a holder hands over.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Cause {
    /// `vip-user handover`.
    Operator,
    /// A check fails, and passes again.
    Check,
    /// `vip-user maintenance on`, and off again.
    Maintenance,
    /// A node of higher priority preempts, after an operator has taken the group from it.
    Preemption,
    /// The group has a VIP more, or one less again: `vip-user reload`. Nothing is handed over.
    Reload,
    /// SIGTERM, and a start: what `systemctl restart` does.
    Restart,
    /// Another program file is put in its place: `vip-user upgrade`. Nothing is handed over.
    Upgrade,
}

impl Cause {
    /// The clients under which it is measured.
    const fn clients(self) -> &'static [Client] {
        match self {
            Self::Operator => &[Client::Hears, Client::Ignores],
            Self::Check
            | Self::Maintenance
            | Self::Preemption
            | Self::Reload
            | Self::Restart
            | Self::Upgrade => &[Client::Hears],
        }
    }

    /// What a node's configuration has for it.
    fn section(self, cluster: &Cluster, node: u8) -> String {
        match self {
            Self::Check => format!(
                "\n[[check]]\nname = \"drain\"\ntype = \"file\"\nfile = {:?}\nabsent = true\ninterval = \"10ms\"\n",
                drain(cluster, node)
            ),
            Self::Preemption => {
                let priority = if node == PREFERRED { 200 } else { 100 };
                format!("priority = {priority}\npreempt = true\npreempt_delay = \"200ms\"\n")
            }
            Self::Operator | Self::Maintenance | Self::Reload | Self::Restart | Self::Upgrade => {
                String::new()
            }
        }
    }

    /// Has the group leave its holder, or leave it and come back; and leaves the nodes as they were.
    fn act(self, cluster: &mut Cluster, holder: u8) -> Result<()> {
        let other = (1..=NODES).find(|node| *node != holder).context("one node only")?;
        let to = format!("lb{other}");
        let is_away = |status: &Status| !status.is_master();
        match self {
            Self::Operator => order(cluster, holder, &["handover", "web", "--to", &to]),
            Self::Check => {
                let file = drain(cluster, holder);
                fs::write(&file, "")?;
                cluster.wait_status(holder, "to have given it away", PATIENCE, is_away)?;
                Ok(fs::remove_file(&file)?)
            }
            Self::Maintenance => {
                order(cluster, holder, &["maintenance", "on"])?;
                order(cluster, holder, &["maintenance", "off"])
            }
            Self::Preemption => {
                order(cluster, holder, &["handover", "web", "--to", &to])?;
                cluster.wait_status(holder, "to have it back", PATIENCE, Status::is_master).map(drop)
            }
            Self::Reload => {
                let vips = &mut cluster.options(holder)?.vips;
                match vips.len() {
                    1 => vips.push(OTHER_VIP.to_owned()),
                    _ => drop(vips.pop()),
                }
                cluster.write_config(holder)?;
                order(cluster, holder, &["reload"])
            }
            Self::Restart => {
                ensure!(cluster.daemon(holder)?.terminate()?.success(), "a stop that was not in good order");
                cluster.restart(holder)
            }
            Self::Upgrade => {
                let program = cluster.options(holder)?.binary.clone().context("no program of its own")?;
                let new = program.with_extension("new");
                fs::copy(&program, &new)?;
                fs::rename(new, program)?;
                order(cluster, holder, &["upgrade"])
            }
        }
    }
}

/// Gives a node a program file of its own, which can be replaced, and a supervisor.
fn supervise(cluster: &mut Cluster, node: u8) -> Result<()> {
    let copy = cluster.lab().home(node).join("vip-user");
    let options = cluster.options(node)?;
    fs::copy(options.binary.as_ref().context("no program")?, &copy)?;
    options.binary = Some(copy);
    options.args.push("--supervise".to_owned());
    Ok(())
}

/// Where a node looks whether it is to let go.
fn drain(cluster: &Cluster, node: u8) -> PathBuf {
    cluster.lab().home(node).join("drain")
}

fn order(cluster: &Cluster, node: u8, arguments: &[&str]) -> Result<()> {
    let output = cluster.order(node, arguments)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
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
    cause: Cause,
    client: Client,
    /// For preemption, one more each: there, by an operator.
    handovers: u32,
    probes: u64,
    lost: u64,
    answered_by_two: u64,
    /// Probes lost at a time, and for how long; in order.
    outages: Vec<Outage>,
    slowest_answer_ms: f64,
    /// By how much the latest probe was late: the machine's doing.
    latest_probe_ms: f64,
    /// What each took, the command or until the status said so.
    took_ms: Vec<f64>,
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
    let causes = match arguments.causes.as_slice() {
        [] => Cause::value_variants(),
        wished => wished,
    };
    for cause in causes {
        for client in cause.clients() {
            records.push(measure(&options, *cause, *client, arguments)?);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&records)?);
    } else {
        print_table(&records);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &DaemonOptions, cause: Cause, client: Client, arguments: &Arguments) -> Result<Record> {
    let mut cluster = Cluster::prepare(NODES, |_| options.clone())?;
    for node in 1..=NODES {
        let section = cause.section(&cluster, node);
        cluster.options(node)?.more_of_group.push_str(&section);
        if cause == Cause::Upgrade {
            supervise(&mut cluster, node)?;
        }
        cluster.restart(node)?;
    }
    let mut holder = cluster.wait_whole(PATIENCE)?;
    if cause == Cause::Preemption {
        cluster.wait_status(PREFERRED, "to hold", PATIENCE, Status::is_master)?;
        holder = cluster.wait_whole(PATIENCE)?;
    }
    if matches!(client, Client::Ignores) {
        cluster.lab().fix_neighbour(holder)?;
    }
    let span = arguments.every * arguments.handovers + PATIENCE;
    let target = SocketAddrV4::new(VIP, PORT);
    let prober = Prober::start(
        cluster.lab(),
        &ProberOptions { target, rate: arguments.rate, limit: 2 * span, punctual: true },
    )?;
    let mut took_ms = Vec::new();
    for done in 1..=arguments.handovers {
        interrupt::pause(arguments.every)?;
        let begun = Instant::now();
        cause.act(&mut cluster, holder)?;
        took_ms.push(milliseconds(begun.elapsed()));
        holder = cluster.wait_whole(PATIENCE)?;
        if done % PROGRESS == 0 {
            eprintln!("{done} of {} handovers", arguments.handovers);
        }
    }
    interrupt::pause(arguments.every)?;
    Ok(Record::new(cause, client, arguments.handovers, &prober.finish(), took_ms))
}

impl Record {
    fn new(cause: Cause, client: Client, handovers: u32, report: &Report, took_ms: Vec<f64>) -> Self {
        let outages = report.outages.iter().map(|outage| Outage {
            lost: outage.lost,
            ms: milliseconds(outage.duration),
            in_handover: outage.before != outage.after,
        });
        Self {
            cause,
            client,
            handovers,
            probes: report.sent,
            lost: report.lost,
            answered_by_two: report.doubles,
            outages: outages.collect(),
            slowest_answer_ms: milliseconds(report.slowest_answer),
            latest_probe_ms: milliseconds(report.worst_lateness),
            took_ms,
        }
    }
}

fn print_table(records: &[Record]) {
    println!(
        "\n{:<13}{:<27}{:>9}{:>10}{:>6}{:>16}{:>13}   took, ms: median min max",
        "cause", "client", "handovers", "probes", "lost", "answered by two", "slowest, ms"
    );
    for record in records {
        let client = match record.client {
            Client::Hears => "hears announcements",
            Client::Ignores => "keeps its neighbour entry",
        };
        let cause = match record.cause {
            Cause::Operator => "operator",
            Cause::Check => "check",
            Cause::Maintenance => "maintenance",
            Cause::Preemption => "preemption",
            Cause::Reload => "reload",
            Cause::Restart => "restart",
            Cause::Upgrade => "upgrade",
        };
        let Spread { median, min, max, .. } = Spread::of(record.took_ms.iter().copied());
        println!(
            "{cause:<13}{client:<27}{:>9}{:>10}{:>6}{:>16}{:>13.1}   {median:.1} {min:.1} {max:.1}",
            record.handovers, record.probes, record.lost, record.answered_by_two, record.slowest_answer_ms
        );
        for Outage { lost, ms, in_handover } in &record.outages {
            let when = if *in_handover { "in a handover" } else { "between two handovers" };
            println!("  {lost} lost within {ms:.1} ms, {when}");
        }
    }
}
