//! Lease messages: such as nodes send in this state of affairs, and such as nobody should.

use std::net::{Ipv4Addr, Ipv6Addr};

use rand::Rng as _;
use vip_common::lease::{Ballot, Freshness};
use vip_common::siphash::Key;
use vip_common::wire::{Kind, Message};

use super::super::super::frames::{
    ALL_NODES, DONT_FRAGMENT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, MORE_FRAGMENTS, PROTOCOL_UDP,
    SOURCE_PORT, ethernet, ipv6, multicast_mac, udp,
};
use super::super::super::node::{
    CLUSTER, EPOCH, EVERYBODY, EVERYBODY6, INCARNATION, KEY, MAIL, MAIL_ID, MOMENT, NODE, NODE_HOST, PORT,
    SECOND_KEY, WEB, WEB_ID, host, multicast,
};
use super::super::pair::Pair;
use super::super::state::index;
use super::super::ways::Way;
use super::packets6::{NEIGHBOUR6, VIPS6};
use super::{Generator, NEIGHBOUR, VIPS};

/// The other nodes.
const NODES: [u16; 4] = [2, 3, 4, 5];
const NO_KEY: Key = [KEY[0], !KEY[1]];

/// Slot and id.
type Group = (u32, u32);

impl Generator {
    /// A message to this node in a frame of its own.
    pub(super) fn message(&mut self, way: Way, pair: &Pair) -> Vec<u8> {
        let kind = self.kind(way);
        let group = self.group();
        let mut message = self.sensible(kind, group, way, pair);
        if self.chance(20) {
            self.distort(&mut message);
        }
        let mut body = match kind {
            Kind::Hello | Kind::Gossip | Kind::Probe | Kind::Taken if self.chance(50) => self.bytes(1..64),
            _ if self.chance(1) => self.bytes(1..1200),
            _ => Vec::new(),
        };
        let key = match self.rng.random_range(0..20) {
            0..18 => KEY,
            18 => SECOND_KEY,
            _ => NO_KEY,
        };
        message.seal(&key, &body);
        if self.chance(3) {
            self.distort(&mut message);
        }
        if self.chance(1) {
            body.truncate(self.rng.random_range(0..=body.len()));
        }
        let six = if way == Way::Wire6 { 95 } else { 5 };
        if self.chance(six) { self.enveloped6(&message, &body) } else { self.enveloped(&message, &body) }
    }

    /// Messages of two nodes on one group, which may come at the same time.
    pub(in super::super) fn rivals(&mut self, pair: &Pair) -> [Vec<u8>; 2] {
        use Kind::*;
        let group = self.group();
        loop {
            let rivals = [(); 2].map(|()| {
                let kind = self.pick(&[Prepare, Propose, Propose, Release, Transfer, Accepted]);
                self.sensible(kind, group, Way::Wire, pair)
            });
            if { rivals[0].sender } != { rivals[1].sender } {
                return rivals.map(|mut message| {
                    message.seal(&KEY, &[]);
                    multicast(&message)
                });
            }
        }
    }

    fn sensible(&mut self, kind: Kind, group: Group, way: Way, pair: &Pair) -> Message {
        match kind {
            Kind::Promise | Kind::Accepted | Kind::Refused | Kind::Taken => self.answer(kind, group, pair),
            _ => self.request(kind, group, way, pair),
        }
    }

    fn kind(&mut self, way: Way) -> Kind {
        use Kind::*;
        match (way, self.rng.random_range(0..10)) {
            (Way::Own, 0..9) => self.pick(&[Prepare, Propose, Propose, Propose, Release, Transfer]),
            (Way::Wire | Way::Wire6 | Way::Side, 0..7) => {
                self.pick(&[Prepare, Prepare, Propose, Propose, Release, Transfer, Accepted, Accepted])
            }
            _ => self.pick(&[
                Promise, Accepted, Refused, Hello, Gossip, Probe, Taken, Transfer, Offer, Ask, Grant,
            ]),
        }
    }

