//! What is left of all targets' runs: a table for people, or one JSON object for programs.

use std::{fmt::Write as _, path::PathBuf, process::ExitStatus};

use anyhow::Result;
use serde::Serialize;

/// All runs so far.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether the targets were built with AddressSanitizer.
    address_sanitizer: bool,
    targets: Vec<Outcome>,
}

/// How a target's run went.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) target: &'static str,
    pub(super) seconds: f64,
    /// Inputs that it was run on.
    pub(super) executions: u64,
    /// Edges of the control flow that some input has taken, those of earlier runs included.
    pub(super) edges: u64,
    /// Edges by how often they are taken, and the like: what libFuzzer tells inputs apart by.
    pub(super) features: u64,
    /// Inputs that took a way which none before had taken.
    pub(super) new_inputs: u64,
    pub(super) crash: Option<Crash>,
}

/// How an input broke a target.
#[derive(Debug, Serialize)]
pub(super) struct Crash {
    /// Where the input is; `None` if the target ended for another reason.
    input: Option<PathBuf>,
    /// The command that runs the input again.
    repeat: Option<String>,
    status: String,
    /// The target's last words.
    said: Vec<String>,
}

impl Crash {
    /// Of a target that has ended with this status.
    pub(super) fn new(target: &str, status: ExitStatus, input: Option<PathBuf>, said: Vec<String>) -> Self {
        let repeat =
            input.as_ref().map(|input| format!("cargo xtask fuzz {target} --input {}", input.display()));
        Self { input, repeat, status: status.to_string(), said }
    }
}

impl Report {
    pub(super) const fn new(address_sanitizer: bool) -> Self {
        Self { address_sanitizer, targets: Vec::new() }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.targets.push(outcome);
    }

    /// Whether no input broke a target.
    pub(super) fn is_good(&self) -> bool {
        self.targets.iter().all(|outcome| outcome.crash.is_none())
    }

    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", self.text());
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text: String = self.targets.iter().filter_map(Outcome::crash_text).collect();
        let heading = format!(
            "{:<14}{:>9}{:>13}{:>12}{:>8}{:>10}{:>12}{:>9}",
            "fuzzed", "seconds", "executions", "per second", "edges", "features", "new inputs", "crashes"
        );
        text += &format!("{heading}\n{}\n", "-".repeat(heading.len()));
        for outcome in &self.targets {
            let Outcome { target, seconds, executions, edges, features, new_inputs, crash } = outcome;
            let per_second = *executions as f64 / seconds.max(f64::MIN_POSITIVE);
            let crashes = usize::from(crash.is_some());
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{target:<14}{seconds:>9.1}{executions:>13}{per_second:>12.0}{edges:>8}{features:>10}{new_inputs:>12}{crashes:>9}"
            );
        }
        let without = if self.address_sanitizer { "with" } else { "without" };
        text + &format!("{without} AddressSanitizer\n")
    }
}

impl Outcome {
    fn crash_text(&self) -> Option<String> {
        let Crash { repeat, status, said, .. } = self.crash.as_ref()?;
        let mut text = format!("{} is BROKEN by an input ({status}):\n", self.target);
        said.iter().for_each(|line| text += &format!("    {line}\n"));
        let again = repeat.as_deref().unwrap_or("it has left no input");
        Some(text + &format!("    once more: {again}\n\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn outcome(target: &'static str, crash: Option<Crash>) -> Outcome {
        Outcome { target, seconds: 2.0, executions: 70_000, edges: 323, features: 433, new_inputs: 7, crash }
    }

    #[test]
    fn one_broken_target_is_seen_and_told_how_to_repeat() {
        let mut report = Report::new(true);
        report.add(outcome("message", None));
        assert!(report.is_good());
        let said = vec!["thread panicked".to_owned()];
        let crash =
            Crash::new("key", ExitStatus::from_raw(77 << 8), Some("crashes/key/crash-0a1b".into()), said);
        report.add(outcome("key", Some(crash)));
        assert!(!report.is_good());
        let text = report.text();
        assert!(text.contains("thread panicked"), "{text}");
        assert!(text.contains("once more: cargo xtask fuzz key --input crashes/key/crash-0a1b\n"), "{text}");
        assert!(text.contains("35000"), "executions per second: {text}");
    }
}
