//! Several things go wrong at once.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;

use super::{
    network::{for_each_line, relay},
    scene::Scene,
};
use crate::relay::Line;

const BLOWS: usize = 30;
const HANDOVERS: usize = 5;
/// An order to hand over takes up to so long to be under way.
const ORDER: Duration = Duration::from_millis(40);
/// Between two blows.
const CALM: Duration = Duration::from_millis(120);
/// All daemons hang for up to so long: some leases end meanwhile, some do not.
const STOP: Duration = Duration::from_millis(150);

/// All daemons are stopped, and go on one by one.
pub(super) fn all_stop(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    scene.strike();
    for _ in 0..3 {
        for node in scene.nodes() {
            scene.cluster.daemon(node)?.stop()?;
        }
        for node in scene.nodes() {
            scene.pause_below(STOP)?;
            scene.cluster.daemon(node)?.cont()?;
        }
        scene.pause_below(STOP)?;
    }
    scene.recovered().map(drop)
}

/// Daemons, cables and lines at random, and nothing is waited for until the end.
pub(super) fn storm(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    scene.whole()?;
    scene.strike();
    for _ in 0..BLOWS {
        let node = scene.any_node();
        match scene.random().random_range(0..6) {
            0 => scene.cluster.restart(node)?,
            1 => scene.cluster.daemon(node)?.stop()?,
            2 => scene.cluster.daemon(node)?.cont()?,
            3 => scene.lab().cable(node).pull()?,
            4 => scene.lab().cable(node).plug()?,
            _ => for_each_line(scene, |random, from, to| relay.set(from, to, any_line(random))),
        }
        scene.pause_below(CALM)?;
    }
    relay.heal();
    for node in scene.nodes() {
        scene.lab().cable(node).plug()?;
        scene.cluster.daemon(node)?.cont()?;
    }
    scene.recovered().map(drop)
}

/// While the holder hands over to another node, over lines that are bad or not, one of the nodes is killed, stopped for a
/// moment, or cut off.
pub(super) fn handover(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    scene.whole()?;
    scene.strike();
    for _ in 0..HANDOVERS {
        if scene.random().random() {
            for_each_line(scene, |random, from, to| relay.set(from, to, any_line(random)));
        }
        let (holder, node) = (scene.served()?.node, scene.any_node());
        let mut order = scene.cluster.daemon(holder)?.begin_order(&["handover"])?;
        scene.pause_below(ORDER)?;
        match scene.random().random_range(0..3) {
            0 => scene.cluster.restart(node)?,
            1 => {
                scene.cluster.daemon(node)?.stop()?;
                scene.pause_below(STOP)?;
                scene.cluster.daemon(node)?.cont()?;
            }
            _ => {
                scene.lab().cable(node).pull()?;
                scene.pause_below(STOP)?;
                scene.lab().cable(node).plug()?;
            }
        }
        relay.heal();
        // Done, refused or lost with its daemon: what came of it is seen on the wire.
        order.wait()?;
        scene.recovered()?;
    }
    Ok(())
}

fn any_line(random: &mut impl Rng) -> Line {
    Line {
        loss: if random.random_ratio(1, 4) { 100 } else { random.random_range(0..=30) },
        doubled: random.random_range(0..=50),
        delay: random.random_range(Duration::ZERO..Duration::from_millis(10)),
        jitter: random.random_range(Duration::ZERO..Duration::from_millis(20)),
    }
}
