//! What should become of a frame, by the RFCs and the table below. Knows the program's rules of the lease, which are
//! everybody's, and none of its code.
//!
//! | frame | lease held | not held |
//! | --- | --- | --- |
//! | ARP request for a VIP | answered in place | dropped; or kept for the next holder |
//! | ARP probe for or use of a VIP by a MAC that is neither this node's nor the holder's | conflict | conflict |
//! | IP packet to a VIP | passed | dropped; or sent on once to the holder, or kept for the next one |
//! | neighbour solicitation for a VIP | answered in place | dropped; or kept for the next holder |
//! | the same that is not valid | dropped | dropped |
//! | neighbour discovery by which a foreign MAC says it has a VIP | conflict | conflict |
//! | lease message | verified, decided on, answered | the same |
//! | anything else, or any doubt | passed | passed |
//!
//! A conflict is reported, at most once an interval, and the packet passed, unless it has to be answered.
//!
//! Where the nodes do not talk to each other, a lease message is anything else, nothing is sent on or kept, and only the
//! holder knows who is foreign. A request for a VIP that lies on another interface has the lease as if not held.

mod memory;
mod ndp;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use vip_common::lease::Decision;
use vip_common::maps::{CONFLICT_INTERVAL, Config, Counter, Event, EventKind, Interface, KeyUse, Stale};
use vip_common::siphash::siphash;
use vip_common::vote::{self, Answer};
use vip_common::wire::{Kind, MESSAGE_LEN, Message};
use vip_user::dataplane::{Action, Vip, Vip6};

use super::super::frames::{
    ARP_REPLY, ARP_REQUEST, DONT_FRAGMENT, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MORE_FRAGMENTS,
    PROTOCOL_UDP, checksum_over_ipv6, ones_complement_sum,
};
use super::super::node::LOOPBACK;
use super::state::{Seen, State, adopt, index};
pub(super) use memory::Clock;
use memory::{Memory, Source};

/// IEEE 802.1Q and 802.1ad.
const VLAN_ETHERTYPES: [u16; 2] = [0x8100, 0x88a8];
/// Of the fragment field (RFC 791, section 3.1).
const FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const ARP_LEN: usize = 28;
/// Bytes of a message before its tag.
const TAGGED: usize = MESSAGE_LEN - 8;

/// What the node has been told.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) config: Config,
    /// Where the frames come in; `None` = they are the daemon's own.
    pub(super) interface: Option<Interface>,
    pub(super) vips: BTreeMap<Ipv4Addr, Vip>,
    pub(super) vips6: BTreeMap<Ipv6Addr, Vip6>,
    pub(super) groups: BTreeMap<u32, u32>,
}

/// What is to be seen.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) seen: Seen,
    pub(super) counter: Counter,
    /// Of the acceptor, if it was asked.
    pub(super) decision: Option<Decision>,
    answer: Option<Answered>,
}

/// Where the answer to a message is in the frame.
#[derive(Clone, Copy, Debug)]
struct Answered {
    envelope: Envelope,
    /// Of the IP header.
    at: usize,
}

/// The frame on a node in this state, in a run by this clock.
pub(super) fn receive(setting: &Setting, state: &State, clock: Clock, frame: &[u8]) -> Expected {
    let mut run = Run {
        setting,
        clock,
        state: state.clone(),
        frame: frame.to_vec(),
        events: Vec::new(),
        decision: None,
        answer: None,
    };
    let (action, counter) = run.frame().unwrap_or((Action::Pass, Counter::Other));
    run.state.counters[counter as usize] += 1;
    let seen = Seen { action, frame: run.frame, events: run.events, state: run.state };
    Expected { seen, counter, decision: run.decision, answer: run.answer }
}

impl Expected {
    /// Whether this is what was seen, but for how far the clock had gone, at most by `slack` ns.
    pub(super) fn explains(&self, setting: &Setting, actual: &Seen, slack: u64) -> bool {
        let mut expected = self.seen.clone().at_the_times_of(actual, slack);
        if let Some(answer) = self.answer
            && actual.frame.len() == expected.frame.len()
        {
            // What remains of a lease is told by the clock.
            let message_at = answer.message_at();
            let duration = message_at + 56..message_at + 64;
            let mut remaining = be64(&expected.frame[duration.clone()]);
            adopt(&mut remaining, be64(&actual.frame[duration.clone()]), slack);
            expected.frame[duration].copy_from_slice(&remaining.to_be_bytes());
            answer.seal(&mut expected.frame, setting);
        }
        expected == *actual
    }
}

