//! What the daemon has put into the kernel is taken away from it.

use std::{fs, time::Duration};

use anyhow::Result;
use rand::Rng;

use super::scene::Scene;
use crate::net;

/// Between the loss of an interface and its return.
const GONE: Duration = Duration::from_millis(100);

pub(super) fn bpffs_unmounted(scene: &mut Scene) -> Result<()> {
    let node = scene.any_node();
    let mounts = scene.lab().mounts(node)?;
    mounts.give_own_bpffs()?;
    scene.cluster.options(node)?.wrapper = mounts.wrapper();
    scene.whole()?;
    scene.perhaps_adopted(node)?;
    scene.strike();
    mounts.unmount_bpffs()?;
    scene.ends_by_itself(node, &["pin"])?;
    scene.served_without(node)?;
    scene.refuses_to_start(node, &["mount -t bpf"])?;
    mounts.mount_bpffs()?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}

pub(super) fn pins_deleted(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    scene.strike();
    fs::remove_dir_all(scene.lab().pins(node))?;
    scene.ends_by_itself(node, &["pin"])?;
    returns(scene, node)
}

/// What is left of the pins is not enough to go on with, and holds the fence of a machine that still has the VIPs.
pub(super) fn map_unpinned(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    let maps = ["CONFIG", "GROUPS", "ACCEPTORS", "PEERS", "VIPS"];
    let map = maps[scene.random().random_range(0..maps.len())];
    scene.strike();
    scene.cluster.daemon(node)?.kill()?;
    fs::remove_file(scene.lab().map_pin(node, map))?;
    returns(scene, node)
}

pub(super) fn xdp_detached(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    scene.without_fence(node, |lab| lab.detach_xdp(node), &["XDP", "eth0"])?;
    returns(scene, node)
}

pub(super) fn xdp_replaced(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    scene.without_fence(node, |lab| lab.replace_xdp(node), &["XDP", "eth0"])?;
    returns(scene, node)
}

pub(super) fn interface_renamed(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    let netns = scene.lab().node_netns(node);
    let rename = |from: &str, to: &str| net::ip(&netns, &["link", "set", "dev", from, "name", to]);
    scene.strike();
    rename("eth0", "eth9")?;
    scene.ends_by_itself(node, &["eth0"])?;
    scene.served_without(node)?;
    rename("eth9", "eth0")?;
    returns(scene, node)
}

pub(super) fn interface_deleted(scene: &mut Scene) -> Result<()> {
    let node = some_node(scene)?;
    scene.strike();
    scene.lab().cable(node).remove()?;
    if scene.random().random() {
        scene.pause_below(GONE)?;
    }
    let _port = scene.lab().cable(node).renew()?;
    scene.ends_by_itself(node, &["eth0"])?;
    returns(scene, node)
}

/// A node of a cluster that is whole: the holder or another one, on a data plane of its own or a former run's.
fn some_node(scene: &mut Scene) -> Result<u8> {
    scene.whole()?;
    let node = scene.any_node();
    scene.perhaps_adopted(node)?;
    Ok(node)
}

/// Others serve, and the node takes part when it is started again.
fn returns(scene: &mut Scene, node: u8) -> Result<()> {
    scene.served_without(node)?;
    scene.cluster.restart(node)?;
    scene.recovered().map(drop)
}
