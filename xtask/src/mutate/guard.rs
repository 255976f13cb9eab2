//! What a guard is, how it is taken out of the code, and who is to notice.

use std::fmt;

/// A rule of the protocol that something rests on, and what the code is like without it.
#[derive(Debug)]
pub(super) struct Guard {
    /// Short, for the command line and the table.
    pub(super) name: &'static str,
    /// What the code does without it, to be read after "the code without this".
    pub(super) without: &'static str,
    /// All of them together take it out.
    pub(super) edits: &'static [Edit],
    pub(super) finder: Finder,
    /// It is tried in every test run.
    pub(super) always: bool,
}

/// A change of one place in the code.
#[derive(Debug)]
pub(super) struct Edit {
    /// From the root of the workspace.
    pub(super) file: &'static str,
    /// There once, and only once.
    pub(super) text: &'static str,
    pub(super) becomes: &'static str,
}

/// Who finds that a guard is gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finder {
    /// The simulation, within so many schedules from seed 0 on.
    Simulation { within: u64 },
    /// The simulation of pairs, likewise.
    Pairs { within: u64 },
    /// Tests of a package whose names contain this.
    Tests { package: &'static str, names: &'static str },
    /// Nobody: something else keeps the promise as well, and this is why it stays. The simulation is run to see.
    Nobody { stays: &'static str },
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulation { within } => write!(f, "the simulation, within {within} schedules"),
            Self::Pairs { within } => write!(f, "the simulation of pairs, within {within} schedules"),
            Self::Tests { package, names } => write!(f, "tests of {package}: {names}"),
            Self::Nobody { stays } => write!(f, "nobody: {stays}"),
        }
    }
}
