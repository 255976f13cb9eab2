//! Daemons that die, hang, are started again and again, or do not get to run.

use std::{fs, time::Duration};

use anyhow::Result;
use rand::Rng;

use super::scene::Scene;
use crate::{
    hog::{Class, Hogs},
    interrupt,
};

/// A daemon that hangs does so for up to this long after another node serves.
const HANG: Duration = Duration::from_millis(500);
/// Starts in a row.
const LOOP: usize = 6;
/// A start takes about as long.
const START: Duration = Duration::from_millis(600);
const HOGS: Duration = Duration::from_secs(2);
/// Below the priorities of the daemon's threads.
const HOG_PRIORITY: i32 = 10;

pub(super) fn sigkill(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    scene.strike();
    scene.cluster.daemon(holder)?.kill()?;
    scene.served_without(holder)?;
    scene.cluster.restart(holder)?;
    scene.recovered().map(drop)
}

pub(super) fn sigterm(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    scene.strike();
    scene.cluster.daemon(holder)?.terminate()?;
    scene.served_without(holder)?;
    scene.cluster.restart(holder)?;
    scene.recovered().map(drop)
}

pub(super) fn sigstop(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    scene.strike();
    scene.cluster.daemon(holder)?.stop()?;
    scene.served_without(holder)?;
    scene.pause_below(HANG)?;
    scene.cluster.daemon(holder)?.cont()?;
    scene.recovered().map(drop)
}

pub(super) fn freeze(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    let freezer = scene.lab().freezer(holder)?;
    freezer.take(scene.cluster.daemon(holder)?.pid())?;
    scene.strike();
    freezer.freeze()?;
    scene.served_without(holder)?;
    scene.pause_below(HANG)?;
    freezer.thaw()?;
    scene.recovered().map(drop)
}

/// Stopped and continued faster than a lease ends: the daemon goes on with what it believed a moment ago.
pub(super) fn stutter(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    scene.strike();
    for _ in 0..10 {
        scene.cluster.daemon(holder)?.stop()?;
        scene.pause_below(Duration::from_millis(100))?;
        scene.cluster.daemon(holder)?.cont()?;
        scene.pause_below(Duration::from_millis(50))?;
    }
    scene.recovered().map(drop)
}

pub(super) fn hogs(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    scene.strike();
    let hogs = Hogs::start(4, Class::Ordinary, HOGS)?;
    interrupt::pause(HOGS)?;
    drop(hogs);
    scene.recovered().map(drop)
}

pub(super) fn fifo_hog(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    scene.strike();
    let hogs = Hogs::start(1, Class::Fifo(HOG_PRIORITY), HOGS / 2)?;
    interrupt::pause(HOGS / 2)?;
    drop(hogs);
    scene.recovered().map(drop)
}

pub(super) fn restart_loop(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    let node = scene.any_node();
    scene.strike();
    for _ in 0..LOOP {
        if scene.random().random() {
            scene.cluster.daemon(node)?.kill()?;
        } else {
            scene.cluster.daemon(node)?.terminate()?;
        }
        scene.cluster.restart(node)?;
        scene.pause_below(START)?;
    }
    scene.recovered().map(drop)
}

pub(super) fn all_start(scene: &mut Scene) -> Result<()> {
    scene.strike();
    scene.start()?;
    scene.recovered().map(drop)
}

pub(super) fn all_restart(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    scene.strike();
    for node in scene.nodes() {
        scene.cluster.daemon(node)?.kill()?;
    }
    scene.start()?;
    scene.recovered().map(drop)
}

pub(super) fn boot(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    let node = scene.any_node();
    scene.strike();
    scene.cluster.daemon(node)?.kill()?;
    scene.boot(node)?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

pub(super) fn all_boot(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    scene.strike();
    for node in scene.nodes() {
        scene.cluster.daemon(node)?.kill()?;
        scene.boot(node)?;
    }
    scene.start()?;
    scene.recovered().map(drop)
}

/// A boot with an empty disk: the node remembers neither its promises nor the cluster.
pub(super) fn reinstalled(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    let node = scene.any_node();
    scene.strike();
    scene.cluster.daemon(node)?.kill()?;
    scene.boot(node)?;
    fs::remove_dir_all(scene.lab().home(node).join("state"))?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}
