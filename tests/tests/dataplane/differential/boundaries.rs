//! Moments at which an answer changes, swept across runs of the program, with the reference beside it: before that
//! moment the one answer, from then on the other, to the nanosecond that the clock before and after the run allows.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use vip_common::lease::{Acceptor, Ballot, Renewal};
use vip_common::maps::{CONFLICT_INTERVAL, Role};
use vip_common::wire::Kind;

use super::super::frames::{ETHERTYPE_IPV4, Host, Ipv4, arp_request, ethernet};
use super::super::node::{CLIENT, LEASE, MOMENT, NODE, NODE_HOST, Peer, WEB, WEB_VIP, host, multicast, now};
use super::pair::{Pair, Side};
use super::state::Move;
use super::ways::Way;

/// How often the program is to read its clock on each side of a moment that lies within the run.
const ENOUGH: u32 = 50;
/// How long before that moment the preparations begin, at most, in ns: longer than they take.
const SWEEP: u64 = 100_000;
/// Longer than it takes on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ballot of node 2, whose lease it is.
const HOLDERS: Ballot = Ballot::new(5, 2);

#[test]
fn packets_to_a_vip_are_fenced_from_the_end_of_the_lease_on() {
    let packet = Ipv4::new(CLIENT.ip, WEB_VIP, 6).around(b"data");
    let frame = ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet);
    sweep(|pair, end| {
        pair.change_group(WEB, |group| group.lease_until = end);
        frame.clone()
    });
}

#[test]
fn requests_for_a_vip_are_answered_until_the_end_of_the_lease() {
    let frame = arp_request(CLIENT, WEB_VIP);
    sweep(|pair, end| {
        pair.change_group(WEB, |group| group.lease_until = end);
        frame.clone()
    });
}

#[test]
fn another_nodes_prepare_is_promised_from_the_end_of_the_lease_on() {
    let mut rival = Peer::new(3);
    sweep(|pair, end| {
        let frame = multicast(&rival.prepare(9));
        pair.set_acceptor(WEB, held_until(end));
        frame
    });
}

#[test]
fn another_nodes_propose_is_accepted_from_the_end_of_the_lease_on() {
    let mut rival = Peer::new(3);
    sweep(|pair, end| {
        let frame = multicast(&rival.propose(9, LEASE));
        pair.set_acceptor(WEB, held_until(end));
        frame
    });
}

/// Input: a late transfer by a former holder.
#[test]
fn another_nodes_transfer_is_taken_from_the_end_of_the_lease_on() {
    let mut former = Peer::new(3);
    sweep(|pair, end| {
        let frame = multicast(&former.request(Kind::Transfer, 9, |message| message.duration = LEASE.into()));
        pair.set_acceptor(WEB, held_until(end));
        frame
    });
}

#[test]
fn a_release_is_one_until_the_end_of_the_lease() {
    let mut holder = Peer::new(HOLDERS.node());
    sweep(|pair, end| {
        let frame = multicast(&holder.release(HOLDERS.round()));
        pair.set_acceptor(WEB, held_until(end));
        frame
    });
}

#[test]
fn an_acceptor_answers_from_the_end_of_its_quarantine_on() {
    let mut peer = Peer::new(2);
    sweep(|pair, end| {
        let frame = multicast(&peer.propose(1, MOMENT));
        pair.set_acceptor(WEB, Acceptor { quarantine_until: end, ..Acceptor::default() });
        frame
    });
}

/// Input: an answer that echoes a stamp which this node has not given yet.
#[test]
fn an_answer_from_the_future_does_not_count() {
    let ballot = Ballot::new(1, NODE);
    sweep(|pair, end| {
        pair.perform(&Move::SetRenewal { slot: WEB, renewal: Renewal::new(ballot, LEASE, &[2]) });
        pair.perform(&Move::SetRole { slot: WEB, role: Role::Holder });
        pair.change_group(WEB, |group| group.lease_until = 1);
        multicast(&Peer::new(2).request(Kind::Accepted, 1, |message| {
            message.ballot = ballot.0.into();
            message.sent_at = end.into();
        }))
    });
}

#[test]
fn conflicts_are_reported_again_when_the_interval_is_over() {
    let stranger = Host { mac: host(66).mac, ip: WEB_VIP };
    let frame = arp_request(stranger, CLIENT.ip);
    sweep(|pair, end| {
        pair.change_group(WEB, |group| group.conflict_at = end - CONFLICT_INTERVAL);
        frame.clone()
    });
}

/// An acceptor that has granted node 2 a lease until then.
fn held_until(end: u64) -> Acceptor {
    Acceptor { promised: HOLDERS.0, ballot: HOLDERS.0, expires: end, quarantine_until: 0 }
}

/// Has `prepare` make a moment at which the answer to the frame that it gives changes, and the program run on that
/// frame before, around and after it, until it was around it often enough to show both answers.
fn sweep(mut prepare: impl FnMut(&mut Pair, u64) -> Vec<u8>) {
    let mut pair = Pair::new();
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut before, mut after) = (0, 0);
    let patience = Instant::now() + PATIENCE;
    while before < ENOUGH || after < ENOUGH {
        let moment = now() + rng.random_range(0..SWEEP);
        let frame = prepare(&mut pair, moment);
        match pair.receive_at_change(Way::Wire, &frame).unwrap_or_else(|mismatch| panic!("{mismatch}")) {
            Some(Side::Before) => before += 1,
            Some(Side::After) => after += 1,
            None => {}
        }
        assert!(Instant::now() < patience, "{before} before and {after} after: the sweep misses the moment");
    }
}
