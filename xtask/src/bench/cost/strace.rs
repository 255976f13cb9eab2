//! System calls of a process, counted by strace.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vip_tests::clock::Stamp;

/// A running `strace -c`; dropping it ends it.
pub(super) struct Strace {
    child: Option<Child>,
    begun: Stamp,
}

impl Strace {
    /// Begins to count the calls of all threads.
    pub(super) fn attach(pid: Pid) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-q", "-c", "-f", "-U", "name,calls", "-p"]).arg(pid.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = Some(command.spawn().context("cannot run strace")?);
        Ok(Self { child, begun: Stamp::now() })
    }

    /// Ends it, and gives the calls per second, by name.
    pub(super) fn detach(mut self) -> Result<BTreeMap<String, f64>> {
        let child = self.child.take().context("detached twice")?;
        let watched = Stamp::now().since(self.begun).as_secs_f64();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
        let output = child.wait_with_output()?;
        let counts = parse(&String::from_utf8_lossy(&output.stderr));
        ensure!(!counts.is_empty(), "strace counted nothing: {}", String::from_utf8_lossy(&output.stderr));
        Ok(counts.into_iter().map(|(name, count)| (name, count as f64 / watched)).collect())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lines of a name and a number; headings, rules and the total have something else in one of the places.
fn parse(table: &str) -> BTreeMap<String, u64> {
    let rows = table.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as strace 6.1 prints it for `-c -U name,calls`.
    #[test]
    fn calls_are_read_from_the_table_of_strace() {
        let table = "strace: Process 7 attached with 3 threads\nsyscall              calls\n------------ ---------\nppoll              112\nsendto               5\n------------ ---------\ntotal              117\n";
        assert_eq!(parse(table), BTreeMap::from([("ppoll".to_owned(), 112), ("sendto".to_owned(), 5)]));
    }
}
