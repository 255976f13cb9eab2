//! What the control plane sees of a plane that the lease thread has for itself: no lock is between the two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use vip_common::maps::{COUNTERS, Counter, MAX_PEERS, Peer};

use crate::dataplane::Counters;

/// Counters, and who was heard when.
#[derive(Debug)]
pub struct Board {
    counters: [AtomicU64; COUNTERS],
    /// In the order in which the nodes were first heard.
    sightings: Box<[Sighting]>,
}

#[derive(Debug, Default)]
struct Sighting {
    /// 0 = nobody.
    node: AtomicU16,
    /// CLOCK_BOOTTIME, ns.
    last_heard: AtomicU64,
}

impl Default for Board {
    fn default() -> Self {
        let sightings = (0..MAX_PEERS).map(|_| Sighting::default()).collect();
        Self { counters: [const { AtomicU64::new(0) }; COUNTERS], sightings }
    }
}

impl Board {
    /// How often each outcome was.
    pub fn counters(&self) -> Counters {
        Counters::new(self.counters.each_ref().map(|counter| counter.load(Ordering::Relaxed)))
    }

    /// All nodes heard, by id. Of each, only when that was is known here.
    pub fn peers(&self) -> BTreeMap<u16, Peer> {
        let heard = self.sightings.iter().map(|sighting| {
            let node = sighting.node.load(Ordering::Acquire);
            (node, Peer { last_heard: sighting.last_heard.load(Ordering::Relaxed), ..Peer::default() })
        });
        heard.take_while(|(node, _)| *node != 0).collect()
    }

    /// When a node was heard last, in CLOCK_BOOTTIME ns; 0 = never.
    pub fn last_heard(&self, node: u16) -> u64 {
        let known = self.sightings.iter().map(|sighting| (sighting.node.load(Ordering::Acquire), sighting));
        let mut known = known.take_while(|(id, _)| *id != 0);
        known
            .find(|(id, _)| *id == node)
            .map_or(0, |(_, sighting)| sighting.last_heard.load(Ordering::Relaxed))
    }

    pub(super) fn count(&self, counter: Counter) {
        self.counters[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Places are given out one after the other, from 0 on, one to a node.
    pub(super) fn heard(&self, place: usize, node: u16, now: u64) {
        if let Some(sighting) = self.sightings.get(place) {
            sighting.last_heard.store(now, Ordering::Relaxed);
            sighting.node.store(node, Ordering::Release);
        }
    }
}
