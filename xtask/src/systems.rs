//! What keeps a VIP alive in a lab: this project's daemon and its peers, each behind the same few calls, so
//! that trials and benches need not know which of them they break.

mod keepalived;
pub(crate) mod ours;
mod pair;
mod ucarp;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use vip_tests::lab::{DaemonOptions, Lab, VIP};

use self::{
    keepalived::{Keepalived, Settings},
    ours::Ours,
    pair::{Pair, Peer},
    ucarp::Ucarp,
};
use crate::trial::Fault;

/// Nodes of a cluster of ours: fewer cannot do without one.
const NODES: u8 = 3;
/// One VIP more, that a [`Fault::Reload`] brings.
const MORE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);
/// As keepalived's instances are set: nobody preempts.
const VRRP: &str =
    "protocol = \"vrrp\"\nvrid = 77\nadvert_interval = \"10ms\"\nvirtual_mac = false\npreempt = false\n";
/// How long a peer may take to end after a SIGTERM, and a daemon of ours.
const EXIT: Duration = Duration::from_secs(60);
/// A daemon that is killed again sooner is not started at once, by ours as by keepalived's parent process.
const STEADY: Duration = Duration::from_secs(1);

/// A lab with software on its nodes that moves the VIP, and an echo service behind it. Dropping it removes
/// everything.
pub(crate) trait System {
    /// The wires.
    fn lab(&self) -> &Lab;

    /// Waits until every node takes part and one serves; gives that one.
    fn wait_whole(&self, timeout: Duration) -> Result<u8>;

    /// Lets node `victim`, which serves, fail; does not wait for what becomes of it.
    fn inflict(&mut self, fault: Fault, victim: u8) -> Result<()>;

    /// Puts node `victim` right again; does not wait until it takes part.
    fn repair(&mut self, fault: Fault, victim: u8) -> Result<()>;

    /// The holder is broken at some moment of a span so long, whatever its heartbeats do.
    fn phases(&self) -> Duration;

    /// How often a node has become the one that serves, by the logs.
    fn promotions(&mut self) -> Result<usize>;

    /// The last lines of all daemons' logs, for the message of a failure.
    fn log_tails(&self) -> String;
}

/// The systems that the benches compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// vip-user, renewal every 1 ms, lease 4 ms
    OursFast,
    /// vip-user at its defaults: renewal every 10 ms, lease 50 ms
    Ours,
    /// vip-user speaking VRRPv3 in place of holding leases, adverts every 10 ms
    OursVrrp,
    /// keepalived, VRRPv3, adverts every 10 ms
    Keepalived,
    /// The same, its backup tracking the master by BFD, 1 ms × 3
    KeepalivedBfd,
    /// keepalived at its defaults: adverts every second
    KeepalivedDefaults,
    /// ucarp, as fast as it goes: `-b 0 -k 1`, adverts every 4 ms
    Ucarp,
    /// ucarp at its defaults: adverts every second
    UcarpDefaults,
}

