//! The tee: the holder's copies, and what a standby lets in of them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::Ipv4Addr;

use nix::net::if_::if_nametoindex;
use pnet::datalink::{DataLinkReceiver, DataLinkSender};
use socket2::Socket;
use vip_common::forward::source_of;
use vip_common::lease::Ballot;
use vip_common::maps::{Counter, Stale};
use vip_common::wire::{Kind, Message};
use vip_tests::oracle::packet_socket;
use vip_user::config::XdpMode;
use vip_user::dataplane::{Attached, Pins, TeeCounts, attach_tee, remove_pin};

use super::attachment::{PATIENCE, on_a_cable, program_on, raw, served, wait_until};
use super::egress::{fenced, leaves};
use super::frames::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, MORE_FRAGMENTS, Mac, PROTOCOL_UDP, ethernet, ipv6, tagged, udp,
};
use super::node::{
    CLIENT, CLUSTER, HOME, LEASE, LOOPBACK, MAIL, MAIL_VIP, MOMENT, NODE_HOST, Node, Outcome, Peer, SIDE,
    WEB, WEB_VIP, WEB_VIP6, host, now, vips,
};

const HOLDER: u16 = 2;
const OTHER: u16 = 3;
/// No standby any more.
const FORMER: u16 = 4;
const PORT: u16 = 5000;
const OTHER_PORT: u16 = 5001;
/// Where the copies of what tells the end go.
const END: u16 = 77;
const END_PORT: u16 = 5999;
const PROTOCOL_FRAGMENT: u8 = 44;

#[test]
fn a_standby_lets_copies_of_the_holder_in_and_nothing_else() {
    let (mut node, _) = following();
    let copy = copy_from(host(HOLDER).mac, PORT);
    for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
        let frame = tagged(&copy, tags);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::TeeAdmitted));
    }
    assert_eq!(node.plane.tables.tee_counts(WEB, PORT).unwrap().unwrap().admitted, 3);

    let to_mail = framed(NODE_HOST.mac, host(HOLDER).mac, &datagram(MAIL_VIP, PORT));
    let tcp = Ipv4::new(CLIENT.ip, WEB_VIP, 6).around(&udp(40_000, PORT, b"data"));
    for fenced in [
        copy_from(CLIENT.mac, PORT),
        // That of a former holder, where there has been none.
        copy_from([0; 6], PORT),
        copy_from(host(OTHER).mac, PORT),
        copy_from(host(HOLDER).mac, OTHER_PORT),
        framed(host(OTHER).mac, host(HOLDER).mac, &datagram(WEB_VIP, PORT)),
        to_mail,
        framed(NODE_HOST.mac, host(HOLDER).mac, &tcp),
    ] {
        assert_eq!(node.receives(&fenced), Outcome::dropped(&fenced, Counter::VipFenced));
    }
    node.plane.tables.set_interface(LOOPBACK, SIDE).unwrap();
    assert_eq!(
        node.receives(&copy),
        Outcome::dropped(&copy, Counter::VipFenced),
        "where the nodes do not talk"
    );
}

/// Input: a port behind the longest IPv4 header, whose options look like the header of a datagram to the teed one.
#[test]
fn options_are_looked_through() {
    let (node, _) = following();
    let options = [udp(40_000, PORT, b""), vec![0; 32]].concat();
    let base = Ipv4 { options: &options, ..Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP) };
    for (port, counter) in [(PORT, Counter::TeeAdmitted), (OTHER_PORT, Counter::VipFenced)] {
        let copy = framed_as(&base.around(&udp(40_000, port, b"data")));
        assert_eq!(node.receives(&copy).counter, counter, "{port}");
    }
}

#[test]
fn without_the_tee_copies_are_fenced() {
    let (mut node, _) = following();
    node.plane.tables.set_tees(&BTreeSet::new()).unwrap();
    let copy = copy_from(host(HOLDER).mac, PORT);
    assert_eq!(node.receives(&copy), Outcome::dropped(&copy, Counter::VipFenced));
    assert_eq!(node.plane.tables.tee_counts(WEB, PORT).unwrap(), None);
}

