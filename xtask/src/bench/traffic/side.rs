//! Who has the VIP, and what is attached to the interface it is reached by.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use vip_tests::{
    lab::{Daemon, DaemonOptions, Lab, VIP},
    net::{command_in, ip, run},
    wait,
};

/// The node of the lab.
pub(super) const NODE: u8 = 1;
/// How long a daemon may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is compared. On all but the first, the ends of the cable offload the same: see [`Side::set_offloads`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    /// No program, and a veth as the kernel makes it: TCP passes in pieces of up to 64 KiB, as over no cable.
    PlainVeth,
    /// No program.
    NoProgram,
    /// A program that passes everything: what native XDP itself takes on a veth.
    EmptyProgram,
    /// The daemon with its program, which holds the VIP.
    Daemon,
}

/// A side that is set up.
pub(super) enum Service {
    /// The VIP is an address of the interface, as other software has it.
    ByHand {
        _program: Option<OwnedFd>,
    },
    Daemon(Daemon),
}

impl Side {
    pub(super) const ALL: [Self; 4] = [Self::PlainVeth, Self::NoProgram, Self::EmptyProgram, Self::Daemon];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PlainVeth => "no program, plain veth",
            Self::NoProgram => "no program",
            Self::EmptyProgram => "empty program",
            Self::Daemon => "vip-user",
        }
    }

    /// Whether the node's interface is polled for its frames: with GRO, and with a native program.
    pub(super) fn has_napi(self) -> bool {
        self != Self::PlainVeth
    }

    /// Has the node serve the VIP.
    pub(super) fn set_up(self, lab: &Lab, options: &DaemonOptions) -> Result<Service> {
        self.set_offloads(lab)?;
        if self == Self::Daemon {
            return Ok(Service::Daemon(start_daemon(lab, options)?));
        }
        change_address(lab, "add")?;
        let program = (self == Self::EmptyProgram).then(|| lab.occupy_xdp(NODE)).transpose()?;
        Ok(Service::ByHand { _program: program })
    }

    /// A native program on the node's end of a veth has the kernel merge what comes in there (GRO), and keeps its other end
    /// from sending segments that are not cut yet (TSO). A client that cuts them itself, and GRO without a program, make the
    /// same of the other sides.
    fn set_offloads(self, lab: &Lab) -> Result<()> {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let plain = !self.has_napi();
        let mut client = command_in(&lab.client_netns(), "ethtool")?;
        run(client.args(["-K", "eth0", "tx", on(plain), "tso", on(plain)]))?;
        run(lab.command(NODE, "ethtool")?.args(["-K", "eth0", "gro", on(!plain)]))
    }
}

impl Service {
    /// Leaves the node without the VIP.
    pub(super) fn end(self, lab: &Lab) -> Result<()> {
        match self {
            Self::ByHand { .. } => change_address(lab, "delete"),
            Self::Daemon(mut daemon) => {
                let status = daemon.terminate()?;
                ensure!(status.success(), "the daemon ended with {status}");
                Ok(())
            }
        }
    }
}

fn change_address(lab: &Lab, change: &str) -> Result<()> {
    ip(&lab.node_netns(NODE), &["address", change, &format!("{VIP}/32"), "dev", "eth0"])
}

/// Waits until it is master, by native XDP.
fn start_daemon(lab: &Lab, options: &DaemonOptions) -> Result<Daemon> {
    let daemon = lab.start(NODE, options)?;
    let look = || {
        let status = daemon.status()?;
        if status["groups"][0]["state"] != "master" {
            bail!("{status}");
        }
        Ok(Some(status))
    };
    let status = wait::until_calmly("the daemon to serve", PATIENCE, look);
    let status = status.with_context(|| daemon.log_tail())?;
    ensure!(status["xdp"] == "native", "XDP is {} and not native", status["xdp"]);
    Ok(daemon)
}
