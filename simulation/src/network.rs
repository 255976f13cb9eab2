//! The segment between the nodes: what becomes of each message.
//!
//! Each way has its own randomness, so that a fault left out of a schedule changes no more than it must.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::schedule::{Chances, Nodes, US};

/// The least time on the way, in ns, and the most, without trouble.
const QUICK: std::ops::Range<u64> = 5 * US..65 * US;
const SHARES: u32 = 10_000;

/// All ways between nodes.
#[derive(Debug)]
pub(crate) struct Segment {
    chances: Chances,
    lease: u64,
    nodes: usize,
    /// Losses on top of the network's own, in one of [`SHARES`].
    storm: u32,
    calm: bool,
    /// Nothing gets through in the calm.
    parted: bool,
    /// From, to.
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    rng: SmallRng,
    /// How many cuts there are in it.
    cuts: u32,
    /// When the last message that was in time arrived. One that is in time as well does not overtake it.
    in_time: u64,
    /// Messages sent until the first time arrive at the second, or later.
    held: [u64; 2],
}

/// When the copies of a message arrive.
pub(crate) type Copies = [Option<u64>; 2];

impl Segment {
    pub(crate) fn new(chances: Chances, lease: u64, nodes: usize, seed: u64) -> Self {
        let way = |number| Way {
            rng: SmallRng::seed_from_u64(seed.wrapping_add(number)),
            cuts: 0,
            in_time: 0,
            held: [0; 2],
        };
        let ways = (0..(nodes * nodes) as u64).map(way).collect();
        Self { chances, lease, nodes, storm: 0, calm: false, parted: false, ways }
    }

    /// Sends a message on its way at `now`.
    pub(crate) fn carry(&mut self, from: usize, to: usize, now: u64) -> Copies {
        let Self { chances, lease, storm, .. } = *self;
        let way = &mut self.ways[from * self.nodes + to];
        if self.calm && self.parted {
            return [None, None];
        }
        if self.calm {
            return [Some(way.soon(now)), None];
        }
        let lost = way.chance(chances.lost + storm) || way.cuts > 0;
        let doubled = way.chance(chances.doubled);
        let arrives = way.sometime(&chances, lease, now);
        let again = way.sometime(&chances, lease, now);
        [Some(arrives).filter(|_| !lost), Some(again).filter(|_| doubled && !lost)]
    }

    /// Begins or ends a cut of all ways from one set of nodes to another.
    pub(crate) fn cut(&mut self, from: Nodes, to: Nodes, both_ways: bool, begins: bool) {
        let change = |way: &mut Way| {
            way.cuts = if begins { way.cuts + 1 } else { way.cuts.saturating_sub(1) };
        };
        self.ways_between(from, to).for_each(change);
        if both_ways {
            self.ways_between(to, from).for_each(change);
        }
    }

    fn ways_between(&mut self, from: Nodes, to: Nodes) -> impl Iterator<Item = &mut Way> {
        // Ids count from 1.
        let is_in = |place: usize, nodes: Nodes| nodes.contains(u16::try_from(place + 1).unwrap_or(0));
        let nodes = self.nodes;
        let ways = self.ways.iter_mut().enumerate();
        let between = move |place: &usize| is_in(place / nodes, from) && is_in(place % nodes, to);
        ways.filter(move |(place, _)| between(place)).map(|(_, way)| way)
    }

    /// What is sent from one set of nodes to another until `sent_by` arrives at `arrives_at`.
    pub(crate) fn hold(&mut self, from: Nodes, to: Nodes, sent_by: u64, arrives_at: u64) {
        self.ways_between(from, to).for_each(|way| way.held = [sent_by, arrives_at]);
    }

    /// Begins or ends a storm.
    pub(crate) fn storm(&mut self, lost: u32, begins: bool) {
        self.storm = if begins { self.storm + lost } else { self.storm.saturating_sub(lost) };
    }

    /// From here on everything arrives, and soon.
    pub(crate) fn mend(&mut self) {
        self.calm = true;
    }

    /// From the calm on nothing arrives any more.
    pub(crate) fn part(&mut self) {
        self.parted = true;
    }
}

impl Way {
    fn chance(&mut self, share: u32) -> bool {
        self.rng.random_range(0..SHARES) < share
    }

    fn sometime(&mut self, chances: &Chances, lease: u64, now: u64) -> u64 {
        if now < self.held[0] {
            // In the order of sending: planned for one time, they come in the order of planning.
            self.held[1]
        } else if self.chance(chances.very_late) {
            now + self.rng.random_range(QUICK.start..3 * lease)
        } else if self.chance(chances.late) {
            now + self.rng.random_range(QUICK.start..lease / 10)
        } else {
            self.soon(now)
        }
    }

    fn soon(&mut self, now: u64) -> u64 {
        self.in_time = self.in_time.max(now + self.rng.random_range(QUICK));
        self.in_time
    }
}