/// Input: copies that reach a node when it has become the holder.
#[test]
fn a_holder_serves_what_its_predecessor_has_copied() {
    let (node, _) = following();
    node.plane.words.arm(WEB, now() + LEASE);
    let copy = copy_from(host(HOLDER).mac, PORT);
    assert_eq!(node.receives(&copy), Outcome::passed(&copy, Counter::VipPassed));
}

/// Input: the same frames, as stale forwarding and the keeping of a handover would have them.
#[test]
fn a_copy_is_neither_sent_on_nor_kept() {
    let (mut node, _) = following();
    node.plane.tables.set_standbys(WEB, [host(OTHER).mac]);
    let (copy, strangers) = (copy_from(host(HOLDER).mac, PORT), copy_from(host(OTHER).mac, PORT));
    for (stale, of_clients) in [(Stale::Forward, Counter::VipForwarded), (Stale::Keep, Counter::VipKept)] {
        node.plane.words.set_stale(WEB, stale);
        for source in [CLIENT.mac, [0; 6]] {
            assert_eq!(node.receives(&copy_from(source, PORT)).counter, of_clients, "{source:?}");
        }
        assert_eq!(node.receives(&copy), Outcome::passed(&copy, Counter::TeeAdmitted));
        // Of a node that is not known to hold: nobody's, but a copy.
        assert_eq!(node.receives(&strangers), Outcome::dropped(&strangers, Counter::VipFenced));
    }
}

#[test]
fn the_next_holder_is_known_by_the_transfer_and_the_former_one_stays_known() {
    let (node, mut holder) = following();
    let mut next = Peer::new(OTHER);
    node.hears(&next.hello());
    node.hears(&transfer(&mut holder, OTHER));
    for sender in [HOLDER, OTHER] {
        let copy = copy_from(host(sender).mac, PORT);
        assert_eq!(node.receives(&copy).counter, Counter::TeeAdmitted, "{sender}");
    }
    assert_eq!(node.answer(&next.propose(9, LEASE)).kind, Kind::Accepted as u8);
    for sender in [HOLDER, OTHER] {
        let copy = copy_from(host(sender).mac, PORT);
        assert_eq!(node.receives(&copy).counter, Counter::TeeAdmitted, "{sender}");
    }
}

#[test]
fn fragments_follow_their_first_one() {
    let (mut node, _) = following();
    node.plane.tables.set_standbys(MAIL, [host(HOLDER).mac]);
    for (make, name) in [(fragment4 as fn(u32, u16, bool) -> Vec<u8>, "IPv4"), (fragment6, "IPv6")] {
        let receives = |frame: Vec<u8>| node.receives(&framed_as(&frame)).counter;
        assert_eq!(receives(make(1, PORT, false)), Counter::TeeUnmatched, "{name}");
        assert_eq!(receives(make(1, PORT, true)), Counter::TeeAdmitted, "{name}");
        assert_eq!(receives(make(1, PORT, false)), Counter::TeeAdmitted, "{name}");
        assert_eq!(receives(of_another_client(&make(1, PORT, false))), Counter::TeeUnmatched, "{name}");
        assert_eq!(receives(to_mail(&make(1, PORT, false))), Counter::TeeUnmatched, "{name}");
        assert_eq!(receives(of_tcp(&make(1, PORT, false))), Counter::VipFenced, "{name}");
        assert_eq!(receives(make(2, OTHER_PORT, true)), Counter::VipFenced, "{name}");
        assert_eq!(receives(make(2, OTHER_PORT, false)), Counter::VipFenced, "{name}");
        assert_eq!(receives(make(1, PORT, false)), Counter::TeeAdmitted, "{name}");
        // The number is another datagram's from now on.
        assert_eq!(receives(make(1, OTHER_PORT, true)), Counter::VipFenced, "{name}");
        assert_eq!(receives(make(1, OTHER_PORT, false)), Counter::VipFenced, "{name}");
    }
}

