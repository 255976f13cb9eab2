//! iperf3 between the lab's client and a service behind the VIP.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use vip_tests::{
    lab::{Lab, VIP},
    net::command_in,
};

const PROGRAM: &str = "iperf3";
/// Client and server have a processor each, so that the scheduler's choice is not what is measured.
const PROCESSORS: &str = "0,1";
/// Of a datagram, in bytes: small, so that what each takes is what counts.
const DATAGRAM: &str = "64";

/// What the client does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Load {
    /// A TCP connection that sends to the VIP.
    Upload,
    /// One that receives from it.
    Download,
    /// Small UDP datagrams to the VIP, as fast as they can be sent.
    Datagrams,
}

/// A server on the VIP. Dropping it ends it.
pub(super) struct Server {
    child: Child,
    /// It would end if nobody could read what it says.
    _says: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on node `node`, which has the VIP, and waits until it listens.
    pub(super) fn start(lab: &Lab, node: u8) -> Result<Self> {
        let mut command = lab.command(node, PROGRAM)?;
        command.args(["--server", "--forceflush", "--bind", &VIP.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("cannot start {PROGRAM}"))?;
        let mut says = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            if says.read_line(&mut line)? == 0 {
                bail!("{PROGRAM} does not serve on {VIP} of node {node}: {}", child.wait()?);
            }
        }
        Ok(Self { child, _says: says })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says of itself.
pub(super) fn version() -> Result<String> {
    let output = Command::new(PROGRAM).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {PROGRAM}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// What the receiver gets in a second: bits, or datagrams.
pub(super) fn measure(lab: &Lab, load: Load, seconds: u32) -> Result<f64> {
    let mut command = command_in(&lab.client_netns(), PROGRAM)?;
    command.args(["--json", "--affinity", PROCESSORS, "--client", &VIP.to_string()]);
    command.args(["--time", &seconds.to_string()]);
    match load {
        Load::Upload => &mut command,
        Load::Download => command.arg("--reverse"),
        Load::Datagrams => command.args(["--udp", "--bitrate", "0", "--length", DATAGRAM]),
    };
    let output = command.output().with_context(|| format!("cannot run {PROGRAM}"))?;
    rate(&output.stdout, load).with_context(|| format!("{PROGRAM} ({})", output.status))
}

/// Its report; where it has failed, that has an error in place of an end.
#[derive(Deserialize)]
struct Report {
    error: Option<String>,
    end: End,
}

#[derive(Deserialize)]
struct End {
    sum_received: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    seconds: f64,
    bits_per_second: f64,
    /// Sent, where these are datagrams.
    packets: Option<f64>,
    lost_packets: Option<f64>,
}

fn rate(report: &[u8], load: Load) -> Result<f64> {
    let report: Report = serde_json::from_slice(report).context("its report is no JSON")?;
    if let Some(error) = report.error {
        bail!(error);
    }
    let sum = report.end.sum_received.context("its report has no sum of what was received")?;
    if load != Load::Datagrams {
        return Ok(sum.bits_per_second);
    }
    let (Some(sent), Some(lost)) = (sum.packets, sum.lost_packets) else {
        bail!("its report has no datagrams")
    };
    Ok((sent - lost) / sum.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as iperf3 3.12 reports, in short.
    #[test]
    fn a_rate_is_what_was_received() {
        let tcp =
            br#"{"start":{},"end":{"sum_received":{"seconds":2.0,"bytes":1000,"bits_per_second":4000.0}}}"#;
        assert_eq!(rate(tcp, Load::Upload).unwrap(), 4000.0);
        let udp = br#"{"end":{"sum_received":{"seconds":2.0,"bits_per_second":9.0,"packets":1000,"lost_packets":100}}}"#;
        assert_eq!(rate(udp, Load::Datagrams).unwrap(), 450.0);
    }

    #[test]
    fn a_failure_is_told_by_its_own_words() {
        let refused = br#"{"start":{},"end":{},"error":"unable to connect"}"#;
        assert!(rate(refused, Load::Upload).unwrap_err().to_string().contains("unable to connect"));
        assert!(rate(br#"{"end":{}}"#, Load::Upload).is_err());
    }
}