impl Kind {
    /// As tables and plots name it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::OursFast => "vip-user 1 ms / 4 ms",
            Self::Ours => "vip-user 10 ms / 50 ms",
            Self::OursVrrp => "vip-user, VRRP 10 ms",
            Self::Keepalived => "keepalived 10 ms",
            Self::KeepalivedBfd => "keepalived 10 ms, BFD 1 ms × 3",
            Self::KeepalivedDefaults => "keepalived, defaults",
            Self::Ucarp => "ucarp 4 ms",
            Self::UcarpDefaults => "ucarp, defaults",
        }
    }

    /// Whether it looks for adverts once a second only, so that a trial takes several.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::KeepalivedDefaults | Self::UcarpDefaults | Self::Ucarp)
    }

    /// Whether it is this project's.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::OursFast | Self::Ours | Self::OursVrrp)
    }

    /// Whether this can happen to it: only a lease is handed over, and ucarp is a single process.
    pub(crate) fn knows(self, fault: Fault) -> bool {
        match fault {
            Fault::Handover => matches!(self, Self::OursFast | Self::Ours),
            Fault::Sigkill | Fault::Reload => !matches!(self, Self::Ucarp | Self::UcarpDefaults),
            _ => true,
        }
    }

    /// Starts it for these VIPs; `daemon` is the program of ours. Does not wait until it serves.
    pub(crate) fn start(self, daemon: &Path, vips: &[Ipv4Addr]) -> Result<Box<dyn System>> {
        Self::start_software(self.software(vips, None), daemon)
    }

    /// As [`Kind::start`], on nodes that are fit to serve only while this URL answers with 200.
    pub(crate) fn start_checked(
        self,
        daemon: &Path,
        vips: &[Ipv4Addr],
        health: &'static str,
    ) -> Result<Box<dyn System>> {
        Self::start_software(self.software(vips, Some(health)), daemon)
    }

    fn start_software(software: Software, daemon: &Path) -> Result<Box<dyn System>> {
        Ok(match software {
            Software::Ours(options) => {
                Box::new(Ours::start(NODES, &DaemonOptions { binary: Some(daemon.to_owned()), ..*options })?)
            }
            Software::Peer(peer) => Box::new(Pair::start(peer)?),
        })
    }

    /// All that is set, for the record.
    pub(crate) fn settings(self) -> String {
        match self.software(&[VIP], None) {
            Software::Ours(options) => {
                let DaemonOptions { interval, lease, .. } = *options;
                format!("{NODES} nodes, --supervise, interval {interval:?}, lease {lease:?}")
            }
            Software::Peer(peer) => peer.settings(),
        }
    }

    /// As its program says.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Self::OursFast | Self::Ours | Self::OursVrrp => {
                Ok(format!("vip-user {}", env!("CARGO_PKG_VERSION")))
            }
            Self::Keepalived | Self::KeepalivedBfd | Self::KeepalivedDefaults => keepalived::version(),
            Self::Ucarp | Self::UcarpDefaults => ucarp::version(),
        }
    }

    fn software(self, vips: &[Ipv4Addr], health: Option<&'static str>) -> Software {
        let ours = |options: DaemonOptions| {
            let vips = vips.iter().map(|vip| format!("{vip}/32")).collect();
            let more_of_group = options.more_of_group.clone() + &health.map(health_check).unwrap_or_default();
            Software::Ours(Box::new(DaemonOptions { vips, more_of_group, ..options }))
        };
        let keepalived =
            |settings| Software::Peer(Box::new(Keepalived { vips: vips.to_vec(), settings, health }));
        let ucarp = |as_fast_as_it_goes| Software::Peer(Box::new(Ucarp { as_fast_as_it_goes }));
        match self {
            Self::OursFast => ours(DaemonOptions {
                interval: Duration::from_millis(1),
                lease: Duration::from_millis(4),
                ..DaemonOptions::default()
            }),
            Self::Ours => ours(DaemonOptions::default()),
            Self::OursVrrp => {
                ours(DaemonOptions { more_of_group: VRRP.to_owned(), ..DaemonOptions::default() })
            }
            Self::Keepalived => keepalived(Settings::Best),
            Self::KeepalivedBfd => keepalived(Settings::BestWithBfd),
            Self::KeepalivedDefaults => keepalived(Settings::Defaults),
            Self::Ucarp => ucarp(true),
            Self::UcarpDefaults => ucarp(false),
        }
    }
}

/// As in docs/HAPROXY.md.
fn health_check(url: &str) -> String {
    format!(
        r#"
[[check]]
name = "front"
type = "http"
url = "{url}"
interval = "50ms"
timeout = "500ms"
fall = 2
"#
    )
}

/// What runs on the nodes.
enum Software {
    Ours(Box<DaemonOptions>),
    Peer(Box<dyn Peer>),
}
