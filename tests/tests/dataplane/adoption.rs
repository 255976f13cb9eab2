//! What a daemon finds of its former run, and when it must begin anew.

use std::fs;
use std::path::Path;

use vip_common::lease::Ballot;
use vip_common::maps::{Counter, LAYOUT_VERSION};
use vip_user::dataplane::{self, DataPlane, Error, MAPS, Pins, ProgramLog};

use super::frames::{ETHERTYPE_IPV4, Ipv4, PROTOCOL_UDP, ethernet};
use super::node::{CLIENT, LEASE, NODE_HOST, Node, Peer, WEB, WEB_VIP, now};
use super::pins::BpfDirectory;

/// Expected: promises, replay state, lease word, tables and counters are those of the former run.
#[test]
fn a_second_load_finds_what_the_first_one_knew() {
    let directory = BpfDirectory::new();
    let first = Node::with_plane(load(&directory.pins()));
    assert!(!first.plane.adopted);
    let until = now() + LEASE;
    first.plane.words.arm(WEB, until);
    let mut peer = Peer::new(2);
    let propose = peer.propose(3, LEASE);
    first.answer(&propose);
    let acceptor = first.plane.tables.acceptor(WEB).unwrap();
    drop(first);

    let second = Node { plane: load(&directory.pins()) };
    assert!(second.plane.adopted);
    assert_eq!(second.plane.tables.acceptor(WEB).unwrap(), acceptor);
    let word = second.plane.words.read(WEB);
    assert_eq!((word.lease_until, word.holder_ballot), (until, Ballot::new(3, 2)));
    assert_eq!(second.plane.tables.counters().unwrap().get(Counter::LeaseReply), 1);
    // Without an interface, messages are the daemon's own; what they are checked for is the same.
    second.ignores(&propose, Counter::RejectedReplay);
    second.answer(&peer.propose(3, LEASE));
    assert_eq!(second.receives(&packet_to_vip()).counter, Counter::VipPassed);
}

#[test]
fn two_loads_at_a_time_share_their_state() {
    let directory = BpfDirectory::new();
    let first = Node::with_plane(load(&directory.pins()));
    let second = Node { plane: load(&directory.pins()) };
    assert!(second.plane.adopted);
    second.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(first.receives(&packet_to_vip()).counter, Counter::VipPassed);
}

/// Half a memory is none: whichever map is lost, all are.
#[test]
fn a_missing_pin_makes_a_fresh_start() {
    for map in &MAPS {
        let directory = BpfDirectory::new();
        let pins = directory.pins();
        remembering(&pins);
        fs::remove_file(pins.map(map.name)).unwrap();
        assert_fresh(&pins);
    }
}

/// Input: maps of other sizes under the names of ours.
#[test]
fn pins_of_other_sizes_make_a_fresh_start() {
    for (one, other) in [("CONFIG", "VIPS"), ("ACCEPTORS", "PEERS"), ("COUNTERS", "SLOTS")] {
        let directory = BpfDirectory::new();
        let pins = directory.pins();
        remembering(&pins);
        exchange(&pins.map(one), &pins.map(other));
        assert_fresh(&pins);
    }
}

#[test]
fn pins_of_another_layout_are_removed() {
    let directory = BpfDirectory::new();
    remembering(&directory.pins());
    let ours = directory.path().join(format!("v{LAYOUT_VERSION}"));
    let other = directory.path().join(format!("v{}", LAYOUT_VERSION + 1));
    fs::rename(&ours, &other).unwrap();
    assert_fresh(&directory.pins());
    assert!(!other.exists());
}

#[test]
fn other_pins_beside_ours_stay() {
    let directory = BpfDirectory::new();
    let stranger = directory.path().join("another-program");
    fs::create_dir_all(&stranger).unwrap();
    load(&directory.pins());
    directory.pins().remove_all().unwrap();
    assert!(stranger.exists());
}

#[test]
fn removal_leaves_nothing() {
    let directory = BpfDirectory::new();
    load(&directory.pins());
    assert!(directory.path().exists());
    directory.pins().remove_all().unwrap();
    assert!(!directory.path().exists());
    directory.pins().remove_all().unwrap();
}

#[test]
fn a_directory_on_another_file_system_is_refused() {
    let path = std::env::temp_dir().join(format!("vip-dataplane-test-{}", std::process::id()));
    let refused = dataplane::load(Some(&Pins::new(&path)), ProgramLog::Off);
    assert!(matches!(refused, Err(Error::NoBpffs(named)) if named == path));
    assert!(!path.exists());
}

fn load(pins: &Pins) -> DataPlane {
    dataplane::load(Some(pins), ProgramLog::Off).unwrap()
}

fn packet_to_vip() -> Vec<u8> {
    let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(b"");
    ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV4, &packet)
}

/// A run that ends with something to remember.
fn remembering(pins: &Pins) {
    let node = Node::with_plane(load(pins));
    node.answer(&Peer::new(2).propose(3, LEASE));
}

/// The next load remembers nothing, and the one after that all of its maps.
fn assert_fresh(pins: &Pins) {
    let fresh = load(pins);
    assert!(!fresh.adopted);
    assert_eq!(fresh.tables.acceptor(WEB).unwrap().promised, 0);
    assert!(fresh.tables.peers().unwrap().is_empty());
    assert!(load(pins).adopted);
}

fn exchange(one: &Path, other: &Path) {
    let aside = one.with_file_name("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}
