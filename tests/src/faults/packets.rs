//! Packets of somebody who has no key, as fast as they come.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;

use super::scene::Scene;
use crate::{
    flood::{self, Caught, Flood},
    interrupt,
};

/// Caught, and then sent again and again.
const CAUGHT: usize = 300;
/// How long a flood lasts; the machine's processors are the nodes' as well.
const FLOOD: Duration = Duration::from_millis(800);

pub(super) fn forged(scene: &mut Scene) -> Result<()> {
    flooded(scene, |caught, random| caught.forged(random))
}

pub(super) fn truncated(scene: &mut Scene) -> Result<()> {
    flooded(scene, |caught, random| caught.truncated(random))
}

pub(super) fn noise(scene: &mut Scene) -> Result<()> {
    flooded(scene, |_, random| flood::noise(CAUGHT, random))
}

/// Every message of the cluster's first moments, requests and answers, while the holder forgets all that it knew of them.
pub(super) fn replayed(scene: &mut Scene) -> Result<()> {
    scene.start()?;
    let caught = Caught::on(scene.lab(), CAUGHT)?;
    let holder = scene.whole()?;
    let others = scene.others(holder);
    let before = rejected(scene, &others)?;
    scene.strike();
    let flood = Flood::start(scene.lab(), caught.replayed(), 2 * FLOOD)?;
    scene.cluster.daemon(holder)?.kill()?;
    scene.boot(holder)?;
    scene.cluster.restart(holder)?;
    scene.served()?;
    flood.finish()?;
    scene.recovered()?;
    ensure_reached(&before, &rejected(scene, &others)?)
}

/// Leases are long here: what they do not survive is not the flood's share of the processors.
fn flooded(scene: &mut Scene, frames: impl FnOnce(&Caught, &mut SmallRng) -> Vec<Vec<u8>>) -> Result<()> {
    scene.take_long_leases()?;
    let holder = scene.whole()?;
    let caught = Caught::on(scene.lab(), CAUGHT)?;
    let frames = frames(&caught, scene.random());
    scene.pause_below(FLOOD / 4)?;
    let nodes = scene.nodes();
    let before = (scene.ballot(holder)?, rejected(scene, &nodes)?);
    scene.strike();
    let flood = Flood::start(scene.lab(), frames, FLOOD)?;
    interrupt::pause(FLOOD)?;
    flood.finish()?;
    scene.recovered()?;
    ensure_reached(&before.1, &rejected(scene, &nodes)?)?;
    ensure!(scene.ballot(holder)? == before.0, "the lease was lost{}", scene.cluster.log_tails());
    Ok(())
}

/// How many messages each of these nodes has rejected.
fn rejected(scene: &Scene, nodes: &[u8]) -> Result<Vec<u64>> {
    let count =
        |node: &u8| scene.cluster.status(*node)?.counters.get("rejected").copied().context("no count");
    nodes.iter().map(count).collect()
}

/// A flood that reaches nobody would harm nobody.
fn ensure_reached(before: &[u64], after: &[u64]) -> Result<()> {
    let more = before.iter().zip(after).all(|(before, after)| *after > before + CAUGHT as u64);
    ensure!(more, "the flood was not seen: {before:?} messages were rejected before it, {after:?} after");
    Ok(())
}
