//! Two nodes of a peer, the way it is run everywhere: one has the VIP on its interface, the other one waits.
//!
//! Here: its processes, and when it is whole. What is special to one of the peers stands in its own file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vip_tests::{
    interrupt,
    lab::{Lab, VIP},
    responder::Responder,
    wait,
};

use super::{EXIT, MORE, STEADY, System};
use crate::trial::Fault;

const NODES: u8 = 2;
const MASTER: &str = "MASTER";
/// How much of a log goes into an error.
const LOG_TAIL_LINES: usize = 15;

/// What tells one peer from another.
pub(super) trait Peer {
    /// Writes what the program reads on that node, and gives the command that starts it there.
    fn command(&self, lab: &Lab, node: u8) -> Result<Command>;

    /// All that is set, for the record.
    fn settings(&self) -> String;

    /// Writes configurations for other VIPs, which both nodes read at a SIGHUP.
    fn set_vips(&mut self, lab: &Lab, vips: Vec<Ipv4Addr>) -> Result<()>;

    /// What the log has before the name of a state that a node enters: MASTER, and others.
    fn state_marker(&self) -> &'static str;

    /// The state of the node that waits.
    fn standby(&self) -> &'static str;

    /// How long after its last event, which is in the log, a failure is noticed as fast as it ever is.
    fn settling(&self) -> Duration;

    /// The time between two adverts.
    fn interval(&self) -> Duration;

    /// The process that sends the adverts, of all those that node `node` has.
    fn advertiser(&self, lab: &Lab, node: u8, parent: Pid) -> Result<Pid>;
}

/// Two nodes with a peer's daemon.
pub(super) struct Pair {
    peer: Box<dyn Peer>,
    // In this order: the daemons and services end before their namespaces do.
    daemons: BTreeMap<u8, Process>,
    _responders: Vec<Responder>,
    lab: Lab,
}

impl Pair {
    /// Starts both; does not wait until one serves.
    pub(super) fn start(peer: Box<dyn Peer>) -> Result<Self> {
        let lab = Lab::new(NODES)?;
        let responders = lab.nodes().map(|node| Responder::start(&lab, node, VIP)).collect::<Result<_>>()?;
        let mut pair = Self { peer, daemons: BTreeMap::new(), _responders: responders, lab };
        for node in 1..=NODES {
            pair.restart(node)?;
        }
        Ok(pair)
    }

    fn restart(&mut self, node: u8) -> Result<()> {
        self.daemons.remove(&node);
        let log = File::options().create(true).append(true).open(self.log_path(node))?;
        let mut command = self.peer.command(&self.lab, node)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        self.daemons.insert(node, Process(child));
        Ok(())
    }

    fn daemon(&mut self, node: u8) -> Result<&mut Process> {
        self.daemons.get_mut(&node).with_context(|| format!("no daemon on node {node}"))
    }

    fn reload(&mut self, vips: Vec<Ipv4Addr>) -> Result<()> {
        self.peer.set_vips(&self.lab, vips)?;
        self.daemons.values().try_for_each(|daemon| daemon.signal(Signal::SIGHUP))
    }

    fn log_path(&self, node: u8) -> PathBuf {
        self.lab.home(node).join("peer.log")
    }

    fn log(&self, node: u8) -> String {
        // keepalived may write anything.
        fs::read(self.log_path(node))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into())
    }

    /// The one node that serves, if its log says so, the other one's that it waits, and the interfaces that
    /// they are right.
    fn holder_if_whole(&self) -> Result<u8> {
        let states = [1, 2].map(|node| last_state(&self.log(node), self.peer.state_marker()));
        let holder = match states.each_ref().map(Option::as_deref) {
            [Some(MASTER), Some(other)] if other == self.peer.standby() => 1,
            [Some(other), Some(MASTER)] if other == self.peer.standby() => 2,
            _ => bail!("the nodes' states are {states:?}"),
        };
        for node in self.lab.nodes() {
            let has_vip = has_vip(&self.lab, node)?;
            let calm = fs::metadata(self.log_path(node))?.modified()?.elapsed().unwrap_or_default();
            ensure!(calm >= self.peer.settling(), "node {node} has logged something {calm:?} ago");
            ensure!(has_vip == (node == holder), "node {holder} is master; {VIP} on node {node}: {has_vip}");
        }
        Ok(holder)
    }
}

