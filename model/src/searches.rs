//! The searches: each a model, what may happen in it, and how far to go.

use crate::check::{Found, Limits, Order, Progress, search};
use crate::elections::{self, Elections};
use crate::leases::{Bounds, Drift, FAST, Leases, Rules};
use crate::marks::Sight::{self, *};
use crate::succession::{self, Naive, Succession};

/// States after which any search ends, repetitions included.
pub(crate) const MOST_STATES: usize = 40_000_000;

/// The bound of searches that have no end in sight.
const BOUNDED: usize = 1_000_000;

/// A search, ready to run.
#[derive(Clone, Debug)]
pub struct Search {
    /// What to ask for it by.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The model.
    pub of: Of,
    /// Where to end.
    pub limits: Limits,
}

/// A model, with what may happen in it.
#[derive(Clone, Debug)]
pub enum Of {
    /// See [`Leases`].
    Leases {
        /// 2, 3 or 5.
        nodes: usize,
        /// What may happen.
        rules: Rules,
    },
    /// See [`Elections`].
    Elections {
        /// 3 or 5.
        nodes: usize,
        /// What may happen.
        rules: elections::Rules,
    },
    /// See [`Succession`].
    Succession(Succession),
    /// See [`Naive`].
    Naive,
}

impl Search {
    /// How far it goes, in words.
    pub fn bounds(&self) -> String {
        let steps = self.limits.steps.map_or_else(String::new, |steps| format!("; at most {steps} steps"));
        let what = match &self.of {
            Of::Leases { nodes, rules } => format!("{nodes} nodes, {rules}"),
            Of::Elections { nodes, rules } => format!("{nodes} nodes, {rules}"),
            Of::Succession(succession) => succession.to_string(),
            Of::Naive => "4 nodes, two epochs".to_owned(),
        };
        what + &steps
    }

    /// Runs it, and calls `watch` now and then meanwhile.
    pub fn run(&self, watch: &mut dyn FnMut(Progress)) -> Found {
        self.run_within(self.limits, watch)
    }

    /// The same; if a promise is broken, searches again and again for a shorter way to break one, until there is none.
    /// The first one that is found need not be the shortest, as the checker looks at many states before it stops.
    pub fn run_to_shortest(&self, watch: &mut dyn FnMut(Progress)) -> Found {
        let mut found = self.run(watch);
        while let Some(steps) = found.broken().and_then(|promise| promise.broken_by.len().checked_sub(1)) {
            let limits = Limits { order: Order::Breadth, steps: Some(steps), ..self.limits };
            let nearer = self.run_within(limits, watch);
            if !nearer.is_broken() {
                break;
            }
            found = nearer;
        }
        found
    }

    fn run_within(&self, limits: Limits, watch: &mut dyn FnMut(Progress)) -> Found {
        match &self.of {
            Of::Leases { nodes: 2, rules } => search(&Leases::<2>(*rules), limits, watch),
            Of::Leases { nodes: 3, rules } => search(&Leases::<3>(*rules), limits, watch),
            Of::Leases { rules, .. } => search(&Leases::<5>(*rules), limits, watch),
            Of::Elections { nodes: 3, rules } => search(&Elections::<3>(*rules), limits, watch),
            Of::Elections { rules, .. } => search(&Elections::<5>(*rules), limits, watch),
            Of::Succession(succession) => search(succession, limits, watch),
            Of::Naive => search(&Naive, limits, watch),
        }
    }
}

/// All with three nodes: to the end, but for those that say so.
pub fn three() -> Vec<Search> {
    let mut searches = leases_of_three();
    searches.extend(elections_of_three());
    searches.extend([
        to_a_bound(succession("succession-retry", "the same, and a ballot is tried again", 1, 0)),
        to_a_bound(succession("succession-restart", "the same, and a daemon starts anew", 0, 1)),
    ]);
    let larger: Vec<&str> = searches.iter().map(|search| search.name).collect();
    let others = quick().into_iter().filter(|search| !larger.contains(&search.name));
    searches.splice(0..0, others.collect::<Vec<_>>());
    searches
}

fn leases_of_three() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let short = Bounds { ticks: Some(3), ..plain };
    let changed = Bounds { changes: 1, ticks: Some(2), ..plain };
    vec![
        leases("leases", "leases run out", 3, Bounds { proposals: 3, ..plain }, &[Held, Renewed, TakenOver]),
        leases(
            "releases",
            "leases are given back",
            3,
            Bounds { releases: 1, ..plain },
            &[Renewed, Succeeded],
        ),
        leases("restarts", "daemons start anew", 3, Bounds { restarts: 1, ..plain }, &[TakenOver, CameBack]),
        leases(
            "crashes",
            "machines lose their maps",
            3,
            Bounds { crashes: 1, ..plain },
            &[TakenOver, CameBack],
        ),
        leases("handovers", "leases are handed over", 3, Bounds { asks: 1, ..short }, &[Renewed, HandedOver]),
        clocks("voters", "a voter goes", Drift::None, changed, &[Renewed, LaterEpoch]),
        to_a_bound(leases("voters-drift", "the same with clocks at the bounds", 3, changed, &[Held])),
    ]
}

