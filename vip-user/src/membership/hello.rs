//! The Hello message: what a node says of itself, and its strict encoding.
//!
//! The header around it (sender, incarnation, sequence, tag) and its checks belong to the transport; what is done on
//! hearing one is in the parent module.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::configuration::{Configuration, FIRST_EPOCH, MAX_VOTERS};
use super::pledge::{Accepted, Pledge};
use crate::gossip::events::{Heard, MAX_HEARD};

/// The most bytes of an encoded Hello: with its header it fits the smallest common MTU without fragments.
pub const MAX_HELLO_BYTES: usize = 1200;

/// The most bytes of a node's name, and of its version.
pub const MAX_NAME_BYTES: usize = 32;

/// The most groups that a node can offer to serve.
pub const MAX_OFFERS: usize = 64;

/// The most tags of a node.
pub(super) const MAX_TAGS: usize = 16;

/// The most bytes of a node's tags, names and values together.
pub(super) const MAX_TAGS_BYTES: usize = 256;

/// The longest time between two Hellos, in ms.
pub const MAX_PERIOD_MS: u32 = 60_000;

/// What a node says of itself, every second and whenever its standing changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// For people: 1 to 32 bytes without control characters. Nodes are told apart by their ids.
    pub name: String,
    /// The version of the node's software, at most 32 bytes without control characters.
    pub version: String,
    /// What the operator has written on the node, for programs: name and value, without control characters.
    pub tags: BTreeMap<String, String>,
    /// The node's own priority; 0 is a witness.
    pub priority: u8,
    /// How many voters the node's settings want in the first configuration, 1 to 16.
    pub expect: u8,
    /// Time between two renewals, in ns.
    pub interval_ns: u64,
    /// Length of a lease, in ns.
    pub lease_ns: u64,
    /// The groups that the node takes part in, at most 64, each once.
    pub groups: Vec<Offer>,
    /// How far the node is in having a configuration.
    pub standing: Standing,
    /// What the node has pledged for the choice of the next configuration, if it is a voter and has.
    pub pledge: Option<Pledge>,
    /// The voter that the node asks to count out. Its own id: it wants to vote no more, or not at all.
    pub remove: Option<u16>,
    /// The node is about to stop on purpose.
    pub leaving: bool,
    /// The next Hello comes within this time, at most [`MAX_PERIOD_MS`].
    pub period_ms: u32,
    /// The latest Lamport time of user events that the node has heard of.
    pub clock: u64,
    /// What it has heard of user events lately, at most [`MAX_HEARD`] nodes'.
    pub heard: Vec<Heard>,
}

/// A node's readiness to serve one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The hash of the group's name.
    pub group: u32,
    /// The node's priority in this group; 0 does not hold, by its settings or because it cannot serve now.
    pub priority: u8,
    /// Whether the node takes the lease over from a live holder of lower priority.
    pub preempt: bool,
}

/// How far a node is in having a configuration. Whatever a node says here is on its disk already, and the data plane
/// decides by it: it answers in the epoch of this configuration and in no older one any more, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It has neither a configuration nor consented to one.
    Waiting,
    /// It has consented to this first configuration, and will never consent to another one.
    Consented(Configuration),
    /// This is its current configuration.
    Formed(Configuration),
}

impl Hello {
    /// The body of a message, at most [`MAX_HELLO_BYTES`]. Fails when a field is out of its range.
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        self.check()?;
        let bytes = postcard::to_stdvec(self).map_err(HelloError::Malformed)?;
        if bytes.len() > MAX_HELLO_BYTES {
            return Err(HelloError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// The Hello in the body of a message. Refuses fields out of their ranges, and bytes behind the end.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        if bytes.len() > MAX_HELLO_BYTES {
            return Err(HelloError::TooLong(bytes.len()));
        }
        let (hello, rest): (Self, &[u8]) = postcard::take_from_bytes(bytes).map_err(HelloError::Malformed)?;
        if !rest.is_empty() {
            return Err(HelloError::Trailing(rest.len()));
        }
        hello.check()?;
        Ok(hello)
    }

    /// Whether every field is in its range; the types already keep the configuration's.
    fn check(&self) -> Result<(), HelloError> {
        if self.name.is_empty() || !is_short_and_plain(&self.name) {
            return Err(HelloError::Name);
        }
        if !is_short_and_plain(&self.version) {
            return Err(HelloError::Version);
        }
        check_tags(&self.tags)?;
        if self.period_ms == 0 || self.period_ms > MAX_PERIOD_MS {
            return Err(HelloError::Period(self.period_ms));
        }
        if self.heard.len() > MAX_HEARD || self.heard.iter().any(|heard| heard.last.number == u64::MAX) {
            return Err(HelloError::Heard);
        }
        if self.expect == 0 || usize::from(self.expect) > MAX_VOTERS {
            return Err(HelloError::Expect(self.expect));
        }
        if self.groups.len() > MAX_OFFERS {
            return Err(HelloError::TooManyOffers(self.groups.len()));
        }
        let distinct: BTreeSet<u32> = self.groups.iter().map(|offer| offer.group).collect();
        if distinct.len() != self.groups.len() {
            return Err(HelloError::GroupTwice);
        }
        if self.remove == Some(0) {
            return Err(HelloError::RemoveNobody);
        }
        match &self.standing {
            Standing::Consented(configuration) if configuration.epoch() != FIRST_EPOCH => {
                Err(HelloError::ConsentEpoch(configuration.epoch()))
            }
            _ if self.pledge.as_ref().is_some_and(|pledge| !self.may_pledge(pledge)) => {
                Err(HelloError::Pledge)
            }
            _ => Ok(()),
        }
    }

