//! The one message of the protocol: 80 bytes, big-endian, tagged; some kinds carry a body behind it.
//!
//! The header is what XDP verifies and decides on. A body (see [`Kind::Hello`]) is opaque here; the header's
//! `body_tag` covers it, so that a verified header vouches for its body as well.
//! Encoding and decoding of bodies live with the daemon.

use crate::siphash::{Key, SipHasher, siphash};

/// The first four bytes of every message.
pub const MAGIC: u32 = u32::from_be_bytes(*b"VIPL");
/// The version of this layout. A message of another version is rejected.
pub const VERSION: u8 = 1;
/// The longest body, in bytes: the message fits an Ethernet frame of 1,500 bytes without fragments.
pub const MAX_BODY: usize = 1200;

/// A big-endian number as it lies in the packet.
macro_rules! big_endian {
    ($name:ident, $int:ty) => {
        #[doc = concat!("A big-endian `", stringify!($int), "` as it lies in the packet.")]
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            /// The number, as this machine has it.
            #[inline(always)]
            pub const fn get(self) -> $int {
                <$int>::from_be(self.0)
            }
        }

        impl From<$int> for $name {
            #[inline(always)]
            fn from(value: $int) -> Self {
                Self(value.to_be())
            }
        }
    };
}
big_endian!(Be16, u16);
big_endian!(Be32, u32);
big_endian!(Be64, u64);

/// A message. Requests and hellos are stamped by their sender; an answer echoes `incarnation`, `sequence`, `sent_at`
/// and `group` of its request, which makes a replayed answer recognisable without state.
///
/// Packed, so that XDP reads and rewrites it where it lies in the packet, at any alignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, packed)]
pub struct Message {
    /// [`MAGIC`].
    pub magic: Be32,
    /// [`VERSION`].
    pub version: u8,
    /// A [`Kind`].
    pub kind: u8,
    /// A [`Reason`] in a refusal, else 0.
    pub reason: u8,
    /// 0.
    pub reserved: u8,
    /// Hash of the cluster's name, see [`name_hash`].
    pub cluster: Be32,
    /// Hash of the group's name; 0 in messages that concern no group.
    pub group: Be32,
    /// Id of the node that made this message.
    pub sender: Be16,
    /// Bytes of body behind the tag.
    pub body_len: Be16,
    /// The sender's configuration epoch; 0 while it has none.
    pub epoch: Be32,
    /// Start of the requesting daemon, Unix ns, strictly growing per node.
    pub incarnation: Be64,
    /// Strictly growing within an incarnation.
    pub sequence: Be64,
    /// The requester's CLOCK_BOOTTIME in ns, taken before the message was sent.
    pub sent_at: Be64,
    /// The ballot that a request stands on and an answer agrees to; in a refusal, the one in its way. In a handover,
    /// the one under which the new holder goes on.
    pub ballot: Be64,
    /// Propose: the lease length. Refused: what remains of the lease in the way, or the longest lease taken. Transfer
    /// and Grant: what is left of the lease. In ns.
    pub duration: Be64,
    /// SipHash of the body under the sender's key; 0 without a body.
    pub body_tag: Be64,
    /// SipHash-2-4 of all fields before it.
    pub tag: Be64,
}

/// Bytes of a message without its body.
pub const MESSAGE_LEN: usize = size_of::<Message>();
const WORDS: usize = MESSAGE_LEN / 8;
const TAGGED_WORDS: usize = WORDS - 1;
const _: () = assert!(MESSAGE_LEN == 80);

/// What a message is for. Requests ask the acceptors of a group; each answer goes to the requester alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Request: promise this ballot.
    Prepare = 1,
    /// Request: accept a lease of `duration` under this ballot; repeated by the holder, this is the heartbeat.
    Propose = 2,
    /// Request without an answer: the holder gives its lease back.
    Release = 3,
    /// Answer to Prepare.
    Promise = 4,
    /// Answer to Propose.
    Accepted = 5,
    /// Answer to either: no, for a [`Reason`].
    Refused = 6,
    /// To all: who I am; the body says more. The daemon's membership handles it.
    Hello = 7,
    /// To all, before a node's first other message: is my id free?
    Probe = 8,
    /// Answer to a probe: the id is taken, by the sender of this.
    Taken = 9,
    /// Request without an answer: the holder has given what is left of its lease, `duration`, to the node of `ballot`.
    Transfer = 10,
    /// To the node of `ballot`: ask for my lease, which I hold under that round.
    Offer = 11,
    /// To the holder: give me the lease, for me to renew under `ballot`.
    Ask = 12,
    /// To the node of `ballot`: yes, so much of the lease is left, `duration`, counted from the `sent_at` of its Ask,
    /// which this echoes.
    Grant = 13,
    /// To all or to one: what members tell and ask each other beside the leases; the body says what. The daemon handles it.
    Gossip = 14,
}

