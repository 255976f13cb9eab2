//! This project's daemon, with its supervisor, as the service unit starts it.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use vip_tests::{
    cluster::Cluster,
    interrupt,
    lab::{DaemonOptions, Lab},
};

use super::{EXIT, MORE, STEADY, System};
use crate::trial::Fault;

/// A cluster of supervised daemons.
#[derive(Debug)]
pub(crate) struct Ours(Cluster);

impl Ours {
    /// Starts so many nodes; does not wait for a holder.
    pub(crate) fn start(nodes: u8, options: &DaemonOptions) -> Result<Self> {
        let args = [&options.args[..], &["--supervise".to_owned()]].concat();
        Ok(Self(Cluster::start(nodes, &DaemonOptions { args, ..options.clone() })?))
    }

    /// Has one node after the other read a configuration with changed VIPs.
    fn reload(&mut self, change: impl Fn(&mut Vec<String>)) -> Result<()> {
        let nodes: Vec<u8> = self.lab().nodes().collect();
        for node in nodes {
            change(&mut self.0.options(node)?.vips);
            self.0.write_config(node)?;
            let output = self.0.order(node, &["reload"])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl System for Ours {
    fn lab(&self) -> &Lab {
        self.0.lab()
    }

    fn wait_whole(&self, timeout: Duration) -> Result<u8> {
        self.0.wait_whole(timeout)
    }

    fn inflict(&mut self, fault: Fault, victim: u8) -> Result<()> {
        match fault {
            Fault::Sigterm => self.0.daemon(victim)?.signal(Signal::SIGTERM),
            Fault::Sigkill => self.0.daemon(victim)?.signal_supervised(Signal::SIGKILL),
            Fault::SigkillBoth => self.0.daemon(victim)?.signal_all(Signal::SIGKILL),
            Fault::Sigstop => self.0.daemon(victim)?.signal_supervised(Signal::SIGSTOP),
            Fault::Cable => self.0.lab().cable(victim).pull(),
            Fault::Handover => {
                let output = self.0.order(victim, &["handover"])?;
                ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
                Ok(())
            }
            Fault::Reload => self.reload(|vips| vips.push(format!("{MORE}/32"))),
        }
    }

    fn repair(&mut self, fault: Fault, victim: u8) -> Result<()> {
        match fault {
            Fault::Sigkill => interrupt::pause(STEADY),
            Fault::Sigterm | Fault::SigkillBoth => {
                self.0.daemon(victim)?.wait_exit(EXIT)?;
                self.0.restart(victim)
            }
            Fault::Sigstop => self.0.daemon(victim)?.signal_supervised(Signal::SIGCONT),
            Fault::Cable => self.0.lab().cable(victim).plug(),
            Fault::Handover => Ok(()),
            Fault::Reload => self.reload(|vips| drop(vips.pop())),
        }
    }

    fn phases(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn promotions(&mut self) -> Result<usize> {
        let nodes: Vec<u8> = self.lab().nodes().collect();
        let of_node = |node| Ok(self.0.daemon(node)?.log().matches("this node is master now").count());
        nodes.into_iter().map(of_node).sum()
    }

    fn log_tails(&self) -> String {
        self.0.log_tails()
    }
}
