//! Packets of somebody who has no key, as fast as they come.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;

use super::scene::Scene;
use crate::flood::{self, Caught, Flood};

/// Caught, and then sent again and again.
const CAUGHT: usize = 500;
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

/// Every message of the cluster's life so far, requests and answers, while the holder forgets all that it knew of them.
pub(super) fn replayed(scene: &mut Scene) -> Result<()> {
    scene.start()?;
    let caught = Caught::on(scene.lab(), CAUGHT)?;
    let holder = scene.whole()?;
    scene.strike();
    let flood = Flood::start(scene.lab(), caught.replayed(), 2 * FLOOD)?;
    scene.cluster.daemon(holder)?.kill()?;
    scene.boot(holder)?;
    scene.cluster.restart(holder)?;
    scene.served()?;
    ensure!(flood.finish()? > 0, "nothing was sent again");
    scene.recovered().map(drop)
}

fn flooded(scene: &mut Scene, frames: impl FnOnce(&Caught, &mut SmallRng) -> Vec<Vec<u8>>) -> Result<()> {
    scene.whole()?;
    let caught = Caught::on(scene.lab(), CAUGHT)?;
    let frames = frames(&caught, scene.random());
    scene.pause_below(FLOOD / 4)?;
    scene.strike();
    let flood = Flood::start(scene.lab(), frames, FLOOD)?;
    crate::interrupt::pause(FLOOD)?;
    ensure!(flood.finish()? > 0, "nothing was sent");
    scene.recovered().map(drop)
}
