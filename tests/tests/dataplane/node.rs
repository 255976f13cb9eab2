//! A node with two groups, and what it does with frames.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use nix::time::{ClockId, clock_gettime};
use vip_common::lease::Ballot;
use vip_common::maps::{self, Config, Counter, Event, EventKind, Interface, KeyUse};
use vip_common::siphash::Key;
use vip_common::wire::{Kind, Message, name_hash};
use vip_user::dataplane::{self, Action, DataPlane, ProgramLog, Vip, Vip6};

use super::frames::{self, Host};

/// This node's id.
pub(super) const NODE: u16 = 1;
pub(super) const NODE_HOST: Host = host(NODE);
pub(super) const INCARNATION: u64 = 1_000_000;
pub(super) const EPOCH: u32 = 7;
pub(super) const CLUSTER: u32 = name_hash("edge");
pub(super) const PORT: u16 = 5680;
pub(super) const KEY: Key = [0x1111_2222_3333_4444, 0x5555_6666_7777_8888];
pub(super) const SECOND_KEY: Key = [0x9999_aaaa_bbbb_cccc, 0xdddd_eeee_ffff_0000];
/// The cluster's longest lease, in ns: longer than any test runs.
pub(super) const LEASE: u64 = 600_000_000_000;
/// A lease that is over before anything else happens, in ns.
pub(super) const MOMENT: u64 = 1;
/// Where the nodes of the cluster listen.
pub(super) const EVERYBODY: Host =
    Host { mac: [0x01, 0x00, 0x5e, 0x7f, 0x56, 0x50], ip: Ipv4Addr::new(239, 255, 86, 80) };
/// The same, where they talk IPv6.
pub(super) const EVERYBODY6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x5680);
/// No node of the cluster.
pub(super) const CLIENT: Host = host(200);

pub(super) const WEB: u32 = 1;
pub(super) const WEB_ID: u32 = name_hash("web");
pub(super) const WEB_VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub(super) const WEB_VIP6: Ipv6Addr = Host { mac: [0; 6], ip: WEB_VIP }.ip6();
pub(super) const MAIL: u32 = 64;
pub(super) const MAIL_ID: u32 = name_hash("mail");
pub(super) const MAIL_VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);
pub(super) const MAIL_VIP6: Ipv6Addr = Host { mac: [0; 6], ip: MAIL_VIP }.ip6();

/// The VIPs as the program is told of them: where the frames come in.
pub(super) fn vips() -> BTreeMap<Ipv4Addr, Vip> {
    BTreeMap::from(
        [(WEB_VIP, WEB), (MAIL_VIP, MAIL)].map(|(vip, slot)| (vip, Vip { slot, interface: LOOPBACK })),
    )
}

/// As [`vips`], of IPv6: the one of "mail" is a router's.
pub(super) fn vips6() -> BTreeMap<Ipv6Addr, Vip6> {
    BTreeMap::from(
        [(WEB_VIP6, WEB, 0), (MAIL_VIP6, MAIL, 1)]
            .map(|(vip, slot, router)| (vip, Vip6 { slot, router, interface: LOOPBACK })),
    )
}

/// The interface where the nodes talk to each other.
pub(super) const HOME: Interface =
    Interface { mac: NODE_HOST.mac, home: 4, address: NODE_HOST.ip.to_ipv6_mapped().octets() };
/// The same, where they talk IPv6.
pub(super) const HOME6: Interface = Interface { home: 6, address: NODE_HOST.ip6().octets(), ..HOME };
/// An interface where they do not talk to each other.
pub(super) const SIDE: Interface = Interface { home: 0, address: [0; 16], ..HOME };

/// The loopback interface, which the kernel lets TEST_RUN's frames come in on.
pub(super) const LOOPBACK: u32 = 1;
/// More than TEST_RUN takes.
const OUT_LEN: usize = 4096;

/// The host with this number on the segment.
pub(super) const fn host(number: u16) -> Host {
    let [high, low] = number.to_be_bytes();
    Host { mac: [0x02, 0x77, 0, 0, high, low], ip: Ipv4Addr::new(10, 77, high, low) }
}

/// CLOCK_BOOTTIME in ns, the program's clock.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap()
}

/// A loaded program with its tables filled.
pub(super) struct Node {
    pub(super) plane: DataPlane,
}

impl Node {
    /// A node that takes the frames it is given for frames from the wire.
    pub(super) fn new() -> Self {
        Self::alone().on_the_wire()
    }

