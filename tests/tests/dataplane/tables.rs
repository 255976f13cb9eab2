//! The tables that the program looks up in, as the daemon changes them: also while frames come.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vip_common::maps::{Counter, Interface, MAX_INTERFACES, MAX_VIPS};
use vip_user::dataplane::{self, Action, DataPlane, Error, Pins, ProgramLog, Vip, Vip6};

use super::frames::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, Neighbour, PROTOCOL_UDP, arp_request, ethernet, ipv6,
};
use super::node::{
    CLIENT, HOME, LEASE, LOOPBACK, MAIL_VIP, MAIL_VIP6, NODE_HOST, Node, WEB, WEB_VIP, WEB_VIP6, host, now,
    vips, vips6,
};
use super::pins::BpfDirectory;
use super::races::SetOnDrop;

/// Not the one that frames come in on.
const ELSEWHERE: u32 = LOOPBACK + 1;
/// How often each table changes under the frames.
const CHANGES: u32 = 40;
/// As many as a node can have.
const VIPS: u32 = 16_384;
const INTERFACES: u32 = 64;
const _: () = assert!(VIPS as usize == MAX_VIPS && INTERFACES as usize == MAX_INTERFACES);

/// Input: a program that serves on a lease that goes on, and a daemon that starts on its maps and has other VIPs and interfaces
/// beside those that stay, again and again. The others belong to the group that is held, and lie elsewhere.
/// Expected: packets to the VIPs of the other group stay out, and questions for those of the held one are answered.
#[test]
fn what_stays_is_found_at_every_instant_while_others_come_and_go() {
    let directory = BpfDirectory::new();
    let node = Node::with_plane(load(&directory.pins())).on_the_wire();
    node.plane.words.arm(WEB, now() + LEASE);
    let mut next = load(&directory.pins());
    let frames = [
        packet_to(MAIL_VIP),
        packet_to6(MAIL_VIP6),
        arp_request(CLIENT, WEB_VIP),
        Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac),
    ];
    let expected = [Counter::VipFenced, Counter::VipFenced, Counter::ArpReply, Counter::NdReply];
    assert_eq!(frames.each_ref().map(|frame| node.receives(frame).counter), expected);
    let outcomes = frames.each_ref().map(|frame| node.run(frame));

    let over = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let frames_come = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                for (frame, outcome) in frames.iter().zip(&outcomes) {
                    assert_eq!(node.run(frame), *outcome, "in round {rounds}");
                }
                rounds += 1;
            }
            rounds
        });
        let over = SetOnDrop(&over);
        (0..CHANGES).for_each(|change| come_and_go(&mut next, change));
        drop(over);
        frames_come.join().unwrap()
    });
    assert!(rounds > CHANGES, "{rounds} rounds of frames during {CHANGES} changes");
    assert_eq!(node.receives(&packet_to(other_vip(CHANGES - 1, 0))).counter, Counter::VipPassed);
}

/// Sets the tables to what stays and, each time, others.
fn come_and_go(plane: &mut DataPlane, change: u32) {
    let others = change * 517 % 2000 + 1;
    let (slot, interface) = (WEB, ELSEWHERE);
    let mut all = vips();
    all.extend((0..others).map(|number| (other_vip(change, number), Vip { slot, interface })));
    plane.tables.set_vips(&all).unwrap();
    let mut all = vips6();
    all.extend((0..others).map(|number| {
        let vip = other_vip(change, number).to_ipv6_mapped();
        (vip, Vip6 { slot, router: 1, interface })
    }));
    plane.tables.set_vips6(&all).unwrap();
    let mut all = BTreeMap::from([(LOOPBACK, HOME)]);
    let elsewhere = Interface { home: 0, mac: CLIENT.mac, ..HOME };
    all.extend((0..others % INTERFACES).map(|number| (ELSEWHERE + change * 100 + number, elsewhere)));
    plane.tables.set_interfaces(&all).unwrap();
}

fn other_vip(change: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 0, 0).to_bits() + change * 10_000 + number)
}

#[test]
fn as_many_vips_as_a_node_can_have_are_all_found() {
    let mut node = Node::new();
    let tables = &mut node.plane.tables;
    tables.set_vips(&many(VIPS)).unwrap();
    tables.set_vips6(&many6(VIPS)).unwrap();
    for number in 0..VIPS {
        let (frame, frame6) = (packet_to(many_vip(number)), packet_to6(many_vip6(number)));
        assert_eq!((node.run(&frame), node.run(&frame6)), (dropped(&frame), dropped(&frame6)), "{number}");
    }
    for beside in [many_vip(VIPS), WEB_VIP] {
        assert_eq!(node.receives(&packet_to(beside)).counter, Counter::Other);
    }
    for beside in [many_vip6(VIPS), WEB_VIP6] {
        assert_eq!(node.receives(&packet_to6(beside)).counter, Counter::Other);
    }
}

