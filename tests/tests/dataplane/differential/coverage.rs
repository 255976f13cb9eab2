//! What the random frames have met.

use std::collections::BTreeMap;
use std::fmt;

use vip_common::lease::Decision;
use vip_common::maps::{Counter, EventKind};

use super::super::node::COUNTERS;
use super::pair::Fared;

/// How often each thing that can come of a frame came.
#[derive(Default)]
pub(super) struct Coverage {
    pub(super) frames: u64,
    met: BTreeMap<String, u64>,
}

impl Coverage {
    pub(super) fn add(&mut self, fared: &Fared) {
        self.frames += 1;
        self.count(counter(fared.counter));
        if let Some(met) = fared.decision {
            self.count(decision(met));
        }
        for event in &fared.events {
            self.count(self::event(EventKind::from_u32(event.kind).expect("a known event")));
        }
        if fared.extended {
            self.count(EXTENSION.to_owned());
        }
    }

    fn count(&mut self, what: String) {
        *self.met.entry(what).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.frames += other.frames;
        for (what, count) in other.met {
            *self.met.entry(what).or_default() += count;
        }
    }

    /// Panics unless everything that can come of a frame came at least so often.
    pub(super) fn assert_each(&self, least: u64) {
        let rare = everything().filter(|what| self.met.get(what).copied().unwrap_or(0) < least);
        assert_eq!(rare.collect::<Vec<_>>(), [""; 0], "too rare:\n{self}");
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        everything().try_for_each(|what| {
            let count = self.met.get(&what).copied().unwrap_or(0);
            writeln!(f, "{count:>9}  {what}")
        })
    }
}

const EXTENSION: &str = "lease word extended";

fn everything() -> impl Iterator<Item = String> {
    let decisions = DECISIONS.map(|name| format!("decision {name}"));
    let events = (1..).map_while(EventKind::from_u32).map(event);
    // What leaves the node comes through another program, adverts have a reference of their own, and nothing is teed.
    let is_here = |counter: &Counter| {
        !matches!(counter, Counter::VipSilenced | Counter::VrrpAdvert)
            && !Counter::OF_TEES.contains(counter)
            && !Counter::INVALID_ADVERTS.contains(counter)
    };
    let counters = COUNTERS.into_iter().filter(is_here).map(counter);
    counters.chain(decisions).chain(events).chain([EXTENSION.to_owned()])
}

fn counter(counter: Counter) -> String {
    format!("counter {counter:?}")
}

fn event(kind: EventKind) -> String {
    format!("event {kind:?}")
}

const DECISIONS: [&str; 8] =
    ["Silent", "Promise", "Accepted", "Released", "Transferred", "Held", "Promised", "TooLong"];

fn decision(decision: Decision) -> String {
    let name = DECISIONS[match decision {
        Decision::Silent => 0,
        Decision::Promise => 1,
        Decision::Accepted => 2,
        Decision::Released => 3,
        Decision::Transferred => 4,
        Decision::Held(..) => 5,
        Decision::Promised(_) => 6,
        Decision::TooLong => 7,
    }];
    format!("decision {name}")
}
