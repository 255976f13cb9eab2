//! The XDP program equals the functions: random frames through the program and through a reference on plain memory,
//! with the same outcome, byte for byte, and the same memory afterwards, to the last field of every map.
//!
//! The rules of the lease are the program's own, from `vip_common`; everything around them is written anew in
//! [`reference`]. A frame that fares otherwise is printed with the seed that makes it come again:
//! `VIP_SEED=… cargo xtask test random_frames`; `VIP_FRAMES=…` makes it longer.

mod boundaries;
mod bpf;
mod concurrency;
mod coverage;
mod generator;
mod pair;
mod reference;
mod state;
mod ways;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use vip_common::maps::{Counter, MAX_PEERS};

use super::node::{Peer, multicast};
use coverage::Coverage;
use generator::{Generator, Step};
use pair::Pair;
use ways::Way;

const FRAMES: u64 = 1_000_000;
/// Steps of a node's life, most of them frames.
const LIFE: u64 = 25_000;
/// Each thing that can come of a frame is to come at least once in so many frames.
const RAREST: u64 = 2_000;

/// Lives of their own on all CPUs, until there were enough frames.
#[test]
fn random_frames_fare_as_in_the_reference() {
    let first = number("VIP_SEED", 1);
    let frames = number("VIP_FRAMES", FRAMES);
    let (next, so_far) = (AtomicU64::new(first), AtomicU64::new(0));
    let live_on = || {
        let mut coverage = Coverage::default();
        while so_far.load(Ordering::Relaxed) < frames {
            let lived = live(next.fetch_add(1, Ordering::Relaxed));
            so_far.fetch_add(lived.as_ref().map_or(frames, |lived| lived.frames), Ordering::Relaxed);
            coverage.merge(lived?);
        }
        Ok(coverage)
    };
    let start = Instant::now();
    let mut coverage = Coverage::default();
    thread::scope(|scope| {
        let cpus = thread::available_parallelism().unwrap().get();
        let threads: Vec<_> = (0..cpus).map(|_| scope.spawn(live_on)).collect();
        for thread in threads {
            let lived: Result<Coverage, String> = thread.join().unwrap();
            coverage.merge(lived.unwrap_or_else(|failure| panic!("{failure}")));
        }
    });
    println!("{} frames in {:.1} s\n{coverage}", coverage.frames, start.elapsed().as_secs_f64());
    coverage.assert_each(coverage.frames / RAREST);
}

/// Input: more senders than there is room for. Expected: those that were first are heard, and the rest are not.
#[test]
fn a_full_table_of_nodes_takes_no_more() {
    let mut pair = Pair::new();
    let nodes: Vec<u16> = (2..).take(MAX_PEERS + 20).collect();
    let mut peers: Vec<Peer> = nodes.iter().map(|id| Peer::new(*id)).collect();
    for _ in 0..2 {
        for (number, peer) in peers.iter_mut().enumerate() {
            let fared = pair.receive(Way::Wire, &multicast(&peer.hello()));
            let heard = fared.unwrap_or_else(|mismatch| panic!("{mismatch}")).counter;
            let expected = if number < MAX_PEERS { Counter::MessagePassed } else { Counter::RejectedReplay };
            assert_eq!(heard, expected, "node {}", nodes[number]);
        }
    }
}

/// The life of one node, from a seed.
fn live(seed: u64) -> Result<Coverage, String> {
    let mut pair = Pair::new();
    let mut generator = Generator::new(seed);
    let mut coverage = Coverage::default();
    for number in 0..LIFE {
        match generator.step(&pair) {
            Step::Move(step) => pair.perform(&step),
            Step::Configure(config) => pair.configure(config),
            Step::Frame(way, frame) => match pair.receive(way, &frame) {
                Ok(fared) => coverage.add(&fared),
                Err(mismatch) => return Err(format!("VIP_SEED={seed}, step {number}: {mismatch}")),
            },
        }
    }
    pair.maps.assert_others_untouched();
    Ok(coverage)
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}
