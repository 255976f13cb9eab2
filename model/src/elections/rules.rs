//! What a search through the elections goes by: times, bounds, and the guard that is left out, if any.

use std::fmt;

use crate::flaw::Flaw;
use crate::marks::Sight;

/// What a fast clock gains in a tick of true time, in ns.
pub(super) const FAST: u64 = 10_000_000;
/// The same for a slow one: clocks differ by the drift bound, to the last unit.
pub(super) const SLOW: u64 = 9_900_000;
/// Length of a lease, in ns: whole ticks of the fastest clock. It is also the longest of the cluster.
pub(super) const LEASE: u64 = 3 * FAST;
/// Time between two renewals, in ns: due in every tick, by the slowest clock, too.
pub(super) const INTERVAL: u64 = SLOW;

/// How far a search goes. What is not counted here has no bound but the time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bounds {
    /// Ticks of true time, three to a lease.
    pub ticks: u8,
    /// Daemons stopped while they hold or stand, for any time.
    pub freezes: u8,
    /// Daemons killed and started again.
    pub restarts: u8,
    /// Machines that lose their maps and start again.
    pub crashes: u8,
    /// Leases and candidacies given back on an operator's wish.
    pub releases: u8,
    /// Handovers on an operator's wish.
    pub handovers: u8,
    /// Messages that arrive, or arrive once more, in the tick after the one in which they did or could.
    pub delays: u8,
}

/// Of one search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Which nodes have slow clocks, as masks of which each is a beginning.
    pub slow: &'static [u16],
    /// How many of the nodes may hold, the first ones; the others are witnesses, which only vote.
    pub candidates: u16,
    /// How far to go.
    pub bounds: Bounds,
    /// What the search has to see.
    pub sees: &'static [Sight],
    /// What is left out.
    pub flaw: Option<Flaw>,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds { ticks, freezes, restarts, crashes, releases, handovers, delays } = self.bounds;
        let slow: Vec<String> = self.slow.iter().map(|mask| nodes(*mask)).collect();
        write!(f, "{} of them candidates, slow clocks: {}", self.candidates, slow.join(" or "))?;
        write!(f, ", messages in their tick or lost, leases of 3 ticks, {ticks} ticks")?;
        let counts = [
            (freezes, "stops of a daemon that holds or stands"),
            (restarts, "restarts"),
            (crashes, "crashes without the maps"),
            (releases, "releases"),
            (handovers, "handovers"),
            (delays, "messages a tick later, or once more"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

/// The nodes of a mask, by their ids.
fn nodes(mask: u16) -> String {
    let ids: Vec<String> =
        (1..=16).filter(|id| mask >> (id - 1) & 1 == 1).map(|id: u16| id.to_string()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join("+") }
}
