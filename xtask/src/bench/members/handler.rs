//! The one handler of all nodes: it writes down when it ran, and what for.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use vip_tests::lab::Lab;

/// It becomes `date`, so that one process is all there is to start. The names on standard input are those of members; a user
/// event here comes without any.
const TEXT: &str = r#"names=
while read -r name rest; do names="$names $name"; done
exec date "+%s%N $SERF_EVENT $SERF_USER_EVENT$names" >> "#;

/// One run of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: SystemTime,
    pub(super) event: String,
    /// Of the user event, or of the members.
    names: Vec<String>,
}

impl Entry {
    /// Whether it tells of this event, and of that name.
    pub(super) fn is(&self, event: &str, name: &str) -> bool {
        self.event == event && self.names.iter().any(|other| other == name)
    }

    /// `None`: not a whole line.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(words.next()?.parse().ok()?);
        Some(Self { at, event: words.next()?.to_owned(), names: words.map(str::to_owned).collect() })
    }
}

/// Puts the program where [`command`] finds it.
pub(super) fn write(lab: &Lab, node: u8) -> Result<()> {
    let path = script(lab, node);
    fs::write(&path, format!("{TEXT}{}\n", file(lab, node).display()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A line for the shell that runs it.
pub(super) fn command(lab: &Lab, node: u8) -> String {
    format!("exec /bin/sh {}", script(lab, node).display())
}

/// What the handler of a node has written, in that order.
pub(super) fn entries(lab: &Lab, node: u8) -> Vec<Entry> {
    read(&file(lab, node))
}

/// Nothing if there is no such file: the handler has not run yet.
fn read(file: &Path) -> Vec<Entry> {
    fs::read_to_string(file).unwrap_or_default().lines().filter_map(Entry::parse).collect()
}

fn script(lab: &Lab, node: u8) -> PathBuf {
    lab.home(node).join("handler.sh")
}

fn file(lab: &Lab, node: u8) -> PathBuf {
    lab.home(node).join("told")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_when_the_handler_ran_and_of_whom() {
        let entry = Entry::parse("1500000000000000042 member-join  lb1 lb2").unwrap();
        assert_eq!(entry.at, SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_000_000_000_042));
        assert!(entry.is("member-join", "lb2") && !entry.is("member-join", "lb3"));
        assert!(!entry.is("member-failed", "lb2"));
        assert!(Entry::parse("1500000000000000042 user e1").unwrap().is("user", "e1"));
        assert_eq!(Entry::parse(""), None);
    }
}
