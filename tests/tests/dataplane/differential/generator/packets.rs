//! ARP, IPv4, and bytes that are nothing.

use std::net::Ipv4Addr;

use rand::Rng as _;

use super::super::super::frames::{
    ARP_REPLY, ARP_REQUEST, BROADCAST, DONT_FRAGMENT, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Host,
    Ipv4, MORE_FRAGMENTS, PROTOCOL_UDP, arp, ethernet, udp,
};
use super::super::super::node::{CLIENT, CLUSTER, EVERYBODY, NODE_HOST, PORT};
use super::super::pair::Pair;
use super::{Generator, NEIGHBOUR, SHORTEST, VIPS, VIRTUAL_MAC};

impl Generator {
    /// Requests, probes and announcements by all kinds of stations, for all kinds of addresses.
    pub(super) fn arp(&mut self, pair: &Pair) -> Vec<u8> {
        let operation = match self.rng.random_range(0..20) {
            0..14 => ARP_REQUEST,
            14..19 => ARP_REPLY,
            _ => self.rng.random_range(0..16),
        };
        let station = self.station();
        let holder = self.pick(&pair.state.groups).holder_mac;
        let mac = self.pick(&[station.mac, station.mac, station.mac, holder, VIRTUAL_MAC]);
        let target = match self.rng.random_range(0..10) {
            0..7 => self.pick(&VIPS),
            7 => NODE_HOST.ip,
            8 => NEIGHBOUR,
            _ => station.ip,
        };
        let ip = match self.rng.random_range(0..10) {
            0..5 => station.ip,
            5 => Ipv4Addr::UNSPECIFIED,
            6 => target,
            7 => self.pick(&VIPS),
            8 => NEIGHBOUR,
            _ => Ipv4Addr::from_bits(self.rng.random()),
        };
        let mut frame = arp(operation, Host { mac, ip }, Host { mac: [0; 6], ip: target });
        if self.chance(5) {
            let at = self.rng.random_range(SHORTEST..SHORTEST + 6);
            frame[at] = self.pick(&[0, 1, 2, 4, 6, 8]);
        }
        if self.chance(20) {
            let padding = self.bytes(0..19);
            frame.extend(padding);
        }
        frame
    }

    /// Packets of all protocols to all kinds of addresses, with options and in fragments; some of them to the port of
    /// the lease messages.
    pub(super) fn ipv4(&mut self, pair: &Pair) -> Vec<u8> {
        let destination = match self.rng.random_range(0..20) {
            0..12 => self.pick(&VIPS),
            12..15 => NODE_HOST.ip,
            15..17 => EVERYBODY.ip,
            17 => NEIGHBOUR,
            18 => self.pick(&[Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::LOCALHOST]),
            _ => Ipv4Addr::from_bits(self.rng.random()),
        };
        let protocol = match self.rng.random_range(0..10) {
            0..6 => PROTOCOL_UDP,
            6 => self.rng.random(),
            _ => self.pick(&[1, 6]),
        };
        let port = self.pick(&[PORT, PORT, PORT.swap_bytes(), 80]);
        let body = self.bytes(0..200);
        let payload = if self.chance(80) { udp(port, port, &body) } else { body };
        let options = if self.chance(25) { vec![1; 4 * self.rng.random_range(0..=10)] } else { Vec::new() };
        let fragment = match self.rng.random_range(0..10) {
            0..7 => self.pick(&[0, DONT_FRAGMENT]),
            7..9 => self.pick(&[MORE_FRAGMENTS, MORE_FRAGMENTS | 1, 1, 185, 0x1fff]),
            _ => self.rng.random(),
        };
        let source = self.station();
        let packet = Ipv4 { source: source.ip, destination, protocol, ttl: 1, fragment, options: &options };
        let mut packet = packet.around(&payload);
        if self.chance(5) {
            packet[0] = self.rng.random();
            // A datagram for that port, were it where the header says.
            let at = 4 * usize::from(packet[0] & 0x0f) + 2;
            if let Some(port_at) = packet.get_mut(at..at + 2) {
                port_at.copy_from_slice(&PORT.to_be_bytes());
            }
        }
        let [to, from] = self.macs_of_packet(pair, source);
        ethernet(to, from, ETHERTYPE_IPV4, &packet)
    }

    /// Mostly from that station to this node. Some go to all or to nobody here, some come from the holder, and some from
    /// a node that has sent them on.
    pub(super) fn macs_of_packet(&mut self, pair: &Pair, source: Host) -> [[u8; 6]; 2] {
        let to = self.pick(&[
            NODE_HOST.mac,
            NODE_HOST.mac,
            NODE_HOST.mac,
            VIRTUAL_MAC,
            VIRTUAL_MAC,
            BROADCAST,
            CLIENT.mac,
        ]);
        let holder = self.pick(&pair.state.groups).holder_mac;
        let sent_on =
            [0x76, CLUSTER.to_be_bytes()[1], CLUSTER.to_be_bytes()[2], CLUSTER.to_be_bytes()[3], 0, 3];
        let from = self.pick(&[source.mac, source.mac, source.mac, holder, sent_on]);
        [to, from]
    }

    /// Nothing in particular.
    pub(super) fn noise(&mut self) -> Vec<u8> {
        let mut frame = self.bytes(SHORTEST..200);
        if self.chance(75) {
            let ethertype =
                self.pick(&[ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, 0x8100, 0x88a8, 0x8035]);
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        }
        frame
    }
}
