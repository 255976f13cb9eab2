//! What a run is: the cluster, its network, and the faults, all drawn from one seed.
//!
//! A schedule is plain data. The same schedule gives the same run, event by event, and a part of its faults gives a
//! run as well: that is how a failure is made small enough to read.

mod draw;
mod pair;
mod text;

pub(crate) use text::ms;

/// One microsecond, in ns.
pub const US: u64 = 1_000;
/// One millisecond, in ns.
pub const MS: u64 = 1_000_000;

/// A cluster and what happens to it. All times are true time in ns, from 0 on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// What the schedule was drawn from, and what everything that happens by chance comes from.
    pub seed: u64,
    /// The nodes, with ids from 1 on.
    pub nodes: u16,
    /// The first of them vote at the beginning.
    pub voters: u16,
    /// The groups, all under one configuration.
    pub groups: u16,
    /// Length of the leases.
    pub lease: u64,
    /// Time between two renewals.
    pub interval: u64,
    /// Whether a fitter node takes over from a live holder.
    pub preempt: bool,
    /// After how long a node that is gone loses its vote and is forgotten, if ever.
    pub reap: Option<u64>,
    /// What each node is like, by id.
    pub traits: Vec<Traits>,
    /// What happens by chance while there is trouble.
    pub chances: Chances,
    /// When the trouble ends: everything is mended, and from here on nothing fails.
    pub calm_at: u64,
    /// Nodes that stay down in the calm, as long as a majority of the voters is left.
    pub absent: Nodes,
    /// In the order of their times.
    pub faults: Vec<Fault>,
    /// Pair mode, and how it is in the calm.
    pub pair: Option<Calm>,
}

/// What is left of the trouble of a pair in the calm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calm {
    /// The nodes that the gateway answers.
    pub answered: Nodes,
    /// The nodes never hear each other again.
    pub parted: bool,
}

/// What a node is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traits {
    /// The rate of its clock at first, see [`crate::clock::NOMINAL`].
    pub rate: u64,
    /// Its priority in each group; 0 = a witness.
    pub priorities: Vec<u8>,
}

/// What happens by chance, each in so many of 10,000 cases.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Chances {
    /// A message is lost.
    pub lost: u32,
    /// It arrives twice.
    pub doubled: u32,
    /// It is late by up to a tenth of a lease, and so overtaken by others.
    pub late: u32,
    /// It is late by up to three leases.
    pub very_late: u32,
    /// The processor that handles it loses its time between reading a lease word and swapping it.
    pub slow_swap: u32,
    /// A thread of a daemon loses its time after something that it has done.
    pub pause: u32,
}

/// A set of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Nodes(pub u32);

impl Nodes {
    /// All that there can be.
    pub const ALL: Self = Self(0x1_fffe);

    /// This node alone.
    pub const fn only(id: u16) -> Self {
        Self(1 << id)
    }

    /// Whether a node is one of them.
    pub const fn contains(self, id: u16) -> bool {
        self.0 & (1 << id) != 0
    }
}

/// Something that happens to the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// When it begins.
    pub at: u64,
    /// What it is.
    pub what: What,
}

/// The kinds of faults, and of wishes that an operator may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the line over each variant says what its fields are")]
pub enum What {
    /// Threads of a daemon do not run; the data plane does.
    Stall { node: u16, part: Part, lasts: u64 },
    /// A daemon ends without a word, and starts again later; the maps stay.
    Kill { node: u16, down: u64 },
    /// A daemon ends in order, and takes its data plane away; it starts again later.
    Stop { node: u16, down: u64 },
    /// A machine loses its memory, and its daemon starts again later.
    Crash { node: u16, down: u64 },
    /// The next time that the daemon has come to `point`, this happens before it does anything else.
    Trap { node: u16, point: Point, then: Sudden },
    /// Nothing gets from one set of nodes to another.
    Cut { from: Nodes, to: Nodes, both_ways: bool, lasts: u64 },
    /// The segment keeps what one set of nodes sends to another, in order, and delivers it when this ends: as one of two
    /// paths that fails and comes back.
    Hold { from: Nodes, to: Nodes, sent_for: u64, lasts: u64 },
    /// Somebody who has recorded the segment sends messages of a node again, to some of the others.
    Replay { from: u16, to: Nodes, messages: u32, lasts: u64 },
    /// So many more in 10,000 messages are lost.
    Storm { lost: u32, lasts: u64 },
    /// A clock goes on at this rate.
    Rate { node: u16, rate: u64 },
    /// A node's wall clock is set back; its next daemon finds it so.
    WallClock { node: u16, back: u64 },
    /// A node may not hold anything: its carrier is gone.
    Unfit { node: u16, lasts: u64 },
    /// A daemon is started anew, with another priority in a group.
    Priority { node: u16, group: u16, priority: u8 },
    /// A node asks for a voter to be counted out: another one, or itself; then its daemon ends and starts again later.
    Remove { asks: u16, id: u16, down: u64 },
    /// The holder gives a group back.
    Release { group: u16 },
    /// The holder hands a group over to a node.
    HandOver { group: u16, to: u16 },
    /// The gateway answers these nodes from now on, and no others.
    Gateway { answers: Nodes },
}

/// Threads of a daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The lease thread, which runs the elections.
    Lease,
    /// The control plane, with the membership.
    Control,
    /// All of it, as by SIGSTOP.
    Both,
}

/// Points in a daemon's work at which a fault does most harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// A renewal is in the map, and its proposal not yet sent.
    RenewalSet,
    /// A request has been sent, and decided on by the own acceptor.
    Sent,
    /// An offer, an ask or a grant has been sent.
    Told,
    /// The lease word is armed, and nobody has been told.
    Armed,
    /// The lease word is disarmed, and nobody has been told.
    Disarmed,
    /// The data plane has another configuration, and the lease thread does not know it.
    Adopted,
    /// Something is on the disk, and has not been said.
    Written,
    /// A Hello has been sent.
    Greeted,
    /// A Hello has been sent, and something is on its way to the disk.
    GreetedEarly,
}

/// What a [`What::Trap`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the line over each variant says what its fields are")]
pub enum Sudden {
    /// As [`What::Stall`].
    Stall { part: Part, lasts: u64 },
    /// As [`What::Kill`].
    Kill { down: u64 },
    /// As [`What::Crash`].
    Crash { down: u64 },
}

impl Schedule {
    /// A cluster whose nodes differ in their clocks and priorities only, and in which nothing happens by itself, for
    /// ever.
    pub fn quiet(seed: u64, nodes: u16, lease: u64) -> Self {
        Self {
            lease,
            interval: lease / 5,
            voters: nodes,
            preempt: false,
            reap: None,
            chances: Chances::default(),
            calm_at: u64::MAX,
            absent: Nodes::default(),
            faults: Vec::new(),
            pair: None,
            ..Self::draw(seed, Some(nodes))
        }
    }

    /// The ids of all nodes.
    pub fn ids(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.nodes
    }
}
