//! What the daemon puts on the machine, and how it takes it off again.

use std::fs::File;
use std::sync::Arc;

use nix::fcntl::Flock;
use tracing::{info, warn};

use crate::dataplane::{Fence, FenceLost, Pins};
use crate::netlink::{Interface, Netlink};
use crate::sysctl::ArpSysctls;
use crate::userplane::record::Record;

use super::ears::Ears;
use super::leftovers;

/// Filled in as a start goes on, so that a start that fails half-way is undone as a whole.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    /// Maps and link, the program's hold on the interface.
    pub(super) pins: Option<Pins>,
    /// Keeps other daemons away from them.
    pub(super) pins_lock: Option<Flock<File>>,
    /// A former run's pins were adopted, and this run has not started yet.
    pub(super) adopted: bool,
    /// The interface with the VIPs, and the connection to remove it by.
    pub(super) dummy: Option<(Netlink, String)>,
    /// What is on each interface that is served, the home one first.
    pub(super) served: Vec<Served>,
    /// What may be on the interface itself, for a daemon without XDP.
    pub(super) own_addresses: Option<(Record, Netlink, Interface)>,
}

/// What is on one interface.
#[derive(Debug, Default)]
pub(super) struct Served {
    iface: String,
    /// The program on it.
    pub(super) fence: Option<Fence>,
    /// What it takes in for the VIPs.
    pub(super) ears: Option<Arc<Ears>>,
    /// Its sysctls.
    pub(super) sysctls: Option<ArpSysctls>,
}

impl Served {
    /// Nothing yet.
    pub(super) fn on(iface: &str) -> Self {
        Self { iface: iface.to_owned(), ..Self::default() }
    }
}

impl Footprint {
    /// Looks whether the VIPs are fenced on every interface; the name of one where they are not, or would not be without
    /// this process, and why.
    pub(super) fn lost_fence(&self) -> Option<(&str, FenceLost)> {
        let lost = |served: &Served| served.fence.as_ref()?.check().err();
        self.served.iter().find_map(|served| Some((served.iface.as_str(), lost(served)?)))
    }

    /// What the interfaces take in for the VIPs.
    pub(super) fn ears(&self) -> Vec<Arc<Ears>> {
        self.served.iter().filter_map(|served| served.ears.clone()).collect()
    }

    /// Takes the VIPs off. The interface that they are on is made anew by the next start.
    pub(super) async fn remove_vips(&self) {
        if let Some((netlink, dummy)) = &self.dummy
            && let Err(error) = netlink.remove_dummy(dummy).await
        {
            warn!("{error}");
        }
    }

    /// The start is done: from now on, all that there is is this run's, and goes with it.
    pub(super) const fn started(&mut self) {
        self.adopted = false;
    }

    /// Takes everything off, VIPs first, the fence last. After a failed start, what a former run had left stays: its
    /// promises hold, and the fence with them, until a daemon starts.
    pub(super) async fn erase(self) {
        if self.adopted {
            info!("the data plane of the former run stays, as it was found");
            return;
        }
        self.remove_vips().await;
        let mut sysctls = Vec::new();
        if let Some((record, netlink, interface)) = &self.own_addresses
            && let Err(failure) = leftovers::take_off(record, netlink, interface).await
        {
            warn!("{failure}");
        }
        for Served { fence, ears, sysctls: tightened, .. } in self.served {
            drop(fence);
            if let Some(ears) = ears {
                ears.close().await;
            }
            sysctls.extend(tightened);
        }
        if let Some(Err(error)) = self.pins.map(|pins| pins.remove_all()) {
            warn!("{error}");
        }
        for tightened in sysctls {
            if let Err(error) = tightened.restore() {
                warn!("{error:#}");
            }
        }
    }
}
