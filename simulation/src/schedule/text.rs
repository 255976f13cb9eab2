//! Schedules for people.

use std::fmt;

use super::{Calm, Fault, MS, Nodes, Part, Point, Schedule, Sudden, Traits, US, What};

/// A time.
pub(crate) fn ms(ns: u64) -> String {
    format!("{}.{:03} ms", ns / MS, ns / US % 1_000)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, voters, groups, .. } = self;
        writeln!(f, "seed {seed}: {nodes} nodes, the first {voters} vote; {groups} groups")?;
        let preempt = if self.preempt { ", with preemption" } else { "" };
        let reap = self.reap.map_or_else(String::new, |reap| format!(", the gone reaped after {}", ms(reap)));
        writeln!(f, "  lease {}, renewed every {}{preempt}{reap}", ms(self.lease), ms(self.interval))?;
        writeln!(f, "  in 10,000: {:?}", self.chances)?;
        for (id, Traits { rate, priorities }) in self.ids().zip(&self.traits) {
            writeln!(f, "  node {id}: clock rate {rate} of 1,000,000, priorities {priorities:?}")?;
        }
        for Fault { at, what } in &self.faults {
            writeln!(f, "  {:>12}  {what}", ms(*at))?;
        }
        write!(f, "  {:>12}  calm", ms(self.calm_at))?;
        if let Some(Calm { answered, parted }) = self.pair {
            let parted = if parted { ", the nodes stay cut from each other" } else { "" };
            write!(f, "; the gateway answers {answered}{parted}")?;
        }
        let absent: Vec<String> =
            self.ids().filter(|id| self.absent.contains(*id)).map(|id| id.to_string()).collect();
        if absent.is_empty() { Ok(()) } else { write!(f, "; down for good: {}", absent.join(", ")) }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stall { node, part, lasts } => write!(f, "node {node}: {part} stalls for {}", ms(lasts)),
            Self::Kill { node, down } => write!(f, "node {node}: SIGKILL, started again after {}", ms(down)),
            Self::Stop { node, down } => write!(f, "node {node}: SIGTERM, started again {} later", ms(down)),
            Self::Crash { node, down } => {
                write!(f, "node {node}: the machine crashes; its daemon starts after {}", ms(down))
            }
            Self::Trap { node, point, then } => write!(f, "node {node}: when {point}: {then}"),
            Self::Cut { from, to, both_ways, lasts } => {
                let way = if both_ways { "between" } else { "from" };
                write!(f, "nothing gets through {way} {from} to {to} for {}", ms(lasts))
            }
            Self::Hold { from, to, sent_for, lasts } => {
                write!(f, "what is sent from {from} to {to} in the next {} ", ms(sent_for))?;
                write!(f, "arrives in {}", ms(lasts))
            }
            Self::Replay { from, to, messages, lasts } => {
                write!(f, "{messages} recorded messages of node {from} arrive at {to} within {}", ms(lasts))
            }
            Self::Storm { lost, lasts } => write!(f, "{lost} more of 10,000 are lost for {}", ms(lasts)),
            Self::Rate { node, rate } => write!(f, "node {node}: clock rate {rate} of 1,000,000"),
            Self::WallClock { node, back } => write!(f, "node {node}: wall clock set back by {}", ms(back)),
            Self::Unfit { node, lasts } => write!(f, "node {node}: no carrier for {}", ms(lasts)),
            Self::Priority { node, group, priority } => {
                write!(f, "node {node}: restarted with priority {priority} in group {group}")
            }
            Self::Remove { asks, id, down } if asks == id => {
                write!(f, "node {id}: leaves, and is started again after {}", ms(down))
            }
            Self::Remove { asks, id, .. } => write!(f, "node {asks}: is told to forget node {id}"),
            Self::Release { group } => write!(f, "group {group}: given back"),
            Self::Gateway { answers } => write!(f, "the gateway answers {answers}"),
            Self::HandOver { group, to } => write!(f, "group {group}: to be handed over to node {to}"),
        }
    }
}

impl fmt::Display for Sudden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stall { part, lasts } => write!(f, "{part} stalls for {}", ms(lasts)),
            Self::Kill { down } => write!(f, "SIGKILL, started again after {}", ms(down)),
            Self::Crash { down } => write!(f, "the machine crashes; its daemon starts after {}", ms(down)),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lease => "the lease thread",
            Self::Control => "the control plane",
            Self::Both => "the daemon",
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RenewalSet => "a renewal is in the map",
            Self::Sent => "a request has been sent",
            Self::Told => "an offer, ask or grant has been sent",
            Self::Armed => "the word is armed",
            Self::Disarmed => "the word is disarmed",
            Self::Adopted => "the data plane has another configuration",
            Self::Written => "something is on the disk",
            Self::Greeted => "a Hello has been sent",
            Self::GreetedEarly => "a Hello has been sent before a write is done",
        })
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        f.debug_set().entries((1..=16).filter(|id| self.contains(*id))).finish()
    }
}
