//! Drawing schedules.
//!
//! Each schedule has a theme, and of its kinds of faults only some, more of one and less of another ("swarm testing":
//! Groce et al., ISSTA 2012): where everything happens at once, most of what happens keeps the rest from mattering.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use vip_user::membership::FAILED_AFTER;

use super::{Chances, Fault, MS, Nodes, Part, Point, Schedule, Sudden, Traits, What};
use crate::clock::{FASTEST, SLOWEST};

/// What a schedule is about.
pub(super) struct Theme {
    /// Lengths of its leases, in ns.
    pub(super) leases: &'static [u64],
    /// The least time for which there is trouble, in ns; and there are some leases of it at least.
    pub(super) trouble: u64,
    /// The longest times that faults last, in leases.
    pub(super) lengths: &'static [u64],
    /// What happens, and how often in comparison. The first kind is never left out, others may be.
    pub(super) kinds: &'static [(Kind, u32)],
    /// Nodes for which there is one fault in each lease, at most.
    pub(super) nodes_per_fault: u64,
}

/// Kinds of faults, see [`What`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Stall,
    Kill,
    Stop,
    Crash,
    /// Most machines start anew, and the daemons of the others cannot tell them what they hold.
    PowerCut,
    Trap,
    /// Between two sets of nodes.
    Cut,
    /// Of one node, from all or to all.
    Isolation,
    /// One node does not hear another one for long, and all else goes on.
    Deafness,
    Hold,
    Replay,
    Storm,
    Rate,
    Unfit,
    /// Things that a daemon finds changed when it starts.
    Settings,
    Forget,
    Leave,
    /// Several nodes want to leave at once.
    Exodus,
    Release,
    HandOver,
    /// A holder that learns of a higher ballot, and hangs while its proposal of one above that is on its way.
    Outbid,
    /// A lease that is handed on at once, by a node that then starts anew.
    Relay,
    /// A node that goes on with the configuration it has while the others have left it behind.
    Overtaken,
    /// Nodes that hear only some of each other, and several of which want to leave.
    Quarrel,
}

/// Anything: short leases, of which many pass in little time, and long ones, within which voters change.
const ANY: Theme = Theme {
    leases: &[20 * MS, 50 * MS, 50 * MS, 400 * MS],
    trouble: 0,
    lengths: &[1, 3, 3, 10],
    kinds: &[
        (Kind::Stall, 2),
        (Kind::Kill, 2),
        (Kind::Stop, 1),
        (Kind::Crash, 2),
        (Kind::PowerCut, 1),
        (Kind::Trap, 2),
        (Kind::Cut, 2),
        (Kind::Isolation, 2),
        (Kind::Deafness, 1),
        (Kind::Hold, 2),
        (Kind::Replay, 4),
        (Kind::Storm, 1),
        (Kind::Rate, 1),
        (Kind::Unfit, 1),
        (Kind::Settings, 1),
        (Kind::Forget, 1),
        (Kind::Leave, 1),
        (Kind::Exodus, 1),
        (Kind::Release, 1),
        (Kind::HandOver, 2),
        (Kind::Outbid, 2),
    ],
    nodes_per_fault: 3,
};

/// Handovers, and what may come between two of their messages.
const HANDOVERS: Theme = Theme {
    leases: &[20 * MS, 50 * MS],
    trouble: 0,
    lengths: &[1, 1, 3],
    kinds: &[
        (Kind::HandOver, 12),
        (Kind::Stall, 2),
        (Kind::Kill, 3),
        (Kind::Trap, 6),
        (Kind::Cut, 2),
        (Kind::Isolation, 2),
        (Kind::Deafness, 2),
        (Kind::Hold, 2),
        (Kind::Replay, 8),
        (Kind::Storm, 2),
        (Kind::Rate, 1),
        (Kind::Unfit, 1),
        (Kind::Release, 2),
        (Kind::Relay, 4),
    ],
    nodes_per_fault: 2,
};

/// Changes of voters by coordinators that do not hear each other, and that forget what they have not stored. Times are
/// of the length of those in which nodes are found to have failed.
const VOTERS: Theme = Theme {
    leases: &[400 * MS, 400 * MS, 1_500 * MS],
    trouble: 6_000 * MS,
    lengths: &[1, 3, 6],
    kinds: &[
        (Kind::Leave, 6),
        (Kind::Forget, 3),
        (Kind::Exodus, 2),
        (Kind::Quarrel, 3),
        (Kind::Overtaken, 4),
        (Kind::Stall, 4),
        (Kind::Kill, 2),
        (Kind::Crash, 2),
        (Kind::Trap, 4),
        (Kind::Cut, 4),
        (Kind::Isolation, 4),
        (Kind::Deafness, 4),
        (Kind::Storm, 2),
        (Kind::HandOver, 2),
    ],
    nodes_per_fault: 3,
};

