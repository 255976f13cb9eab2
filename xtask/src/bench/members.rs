//! `cargo xtask bench members`: clusters of many nodes of which a few vote, beside Serf's in the same lab. How soon all know of
//! who joins, of who fails and of an event; and what each node sends, hears and takes meanwhile.
//!
//! The law that is looked at is that of the Hellos: the voters say one each second, and all members without a vote together at
//! most 50. So what a node sends in quiet times does not grow with the number of the nodes, and what it hears grows with it, up
//! to the voters and 50 a second; beyond that, the Hellos of members without a vote, and so the news of their silence, come
//! more rarely. Measured (see docs/PERFORMANCE.md): a node sends about 24 frames a second with 10 nodes as with 99, 20 of them its
//! answers to the holder's renewals, and hears 32, 57, 101 and 117 with 10, 25, 50 and 99. The holder also hears all those answers.
//!
//! Here: the arguments and the order of events. What runs on the nodes is in `swarm`, what their handlers write down in `handler`,
//! what the machine has to allow for in `neighbours`, what the nodes take in `quiet`, and what is kept and shown in `results`.
//!
//! In both systems the handlers are the witnesses: the same tiny program on every node, which writes down when it ran and what
//! for. So what is measured is what a user of handlers gets, with the time that so many programs take to start on one machine.

mod handler;
mod neighbours;
mod quiet;
mod results;
mod swarm;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use vip_tests::{interrupt, lab::Lab, wait};

use self::{
    handler::{Entry, entries},
    neighbours::Neighbours,
    quiet::Sample,
    results::{Cluster, Report, Told},
    swarm::{Swarm, name},
};
use crate::{
    bench::{
        machine::Machine,
        output::{announce, keep, print_json, progress},
        prepare,
    },
    duration, setup,
};

/// Of the first configuration, in vip-user; of those that start later, none becomes one.
const VOTERS: u8 = 5;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the nodes have to say of those that have just come is over by then.
const SETTLING: Duration = Duration::from_secs(3);
/// Daemons that start at the same time.
const STARTED_TOGETHER: usize = 4;
/// What a trial takes beside its quiet span, and a node for its start and end, about.
const TRIAL: Duration = Duration::from_secs(12);
const NODE: Duration = Duration::from_millis(600);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Sizes of clusters, of which 5 nodes vote
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [10, 25, 50], value_parser = clap::value_parser!(u8).range(6..=99))]
    members: Vec<u8>,
    /// Only this system; may be repeated
    #[arg(long = "system", value_name = "NAME")]
    systems: Vec<System>,
    /// Joins, quiet spans and failures in each cluster; at most as many as it has members without a vote
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    trials: u8,
    /// Events in each trial
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    events: u32,
    /// Length of a quiet span
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    span: Duration,
    /// Print one JSON object, with every trial, instead of the table
    #[arg(long)]
    json: bool,
}

/// What runs on the nodes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum System {
    VipUser,
    Serf,
}

impl System {
    const ALL: [Self; 2] = [Self::VipUser, Self::Serf];

    fn title(self) -> &'static str {
        match self {
            Self::VipUser => "vip-user",
            Self::Serf => "Serf",
        }
    }
}

impl Arguments {
    fn systems(&self) -> Vec<System> {
        if self.systems.is_empty() { System::ALL.to_vec() } else { self.systems.clone() }
    }

    /// The smallest clusters first, both systems in turn.
    fn clusters(&self) -> Vec<(u8, System)> {
        let of_size =
            |size: &u8| self.systems().into_iter().map(|system| (*size, system)).collect::<Vec<_>>();
        self.members.iter().flat_map(of_size).collect()
    }

    fn estimate(&self) -> Duration {
        let of_cluster = |(size, _): (u8, System)| {
            (self.span + TRIAL) * self.trials.into() + SETTLING * 2 + NODE * size.into()
        };
        self.clusters().into_iter().map(of_cluster).sum()
    }
}

