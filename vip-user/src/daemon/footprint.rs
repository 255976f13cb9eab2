//! What the daemon puts on the machine, and how it takes it off again.

use std::fs::File;

use nix::fcntl::Flock;
use tracing::{info, warn};

use crate::dataplane::{Fence, FenceLost, Pins};
use crate::ipv6::SolicitedNodes;
use crate::netlink::{Interface, Netlink, NetlinkError};
use crate::sysctl::ArpSysctls;
use crate::userplane::record::Record;

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
    /// Its membership in the groups in which neighbours ask for IPv6 VIPs.
    pub(super) solicited: Option<SolicitedNodes>,
    /// The virtual MAC addresses that it takes in.
    pub(super) mac_filter: Option<MacFilter>,
    /// Its sysctls.
    pub(super) sysctls: Option<ArpSysctls>,
}

/// What an interface takes in beside what is for its own MAC address. It outlives the daemon, as its lease may.
#[derive(Debug)]
pub(super) struct MacFilter {
    pub(super) netlink: Netlink,
    pub(super) iface: String,
    pub(super) index: u32,
    pub(super) macs: Vec<[u8; 6]>,
}

impl MacFilter {
    /// Has the interface take them in.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) async fn open(&self) -> Result<(), NetlinkError> {
        for mac in &self.macs {
            self.netlink.take_in(&self.iface, self.index, *mac).await?;
        }
        Ok(())
    }

    /// Has it take them in no more.
    pub(super) async fn close(self) {
        for mac in &self.macs {
            if let Err(error) = self.netlink.take_in_no_more(&self.iface, self.index, *mac).await {
                warn!("{error}");
            }
        }
    }
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
        for Served { fence, mac_filter, sysctls: tightened, .. } in self.served {
            drop(fence);
            if let Some(filter) = mac_filter {
                filter.close().await;
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