#[test]
fn the_holder_sends_each_standby_one_copy_of_what_clients_send() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let node = copying(&pins);
        let mut wire = Wire::listen();
        for (frame, name) in [
            (framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, PORT)), "IPv4"),
            (framed6(NODE_HOST.mac, CLIENT.mac, &datagram6(PORT)), "IPv6"),
            (framed(NODE_HOST.mac, CLIENT.mac, &fragment4(7, PORT, true)), "first fragment"),
            (framed(NODE_HOST.mac, CLIENT.mac, &fragment4(7, PORT, false)), "later fragment"),
            (framed6(NODE_HOST.mac, CLIENT.mac, &fragment6(7, PORT, true)), "first fragment, IPv6"),
            (framed6(NODE_HOST.mac, CLIENT.mac, &fragment6(7, PORT, false)), "later fragment, IPv6"),
        ] {
            let expected =
                BTreeSet::from([HOLDER, OTHER].map(|to| readdressed(&frame, host(to).mac, NODE_HOST.mac)));
            let copies = wire.copies_of(&frame);
            assert_eq!((copies.len(), copies.into_iter().collect()), (2, expected), "{name}");
        }
        let counts = node.plane.tables.tee_counts(WEB, PORT).unwrap();
        assert_eq!(counts, Some(TeeCounts { copied: 12, failed: 0, admitted: 0 }));
        let total = |counter| node.plane.tables.counters().unwrap().get(counter);
        assert_eq!((total(Counter::TeeCopied), total(Counter::TeeFailed)), (18, 0));
        assert_eq!(total(Counter::VipPassed), 12, "with the later frames");
    });
}

#[test]
fn nothing_else_is_copied() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let mut node = copying(&pins);
        node.plane.tables.set_interface(LOOPBACK, HOME).unwrap();
        assert_eq!(node.answer(&Peer::new(FORMER).propose(5, MOMENT)).kind, Kind::Accepted as u8);
        let mut wire = Wire::listen();
        let client = framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, PORT));
        assert_eq!(wire.copies_of(&client).len(), 2);
        for (frame, name) in [
            (framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, OTHER_PORT)), "another port"),
            (framed(NODE_HOST.mac, CLIENT.mac, &datagram(MAIL_VIP, PORT)), "another group"),
            (framed(NODE_HOST.mac, host(HOLDER).mac, &datagram(WEB_VIP, PORT)), "a copy"),
            (framed(NODE_HOST.mac, host(FORMER).mac, &datagram(WEB_VIP, PORT)), "a copy of a former holder"),
            (framed(CLIENT.mac, host(9).mac, &datagram(WEB_VIP, PORT)), "another host's frame"),
            (
                framed(NODE_HOST.mac, CLIENT.mac, &fragment4(8, PORT, false)),
                "a fragment before its first one",
            ),
        ] {
            assert_eq!(wire.copies_of(&frame), [] as [Vec<u8>; 0], "{name}");
        }
        let unmatched = node.plane.tables.counters().unwrap().get(Counter::TeeUnmatched);
        assert_eq!(unmatched, 1);

        // What another node has sent on is a client's.
        let sent_on = [&NODE_HOST.mac[..], &source_of(CLUSTER, OTHER), &client[12..]];
        assert_eq!(wire.copies_of(&sent_on.concat()).len(), 2);

        node.plane.tables.set_standbys(WEB, [host(OTHER).mac]);
        assert_eq!(wire.copies_of(&client).len(), 1);
        node.plane.words.disarm(WEB);
        assert_eq!(wire.copies_of(&client), [] as [Vec<u8>; 0]);
        node.plane.words.arm(WEB, now() + LEASE);
        node.plane.tables.set_tees(&BTreeSet::from([(MAIL, END_PORT)])).unwrap();
        assert_eq!(wire.copies_of(&client), [] as [Vec<u8>; 0]);
        node.plane.tables.set_tees(&BTreeSet::from([(WEB, PORT), (MAIL, END_PORT)])).unwrap();
        assert_eq!(wire.copies_of(&client).len(), 1);
        pins.release("left").unwrap();
        assert!(!pins.tee("left").exists());
    });
}

/// Input: frames on which XDP has no say any more, as on those that are under way from it when a lease ends.
#[test]
fn copies_are_made_while_the_node_serves_or_gives_away_and_no_longer() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let node = copying(&pins);
        remove_pin(&pins.link("left")).unwrap();
        // The kernel detaches in the background.
        wait_until("XDP is gone", || program_on("left").is_none());
        let mut wire = Wire::listen();
        let client = framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, PORT));
        assert_eq!(wire.copies_of(&client).len(), 2);
        node.plane.words.disarm(WEB);
        for (stale, copies) in [(Stale::Keep, 2), (Stale::Forward, 0), (Stale::Drop, 0)] {
            node.plane.words.set_stale(WEB, stale);
            assert_eq!(wire.copies_of(&client).len(), copies, "{stale:?}");
        }
    });
}

