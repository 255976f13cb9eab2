//! A lab with a daemon and a service on every node: what the demo breaks, and what cluster tests start from.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Output, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    lab::{Daemon, DaemonOptions, Lab, VIP},
    responder::Responder,
    wait,
};

/// Nodes 1 to n of a [`Lab`], each with an echo service behind the VIP, and with a daemon once that is started.
/// Dropping it removes everything.
#[derive(Debug)]
pub struct Cluster {
    /// Of each node.
    options: BTreeMap<u8, DaemonOptions>,
    // In this order: the daemons and services end before their namespaces do.
    daemons: BTreeMap<u8, Daemon>,
    _responders: Vec<Responder>,
    lab: Lab,
}

/// What `status --json` says, as far as tests of a whole cluster look at it.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the documented ones")]
pub struct Status {
    pub node: String,
    pub id: u16,
    pub xdp: String,
    pub epoch: u64,
    pub insecure: bool,
    pub groups: Vec<Group>,
    pub members: Vec<Member>,
    pub counters: BTreeMap<String, u64>,
    pub pair: Option<Pair>,
    #[serde(default)]
    pub tees: Vec<Tee>,
}

/// What is teed, in a [`Status`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the documented ones")]
pub struct Tee {
    pub group: String,
    pub port: u16,
    pub fault: Option<String>,
    pub standbys: Vec<String>,
    pub copied: u64,
    pub failed: u64,
    pub admitted: u64,
}

/// Pair mode in a [`Status`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the documented ones")]
pub struct Pair {
    pub gateway: String,
    pub alone: bool,
    pub answers: Option<bool>,
}

/// One group of a [`Status`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the documented ones")]
pub struct Group {
    pub name: String,
    pub state: String,
    pub holder: Option<String>,
    pub ballot: String,
    pub priority: u8,
    pub transitions: u64,
}

/// One member of a [`Status`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the documented ones")]
pub struct Member {
    pub id: u16,
    pub address: String,
    pub status: String,
    pub voter: bool,
}

impl Status {
    /// Whether this node is master of any group.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group.state == "master")
    }

    /// The ids of the voters, in order.
    pub fn voters(&self) -> Vec<u16> {
        let mut voters: Vec<u16> =
            self.members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        voters.sort_unstable();
        voters
    }

    fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.status == "alive").count()
    }
}

impl Cluster {
    /// Starts `nodes` nodes with the same options, except that their first configuration expects all of them. Does
    /// not wait for a holder: see [`Cluster::wait_whole`].
    pub fn start(nodes: u8, options: &DaemonOptions) -> Result<Self> {
        Self::start_each(nodes, |_| DaemonOptions { expect: nodes, ..options.clone() })
    }

    /// Starts `nodes` nodes, each with options of its own.
    pub fn start_each(nodes: u8, options_of: impl Fn(u8) -> DaemonOptions) -> Result<Self> {
        let mut cluster = Self::prepare(nodes, options_of)?;
        for node in 1..=nodes {
            cluster.restart(node)?;
        }
        Ok(cluster)
    }

    /// Makes `nodes` nodes and starts no daemon yet: [`Cluster::restart`] does.
    pub fn prepare(nodes: u8, options_of: impl Fn(u8) -> DaemonOptions) -> Result<Self> {
        let options = (1..=nodes).map(|node| (node, options_of(node))).collect();
        let lab = Lab::new(nodes)?;
        let responders = lab.nodes().map(|node| Responder::start(&lab, node, VIP)).collect::<Result<_>>()?;
        Ok(Self { options, daemons: BTreeMap::new(), _responders: responders, lab })
    }

    /// The wires.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The daemon of node `node`; an error if none was started there.
    pub fn daemon(&mut self, node: u8) -> Result<&mut Daemon> {
        self.daemons.get_mut(&node).with_context(|| format!("no daemon on node {node}"))
    }

    /// What the daemon of node `node` will be started with next.
    pub fn options(&mut self, node: u8) -> Result<&mut DaemonOptions> {
        self.options.get_mut(&node).with_context(|| format!("no node {node}"))
    }

    /// Starts the daemon of node `node`, for the first time or again; kills the old one if it still runs.
    pub fn restart(&mut self, node: u8) -> Result<()> {
        if let Some(mut old) = self.daemons.remove(&node)
            && old.is_running()?
        {
            old.kill()?;
        }
        let options = self.options.get(&node).with_context(|| format!("no node {node}"))?;
        self.daemons.insert(node, self.lab.start(node, options)?);
        Ok(())
    }

    /// Writes the configuration of node `node` anew, from its options; its daemon is not told.
    pub fn write_config(&self, node: u8) -> Result<()> {
        let options = self.options.get(&node).with_context(|| format!("no node {node}"))?;
        self.lab.write_config(node, options).map(drop)
    }

