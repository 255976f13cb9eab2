//! What an interface takes in for the VIPs beside what is for its own MAC address: the groups in which neighbours ask for those of
//! IPv6, and virtual MAC addresses. These outlive the daemon, as its lease may.

use std::collections::BTreeSet;
use std::mem;
use std::net::Ipv6Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::start::{netlink_failure, refused};
use crate::exit::Failure;
use crate::ipv6::SolicitedNodes;
use crate::netlink::Netlink;

/// See the module. A reload changes it while the daemon runs.
#[derive(Debug)]
pub(super) struct Ears {
    netlink: Netlink,
    iface: String,
    index: u32,
    open: Mutex<Open>,
}

/// What is taken in.
#[derive(Debug, Default)]
struct Open {
    macs: BTreeSet<[u8; 6]>,
    /// Left when this is dropped.
    _solicited: Option<SolicitedNodes>,
}

impl Ears {
    /// Those of an interface; they hear nothing yet.
    pub(super) fn of(netlink: &Netlink, iface: &str, index: u32) -> Self {
        Self { netlink: netlink.clone(), iface: iface.to_owned(), index, open: Mutex::default() }
    }

    /// The interface's index.
    pub(super) const fn index(&self) -> u32 {
        self.index
    }

    /// Takes in what is for these MAC addresses, and questions for these VIPs; and what was taken in before no more.
    ///
    /// # Errors
    /// The kernel refuses; then nothing is taken in less than before.
    pub(super) async fn open(
        &self,
        macs: BTreeSet<[u8; 6]>,
        vips6: impl IntoIterator<Item = Ipv6Addr>,
    ) -> Result<(), Failure> {
        for mac in &macs {
            self.netlink.take_in(&self.iface, self.index, *mac).await.map_err(netlink_failure)?;
        }
        let solicited = SolicitedNodes::join(self.index, vips6).map_err(refused)?;
        let next = Open { macs: macs.clone(), _solicited: Some(solicited) };
        let former = mem::replace(&mut *self.opened(), next);
        self.close_for(former.macs.difference(&macs)).await;
        Ok(())
    }

    /// Takes in nothing more.
    pub(super) async fn close(&self) {
        let former = mem::take(&mut *self.opened());
        self.close_for(&former.macs).await;
    }

    /// Takes in what is for these MAC addresses no more, whoever has wished it.
    pub(super) async fn close_for<'a>(&self, macs: impl IntoIterator<Item = &'a [u8; 6]>) {
        for mac in macs {
            if let Err(error) = self.netlink.take_in_no_more(&self.iface, self.index, *mac).await {
                warn!("{error}");
            }
        }
    }

    fn opened(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
