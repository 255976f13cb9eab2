//! `cargo xtask bench steady`: nothing fails, and the daemons should have next to nothing to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    interrupt,
    lab::{self, DaemonOptions},
};

use crate::{
    cargo::{Profile, build_daemon},
    duration, setup,
    spread::Spread,
};

const NODES: u8 = 3;
/// How long the nodes may take to find each other.
const FORMATION: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measurements; the CPU and the system calls are each watched for so many spans
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    trials: u32,
    /// Length of a measurement
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    span: Duration,
    /// Time between two heartbeats of the holder
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = duration::parse)]
    interval: Duration,
    /// How long a holder serves without a quorum's renewal
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration::parse)]
    lease: Duration,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What one daemon took; one entry per trial.
#[derive(Serialize)]
struct Record {
    role: &'static str,
    cpu_percent: Vec<f64>,
    rss_mib: f64,
    /// By name, per second.
    system_calls: Vec<BTreeMap<String, f64>>,
}

/// Measures the holder and one follower of a cluster that nothing happens to.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    setup::ensure_all()?;
    lab::sweep_leftovers()?;
    let options = DaemonOptions {
        binary: Some(build_daemon(Profile::Release)?),
        interval: arguments.interval,
        lease: arguments.lease,
        ..DaemonOptions::default()
    };
    let mut cluster = Cluster::start(NODES, &options)?;
    let holder = cluster.wait_whole(FORMATION)?;
    let follower = (1..=NODES).find(|node| *node != holder).context("one node only")?;
    let mut records = Vec::new();
    for (role, node) in [("holder", holder), ("follower", follower)] {
        records.push(measure(role, cluster.daemon(node)?.pid(), arguments)?);
    }
    ensure!(
        cluster.wait_whole(FORMATION)? == holder,
        "the holder changed meanwhile: the figures are not of a steady state"
    );
    drop(cluster);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&records)?);
    } else {
        print_table(&records);
    }
    Ok(ExitCode::SUCCESS)
}

/// CPU first, as strace changes it.
fn measure(role: &'static str, pid: Pid, arguments: &Arguments) -> Result<Record> {
    let cpu_percent =
        (0..arguments.trials).map(|_| cpu_percent(pid, arguments.span)).collect::<Result<_>>()?;
    let rss_mib = resident_kib(pid)? / 1024.0;
    let system_calls =
        (0..arguments.trials).map(|_| system_calls(pid, arguments.span)).collect::<Result<_>>()?;
    Ok(Record { role, cpu_percent, rss_mib, system_calls })
}

fn cpu_percent(pid: Pid, span: Duration) -> Result<f64> {
    let (start, before) = (Stamp::now(), on_cpu(pid)?);
    interrupt::pause(span)?;
    let (used, watched) = (on_cpu(pid)?.saturating_sub(before), Stamp::now().since(start));
    Ok(used.as_secs_f64() / watched.as_secs_f64() * 100.0)
}

/// Time that all threads have run, to the nanosecond (`Documentation/scheduler/sched-stats.rst`).
fn on_cpu(pid: Pid) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanoseconds = text.split_whitespace().next().context("schedstat is empty")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

fn resident_kib(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// System calls of all threads, per second, by name.
fn system_calls(pid: Pid, span: Duration) -> Result<BTreeMap<String, f64>> {
    let mut strace = Strace::attach(pid)?;
    let start = Stamp::now();
    interrupt::pause(span)?;
    let watched = Stamp::now().since(start).as_secs_f64();
    let counts = strace.detach()?;
    Ok(counts.into_iter().map(|(name, count)| (name, count as f64 / watched)).collect())
}

/// A running `strace -c`; dropping it ends it.
struct Strace(Option<Child>);

impl Strace {
    fn attach(pid: Pid) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-q", "-c", "-f", "-U", "name,calls", "-p"]).arg(pid.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self(Some(command.spawn().context("cannot run strace")?)))
    }

    /// Ends it, and gives its counts.
    fn detach(&mut self) -> Result<BTreeMap<String, u64>> {
        let child = self.0.take().context("detached twice")?;
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
        let output = child.wait_with_output()?;
        let counts = parse(&String::from_utf8_lossy(&output.stderr));
        ensure!(!counts.is_empty(), "strace counted nothing: {}", String::from_utf8_lossy(&output.stderr));
        Ok(counts)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lines of a name and a number; headings, rules and the total have something else in one of the places.
fn parse(table: &str) -> BTreeMap<String, u64> {
    let rows = table.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

fn print_table(records: &[Record]) {
    println!(
        "\n{:<10}{:>26}{:>10}   system calls per second (median)",
        "", "CPU, %: median min max", "RSS, MiB"
    );
    for Record { role, cpu_percent, rss_mib, system_calls } in records {
        let Spread { median, min, max } = Spread::of(cpu_percent.iter().copied());
        let cpu = format!("{median:.2} {min:.2} {max:.2}");
        let total = Spread::of(system_calls.iter().map(|trial| trial.values().sum())).median;
        let names = by_name(system_calls).into_iter().map(|(name, rate)| format!("{name} {rate:.1}"));
        let names = names.collect::<Vec<_>>().join(", ");
        println!("{role:<10}{cpu:>26}{rss_mib:>10.1}   {total:.0}: {names}");
    }
}

/// The median rate of each call, the most frequent first.
fn by_name(trials: &[BTreeMap<String, f64>]) -> Vec<(&str, f64)> {
    let names: BTreeSet<&str> = trials.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let rate = |name| Spread::of(trials.iter().map(|trial| trial.get(name).copied().unwrap_or(0.0))).median;
    let mut rates: Vec<_> = names.into_iter().map(|name| (name, rate(name))).collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as strace 6.1 prints it for `-c -U name,calls`.
    #[test]
    fn calls_are_read_from_the_table_of_strace() {
        let table = "strace: Process 7 attached with 3 threads\nsyscall              calls\n------------ ---------\nppoll              112\nsendto               5\n------------ ---------\ntotal              117\n";
        assert_eq!(parse(table), BTreeMap::from([("ppoll".to_owned(), 112), ("sendto".to_owned(), 5)]));
    }
}
