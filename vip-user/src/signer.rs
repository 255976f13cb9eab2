//! This daemon's outgoing messages: numbered, stamped and tagged at one place, since a number must never come twice.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vip_common::lease::{Ballot, Request};
use vip_common::maps::{Config, KeyUse};
use vip_common::siphash::Key;
use vip_common::vote;
use vip_common::wire::{Invalid, Kind, Message};

use zeroize::Zeroizing;

use crate::config::Keys;

/// The keys of the cluster as the wire format wants them. They are in one place in memory, which is wiped when the last one who
/// has them lets go.
#[derive(Clone)]
pub struct WireKeys {
    /// One key at least. On the heap, so that moving and cloning makes no copies.
    keys: Arc<Zeroizing<Vec<Key>>>,
}

impl WireKeys {
    /// The configured keys. Without any, all nodes sign with zeros: still a checksum, no longer a secret.
    pub fn new(keys: &Keys) -> Self {
        let wire = match keys {
            Keys::Signed(ring) => ring.iter().map(words).collect(),
            Keys::Insecure => vec![Key::default()],
        };
        Self { keys: Arc::new(Zeroizing::new(wire)) }
    }

    /// The key that signs.
    fn signing(&self) -> &Key {
        &self.keys[0]
    }

    /// The keys that verify; the first one signs.
    pub fn verifying(&self) -> &[Key] {
        &self.keys
    }

    /// Gives them to the data plane.
    pub fn put_into(&self, config: &mut Config) {
        config.keys = [Key::default(); 2];
        for (to, key) in config.keys.iter_mut().zip(self.verifying()) {
            *to = *key;
        }
        config.keys_in_use = KeyUse::new(0, self.keys.len() > 1).0;
    }
}

impl fmt::Debug for WireKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// SipHash takes its key as two little-endian words (Aumasson and Bernstein 2012, section 2.1).
fn words(key: &[u8; 16]) -> Key {
    let (low, high) = key.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    [word(low), word(high)]
}

/// What a node cannot have, since another one has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Claimed {
    /// Its id.
    Id,
    /// Its name.
    Name,
}

/// Why a prober must not start: the body of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Objection {
    /// What is taken.
    pub claimed: Claimed,
    /// Who has it; `None`: the node that says so.
    pub owner: Option<IpAddr>,
}

impl Objection {
    /// By the node that has it.
    pub const fn by_this_node(claimed: Claimed) -> Self {
        Self { claimed, owner: None }
    }

    /// From the body of an answer; `None` if it is none.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (objection, rest) = postcard::take_from_bytes(body).ok()?;
        rest.is_empty().then_some(objection)
    }
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Hash of the cluster's name.
    pub cluster: u32,
    /// This node's id.
    pub node: u16,
    /// Start of this daemon, Unix ns.
    pub incarnation: u64,
}

/// Makes messages of this daemon. There is one per daemon.
#[derive(Debug)]
pub struct Signer {
    origin: Origin,
    keys: WireKeys,
    sequence: u64,
    epoch: u32,
}

impl Signer {
    /// The signer of a daemon that has just started.
    pub const fn new(origin: Origin, keys: WireKeys) -> Self {
        Self { origin, keys, sequence: 0, epoch: 0 }
    }

    /// Who signs.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Signs and verifies by these keys from now on.
    pub fn set_keys(&mut self, keys: WireKeys) {
        self.keys = keys;
    }

    /// The configuration epoch in all messages.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The configuration epoch in all messages from now on.
    pub const fn set_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    /// A request to the acceptors of a group. `sent_at` is this node's clock before the message is sent.
    pub fn request(&mut self, group: u32, request: Request, sent_at: u64) -> Message {
        let (kind, Ballot(ballot), duration) = vote::fields(request);
        self.about_lease(group, kind, ballot, sent_at, duration)
    }

    /// To the node of `ballot`: ask for this group's lease.
    pub fn offer(&mut self, group: u32, ballot: Ballot) -> Message {
        self.about_lease(group, Kind::Offer, ballot.0, 0, 0)
    }

    /// To the holder: give this node the group's lease, for it to go on under `ballot`. `sent_at` is this node's clock
    /// before the message is sent.
    pub fn ask(&mut self, group: u32, ballot: Ballot, sent_at: u64) -> Message {
        self.about_lease(group, Kind::Ask, ballot.0, sent_at, 0)
    }

    /// To the node of `ballot`, which has asked at `sent_at` by its clock: the group's lease is its, `left` ns of it.
    pub fn grant(&mut self, group: u32, ballot: Ballot, sent_at: u64, left: u64) -> Message {
        self.about_lease(group, Kind::Grant, ballot.0, sent_at, left)
    }

    fn about_lease(&mut self, group: u32, kind: Kind, ballot: u64, sent_at: u64, duration: u64) -> Message {
        let mut message = self.message(kind);
        message.group = group.into();
        message.sent_at = sent_at.into();
        message.ballot = ballot.into();
        message.duration = duration.into();
        message.seal(self.keys.signing(), b"");
        message
    }

    /// A message of the daemon's own, with a body of at most [`vip_common::wire::MAX_BODY`] bytes.
    pub fn letter(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut message = self.message(kind);
        message.seal(self.keys.signing(), body);
        [&message.to_bytes(), body].concat()
    }

