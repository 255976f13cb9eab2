//! The plane without XDP does with a message what the XDP program does: the same answer, the same outcome
//! counted, the same events, the same lease word and view of the holder.
//!
//! Both run the rules of `vip_common::vote`; here it is what is around them that is compared.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use vip_common::lease::{Ballot, Renewal};
use vip_common::maps::{Counter, Event, Role};
use vip_common::wire::{Kind, Message, Reason};
use vip_user::dataplane::{Action, Word, Words};
use vip_user::userplane::{Received, UserPlane};

use super::frames;
use super::node::{
    CLUSTER, COUNTERS, EPOCH, INCARNATION, KEY, LEASE, MAIL, MAIL_ID, MOMENT, NODE, Node, SECOND_KEY, WEB,
    WEB_ID, config, host, multicast, now,
};

const MESSAGES: u64 = 20_000;
/// The clock goes on between the two: in ns, more than that ever takes, and less than any length of time
/// here, but for [`MOMENT`].
const SLACK: u64 = LEASE / 10;
const SLOTS: [u32; 2] = [WEB, MAIL];

#[test]
fn without_xdp_a_message_from_the_wire_is_answered_and_counted_as_by_the_xdp_program() {
    let met = compare(Node::new(), false);
    let counters = [
        Counter::LeaseReply,
        Counter::LeaseSilent,
        Counter::LeaseRenewed,
        Counter::MessagePassed,
        Counter::OwnEcho,
        Counter::RejectedMalformed,
        Counter::RejectedCluster,
        Counter::RejectedTag,
        Counter::RejectedReplay,
        Counter::RejectedSender,
        Counter::RejectedGroup,
        Counter::RejectedEpoch,
    ];
    assert!(counters.iter().all(|counter| met.counters.contains(&(*counter as u32))), "{met:?}");
    let reasons =
        [Reason::Held, Reason::Promised, Reason::TooLong, Reason::OldEpoch].map(|reason| reason as u8);
    let agreed = [Kind::Promise, Kind::Accepted].map(|kind| (kind as u8, 0));
    let refused = reasons.map(|reason| (Kind::Refused as u8, reason));
    assert!(agreed.iter().chain(&refused).all(|answer| met.answers.contains(answer)), "{met:?}");
    assert!(met.extensions > 0 && met.events > 0, "{met:?}");
}

#[test]
fn without_xdp_a_node_votes_on_its_own_messages_as_by_the_xdp_program() {
    let met = compare(Node::alone(), true);
    let answers =
        [(Kind::Promise as u8, 0), (Kind::Accepted as u8, 0), (Kind::Refused as u8, Reason::Promised as u8)];
    assert!(answers.iter().all(|answer| met.answers.contains(answer)), "{met:?}");
}

/// What has happened at least once, by which it shows that the messages were of all kinds.
#[derive(Debug, Default)]
struct Met {
    counters: BTreeSet<u32>,
    answers: BTreeSet<(u8, u8)>,
    extensions: u32,
    events: u32,
}

/// What can be seen of one message.
#[derive(Debug)]
struct Seen {
    counter: Counter,
    answer: Option<Message>,
    events: Vec<Event>,
    words: [Word; 2],
}

fn compare(mut node: Node, own: bool) -> Met {
    let words = Words::in_process().unwrap();
    let slots = BTreeMap::from([(WEB_ID, WEB), (MAIL_ID, MAIL)]);
    let mut plane = UserPlane::new(config(), slots, 0, words.clone());
    let mut rng = SmallRng::seed_from_u64(7);
    let mut met = Met::default();
    let mut last = None;
    for sequence in 1..=MESSAGES {
        stir(&mut rng, &mut node, &mut plane, &words);
        let before = SLOTS.map(|slot| words.read(slot).lease_until);
        let message =
            last.filter(|_| rng.random_ratio(1, 20)).unwrap_or_else(|| message(&mut rng, own, sequence));
        last = Some(message);

        let by_xdp = see_xdp(&mut node, &message);
        let by_process = see_process(&mut plane, &words, &message, own);
        assert_same(&by_xdp, &by_process, &message);
        met.counters.insert(by_process.counter as u32);
        met.answers.extend(by_process.answer.map(|answer| (answer.kind, answer.reason)));
        met.events += u32::try_from(by_process.events.len()).unwrap();
        met.extensions += u32::from(by_process.words.map(|word| word.lease_until) != before);
    }
    met
}

/// What the daemon does to both between messages.
fn stir(rng: &mut SmallRng, node: &mut Node, plane: &mut UserPlane, words: &Words) {
    let slot = SLOTS[rng.random_range(0..2)];
    let both = [&node.plane.words, words];
    match rng.random_range(0..20) {
        0 | 1 => {
            let renewal = Renewal::new(Ballot::new(rng.random_range(1..6), NODE), LEASE, &[NODE, 2, 3]);
            node.plane.renewals.set(slot, renewal).unwrap();
            plane.set_renewal(slot, renewal);
        }
        2 => both.iter().for_each(|words| words.set_role(slot, Role::Holder)),
        3 => both.iter().for_each(|words| words.set_role(slot, Role::Follower)),
        4 => both.iter().for_each(|words| words.arm(slot, 1)),
        5 => both.iter().for_each(|words| words.disarm(slot)),
        _ => {}
    }
}

