//! What came of all trials: a table for people, or one JSON object for programs.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::guard::{Finder, Guard};
use super::trial::Outcome;

/// All trials so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    guards: Vec<Record>,
}

/// One guard's trial.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    guard: &'static str,
    without: &'static str,
    /// Whether it came as the table of guards says.
    as_expected: bool,
    found: bool,
    /// Until it was found, or all that were run; none where tests were run.
    schedules: Option<u64>,
    /// The promise, or the test.
    broken: Option<String>,
    /// Why it stays although nobody finds it gone.
    stays: Option<&'static str>,
    /// Building and looking.
    seconds: f64,
}

impl Record {
    pub(super) fn new(guard: &Guard, outcome: &Outcome, took: Duration) -> Self {
        let (schedules, broken) = match outcome {
            Outcome::Found { schedules, broken } => (*schedules, Some(broken.clone())),
            Outcome::Missed { schedules } => (*schedules, None),
        };
        let stays = if let Finder::Nobody { stays } = guard.finder { Some(stays) } else { None };
        Self {
            guard: guard.name,
            without: guard.without,
            as_expected: broken.is_some() != stays.is_some(),
            found: broken.is_some(),
            schedules,
            broken,
            stays,
            seconds: took.as_secs_f64(),
        }
    }
}

/// The head of the table.
pub(super) fn heading() -> String {
    format!("{:<46}{:>10}{:>7}  broken\n{}", "the code without", "schedules", "s", "-".repeat(100))
}

/// Its line of the table.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedules = self.schedules.map_or_else(|| "tests".to_owned(), |count| count.to_string());
        let (guard, seconds) = (self.guard, self.seconds);
        let broken = self.broken.as_deref().unwrap_or("nothing");
        write!(f, "{guard:<46}{schedules:>10}{seconds:>7.1}  {broken}")?;
        match (self.as_expected, self.found) {
            (true, _) => Ok(()),
            (false, true) => {
                write!(f, "\n    FOUND, although nobody should: the table of guards is wrong there")
            }
            (false, false) => write!(f, "\n    NOT FOUND: the guard that is gone is tested by nothing"),
        }
    }
}

impl Summary {
    pub(super) fn add(&mut self, record: Record) {
        self.guards.push(record);
    }

    /// Whether everything came as the table of guards says.
    pub(super) fn is_good(&self) -> bool {
        self.guards.iter().all(|record| record.as_expected)
    }

    /// All of it, for people.
    pub(super) fn table(&self) -> String {
        let records = self.guards.iter().map(|record| format!("{record}\n"));
        format!("{}\n{}\n{self}", heading(), records.collect::<String>())
    }

    /// All of it, for programs.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

/// The line under the table.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.guards.iter().filter(|record| record.found).count();
        let missed = self.guards.len() - found;
        write!(f, "{found} guards found missing, {missed} not")?;
        let wrong = self.guards.iter().filter(|record| !record.as_expected).count();
        if wrong > 0 {
            write!(f, "; {wrong} of these otherwise than the table of guards says")
        } else {
            Ok(())
        }
    }
}