/// For how long a node may be left behind, in ns: some changes of voters.
const OVERTAKEN: Range<u64> = 2_000 * MS..10_000 * MS;
/// For how long nodes hear only some of each other, in ns: some Hellos that are repeated eagerly.
const QUARREL: Range<u64> = 200 * MS..3_000 * MS;

impl Schedule {
    /// The schedule of this seed. Without `nodes`, it has 3 to 7 of them; at most 16.
    pub fn draw(seed: u64, nodes: Option<u16>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let theme = [ANY, ANY, HANDOVERS, VOTERS].choose(&mut rng).unwrap_or(&ANY);
        let nodes = nodes.unwrap_or_else(|| *[3, 3, 4, 5, 5, 7].choose(&mut rng).unwrap_or(&3));
        let lease = *theme.leases.choose(&mut rng).unwrap_or(&MS);
        let groups = rng.random_range(2..=3);
        let mut draw = Draw { rng, nodes, groups, lease, lengths: theme.lengths };
        let trouble = (theme.trouble / lease).max(8);
        let calm_at = draw.rng.random_range(trouble..=3 * trouble) * lease;
        let traits = draw.traits();
        let mut faults = draw.faults(theme, calm_at);
        faults.sort_by_key(|fault| fault.at);
        let voters = draw.rng.random_range(1..=2 * nodes).min(nodes);
        let voters_change =
            voters < nodes || faults.iter().any(|fault| matches!(fault.what, What::Remove { .. }));
        let mut schedule = Self {
            seed,
            nodes,
            voters,
            groups,
            lease,
            interval: lease / draw.rng.random_range(3..=5),
            preempt: draw.rng.random_bool(0.2),
            reap: None,
            traits,
            chances: draw.chances(),
            calm_at,
            // A change under way could leave more of them among the voters than there may be.
            absent: if voters_change { Nodes::default() } else { draw.absent() },
            faults,
            pair: None,
        };
        // Nobody is absent then: voters change.
        if draw.rng.random_ratio(1, 4) && schedule.absent == Nodes::default() {
            schedule.reap = Some(FAILED_AFTER + draw.rng.random_range(MS..=2_000 * MS));
        }
        schedule
    }
}

pub(super) struct Draw {
    pub(super) rng: SmallRng,
    pub(super) nodes: u16,
    pub(super) groups: u16,
    pub(super) lease: u64,
    pub(super) lengths: &'static [u64],
}

impl Draw {
    /// Rates are mostly at the ends of what is allowed, since those do the harm. Each group has another first choice,
    /// so that groups have different holders; some nodes hold nothing.
    pub(super) fn traits(&mut self) -> Vec<Traits> {
        let (nodes, groups) = (self.nodes, self.groups);
        let witnesses = self.rng.random_bool(0.2);
        let traits = (0..nodes).map(|node| {
            let is_witness = witnesses && node > 0 && self.rng.random_bool(0.3);
            let rank = |group| u8::try_from((node + nodes - group) % nodes).unwrap_or(0);
            let priority = |group| if is_witness { 0 } else { 200 - 10 * rank(group) };
            Traits { rate: self.rate(), priorities: (0..groups).map(priority).collect() }
        });
        traits.collect()
    }

    fn rate(&mut self) -> u64 {
        match self.rng.random_range(0..5) {
            0 | 1 => SLOWEST,
            2 | 3 => FASTEST,
            _ => self.rng.random_range(SLOWEST..=FASTEST),
        }
    }

    fn chances(&mut self) -> Chances {
        let mut share = |shares: &[u32]| *shares.choose(&mut self.rng).unwrap_or(&0);
        Chances {
            lost: share(&[0, 0, 200, 2_000]),
            doubled: share(&[0, 500, 2_000]),
            late: share(&[0, 1_000, 4_000]),
            very_late: share(&[0, 100, 1_000]),
            slow_swap: share(&[0, 0, 300]),
            pause: share(&[0, 0, 100, 1_000]),
        }
    }

    fn absent(&mut self) -> Nodes {
        if self.rng.random_bool(0.5) { Nodes::default() } else { self.some() }
    }

