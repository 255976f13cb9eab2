//! `cargo xtask bench traffic`: what a client gets through a VIP with the program attached and without, and how many of a flood
//! of ARP requests are answered, by the program and by the kernel.
//!
//! Here: the rounds, and the table. What is compared is in `side`, TCP and UDP in `iperf`, the flood in `arp`.

mod arp;
mod iperf;
mod side;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use vip_tests::{
    interrupt,
    lab::{DaemonOptions, Lab},
};

use self::{
    iperf::{Load, Server},
    side::{NODE, Side},
};
use super::{
    machine::Machine,
    output::{announce, keep, print_json, progress},
    prepare,
};
use crate::{setup, spread::Spread, systems::Kind};

/// Of one side in a round: three loads, and the flood.
const MEASUREMENTS: u32 = 4;
/// What these take to begin and end, and the side with them, about.
const SET_UP: Duration = Duration::from_secs(4);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; in each, every side takes its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of each measurement
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Print one JSON object, with every round, instead of the table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    vip_user: String,
    iperf3: String,
    seconds: u32,
    /// Of each side, in the order of the rounds.
    turns: Vec<Turn>,
}

/// What a client got from one side in one round, per second.
#[derive(Serialize)]
struct Turn {
    round: u32,
    side: Side,
    /// Received by the service.
    upload_bits: f64,
    /// Received by the client.
    download_bits: f64,
    /// Received by the service.
    datagrams: f64,
    /// Sent to the node, see `arp`.
    arp_requests: f64,
    /// Received from it.
    arp_answers: f64,
}

/// A column of the table.
struct Figure {
    name: &'static str,
    unit: &'static str,
    scale: f64,
    of: fn(&Turn) -> f64,
}

const FIGURES: [Figure; 5] = [
    Figure { name: "TCP to the VIP", unit: "Gbit/s", scale: 1e9, of: |turn| turn.upload_bits },
    Figure { name: "TCP from it", unit: "Gbit/s", scale: 1e9, of: |turn| turn.download_bits },
    Figure { name: "UDP to it", unit: "1,000/s", scale: 1e3, of: |turn| turn.datagrams },
    Figure { name: "ARP requests", unit: "1,000/s", scale: 1e3, of: |turn| turn.arp_requests },
    Figure { name: "ARP answers", unit: "1,000/s", scale: 1e3, of: |turn| turn.arp_answers },
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = prepare()?;
    setup::ensure_traffic_tools()?;
    let turn = SET_UP + Duration::from_secs(arguments.seconds.into()) * MEASUREMENTS;
    announce(turn * u32::try_from(Side::ALL.len())? * arguments.rounds);

    let report = Report {
        machine: Machine::this()?,
        vip_user: Kind::Ours.version()?,
        iperf3: iperf::version()?,
        seconds: arguments.seconds,
        turns: turns(
            &DaemonOptions { binary: Some(binary), expect: 1, ..DaemonOptions::default() },
            arguments,
        )?,
    };
    keep("traffic", &report)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print_table(&report.turns);
    }
    Ok(ExitCode::SUCCESS)
}

/// One node on one wire for all of it. Each round begins with another side, so that none is always the first.
fn turns(options: &DaemonOptions, arguments: &Arguments) -> Result<Vec<Turn>> {
    let lab = Lab::new(NODE)?;
    let mut turns = Vec::new();
    for round in 1..=arguments.rounds {
        let mut sides = Side::ALL;
        sides.rotate_left((round as usize - 1) % Side::ALL.len());
        for side in sides {
            progress(&format!("round {round} of {}: {}", arguments.rounds, side.name()));
            let turn = measure(&lab, side, round, options, arguments.seconds);
            turns.push(turn.with_context(|| format!("round {round}, {}", side.name()))?);
        }
    }
    Ok(turns)
}

fn measure(lab: &Lab, side: Side, round: u32, options: &DaemonOptions, seconds: u32) -> Result<Turn> {
    let service = side.set_up(lab, options)?;
    let received = |load| {
        interrupt::check()?;
        // One that has just served another load may still be busy with it.
        let _server = Server::start(lab, NODE)?;
        iperf::measure(lab, load, seconds)
    };
    let [upload_bits, download_bits, datagrams] =
        [received(Load::Upload)?, received(Load::Download)?, received(Load::Datagrams)?];
    let arp = arp::measure(lab, side, Duration::from_secs(seconds.into()))?;
    service.end(lab)?;
    Ok(Turn {
        round,
        side,
        upload_bits,
        download_bits,
        datagrams,
        arp_requests: arp.requests,
        arp_answers: arp.answers,
    })
}

fn print_table(turns: &[Turn]) {
    println!("\n{:<36}{}", "median (quartiles)", row(|figure| format!("{}, {}", figure.name, figure.unit)));
    for side in Side::ALL {
        let values = |figure: &Figure| rates(turns, side, figure).map(|rate| rate / figure.scale).collect();
        println!("{:<36}{}", side.name(), row(|figure| spread(values(figure), 1)));
    }
    for side in Side::ALL.into_iter().filter(|side| *side != Side::Daemon) {
        let ratios = |figure: &Figure| {
            let pairs = rates(turns, Side::Daemon, figure).zip(rates(turns, side, figure));
            pairs.map(|(ours, theirs)| ours / theirs).collect()
        };
        let name = format!("vip-user / {}", side.name());
        println!("{name:<36}{}", row(|figure| spread(ratios(figure), 2)));
    }
}

fn row(cell: impl Fn(&Figure) -> String) -> String {
    FIGURES.iter().map(|figure| format!("{:<26}", cell(figure))).collect()
}

/// Of one side, in the order of the rounds: those of two sides can be paired.
fn rates<'a>(turns: &'a [Turn], side: Side, figure: &Figure) -> impl Iterator<Item = f64> + use<'a> {
    let of = figure.of;
    turns.iter().filter(move |turn| turn.side == side).map(of)
}

fn spread(values: Vec<f64>, digits: usize) -> String {
    let Spread { lower, median, upper, .. } = Spread::of(values);
    format!("{median:.digits$} ({lower:.digits$} – {upper:.digits$})")
}
