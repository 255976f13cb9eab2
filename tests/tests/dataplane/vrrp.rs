//! Adverts of VRRP: those of virtual routers that the daemon listens to reach it whole and right, or not at all.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use vip_common::maps::{Counter, MAX_INTERFACES, Vrids};
use vip_common::vrrp::{Arrival, Family, Invalid, Path, Version, Vrid, parse};

use super::frames::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, MORE_FRAGMENTS, checksum_over_ipv6, ethernet, ipv6,
    ones_complement_sum, tagged,
};
use super::node::{LEASE, LOOPBACK, Node, Outcome, WEB, WEB_VIP, WEB_VIP6, host, now};

const PROTOCOL: u8 = 112;
/// Of the virtual routers that the node listens to: in versions 2 and 3, and in 3 alone, by IPv4; by IPv6.
const BOTH: u8 = 51;
const THREE: u8 = 255;
const SIX: u8 = 64;
/// One that it does not listen to.
const OTHER: u8 = 52;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 18];
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const GROUP6_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x12];
const SOURCE: Ipv4Addr = host(9).ip;
const SOURCE6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

#[test]
fn adverts_of_every_version_reach_the_daemon() {
    let node = node();
    let frames = [v2(BOTH).frame(), v3(BOTH).frame(), v3(THREE).frame(), v3_ipv6(SIX).frame()];
    for frame in frames {
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::VrrpAdvert));
        for tags in [&[0x8100][..], &[0x88a8, 0x8100]] {
            let frame = tagged(&frame, tags);
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::VrrpAdvert));
        }
        let padded = [&frame[..], &[0; 10]].concat();
        assert_eq!(node.receives(&padded), Outcome::passed(&padded, Counter::VrrpAdvert), "to 60 bytes");
    }
}

/// Input: as many addresses as an advert has at most, or as a frame of 1,500 bytes has room for.
#[test]
fn the_longest_adverts_are_summed_up_to_their_ends() {
    let node = node();
    let (v2, v3, v3_ipv6) = (v2(BOTH), v3(BOTH), v3_ipv6(SIX));
    for (advert, count) in [(v2, 255), (v3, 255), (v3_ipv6, 90)] {
        for count in [1, 2, 3, count - 1, count] {
            let advert = Advert { count, ..advert };
            assert_eq!(node.receives(&advert.frame()).counter, Counter::VrrpAdvert, "{count} addresses");
            let mut wrong = advert.frame();
            *wrong.last_mut().unwrap() ^= 1;
            assert_eq!(node.receives(&wrong), Outcome::dropped(&wrong, Counter::VrrpWrongChecksum));
        }
    }
}

/// RFC 9568, section 5.2.8, leaves the pseudo-header out, where RFC 5798 had it.
#[test]
fn both_checksums_of_version_3_over_ipv4_are_right_and_no_others() {
    let node = node();
    let without = |advert: Advert| Advert { pseudo_header: !advert.pseudo_header, ..advert }.frame();
    assert_eq!(node.receives(&without(v3(BOTH))).counter, Counter::VrrpAdvert);
    for wrong in [without(v2(BOTH)), without(v3_ipv6(SIX))] {
        assert_eq!(node.receives(&wrong), Outcome::dropped(&wrong, Counter::VrrpWrongChecksum));
    }
}