    pub(super) fn faults(&mut self, theme: &Theme, calm_at: u64) -> Vec<Fault> {
        let mut kinds = Vec::new();
        for (place, (kind, weight)) in theme.kinds.iter().enumerate() {
            if (place == 0 && theme.kinds.len() < ANY.kinds.len()) || self.rng.random_bool(0.5) {
                let weight = self.rng.random_range(1..=2 * weight);
                kinds.extend(std::iter::repeat_n(*kind, weight as usize));
            }
        }
        let most = calm_at / self.lease * u64::from(self.nodes) / theme.nodes_per_fault;
        let mut faults = Vec::new();
        for _ in 0..self.rng.random_range(1..=most) {
            let at = self.rng.random_range(0..calm_at);
            if let Some(kind) = kinds.choose(&mut self.rng) {
                self.fault(*kind, at, &mut faults);
            }
        }
        faults
    }

    /// Draws a fault of this kind for the time `at`, or several that belong together.
    fn fault(&mut self, kind: Kind, at: u64, faults: &mut Vec<Fault>) {
        let (node, group) = (self.node(), self.rng.random_range(0..self.groups));
        let lasts = self.length();
        let both_ways = self.rng.random();
        let what = match kind {
            Kind::Stall => What::Stall { node, part: self.part(), lasts },
            Kind::Kill => What::Kill { node, down: lasts },
            Kind::Stop => What::Stop { node, down: lasts },
            Kind::Crash => What::Crash { node, down: lasts },
            Kind::PowerCut => return self.power_cut(at, faults),
            Kind::Trap => What::Trap { node, point: self.point(), then: self.sudden() },
            Kind::Cut => What::Cut { from: self.some(), to: self.some(), both_ways, lasts },
            Kind::Isolation if self.rng.random() => {
                What::Cut { from: Nodes::ALL, to: Nodes::only(node), both_ways, lasts }
            }
            Kind::Isolation => What::Cut { from: Nodes::only(node), to: Nodes::ALL, both_ways, lasts },
            Kind::Deafness => {
                let (from, to) = (Nodes::only(self.node()), Nodes::only(node));
                What::Cut { from, to, both_ways: false, lasts: 5 * lasts }
            }
            Kind::Hold => {
                let (from, to) = (self.some(), self.some());
                What::Hold { from, to, sent_for: lasts, lasts: lasts + self.length() }
            }
            Kind::Replay => {
                let to = if both_ways { Nodes::ALL } else { self.some() };
                What::Replay { from: node, to, messages: self.rng.random_range(1..40), lasts }
            }
            Kind::Storm => What::Storm { lost: self.rng.random_range(1_000..8_000), lasts },
            Kind::Rate => What::Rate { node, rate: self.rate() },
            Kind::Unfit => What::Unfit { node, lasts },
            Kind::Settings => return self.settings(at, node, group, faults),
            Kind::Forget => What::Remove { asks: self.node(), id: node, down: lasts },
            Kind::Leave => What::Remove { asks: node, id: node, down: lasts },
            Kind::Exodus => return self.exodus(at, faults),
            Kind::Release => What::Release { group },
            Kind::HandOver => What::HandOver { group, to: node },
            Kind::Outbid => return self.outbid(at, node, faults),
            Kind::Relay => return self.relay(at, group, faults),
            Kind::Overtaken => return self.overtaken(at, faults),
            Kind::Quarrel => return self.quarrel(at, faults),
        };
        faults.push(Fault { at, what });
    }

    fn power_cut(&mut self, at: u64, faults: &mut Vec<Fault>) {
        for node in 1..=self.nodes {
            let what = if self.rng.random_bool(0.7) {
                What::Crash { node, down: self.rng.random_range(self.lease / 20..self.lease / 2) }
            } else {
                What::Stall { node, part: Part::Both, lasts: self.lease }
            };
            faults.push(Fault { at, what });
        }
    }

    fn exodus(&mut self, at: u64, faults: &mut Vec<Fault>) {
        for node in 1..=self.nodes {
            if self.rng.random_bool(0.4) {
                let what = What::Remove { asks: node, id: node, down: self.length() };
                faults.push(Fault { at, what });
            }
        }
    }

    fn outbid(&mut self, at: u64, deaf: u16, faults: &mut Vec<Fault>) {
        let lasts = self.rng.random_range(2 * self.lease..5 * self.lease);
        let what = What::Cut { from: Nodes::ALL, to: Nodes::only(deaf), both_ways: false, lasts };
        faults.push(Fault { at, what });
        let node = self.holder();
        let at = at + lasts + self.rng.random_range(self.lease / 10..self.lease);
        let lasts = self.rng.random_range(self.lease / 2..self.lease);
        let (from, to) = (Nodes::only(node), Nodes::ALL);
        let then = Sudden::Stall { part: Part::Both, lasts: 2 * self.lease };
        faults.extend([
            Fault { at, what: What::Hold { from, to, sent_for: self.lease / 4, lasts } },
            Fault { at, what: What::Trap { node, point: Point::Sent, then } },
        ]);
    }