impl Kind {
    /// The kind with this number.
    #[inline(always)]
    pub const fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Prepare,
            2 => Self::Propose,
            3 => Self::Release,
            4 => Self::Promise,
            5 => Self::Accepted,
            6 => Self::Refused,
            7 => Self::Hello,
            8 => Self::Probe,
            9 => Self::Taken,
            10 => Self::Transfer,
            11 => Self::Offer,
            12 => Self::Ask,
            13 => Self::Grant,
            14 => Self::Gossip,
            _ => return None,
        })
    }

    /// Whether a body may follow it. One that comes with another kind makes the message malformed.
    #[inline(always)]
    pub const fn may_have_body(self) -> bool {
        matches!(self, Self::Hello | Self::Probe | Self::Taken | Self::Gossip)
    }
}

/// Why an acceptor refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reason {
    /// Another node's lease, under `ballot`, runs for `duration` more.
    Held = 1,
    /// A higher `ballot` is promised.
    Promised = 2,
    /// The acceptor's quarantine would not cover a lease of this length; `duration` is the longest it takes.
    TooLong = 3,
    /// The request's configuration is older than the acceptor's `epoch`.
    OldEpoch = 4,
}

impl Reason {
    /// The reason with this number.
    pub const fn from_u8(reason: u8) -> Option<Self> {
        Some(match reason {
            1 => Self::Held,
            2 => Self::Promised,
            3 => Self::TooLong,
            4 => Self::OldEpoch,
            _ => return None,
        })
    }
}

/// Why bytes are not a message for this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// Not this protocol, another version, unknown kind, or lengths that do not fit.
    Malformed,
    /// Another cluster on the same segment.
    OtherCluster,
    /// No valid key made this tag.
    Tag,
}

impl Message {
    /// A message of zeros with the protocol's magic and version, its fields to be set.
    #[inline(always)]
    pub fn new(kind: Kind, cluster: u32) -> Self {
        let mut message = Self::from_bytes([0; MESSAGE_LEN]);
        message.magic = MAGIC.into();
        message.version = VERSION;
        message.kind = kind as u8;
        message.cluster = cluster.into();
        message
    }