    /// What a node asks for or tells; mostly it makes sense.
    fn request(&mut self, kind: Kind, (slot, group): Group, way: Way, pair: &Pair) -> Message {
        let acceptor = &pair.state.acceptors[index(slot)];
        let (promised, lease) = (Ballot(acceptor.promised), Ballot(acceptor.ballot));
        let node = match way {
            Way::Own => NODE,
            // Only a holder can release, renew or transfer.
            Way::Wire | Way::Wire6 | Way::Side if ![NODE, 0].contains(&lease.node()) && self.chance(40) => {
                lease.node()
            }
            Way::Wire | Way::Wire6 | Way::Side => self.pick(&NODES),
        };
        let own_proposal = Ballot(pair.state.renewals[index(slot)].ballot);
        let round = match self.rng.random_range(0..10) {
            0..3 => promised.round(),
            3..6 => promised.round().wrapping_add(1),
            6..8 if way == Way::Own => own_proposal.round(),
            6..9 => lease.round(),
            _ => self.rng.random_range(0..=promised.round()),
        };
        let to = if kind == Kind::Transfer { self.pick(&NODES) } else { node };
        let longest = pair.setting.config.longest_lease;
        let duration = match self.rng.random_range(0..20) {
            0..9 => longest,
            9..17 => MOMENT,
            17 => self.rng.random_range(longest / 2..longest),
            18 => longest + 1,
            _ => self.pick(&[0, u64::MAX]),
        };
        let mut message = Message::new(kind, CLUSTER);
        let latest = latest(node, pair);
        message.incarnation = latest.incarnation.into();
        message.sequence = latest.sequence.saturating_add(1).into();
        message.sender = node.into();
        message.group = group.into();
        message.epoch = EPOCH.into();
        message.ballot = Ballot::new(round, to).0.into();
        message.duration = duration.into();
        message.sent_at = self.stamp().into();
        message
    }

    /// What a voter says to this node's own request.
    fn answer(&mut self, kind: Kind, (slot, group): Group, pair: &Pair) -> Message {
        let renewal = &pair.state.renewals[index(slot)];
        let voters = &renewal.voters[..usize::try_from(renewal.count).unwrap()];
        let voters: Vec<u16> = voters.iter().copied().filter(|voter| *voter != NODE).collect();
        let mut message = Message::new(kind, CLUSTER);
        let voter = if voters.is_empty() || self.chance(5) { self.pick(&NODES) } else { self.pick(&voters) };
        message.sender = voter.into();
        message.group = group.into();
        message.epoch = EPOCH.into();
        message.incarnation = pair.setting.config.incarnation.into();
        message.sequence = self.rng.random_range(0..1000).into();
        message.sent_at = self.stamp().into();
        message.ballot = renewal.ballot.into();
        message.reason = if kind == Kind::Refused { self.rng.random_range(0..6) } else { 0 };
        message
    }

    fn group(&mut self) -> Group {
        self.pick(&[(WEB, WEB_ID), (MAIL, MAIL_ID)])
    }

    /// A time before all this began.
    fn stamp(&mut self) -> u64 {
        self.start - self.rng.random_range(0..1_000_000_000)
    }

    /// Makes one field something else.
    fn distort(&mut self, message: &mut Message) {
        match self.rng.random_range(0..17) {
            0 => message.sender = self.pick(&[0, NODE, 6, 300]).into(),
            1 => {
                message.sender = NODE.into();
                message.incarnation = self.pick(&[INCARNATION - 1, INCARNATION, INCARNATION + 1]).into();
            }
            2 => message.group = self.pick(&[0, WEB, WEB_ID ^ 1, WEB_ID.swap_bytes()]).into(),
            3 => message.epoch = self.pick(&[0, EPOCH - 1, EPOCH + 1, u32::MAX]).into(),
            4 => {
                // The daemon of that node starts again.
                message.incarnation = message.incarnation.get().wrapping_add(1).into();
                message.sequence = 1.into();
            }
            5 => message.incarnation = message.incarnation.get().wrapping_sub(1).into(),
            6 => message.incarnation = self.rng.random_range(0..INCARNATION).into(),
            7 => message.sequence = message.sequence.get().wrapping_sub(self.rng.random_range(1..3)).into(),
            8 => message.sequence = self.pick(&[0, 1]).into(),
            9 => {
                let of = self.pick(&[0, 1, 2, 3, 4, 5, 999]);
                message.ballot = Ballot::new(Ballot(message.ballot.get()).round(), of).0.into();
            }
            10 => message.ballot = self.rng.random::<u64>().into(),
            11 => message.duration = self.pick(&[0, 1, 1 << 62, 1 << 63, u64::MAX]).into(),
            12 => message.sent_at = self.pick(&[0, self.start * 2, u64::MAX, 1 << 63]).into(),
            13 => message.cluster = self.pick(&[0, CLUSTER ^ 1, CLUSTER.swap_bytes()]).into(),
            14 => message.kind = self.rng.random_range(0..20),
            15 => message.version = self.rng.random_range(0..4),
            _ => {
                let mut bytes = message.to_bytes();
                // But for `sent_at` and `duration`, which could then be near.
                let at = self.rng.random_range(0..48);
                let at = if at < 40 { at } else { at + 8 };
                bytes[at] ^= self.rng.random_range(1..=u8::MAX);
                *message = Message::from_bytes(bytes);
            }
        }
    }

