//! What a front end bears at most, by wrk: as many requests as one thread with 64 connections gets answered.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use vip_tests::fronts::Program;

use super::site::{Site, TARGET};

const PROGRAM: &str = "wrk";
const OPTIONS: [&str; 3] = ["--threads=1", "--connections=64", "--duration=2s"];
/// Has the front end close each connection after its answer.
const CLOSE: [&str; 2] = ["--header", "Connection: close"];

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Throughput {
    /// Over connections that are kept.
    pub(super) kept: f64,
    /// Over new ones.
    pub(super) new: f64,
}

/// While nothing happens.
pub(super) fn measure(site: &Site) -> Result<Throughput> {
    Ok(Throughput { kept: answered(site, &[])?, new: answered(site, &CLOSE)? })
}

fn answered(site: &Site, more: &[&str]) -> Result<f64> {
    let program = Program::find(PROGRAM).map_err(anyhow::Error::msg)?;
    let mut command = program.command_in(&site.lab().client_netns())?;
    command.args(OPTIONS).args(more).arg(format!("http://{TARGET}/"));
    let output = command.output().context("cannot run wrk")?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr).trim());
    let report = String::from_utf8_lossy(&output.stdout);
    rate(&report).with_context(|| format!("wrk has said {report:?}"))
}

/// None where any request was answered by an error.
fn rate(report: &str) -> Option<f64> {
    let after = |label: &str| report.lines().find_map(|line| line.trim().strip_prefix(label));
    after("Non-2xx").is_none().then_some(())?;
    after("Requests/sec:")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as wrk 4.1.0 reports, in short.
    #[test]
    fn the_rate_is_taken_from_a_report_without_errors() {
        let report = "Running 2s test @ http://10.77.0.100/\n  1 threads and 64 connections\nRequests/sec:  21876.50\nTransfer/sec:      2.61MB\n";
        assert_eq!(rate(report), Some(21876.5));
        assert_eq!(rate(&format!("  Non-2xx or 3xx responses: 3\n{report}")), None);
    }
}