    /// Whether a pledge is about the successor of the configuration that the node says it has.
    fn may_pledge(&self, pledge: &Pledge) -> bool {
        let Standing::Formed(current) = &self.standing else { return false };
        let follows = |accepted: &Accepted| accepted.configuration.is_successor_of(current);
        pledge.epoch() == current.epoch() && pledge.accepted().is_none_or(follows)
    }

    /// Whether both nodes are set to lease times that go together.
    pub(super) fn has_timing_of(&self, other: &Self) -> bool {
        (self.interval_ns, self.lease_ns) == (other.interval_ns, other.lease_ns)
    }
}

/// Whether a node can have these tags.
///
/// # Errors
/// What is wrong with them.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), HelloError> {
    let bytes: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    let is_plain = |text: &str| !text.chars().any(char::is_control);
    let is_valid = |(name, value): (&String, &String)| !name.is_empty() && is_plain(name) && is_plain(value);
    if tags.len() > MAX_TAGS || bytes > MAX_TAGS_BYTES || !tags.iter().all(is_valid) {
        return Err(HelloError::Tags);
    }
    Ok(())
}

fn is_short_and_plain(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

/// Why a Hello cannot be sent or is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// More bytes than a Hello may have.
    #[error("hello of {0} bytes: at most {MAX_HELLO_BYTES}")]
    TooLong(usize),
    /// The bytes are no Hello, or hold an invalid configuration.
    #[error("hello is malformed: {0}")]
    Malformed(postcard::Error),
    /// Bytes behind the end of the Hello.
    #[error("hello has {0} bytes too many at its end")]
    Trailing(usize),
    /// The name is empty, too long, or not plain text.
    #[error("node name: 1 to {MAX_NAME_BYTES} bytes without control characters")]
    Name,
    /// The version is too long or not plain text.
    #[error("version: at most {MAX_NAME_BYTES} bytes without control characters")]
    Version,
    /// Too many tags, too long ones, or not plain text.
    #[error(
        "tags: at most {MAX_TAGS}, of {MAX_TAGS_BYTES} bytes in all, with names, and without control characters"
    )]
    Tags,
    /// No time between two Hellos.
    #[error("the next hello is to come within {0} ms: 1 to {MAX_PERIOD_MS}")]
    Period(u32),
    /// More nodes than a Hello can name, or a number that none can follow.
    #[error("what it has heard of events: at most {MAX_HEARD} nodes'")]
    Heard,
    /// `expect` cannot be the size of a configuration.
    #[error("expect = {0}: 1 to {MAX_VOTERS}")]
    Expect(u8),
    /// More groups than a Hello can name.
    #[error("{0} groups: at most {MAX_OFFERS}")]
    TooManyOffers(usize),
    /// Two offers for one group.
    #[error("a group is offered twice, or the names of two groups have the same hash")]
    GroupTwice,
    /// Consent is given to first configurations only.
    #[error("consent to a configuration of epoch {0}: only first configurations need consent")]
    ConsentEpoch(u32),
    /// The pledge is not for the successor of the configuration that the Hello has.
    #[error("the pledge does not belong to the configuration of the hello")]
    Pledge,
    /// 0 is no node's id.
    #[error("asks to remove node 0: node ids count from 1")]
    RemoveNobody,
}

#[cfg(test)]
mod tests {
    use vip_common::lease::Ballot;

    use super::*;
    use crate::gossip::Origin;

    fn largest() -> Hello {
        let last = Origin { node: u16::MAX, incarnation: u64::MAX, number: u64::MAX - 1 };
        let group = |i| Offer { group: u32::MAX - i, priority: 255, preempt: true };
        let configuration = Configuration::new(u32::MAX - 1, (65_520..=65_534).collect()).unwrap();
        let ballot = Ballot::new((1 << 47) - 1, u16::MAX);
        let accepted = Accepted { ballot, configuration: configuration.with(65_535).unwrap() };
        let pledge = Pledge::new(configuration.epoch(), ballot).and_then(|pledge| pledge.accepting(accepted));
        Hello {
            name: "n".repeat(MAX_NAME_BYTES),
            version: "v".repeat(MAX_NAME_BYTES),
            tags: (10..26).map(|i| (format!("{i}"), "t".repeat(14))).collect(),
            priority: 255,
            expect: 16,
            interval_ns: u64::MAX,
            lease_ns: u64::MAX,
            groups: (0..64).map(group).collect(),
            standing: Standing::Formed(configuration),
            pledge: Some(pledge.unwrap()),
            remove: Some(u16::MAX),
            leaving: true,
            period_ms: MAX_PERIOD_MS,
            clock: u64::MAX,
            heard: vec![Heard { last, ltime: u64::MAX }; MAX_HEARD],
        }
    }

