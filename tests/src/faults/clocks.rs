//! The time of day steps. Leases do not go by it; the incarnation of a daemon does, when it starts.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::Result;
use rand::Rng;

use super::scene::Scene;
use crate::{clock::Stamp, wall_clock::WallClock};

const DAY: Duration = Duration::from_secs(86_400);
/// In days: from the last change of the hour to a battery that was empty.
const STEPS: std::ops::Range<u32> = 1..3650;

pub(super) fn clock_forward(scene: &mut Scene) -> Result<()> {
    stepped(scene, WallClock::set_ahead)
}

pub(super) fn clock_back(scene: &mut Scene) -> Result<()> {
    stepped(scene, WallClock::set_behind)
}

/// The clock of one node steps while it runs, and again, to where it was, after a restart.
fn stepped(scene: &mut Scene, step: fn(&WallClock, Duration) -> Result<()>) -> Result<()> {
    let clocks = give_clocks(scene)?;
    scene.whole()?;
    let node = scene.any_node();
    let by = DAY * scene.random().random_range(STEPS);
    scene.strike();
    step(&clocks[&node], by)?;
    scene.watch().let_it_ask()?;
    scene.recovered()?;
    for set_right in [false, true] {
        if set_right {
            clocks[&node].set_right()?;
        }
        scene.cluster.daemon(node)?.kill()?;
        scene.cluster.restart(node)?;
        scene.recovered()?;
    }
    Ok(())
}

/// The one thing that an incarnation cannot make up for: the clock goes back, and the disk does not remember.
pub(super) fn clock_back_disk_lost(scene: &mut Scene) -> Result<()> {
    let clocks = give_clocks(scene)?;
    scene.whole()?;
    let node = scene.any_node();
    scene.strike();
    clocks[&node].set_behind(DAY)?;
    scene.cluster.daemon(node)?.kill()?;
    fs::remove_dir_all(scene.lab().home(node).join("state"))?;
    scene.cluster.restart(node)?;
    let other = scene.served_without(node)?.node;
    // The third node needs its vote, which is none of its own messages.
    scene.cluster.daemon(other)?.kill()?;
    let third = scene.others(node).into_iter().find(|third| *third != other);
    scene.watch().wait_served_after(Stamp::now(), |by| Some(by) == third)?;
    scene.cluster.restart(other)?;
    scene.served_without(node)?;
    clocks[&node].set_right()?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

fn give_clocks(scene: &mut Scene) -> Result<BTreeMap<u8, WallClock>> {
    let mut clocks = BTreeMap::new();
    for node in scene.nodes() {
        let clock = WallClock::new(scene.lab(), node)?;
        scene.cluster.options(node)?.wrapper = clock.wrapper();
        clocks.insert(node, clock);
    }
    Ok(clocks)
}
