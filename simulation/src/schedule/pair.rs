//! Drawing schedules of pairs: two voters, of which one may go on alone while the gateway answers.
//!
//! What pair mode rests on is kept: while the nodes are cut from each other, the gateway answers one of them at most. It may go
//! over to the other one, and does not come back within the time for which an answer counts. Cuts of one direction leave the
//! gateway to both. All else happens as to other clusters, but for what keeps messages away in both directions.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::draw::{Draw, Kind, Theme};
use super::{Calm, Chances, Fault, MS, Nodes, Schedule, What};

const PAIRS: Theme = Theme {
    leases: &[20 * MS, 50 * MS, 400 * MS],
    trouble: 0,
    lengths: &[1, 3, 10],
    kinds: &[
        (Kind::Crash, 3),
        (Kind::Kill, 2),
        (Kind::Stop, 2),
        (Kind::Stall, 2),
        (Kind::Trap, 2),
        (Kind::Replay, 1),
        (Kind::Rate, 1),
        (Kind::Unfit, 1),
        (Kind::Leave, 1),
        (Kind::Release, 1),
        (Kind::HandOver, 1),
    ],
    nodes_per_fault: 8,
};
/// The least time for which the gateway stays with a node, in leases: more than its answers count for.
const STAYS: u64 = 5;
/// Before the calm, in leases, no cut begins that could go on into it.
const REST: u64 = 8;

impl Schedule {
    /// The schedule of a pair, of this seed.
    pub fn draw_pair(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(!seed);
        let lease = *PAIRS.leases.choose(&mut rng).unwrap_or(&MS);
        let groups = rng.random_range(1..=2);
        let mut draw = Draw { rng, nodes: 2, groups, lease, lengths: PAIRS.lengths };
        let calm_at = draw.rng.random_range(30..=150) * lease;
        let traits = draw.traits();
        let mut faults =
            if draw.rng.random_bool(0.7) { draw.faults(&PAIRS, calm_at - REST * lease) } else { Vec::new() };
        let deaf = draw.rng.random_range(1..=2);
        draw.cuts(calm_at, deaf, &mut faults);
        faults.sort_by_key(|fault| fault.at);
        // A change of voters that is under way needs both.
        let voters_change = faults.iter().any(|fault| matches!(fault.what, What::Remove { .. }));
        let (pair, absent) = draw.end(voters_change);
        Self {
            seed,
            nodes: 2,
            voters: 2,
            groups,
            lease,
            interval: lease / draw.rng.random_range(3..=5),
            preempt: draw.rng.random_bool(0.2),
            traits,
            chances: draw.chances_of_pairs(),
            calm_at,
            absent,
            faults,
            pair: Some(pair),
            reap: None,
        }
    }
}

impl Draw {
    /// Cuts one after the other, with times between them in which all hear each other, or one does.
    fn cuts(&mut self, calm_at: u64, deaf: u16, faults: &mut Vec<Fault>) {
        let lease = self.lease;
        let mut at = self.rng.random_range(lease..20 * lease);
        loop {
            let sides = self.rng.random_range(1..=3);
            let lengths: Vec<u64> =
                (0..sides).map(|_| self.rng.random_range(STAYS * lease..20 * lease)).collect();
            let lasts = lengths.iter().sum();
            if at + lasts > calm_at.saturating_sub(REST * lease) {
                return;
            }
            let (one, other) = (Nodes::only(1), Nodes::only(2));
            faults.push(Fault { at, what: What::Cut { from: one, to: other, both_ways: true, lasts } });
            for length in lengths {
                let answers = *[one, other, Nodes::default()].choose(&mut self.rng).unwrap_or(&one);
                faults.push(Fault { at, what: What::Gateway { answers } });
                at += length;
            }
            faults.push(Fault { at, what: What::Gateway { answers: Nodes::ALL } });
            if self.rng.random_bool(0.3) {
                let lasts = self.rng.random_range(lease / 2..15 * lease);
                let (from, to) = (Nodes::only(3 - deaf), Nodes::only(deaf));
                faults.push(Fault { at, what: What::Cut { from, to, both_ways: false, lasts } });
            }
            at += self.rng.random_range(lease / 20..20 * lease);
        }
    }

    /// How it ends: whole, with a node that stays down, or cut in two.
    fn end(&mut self, both_are_needed: bool) -> (Calm, Nodes) {
        let node = Nodes::only(self.rng.random_range(1..=2));
        match self.rng.random_range(0..3) {
            _ if both_are_needed => (Calm { answered: Nodes::ALL, parted: false }, Nodes::default()),
            0 => (Calm { answered: Nodes::ALL, parted: false }, Nodes::default()),
            1 => (Calm { answered: Nodes::ALL, parted: false }, node),
            _ => (Calm { answered: node, parted: true }, Nodes::default()),
        }
    }

    /// So few losses that nodes that are not cut from each other hear each other within a lease.
    fn chances_of_pairs(&mut self) -> Chances {
        let mut share = |shares: &[u32]| *shares.choose(&mut self.rng).unwrap_or(&0);
        Chances {
            lost: share(&[0, 0, 100]),
            doubled: share(&[0, 500, 2_000]),
            late: share(&[0, 1_000, 4_000]),
            very_late: 0,
            slow_swap: share(&[0, 0, 300]),
            pause: share(&[0, 0, 100]),
        }
    }
}