    /// A node without interfaces: the lease messages that it is given are its own daemon's.
    pub(super) fn alone() -> Self {
        Self::with_plane(dataplane::load(None, ProgramLog::Off).unwrap())
    }

    /// A node of this program, which has not been told anything yet; without interfaces.
    pub(super) fn with_plane(mut plane: DataPlane) -> Self {
        let tables = &mut plane.tables;
        tables.set_config(config()).unwrap();
        tables.set_slots(&BTreeMap::from([(WEB_ID, WEB), (MAIL_ID, MAIL)])).unwrap();
        tables.set_vips(&vips()).unwrap();
        tables.set_vips6(&vips6()).unwrap();
        Self { plane }
    }

    /// The same node, serving the interface that its frames come in on.
    pub(super) fn on_the_wire(mut self) -> Self {
        self.plane.tables.set_interface(LOOPBACK, HOME).unwrap();
        self
    }

    /// As [`Self::new`], among nodes that talk IPv6.
    pub(super) fn talking_ipv6() -> Self {
        let mut node = Self::alone();
        node.plane.tables.set_interface(LOOPBACK, HOME6).unwrap();
        node
    }

    /// A node that holds group "web".
    pub(super) fn holding() -> Self {
        let node = Self::new();
        node.plane.words.arm(WEB, now() + LEASE);
        node
    }

    /// Runs the program on a frame. Panics unless it counts exactly once.
    pub(super) fn receives(&self, frame: &[u8]) -> Outcome {
        let before = self.plane.tables.counters().unwrap();
        let (action, frame) = self.run(frame);
        let after = self.plane.tables.counters().unwrap();
        let mut counted = COUNTERS
            .into_iter()
            .flat_map(|counter| (before.get(counter)..after.get(counter)).map(move |_| counter));
        let counter = counted.next().expect("the frame counts");
        assert_eq!(counted.next(), None, "the frame counts as {counter:?} and again");
        Outcome { action, counter, frame }
    }

    /// Runs the program on a frame.
    pub(super) fn run(&self, frame: &[u8]) -> (Action, Vec<u8>) {
        let mut out = vec![0; OUT_LEN];
        let (action, len) = self.plane.program.run(frame, &mut out).unwrap();
        out.truncate(len);
        (action, out)
    }

    /// Runs the program on a multicast lease message.
    pub(super) fn hears(&self, message: &Message) -> Outcome {
        self.receives(&multicast(message))
    }

    /// The verified answer to a request.
    pub(super) fn answer(&self, request: &Message) -> Message {
        let outcome = self.hears(request);
        assert_eq!((outcome.action, outcome.counter), (Action::Tx, Counter::LeaseReply));
        outcome.message()
    }

    /// Panics unless the message is dropped and counted so, and changes no acceptor.
    pub(super) fn ignores(&self, message: &Message, counter: Counter) {
        let acceptors = || [WEB, MAIL].map(|slot| self.plane.tables.acceptor(slot).unwrap());
        let before = acceptors();
        let frame = multicast(message);
        assert_eq!(self.receives(&frame), Outcome::dropped(&frame, counter), "{message:?}");
        assert_eq!(acceptors(), before, "{message:?}");
    }

    pub(super) fn lease_until(&self, slot: u32) -> u64 {
        self.plane.words.read(slot).lease_until
    }

    /// All events that have come since the last call.
    pub(super) fn events(&mut self) -> Vec<(EventKind, Event)> {
        let known = |event: Event| (EventKind::from_u32(event.kind).expect("a known event"), event);
        self.plane.events.by_ref().map(known).collect()
    }

    /// The only event since the last call.
    pub(super) fn event(&mut self, kind: EventKind) -> Event {
        let events = self.events();
        assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [kind]);
        events[0].1
    }
}

/// What [`Node`]s are told of themselves.
pub(super) fn config() -> Config {
    Config {
        incarnation: INCARNATION,
        longest_lease: LEASE,
        keys: [KEY, SECOND_KEY],
        keys_in_use: KeyUse::new(0, false).0,
        cluster: CLUSTER,
        epoch: EPOCH,
        node: NODE,
        port: PORT,
        ..Config::default()
    }
}

/// What became of a frame.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) action: Action,
    pub(super) counter: Counter,
    pub(super) frame: Vec<u8>,
}