    #[test]
    fn the_largest_valid_hello_fits_and_comes_back_equal() {
        let bytes = largest().encode().unwrap();
        assert!(bytes.len() <= MAX_HELLO_BYTES);
        assert_eq!(Hello::decode(&bytes), Ok(largest()));
    }

    #[test]
    fn a_hello_cut_anywhere_or_followed_by_anything_is_refused() {
        let mut bytes = largest().encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Trailing(1)));
        assert_eq!(Hello::decode(&[0; 1201]), Err(HelloError::TooLong(1201)));
    }

    #[test]
    fn fields_out_of_range_are_refused_in_both_directions() {
        type Spoil = fn(&mut Hello, Standing, Offer);
        let consent = Standing::Consented(Configuration::new(2, vec![1]).unwrap());
        let offer = Offer { group: 7, priority: 1, preempt: false };
        let cases: [(HelloError, Spoil); 16] = [
            (HelloError::Name, |h, _, _| h.name.clear()),
            (HelloError::Name, |h, _, _| h.name = "a\nb".into()),
            (HelloError::Version, |h, _, _| h.version.push('x')),
            (HelloError::Expect(17), |h, _, _| h.expect = 17),
            (HelloError::TooManyOffers(65), |h, _, offer| h.groups.push(offer)),
            (HelloError::GroupTwice, |h, _, offer| h.groups = vec![offer; 2]),
            (HelloError::ConsentEpoch(2), |h, consent, _| h.standing = consent),
            (HelloError::RemoveNobody, |h, _, _| h.remove = Some(0)),
            (HelloError::Tags, |h, _, _| drop(h.tags.insert("x".into(), String::new()))),
            (HelloError::Tags, |h, _, _| h.tags = [("a".into(), "v".repeat(256))].into()),
            (HelloError::Tags, |h, _, _| h.tags = [("a".into(), "\u{1b}[2J".into())].into()),
            (HelloError::Tags, |h, _, _| h.tags = [(String::new(), "v".into())].into()),
            (HelloError::Period(0), |h, _, _| h.period_ms = 0),
            (HelloError::Period(60_001), |h, _, _| h.period_ms += 1),
            (HelloError::Heard, |h, _, _| h.heard.push(h.heard[0])),
            (HelloError::Heard, |h, _, _| h.heard[0].last.number = u64::MAX),
        ];
        for (error, spoil) in cases {
            let mut hello = largest();
            spoil(&mut hello, consent.clone(), offer);
            assert_eq!(hello.encode(), Err(error.clone()));
            assert_eq!(Hello::decode(&postcard::to_stdvec(&hello).unwrap()), Err(error));
        }
    }

    #[test]
    fn a_pledge_for_another_configurations_successor_is_refused() {
        let current = Configuration::new(3, vec![1, 2, 3]).unwrap();
        let standing = Standing::Formed(current.clone());
        let pledge = Pledge::new(3, Ballot::new(1, 1)).unwrap();
        let hello = Hello { standing: standing.clone(), pledge: Some(pledge.clone()), ..largest() };
        let accepting = |configuration| {
            let accepted = Accepted { ballot: Ballot::new(1, 1), configuration };
            Hello { pledge: Some(pledge.clone().accepting(accepted).unwrap()), ..hello.clone() }
        };
        let fine = [hello.clone(), accepting(current.without(2).unwrap())];
        assert!(fine.iter().all(|hello| Hello::decode(&hello.encode().unwrap()).as_ref() == Ok(hello)));

        let two_fewer = Configuration::new(4, vec![1]).unwrap();
        let other_epoch = Hello { pledge: Pledge::new(2, Ballot::new(1, 1)).ok(), ..hello.clone() };
        let no_configuration = Hello { standing: Standing::Waiting, ..hello.clone() };
        for hello in [accepting(two_fewer), other_epoch, no_configuration] {
            assert_eq!(hello.encode(), Err(HelloError::Pledge));
            assert_eq!(Hello::decode(&postcard::to_stdvec(&hello).unwrap()), Err(HelloError::Pledge));
        }
    }

    #[test]
    fn an_invalid_configuration_is_refused() {
        // Input: the encoding of a valid Hello whose two voters, before the last six bytes, are made equal.
        let standing = Standing::Formed(Configuration::new(1, vec![1, 2]).unwrap());
        let short = Hello { period_ms: 1, clock: 0, heard: vec![], ..largest() };
        let mut bytes = Hello { standing, pledge: None, remove: None, ..short }.encode().unwrap();
        let last_voter = bytes.len() - 7;
        assert_eq!(bytes[last_voter], 2);
        bytes[last_voter] = 1;
        assert!(matches!(Hello::decode(&bytes), Err(HelloError::Malformed(_))));
    }
}
