//! A state directory that cannot be written, or says what is not so.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, rngs::SmallRng};

use super::scene::{PATIENCE, Scene};
use crate::{net::run, wait};

pub(super) fn disk_full(scene: &mut Scene) -> Result<()> {
    let node = scene.any_node();
    let mounts = scene.lab().mounts(node)?;
    mounts.give_state_a_disk()?;
    scene.cluster.options(node)?.wrapper = mounts.wrapper();
    // It has started, and must not vote before its consent is on the disk.
    scene.cluster.restart(node)?;
    scene.cluster.wait_status(node, "to have started", PATIENCE, |_| true)?;
    mounts.fill_disk()?;
    scene.strike();
    for other in scene.others(node) {
        scene.cluster.restart(other)?;
    }
    let full = |log: &str| log.contains("No space left on device");
    let complains = || Ok(full(&scene.cluster.daemon(node)?.log()).then_some(()));
    wait::until_calmly("the node to say that its disk is full", PATIENCE, complains)?;
    scene.watch().stays_silent()?;
    mounts.free_disk()?;
    scene.recovered().map(drop)
}

pub(super) fn state_read_only(scene: &mut Scene) -> Result<()> {
    let node = scene.any_node();
    let mounts = scene.lab().mounts(node)?;
    scene.cluster.options(node)?.wrapper = mounts.wrapper();
    scene.take_long_leases()?;
    let holder = scene.whole()?;
    let before = scene.ballot(holder)?;
    scene.strike();
    mounts.make_state_read_only()?;
    for _ in 0..4 {
        scene.watch().let_it_ask()?;
    }
    ensure!(scene.ballot(holder)? == before, "the lease was lost{}", scene.cluster.log_tails());

    scene.cluster.daemon(node)?.kill()?;
    scene.refuses_to_start(node, &["Read-only file system", "state"])?;
    scene.served_without(node)?;
    mounts.make_state_writable()?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

pub(super) fn state_torn(scene: &mut Scene) -> Result<()> {
    scene.whole()?;
    let node = scene.any_node();
    scene.strike();
    scene.cluster.daemon(node)?.kill()?;
    let state = scene.lab().home(node).join("state");
    let files = state_files(&state)?;
    let torn = &files[scene.random().random_range(0..files.len())];
    tear(torn, scene.random())?;
    let name = torn.file_name().and_then(OsStr::to_str).context("a state file without a name")?;

    // Then as it advises.
    if name == "incarnation.toml" {
        scene.refuses_to_start(node, &[name, "remove this file"])?;
        fs::remove_file(torn)?;
    } else {
        scene.refuses_to_start(node, &[name, "remove its whole state directory"])?;
        fs::remove_dir_all(&state)?;
    }
    scene.served_without(node)?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

/// Without the lock, which holds nothing.
fn state_files(state: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(state)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    // Whatever their order on the disk, a seed means the same one.
    files.sort();
    Ok(files)
}

/// Cuts a file, or changes a bit of it.
fn tear(path: &Path, random: &mut SmallRng) -> Result<()> {
    let mut bytes = fs::read(path)?;
    if random.random() {
        bytes.truncate(random.random_range(0..bytes.len()));
    } else {
        let bit = random.random_range(0..8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    Ok(fs::write(path, bytes)?)
}

pub(super) fn state_old(scene: &mut Scene) -> Result<()> {
    let node = scene.any_node();
    let home = scene.lab().home(node);
    let (state, backup) = (home.join("state"), home.join("backup"));
    if scene.random().random() {
        // From before the cluster was formed: the node knows nothing of it.
        scene.cluster.restart(node)?;
        scene.cluster.wait_status(node, "to have started", PATIENCE, |_| true)?;
        copy(&state, &backup)?;
    }
    scene.whole()?;
    if !backup.exists() {
        copy(&state, &backup)?;
    }
    for _ in 0..2 {
        scene.cluster.restart(node)?;
        scene.recovered()?;
    }
    scene.strike();
    scene.cluster.daemon(node)?.kill()?;
    fs::remove_dir_all(&state)?;
    copy(&backup, &state)?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").args([from, to]))
}
