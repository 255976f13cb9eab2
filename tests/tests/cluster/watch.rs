//! [`vip_tests::watch`] for tests: what fails there fails the test, with the daemons' last words.

use std::time::Duration;

use anyhow::Result;
use vip_tests::{clock::Stamp, lab::Lab, prober::Answer, wait};

use crate::PATIENCE;

/// Longer than any test.
const LIMIT: Duration = Duration::from_secs(240);

/// Prober and oracle of one client. [`Watch::finish`] checks what they saw.
pub(super) struct Watch(vip_tests::watch::Watch);

impl Watch {
    pub(super) fn start(lab: &Lab) -> Self {
        Self(vip_tests::watch::Watch::start(lab, LIMIT, PATIENCE).unwrap())
    }

    /// Waits for an answer of a node that `by` accepts to a probe sent from now on.
    pub(super) fn wait_served(&self, by: impl Fn(u8) -> bool) -> Answer {
        self.wait_served_after(Stamp::now(), by)
    }

    pub(super) fn wait_served_after(&self, after: Stamp, by: impl Fn(u8) -> bool) -> Answer {
        let answer = self.0.wait_served_after(after, by);
        answer.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Whether `node` has answered a probe that was sent at `after` or later.
    pub(super) fn was_served_by(&self, node: u8, after: Stamp) -> bool {
        self.0.was_served_by(node, after)
    }

    /// Waits until nobody answers: neither ARP requests nor probes, hundreds of them in a row.
    pub(super) fn wait_silent(&self) {
        self.0.wait_silent().unwrap();
    }

    /// Lets the client ask hundreds of times more, whatever the answers are: for what must not happen meanwhile.
    pub(super) fn let_it_ask(&self) {
        self.0.let_it_ask().unwrap();
    }

    /// Ends the watch; no request may have had two answerers. Gives the longest time that probes were lost for.
    pub(super) fn finish(self) -> Duration {
        let sight = self.0.finish();
        assert_eq!(sight.doubles(), 0, "{sight:#?}");
        sight.probes.outages.iter().map(|outage| outage.duration).max().unwrap_or_default()
    }

    /// As [`Watch::finish`]; moreover, once `successor` has begun to serve, `victim` may never have served again.
    pub(super) fn finish_after_takeover(self, victim: u8, successor: Answer) {
        let again = self.was_served_by(victim, successor.sent);
        self.finish();
        assert!(!again, "node {victim} served after node {} had begun to", successor.node);
    }
}

/// Waits until `look` says yes.
pub(super) fn wait_until(what: &str, look: impl Fn() -> Result<bool>) {
    wait::until_calmly(what, PATIENCE, || Ok(look()?.then_some(()))).unwrap();
}