/// Measures one cluster after the other; writes what there is when one of them comes to no end, too.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    for size in &arguments.members {
        let most = size - VOTERS;
        let trials = arguments.trials;
        ensure!(trials <= most, "--trials {trials}: of {size} members, {most} have no vote and can fail");
    }
    let daemon = prepare()?;
    setup::ensure_serf()?;
    announce(arguments.estimate());
    let mut report = Report::new(Machine::this()?, arguments.span)?;
    let measured = arguments.clusters().into_iter().try_for_each(|(size, system)| {
        let cluster = measure(system, size, &daemon, arguments);
        report.clusters.push(cluster.with_context(|| format!("{size} nodes with {}", system.title()))?);
        anyhow::Ok(())
    });
    keep("members", &report)?;
    measured?;
    if arguments.json {
        print_json(&report)?;
    } else {
        report.print_table();
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(system: System, size: u8, daemon: &Path, arguments: &Arguments) -> Result<Cluster> {
    let _neighbours = Neighbours::of(size)?;
    let mut bed = Bed::new(system, size, daemon)?;
    let measured = bed.measure(arguments);
    measured.with_context(|| bed.swarm.log_tail(1))
}

/// A cluster, of which more and more nodes run, and then fewer and fewer.
struct Bed {
    system: System,
    size: u8,
    swarm: Box<dyn Swarm>,
    /// The nodes that are there.
    running: Vec<u8>,
}

impl Bed {
    fn new(system: System, size: u8, daemon: &Path) -> Result<Self> {
        let lab = Lab::new(size)?;
        for node in lab.nodes() {
            handler::write(&lab, node)?;
        }
        Ok(Self { system, size, swarm: swarm::of(system, lab, daemon)?, running: Vec::new() })
    }

    fn measure(&mut self, arguments: &Arguments) -> Result<Cluster> {
        let Arguments { trials, events, span, .. } = *arguments;
        self.form(self.size - trials)?;
        let mut cluster = Cluster::of(self.system, self.size);
        for trial in 1..=trials {
            self.say(&format!("join {trial} of {trials}"));
            cluster.joins.push(self.join(trial)?);
        }
        interrupt::pause(SETTLING)?;
        for trial in 1..=trials {
            self.say(&format!("quiet span {trial} of {trials}"));
            let before = Sample::take(self.swarm.as_ref(), &self.running)?;
            interrupt::pause(span)?;
            let after = Sample::take(self.swarm.as_ref(), &self.running)?;
            cluster.quiet.extend(after.since(&before, trial)?);
        }
        for event in 1..=u32::from(trials) * events {
            self.say(&format!("event {event}"));
            let trial = u8::try_from((event - 1) / events + 1)?;
            cluster.events.push(self.event(trial, &format!("e{event}"))?);
        }
        cluster.false_failures = self.failures_told()?;
        for trial in 1..=trials {
            self.say(&format!("failure {trial} of {trials}"));
            cluster.failures.push(self.fail(trial)?);
        }
        Ok(cluster)
    }

    fn say(&self, what: &str) {
        progress(&format!("{} nodes with {}: {what}", self.size, self.system.title()));
    }

    /// Starts the first `count` nodes, a few at a time, and waits until each has been told of all others. The first one is
    /// alone for a moment, for Serf's agents join it when they start, or never.
    fn form(&mut self, count: u8) -> Result<()> {
        self.start_together(&[1])?;
        let others: Vec<u8> = (2..=count).collect();
        for nodes in others.chunks(STARTED_TOGETHER) {
            self.say(&format!("starting node {}", nodes[0]));
            self.start_together(nodes)?;
        }
        self.say("waiting until all know all");
        self.wait_told("join of all", |node, running| joined_by(node, running)).map(drop)
    }

    /// Waits until their handlers have run.
    fn start_together(&mut self, nodes: &[u8]) -> Result<()> {
        for node in nodes {
            self.swarm.start(*node)?;
            self.running.push(*node);
        }
        let look = || {
            let silent = nodes.iter().find(|node| entries(self.swarm.lab(), **node).is_empty());
            silent.map_or(Ok(Some(())), |node| bail!("node {node} has told its handler nothing"))
        };
        wait::until_calmly("the nodes to start", PATIENCE, look)
    }

    /// One more node: when each of the others has been told of it, and it of all others.
    fn join(&mut self, trial: u8) -> Result<Told> {
        let node = u8::try_from(self.running.len())? + 1;
        let start = SystemTime::now();
        self.swarm.start(node)?;
        self.running.push(node);
        let told = self.wait_told("join of one", |node, running| joined_by(node, running))?;
        Told::since(start, trial, &told)
    }

    fn event(&self, trial: u8, event: &str) -> Result<Told> {
        let start = SystemTime::now();
        self.swarm.event(1, event)?;
        let told = self.wait_told("event", |_, _| {
            let event = event.to_owned();
            Box::new(move |entries| {
                entries.iter().find(|entry| entry.is("user", &event)).map(|entry| entry.at)
            })
        })?;
        Told::since(start, trial, &told)
    }

    /// The last node's machine is gone.
    fn fail(&mut self, trial: u8) -> Result<Told> {
        let victim = self.running.pop().context("no node is left")?;
        let start = SystemTime::now();
        self.swarm.lab().cable(victim).pull()?;
        let told = self.wait_told("failure", |_, _| {
            let victim = name(victim);
            Box::new(move |entries| {
                let tells = |entry: &&Entry| entry.at >= start && entry.is("member-failed", &victim);
                entries.iter().find(tells).map(|entry| entry.at)
            })
        })?;
        Told::since(start, trial, &told)
    }

    /// How often handlers have been told of a failure so far.
    fn failures_told(&self) -> Result<usize> {
        let of_node = |node: &u8| {
            entries(self.swarm.lab(), *node).iter().filter(|entry| entry.event == "member-failed").count()
        };
        Ok(self.running.iter().map(of_node).sum())
    }

    /// Waits until all running nodes have been told what `by` looks for in a node's entries; gives when that was, by node.
    fn wait_told(&self, what: &str, by: impl Fn(u8, &[u8]) -> Search) -> Result<Vec<SystemTime>> {
        let searches: Vec<(u8, Search)> =
            self.running.iter().map(|node| (*node, by(*node, &self.running))).collect();
        wait::until_calmly(&format!("the nodes to be told: {what}"), PATIENCE, || {
            let told = searches.iter().map(|(node, search)| {
                let entries = entries(self.swarm.lab(), *node);
                search(&entries).with_context(|| format!("node {node} has not been; it knows {entries:?}"))
            });
            told.collect::<Result<Vec<_>>>().map(Some)
        })
    }
}

/// When a handler was told, by what it has written down.
type Search = Box<dyn Fn(&[Entry]) -> Option<SystemTime>>;

/// When the handler of `node` had been told of the joins of all others.
fn joined_by(node: u8, running: &[u8]) -> Search {
    let others: Vec<String> =
        running.iter().filter(|other| **other != node).map(|other| name(*other)).collect();
    Box::new(move |entries| {
        let first = |other: &String| {
            entries.iter().find(|entry| entry.is("member-join", other)).map(|entry| entry.at)
        };
        others.iter().map(first).try_fold(SystemTime::UNIX_EPOCH, |latest, at| Some(latest.max(at?)))
    })
}
