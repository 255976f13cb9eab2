//! IPv6, and neighbour discovery right behind its header.

use std::net::Ipv6Addr;

use vip_common::maps::Counter;
use vip_user::dataplane::Action;
use vip_user::dataplane::Vip6;

use super::super::super::frames::{
    ADVERTISEMENT, ALL_NODES, Mac, OVERRIDE, PROTOCOL_ICMPV6, ROUTER, SOLICITATION, SOLICITED,
    checksum_over_ipv6, link_layer, multicast_mac, solicited_node,
};
use super::{IPV6_LEN, LOOPBACK, Outcome, Run, be16, ip6, mac};

/// Of a message without options.
const MESSAGE_LEN: usize = 24;
/// Longer options are not read.
const MOST_OPTIONS: usize = 64;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// A solicitation or an advertisement.
struct Message {
    is_solicitation: bool,
    source: Ipv6Addr,
    target: Ipv6Addr,
    /// The MAC address that its sender has, by the message; `None` = it is not valid.
    sender: Option<Mac>,
}

impl Run<'_> {
    /// A packet to a VIP is its holder's, whatever is in it.
    pub(super) fn ipv6(&mut self, at: usize) -> Option<Outcome> {
        if let Some(outcome) = self.message6(at) {
            return Some(outcome);
        }
        let packet = self.frame.get(at..).filter(|packet| packet.len() >= IPV6_LEN)?;
        let destination = ip6(&packet[24..40]);
        let message = self.setting.interface.and_then(|_| read(packet, mac(&self.frame[6..12])));
        let conflict = match message {
            Some(message) => match self.neighbour(at, &message) {
                Ok(conflict) => conflict,
                Err(outcome) => return Some(outcome),
            },
            None => false,
        };
        let fared = self.setting.vips6.get(&destination).map(|vip| vip.slot).map(|slot| self.for_vip(slot));
        match fared {
            None | Some((Action::Pass, _)) if conflict => Some((Action::Pass, Counter::NdConflict)),
            fared => fared,
        }
    }

    /// Whether the message is in conflict with a VIP; an error says what becomes of it, whatever its destination.
    fn neighbour(&mut self, at: usize, message: &Message) -> Result<bool, Outcome> {
        let vips = &self.setting.vips6;
        let asked = vips.get(&message.target).copied().filter(|_| message.is_solicitation);
        let is_probe = message.is_solicitation && message.source.is_unspecified();
        let address = if message.is_solicitation && !is_probe { message.source } else { message.target };
        let claimed = vips.get(&address).copied();
        let Some(sender) = message.sender else {
            return if asked.is_some() { Err((Action::Drop, Counter::NdInvalid)) } else { Ok(false) };
        };
        let came_from = mac(&self.frame[6..12]);
        let conflict = claimed.is_some_and(|vip| self.claims(came_from, address, vip.slot));
        match asked {
            // Who asks for what it has itself asks nothing.
            Some(vip) if message.source != message.target => {
                if vip.interface == LOOPBACK && self.holds(vip.slot) {
                    self.advertise(at, message, sender, vip);
                    return Err((Action::Tx, Counter::NdReply));
                }
                match conflict {
                    true => Ok(true),
                    false if self.keeps_questions(vip.slot) => Err((Action::Drop, Counter::VipKept)),
                    false => Err((Action::Drop, Counter::NdFenced)),
                }
            }
            _ => Ok(conflict),
        }
    }

    /// Puts an advertisement in the place of a solicitation (RFC 4861, section 7.2.4).
    fn advertise(&mut self, at: usize, message: &Message, asker: Mac, Vip6 { slot, router, .. }: Vip6) {
        let interface = self.setting.interface.expect("an answer goes through an interface");
        let (own, vip) = (self.mac_of(slot, &interface), message.target);
        let (destination, solicited) =
            if message.source.is_unspecified() { (ALL_NODES, 0) } else { (message.source, SOLICITED) };
        let router = if router == 1 { ROUTER } else { 0 };
        let mut answer = vec![ADVERTISEMENT, 0, 0, 0];
        answer.extend((router | solicited | OVERRIDE).to_be_bytes());
        answer.extend(vip.octets());
        answer.extend(link_layer(TARGET_LINK_LAYER, own));
        let checksum = !checksum_over_ipv6(vip, destination, PROTOCOL_ICMPV6, &answer);
        answer[2..4].copy_from_slice(&checksum.to_be_bytes());

        self.frame.truncate(at);
        self.frame.extend([0x60, 0, 0, 0, 0, 32, PROTOCOL_ICMPV6, 255]);
        self.frame.extend(vip.octets());
        self.frame.extend(destination.octets());
        self.frame.extend(answer);
        self.frame[..6].copy_from_slice(&multicast_mac(destination).unwrap_or(asker));
        self.frame[6..12].copy_from_slice(&own);
    }
}

/// The message in this packet, if it has one. `came_from` = the source of its frame.
fn read(packet: &[u8], came_from: Mac) -> Option<Message> {
    let message = packet.get(IPV6_LEN..).filter(|message| message.len() >= MESSAGE_LEN)?;
    if packet[6] != PROTOCOL_ICMPV6 || ![SOLICITATION, ADVERTISEMENT].contains(&message[0]) {
        return None;
    }
    Some(Message {
        is_solicitation: message[0] == SOLICITATION,
        source: ip6(&packet[8..24]),
        target: ip6(&message[8..24]),
        sender: sender(packet).map(|named| named.unwrap_or(came_from)),
    })
}

/// RFC 4861, sections 7.1.1 and 7.1.2: the MAC address that a valid message names, if it names one; `None` if it is
/// not valid.
fn sender(packet: &[u8]) -> Option<Option<Mac>> {
    let (source, destination) = (ip6(&packet[8..24]), ip6(&packet[24..40]));
    let message = packet[IPV6_LEN..].get(..usize::from(be16(&packet[4..6])))?;
    if message.len() < MESSAGE_LEN || message.len() > MESSAGE_LEN + MOST_OPTIONS {
        return None;
    }
    let adds_up = checksum_over_ipv6(source, destination, PROTOCOL_ICMPV6, message) == 0xffff;
    let (is_version_6, hop_limit, code) = (packet[0] >> 4 == 6, packet[7], message[1]);
    let target = ip6(&message[8..24]);
    if !adds_up
        || !is_version_6
        || hop_limit != 255
        || code != 0
        || target.is_multicast()
        || source.is_multicast()
    {
        return None;
    }
    let named = options(&message[MESSAGE_LEN..])?;
    let is_fine = match message[0] {
        ADVERTISEMENT => !destination.is_multicast() || message[4] & 0x40 == 0,
        _ if source.is_unspecified() => {
            // Of some address, the one whose last 24 bits those are.
            destination == solicited_node(destination) && named.is_none()
        }
        _ => true,
    };
    is_fine.then_some(named)
}

/// RFC 4861, section 4.6: what the first source link-layer address says, if there is one; `None` if these are no
/// options.
fn options(mut rest: &[u8]) -> Option<Option<Mac>> {
    let mut named = None;
    while !rest.is_empty() {
        let len = usize::from(*rest.get(1)?) * 8;
        let option = rest.get(..len).filter(|_| len > 0)?;
        if option[0] == SOURCE_LINK_LAYER && named.is_none() {
            // RFC 2464, section 6.
            named = Some(mac(option[2..].get(..6).filter(|_| len == 8)?));
        }
        rest = &rest[len..];
    }
    Some(named)
}