    /// What node `node` says now.
    pub fn status(&self, node: u8) -> Result<Status> {
        serde_json::from_value(self.started(node)?.status()?).context("status --json")
    }

    /// Runs `vip-user <arguments>` for node `node`, a command that waits for its outcome.
    pub fn order(&self, node: u8, arguments: &[&str]) -> Result<Output> {
        self.started(node)?.order(arguments)
    }

    /// As [`Cluster::order`], by another program file than the daemon's own.
    pub fn order_by(&self, binary: &Path, node: u8, arguments: &[&str]) -> Result<Output> {
        self.started(node)?.order_by(binary, arguments)
    }

    fn started(&self, node: u8) -> Result<&Daemon> {
        self.daemons.get(&node).with_context(|| format!("no daemon on node {node}"))
    }

    /// Waits until the status of node `node` is as `wanted` says; gives that status. An error has all logs' ends.
    pub fn wait_status(
        &self,
        node: u8,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let look = || {
            let status = self.status(node)?;
            if wanted(&status) { Ok(Some(status)) } else { bail!("{status:?}") }
        };
        let what = format!("node {node}: {what}");
        wait::until_calmly(&what, timeout, look).with_context(|| self.log_tails())
    }

    /// Waits until all nodes that were started see each other alive and agree on who holds the VIP; gives the holder.
    ///
    /// An error has the last lines of all logs.
    pub fn wait_whole(&self, timeout: Duration) -> Result<u8> {
        let nodes: Vec<u8> = self.daemons.keys().copied().collect();
        self.wait_whole_among(&nodes, timeout)
    }

    /// As [`Cluster::wait_whole`], for these nodes alone, and nobody else alive.
    pub fn wait_whole_among(&self, nodes: &[u8], timeout: Duration) -> Result<u8> {
        let what = format!("the nodes {nodes:?} to be alive and to agree on a holder");
        wait::until_calmly(&what, timeout, || {
            let statuses: Vec<Status> = nodes.iter().map(|node| self.status(*node)).collect::<Result<_>>()?;
            holder_if_agreed(&statuses).map(Some)
        })
        .with_context(|| self.log_tails())
    }

    /// The last lines of all daemons' logs, for the message of a failure.
    pub fn log_tails(&self) -> String {
        self.daemons.values().fold(String::new(), |mut text, daemon| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", daemon.log_tail());
            text
        })
    }
}

/// The one holder that all statuses name, if every one of them counts all nodes as alive.
fn holder_if_agreed(statuses: &[Status]) -> Result<u8> {
    let mut masters = statuses.iter().filter(|status| status.is_master());
    let (Some(master), None) = (masters.next(), masters.next()) else {
        bail!("not one master: {statuses:?}")
    };
    for status in statuses {
        let alive = status.alive();
        ensure!(alive == statuses.len(), "{} sees {alive} alive: {status:?}", status.node);
        // A router of VRRP knows another one by its address.
        let address = status.members.iter().find(|member| member.id == master.id).map(|it| &it.address);
        let is_masters = |holder: &String| *holder == master.node || Some(holder) == address;
        let agrees = status.groups.iter().all(|group| group.holder.as_ref().is_some_and(is_masters));
        ensure!(agrees, "{} does not see {} as the holder: {status:?}", status.node, master.node);
        let waits = |group: &Group| group.state == "backup" || group.state == "witness";
        let settled = status.id == master.id || status.groups.iter().all(waits);
        ensure!(settled, "{} is not a backup: {status:?}", status.node);
    }
    Ok(u8::try_from(master.id)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Node `id` of three, as the holder `holder` and `alive` living members make it look.
    fn status(id: u8, holder: u8, alive: usize) -> Status {
        let state = if id == holder { "master" } else { "backup" };
        let members =
            vec![json!({"id": id, "address": "10.77.0.1", "status": "alive", "voter": true}); alive];
        let group = json!({
            "name": "web", "state": state, "holder": format!("lb{holder}"), "ballot": "1.1", "priority": 100,
            "transitions": 1
        });
        let status = json!({
            "node": format!("lb{id}"), "id": id, "xdp": "native", "epoch": 1, "insecure": false,
            "groups": [group], "members": members, "counters": {}
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_cluster_is_whole_when_all_are_alive_and_name_one_holder() {
        assert_eq!(holder_if_agreed(&[status(1, 2, 3), status(2, 2, 3), status(3, 2, 3)]).unwrap(), 2);
        let cases = [
            [status(1, 2, 3), status(2, 2, 3), status(3, 3, 3)],
            [status(1, 2, 3), status(2, 2, 2), status(3, 2, 3)],
            [status(1, 4, 3), status(2, 4, 3), status(3, 4, 3)],
        ];
        for statuses in cases {
            assert!(holder_if_agreed(&statuses).is_err(), "{statuses:?}");
        }
    }
}
