//! What runs on the nodes: the software that keeps the VIP alive, a front end on each of them, and servers behind.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use vip_tests::{
    fronts::{Backend, Front, PORT, Software},
    lab::{Lab, VIP},
};

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
    _fronts: Vec<Front>,
    _backend: Backend,
    pub(super) system: Box<dyn System>,
}

impl Site {
    /// Starts everything, and waits until a node serves.
    pub(super) fn start(kind: Kind, front: FrontEnd, daemon: &Path) -> Result<Self> {
        let system = kind.start(daemon, &[VIP])?;
        let lab = system.lab();
        let backend = Backend::start(lab)?;
        let start = |node| Front::start(lab, node, front.software(), VIP);
        let fronts = lab.nodes().map(start).collect::<Result<_>>()?;
        system.wait_whole(FORMATION)?;
        Ok(Self { _fronts: fronts, _backend: backend, system })
    }

    pub(super) fn lab(&self) -> &Lab {
        self.system.lab()
    }
}