/// A message that mostly makes sense.
fn message(rng: &mut SmallRng, own: bool, sequence: u64) -> Message {
    use Kind::*;
    const KINDS: [Kind; 13] = [
        Prepare, Propose, Release, Transfer, Promise, Accepted, Refused, Hello, Probe, Taken, Offer, Ask,
        Grant,
    ];
    let kind = match rng.random_range(0..10) {
        0..7 => KINDS[rng.random_range(0..4)],
        7 if !own => Accepted,
        _ if own => Propose,
        _ => KINDS[rng.random_range(0..KINDS.len())],
    };
    // What is the daemon's own comes as the daemon makes it.
    let usual = |rng: &mut SmallRng| own || !rng.random_ratio(1, 40);
    let sender = match own {
        true => NODE,
        false if usual(rng) => rng.random_range(2..5),
        false => rng.random_range(0..2),
    };
    let is_answer = matches!(kind, Promise | Accepted | Refused | Taken);
    let maker = match usual(rng) {
        true if is_answer => NODE,
        true if kind == Transfer => rng.random_range(2..5),
        _ => sender,
    };
    let mut message = Message::new(kind, if usual(rng) { CLUSTER } else { CLUSTER + 1 });
    message.sender = sender.into();
    message.group = if usual(rng) { [WEB_ID, MAIL_ID][rng.random_range(0..2)] } else { 1 }.into();
    message.epoch = if usual(rng) { EPOCH } else { rng.random_range(EPOCH - 1..=EPOCH + 1) }.into();
    // Where a node's own daemon is heard on the wire, it is mostly another one.
    message.incarnation = if usual(rng) { INCARNATION } else { INCARNATION - rng.random_range(0..2) }.into();
    message.sequence = sequence.into();
    message.sent_at = if usual(rng) { rng.random_range(1..1000) } else { u64::MAX }.into();
    message.ballot = Ballot::new(rng.random_range(1..6), maker).0.into();
    message.duration = [MOMENT, MOMENT, MOMENT, LEASE, LEASE + 1][rng.random_range(0..5)].into();
    message.seal(if usual(rng) { &KEY } else { &SECOND_KEY }, b"");
    if !usual(rng) {
        message.version += 1;
    }
    message
}

fn see_xdp(node: &mut Node, message: &Message) -> Seen {
    let outcome = node.receives(&multicast(message));
    let answer = (outcome.action == Action::Tx).then(|| {
        let bytes = frames::payload(&outcome.frame).first_chunk().unwrap();
        Message::from_bytes(*bytes)
    });
    let events = node.events().into_iter().map(|(_, event)| Event { mac: [0; 6], ..event }).collect();
    let words = SLOTS.map(|slot| node.plane.words.read(slot));
    Seen { counter: outcome.counter, answer, events, words }
}

fn see_process(plane: &mut UserPlane, words: &Words, message: &Message, own: bool) -> Seen {
    let before = plane.board().counters();
    let answer = match own {
        true => plane.cast(message, now()),
        false => match plane.receive(&message.to_bytes(), host(message.sender.get()).ip.into(), now()) {
            Received::Answered(answer) => Some(answer),
            Received::Passed(..) | Received::Done => None,
        },
    };
    let after = plane.board().counters();
    let mut counted = COUNTERS.into_iter().filter(|counter| after.get(*counter) != before.get(*counter));
    let counter = counted.next().expect("the message counts");
    assert_eq!((counted.next(), after.get(counter) - before.get(counter)), (None, 1), "once");
    let events = std::iter::from_fn(|| plane.next_event()).collect();
    Seen { counter, answer, events, words: SLOTS.map(|slot| words.read(slot)) }
}

/// Panics if the two differ by more than how far the clock has gone.
fn assert_same(by_xdp: &Seen, by_process: &Seen, message: &Message) {
    let context = || format!("{message:?}: {by_xdp:?}, and without XDP {by_process:?}");
    assert_eq!(by_xdp.counter, by_process.counter, "{}", context());
    assert_eq!(by_xdp.events, by_process.events, "{}", context());
    // What remains of a lease is told by the clock, and is under the tag.
    let timeless = |answer: Message| {
        let is_held = answer.kind == Kind::Refused as u8 && answer.reason == Reason::Held as u8;
        let mut timeless = Message { tag: 0.into(), ..answer };
        if is_held {
            timeless.duration = 0.into();
        }
        (timeless, answer.tag_under(&KEY) == answer.tag.get())
    };
    assert_eq!(by_xdp.answer.map(timeless), by_process.answer.map(timeless), "{}", context());
    for (xdp, process) in by_xdp.words.iter().zip(&by_process.words) {
        assert_eq!(
            (xdp.lease_until, xdp.holder_ballot),
            (process.lease_until, process.holder_ballot),
            "{}",
            context()
        );
        assert!(xdp.holder_until.abs_diff(process.holder_until) < SLACK, "{}", context());
    }
}
