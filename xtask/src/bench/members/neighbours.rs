//! Room for the neighbours of all nodes: the kernel counts those of all its namespaces together, and with 50 nodes in a lab that
//! is more than it keeps for a machine. Then it does not even send to a multicast group.

use std::fs;

use anyhow::{Context, Result};

/// Below the first, none is forgotten; above the last, none is added.
const LIMITS: [&str; 3] = ["gc_thresh1", "gc_thresh2", "gc_thresh3"];

/// Limits of the machine as they were before. Dropping it sets them back.
pub(super) struct Neighbours {
    before: Vec<(String, u64)>,
}

impl Neighbours {
    /// Makes room for so many nodes that all know each other, and as many again.
    pub(super) fn of(nodes: u8) -> Result<Self> {
        let wanted = 2 * u64::from(nodes) * u64::from(nodes);
        let mut limits = Self { before: Vec::new() };
        for limit in LIMITS {
            let path = format!("/proc/sys/net/ipv4/neigh/default/{limit}");
            let read = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            let before = read.trim().parse().with_context(|| format!("{path} is not a number: {read:?}"))?;
            if wanted > before {
                fs::write(&path, wanted.to_string()).with_context(|| format!("cannot write {path}"))?;
                limits.before.push((path, before));
            }
        }
        Ok(limits)
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            if let Err(error) = fs::write(path, before.to_string()) {
                eprintln!("{path} was {before} before, and is not again: {error}");
            }
        }
    }
}