impl Outcome {
    /// Passed to the stack as it came.
    pub(super) fn passed(frame: &[u8], counter: Counter) -> Self {
        Self { action: Action::Pass, counter, frame: frame.to_vec() }
    }

    /// Dropped, as it came.
    pub(super) fn dropped(frame: &[u8], counter: Counter) -> Self {
        Self { action: Action::Drop, counter, frame: frame.to_vec() }
    }

    /// Sent back as this frame.
    pub(super) fn sent(frame: &[u8], counter: Counter) -> Self {
        Self { action: Action::Tx, counter, frame: frame.to_vec() }
    }

    /// The lease message in the frame, which must be this node's and sealed under its first key.
    pub(super) fn message(&self) -> Message {
        self.message_under(&KEY)
    }

    /// As [`Self::message`], sealed under this key.
    pub(super) fn message_under(&self, key: &Key) -> Message {
        let (message, _, body) =
            Message::open(frames::payload(&self.frame), CLUSTER, &[*key]).expect("a sealed message");
        assert_eq!((message.sender.get(), message.epoch.get(), body.len()), (NODE, EPOCH, 0));
        message
    }
}

/// Another daemon of the cluster.
pub(super) struct Peer {
    id: u16,
    sequence: u64,
}

impl Peer {
    pub(super) fn new(id: u16) -> Self {
        Self { id, sequence: 0 }
    }

    pub(super) fn prepare(&mut self, round: u64) -> Message {
        self.request(Kind::Prepare, round, |_| ())
    }

    pub(super) fn propose(&mut self, round: u64, lease: u64) -> Message {
        self.request(Kind::Propose, round, |message| message.duration = lease.into())
    }

    pub(super) fn release(&mut self, round: u64) -> Message {
        self.request(Kind::Release, round, |_| ())
    }

    /// A request of group "web", with what else is to be set before it is sealed.
    pub(super) fn request(&mut self, kind: Kind, round: u64, set: impl FnOnce(&mut Message)) -> Message {
        let ballot = Ballot::new(round, self.id);
        self.message(kind, |message| {
            message.group = WEB_ID.into();
            message.ballot = ballot.0.into();
            set(message);
        })
    }

    pub(super) fn hello(&mut self) -> Message {
        self.message(Kind::Hello, |_| ())
    }

    fn message(&mut self, kind: Kind, set: impl FnOnce(&mut Message)) -> Message {
        self.sequence += 1;
        let mut message = Message::new(kind, CLUSTER);
        message.sender = self.id.into();
        message.epoch = EPOCH.into();
        message.incarnation = INCARNATION.into();
        message.sequence = self.sequence.into();
        message.sent_at = now().into();
        set(&mut message);
        message.seal(&KEY, &[]);
        message
    }
}

/// The message changed and sealed again.
pub(super) fn with(mut message: Message, change: impl FnOnce(&mut Message)) -> Message {
    change(&mut message);
    message.seal(&KEY, &[]);
    message
}

/// A message as its sender sends it to all.
pub(super) fn multicast(message: &Message) -> Vec<u8> {
    frames::lease(host(message.sender.get()), EVERYBODY, PORT, message, &[])
}

/// Every counter; the length tells when one is missing.
pub(super) const COUNTERS: [Counter; maps::COUNTERS] = [
    Counter::Other,
    Counter::ArpReply,
    Counter::ArpFenced,
    Counter::ArpConflict,
    Counter::NdReply,
    Counter::NdFenced,
    Counter::NdConflict,
    Counter::NdInvalid,
    Counter::VipPassed,
    Counter::VipFenced,
    Counter::VipForwarded,
    Counter::VipKept,
    Counter::VipSilenced,
    Counter::TeeAdmitted,
    Counter::TeeUnmatched,
    Counter::TeeCopied,
    Counter::TeeFailed,
    Counter::LeaseReply,
    Counter::LeaseSilent,
    Counter::LeaseRenewed,
    Counter::MessagePassed,
    Counter::OwnEcho,
    Counter::RejectedMalformed,
    Counter::RejectedCluster,
    Counter::RejectedTag,
    Counter::RejectedReplay,
    Counter::RejectedSender,
    Counter::RejectedGroup,
    Counter::RejectedEpoch,
    Counter::VrrpAdvert,
    Counter::VrrpWrongTtl,
    Counter::VrrpWrongVersion,
    Counter::VrrpWrongChecksum,
    Counter::VrrpMalformed,
];