fn elections_of_three() -> Vec<Search> {
    let plain = elections::Bounds { ticks: 2, ..elections::Bounds::default() };
    let stopped = elections::Bounds { freezes: 1, ..plain };
    let handed = elections::Bounds { handovers: 1, ..plain };
    let late = elections::Bounds { delays: 2, ..plain };
    let crashed = elections::Bounds { ticks: 3, crashes: 1, ..plain };
    let restarted = elections::Bounds { restarts: 1, ..plain };
    vec![
        elections("elections-stop", "a daemon stops and goes on", 2, stopped, &[Held, Renewed]),
        elections("elections-handover", "a lease is handed over", 2, handed, &[Renewed, HandedOver]),
        elections("elections-late", "messages come late, and twice", 2, late, &[Held, Renewed]),
        elections("elections-crash", "a machine loses its maps", 2, crashed, &[Renewed, TakenOver]),
        to_a_bound(elections(
            "elections-restart",
            "a daemon starts anew",
            2,
            restarted,
            &[Renewed, CameBack],
        )),
        to_a_bound(elections("elections-three", "all may hold", 3, plain, &[Held, Renewed])),
    ]
}

/// Smaller ones, for the test command: each to the end.
pub fn quick() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let short = Bounds { ticks: Some(3), ..plain };
    let asked = Bounds { asks: 1, ..short };
    let changed = Bounds { changes: 2, ticks: Some(5), ..plain };
    let elected = elections::Bounds { ticks: 2, ..elections::Bounds::default() };
    let released = elections::Bounds { releases: 1, ..elected };
    let crashed = elections::Bounds { crashes: 1, ..elected };
    let silent = elections::Bounds { ticks: 3, ..elected };
    vec![
        leases("leases", "leases run out", 3, plain, &[Held, Renewed, TakenOver]),
        clocks("wavering", "the rates of clocks change", Drift::Wavering, short, &[Renewed, TakenOver]),
        clocks("handovers", "leases are handed over", Drift::None, asked, &[Renewed, HandedOver]),
        successive("epochs", "a voter comes, another goes", changed, &[Held, LaterEpoch]),
        elections("elections", "leases are given back", 2, released, &[Renewed, Succeeded]),
        elections("elections-crash", "a machine loses its maps", 2, crashed, &[Held, Renewed]),
        elections("takeovers", "holders fall silent", 2, silent, &[Renewed, TakenOver]),
        succession("succession", "two nodes want different configurations", 0, 0),
    ]
}

/// All with five nodes, each to a bound.
pub fn five() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let released = elections::Bounds { ticks: 2, releases: 1, ..elections::Bounds::default() };
    let rules =
        elections::Rules { slow: &[0b001], candidates: 2, bounds: released, sees: &[Held], flaw: None };
    let of = Of::Elections { nodes: 5, rules };
    [
        leases("leases", "leases run out", 5, plain, &[Held]),
        to_the_end("elections", "leases are given back", of),
    ]
    .map(to_a_bound)
    .into()
}

/// Leases of two ticks, with clocks at the bounds.
fn leases(
    name: &'static str,
    about: &'static str,
    nodes: usize,
    bounds: Bounds,
    sees: &'static [Sight],
) -> Search {
    let rules = Rules { lease: 2 * FAST, drift: Drift::Steady, voters: nodes, bounds, sees, flaw: None };
    to_the_end(name, about, Of::Leases { nodes, rules })
}

/// The same with three nodes, whose clocks run so.
fn clocks(
    name: &'static str,
    about: &'static str,
    drift: Drift,
    bounds: Bounds,
    sees: &'static [Sight],
) -> Search {
    let rules = Rules { lease: 2 * FAST, drift, voters: 3, bounds, sees, flaw: None };
    to_the_end(name, about, Of::Leases { nodes: 3, rules })
}

/// Leases of one tick and two nodes, of which the first one is the voter; a second change leaves the other one.
fn successive(name: &'static str, about: &'static str, bounds: Bounds, sees: &'static [Sight]) -> Search {
    let rules = Rules { lease: FAST, drift: Drift::None, voters: 1, bounds, sees, flaw: None };
    to_the_end(name, about, Of::Leases { nodes: 2, rules })
}

/// Elections with three nodes, of which so many may hold; the fittest one's clock is slow, which lets it serve longest.
fn elections(
    name: &'static str,
    about: &'static str,
    candidates: u16,
    bounds: elections::Bounds,
    sees: &'static [Sight],
) -> Search {
    let rules = elections::Rules { slow: &[0b001], candidates, bounds, sees, flaw: None };
    to_the_end(name, about, Of::Elections { nodes: 3, rules })
}

/// Voters 1 and 2 do not know each other, want each other counted out, and both know 3.
fn succession(name: &'static str, about: &'static str, retries: u8, restarts: u8) -> Search {
    let bounds = succession::Bounds {
        wishes: vec![(1, 2), (2, 1)],
        acquainted: vec![(1, 3), (2, 3)],
        retries,
        restarts,
        epochs: 2,
    };
    to_the_end(name, about, Of::Succession(Succession { voters: 3, bounds, flaw: None }))
}

fn to_the_end(name: &'static str, about: &'static str, of: Of) -> Search {
    Search { name, about, of, limits: Limits { order: Order::Depth, steps: None, states: MOST_STATES } }
}

/// Breadth first.
fn to_a_bound(search: Search) -> Search {
    Search { limits: Limits { order: Order::Breadth, steps: None, states: BOUNDED }, ..search }
}
