//! Which configurations let a voter count alone, in pair mode (`crate::pair`).

use super::configuration::{Configuration, FIRST_EPOCH};
use super::{Membership, Pledge};

impl Membership {
    /// The other one of two voters, where this node may rely on the two being all that there are.
    ///
    /// A vote that counts alone makes a quorum that meets none of another configuration. So there must be no other one in which
    /// somebody could be elected:
    ///
    /// - No former one: the other voter is known to have the current one as well, and so votes in no former one any more.
    ///   The first one has none before it.
    /// - No later one: this node has accepted none, without which there is none.
    ///
    /// Nor may the other one, as far as it has been heard, have longer leases than this node, whose wait is made for its own.
    pub fn pair(&self) -> Option<u16> {
        if self.storing_configuration.is_some() {
            return None;
        }
        let current = self.members.me.formed()?;
        let me = self.members.me.id;
        let [one, two] = *current.voters() else { return None };
        let other = match me {
            _ if me == one => two,
            _ if me == two => one,
            _ => return None,
        };
        let is_known_to_have = self.members.get(other).and_then(super::Member::formed) == Some(current);
        let is_first = current.epoch() == FIRST_EPOCH;
        let is_only = (is_first || is_known_to_have) && !self.has_accepted_after(current);
        let lease = self.members.me.hello.lease_ns;
        let fits = self.members.get(other).is_none_or(|member| member.hello.lease_ns <= lease);
        (is_only && fits).then_some(other)
    }

    /// Whether this node has accepted a successor, or is about to say so.
    fn has_accepted_after(&self, current: &Configuration) -> bool {
        let pledges = self.change.pledges().filter(|pledge| pledge.epoch() >= current.epoch());
        pledges.filter_map(Pledge::accepted).next().is_some()
    }
}