/// Input: each mistake that is told apart, in adverts of every version, between IPv4 options as well.
#[test]
fn what_is_not_as_it_must_be_is_dropped() {
    let node = node();
    for advert in [v2(BOTH), v3(BOTH), v3_ipv6(SIX)] {
        let set = |at: usize, byte: u8| Advert { set: Some((at, byte)), ..advert };
        let kind = advert.version << 4;
        let cases = [
            (Advert { ttl: 254, ..advert }, Counter::VrrpWrongTtl),
            (Advert { ttl: 0, ..advert }, Counter::VrrpWrongTtl),
            (Advert { version: 1, ..advert }, Counter::VrrpWrongVersion),
            (Advert { version: 4, ..advert }, Counter::VrrpWrongVersion),
            (set(0, kind), Counter::VrrpMalformed),
            (set(0, kind | 2), Counter::VrrpMalformed),
            (set(3, 0), Counter::VrrpMalformed),
            (set(3, advert.count + 1), Counter::VrrpMalformed),
            (set(3, 255), Counter::VrrpMalformed),
            (set(5, 0), Counter::VrrpMalformed),
        ];
        for (wrong, counter) in cases {
            for frame in [wrong.frame(), wrong.frame_with(&[0x94, 4, 0, 0])] {
                assert_eq!(node.receives(&frame), Outcome::dropped(&frame, counter), "{wrong:?}");
            }
        }
    }
    let auth = Advert { set: Some((4, 2)), ..v2(BOTH) }.frame();
    assert_eq!(node.receives(&auth), Outcome::dropped(&auth, Counter::VrrpMalformed));
    let reserved = Advert { set: Some((4, 0xf0)), ..v3(BOTH) }.frame();
    assert_eq!(node.receives(&reserved).counter, Counter::VrrpAdvert, "bits that mean nothing");
}

#[test]
fn a_version_that_the_daemon_does_not_take_is_dropped() {
    let node = node();
    let frame = v2(THREE).frame();
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VrrpWrongVersion));
    let by_ipv6 = Advert { version: 2, ..v3_ipv6(SIX) }.frame();
    assert_eq!(node.receives(&by_ipv6), Outcome::dropped(&by_ipv6, Counter::VrrpWrongVersion));
}

/// Expected: what cannot be told to be ours passes; what is ours and not all there is dropped.
#[test]
fn frames_that_end_early_pass_or_are_malformed() {
    let node = node();
    for (frame, header_ends) in [(v3(BOTH).frame(), 14 + 20 + 8), (v3_ipv6(SIX).frame(), 14 + 40 + 8)] {
        for len in 14..frame.len() {
            let counter = if len < header_ends { Counter::Other } else { Counter::VrrpMalformed };
            assert_eq!(node.receives(&frame[..len]).counter, counter, "{len} bytes");
        }
    }
}

#[test]
fn adverts_of_other_virtual_routers_pass_whatever_they_are() {
    let node = node();
    let others = [v2(OTHER), v3(OTHER), v3_ipv6(BOTH), v3(SIX), v3(0), v3_ipv6(THREE)];
    for advert in others {
        for advert in [advert, Advert { ttl: 1, ..advert }, Advert { set: Some((6, 1)), ..advert }] {
            let frame = advert.frame();
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "{advert:?}");
        }
    }
}

