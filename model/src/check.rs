//! One search: how far it goes, and what it has found.
//!
//! On one thread, so that the same search always finds the same.

use std::fmt::Debug;
use std::hash::Hash;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

/// Time between two looks at a search that runs.
const LOOK: Duration = Duration::from_millis(20);
/// The checker's depths are states and not steps on the way, and it does not look at those at the last one.
const UNSEEN: usize = 2;

/// In which order a search looks at the states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// All that one step leads to, all that two lead to, and so on: a search that ends at a bound has seen everything
    /// nearer. It keeps all states at its edge in memory.
    Breadth,
    /// One way to its end, then the next one: for searches that come to theirs, with a hundredth of the memory.
    Depth,
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In which order.
    pub order: Order,
    /// Steps from the beginning, breadth first; `None` = to the end.
    pub steps: Option<usize>,
    /// States to come to, repetitions included. This is what bounds the memory.
    pub states: usize,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// States come to, repetitions included.
    pub generated: usize,
    /// Different ones.
    pub unique: usize,
    /// Steps from the beginning.
    pub steps: usize,
}

/// What a search has found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// States come to, repetitions included.
    pub generated: usize,
    /// Different ones.
    pub unique: usize,
    /// The most steps of any way looked at. Breadth first, that is of the shortest ways to each state.
    pub steps: usize,
    /// How long it took.
    pub seconds: f64,
    /// Why it ended.
    pub end: End,
    /// In the model's order.
    pub promises: Vec<Promise>,
}

/// Why a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// There are no more states.
    Exhausted,
    /// All states of so many steps are looked at.
    AtSteps(usize),
    /// The bound of states is come to. Breadth first, all of so many steps are looked at.
    AtStates(usize),
    /// A promise is broken.
    Broken,
}

/// A property, and what has become of it.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// What it says.
    pub says: &'static str,
    /// It has to hold in every state; else it only has to be seen in one, so that the search is not vacuous.
    pub always: bool,
    /// It is as it should be.
    pub kept: bool,
    /// The steps that break it, in words.
    pub broken_by: Vec<String>,
}

impl Found {
    /// Whether a promise is broken. Something not seen is none.
    pub fn is_broken(&self) -> bool {
        self.end == End::Broken
    }

    /// Whether no promise is broken, and all is seen that has to be.
    pub fn is_good(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }

    /// The promise that is broken, if one is.
    pub fn broken(&self) -> Option<&Promise> {
        self.promises.iter().find(|promise| promise.always && !promise.kept)
    }
}

/// Searches, and calls `watch` now and then meanwhile.
pub fn search<M>(model: &M, limits: Limits, watch: &mut dyn FnMut(Progress)) -> Found
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + PartialEq + Debug + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    let mut builder =
        model.clone().checker().finish_when(HasDiscoveries::AnyFailures).target_state_count(limits.states);
    if let Some(steps) = limits.steps {
        builder = builder.target_max_depth(steps + UNSEEN);
    }
    match limits.order {
        Order::Breadth => follow(model, builder.spawn_bfs(), limits, watch),
        Order::Depth => follow(model, builder.spawn_dfs(), limits, watch),
    }
}

/// Waits for a search to end, and says what has become of it.
fn follow<M>(
    model: &M,
    mut checker: impl Checker<M>,
    limits: Limits,
    watch: &mut dyn FnMut(Progress),
) -> Found
where
    M: Model,
    M::State: Clone + PartialEq + Debug,
    M::Action: Clone + PartialEq + Debug,
{
    let started = Instant::now();
    for handle in checker.handles() {
        while !handle.is_finished() {
            watch(progress(&checker));
            thread::sleep(LOOK);
        }
        if let Err(panic) = handle.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let Progress { generated, unique, steps } = progress(&checker);
    let promises = promises(model, &checker);
    let end = if promises.iter().any(|promise| promise.always && !promise.kept) {
        End::Broken
    } else if generated >= limits.states {
        End::AtStates(steps.saturating_sub(1))
    } else if let Some(bound) = limits.steps.filter(|bound| steps + 1 >= bound + UNSEEN) {
        End::AtSteps(bound)
    } else {
        End::Exhausted
    };
    Found { generated, unique, steps, seconds: started.elapsed().as_secs_f64(), end, promises }
}

fn progress<M: Model>(checker: &impl Checker<M>) -> Progress {
    Progress {
        generated: checker.state_count(),
        unique: checker.unique_state_count(),
        steps: checker.max_depth().saturating_sub(1),
    }
}

fn promises<M>(model: &M, checker: &impl Checker<M>) -> Vec<Promise>
where
    M: Model,
    M::State: Clone + PartialEq + Debug,
    M::Action: Clone + PartialEq + Debug,
{
    let mut discoveries = checker.discoveries();
    let judge = |property: stateright::Property<M>| {
        let way = discoveries.remove(property.name);
        let always = property.expectation != Expectation::Sometimes;
        let kept = way.is_some() != always;
        let broken_by = way.filter(|_| always).map_or_else(Vec::new, |way| words(model, way));
        Promise { says: property.name, always, kept, broken_by }
    };
    model.properties().into_iter().map(judge).collect()
}

/// A way, each step in a line.
fn words<M>(model: &M, way: Path<M::State, M::Action>) -> Vec<String>
where
    M: Model,
    M::State: Debug,
    M::Action: Debug,
{
    let step = |(before, action): (M::State, Option<M::Action>)| {
        let action = action?;
        let done = model.format_action(&action);
        Some(match model.format_step(&before, action) {
            Some(then) if !then.is_empty() => format!("{done}: {then}"),
            _ => done,
        })
    };
    way.into_vec().into_iter().filter_map(step).collect()
}
