//! A handler that writes down what it is told, and what it has written.

use std::{collections::BTreeMap, fs, path::Path};

/// A text for the shell that adds all that it is told to the file `$0`.
pub const RECORDER: &str = r"{
    env | grep -E '^(SERF_|VIP_(GROUP|NODE|BALLOT|MAC)=)' | sort; printf '\035'; cat; printf '\036'
} >> $0";

/// What a recorder was told at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The variables of handlers, by name.
    pub environment: BTreeMap<String, String>,
    /// What was on standard input.
    pub input: String,
}

impl Record {
    /// The value of a variable; empty if there is none.
    pub fn get(&self, variable: &str) -> &str {
        self.environment.get(variable).map_or("", String::as_str)
    }

    /// What has happened.
    pub fn event(&self) -> &str {
        self.get("SERF_EVENT")
    }

    fn parse(text: &str) -> Self {
        let (environment, input) = text.split_once('\x1d').unwrap_or((text, ""));
        let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
        Self { environment: environment.lines().filter_map(variable).collect(), input: input.into() }
    }
}

/// All that recorders have written to this file; nothing if there is none.
pub fn records_in(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // What follows the last end is not whole yet.
    let whole = text.rsplit_once('\x1e').map_or("", |(whole, _)| whole);
    whole.split('\x1e').filter(|record| !record.is_empty()).map(Record::parse).collect()
}

/// The section of a handler that runs this text in a shell, with `file` as `$0`; and `more` lines of it.
pub fn section(on: &str, text: &str, file: &Path, more: &str) -> String {
    format!("[[handler]]\non = [{on:?}]\nrun = [\"/bin/sh\", \"-c\", '''{text}''', {file:?}]\n{more}\n")
}
