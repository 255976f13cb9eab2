//! The program for what leaves by an interface: it outlives its daemon, and goes with the pins.

use pnet::datalink::DataLinkSender;
use vip_common::maps::Counter;
use vip_user::dataplane::Pins;

use super::attachment::{load, on_a_cable, raw, wait_until};
use super::frames::{ETHERTYPE_IPV4, Ipv4, ethernet};
use super::node::{CLIENT, LEASE, NODE_HOST, Node, WEB, WEB_VIP, now};

const TCP: u8 = 6;

#[test]
fn what_is_from_a_vip_leaves_while_it_is_held_also_without_a_daemon_and_under_the_next_one() {
    on_a_cable(|directory| {
        let pins = directory.pins();
        let (mut sender, _) = raw("left");
        assert!(leaves(&mut *sender), "nothing is there yet");

        let first = fenced(&pins);
        assert!(!leaves(&mut *sender));
        drop(first);
        assert!(!leaves(&mut *sender));

        let second = fenced(&pins);
        let silenced = || second.plane.tables.counters().unwrap().get(Counter::VipSilenced);
        let before = silenced();
        assert!(!leaves(&mut *sender));
        assert_eq!(silenced(), before + 1);
        second.plane.words.arm(WEB, now() + LEASE);
        assert!(leaves(&mut *sender));
        second.plane.words.disarm(WEB);
        assert!(!leaves(&mut *sender));

        pins.remove_all().unwrap();
        // The kernel detaches in the background.
        wait_until("the program is gone", || leaves(&mut *sender));
    });
}

/// A node whose program is where packets leave by "left".
pub(super) fn fenced(pins: &Pins) -> Node {
    let mut node = Node::with_plane(load(pins));
    assert!(node.plane.program.attach_egress("left", &pins.egress("left")).unwrap());
    node
}

/// Sends a packet from the VIP; a socket hears of it when that is dropped on its way out.
pub(super) fn leaves(sender: &mut dyn DataLinkSender) -> bool {
    let packet = Ipv4::new(WEB_VIP, CLIENT.ip, TCP).around(b"data");
    sender.send_to(&ethernet(CLIENT.mac, NODE_HOST.mac, ETHERTYPE_IPV4, &packet), None).unwrap().is_ok()
}
