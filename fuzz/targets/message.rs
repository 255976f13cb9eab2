//! Datagrams, as anybody can send them, and as only a node that has the key can.
//!
//! Promised: what opens is all of the datagram, and of this cluster; whatever a node seals in the protocol's ranges opens;
//! no bit of that can be changed, nor its length; a probe that opens can be answered.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vip_common::wire::{Invalid, Kind, MAGIC, MAX_BODY, MESSAGE_LEN, Message, VERSION, name_hash};
use vip_user::config::{KeyRing, Keys};
use vip_user::signer::{Claimed, Objection, Origin, Signer, WireKeys};

const CLUSTER: u32 = name_hash("edge");

static NODE: LazyLock<Signer> = LazyLock::new(|| {
    let origin = Origin { cluster: CLUSTER, node: 1, incarnation: 7 };
    Signer::new(origin, keys())
});

fn keys() -> WireKeys {
    WireKeys::new(&Keys::Signed(KeyRing::new([1; 16], Some([2; 16]))))
}

fuzz_target!(|datagram: &[u8]| {
    opens_whole(datagram);
    let Some((header, body)) = datagram.split_first_chunk::<MESSAGE_LEN>() else { return };
    let message = Message::from_bytes(*header);
    let is_one = message.magic.get() == MAGIC
        && message.version == VERSION
        && message.cluster.get() == CLUSTER
        && Kind::from_u8(message.kind).is_some_and(|kind| body.is_empty() || kind.may_have_body())
        && body.len() <= MAX_BODY;
    for key in keys().verifying() {
        let mut message = message;
        message.seal(key, body);
        let sealed = [&message.to_bytes(), body].concat();
        assert_eq!(opens_whole(&sealed), is_one);
        // The tag decides where, so that every run of an input does the same.
        let place = usize::try_from(message.tag.get() % sealed.len() as u64).expect("a length is a usize");
        no_change_opens(sealed, place);
    }
});

/// Whether the datagram opens, and then to all that is in it.
fn opens_whole(datagram: &[u8]) -> bool {
    match NODE.open(datagram) {
        Ok((message, kind, body)) => {
            assert_eq!(message.kind, kind as u8);
            assert_eq!(message.cluster.get(), CLUSTER);
            assert_eq!([&message.to_bytes(), body].concat(), datagram);
            if kind == Kind::Probe {
                is_answered(&message);
            }
            true
        }
        Err(Invalid::Malformed | Invalid::OtherCluster | Invalid::Tag) => false,
    }
}

fn is_answered(probe: &Message) {
    let objection = Objection::by_this_node(Claimed::Id);
    let answer = NODE.taken(probe, objection);
    let (taken, kind, body) = NODE.open(&answer).expect("an answer opens");
    assert_eq!((kind, Objection::read(body)), (Kind::Taken, Some(objection)));
    assert_eq!((taken.incarnation, taken.sequence), (probe.incarnation, probe.sequence));
}

/// Cut before `place`, changed there in one bit, or followed by a byte, it is no message any more.
fn no_change_opens(mut sealed: Vec<u8>, place: usize) {
    assert!(NODE.open(&sealed[..place]).is_err(), "cut to {place} bytes");
    sealed[place] ^= 1 << (place % 8);
    assert!(NODE.open(&sealed).is_err(), "byte {place} changed");
    sealed[place] ^= 1 << (place % 8);
    sealed.push(0);
    assert!(NODE.open(&sealed).is_err(), "a byte more");
}