/// Expected: what was there is still found.
#[test]
fn more_than_a_node_can_have_are_refused() {
    let mut node = Node::holding();
    let tables = &mut node.plane.tables;
    let refused = [
        tables.set_vips(&many(VIPS + 1)),
        tables.set_vips6(&many6(VIPS + 1)),
        tables.set_interfaces(&(0..=INTERFACES).map(|index| (index + 5, HOME)).collect()),
    ];
    let said = refused.map(|refused| match refused {
        Err(error @ Error::TooMany { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(said[0], "16385 IPv4 VIPs are more than the 16384 that one node can have");
    assert_eq!(said[1], "16385 IPv6 VIPs are more than the 16384 that one node can have");
    assert_eq!(said[2], "65 interfaces are more than the 64 that one node can have");
    assert_eq!(node.receives(&arp_request(CLIENT, WEB_VIP)).counter, Counter::ArpReply);
    let solicitation = Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6).frame(CLIENT.mac);
    assert_eq!(node.receives(&solicitation).counter, Counter::NdReply);
}

#[test]
fn as_many_interfaces_as_a_node_can_have_are_served() {
    let mut node = Node::holding();
    let others = (1..INTERFACES).map(|number| (number << 20, Interface { home: 0, ..HOME }));
    node.plane.tables.set_interfaces(&others.chain([(LOOPBACK, HOME)]).collect()).unwrap();
    assert_eq!(node.receives(&arp_request(CLIENT, WEB_VIP)).counter, Counter::ArpReply);
}

/// A start with the configuration of the run before writes nothing, and waits for nobody.
#[test]
fn what_is_as_it_should_be_is_not_touched() {
    let directory = BpfDirectory::new();
    let mut node = Node::with_plane(load(&directory.pins())).on_the_wire();
    let before = node.plane.tables.config().unwrap().editions;
    set_again(&mut node.plane);
    drop(node);
    let mut plane = load(&directory.pins());
    set_again(&mut plane);
    assert_eq!(plane.tables.config().unwrap().editions, before);
    let other = Interface { address: host(9).ip.to_ipv6_mapped().octets(), ..HOME };
    plane.tables.set_interface(LOOPBACK, other).unwrap();
    assert_ne!(plane.tables.config().unwrap().editions.interfaces, before.interfaces);
}

fn set_again(plane: &mut DataPlane) {
    let config = plane.tables.config().unwrap();
    plane.tables.set_config(config).unwrap();
    plane.tables.set_vips(&vips()).unwrap();
    plane.tables.set_vips6(&vips6()).unwrap();
    plane.tables.set_interface(LOOPBACK, HOME).unwrap();
}

/// Input: a start that has been told of its interfaces, and not yet that the VIPs lie on other ones than before.
#[test]
fn a_vip_does_not_lie_on_an_interface_that_came_in_place_of_its_own() {
    let directory = BpfDirectory::new();
    let mut first = load(&directory.pins());
    first.tables.set_interfaces(&[(ELSEWHERE, HOME)].into()).unwrap();
    first.tables.set_vips(&[(WEB_VIP, Vip { slot: WEB, interface: ELSEWHERE })].into()).unwrap();
    // A run that ends in between: what the numbers are for is only in the VIPs' entries.
    first.tables.set_interfaces(&BTreeMap::new()).unwrap();
    drop(first);
    let mut second = load(&directory.pins());
    second.tables.set_interfaces(&[(LOOPBACK, HOME)].into()).unwrap();
    second.words.arm(WEB, now() + LEASE);
    let node = Node { plane: second };
    assert_eq!(node.receives(&arp_request(CLIENT, WEB_VIP)).counter, Counter::ArpFenced);
}

fn many(count: u32) -> BTreeMap<Ipv4Addr, Vip> {
    (0..count).map(|number| (many_vip(number), Vip { slot: WEB, interface: LOOPBACK })).collect()
}

fn many6(count: u32) -> BTreeMap<Ipv6Addr, Vip6> {
    let vip = Vip6 { slot: WEB, router: 0, interface: LOOPBACK };
    (0..count).map(|number| (many_vip6(number), vip)).collect()
}

fn many_vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 0, 0).to_bits() + number)
}

fn many_vip6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(number))
}

fn packet_to(vip: Ipv4Addr) -> Vec<u8> {
    let packet = Ipv4::new(CLIENT.ip, vip, PROTOCOL_UDP).around(b"payload");
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet)
}

fn packet_to6(vip: Ipv6Addr) -> Vec<u8> {
    ethernet(
        NODE_HOST.mac,
        CLIENT.mac,
        ETHERTYPE_IPV6,
        &ipv6(CLIENT.ip6(), vip, PROTOCOL_UDP, 64, b"payload"),
    )
}

fn dropped(frame: &[u8]) -> (Action, Vec<u8>) {
    (Action::Drop, frame.to_vec())
}

fn load(pins: &Pins) -> DataPlane {
    dataplane::load(Some(pins), ProgramLog::Off).unwrap()
}
