//! The client's view of a test: everything it sees must be the work of one node at a time.

use std::time::Duration;

use anyhow::{Result, bail};
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    lab::Lab,
    oracle::{Oracle, OracleReport},
    prober::{Answer, Prober, ProberOptions},
    wait,
};

use crate::PATIENCE;

/// Requests that go unanswered before a VIP counts as silent, and that are watched where nothing must happen: half a
/// second of them, ten lease lengths of the default.
const REQUESTS: u64 = 1000;
/// Longer than any test.
const LIMIT: Duration = Duration::from_secs(240);

/// Prober and oracle of one client. [`Watch::finish`] checks what they saw.
pub(super) struct Watch {
    oracle: Oracle,
    prober: Prober,
}

impl Watch {
    pub(super) fn start(lab: &Lab) -> Self {
        let options = ProberOptions { limit: LIMIT, rate: 2000, ..ProberOptions::default() };
        Self { oracle: Oracle::start(lab, LIMIT).unwrap(), prober: Prober::start(lab, &options).unwrap() }
    }

    /// Waits for an answer of a node that `by` accepts to a probe sent from now on.
    pub(super) fn wait_served(&self, cluster: &Cluster, by: impl Fn(u8) -> bool) -> Answer {
        self.wait_served_after(cluster, Stamp::now(), by)
    }

    pub(super) fn wait_served_after(
        &self,
        cluster: &Cluster,
        after: Stamp,
        by: impl Fn(u8) -> bool,
    ) -> Answer {
        let answer =
            wait::until("the client to be served", PATIENCE, || Ok(self.prober.answer_after(after, &by)));
        answer.unwrap_or_else(|error| panic!("{error:#}{}", cluster.log_tails()))
    }

    /// Whether `node` has answered a probe that was sent at `after` or later.
    pub(super) fn was_served_by(&self, node: u8, after: Stamp) -> bool {
        self.prober.answer_after(after, |by| by == node).is_some()
    }

    /// Waits until nobody answers: neither ARP requests nor probes, hundreds of them in a row.
    pub(super) fn wait_silent(&self) {
        let mut since = self.oracle.report_so_far();
        let silent = wait::until_calmly("silence", PATIENCE, || {
            let seen = self.oracle.report_so_far();
            if answers(&seen) != answers(&since) {
                since = seen;
                bail!("the VIP is answered for");
            }
            Ok((seen.requests >= since.requests + REQUESTS).then_some(()))
        });
        silent.unwrap();
    }

    /// Lets the client ask hundreds of times more, whatever the answers are: for what must not happen meanwhile.
    pub(super) fn let_it_ask(&self) {
        let before = self.oracle.report_so_far().requests;
        wait::until_calmly("the client to ask", PATIENCE, || {
            Ok((self.oracle.report_so_far().requests >= before + REQUESTS).then_some(()))
        })
        .unwrap();
    }

    /// Ends the watch; no request may have had two answerers. Gives the longest time that probes were lost for.
    pub(super) fn finish(self) -> Duration {
        let (probes, requests) = (self.prober.finish(), self.oracle.finish());
        assert_eq!(requests.doubles, 0, "{requests:#?}");
        assert_eq!(probes.doubles, 0, "{probes:#?}");
        probes.outages.iter().map(|outage| outage.duration).max().unwrap_or_default()
    }

    /// As [`Watch::finish`]; moreover, once `successor` has begun to serve, `victim` may never have served again.
    pub(super) fn finish_after_takeover(self, victim: u8, successor: Answer) {
        let again = self.was_served_by(victim, successor.sent);
        self.finish();
        assert!(!again, "node {victim} served after node {} had begun to", successor.node);
    }
}

fn answers(report: &OracleReport) -> (u64, u64) {
    (report.arp_answered, report.udp_answered)
}

/// Waits until `look` says yes.
pub(super) fn wait_until(what: &str, look: impl Fn() -> Result<bool>) {
    wait::until_calmly(what, PATIENCE, || Ok(look()?.then_some(()))).unwrap();
}
