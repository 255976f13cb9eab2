//! VIPs that a machine outside of the cluster claims. A VIP is never given up for that: this node goes on, says so, and
//! tells the segment where the VIP is (RFC 5227, section 2.4, alternative c).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::pace::Pace;

/// Least time between two announcements against conflicts about one VIP, in ns (RFC 5227, section 1.1: `DEFEND_INTERVAL`).
const DEFEND_INTERVAL: u64 = 10_000_000_000;

/// When each VIP that was claimed may be defended again.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    paces: BTreeMap<IpAddr, Pace>,
}

impl Conflicts {
    /// Whether to say, and to do, something about a claim for this VIP at `now` (CLOCK_BOOTTIME, ns).
    pub(super) fn matters(&mut self, vip: IpAddr, now: u64) -> bool {
        self.paces.entry(vip).or_insert(Pace::new(0, DEFEND_INTERVAL)).allows(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_4_c_a_vip_is_defended_at_once_and_then_no_more_than_every_ten_seconds() {
        let mut conflicts = Conflicts::default();
        let [one, other] = ["10.77.0.100", "2001:db8::100"].map(|vip| vip.parse().unwrap());
        let seconds = |count: u64| count * 1_000_000_000;
        assert!(conflicts.matters(one, seconds(3)));
        assert!(!conflicts.matters(one, seconds(13) - 1));
        assert!(conflicts.matters(other, seconds(4)), "each VIP for itself");
        assert!(conflicts.matters(one, seconds(13)));
        assert!(!conflicts.matters(one, seconds(14)));
    }
}
