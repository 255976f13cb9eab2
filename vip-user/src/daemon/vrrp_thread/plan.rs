//! What the thread is told of one virtual router.

use std::net::IpAddr;

use vip_common::vrrp::Family;

use crate::config::VirtualRouter;
use crate::vrrp::Settings;

/// A virtual router, as it is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::daemon) struct Plan {
    /// Of its group.
    pub(in crate::daemon) slot: u32,
    /// Of its group.
    pub(in crate::daemon) name: String,
    /// The index of the interface that it is on.
    pub(in crate::daemon) interface: u32,
    /// As configured.
    pub(in crate::daemon) router: VirtualRouter,
    /// All of one family; at least one.
    pub(in crate::daemon) addresses: Vec<IpAddr>,
    /// What the adverts that go to all come from.
    pub(in crate::daemon) mac: [u8; 6],
    /// What this node does for it.
    pub(in crate::daemon) part: Part,
}

/// What a node does for a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::daemon) enum Part {
    /// It listens, and knows who is active.
    Listens {
        /// Of this node in the group.
        priority: u8,
    },
    /// It is told of it, and takes no part: it cannot, or must not, serve now.
    Rests,
    /// It is a router of it.
    Runs(Settings),
}

impl Plan {
    /// Of the addresses.
    pub(in crate::daemon) fn family(&self) -> Family {
        match self.addresses.first() {
            Some(IpAddr::V6(_)) => Family::V6,
            Some(IpAddr::V4(_)) | None => Family::V4,
        }
    }
}
