//! A start that goes on with the program of the former run, and what it must not take for that.

use std::fs;

use nix::net::if_::if_nametoindex;
use vip_common::maps::{Counter, Stale};
use vip_user::config::XdpMode;
use vip_user::dataplane::{self, Attached, DataPlane, MAPS, Pins, ProgramLog, Wishes, remove_pin};

use super::attachment::{attach, cable, ip, load, on_a_cable, program_on, served};
use super::frames::{ETHERTYPE_IPV4, Ipv4, PROTOCOL_UDP, ethernet};
use super::node::{CLIENT, LEASE, NODE_HOST, Node, Outcome, Peer, WEB, WEB_VIP, now};

const WISHES: Wishes = Wishes { egress_fence: true, log: ProgramLog::Off };

/// Expected: the same program, not one of the same kind; and all that the former run knew.
#[test]
fn a_start_finds_program_and_maps_where_the_former_run_left_them() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let until = now() + LEASE;
        let first = settled(&pins);
        first.plane.words.arm(WEB, until);
        let mut peer = Peer::new(2);
        first.answer(&peer.propose(3, LEASE));
        let (program, acceptor) = (program_on("left"), first.plane.tables.acceptor(WEB).unwrap());
        drop(first);

        let mut second = Node { plane: resume(&pins, WISHES).expect("what the former run left") };
        assert!(second.plane.adopted);
        assert_eq!(attach(&mut second, &pins, "left", XdpMode::Auto).unwrap(), Attached::Resumed);
        assert_eq!(program_on("left"), program);
        let fence = second.plane.program.fence("left", index("left"), &pins.link("left")).unwrap();
        fence.check().unwrap();
        assert_eq!(second.plane.words.read(WEB).lease_until, until);
        assert_eq!(second.plane.tables.acceptor(WEB).unwrap(), acceptor);
        second.answer(&peer.propose(3, LEASE));
    });
}

/// The frames that are kept in a handover go to the daemon that runs, and not to the former one's buffers.
#[test]
fn frames_are_kept_for_the_daemon_that_goes_on() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        drop(settled(&pins));
        let mut node = Node { plane: resume(&pins, WISHES).expect("what the former run left") }.on_the_wire();
        node.plane.words.set_stale(WEB, Stale::Keep);
        let frame = packet_to_vip();
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipKept));
        let mut kept = Vec::new();
        node.plane.kept.drain(|slot, frame| kept.push((slot, frame)));
        assert_eq!(kept, [(WEB, frame)]);
    });
}

#[test]
fn what_is_not_quite_as_the_former_run_left_it_is_not_gone_on_with() {
    type Change = fn(&Pins);
    let changes: [(&str, Change); 6] = [
        ("no link", |pins| remove_pin(&pins.link("left")).unwrap()),
        ("no buffers for kept frames", |pins| remove_pin(&pins.map("KEPT")).unwrap()),
        ("a map is missing", |pins| remove_pin(&pins.map(MAPS[0].name)).unwrap()),
        ("the program is not pinned", |pins| {
            let is_program = |name: &str| name.starts_with("program-");
            let entries = fs::read_dir(pins.map("")).unwrap().map(|entry| entry.unwrap());
            let program = entries.filter(|entry| is_program(&entry.file_name().to_string_lossy()));
            assert_eq!(program.map(|entry| fs::remove_file(entry.path()).unwrap()).count(), 1);
        }),
        ("another program in its place", |pins| {
            assert_eq!(
                attach(&mut Node { plane: load(pins) }, pins, "left", XdpMode::Auto).unwrap(),
                Attached::Replaced
            );
        }),
        ("the interface was made anew", |_| {
            ip("link delete left");
            cable();
        }),
    ];
    for (what, change) in changes {
        on_a_cable(move |directory| {
            let pins = directory.pins();
            drop(settled(&pins));
            assert!(resume(&pins, WISHES).is_some());
            change(&pins);
            assert!(resume(&pins, WISHES).is_none(), "{what}");
        });
    }
}

#[test]
fn a_start_with_other_wishes_or_for_another_interface_loads_the_program_anew() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        drop(served(&pins, XdpMode::Auto, Attached::Native));
        assert!(resume(&pins, WISHES).is_none(), "before the former run was done with its start");
        drop(settled_after(&pins, Attached::Replaced));
        assert!(resume(&pins, Wishes { egress_fence: false, ..WISHES }).is_none());
        assert!(resume(&pins, Wishes { log: ProgramLog::Debug, ..WISHES }).is_none());
        let both = [("left", index("left")), ("right", index("right"))];
        assert!(dataplane::resume(&pins, &both[1..], WISHES).is_none());
        assert!(dataplane::resume(&pins, &both, WISHES).is_none(), "all or none");
        assert!(resume(&pins, WISHES).is_some());
    });
}

/// A run that is done with its start.
fn settled(pins: &Pins) -> Node {
    settled_after(pins, Attached::Native)
}

fn settled_after(pins: &Pins, attached: Attached) -> Node {
    let mut node = served(pins, XdpMode::Auto, attached);
    node.plane.program.let_resume(pins, WISHES).unwrap();
    node
}

fn resume(pins: &Pins, wishes: Wishes) -> Option<DataPlane> {
    dataplane::resume(pins, &[("left", index("left"))], wishes)
}

fn index(iface: &str) -> u32 {
    if_nametoindex(iface).unwrap()
}

fn packet_to_vip() -> Vec<u8> {
    let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(b"");
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet)
}