    /// Tells a prober what it cannot have.
    pub fn taken(&self, probe: &Message, objection: Objection) -> Vec<u8> {
        let mut message = *probe;
        message.kind = Kind::Taken as u8;
        let body = postcard::to_stdvec(&objection).unwrap_or_default();
        message.seal(self.keys.signing(), &body);
        [&message.to_bytes(), &body[..]].concat()
    }

    /// Splits a datagram of this cluster into message and body, see [`Message::open`].
    ///
    /// # Errors
    /// The first check that failed.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Result<(Message, Kind, &'a [u8]), Invalid> {
        Message::open(datagram, self.origin.cluster, self.keys.verifying())
    }

    fn message(&mut self, kind: Kind) -> Message {
        self.sequence += 1;
        let mut message = Message::new(kind, self.origin.cluster);
        message.sender = self.origin.node.into();
        message.epoch = self.epoch.into();
        message.incarnation = self.origin.incarnation.into();
        message.sequence = self.sequence.into();
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyRing;

    const ORIGIN: Origin = Origin { cluster: 7, node: 3, incarnation: 11 };

    fn signer(keys: &Keys) -> Signer {
        Signer::new(ORIGIN, WireKeys::new(keys))
    }

    /// Expected: the words of the key in the appendix of the SipHash paper.
    #[test]
    fn a_key_is_read_as_two_little_endian_words() {
        let key = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(words(&key), [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
    }

    #[test]
    fn printing_keys_shows_none() {
        let keys = Keys::Signed(KeyRing::new([0xab; 16], Some([0xcd; 16])));
        assert_eq!(format!("{:?}", WireKeys::new(&keys)), "WireKeys { keys: 2, .. }");
        let mut config = Config::default();
        WireKeys::new(&keys).put_into(&mut config);
        assert_eq!(config.keys[1], [0xcdcd_cdcd_cdcd_cdcd; 2]);
        let shown = format!("{config:?}");
        assert!(
            shown.contains("keys_in_use: 3") && !shown.contains(&config.keys[1][0].to_string()),
            "{shown}"
        );
    }

    #[test]
    fn every_message_has_a_higher_number_than_all_before_it() {
        let mut signer = signer(&Keys::Insecure);
        let ballot = Ballot::new(1, 3);
        let first = signer.request(5, Request::Prepare(ballot), 100);
        let letter = signer.letter(Kind::Hello, b"body");
        let (second, ..) = signer.open(&letter).unwrap();
        let third = signer.request(5, Request::Propose(ballot, 50), 101);
        assert!(first.sequence.get() < second.sequence.get());
        assert!(second.sequence.get() < third.sequence.get());
    }

    #[test]
    fn what_a_handover_says_is_in_the_fields_that_the_format_names() {
        let mut signer = signer(&Keys::Insecure);
        signer.set_epoch(4);
        let ballot = Ballot::new(9, 2);
        let transfer = Request::Transfer { from: 3, to: ballot, left: 40 };
        let cases = [
            (signer.request(5, transfer, 100), Kind::Transfer, 100, 40),
            (signer.offer(5, ballot), Kind::Offer, 0, 0),
            (signer.ask(5, ballot, 100), Kind::Ask, 100, 0),
            (signer.grant(5, ballot, 100, 40), Kind::Grant, 100, 40),
        ];
        for (message, kind, sent_at, left) in cases {
            let bytes = message.to_bytes();
            let (opened, opened_kind, _) = signer.open(&bytes).unwrap();
            assert_eq!(opened_kind, kind);
            assert_eq!((opened.sender.get(), opened.epoch.get(), opened.group.get()), (3, 4, 5));
            assert_eq!(opened.ballot.get(), ballot.0);
            assert_eq!((opened.sent_at.get(), opened.duration.get()), (sent_at, left), "{kind:?}");
        }
    }

    #[test]
    fn what_either_key_signed_is_opened_and_the_first_one_signs() {
        let old = Keys::Signed(KeyRing::new([1; 16], None));
        let both = Keys::Signed(KeyRing::new([2; 16], Some([1; 16])));
        let by_old = signer(&old).letter(Kind::Hello, b"x");
        let by_both = signer(&both).letter(Kind::Hello, b"x");
        assert_eq!(signer(&both).open(&by_old).unwrap().2, b"x");
        assert!(signer(&old).open(&by_both).is_err());
    }

    #[test]
    fn a_taken_answer_echoes_the_probe() {
        let mut signer = signer(&Keys::Insecure);
        let letter = signer.letter(Kind::Probe, b"");
        let (probe, ..) = signer.open(&letter).unwrap();
        for owner in [None, Some(IpAddr::from([10, 0, 0, 2]))] {
            let objection = Objection { claimed: Claimed::Name, owner };
            let answer = signer.taken(&probe, objection);
            let (taken, kind, body) = signer.open(&answer).unwrap();
            assert_eq!(kind, Kind::Taken);
            assert_eq!((taken.incarnation, taken.sequence), (probe.incarnation, probe.sequence));
            assert_eq!(Objection::read(body), Some(objection));
            assert_eq!(Objection::read(&[body, b"x"].concat()), None);
        }
        assert_eq!(Objection::read(b""), None);
    }
}