/// Input: a datagram that has been copied, as sockets of the stack see it.
#[test]
fn a_datagram_goes_on_as_it_came() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let _node = copying(&pins);
        let mut stack = stack();
        let mut wire = Wire::listen();
        let client = framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, PORT));
        assert_eq!(wire.copies_of(&client).len(), 2);
        assert_eq!(next_of(&mut stack), client);
    });
}

/// Input: datagrams that come in where the nodes do not talk to each other, so that the standbys are not known to be there.
#[test]
fn no_copies_leave_by_another_interface() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let mut node = copying(&pins);
        let left = if_nametoindex("left").unwrap();
        node.plane.tables.set_interface(left, SIDE).unwrap();
        let mut stack = stack();
        let mut wire = Wire::listen();
        let client = framed(NODE_HOST.mac, CLIENT.mac, &datagram(WEB_VIP, PORT));
        wire.sender.send_to(&client, None).unwrap().unwrap();
        assert_eq!(next_of(&mut stack), client);
        assert_eq!(node.plane.tables.counters().unwrap().get(Counter::TeeCopied), 0);
    });
}

/// Input: the next holder's copies; it answers.
#[test]
fn a_node_that_gives_away_answers_until_it_has_copies() {
    on_a_cable(|directory| {
        let mut node = fenced(&directory.pins()).on_the_wire();
        let mut holder = follow(&mut node);
        let (mut sender, _) = raw("left");
        node.plane.words.set_stale(WEB, Stale::Keep);
        assert!(leaves(&mut *sender));
        node.hears(&transfer(&mut holder, OTHER));
        node.hears(&Peer::new(OTHER).hello());
        assert!(leaves(&mut *sender));
        assert_eq!(node.receives(&copy_from(host(OTHER).mac, PORT)).counter, Counter::TeeAdmitted);
        assert!(!leaves(&mut *sender));
        wait_until("copies have ceased to come", || leaves(&mut *sender));
    });
}

/// A node whose acceptor knows that another one holds group "web", and that daemon.
fn following() -> (Node, Peer) {
    let mut node = Node::new();
    let holder = follow(&mut node);
    (node, holder)
}

/// Has the node know that another one holds group "web": that daemon.
fn follow(node: &mut Node) -> Peer {
    node.plane.tables.set_tees(&BTreeSet::from([(WEB, PORT), (MAIL, OTHER_PORT)])).unwrap();
    let mut holder = Peer::new(HOLDER);
    assert_eq!(node.answer(&holder.propose(5, LEASE)).kind, Kind::Accepted as u8);
    holder
}

/// A node that holds both groups, serves "left", and copies what comes for one port of "web" to two standbys.
fn copying(pins: &Pins) -> Node {
    let mut node = served(pins, XdpMode::Auto, Attached::Native);
    node.plane.tables.set_vips(&vips()).unwrap();
    node.plane.tables.set_tees(&BTreeSet::from([(WEB, PORT), (MAIL, END_PORT)])).unwrap();
    node.plane.tables.set_standbys(WEB, [host(HOLDER).mac, host(OTHER).mac]);
    node.plane.tables.set_standbys(MAIL, [host(END).mac]);
    for slot in [WEB, MAIL] {
        node.plane.words.arm(slot, now() + LEASE);
    }
    attach_tee(pins, "left").unwrap();
    node
}

/// What the daemon of the holder says when it gives the lease to another node.
fn transfer(from: &mut Peer, to: u16) -> Message {
    from.request(Kind::Transfer, 5, |message| {
        message.ballot = Ballot::new(6, to).0.into();
        message.duration = LEASE.into();
    })
}