impl System for Pair {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn wait_whole(&self, timeout: Duration) -> Result<u8> {
        let what = "one node to serve, and the other one to wait";
        wait::until_calmly(what, timeout, || self.holder_if_whole().map(Some))
            .with_context(|| self.log_tails())
    }

    fn inflict(&mut self, fault: Fault, victim: u8) -> Result<()> {
        match fault {
            Fault::Sigterm => self.daemon(victim)?.signal(Signal::SIGTERM),
            Fault::Sigkill => {
                let parent = self.daemon(victim)?.pid();
                Ok(kill(self.peer.advertiser(&self.lab, victim, parent)?, Signal::SIGKILL)?)
            }
            Fault::SigkillBoth => self.daemon(victim)?.signal_all(Signal::SIGKILL),
            Fault::Sigstop => self.daemon(victim)?.signal_all(Signal::SIGSTOP),
            Fault::Cable => self.lab.cable(victim).pull(),
            Fault::Handover => bail!("a peer of ours hands nothing over"),
            Fault::Reload => self.reload(vec![VIP, MORE]),
        }
    }

    fn repair(&mut self, fault: Fault, victim: u8) -> Result<()> {
        match fault {
            Fault::Sigkill => interrupt::pause(STEADY),
            Fault::Sigterm | Fault::SigkillBoth => {
                self.daemon(victim)?.wait_exit()?;
                self.restart(victim)
            }
            Fault::Sigstop => self.daemon(victim)?.signal_all(Signal::SIGCONT),
            Fault::Cable => self.lab.cable(victim).plug(),
            Fault::Handover => Ok(()),
            Fault::Reload => self.reload(vec![VIP]),
        }
    }

    fn phases(&self) -> Duration {
        self.peer.interval().max(Duration::from_millis(50))
    }

    fn promotions(&mut self) -> Result<usize> {
        let promotion = format!("{}{MASTER}", self.peer.state_marker());
        Ok(self.lab.nodes().map(|node| self.log(node).matches(&promotion).count()).sum())
    }

    fn log_tails(&self) -> String {
        let tail = |node| {
            let log = self.log(node);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
            format!("\n--- log of node {node}, last lines ---\n{tail}\n---")
        };
        self.lab.nodes().map(tail).collect()
    }
}

/// A daemon with its children; dropping it kills them all.
struct Process(Child);

impl Process {
    fn pid(&self) -> Pid {
        // The kernel's pid_max is far below i32::MAX.
        Pid::from_raw(self.0.id().cast_signed())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.pid()))
    }

    /// The children first: they would be told of their parent's end.
    fn signal_all(&self, signal: Signal) -> Result<()> {
        for child in self.children()? {
            kill(child, signal).with_context(|| format!("cannot send {signal} to {child}"))?;
        }
        self.signal(signal)
    }

    fn children(&self) -> Result<Vec<Pid>> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        children.split_whitespace().map(|pid| Ok(Pid::from_raw(pid.parse()?))).collect()
    }

    fn wait_exit(&mut self) -> Result<()> {
        wait::until("the end of a peer", EXIT, || Ok(self.0.try_wait()?)).map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.signal_all(Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn has_vip(lab: &Lab, node: u8) -> Result<bool> {
    let output = lab.command(node, "ip")?.args(["-oneline", "address", "show", "dev", "eth0"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).contains(&format!(" {VIP}/")))
}

/// The word after the last marker in a log.
fn last_state(log: &str, marker: &str) -> Option<String> {
    let (_, rest) = log.rsplit_once(marker)?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_in_a_log_counts() {
        let log = "(web) Entering BACKUP STATE (init)\n(web) Entering MASTER STATE\nStopping\n";
        assert_eq!(last_state(log, "Entering ").as_deref(), Some(MASTER));
        assert_eq!(last_state("nothing yet", "Entering "), None);
    }
}