type Outcome = (Action, Counter);

struct Run<'a> {
    setting: &'a Setting,
    clock: Clock,
    state: State,
    frame: Vec<u8>,
    events: Vec<Event>,
    decision: Option<Decision>,
    answer: Option<Answered>,
}

/// `None` is no concern of ours.
impl Run<'_> {
    /// Up to two VLAN tags are looked through.
    fn frame(&mut self) -> Option<Outcome> {
        let mut at = 12;
        let mut ethertype = be16(self.frame.get(at..at + 2)?);
        for _ in 0..2 {
            if VLAN_ETHERTYPES.contains(&ethertype) {
                at += 4;
                ethertype = be16(self.frame.get(at..at + 2)?);
            }
        }
        match ethertype {
            ETHERTYPE_ARP => self.arp(at + 2),
            ETHERTYPE_IPV4 => self.ipv4(at + 2),
            ETHERTYPE_IPV6 => self.ipv6(at + 2),
            _ => None,
        }
    }

    /// RFC 826 for Ethernet and IPv4; RFC 5227, section 1.1, on what is a probe.
    fn arp(&mut self, at: usize) -> Option<Outcome> {
        let interface = self.setting.interface?;
        let packet: [u8; ARP_LEN] = self.frame.get(at..at + ARP_LEN)?.try_into().ok()?;
        if packet[..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let is_request = be16(&packet[6..8]) == ARP_REQUEST;
        let (sender_mac, sender_ip) = (mac(&packet[8..14]), ip(&packet[14..18]));
        let target_ip = ip(&packet[24..28]);

        let is_probe = is_request && sender_ip == Ipv4Addr::UNSPECIFIED;
        let announces = |vip: Ipv4Addr| if is_probe { vip == target_ip } else { vip == sender_ip };
        let asks = |vip: Ipv4Addr| is_request && vip == target_ip && vip != sender_ip;
        let vips = &self.setting.vips;
        let claimed = vips.iter().find(|(vip, _)| announces(**vip));
        let asked = vips.iter().find(|(vip, _)| asks(**vip)).map(|(_, vip)| *vip);
        let held = asked.is_some_and(|vip| vip.interface == LOOPBACK && self.holds(vip.slot));
        let conflict = claimed
            .is_some_and(|(vip, Vip { slot, .. })| self.claims(sender_mac, vip.to_ipv6_mapped(), *slot));

        if held {
            let own = self.mac_of(asked.unwrap().slot, &interface);
            let reply = &mut self.frame[at..at + ARP_LEN];
            reply[6..8].copy_from_slice(&ARP_REPLY.to_be_bytes());
            reply[8..14].copy_from_slice(&own);
            reply[14..18].copy_from_slice(&target_ip.octets());
            reply[18..24].copy_from_slice(&sender_mac);
            reply[24..28].copy_from_slice(&sender_ip.octets());
            self.frame[..6].copy_from_slice(&sender_mac);
            self.frame[6..12].copy_from_slice(&own);
            return Some((Action::Tx, Counter::ArpReply));
        }
        match (conflict, asked) {
            (true, _) => Some((Action::Pass, Counter::ArpConflict)),
            (false, Some(vip)) if self.keeps_questions(vip.slot) => Some((Action::Drop, Counter::VipKept)),
            (false, Some(_)) => Some((Action::Drop, Counter::ArpFenced)),
            (false, None) => None,
        }
    }

    /// Whether a MAC address that says it has a VIP is a foreign one.
    fn claims(&mut self, sender: [u8; 6], vip: Ipv6Addr, slot: u32) -> bool {
        let own = self
            .setting
            .interface
            .is_some_and(|interface| interface.mac == sender || self.mac_of(slot, &interface) == sender);
        let by_another_holder = if self.is_home() {
            let group = &self.state.groups[index(slot)];
            group.holder != 0 && group.holder_mac == sender
        } else {
            !self.holds(slot)
        };
        if own || by_another_holder {
            return false;
        }
        let group = &mut self.state.groups[index(slot)];
        let now = self.clock.read();
        if now - group.conflict_at >= CONFLICT_INTERVAL {
            group.conflict_at = now;
            let (kind, value) = (EventKind::Conflict as u32, LOOPBACK.into());
            self.events.push(Event { kind, slot, value, address: vip.octets(), mac: sender, node: 0 });
        }
        true
    }

    /// Whether the nodes talk to each other where the frame came in, so that the MAC addresses of holders are good here.
    fn is_home(&self) -> bool {
        self.setting.interface.is_some_and(|interface| interface.home != 0)
    }

    /// Where neighbours have the VIPs of a group.
    fn mac_of(&self, slot: u32, interface: &Interface) -> [u8; 6] {
        match self.state.groups[index(slot)].virtual_mac {
            [0, 0, 0, 0, 0, 0] => interface.mac,
            virtual_mac => virtual_mac,
        }
    }

    fn holds(&self, slot: u32) -> bool {
        self.clock.read() < self.state.groups[index(slot)].lease_until
    }

    fn ipv4(&mut self, at: usize) -> Option<Outcome> {
        let packet = self.frame.get(at..).filter(|packet| packet.len() >= IPV4_LEN)?;
        let destination = ip(&packet[16..20]);
        let is_message = match self.setting.interface {
            Some(interface) => {
                let own = interface.address == destination.to_ipv6_mapped().octets();
                interface.home == 4 && (own || destination.is_multicast())
            }
            None => true,
        };
        if udp_port(packet) == Some(self.setting.config.port) && is_message {
            return Some(self.datagram(Envelope::V4, at).unwrap_or_else(|counter| (Action::Drop, counter)));
        }
        let slot = self.setting.vips.get(&destination)?.slot;
        Some(self.for_vip(slot))
    }

    /// A lease message in an IPv6 packet: a datagram right behind the header.
    fn message6(&mut self, at: usize) -> Option<Outcome> {
        let packet = &self.frame[at..];
        let destination = ip6(packet.get(24..40)?);
        let is_message = match self.setting.interface {
            Some(interface) => {
                let own = interface.address == destination.octets();
                interface.home == 6 && (own || destination.is_multicast())
            }
            None => true,
        };
        let port = be16(packet.get(IPV6_LEN..IPV6_LEN + UDP_LEN)?.get(2..4)?);
        if packet[6] != PROTOCOL_UDP || port != self.setting.config.port || !is_message {
            return None;
        }
        Some(self.datagram(Envelope::V6, at).unwrap_or_else(|counter| (Action::Drop, counter)))
    }

    /// A packet to a VIP of this group, of whatever version and with whatever in it.
    fn for_vip(&mut self, slot: u32) -> Outcome {
        match self.holds(slot) {
            true => {
                if let Some(interface) = self.setting.interface.filter(|_| self.is_for(slot)) {
                    self.frame[..6].copy_from_slice(&interface.mac);
                }
                (Action::Pass, Counter::VipPassed)
            }
            false if self.is_home() && self.keeps(slot) && (self.is_for_us_alone() || self.is_for(slot)) => {
                (Action::Drop, Counter::VipKept)
            }
            false if self.send_on(slot) => (Action::Tx, Counter::VipForwarded),
            false => (Action::Drop, Counter::VipFenced),
        }
    }

    fn is_for_us_alone(&self) -> bool {
        self.setting.interface.is_some_and(|interface| self.frame[..6] == interface.mac)
    }

    /// Whether the frame is for where neighbours have the group's VIPs.
    fn is_for(&self, slot: u32) -> bool {
        self.setting.interface.is_some_and(|interface| self.frame[..6] == self.mac_of(slot, &interface))
    }

    /// Whether the daemon wants what comes for the group.
    fn keeps(&self, slot: u32) -> bool {
        self.state.groups[index(slot)].stale == Stale::Keep as u32
    }

    /// Whether it wants what comes to all nodes: as long as no other one has renewed the lease.
    fn keeps_questions(&self, slot: u32) -> bool {
        let holder = self.state.groups[index(slot)].holder_mac;
        let own = self.setting.interface.map(|interface| interface.mac);
        self.is_home() && self.keeps(slot) && (holder == [0; 6] || Some(holder) == own)
    }

    /// Readdresses the frame to the holder, if it is one for this node alone, nobody has sent it on before, and it would
    /// not go back to where it came from.
    fn send_on(&mut self, slot: u32) -> bool {
        let (group, config) = (&self.state.groups[index(slot)], &self.setting.config);
        let [_, cluster @ ..] = config.cluster.to_be_bytes();
        let mark = [&[0x76], &cluster[..]].concat();
        let from = &self.frame[6..12];
        let is_new = self.is_for_us_alone() && !from.starts_with(&mark) && from != group.holder_mac;
        let is_to_go = self.is_home()
            && group.stale == Stale::Forward as u32
            && is_new
            && group.holder_mac != [0; 6]
            && self.frame[..6] != group.holder_mac;
        if !is_to_go || self.clock.read() >= group.holder_until {
            return false;
        }
        let source = [mark, config.node.to_be_bytes().to_vec()].concat();
        self.frame[..6].copy_from_slice(&group.holder_mac);
        self.frame[6..12].copy_from_slice(&source);
        true
    }

    /// A datagram to this node's port for lease messages.
    fn datagram(&mut self, envelope: Envelope, at: usize) -> Result<Outcome, Counter> {
        let (bytes, kind) = verified(envelope, &self.frame[at..], &self.setting.config)?;
        let config = &self.setting.config;
        let mut message = Message::from_bytes(bytes);
        let mut memory = Memory {
            setting: self.setting,
            clock: &self.clock,
            state: &mut self.state,
            source: Source { mac: mac(&self.frame[6..12]), address: envelope.source(&self.frame[at..]) },
            events: &mut self.events,
            decision: None,
        };
        let own = self.setting.interface.is_none();
        let verdict = vote::message(&message, kind, own, config, &mut memory);
        self.decision = memory.decision;
        Ok(match verdict {
            vote::Verdict::Pass(counter) => (Action::Pass, counter),
            vote::Verdict::Drop(counter) => (Action::Drop, counter),
            vote::Verdict::Reply(answer) => {
                self.reply(envelope, at, &mut message, &answer);
                (Action::Tx, Counter::LeaseReply)
            }
        })
    }

    /// The answer takes the request's place; on the wire, it goes back to where that came from.
    fn reply(&mut self, envelope: Envelope, at: usize, message: &mut Message, answer: &Answer) {
        answer.put_into(message, &self.setting.config);
        let answer = Answered { envelope, at };
        self.answer = Some(answer);
        self.frame[answer.message_at()..][..MESSAGE_LEN].copy_from_slice(&message.to_bytes());
        if let Some(interface) = self.setting.interface {
            self.send_back(answer, &interface);
        }
        answer.seal(&mut self.frame, self.setting);
    }

    fn send_back(&mut self, Answered { envelope, at }: Answered, interface: &Interface) {
        let requester = mac(&self.frame[6..12]);
        self.frame[..6].copy_from_slice(&requester);
        self.frame[6..12].copy_from_slice(&interface.mac);
        let (header, datagram) = self.frame[at..].split_at_mut(envelope.len());
        datagram[..4].rotate_left(2);
        datagram[6..8].fill(0);
        match envelope {
            Envelope::V4 => {
                header[4..6].fill(0);
                header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
                header[8] = 64;
                header[10..12].fill(0);
                header.copy_within(12..16, 16);
                header[12..16].copy_from_slice(&interface.address[12..]);
                let checksum = !ones_complement_sum(header);
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Envelope::V6 => {
                header[7] = 64;
                header.copy_within(8..24, 24);
                header[8..24].copy_from_slice(&interface.address);
            }
        }
    }
}

impl Answered {
    fn message_at(self) -> usize {
        self.at + self.envelope.len() + UDP_LEN
    }

    /// Tags the message, and adds it up where that has to be (RFC 8200, section 8.1): with IPv6, on the wire, where no
    /// checksum is 0.
    fn seal(self, frame: &mut [u8], setting: &Setting) {
        sign(&mut frame[self.message_at()..], setting);
        if matches!(self.envelope, Envelope::V4) || setting.interface.is_none() {
            return;
        }
        let (header, datagram) = frame[self.at..].split_at_mut(IPV6_LEN);
        let datagram = &mut datagram[..UDP_LEN + MESSAGE_LEN];
        datagram[6..8].fill(0);
        let [source, destination] = [ip6(&header[8..24]), ip6(&header[24..40])];
        let checksum = match !checksum_over_ipv6(source, destination, PROTOCOL_UDP, datagram) {
            0 => 0xffff,
            checksum => checksum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The IP header before a lease message.
#[derive(Clone, Copy, Debug)]
enum Envelope {
    V4,
    V6,
}

impl Envelope {
    fn len(self) -> usize {
        match self {
            Self::V4 => IPV4_LEN,
            Self::V6 => IPV6_LEN,
        }
    }

    /// One of IPv4 is mapped (RFC 4291, section 2.5.5.2).
    fn source(self, packet: &[u8]) -> Ipv6Addr {
        match self {
            Self::V4 => ip(&packet[12..16]).to_ipv6_mapped(),
            Self::V6 => ip6(&packet[8..24]),
        }
    }

    /// Whether the header is a plain one, and has a payload of this length behind it.
    fn is_plain(self, packet: &[u8], payload_len: usize) -> bool {
        match self {
            Self::V4 => {
                packet[0] == 0x45
                    && be16(&packet[6..8]) & (FRAGMENT_OFFSET | MORE_FRAGMENTS) == 0
                    && usize::from(be16(&packet[2..4])) == IPV4_LEN + payload_len
            }
            Self::V6 => packet[0] >> 4 == 6 && usize::from(be16(&packet[4..6])) == payload_len,
        }
    }
}

/// The port that a UDP datagram, or the first fragment of one, is for (RFC 768).
fn udp_port(packet: &[u8]) -> Option<u16> {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    let is_first = be16(&packet[6..8]) & FRAGMENT_OFFSET == 0;
    // RFC 791, section 3.1: "the minimum value for a correct header is 5" words.
    if header_len < IPV4_LEN || packet[9] != PROTOCOL_UDP || !is_first {
        return None;
    }
    packet.get(header_len..header_len + UDP_LEN).map(|udp| be16(&udp[2..4]))
}

/// The message in a whole datagram without IP options, tagged under a valid key.
fn verified(
    envelope: Envelope,
    packet: &[u8],
    config: &Config,
) -> Result<([u8; MESSAGE_LEN], Kind), Counter> {
    let message = packet.get(envelope.len() + UDP_LEN..).and_then(<[u8]>::first_chunk::<MESSAGE_LEN>);
    let message = message.ok_or(Counter::RejectedMalformed)?;
    if message[..5] != *b"VIPL\x01" {
        return Err(Counter::RejectedMalformed);
    }
    if message[8..12] != config.cluster.to_be_bytes() {
        return Err(Counter::RejectedCluster);
    }
    let kind = Kind::from_u8(message[5]).ok_or(Counter::RejectedMalformed)?;
    let body_len = usize::from(be16(&message[18..20]));
    let udp_len = UDP_LEN + MESSAGE_LEN + body_len;
    let is_whole = envelope.is_plain(packet, udp_len)
        && usize::from(be16(&packet[envelope.len() + 4..][..2])) == udp_len;
    let may_have_body = [Kind::Hello, Kind::Probe, Kind::Taken, Kind::Gossip].contains(&kind);
    if !is_whole || (body_len > 0 && !may_have_body) {
        return Err(Counter::RejectedMalformed);
    }
    let mut keys =
        (0..2).filter(|place| KeyUse(config.keys_in_use).verifies(*place)).map(|place| &config.keys[place]);
    let tag = be64(&message[TAGGED..]);
    if !keys.any(|key| siphash(key, &message[..TAGGED]) == tag) {
        return Err(Counter::RejectedTag);
    }
    Ok((*message, kind))
}

/// Tags the message under the key that signs.
fn sign(message: &mut [u8], setting: &Setting) {
    let tag = siphash(&setting.config.keys[KeyUse(setting.config.keys_in_use).signing()], &message[..TAGGED]);
    message[TAGGED..MESSAGE_LEN].copy_from_slice(&tag.to_be_bytes());
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes.try_into().unwrap())
}

fn be64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn mac(bytes: &[u8]) -> [u8; 6] {
    bytes.try_into().unwrap()
}

fn ip(bytes: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(bytes).unwrap().into()
}

fn ip6(bytes: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(bytes).unwrap().into()
}