    /// The message in these bytes, not checked for anything.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; MESSAGE_LEN]) -> Self {
        // SAFETY: same size, no padding, and every field takes any bit pattern.
        unsafe { core::mem::transmute::<[u8; MESSAGE_LEN], Self>(bytes) }
    }

    /// The bytes for the wire.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; MESSAGE_LEN] {
        // SAFETY: same size, no padding.
        unsafe { core::mem::transmute::<Self, [u8; MESSAGE_LEN]>(self) }
    }

    /// What the message is, once it is of this protocol and cluster.
    ///
    /// # Errors
    /// [`Invalid::Malformed`] or [`Invalid::OtherCluster`]. The tag is for [`Self::tag_under`] to check, before
    /// anything is done with what the message says.
    #[inline(always)]
    pub const fn kind_for(&self, cluster: u32) -> Result<Kind, Invalid> {
        if self.magic.get() != MAGIC || self.version != VERSION {
            return Err(Invalid::Malformed);
        }
        if self.cluster.get() != cluster {
            return Err(Invalid::OtherCluster);
        }
        match Kind::from_u8(self.kind) {
            Some(kind) => Ok(kind),
            None => Err(Invalid::Malformed),
        }
    }

    /// The tag that this message has under `key`.
    #[inline(always)]
    pub const fn tag_under(&self, key: &Key) -> u64 {
        let words = core::ptr::from_ref(self).cast::<u64>();
        let mut hasher = SipHasher::new(key);
        let mut i = 0;
        while i < TAGGED_WORDS {
            // SAFETY: a `Message` is `WORDS` words long, and fewer than that are tagged.
            let word = unsafe { words.add(i) };
            // SAFETY: in the message, as above; every bit pattern is a word, and the read asks for no alignment.
            let word = unsafe { word.read_unaligned() };
            hasher.write(u64::from_le(word));
            i += 1;
        }
        hasher.finish(0, TAGGED_WORDS * 8)
    }

    /// Sets the tags over this message and its `body`, at most [`MAX_BODY`] bytes, which go on the wire behind it.
    pub fn seal(&mut self, key: &Key, body: &[u8]) {
        self.body_len = u16::try_from(body.len()).unwrap_or(u16::MAX).into();
        self.body_tag = if body.is_empty() { 0.into() } else { siphash(key, body).into() };
        self.tag = self.tag_under(key).into();
    }

    /// Splits a datagram into a message of `cluster` and its body, both tagged under one of `keys`.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn open<'a>(
        datagram: &'a [u8],
        cluster: u32,
        keys: &[Key],
    ) -> Result<(Self, Kind, &'a [u8]), Invalid> {
        let (header, body) = datagram.split_first_chunk::<MESSAGE_LEN>().ok_or(Invalid::Malformed)?;
        let message = Self::from_bytes(*header);
        let kind = message.kind_for(cluster)?;
        let tag = message.tag.get();
        let key = keys.iter().find(|key| message.tag_under(key) == tag).ok_or(Invalid::Tag)?;
        let fits = body.len() == usize::from(message.body_len.get()) && body.len() <= MAX_BODY;
        if !fits || !(body.is_empty() || kind.may_have_body()) {
            return Err(Invalid::Malformed);
        }
        let body_tag = if body.is_empty() { 0 } else { siphash(key, body) };
        if body_tag != message.body_tag.get() {
            return Err(Invalid::Tag);
        }
        Ok((message, kind, body))
    }
}

/// The number that stands for a cluster's or group's name on the wire: 32-bit FNV-1a, never 0.
pub const fn name_hash(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let mut hash = 0x811c_9dc5_u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    if hash == 0 { 1 } else { hash }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const KEY: Key = [1, 2];
    const OTHER: Key = [1, 3];

    fn sealed(body: &[u8]) -> Vec<u8> {
        let mut message = Message::new(Kind::Hello, 7);
        message.sender = 3.into();
        message.sent_at = 0x0102_0304_0506_0708.into();
        message.seal(&KEY, body);
        [&message.to_bytes(), body].concat()
    }

    /// Expected: offsets of the published layout, written down by hand.
    #[test]
    fn fields_lie_big_endian_where_the_layout_says() {
        let bytes = sealed(b"");
        assert_eq!(&bytes[0..6], b"VIPL\x01\x07");
        assert_eq!(&bytes[8..12], &[0, 0, 0, 7]);
        assert_eq!(&bytes[16..18], &[0, 3]);
        assert_eq!(&bytes[40..48], &[1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn opens_what_was_sealed_under_any_valid_key() {
        for body in [&b""[..], b"x", b"eight by", &[7; MAX_BODY]] {
            let bytes = sealed(body);
            let (message, kind, got) = Message::open(&bytes, 7, &[OTHER, KEY]).unwrap();
            assert_eq!((message.sender.get(), kind, got), (3, Kind::Hello, body));
        }
    }

    #[test]
    fn a_single_flipped_bit_anywhere_is_found() {
        let bytes = sealed(b"body");
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Message::open(&broken, 7, &[KEY]).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_a_trailing_byte_are_found() {
        let bytes = sealed(b"body");
        for len in 0..bytes.len() {
            assert!(Message::open(&bytes[..len], 7, &[KEY]).is_err(), "length {len}");
        }
        assert!(Message::open(&[&bytes[..], b"!"].concat(), 7, &[KEY]).is_err());
    }

    #[test]
    fn another_cluster_and_another_key_are_told_apart() {
        let bytes = sealed(b"");
        assert_eq!(Message::open(&bytes, 8, &[KEY]).unwrap_err(), Invalid::OtherCluster);
        assert_eq!(Message::open(&bytes, 7, &[OTHER]).unwrap_err(), Invalid::Tag);
        assert_eq!(Message::open(&bytes, 7, &[]).unwrap_err(), Invalid::Tag);
    }
}
