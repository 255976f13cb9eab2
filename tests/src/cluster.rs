//! A lab with a daemon and a service on every node: what the demo breaks, and what cluster tests start from.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    lab::{Daemon, DaemonOptions, Lab, VIP},
    responder::Responder,
    wait,
};

/// Nodes 1 to n of a [`Lab`], each with a daemon and an echo service behind the VIP. Dropping it removes everything.
#[derive(Debug)]
pub struct Cluster {
    options: DaemonOptions,
    // In this order: the daemons and services end before their namespaces do.
    daemons: Vec<Daemon>,
    _responders: Vec<Responder>,
    lab: Lab,
}

/// The part of `status --json` that tells whether a cluster is whole.
#[derive(Debug, Deserialize)]
struct Status {
    node: String,
    id: u8,
    groups: Vec<Group>,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Group {
    state: String,
    holder: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Member {
    status: String,
}

impl Cluster {
    /// Starts `nodes` nodes with the same options, except that their first configuration expects all of them. Does
    /// not wait for a holder: see [`Cluster::wait_whole`].
    pub fn start(nodes: u8, options: &DaemonOptions) -> Result<Self> {
        let options = DaemonOptions { expect: nodes, ..options.clone() };
        let lab = Lab::new(nodes)?;
        let responders = lab.nodes().map(|node| Responder::start(&lab, node, VIP)).collect::<Result<_>>()?;
        let daemons = lab.nodes().map(|node| lab.start(node, &options)).collect::<Result<_>>()?;
        Ok(Self { options, daemons, _responders: responders, lab })
    }

    /// The wires.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The daemon of node `node`; an error if there is no such node.
    pub fn daemon(&mut self, node: u8) -> Result<&mut Daemon> {
        let daemon = self.daemons.iter_mut().find(|daemon| daemon.node() == node);
        daemon.with_context(|| format!("no node {node}"))
    }

    /// Starts the daemon of node `node` again; kills the old one if it still runs.
    pub fn restart(&mut self, node: u8) -> Result<()> {
        let options = self.options.clone();
        let old = self.daemon(node)?;
        if old.is_running()? {
            old.kill()?;
        }
        let new = self.lab.start(node, &options)?;
        *self.daemon(node)? = new;
        Ok(())
    }

    /// Waits until all nodes see each other alive and agree on who holds the VIP; gives the holder.
    ///
    /// An error has the last lines of all logs.
    pub fn wait_whole(&self, timeout: Duration) -> Result<u8> {
        let what = "all nodes to be alive and to agree on a holder";
        wait::until_calmly(what, timeout, || self.holder_if_whole().map(Some))
            .with_context(|| self.log_tails())
    }

    /// The last lines of all daemons' logs, for the message of a failure.
    pub fn log_tails(&self) -> String {
        self.daemons.iter().fold(String::new(), |mut text, daemon| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", daemon.log_tail());
            text
        })
    }

    fn holder_if_whole(&self) -> Result<u8> {
        let statuses: Vec<Status> = self
            .daemons
            .iter()
            .map(|daemon| serde_json::from_value(daemon.status()?).context("status --json"))
            .collect::<Result<_>>()?;
        holder_if_agreed(&statuses)
    }
}

/// The one holder that all statuses name, if every one of them counts all nodes as alive.
fn holder_if_agreed(statuses: &[Status]) -> Result<u8> {
    let mut masters =
        statuses.iter().filter(|status| status.groups.iter().any(|group| group.state == "master"));
    let (Some(master), None) = (masters.next(), masters.next()) else {
        bail!("not one master: {statuses:?}")
    };
    for status in statuses {
        let alive = status.members.iter().filter(|member| member.status == "alive").count();
        ensure!(alive == statuses.len(), "{} sees {alive} alive: {status:?}", status.node);
        let agrees = status.groups.iter().all(|group| group.holder.as_ref() == Some(&master.node));
        ensure!(agrees, "{} does not see {} as the holder: {status:?}", status.node, master.node);
        let settled = status.id == master.id || status.groups.iter().all(|group| group.state == "backup");
        ensure!(settled, "{} is not a backup: {status:?}", status.node);
    }
    Ok(master.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Node `id` of three, as the holder `holder` and `alive` living members make it look.
    fn status(id: u8, holder: u8, alive: usize) -> Status {
        let state = if id == holder { "master" } else { "backup" };
        let members = vec![json!({"status": "alive"}); alive];
        let group = json!({"state": state, "holder": format!("lb{holder}")});
        let status = json!({"node": format!("lb{id}"), "id": id, "groups": [group], "members": members});
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