/// What is on the cable.
struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    fn listen() -> Self {
        let (sender, receiver) = raw("right");
        Self { sender, receiver }
    }

    /// What the node sends for this frame: all that comes before the copy of a later one.
    fn copies_of(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let end = framed(NODE_HOST.mac, CLIENT.mac, &datagram(MAIL_VIP, END_PORT));
        // The socket gives what was sent as well.
        let mut own = vec![frame.to_vec(), end.clone()];
        for frame in &own {
            self.sender.send_to(frame, None).unwrap().unwrap();
        }
        let mut copies = Vec::new();
        loop {
            let received = self.receiver.next().expect("the later frame's copy arrives").to_vec();
            if let Some(index) = own.iter().position(|frame| *frame == received) {
                own.remove(index);
            } else if received == readdressed(&end, host(END).mac, NODE_HOST.mac) {
                return copies;
            } else {
                copies.push(received);
            }
        }
    }
}

/// A socket that gets what comes by "left", behind the programs there.
fn stack() -> Socket {
    let stack = packet_socket("left", Some(libc::ETH_P_IP)).unwrap();
    stack.set_read_timeout(Some(PATIENCE)).unwrap();
    stack
}

fn next_of(stack: &mut Socket) -> Vec<u8> {
    let mut frame = [0; 2048];
    let len = stack.read(&mut frame).unwrap();
    frame[..len].to_vec()
}

fn datagram(vip: Ipv4Addr, port: u16) -> Vec<u8> {
    Ipv4::new(CLIENT.ip, vip, PROTOCOL_UDP).around(&udp(40_000, port, b"data"))
}

fn datagram6(port: u16) -> Vec<u8> {
    ipv6(CLIENT.ip6(), WEB_VIP6, PROTOCOL_UDP, 64, &udp(40_000, port, b"data"))
}

/// A first fragment, or a later one, of a datagram of this number.
fn fragment4(id: u32, port: u16, is_first: bool) -> Vec<u8> {
    let fragment = if is_first { MORE_FRAGMENTS } else { 2 };
    let base = Ipv4 { fragment, ..Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP) };
    let mut packet = base.around(&udp(40_000, port, b"datadata"));
    packet[4..6].copy_from_slice(&u16::try_from(id).unwrap().to_be_bytes());
    packet
}

fn fragment6(id: u32, port: u16, is_first: bool) -> Vec<u8> {
    let fragment: u16 = if is_first { 1 } else { 2 << 3 };
    let header = [&[PROTOCOL_UDP, 0][..], &fragment.to_be_bytes(), &id.to_be_bytes()].concat();
    ipv6(CLIENT.ip6(), WEB_VIP6, PROTOCOL_FRAGMENT, 64, &[header, udp(40_000, port, b"datadata")].concat())
}

/// A packet of either version with another source.
fn of_another_client(packet: &[u8]) -> Vec<u8> {
    let last = if packet[0] >> 4 == 4 { 15 } else { 23 };
    changed(packet, last, packet[last] ^ 1)
}

/// A packet of either version, to the VIP of group "mail".
fn to_mail(packet: &[u8]) -> Vec<u8> {
    changed(packet, if packet[0] >> 4 == 4 { 19 } else { 39 }, 101)
}

/// A fragment of either version, of a TCP segment.
fn of_tcp(packet: &[u8]) -> Vec<u8> {
    changed(packet, if packet[0] >> 4 == 4 { 9 } else { 40 }, 6)
}

/// The program does not look at checksums.
fn changed(packet: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] = byte;
    packet
}

/// A copy for this node, of either version.
fn framed_as(packet: &[u8]) -> Vec<u8> {
    let frame = if packet[0] >> 4 == 4 { framed } else { framed6 };
    frame(NODE_HOST.mac, host(HOLDER).mac, packet)
}

fn framed(to: Mac, from: Mac, packet: &[u8]) -> Vec<u8> {
    ethernet(to, from, ETHERTYPE_IPV4, packet)
}

fn framed6(to: Mac, from: Mac, packet: &[u8]) -> Vec<u8> {
    ethernet(to, from, ETHERTYPE_IPV6, packet)
}

fn copy_from(source: Mac, port: u16) -> Vec<u8> {
    framed(NODE_HOST.mac, source, &datagram(WEB_VIP, port))
}

fn readdressed(frame: &[u8], to: Mac, from: Mac) -> Vec<u8> {
    [&to[..], &from, &frame[12..]].concat()
}
