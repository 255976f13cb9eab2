//! What a search through the leases goes by: the bounds, and the guard that is left out, if any.

use super::time::{FAST, NOW, SLOW};
use crate::flaw::Flaw;
use crate::marks::Sight;

/// How far a search goes. What is not counted here has no bound: delay, loss, reordering, repetition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bounds {
    /// Proposals of all nodes together, renewals among them.
    pub proposals: u8,
    /// Leases and candidacies given back.
    pub releases: u8,
    /// Daemons killed and started again.
    pub restarts: u8,
    /// Machines that lose their maps and start again.
    pub crashes: u8,
    /// Asks for another node's lease.
    pub asks: u8,
    /// Changes of the voters.
    pub changes: u8,
    /// Ticks of true time; `None` = without end.
    pub ticks: Option<u8>,
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { proposals, releases, restarts, crashes, asks, changes, ticks } = *self;
        write!(f, "{proposals} proposals")?;
        let counts = [
            (releases, "releases"),
            (restarts, "restarts"),
            (crashes, "crashes without the maps"),
            (asks, "asks for a handover"),
            (changes, "changes of voters"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        match ticks {
            Some(ticks) => write!(f, ", {ticks} ticks"),
            None => write!(f, ", time without end"),
        }
    }
}

/// How clocks run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Drift {
    /// All alike.
    None,
    /// Each node's at one rate, slow or fast, in all combinations.
    Steady,
    /// Each node's at another rate in each tick.
    Wavering,
}

/// Of one search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Length of a lease, in units of the clocks: a multiple of [`FAST`].
    pub lease: u64,
    /// How clocks run.
    pub drift: Drift,
    /// How many of the nodes are voters in the beginning, the first ones.
    pub voters: usize,
    /// How far to go.
    pub bounds: Bounds,
    /// What the search has to see.
    pub sees: &'static [Sight],
    /// What is left out.
    pub flaw: Option<Flaw>,
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drift = match self.drift {
            Drift::None => "clocks alike",
            Drift::Steady => "clocks fast or slow by 1 %",
            Drift::Wavering => "clocks fast or slow by 1 % in each tick anew",
        };
        let Self { voters, bounds, .. } = self;
        write!(
            f,
            "{voters} of them voters at first, {drift}, leases of {} ticks, {bounds}",
            self.lease / FAST
        )
    }
}

impl Rules {
    /// When a quarantine that begins now is over.
    pub(super) fn quarantine_until(&self) -> u64 {
        if self.flaw == Some(Flaw::SkipsQuarantine) { 0 } else { NOW + self.lease }
    }

    /// How long a quorum must have had a configuration before the next one is chosen: the longest lease and 2 %, as
    /// in the membership.
    pub(super) fn spacing(&self) -> u64 {
        if self.flaw == Some(Flaw::ChangesAtOnce) { 0 } else { self.lease + self.lease.div_ceil(50) }
    }

    /// The rates that a node's clock may have.
    pub(super) const RATES: [u64; 2] = [SLOW, FAST];
}
