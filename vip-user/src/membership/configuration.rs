//! The configuration: who votes, and since which epoch.
//!
//! A value of this type is always valid; the encoded form is checked when it is decoded. What makes a configuration
//! the current one is in the parent module; how it is kept on disk is in `store`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most voters that a configuration may have.
pub const MAX_VOTERS: usize = 16;

/// The epoch of a cluster's first configuration.
pub const FIRST_EPOCH: u32 = 1;

/// The voters of a cluster and the epoch of that choice. Configurations are ordered by epoch, then by voters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Configuration {
    epoch: u32,
    voters: Vec<u16>,
}

impl Configuration {
    /// A configuration of `epoch` (at least 1) with `voters`: 1 to 16 node ids, none of them 0, each greater than the
    /// one before.
    pub fn new(epoch: u32, voters: Vec<u16>) -> Result<Self, ConfigurationError> {
        if epoch < FIRST_EPOCH {
            return Err(ConfigurationError::Epoch);
        }
        if voters.is_empty() || voters.len() > MAX_VOTERS {
            return Err(ConfigurationError::Count(voters.len()));
        }
        if voters.contains(&0) {
            return Err(ConfigurationError::ZeroId);
        }
        if !voters.is_sorted_by(|a, b| a < b) {
            return Err(ConfigurationError::Order);
        }
        Ok(Self { epoch, voters })
    }

    /// Counts the configurations of the cluster, from 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The node ids of the voters, ascending.
    pub fn voters(&self) -> &[u16] {
        &self.voters
    }

    /// Whether the node with this id votes.
    pub fn contains(&self, id: u16) -> bool {
        self.voters.binary_search(&id).is_ok()
    }

    /// The next configuration, with this voter more; `None` where that is none, as with a voter that is there already.
    pub fn with(&self, id: u16) -> Option<Self> {
        let place = self.voters.binary_search(&id).err()?;
        let mut voters = self.voters.clone();
        voters.insert(place, id);
        Self::new(self.epoch.checked_add(1)?, voters).ok()
    }

    /// The next configuration, without this voter; `None` where that is none, as without the last voter.
    pub fn without(&self, id: u16) -> Option<Self> {
        let place = self.voters.binary_search(&id).ok()?;
        let mut voters = self.voters.clone();
        voters.remove(place);
        Self::new(self.epoch.checked_add(1)?, voters).ok()
    }

    /// Whether this is a next configuration of `before`: one epoch later, and one voter more or less. Then every quorum
    /// of the one shares a voter with every quorum of the other.
    pub fn is_successor_of(&self, before: &Self) -> bool {
        let added = self.voters.iter().filter(|id| !before.contains(**id)).count();
        let removed = before.voters.iter().filter(|id| !self.contains(**id)).count();
        before.epoch.checked_add(1) == Some(self.epoch) && added + removed == 1
    }
}

impl fmt::Display for Configuration {
    /// `{1, 2, 3} of epoch 1`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.voters.iter().enumerate() {
            write!(f, "{}{id}", if i == 0 { "{" } else { ", " })?;
        }
        write!(f, "}} of epoch {}", self.epoch)
    }
}

/// Why an epoch and a list of voters are not a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigurationError {
    /// Epochs count from 1.
    #[error("epoch 0: epochs count from 1")]
    Epoch,
    /// No voter, or too many.
    #[error("{0} voters: a configuration has 1 to {MAX_VOTERS}")]
    Count(usize),
    /// 0 is no node's id.
    #[error("voter 0: node ids count from 1")]
    ZeroId,
    /// The voters are not ascending, or one is named twice.
    #[error("the voters are not in ascending order, or one is named twice")]
    Order,
}

/// A configuration as it is encoded, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    epoch: u32,
    voters: Vec<u16>,
}

impl TryFrom<Unchecked> for Configuration {
    type Error = ConfigurationError;

    fn try_from(unchecked: Unchecked) -> Result<Self, ConfigurationError> {
        Self::new(unchecked.epoch, unchecked.voters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_configurations_can_be_made() {
        let new = Configuration::new;
        assert_eq!(new(0, vec![1]), Err(ConfigurationError::Epoch));
        assert_eq!(new(1, vec![]), Err(ConfigurationError::Count(0)));
        assert_eq!(new(1, (1..=17).collect()), Err(ConfigurationError::Count(17)));
        assert_eq!(new(1, vec![0, 1]), Err(ConfigurationError::ZeroId));
        assert_eq!(new(1, vec![2, 1]), Err(ConfigurationError::Order));
        assert_eq!(new(1, vec![1, 1]), Err(ConfigurationError::Order));
        assert!(new(u32::MAX, (1..=16).collect()).is_ok());
    }

    #[test]
    fn a_successor_has_the_next_epoch_and_one_voter_more_or_less() {
        let before = Configuration::new(4, vec![1, 3]).unwrap();
        let successors = [before.with(2), before.with(9), before.without(1)].map(Option::unwrap);
        assert_eq!(successors.each_ref().map(Configuration::voters), [&[1, 2, 3][..], &[1, 3, 9], &[3]]);
        assert!(successors.iter().all(|after| after.epoch() == 5 && after.is_successor_of(&before)));

        let others = [(5, vec![1, 3]), (5, vec![1, 2]), (5, vec![3, 4, 5]), (6, vec![1, 2, 3]), (4, vec![1])];
        for (epoch, voters) in others {
            let other = Configuration::new(epoch, voters).unwrap();
            assert!(!other.is_successor_of(&before), "{other}");
        }
    }

    #[test]
    fn what_cannot_follow_is_not_made() {
        let one = Configuration::new(1, vec![3]).unwrap();
        assert_eq!([one.without(3), one.without(4), one.with(3), one.with(0)], [const { None }; 4]);
        let full = Configuration::new(1, (1..=16).collect()).unwrap();
        assert_eq!(full.with(17), None);
        assert_eq!(Configuration::new(u32::MAX, vec![3]).unwrap().with(4), None);
    }

    #[test]
    fn it_reads_as_a_set() {
        let configuration = Configuration::new(3, vec![1, 2, 9]).unwrap();
        assert_eq!(configuration.to_string(), "{1, 2, 9} of epoch 3");
        assert!(configuration.contains(9) && !configuration.contains(3));
    }
}
