//! `cargo xtask bench tee`: what the copies for standbys cost their holder, and how many datagrams a second come through, with as
//! many standbys as there may be on one machine.
//!
//! Here: the arguments and the order of events. Sender and services are in `traffic`, what is kept and shown in `results`.

mod results;
mod traffic;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use vip_tests::{
    cluster::{Cluster, Status},
    interrupt,
    lab::DaemonOptions,
};

use self::{results::Results, traffic::Services};
use crate::bench::{
    output::{self, progress},
    prepare,
};

/// Of the files.
const NAME: &str = "tee";
/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);
/// Switches on that the kernel counts how often each BPF program runs and for how long (Linux 5.1); each run takes some 20 ns more.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Datagrams a second of a trial; none: as many as one thread can send.
const RATES: [Option<u32>; 3] = [Some(10_000), Some(50_000), None];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Trials of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: u32,
    /// How long each of them sends
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::duration::parse)]
    time: Duration,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What is done with the datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Setting {
    /// One node, without a tee.
    NoTee,
    /// A holder with a tee, and so many other nodes.
    Standbys(u8),
    /// With as many standbys as there may be, and the cable of one of them has next to no room for copies.
    OneOverloaded,
}

const SETTINGS: [Setting; 5] = [
    Setting::NoTee,
    Setting::Standbys(0),
    Setting::Standbys(1),
    Setting::Standbys(MOST),
    Setting::OneOverloaded,
];
const MOST: u8 = 2;

/// One trial.
#[derive(Clone, Debug, Serialize)]
struct Trial {
    sent: u64,
    seconds: f64,
    /// Datagrams that the holder's service has received.
    held: u64,
    /// Datagrams that the services of the standbys have received, but for one that is overloaded.
    admitted: Vec<u64>,
    copied: u64,
    failed: u64,
    /// Of the program that makes the copies, for each datagram; none without it.
    ns: Option<f64>,
}

/// Writes what there is when it is interrupted, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let daemon = prepare()?;
    let mut results = Results::new()?;
    eprintln!("{}", results.setting());
    let before = fs::read(STATISTICS).with_context(|| format!("cannot read {STATISTICS}"))?;
    fs::write(STATISTICS, "1").with_context(|| format!("cannot write {STATISTICS}"))?;
    let ended = [None, Some(0), Some(1), Some(MOST)]
        .into_iter()
        .try_for_each(|standbys| measure(arguments, standbys, &daemon, &mut results));
    fs::write(STATISTICS, before).with_context(|| format!("cannot write {STATISTICS}"))?;
    results.write()?;
    ended?;
    if arguments.json { output::print_json(&results) } else { results.print_table() }?;
    Ok(ExitCode::SUCCESS)
}

/// With so many standbys; none: without a tee. With and without overload take turns, so that they are of the same minutes.
fn measure(arguments: &Arguments, standbys: Option<u8>, daemon: &Path, results: &mut Results) -> Result<()> {
    let (scene, setting) =
        (Scene::start(standbys, daemon)?, standbys.map_or(Setting::NoTee, Setting::Standbys));
    for _ in 0..arguments.trials {
        for rate in RATES {
            progress(&format!("{setting:?}, {rate:?}"));
            results.add(setting, rate, scene.trial(rate, arguments.time, None)?);
            interrupt::check()?;
            if standbys == Some(MOST) {
                let setting = Setting::OneOverloaded;
                progress(&format!("{setting:?}, {rate:?}"));
                results.add(setting, rate, scene.trial_with_overload(rate, arguments.time)?);
                interrupt::check()?;
            }
        }
    }
    Ok(())
}

/// A cluster with a holder, and the service of each node.
struct Scene {
    services: Services,
    cluster: Cluster,
    holder: u8,
}

impl Scene {
    fn start(standbys: Option<u8>, daemon: &Path) -> Result<Self> {
        let nodes = 1 + standbys.unwrap_or(0);
        let tee = || format!("[[tee]]\ngroup = \"web\"\nport = {}\n", traffic::PORT);
        let more_of_group = standbys.map_or_else(String::new, |_| tee());
        let binary = Some(daemon.to_owned());
        // Leases that the load does not let lapse: nothing here is about them.
        let (interval, lease) = (Duration::from_millis(50), Duration::from_secs(1));
        let options = DaemonOptions { binary, more_of_group, interval, lease, ..DaemonOptions::default() };
        let cluster = Cluster::start(nodes, &options)?;
        let holder = cluster.wait_whole(PATIENCE)?;
        let copies = |status: &Status| {
            status
                .tees
                .first()
                .is_none_or(|tee| tee.standbys.len() + 1 == usize::from(nodes) && tee.fault.is_none())
        };
        cluster.wait_status(holder, "to know its standbys", PATIENCE, copies)?;
        let services = Services::start(cluster.lab(), nodes)?;
        Ok(Self { services, cluster, holder })
    }

    fn trial_with_overload(&self, rate: Option<u32>, time: Duration) -> Result<Trial> {
        let lab = self.cluster.lab();
        let overloaded = lab.nodes().find(|node| *node != self.holder).context("no standby")?;
        lab.throttle(overloaded)?;
        let trial = self.trial(rate, time, Some(overloaded));
        lab.unthrottle(overloaded)?;
        trial
    }

    fn trial(&self, rate: Option<u32>, time: Duration, overloaded: Option<u8>) -> Result<Trial> {
        let (before, ran_before) = (counts(&self.cluster, self.holder)?, runs()?);
        let received_before = self.services.received();
        let (sent, elapsed) = traffic::send(self.cluster.lab(), rate, time)?;
        let received = self.services.settle()?;
        let (after, ran_after) = (counts(&self.cluster, self.holder)?, runs()?);
        let got = |node: u8| received[&node] - received_before[&node];
        let standbys =
            received.keys().copied().filter(|node| *node != self.holder && Some(*node) != overloaded);
        let ran = ran_after.run_cnt.saturating_sub(ran_before.run_cnt);
        let ns = ran_after.run_time_ns.saturating_sub(ran_before.run_time_ns);
        Ok(Trial {
            sent,
            seconds: elapsed.as_secs_f64(),
            held: got(self.holder),
            admitted: standbys.map(got).collect(),
            copied: after.0 - before.0,
            failed: after.1 - before.1,
            ns: (ran > 0).then(|| ns as f64 / ran as f64),
        })
    }
}

/// The holder's copies: sent, and failed.
fn counts(cluster: &Cluster, holder: u8) -> Result<(u64, u64)> {
    let status = cluster.status(holder)?;
    Ok(status.tees.first().map_or((0, 0), |tee| (tee.copied, tee.failed)))
}

/// What the kernel says of a program.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Runs {
    run_time_ns: u64,
    run_cnt: u64,
}

/// Of the program that makes copies, on all nodes together: on standbys, it runs for copies and lets them be.
fn runs() -> Result<Runs> {
    let output = Command::new("bpftool").args(["--json", "prog", "show", "name", "vip_tee"]).output();
    let output = output.context("cannot run bpftool")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // There is none, where nothing is teed.
        return Ok(Runs::default());
    }
    let programs: OneOrMore =
        serde_json::from_str(&text).with_context(|| format!("bpftool says {text:?}"))?;
    Ok(match programs {
        OneOrMore::One(runs) => runs,
        OneOrMore::More(all) => all.into_iter().max_by_key(|runs| runs.run_time_ns).unwrap_or_default(),
    })
}

/// As bpftool prints programs by their name.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<Runs>),
    One(Runs),
}
