//! Type `interface`: whether an interface is on and has a carrier. The kernel tells of changes, so that none waits for its turn.

use std::fmt;
use std::future::pending;

use crate::netlink::{Change, Changes, Netlink};

pub(in crate::health) struct InterfaceWatch {
    name: String,
    netlink: Netlink,
    changes: Changes,
}

impl InterfaceWatch {
    pub(super) fn new(name: String) -> Result<Self, String> {
        let (netlink, changes) = Netlink::open().map_err(|error| error.to_string())?;
        Ok(Self { name, netlink, changes })
    }

    pub(super) async fn look(&mut self) -> Result<(), String> {
        let name = &self.name;
        match self.netlink.link_state(name).await {
            Ok(Some((true, true))) => Ok(()),
            Ok(Some((true, false))) => Err(format!("{name} has no carrier")),
            Ok(Some((false, _))) => Err(format!("{name} is switched off")),
            Ok(None) => Err(format!("there is no interface {name}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until the interface may have changed.
    pub(super) async fn changed(&mut self) {
        loop {
            match self.changes.next().await {
                Ok(Change::Link { name, .. }) if name == self.name => return,
                Ok(Change::Resync) => return,
                Ok(_) => {}
                // The regular runs go on.
                Err(_) => pending().await,
            }
        }
    }
}

impl fmt::Debug for InterfaceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceWatch").field("name", &self.name).finish_non_exhaustive()
    }
}
