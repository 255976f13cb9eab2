//! What runs on the nodes: the software that keeps the VIP alive, a front end on each of them, and servers behind.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use vip_tests::{
    fronts::{Backend, Front, HEALTH, PORT, Software},
    lab::{Lab, VIP},
};

use super::event::Event;
use crate::systems::{Kind, System};

/// How long the nodes may take to find each other.
const FORMATION: Duration = Duration::from_secs(30);

/// What clients talk to.
pub(super) const TARGET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(VIP), PORT);

/// What takes the requests on the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FrontEnd {
    Haproxy,
    Nginx,
}

impl FrontEnd {
    pub(super) const ALL: [Self; 2] = [Self::Haproxy, Self::Nginx];

    pub(super) fn name(self) -> &'static str {
        self.software().program()
    }

    fn software(self) -> Software {
        match self {
            Self::Haproxy => Software::Haproxy,
            Self::Nginx => Software::Nginx,
        }
    }
}

/// A lab with all of it. Dropping it removes everything.
pub(super) struct Site {
    // In this order: what runs in the namespaces ends before they do.
    fronts: BTreeMap<u8, Front>,
    software: Software,
    _backend: Backend,
    pub(super) system: Box<dyn System>,
}

impl Site {
    /// Starts everything, and waits until a node serves.
    pub(super) fn start(kind: Kind, front: FrontEnd, daemon: &Path) -> Result<Self> {
        let system = kind.start_checked(daemon, &[VIP], HEALTH)?;
        let backend = Backend::start(system.lab())?;
        let mut site =
            Self { fronts: BTreeMap::new(), software: front.software(), _backend: backend, system };
        for node in site.lab().nodes() {
            site.start_front(node)?;
        }
        site.system.wait_whole(FORMATION)?;
        Ok(site)
    }

    pub(super) fn lab(&self) -> &Lab {
        self.system.lab()
    }

    /// Lets it happen to node `victim`, which serves; does not wait for what becomes of it.
    pub(super) fn inflict(&mut self, event: Event, victim: u8) -> Result<()> {
        match event.fault() {
            Some(fault) => self.system.inflict(fault, victim),
            None if event == Event::FrontKilled => {
                self.fronts.remove(&victim).context("it has no front end")?.kill()
            }
            None => Ok(()),
        }
    }

    /// Puts node `victim` right again; does not wait until it takes part.
    pub(super) fn repair(&mut self, event: Event, victim: u8) -> Result<()> {
        match event.fault() {
            Some(fault) => self.system.repair(fault, victim),
            None if event == Event::FrontKilled => self.start_front(victim),
            None => Ok(()),
        }
    }

    fn start_front(&mut self, node: u8) -> Result<()> {
        let front = Front::start(self.lab(), node, self.software, VIP)?;
        self.fronts.insert(node, front);
        Ok(())
    }
}