    /// The message on its way to this node, mostly as its sender would send it.
    fn enveloped(&mut self, message: &Message, body: &[u8]) -> Vec<u8> {
        let from = host(message.sender.get());
        let mut destination = EVERYBODY;
        let mut port = PORT;
        let mut packet = Ipv4 {
            source: from.ip,
            destination: destination.ip,
            protocol: PROTOCOL_UDP,
            ttl: 1,
            fragment: DONT_FRAGMENT,
            options: &[],
        };
        match self.rng.random_range(0..40) {
            0..4 => destination = NODE_HOST,
            4 => {
                let others = [NEIGHBOUR, VIPS[0], VIPS[1], Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST];
                destination.ip = self.pick(&others);
            }
            5 => port = self.rng.random(),
            6 => packet.fragment = self.pick(&[0, MORE_FRAGMENTS, 1, 0x8000, 0xffff]),
            7 => packet.options = self.pick::<&[u8]>(&[&[1; 4], &[1; 20], &[1; 40]]),
            8 => packet.source = self.carrying_source(),
            9 => packet.protocol = self.pick(&[1, 6]),
            _ => {}
        }
        packet.destination = destination.ip;
        let datagram = udp(SOURCE_PORT, port, &[&message.to_bytes(), body].concat());
        let mut frame = ethernet(destination.mac, from.mac, ETHERTYPE_IPV4, &packet.around(&datagram));
        if self.chance(1) {
            let [total_len, udp_len] = [14 + 2, 14 + 20 + 4];
            let at = self.pick(&[total_len, udp_len]) + 1;
            frame[at] = frame[at].wrapping_add(self.pick(&[1, 255]));
        }
        frame
    }

    /// As [`Self::enveloped`], where the nodes talk IPv6.
    fn enveloped6(&mut self, message: &Message, body: &[u8]) -> Vec<u8> {
        let from = host(message.sender.get());
        let mut to = EVERYBODY6;
        let (mut port, mut next_header, mut source) = (PORT, PROTOCOL_UDP, from.ip6());
        match self.rng.random_range(0..40) {
            0..4 => to = NODE_HOST.ip6(),
            4 => to = self.pick(&[NEIGHBOUR6, VIPS6[0], VIPS6[1], ALL_NODES, Ipv6Addr::UNSPECIFIED]),
            5 => port = self.rng.random(),
            6 => source = Ipv6Addr::from_bits(self.rng.random()),
            7 => next_header = self.pick(&[0, 6, 43, 44, 60]),
            _ => {}
        }
        let datagram = udp(SOURCE_PORT, port, &[&message.to_bytes(), body].concat());
        let mut packet = ipv6(source, to, next_header, 1, &datagram);
        match self.rng.random_range(0..100) {
            0 => {
                let [payload_len, udp_len] = [4, 40 + 4];
                let at = self.pick(&[payload_len, udp_len]) + 1;
                packet[at] = packet[at].wrapping_add(self.pick(&[1, 255]));
            }
            1 => packet[0] = self.rng.random(),
            _ => {}
        }
        ethernet(multicast_mac(to).unwrap_or(NODE_HOST.mac), from.mac, ETHERTYPE_IPV6, &packet)
    }

    /// An address with which the words of the answer's header add up to all ones and a carry, so that adding that
    /// makes another one.
    fn carrying_source(&mut self) -> Ipv4Addr {
        let own = NODE_HOST.ip.to_bits();
        let header = [0x4500, 20 + 8 + 80, u32::from(DONT_FRAGMENT), 64 << 8 | 17, own >> 16, own & 0xffff];
        let high = self.rng.random_range(0x100..0x10000);
        let low = 0xffff - (header.iter().sum::<u32>() + high) % 0x10000;
        Ipv4Addr::from_bits(high << 16 | low)
    }
}

/// The stamps of the latest message that was taken from a node; what was lost on the way has none.
fn latest(node: u16, pair: &Pair) -> Freshness {
    let before_all = Freshness { incarnation: INCARNATION, sequence: 0 };
    pair.state.peers.get(&node).map_or(before_all, |peer| peer.freshness.max(before_all))
}
