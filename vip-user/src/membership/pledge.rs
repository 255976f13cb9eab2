//! A voter's word on the next configuration: the highest ballot that it has promised, and what it has accepted.
//!
//! A value of this type is always valid; the encoded form is checked when it is decoded. What voters pledge when, and
//! what follows from it, is in `succession`; how a pledge is kept on disk is in `store`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vip_common::lease::Ballot;

use super::configuration::Configuration;

/// Ballots from here on are refused: no choice takes so many rounds, and a number that leaves no higher one would
/// keep the voters from ever agreeing.
const ROUNDS: u64 = 1 << 47;

/// What a voter of the configuration of `epoch` has pledged for the choice of its successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Pledge {
    epoch: u32,
    promised: Ballot,
    accepted: Option<Accepted>,
}

/// A configuration that a voter has accepted, and the ballot under which it was proposed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accepted {
    /// Its node has proposed the configuration.
    pub ballot: Ballot,
    /// Of the next epoch.
    pub configuration: Configuration,
}

impl Pledge {
    /// A voter's first promise in this epoch.
    pub fn new(epoch: u32, promised: Ballot) -> Result<Self, PledgeError> {
        Self { epoch, promised, accepted: None }.checked()
    }

    /// Whose successor is chosen.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The voter accepts nothing under a lower ballot any more.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// What the voter has accepted last.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// Whether a voter may go from the pledge `before` to this one: it breaks nothing that was pledged.
    pub fn keeps(&self, before: &Self) -> bool {
        let grows = self.promised >= before.promised && self.accepted >= before.accepted;
        self.epoch > before.epoch || (self.epoch == before.epoch && grows)
    }

    /// This pledge, and the promise of a ballot that is not lower.
    pub fn promising(self, ballot: Ballot) -> Result<Self, PledgeError> {
        Self { promised: ballot, ..self }.checked()
    }

    /// This pledge, and the acceptance of a configuration under a ballot that is not lower than the promised one.
    pub fn accepting(self, accepted: Accepted) -> Result<Self, PledgeError> {
        Self { promised: accepted.ballot, accepted: Some(accepted), ..self }.checked()
    }

    fn checked(self) -> Result<Self, PledgeError> {
        let is_ballot = |ballot: Ballot| ballot.node() != 0 && ballot.round() < ROUNDS;
        if !is_ballot(self.promised) {
            return Err(PledgeError::Ballot(self.promised));
        }
        let Some(accepted) = &self.accepted else { return Ok(self) };
        if !is_ballot(accepted.ballot) || accepted.ballot > self.promised {
            return Err(PledgeError::Ballot(accepted.ballot));
        }
        if self.epoch.checked_add(1) != Some(accepted.configuration.epoch()) {
            return Err(PledgeError::Epoch { of: self.epoch, accepted: accepted.configuration.epoch() });
        }
        Ok(self)
    }
}

impl fmt::Display for Pledge {
    /// `promised 3.1, accepted {1, 2} of epoch 2 under 3.1`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promised {}", self.promised)?;
        match &self.accepted {
            Some(accepted) => write!(f, ", accepted {} under {}", accepted.configuration, accepted.ballot),
            None => write!(f, " in epoch {}", self.epoch),
        }
    }
}

/// Why ballots and a configuration are no pledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PledgeError {
    /// Nobody's ballot, one that leaves no higher one, or one accepted above the promised one.
    #[error("ballot {0} cannot be pledged")]
    Ballot(Ballot),
    /// What was accepted is not of the next epoch.
    #[error("a configuration of epoch {accepted} is no successor of epoch {of}")]
    Epoch {
        /// Of the pledge.
        of: u32,
        /// Of the configuration.
        accepted: u32,
    },
}

/// A pledge as it is encoded, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    epoch: u32,
    promised: u64,
    accepted: Option<UncheckedAccepted>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedAccepted {
    ballot: u64,
    configuration: Configuration,
}

impl TryFrom<Unchecked> for Pledge {
    type Error = PledgeError;

    fn try_from(Unchecked { epoch, promised, accepted }: Unchecked) -> Result<Self, PledgeError> {
        let accepted = accepted.map(|UncheckedAccepted { ballot, configuration }| Accepted {
            ballot: Ballot(ballot),
            configuration,
        });
        Self { epoch, promised: Ballot(promised), accepted }.checked()
    }
}

impl From<Pledge> for Unchecked {
    fn from(Pledge { epoch, promised, accepted }: Pledge) -> Self {
        let accepted = accepted
            .map(|Accepted { ballot, configuration }| UncheckedAccepted { ballot: ballot.0, configuration });
        Self { epoch, promised: promised.0, accepted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// {1, 2} of this epoch, under a ballot of node 1.
    fn accepted(round: u64, epoch: u32) -> Accepted {
        let configuration = Configuration::new(epoch, vec![1, 2]).unwrap();
        Accepted { ballot: Ballot::new(round, 1), configuration }
    }

    #[test]
    fn only_valid_pledges_can_be_made() {
        for ballot in [Ballot(0), Ballot::new(3, 0), Ballot::new(1 << 47, 1), Ballot(u64::MAX)] {
            assert_eq!(Pledge::new(1, ballot), Err(PledgeError::Ballot(ballot)));
        }
        let pledge = Pledge::new(1, Ballot::new(3, 1)).unwrap();
        let epoch = PledgeError::Epoch { of: 1, accepted: 3 };
        assert_eq!(pledge.clone().accepting(accepted(3, 3)), Err(epoch));
        assert!(pledge.clone().accepting(accepted(3, 2)).is_ok());
        assert!(Pledge::new(u32::MAX, Ballot::new(3, 1)).unwrap().accepting(accepted(3, 1)).is_err());
    }

    #[test]
    fn a_decoded_pledge_is_a_valid_one() {
        let pledge = Pledge::new(1, Ballot::new(3, 1)).unwrap().accepting(accepted(4, 2)).unwrap();
        let bytes = postcard::to_stdvec(&pledge).unwrap();
        assert_eq!(postcard::from_bytes::<Pledge>(&bytes).unwrap(), pledge);
        let accepted_above = Unchecked { promised: Ballot::new(3, 1).0, ..pledge.into() };
        assert!(postcard::from_bytes::<Pledge>(&postcard::to_stdvec(&accepted_above).unwrap()).is_err());
    }

    #[test]
    fn a_pledge_is_kept_by_what_promises_and_accepts_no_less() {
        let first = Pledge::new(1, Ballot::new(3, 1)).unwrap();
        let second = first.clone().accepting(accepted(3, 2)).unwrap();
        let third = second.clone().promising(Ballot::new(3, 2)).unwrap();
        let forgetful = Pledge::new(1, Ballot::new(9, 1)).unwrap();
        let next = Pledge::new(2, Ballot::new(1, 1)).unwrap();
        let order = [first, second.clone(), third, next];
        for (i, later) in order.iter().enumerate() {
            for (j, earlier) in order.iter().enumerate() {
                assert_eq!(later.keeps(earlier), i >= j, "{later:?} after {earlier:?}");
            }
        }
        assert!(!forgetful.keeps(&second));
    }
}
