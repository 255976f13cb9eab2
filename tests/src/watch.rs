//! The client's view while something happens: everything it sees must be the work of one node at a time.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::{
    clock::Stamp,
    lab::Lab,
    machine::slowness,
    oracle::{Oracle, OracleReport},
    prober::{Answer, Prober, ProberOptions, Report},
    wait,
};

/// Probes per second: enough to find the end of an outage, few enough to leave a busy machine to the nodes.
const RATE: u32 = 2000;

/// Prober and oracle of one client.
#[derive(Debug)]
pub struct Watch {
    oracle: Oracle,
    prober: Prober,
    patience: Duration,
}

/// What a [`Watch`] saw.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Of the client's own probes, by the neighbour entry that it has.
    pub probes: Report,
    /// Of the broadcast requests, which all nodes see.
    pub requests: OracleReport,
}

impl Sight {
    /// Requests and probes that two nodes answered.
    pub fn doubles(&self) -> u64 {
        self.probes.doubles + self.requests.doubles
    }
}

impl Watch {
    /// Starts to ask for the lab's VIP, for at most `limit`. No wait lasts longer than `patience`.
    pub fn start(lab: &Lab, limit: Duration, patience: Duration) -> Result<Self> {
        let options = ProberOptions { limit, rate: RATE / slowness(), ..ProberOptions::default() };
        Ok(Self { oracle: Oracle::start(lab, limit)?, prober: Prober::start(lab, &options)?, patience })
    }

    /// Waits for an answer, of a node that `by` accepts, to a probe sent at `after` or later.
    pub fn wait_served_after(&self, after: Stamp, by: impl Fn(u8) -> bool) -> Result<Answer> {
        wait::until("the client to be served", self.patience, || Ok(self.prober.answer_after(after, &by)))
    }

    /// Whether `node` has answered a probe that was sent at `after` or later.
    pub fn was_served_by(&self, node: u8, after: Stamp) -> bool {
        self.prober.answer_after(after, |by| by == node).is_some()
    }

    /// Waits until nobody answers: neither ARP requests nor probes, hundreds of them in a row.
    pub fn wait_silent(&self) -> Result<()> {
        let mut since = self.oracle.report_so_far();
        wait::until_calmly("silence", self.patience, || {
            let seen = self.oracle.report_so_far();
            if answers(&seen) != answers(&since) {
                since = seen;
                bail!("the VIP is answered for");
            }
            Ok((seen.requests >= since.requests + requests()).then_some(()))
        })
    }

    /// Lets the client ask hundreds of times more, whatever the answers are: for what must not happen meanwhile.
    pub fn let_it_ask(&self) -> Result<()> {
        let before = self.oracle.report_so_far().requests;
        wait::until_calmly("the client to ask", self.patience, || {
            Ok((self.oracle.report_so_far().requests >= before + requests()).then_some(()))
        })
    }

    /// Lets the client ask hundreds of times more; nobody may answer it meanwhile.
    pub fn stays_silent(&self) -> Result<()> {
        let before = self.oracle.report_so_far();
        self.let_it_ask()?;
        let after = self.oracle.report_so_far();
        ensure!(answers(&before) == answers(&after), "somebody answers: {before:?}, then {after:?}");
        Ok(())
    }

    /// What the broadcast requests have shown so far.
    pub fn requests_so_far(&self) -> OracleReport {
        self.oracle.report_so_far()
    }

    /// Ends the watch and gives what it saw.
    pub fn finish(self) -> Sight {
        Sight { probes: self.prober.finish(), requests: self.oracle.finish() }
    }
}

/// Requests that go unanswered before a VIP counts as silent, and that are watched where nothing must happen: half a
/// second of them, ten lease lengths of the default. Where all takes longer, three lease lengths.
fn requests() -> u64 {
    if slowness() == 1 { 1000 } else { 300 }
}

fn answers(report: &OracleReport) -> (u64, u64) {
    (report.arp_answered, report.udp_answered)
}
