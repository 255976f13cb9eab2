//! The searches: each a model, what may happen in it, and how far to go.

use crate::check::{Found, Limits, Progress, shortest};
use crate::elections::{self, Elections};
use crate::leases::{Bounds, Drift, FAST, Leases, Rules};
use crate::succession::{self, Naive, Succession};

/// States after which any search ends, repetitions included. At four million the largest of the models takes 3.2 GB, so
/// that this is less than 8 GB.
pub(crate) const MOST_STATES: usize = 9_000_000;

/// The bound of searches that have no end in sight.
const BOUNDED: usize = 4_000_000;

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
        match &self.of {
            Of::Leases { nodes: 2, rules } => shortest(&Leases::<2>(*rules), self.limits, watch),
            Of::Leases { nodes: 3, rules } => shortest(&Leases::<3>(*rules), self.limits, watch),
            Of::Leases { rules, .. } => shortest(&Leases::<5>(*rules), self.limits, watch),
            Of::Elections { nodes: 3, rules } => shortest(&Elections::<3>(*rules), self.limits, watch),
            Of::Elections { rules, .. } => shortest(&Elections::<5>(*rules), self.limits, watch),
            Of::Succession(succession) => shortest(succession, self.limits, watch),
            Of::Naive => shortest(&Naive, self.limits, watch),
        }
    }
}

/// All with three nodes: to the end, but for the last one.
pub fn three() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let short = elections::Bounds { ticks: 2, ..elections::Bounds::default() };
    let mut searches = vec![
        leases("leases", "leases are taken, renewed and lost", 3, Bounds { proposals: 3, ..plain }),
        leases("releases", "leases are given back", 3, Bounds { releases: 1, ..plain }),
        leases("crashes", "machines lose their maps", 3, Bounds { crashes: 1, ..plain }),
        still("handovers", "leases are handed over", Bounds { asks: 1, ticks: Some(3), ..plain }),
        still("voters", "a voter goes", Bounds { changes: 1, ticks: Some(2), ..plain }),
    ];
    let not_here = ["leases", "handovers"];
    searches.extend(quick().into_iter().filter(|search| !not_here.contains(&search.name)));
    let takeover =
        elections("takeovers", "holders fall silent", 3, 3, elections::Bounds { ticks: 3, ..short });
    searches.push(Search { limits: Limits { steps: None, states: BOUNDED }, ..takeover });
    searches
}

/// Smaller ones, for the test command: each to the end.
pub fn quick() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let short = elections::Bounds { ticks: 2, ..elections::Bounds::default() };
    vec![
        leases("leases", "leases are taken, renewed and lost", 3, plain),
        still("handovers", "leases are handed over", Bounds { asks: 1, ticks: Some(3), ..plain }),
        successive("epochs", "a voter comes, another goes", Bounds { changes: 2, ticks: Some(5), ..plain }),
        elections("elections", "leases are given back", 3, 2, elections::Bounds { releases: 1, ..short }),
        elections(
            "elections-crash",
            "a machine loses its maps",
            3,
            2,
            elections::Bounds { crashes: 1, ..short },
        ),
        succession("succession", "two nodes want different configurations", 0),
    ]
}

/// All with five nodes, each to a bound.
pub fn five() -> Vec<Search> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let short = elections::Bounds { ticks: 2, ..elections::Bounds::default() };
    let all = [
        leases("leases", "leases are taken, renewed and lost", 5, plain),
        elections("elections", "leases are given back", 5, 2, elections::Bounds { releases: 1, ..short }),
    ];
    all.map(|search| Search { limits: Limits { steps: None, states: BOUNDED }, ..search }).into()
}

/// Leases of two ticks, with clocks at the bounds.
fn leases(name: &'static str, about: &'static str, nodes: usize, bounds: Bounds) -> Search {
    let rules = Rules { lease: 2 * FAST, drift: Drift::Steady, voters: nodes, bounds, flaw: None };
    to_the_end(name, about, Of::Leases { nodes, rules })
}

/// The same with clocks that do not differ.
fn still(name: &'static str, about: &'static str, bounds: Bounds) -> Search {
    let rules = Rules { lease: 2 * FAST, drift: Drift::None, voters: 3, bounds, flaw: None };
    to_the_end(name, about, Of::Leases { nodes: 3, rules })
}

/// Leases of one tick and two nodes, of which the first one is the voter; a second change leaves the other one.
fn successive(name: &'static str, about: &'static str, bounds: Bounds) -> Search {
    let rules = Rules { lease: FAST, drift: Drift::None, voters: 1, bounds, flaw: None };
    to_the_end(name, about, Of::Leases { nodes: 2, rules })
}

fn elections(
    name: &'static str,
    about: &'static str,
    nodes: usize,
    candidates: u16,
    bounds: elections::Bounds,
) -> Search {
    let rules = elections::Rules { slow: &[0b001], candidates, late: false, bounds, flaw: None };
    to_the_end(name, about, Of::Elections { nodes, rules })
}

/// Voters 1 and 2 do not know each other, want each other counted out, and both know 3.
fn succession(name: &'static str, about: &'static str, retries: u8) -> Search {
    let bounds = succession::Bounds {
        wishes: vec![(1, 2), (2, 1)],
        acquainted: vec![(1, 3), (2, 3)],
        retries,
        restarts: 0,
        epochs: 2,
    };
    to_the_end(name, about, Of::Succession(Succession { voters: 3, bounds, flaw: None }))
}

fn to_the_end(name: &'static str, about: &'static str, of: Of) -> Search {
    Search { name, about, of, limits: Limits { steps: None, states: MOST_STATES } }
}