/// The stack puts fragments together, and the daemon checks what comes out.
#[test]
fn fragments_pass() {
    let node = node();
    for fragment in [MORE_FRAGMENTS, 1] {
        let ipv4 = Ipv4 { fragment, ttl: 255, ..Ipv4::new(SOURCE, GROUP, PROTOCOL) };
        let frame = ethernet(GROUP_MAC, host(9).mac, ETHERTYPE_IPV4, &ipv4.around(&v3(BOTH).message()));
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
}

#[test]
fn a_virtual_router_is_on_its_interface_alone() {
    let mut node = node();
    let frame = Advert { ttl: 1, ..v3(BOTH) }.frame();
    assert_eq!(node.receives(&frame).counter, Counter::VrrpWrongTtl);
    node.plane.tables.set_vrids(&BTreeMap::from([(LOOPBACK + 1, vrids())])).unwrap();
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    node.plane.tables.set_vrids(&BTreeMap::from([(LOOPBACK, vrids())])).unwrap();
    assert_eq!(node.receives(&frame).counter, Counter::VrrpWrongTtl);
    node.plane.tables.set_vrids(&BTreeMap::new()).unwrap();
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// A node of as many interfaces as it can have gives each a place of its own.
#[test]
fn every_interface_has_its_virtual_routers() {
    let mut node = node();
    let all = u32::try_from(MAX_INTERFACES).unwrap();
    let wanted: BTreeMap<u32, Vrids> = (2..=all).map(|index| (index, vrids())).collect();
    node.plane.tables.set_vrids(&wanted).unwrap();
    assert_eq!(node.receives(&v3(BOTH).frame()).counter, Counter::Other);
    node.plane.tables.set_vrids(&(1..=all).map(|index| (index, vrids())).collect()).unwrap();
    assert_eq!(node.receives(&v3(BOTH).frame()).counter, Counter::VrrpAdvert);
}

/// By address, like anything else: an advert to a VIP is for no daemon.
#[test]
fn adverts_to_a_vip_are_fenced() {
    let node = node();
    let ipv4 = Ipv4 { ttl: 255, ..Ipv4::new(SOURCE, WEB_VIP, PROTOCOL) };
    let to_vip = ethernet(host(1).mac, host(9).mac, ETHERTYPE_IPV4, &ipv4.around(&v2(BOTH).message()));
    let packet = ipv6(SOURCE6, WEB_VIP6, PROTOCOL, 255, &v3_ipv6(SIX).message());
    let to_vip6 = ethernet(host(1).mac, host(9).mac, ETHERTYPE_IPV6, &packet);
    for frame in [to_vip, to_vip6] {
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipFenced));
        node.plane.words.arm(WEB, now() + LEASE);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::VipPassed));
        node.plane.words.disarm(WEB);
    }
}

