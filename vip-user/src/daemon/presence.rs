//! Which VIPs are addresses of this machine: those of groups with `presence = "always"`, and of the others that it holds.
//! Whether they are served is not decided by that, but by the lease word.

use std::mem;
use std::net::IpAddr;

use tracing::{error, info, warn};

use super::control_plane::ControlPlane;
use super::shared::Shared;
use crate::clock;
use crate::config::{self, Presence};
use crate::netlink::Netlink;

/// The VIPs of a group that are to be on the machine, if `holds` says so of this node.
pub(super) fn of(group: &config::Group, holds: bool) -> impl Iterator<Item = IpAddr> {
    let is_here = group.presence == Presence::Always || holds;
    group.vips.iter().filter(move |_| is_here).map(|vip| vip.address)
}

/// Puts the VIPs on their dummy interface that are to be there now, and takes others off. `expected` =
/// because this node has taken or given up a group.
pub(super) async fn put_in_order(shared: &Shared, netlink: &Netlink, expected: bool) {
    let wanted = shared.with(|plane| Some((plane.dummy.clone()?, plane.vips_here()?)));
    let Some((dummy, vips)) = wanted else { return };
    match netlink.ensure_vips(&dummy, &vips).await {
        Ok(repair) if repair.is_empty() => {}
        Ok(repair) if expected => {
            info!("VIPs on {dummy}: {} added, {} removed", repair.added.len(), repair.removed.len());
        }
        Ok(repair) => warn!(
            "the VIPs on {dummy} were changed by something else and are as they should be again: {} put back, {} \
             removed{}",
            repair.added.len(),
            repair.removed.len(),
            if repair.created { ", the interface made anew" } else { "" }
        ),
        Err(error) => error!("the VIPs cannot be put on {dummy}: {error}"),
    }
}

impl ControlPlane {
    /// Whether the VIPs on the machine are to be looked at again; once.
    pub(super) const fn take_presence_changed(&mut self) -> bool {
        mem::replace(&mut self.presence_changed, false)
    }

    /// `None` once the interface that they are on is not to be there any more.
    fn vips_here(&self) -> Option<Vec<IpAddr>> {
        if self.is_withdrawn {
            return None;
        }
        let now = clock::now();
        let groups = self.groups.iter();
        Some(groups.flat_map(|group| of(&group.settings, self.words.holds(group.slot, now))).collect())
    }
}
