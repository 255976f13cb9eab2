//! IPv6 and neighbour discovery.

use std::net::Ipv6Addr;

use rand::Rng as _;

use super::super::super::frames::{
    ADVERTISEMENT, ALL_NODES, ETHERTYPE_IPV6, Neighbour, OVERRIDE, PROTOCOL_ICMPV6, PROTOCOL_UDP,
    SOLICITATION, SOLICITED, ethernet, ipv6, link_layer, solicited_node, udp,
};
use super::super::super::node::{MAIL_VIP6, NODE_HOST, PORT, WEB_VIP6};
use super::super::pair::Pair;
use super::Generator;

pub(super) const VIPS6: [Ipv6Addr; 2] = [WEB_VIP6, MAIL_VIP6];
/// No VIP, no node, no client.
pub(super) const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0x0a4d, 0x0063);

impl Generator {
    /// Solicitations, probes and advertisements by all kinds of stations, for all kinds of addresses; mostly valid.
    pub(super) fn neighbour(&mut self, pair: &Pair) -> Vec<u8> {
        let station = self.station();
        let holder = self.pick(&pair.state.groups).holder_mac;
        let mac = self.pick(&[station.mac, station.mac, holder]);
        let target = match self.rng.random_range(0..10) {
            0..7 => self.pick(&VIPS6),
            7 => NODE_HOST.ip6(),
            8 => NEIGHBOUR6,
            _ => station.ip6(),
        };
        let source = match self.rng.random_range(0..10) {
            0..5 => station.ip6(),
            5..7 => Ipv6Addr::UNSPECIFIED,
            7 => target,
            8 => self.pick(&VIPS6),
            _ => Ipv6Addr::from_bits(self.rng.random()),
        };
        let kind = self.pick(&[SOLICITATION, SOLICITATION, ADVERTISEMENT]);
        let unicast = if self.chance(50) { self.pick(&VIPS6) } else { station.ip6() };
        let usual = if kind == SOLICITATION { solicited_node(target) } else { ALL_NODES };
        let destination = self.pick(&[usual, usual, usual, unicast]);
        let flags = match kind {
            ADVERTISEMENT if destination == usual => OVERRIDE,
            ADVERTISEMENT => SOLICITED | OVERRIDE,
            _ => 0,
        };
        let options = self.options(mac, source.is_unspecified());
        let valid = Neighbour {
            source,
            destination,
            hop_limit: 255,
            kind,
            code: 0,
            flags,
            target,
            options: &options,
        };
        let message = if self.chance(20) { self.distorted(valid) } else { valid };
        let mut frame = message.frame(mac);
        if self.chance(30) {
            frame[..6].copy_from_slice(&NODE_HOST.mac);
        }
        if self.chance(5) {
            // A checksum that is off by a little, or by all.
            let at = 14 + 40 + 2 + usize::from(self.chance(50));
            frame[at] ^= self.pick(&[1, 0x80, 0xff]);
        }
        if self.chance(3) {
            frame[14 + 5] = self.rng.random();
        }
        frame
    }

    /// Up to a little more than are read.
    fn options(&mut self, mac: [u8; 6], is_probe: bool) -> Vec<u8> {
        let mut options = Vec::new();
        while options.len() <= 64 && self.chance(40) {
            let option = match self.rng.random_range(0..10) {
                0..5 if !is_probe => link_layer(1, mac),
                5 => link_layer(2, mac),
                6 => link_layer(1, self.station().mac),
                7 => [&[self.rng.random(), 4][..], &self.bytes(30..31)].concat(),
                _ => [&[14, 1][..], &self.bytes(6..7)].concat(),
            };
            options.extend(option);
        }
        options
    }

    /// With one thing that is not as it must be, or need not be.
    fn distorted<'a>(&mut self, message: Neighbour<'a>) -> Neighbour<'a> {
        match self.rng.random_range(0..8) {
            0 => Neighbour { hop_limit: self.pick(&[0, 1, 64, 254]), ..message },
            1 => Neighbour { code: self.rng.random(), ..message },
            2 => Neighbour { flags: self.rng.random(), ..message },
            3 => Neighbour { kind: self.pick(&[128, 133, 134, 135, 136, 137]), ..message },
            4 => Neighbour {
                options: self.pick::<&[u8]>(&[&[1, 0, 0, 0, 0, 0, 0, 0], &[14, 2, 0, 0, 0, 0, 0, 0]]),
                ..message
            },
            5 => Neighbour { options: &message.options[..message.options.len() / 2], ..message },
            6 => Neighbour { target: ALL_NODES, ..message },
            _ => {
                let groups = [ALL_NODES, solicited_node(NEIGHBOUR6), Ipv6Addr::UNSPECIFIED];
                Neighbour { destination: self.pick(&groups), ..message }
            }
        }
    }

    /// Packets of all protocols to all kinds of addresses, with extension headers and in fragments.
    pub(super) fn ipv6(&mut self, pair: &Pair) -> Vec<u8> {
        let destination = match self.rng.random_range(0..20) {
            0..13 => self.pick(&VIPS6),
            13..16 => NODE_HOST.ip6(),
            16 => ALL_NODES,
            17 => NEIGHBOUR6,
            18 => self.pick(&[Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED, solicited_node(WEB_VIP6)]),
            _ => Ipv6Addr::from_bits(self.rng.random()),
        };
        let next_header = match self.rng.random_range(0..10) {
            0..3 => self.pick(&[0, 43, 44, 51, 60]),
            3..6 => PROTOCOL_UDP,
            6 => self.rng.random(),
            _ => self.pick(&[6, PROTOCOL_ICMPV6, 59]),
        };
        let body = self.bytes(0..200);
        let payload = if self.chance(60) { udp(PORT, PORT, &body) } else { body };
        let source = self.station();
        let hop_limit = self.pick(&[1, 64, 255]);
        let mut packet = ipv6(source.ip6(), destination, next_header, hop_limit, &payload);
        if self.chance(5) {
            let at = self.rng.random_range(0..8);
            packet[at] = self.rng.random();
        }
        let [to, from] = self.macs_of_packet(pair, source);
        ethernet(to, from, ETHERTYPE_IPV6, &packet)
    }
}
