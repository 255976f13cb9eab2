//! The program on an interface: how it gets there, how a new one takes its place, and that it answers from there.

use std::panic::resume_unwind;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};
use vip_common::maps::Counter;
use vip_user::config::XdpMode;
use vip_user::dataplane::{self, Attached, Error, Pins, ProgramLog, Vip};

use super::frames::{ARP_REPLY, ETHERTYPE_ARP, Host, arp, arp_request, ethernet};
use super::node::{CLIENT, HOME, LEASE, NODE_HOST, Node, WEB, WEB_VIP, now};
use super::pins::BpfDirectory;

/// Longer than any condition here takes, on however busy a machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_held_vip_is_answered_from_the_driver() {
    on_a_cable(|directory| {
        let node = served(&directory.pins(), XdpMode::Native, Attached::Native);
        // A veth's stack gets what its peer sends by XDP_TX only if it has a program itself.
        let other_end = BpfDirectory::new();
        let mut client = Node::with_plane(load(&other_end.pins()));
        attach(&mut client, &other_end.pins(), "right", XdpMode::Native).unwrap();

        let (mut sender, mut receiver) = raw("right");
        assert_answered(&node, &mut *sender, &mut *receiver);
    });
}

#[test]
fn a_held_vip_is_answered_from_the_stack() {
    on_a_cable(|directory| {
        let node = served(&directory.pins(), XdpMode::Generic, Attached::Generic);
        let (mut sender, mut receiver) = raw("right");
        assert_answered(&node, &mut *sender, &mut *receiver);
    });
}

/// The fence does not end with its daemon, but with its pins.
#[test]
fn the_program_stays_when_its_daemon_ends() {
    on_a_cable(|directory| {
        drop(served(&directory.pins(), XdpMode::Auto, Attached::Native));
        assert!(program_on("left").is_some());
        directory.pins().remove_all().unwrap();
        // The kernel detaches in the background.
        wait_until("the program is gone", || program_on("left").is_none());
    });
}

/// Input: a name as VLAN interfaces have it; the BPF file system takes no dots.
#[test]
fn an_interface_with_a_dot_in_its_name_is_served() {
    on_a_cable(|directory| {
        for command in ["set left down", "set left name left.10", "set left.10 up"] {
            ip(&format!("link {command}"));
        }
        let pins = directory.pins();
        let mut node = Node::with_plane(load(&pins));
        assert_eq!(attach(&mut node, &pins, "left.10", XdpMode::Auto).unwrap(), Attached::Native);
        assert!(program_on("left.10").is_some());
    });
}

#[test]
fn a_new_daemons_program_takes_the_place_of_the_former() {
    on_a_cable(|directory| {
        drop(served(&directory.pins(), XdpMode::Auto, Attached::Native));
        let former = program_on("left");
        let second = served(&directory.pins(), XdpMode::Auto, Attached::Replaced);
        assert!(second.plane.adopted);
        let latter = program_on("left");
        assert!(latter.is_some() && latter != former, "{former:?}, then {latter:?}");
    });
}

/// Input: an interface that was deleted and made again under its name, so that the pinned link leads nowhere.
#[test]
fn a_pinned_link_of_a_lost_interface_is_not_adopted() {
    on_a_cable(|directory| {
        drop(served(&directory.pins(), XdpMode::Auto, Attached::Native));
        ip("link delete left");
        cable();
        assert_eq!(program_on("left"), None);
        served(&directory.pins(), XdpMode::Auto, Attached::Native);
        assert!(program_on("left").is_some());
    });
}

#[test]
fn an_interface_with_another_program_is_refused() {
    on_a_cable(|directory| {
        let _first = served(&directory.pins(), XdpMode::Auto, Attached::Native);
        let elsewhere = BpfDirectory::new();
        let mut second = Node::with_plane(load(&elsewhere.pins()));
        let before = program_on("left");
        let refused = attach(&mut second, &elsewhere.pins(), "left", XdpMode::Auto);
        assert!(matches!(refused, Err(Error::Busy { iface, .. }) if iface == "left"));
        assert_eq!(program_on("left"), before);
        assert!(!elsewhere.pins().link("left").exists());
    });
}

/// Runs a test on a thread of its own, in a network namespace with a veth pair, "left" and "right".
pub(super) fn on_a_cable(test: impl FnOnce(BpfDirectory) + Send + 'static) {
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace needs root");
        cable();
        test(BpfDirectory::new());
    };
    if let Err(panic) = thread::spawn(body).join() {
        resume_unwind(panic);
    }
}

pub(super) fn cable() {
    ip("link add left address 02:77:00:00:00:01 type veth peer name right");
    // The kernel's own frames would come in between.
    for end in ["left", "right"] {
        ip(&format!("link set {end} addrgenmode none arp off up"));
    }
}

pub(super) fn load(pins: &Pins) -> dataplane::DataPlane {
    dataplane::load(Some(pins), ProgramLog::Off).unwrap()
}

/// A node that serves "left".
pub(super) fn served(pins: &Pins, mode: XdpMode, expected: Attached) -> Node {
    let mut node = Node::with_plane(load(pins));
    let left = if_nametoindex("left").unwrap();
    node.plane.tables.set_interface(left, HOME).unwrap();
    node.plane.tables.set_vips(&[(WEB_VIP, Vip { slot: WEB, interface: left })].into()).unwrap();
    assert_eq!(attach(&mut node, pins, "left", mode).unwrap(), expected);
    node
}

pub(super) fn attach(node: &mut Node, pins: &Pins, iface: &str, mode: XdpMode) -> Result<Attached, Error> {
    node.plane.program.attach(iface, if_nametoindex(iface).unwrap(), mode, &pins.link(iface))
}

/// Requests for the VIP are dropped while it is not held, and answered while it is.
fn assert_answered(node: &Node, sender: &mut dyn DataLinkSender, receiver: &mut dyn DataLinkReceiver) {
    let request = arp_request(CLIENT, WEB_VIP);
    sender.send_to(&request, None).unwrap().unwrap();
    let count = |counter| node.plane.tables.counters().unwrap().get(counter);
    wait_until("the request arrives", || count(Counter::ArpFenced) == 1);

    node.plane.words.arm(WEB, now() + LEASE);
    sender.send_to(&request, None).unwrap().unwrap();
    let vip = Host { mac: NODE_HOST.mac, ip: WEB_VIP };
    let reply = ethernet(CLIENT.mac, NODE_HOST.mac, ETHERTYPE_ARP, &arp(ARP_REPLY, vip, CLIENT)[14..]);
    // The socket gives what was sent as well.
    let received = std::iter::repeat_with(|| receiver.next().expect("no answer arrives").to_vec());
    assert_eq!(received.into_iter().find(|frame| *frame != request), Some(reply));
    assert_eq!(count(Counter::ArpReply), 1);
}

pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn raw(iface: &str) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let interface = datalink::interfaces().into_iter().find(|found| found.name == iface).unwrap();
    let config = datalink::Config { read_timeout: Some(PATIENCE), ..datalink::Config::default() };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(sender, receiver) => (sender, receiver),
        _ => unreachable!("the default is Ethernet"),
    }
}

/// The id of the program on an interface, as `ip link` tells it.
pub(super) fn program_on(iface: &str) -> Option<String> {
    let shown = ip(&format!("link show {iface}"));
    let (_, rest) = shown.split_once("prog/xdp id ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

pub(super) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("running ip");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