    fn relay(&mut self, at: u64, group: u16, faults: &mut Vec<Fault>) {
        let (first, second) = (self.node(), self.node());
        let on_at = at + self.length();
        let killed_at = on_at + self.rng.random_range(0..self.lease / 2);
        let down = self.rng.random_range(self.lease / 50..self.lease / 4);
        let lost = self.rng.random_range(1_000..6_000);
        faults.extend([
            Fault { at, what: What::Storm { lost, lasts: 3 * self.lease } },
            Fault { at, what: What::HandOver { group, to: first } },
            Fault { at: on_at, what: What::HandOver { group, to: second } },
            Fault { at: killed_at, what: What::Kill { node: first, down } },
        ]);
    }

    fn overtaken(&mut self, at: u64, faults: &mut Vec<Fault>) {
        let node = self.holder();
        let lasts = self.rng.random_range(OVERTAKEN);
        let (from, to) = (Nodes::only(node), self.some());
        faults.extend([
            Fault { at, what: What::Stall { node, part: Part::Control, lasts } },
            Fault { at, what: What::Cut { from, to, both_ways: false, lasts } },
        ]);
        if self.rng.random() {
            let (asks, leaves) = (self.node(), self.node());
            let gone_at = at + FAILED_AFTER + self.length();
            let forget = What::Remove { asks, id: node, down: self.lease };
            let leave = What::Remove { asks: leaves, id: leaves, down: self.lease };
            faults.extend([forget, leave].map(|what| Fault { at: gone_at, what }));
        }
    }

    fn quarrel(&mut self, at: u64, faults: &mut Vec<Fault>) {
        for from in 1..=self.nodes {
            let to = Nodes(self.some().0 & !Nodes::only(from).0);
            let lasts = self.rng.random_range(QUARREL);
            let at = at + self.rng.random_range(0..QUARREL.start);
            faults
                .push(Fault { at, what: What::Cut { from: Nodes::only(from), to, both_ways: false, lasts } });
        }
        self.exodus(at, faults);
    }

    fn settings(&mut self, at: u64, node: u16, group: u16, faults: &mut Vec<Fault>) {
        if self.rng.random_bool(0.5) {
            let back = self.rng.random_range(1..1_000 * self.lease);
            faults.push(Fault { at, what: What::WallClock { node, back } });
        }
        let priority = if self.rng.random_bool(0.2) { 0 } else { self.rng.random_range(1..=255) };
        faults.push(Fault { at, what: What::Priority { node, group, priority } });
    }

    fn node(&mut self) -> u16 {
        self.rng.random_range(1..=self.nodes)
    }

    /// A node that likely holds something: the first ones are the first choices of the groups.
    fn holder(&mut self) -> u16 {
        if self.rng.random_bool(0.7) {
            self.rng.random_range(1..=self.groups.min(self.nodes))
        } else {
            self.node()
        }
    }

    fn some(&mut self) -> Nodes {
        Nodes(self.rng.random::<u32>() & Nodes::ALL.0)
    }

    fn length(&mut self) -> u64 {
        let leases = *self.lengths.choose(&mut self.rng).unwrap_or(&1);
        self.rng.random_range(self.lease / 20..leases * self.lease)
    }

    fn part(&mut self) -> Part {
        *[Part::Lease, Part::Control, Part::Both, Part::Both].choose(&mut self.rng).unwrap_or(&Part::Both)
    }

    fn point(&mut self) -> Point {
        const POINTS: [Point; 9] = [
            Point::RenewalSet,
            Point::Sent,
            Point::Told,
            Point::Armed,
            Point::Disarmed,
            Point::Adopted,
            Point::Written,
            Point::Greeted,
            Point::GreetedEarly,
        ];
        *POINTS.choose(&mut self.rng).unwrap_or(&Point::Sent)
    }

    fn sudden(&mut self) -> Sudden {
        match self.rng.random_range(0..4) {
            0 => Sudden::Kill { down: self.length() },
            1 => Sudden::Crash { down: self.length() },
            _ => Sudden::Stall { part: self.part(), lasts: self.length() },
        }
    }
}
