//! What the nodes take and send while nothing happens.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde::Serialize;
use vip_tests::{
    clock::Stamp,
    net::{Frames, frames_in},
};

use super::{VOTERS, swarm::Swarm};
use crate::bench::cost::process::{on_cpu, resident_mib};

/// What one node took in one span. Frames are counted at the switch's port, with all of their headers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Share {
    pub(super) trial: u8,
    pub(super) node: u8,
    /// Of vip-user.
    pub(super) may_vote: bool,
    pub(super) sent_per_second: f64,
    pub(super) received_per_second: f64,
    pub(super) sent_bytes_per_second: f64,
    pub(super) received_bytes_per_second: f64,
    /// Of one processor, by all threads of its processes.
    pub(super) cpu_percent: f64,
    /// Of its processes together, shared pages counted in each.
    pub(super) rss_mib: f64,
}

/// What has been used up to a moment, by each node.
pub(super) struct Sample {
    taken: Stamp,
    nodes: BTreeMap<u8, Used>,
}

struct Used {
    frames: Frames,
    on_cpu: Duration,
    rss_mib: f64,
}

impl Sample {
    pub(super) fn take(swarm: &dyn Swarm, nodes: &[u8]) -> Result<Self> {
        let taken = Stamp::now();
        let ports = frames_in(&swarm.lab().switch_netns())?;
        let used = |node: &u8| {
            let port = swarm.lab().port(*node);
            let frames = *ports.get(&port).with_context(|| format!("the switch has no port {port}"))?;
            let processes = swarm.processes(*node)?;
            let on_cpu = processes.iter().map(|pid: &Pid| on_cpu(*pid)).sum::<Result<Duration>>()?;
            let rss_mib = processes.iter().map(|pid| resident_mib(*pid)).sum::<Result<f64>>()?;
            Ok((*node, Used { frames, on_cpu, rss_mib }))
        };
        Ok(Self { taken, nodes: nodes.iter().map(used).collect::<Result<_>>()? })
    }

    pub(super) fn since(&self, earlier: &Self, trial: u8) -> Result<Vec<Share>> {
        let seconds = self.taken.since(earlier.taken).as_secs_f64();
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let share = |(node, after): (&u8, &Used)| {
            let before = earlier.nodes.get(node).context("a node that was not there")?;
            let on_cpu = after.on_cpu.saturating_sub(before.on_cpu);
            let (was, is) = (&before.frames, &after.frames);
            Ok(Share {
                trial,
                node: *node,
                may_vote: *node <= VOTERS,
                // What the node sends, the switch receives.
                sent_per_second: rate(was.received, is.received),
                received_per_second: rate(was.sent, is.sent),
                sent_bytes_per_second: rate(was.received_bytes, is.received_bytes),
                received_bytes_per_second: rate(was.sent_bytes, is.sent_bytes),
                cpu_percent: on_cpu.as_secs_f64() / seconds * 100.0,
                rss_mib: after.rss_mib,
            })
        };
        self.nodes.iter().map(share).collect()
    }
}
