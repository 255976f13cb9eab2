//! ucarp: its command line, and the scripts that it cannot do without.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use vip_tests::lab::{Lab, VIP};

use super::pair::Peer;

/// ucarp for the lab's VIP; it has no more than one.
pub(super) struct Ucarp {
    pub(super) as_fast_as_it_goes: bool,
}

impl Peer for Ucarp {
    fn command(&self, lab: &Lab, node: u8) -> Result<Command> {
        let mut command = lab.command(node, "ucarp")?;
        command.args(["--interface=eth0", "--vhid=77", "--pass=lab", "--shutdown"]).args(self.timing());
        command.arg(format!("--srcip={}", lab.address(node))).arg(format!("--addr={VIP}"));
        command.arg("--upscript").arg(script(lab, node, "add")?);
        command.arg("--downscript").arg(script(lab, node, "delete")?);
        Ok(command)
    }

    fn settings(&self) -> String {
        format!("--vhid=77 --pass=lab --shutdown {}", self.timing().join(" ")).trim_end().to_owned()
    }

    fn set_vips(&mut self, _lab: &Lab, _vips: Vec<Ipv4Addr>) -> Result<()> {
        bail!("ucarp has one VIP, by its command line")
    }

    fn state_marker(&self) -> &'static str {
        "Switching to state: "
    }

    fn standby(&self) -> &'static str {
        "BACKUP"
    }

    fn settling(&self) -> Duration {
        Duration::ZERO
    }

    fn interval(&self) -> Duration {
        if self.as_fast_as_it_goes { Duration::from_millis(4) } else { Duration::from_secs(1) }
    }

    fn advertiser(&self, _lab: &Lab, _node: u8, parent: Pid) -> Result<Pid> {
        Ok(parent)
    }
}

impl Ucarp {
    /// An advert each `advbase + advskew / 256` seconds.
    fn timing(&self) -> &'static [&'static str] {
        if self.as_fast_as_it_goes { &["--advbase=0", "--advskew=1"] } else { &[] }
    }
}

/// As its program says.
pub(super) fn version() -> Result<String> {
    let output = Command::new("ucarp").arg("--help").output().context("cannot run ucarp")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().find(|line| line.starts_with("ucarp")).unwrap_or_default().to_owned())
}

/// Adds or deletes the VIP.
fn script(lab: &Lab, node: u8, verb: &str) -> Result<PathBuf> {
    let path = lab.home(node).join(format!("ucarp-{verb}"));
    let write = || {
        fs::write(&path, format!("#!/bin/sh\nexec ip address {verb} {VIP}/24 dev eth0\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