/// Without an interface, nothing is ours.
#[test]
fn on_an_interface_that_is_not_served_adverts_pass() {
    let mut node = Node::alone();
    node.plane.tables.set_vrids(&BTreeMap::from([(LOOPBACK, vrids())])).unwrap();
    let frame = Advert { ttl: 1, ..v3(BOTH) }.frame();
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// Input: adverts with some bytes that are others, or cut short. Expected: the program takes those that the daemon's own
/// function reads, and counts others as what that one says of them.
#[test]
fn the_program_and_the_daemon_agree_on_what_an_advert_is() {
    let node = node();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut seen = BTreeMap::<_, u32>::new();
    for _ in 0..30_000 {
        let advert = [v2(BOTH), v3(BOTH), v3_ipv6(SIX)][rng.random_range(0..3)];
        let advert = Advert { count: rng.random_range(1..20), pseudo_header: rng.random(), ..advert };
        let mut frame = advert.frame();
        let ip_len = if advert.family == Family::V4 { 20 } else { 40 };
        let message_at = 14 + ip_len;
        for _ in 0..rng.random_range(0..3) {
            // Not the virtual router's id, which says that it is ours.
            let at = message_at
                + [0, 2, 3, 4, 5, 6, rng.random_range(7..frame.len() - message_at)][rng.random_range(0..7)];
            frame[at] = if rng.random() { rng.random() } else { frame[at] ^ 1 };
        }
        if rng.random_range(0..10) == 0 {
            frame.truncate(rng.random_range(message_at + 8..=frame.len()));
        }
        let expected = match read(&frame[14..], advert.family) {
            Ok(()) => Outcome::passed(&frame, Counter::VrrpAdvert),
            Err(invalid) => Outcome::dropped(&frame, invalid.into()),
        };
        *seen.entry(format!("{:?}", expected.counter)).or_default() += 1;
        assert_eq!(node.receives(&frame), expected, "{advert:?}");
    }
    let often = seen.values().filter(|count| **count > 100).count();
    assert_eq!(
        often,
        Counter::INVALID_ADVERTS.len(),
        "a right one, and all mistakes but a wrong time to live: {seen:?}"
    );
}

/// As the daemon does with what a socket gave.
fn read(packet: &[u8], family: Family) -> Result<(), Invalid> {
    let (arrival, message) = match family {
        Family::V4 => Arrival::of_ipv4(packet)?,
        Family::V6 => {
            let path = Path::V6 { source: SOURCE6, destination: GROUP6 };
            let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            (Arrival { path, ttl: packet[7] }, packet.get(40..40 + len).ok_or(Invalid::Length)?)
        }
    };
    parse(&arrival, message).map(drop)
}

fn node() -> Node {
    let mut node = Node::new();
    node.plane.tables.set_vrids(&BTreeMap::from([(LOOPBACK, vrids())])).unwrap();
    node
}

fn vrids() -> Vrids {
    let mut vrids = Vrids::default();
    for (family, version, vrid) in [
        (Family::V4, Version::V2, BOTH),
        (Family::V4, Version::V3, BOTH),
        (Family::V4, Version::V3, THREE),
        (Family::V6, Version::V3, SIX),
    ] {
        vrids.insert(family, version, Vrid::new(vrid).unwrap());
    }
    vrids
}

/// An advert that is to be built (RFC 9568, section 5.2; RFC 3768, section 5.3).
#[derive(Clone, Copy, Debug)]
struct Advert {
    family: Family,
    version: u8,
    vrid: u8,
    ttl: u8,
    count: u8,
    pseudo_header: bool,
    /// A byte of the message that is another one, before the checksum is made; of the checksum, after that.
    set: Option<(usize, u8)>,
}

const fn v3(vrid: u8) -> Advert {
    Advert { family: Family::V4, version: 3, vrid, ttl: 255, count: 2, pseudo_header: true, set: None }
}

const fn v3_ipv6(vrid: u8) -> Advert {
    Advert { family: Family::V6, ..v3(vrid) }
}

const fn v2(vrid: u8) -> Advert {
    Advert { version: 2, pseudo_header: false, ..v3(vrid) }
}

impl Advert {
    fn message(&self) -> Vec<u8> {
        let mut message = vec![self.version << 4 | 1, self.vrid, 100, self.count, 0, 100, 0, 0];
        for number in 0..self.count {
            match self.family {
                Family::V4 => message.extend([10, 77, number, 1]),
                Family::V6 => message.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, number]),
            }
        }
        if self.version == 2 {
            message.extend([0; 8]);
        }
        if let Some((at, byte)) = self.set {
            message[at] = byte;
        }
        let sum = match (self.pseudo_header, self.family) {
            (false, _) => ones_complement_sum(&message),
            (true, Family::V4) => {
                let len = u16::try_from(message.len()).unwrap().to_be_bytes();
                let head = [&SOURCE.octets()[..], &GROUP.octets(), &[0, PROTOCOL], &len, &message];
                ones_complement_sum(&head.concat())
            }
            (true, Family::V6) => checksum_over_ipv6(SOURCE6, GROUP6, PROTOCOL, &message),
        };
        if !matches!(self.set, Some((6 | 7, _))) {
            message[6..8].copy_from_slice(&(!sum).to_be_bytes());
        }
        message
    }

    fn frame(&self) -> Vec<u8> {
        self.frame_with(&[])
    }

    /// The frame with these options of IPv4.
    fn frame_with(&self, options: &[u8]) -> Vec<u8> {
        let (group, ethertype, packet) = match self.family {
            Family::V4 => {
                let ipv4 = Ipv4 { ttl: self.ttl, options, ..Ipv4::new(SOURCE, GROUP, PROTOCOL) };
                (GROUP_MAC, ETHERTYPE_IPV4, ipv4.around(&self.message()))
            }
            Family::V6 => {
                let packet = ipv6(SOURCE6, GROUP6, PROTOCOL, self.ttl, &self.message());
                (GROUP6_MAC, ETHERTYPE_IPV6, packet)
            }
        };
        ethernet(group, host(9).mac, ethertype, &packet)
    }
}
