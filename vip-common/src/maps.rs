//! Layouts of the BPF maps, shared by the XDP program and the daemon. Plain integers, so that `bpftool` prints them.
//!
//! Who writes what: the programs alone write `ACCEPTORS`, `PEERS`, `COUNTERS`, `EVENTS`, `FRAGMENTS`, the values of `TEES` and the
//! holder's part of `GROUPS`; the daemon writes the rest. The lease word has both as writers, see [`Group::lease_until`].

use core::fmt;
use core::mem::offset_of;

use crate::lease::{Acceptor, Freshness, Renewal};
use crate::siphash::Key;
use crate::table::{Entry, Shape};
use crate::vrrp::{Family, Invalid, Version, Vrid};

/// Changes with every layout below; pins live in a directory of this name, so a daemon never adopts another layout.
pub const LAYOUT_VERSION: u32 = 9;
/// Slots of groups. They start at 1: in events, 0 is no group's.
pub const SLOTS: usize = 65;
/// Most VIPs on one node, of IPv4 and of IPv6 each.
pub const MAX_VIPS: usize = 16_384;
/// Most senders known to the replay check.
pub const MAX_PEERS: usize = 1024;
/// Most interfaces that one set of maps serves.
pub const MAX_INTERFACES: usize = 64;
/// Bytes of the event ring.
pub const EVENTS_BYTES: usize = 64 * 1024;
/// Most ports that are teed, of all groups together.
pub const MAX_TEES: usize = 64;
/// Most nodes that a holder sends copies to: all other voters.
pub const MAX_STANDBYS: usize = 15;
/// Most datagrams in fragments that are under way at once and known by their first one.
pub const MAX_FRAGMENTED: usize = 4096;
/// Least time between two conflict events of a group, in ns.
pub const CONFLICT_INTERVAL: u64 = 100_000_000;

/// `bpf_spin_lock` of the kernel, by its name in BTF; XDP takes it, user space goes through `BPF_F_LOCK`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct bpf_spin_lock {
    /// Opaque.
    pub val: u32,
}

/// Value of `GROUPS` (slot → this), mapped into the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Group {
    /// The lease word: this node serves while it is later than CLOCK_BOOTTIME, in ns; 0 = disarmed. The daemon
    /// stores it to arm and to disarm; XDP extends it by compare-and-swap from a value other than 0.
    pub lease_until: u64,
    /// Until when some node's lease runs, as far as this node's acceptor knows.
    pub holder_until: u64,
    /// The ballot of that lease.
    pub holder_ballot: u64,
    /// When the last conflict event was sent.
    pub conflict_at: u64,
    /// Hash of the group's name.
    pub id: u32,
    /// A [`Role`], written by the daemon.
    pub role: u32,
    /// A [`Stale`], written by the daemon.
    pub stale: u32,
    /// Node that has that lease; 0 = none yet.
    pub holder: u16,
    /// MAC address that its last Propose came from: after a transfer, the former holder's until the new one renews.
    /// Zeros if that was this node itself. Good on the home interface alone.
    pub holder_mac: [u8; 6],
    /// MAC address that neighbours have the group's VIPs at, the same on every node; zeros: each interface's own. The first
    /// and the last byte tell these apart: of VRRP, only the first one is 0. Written by the daemon.
    pub virtual_mac: [u8; 6],
    /// What `holder_mac` was before: the last copies of that node may still be under way.
    pub former_mac: [u8; 6],
}

/// What the daemon of this node is in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Role {
    /// Answers to this node's requests go up to the daemon.
    Follower = 0,
    /// Answers to renewals end in XDP.
    Holder = 1,
}

/// What becomes of an IP packet to a VIP that reaches this node while it does not serve it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Stale {
    /// Nothing: it is dropped.
    Drop = 0,
    /// It goes on to the holder, if that is known, and its lease runs.
    Forward = 1,
    /// It is kept for the daemon, and so is an ARP request: the lease is changing hands, and the next holder is to have
    /// it as soon as it serves.
    Keep = 2,
}

/// What comes before a frame in a record of `KEPT`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KeptHead {
    /// Slot of the group.
    pub slot: u32,
    /// Length of the frame: padding may follow it.
    pub len: u32,
}

/// Value of `STANDBYS` (slot → this), mapped into the daemon: who has copies of what comes to a group's teed ports.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Standbys {
    /// How many of the group's ports are teed. 0: nothing is copied, and no copy admitted. Written by the daemon.
    pub ports: u64,
    /// When XDP has last admitted a copy while this node was giving the lease away ([`Stale::Keep`]): CLOCK_BOOTTIME, ns.
    pub followed_at: u64,
    /// The MAC addresses of the other nodes that may hold the group, as [`mac_number`] has them; 0: none. Written by the daemon,
    /// each by one store; one stays in its place while it is there, so that no datagram goes to a node twice.
    pub macs: [u64; MAX_STANDBYS],
}

/// A MAC address as a number below 2^48: its first byte is the lowest.
#[inline(always)]
pub const fn mac_number(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// What `TEES` and its entries are found by: a group's slot and a UDP port.
#[inline(always)]
pub const fn tee_key(slot: u32, port: u16) -> u32 {
    slot << 16 | port as u32
}

/// Value of `TEES` ([`tee_key`] → this), of each processor.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Tee {
    /// Copies that this node has sent as the holder.
    pub copied: u64,
    /// Copies that it could not send: the way out was full.
    pub failed: u64,
    /// Copies that it has let in as a standby.
    pub admitted: u64,
}

/// Key of `FRAGMENTS`: what all fragments of a UDP datagram have in common (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Fragmented {
    /// In network order; one of IPv4 in the first half.
    pub source: [u64; 2],
    /// In the same way.
    pub destination: [u64; 2],
    /// As in the packet.
    pub id: u32,
    /// 4 or 6.
    pub version: u32,
}

/// Value of `FRAGMENTS`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct FirstFragment {
    /// When it came: CLOCK_BOOTTIME, ns.
    pub at: u64,
    /// The datagram's destination port.
    pub port: u32,
    /// 0.
    pub reserved: u32,
}

/// Value of `ACCEPTORS` (slot → this).
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct LockedAcceptor {
    /// Guards `state` and the holder's part of the group in `GROUPS`.
    pub lock: bpf_spin_lock,
    /// 0.
    pub reserved: u32,
    /// This node's memory of the group's lease.
    pub state: Acceptor,
}

/// Value of `RENEWALS` (slot → this).
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct LockedRenewal {
    /// Guards `state`.
    pub lock: bpf_spin_lock,
    /// 0.
    pub reserved: u32,
    /// What this node knows of its own lease. The daemon sets it before it proposes; XDP counts the answers.
    pub state: Renewal,
}

/// Value of `PEERS` (node id as u32 → this).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Peer {
    /// Guards `freshness`.
    pub lock: bpf_spin_lock,
    /// MAC address that its last message came from.
    pub mac: [u8; 6],
    /// 0.
    pub reserved: [u8; 6],
    /// Replay state.
    pub freshness: Freshness,
    /// CLOCK_BOOTTIME of this node when it was last heard, in ns.
    pub last_heard: u64,
}

/// Value of `VIPS`, a [table](crate::table) of the IPv4 VIPs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(8))]
pub struct Vip {
    /// In network order.
    pub address: [u8; 4],
    /// Slot of the group that it belongs to. 0, which has no VIPs: nothing is here.
    pub slot: u16,
    /// [`Served::number`] of the interface that it lies on: questions for it are answered there alone.
    pub interface: u16,
}

impl Entry for Vip {
    type Key = u32;
    const SHAPE: Shape = Shape::for_entries(MAX_VIPS);

    #[inline(always)]
    fn key(&self) -> u32 {
        u32::from_ne_bytes(self.address)
    }

    #[inline(always)]
    fn is_free(&self) -> bool {
        self.slot == 0
    }
}

/// Value of `VIPS6`, a [table](crate::table) of the IPv6 VIPs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(8))]
pub struct Vip6 {
    /// In network order.
    pub address: [u8; 16],
    /// As [`Vip::slot`].
    pub slot: u16,
    /// As [`Vip::interface`].
    pub interface: u16,
    /// 1 = answers say that a router has it (RFC 4861, section 4.4, "R"), else 0.
    pub router: u32,
}

impl Entry for Vip6 {
    type Key = u128;
    const SHAPE: Shape = Shape::for_entries(MAX_VIPS);

    #[inline(always)]
    fn key(&self) -> u128 {
        u128::from_ne_bytes(self.address)
    }

    #[inline(always)]
    fn is_free(&self) -> bool {
        self.slot == 0
    }
}

/// Value of `INTERFACES`, a [table](crate::table) of the interfaces that the program serves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(8))]
pub struct Served {
    /// The interface's index. 0, which none has: nothing is here.
    pub index: u32,
    /// What VIPs name it by.
    pub number: u16,
    /// 0.
    pub reserved: u16,
    /// What the program is told of it.
    pub interface: Interface,
}

impl Entry for Served {
    type Key = u32;
    const SHAPE: Shape = Shape::for_entries(MAX_INTERFACES);

    #[inline(always)]
    fn key(&self) -> u32 {
        self.index
    }

    #[inline(always)]
    fn is_free(&self) -> bool {
        self.index == 0
    }
}

/// An interface that the program serves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Interface {
    /// Own MAC address.
    pub mac: [u8; 6],
    /// 4 or 6 = the nodes talk to each other here, by that version of IP, so that lease messages are taken here, and the
    /// holders' MAC addresses are of this segment; 0 = it has VIPs, and no more.
    pub home: u16,
    /// Own address, network order: source of the answers. One of IPv4 is mapped (RFC 4291, section 2.5.5.2). Zeros on others
    /// than the home interface.
    pub address: [u8; 16],
}

impl Interface {
    /// The address, where the nodes talk IPv4.
    #[inline(always)]
    pub const fn ipv4(&self) -> [u8; 4] {
        let [.., a, b, c, d] = self.address;
        [a, b, c, d]
    }
}

/// Value of `VRIDS` ([`Served::number`] → this): the virtual routers whose adverts the daemon listens to on an interface, by
/// their ids, and the versions of VRRP that it takes them in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Vrids {
    /// Of version 2; a bit for each id.
    v2: [u64; 4],
    /// Of version 3 over IPv4.
    v3: [u64; 4],
    /// Of version 3 over IPv6.
    v3_ipv6: [u64; 4],
}

/// Entries of `VRIDS`: interfaces keep their numbers while a former run's are known, so that twice as many are in use.
pub const VRID_SETS: usize = 2 * MAX_INTERFACES;

impl Vrids {
    /// Adds a virtual router. Version 2 has IPv4 alone: of it, IPv6 is as version 3.
    pub const fn insert(&mut self, family: Family, version: Version, vrid: Vrid) {
        let vrid = vrid.get();
        self.set_mut(family, version)[vrid as usize / 64] |= 1 << (vrid % 64);
    }

    /// Whether the daemon takes adverts of this version for this virtual router.
    #[inline(always)]
    pub const fn has(&self, family: Family, version: Version, vrid: u8) -> bool {
        let set = match (family, version) {
            (Family::V4, Version::V2) => &self.v2,
            (Family::V4, Version::V3) => &self.v3,
            (Family::V6, _) => &self.v3_ipv6,
        };
        set[(vrid >> 6) as usize] >> (vrid & 63) & 1 != 0
    }

    /// Whether the daemon takes adverts of any version for this virtual router.
    #[inline(always)]
    pub const fn has_any(&self, family: Family, vrid: u8) -> bool {
        self.has(family, Version::V3, vrid) || self.has(family, Version::V2, vrid)
    }

    const fn set_mut(&mut self, family: Family, version: Version) -> &mut [u64; 4] {
        match (family, version) {
            (Family::V4, Version::V2) => &mut self.v2,
            (Family::V4, Version::V3) => &mut self.v3,
            (Family::V6, _) => &mut self.v3_ipv6,
        }
    }
}

/// The only value of `CONFIG`. What every frame takes comes first, in one cache line.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Config {
    /// What is in the tables, at this time.
    pub editions: Editions,
    /// Start of this daemon, Unix ns.
    pub incarnation: u64,
    /// Longest lease of the cluster, in ns.
    pub longest_lease: u64,
    /// A [`KeyUse`]: which of `keys` count.
    pub keys_in_use: u16,
    /// 1: this node is no voter. It follows the leases and does not answer requests: nobody counts its votes.
    pub observer: u16,
    /// Hash of the cluster's name.
    pub cluster: u32,
    /// Epoch of the configuration; 0 = none, then no lease message is answered.
    pub epoch: u32,
    /// This node's id.
    pub node: u16,
    /// UDP port of the messages, native order.
    pub port: u16,
    /// Those that count are left as they are.
    pub keys: [Key; 2],
}

/// Without the keys.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            editions,
            incarnation,
            longest_lease,
            keys_in_use,
            cluster,
            epoch,
            node,
            port,
            observer,
            keys: _,
        } = self;
        f.debug_struct("Config")
            .field("editions", editions)
            .field("incarnation", incarnation)
            .field("longest_lease", longest_lease)
            .field("keys_in_use", keys_in_use)
            .field("cluster", cluster)
            .field("epoch", epoch)
            .field("node", node)
            .field("port", port)
            .field("observer", observer)
            .finish_non_exhaustive()
    }
}

/// Which keys of a [`Config`] count, in one word, so that they change at one instant: bits 0 and 1 = the first and the second
/// one verify; bit 2 = the second one signs, and not the first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KeyUse(pub u16);

impl KeyUse {
    /// The key at place `signing` (0 or 1) signs and verifies; `both`: the other one verifies, too.
    pub const fn new(signing: usize, both: bool) -> Self {
        match (signing, both) {
            (0, false) => Self(0b001),
            (0, true) => Self(0b011),
            (_, false) => Self(0b110),
            (_, true) => Self(0b111),
        }
    }

    /// Whether the key at this place verifies.
    #[inline(always)]
    pub const fn verifies(self, place: usize) -> bool {
        self.0 & 1 << (place & 1) != 0
    }

    /// The place of the key that signs.
    #[inline(always)]
    pub const fn signing(self) -> usize {
        (self.0 >> 2 & 1) as usize
    }
}

/// The words of the [editions](crate::table::Edition) that are in use. The daemon alone changes them, each by one store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Editions {
    /// Of `VIPS`.
    pub vips: u64,
    /// Of `VIPS6`.
    pub vips6: u64,
    /// Of `INTERFACES`.
    pub interfaces: u64,
}

/// An entry of `EVENTS`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Event {
    /// An [`EventKind`].
    pub kind: u32,
    /// The group's slot, where the event has one.
    pub slot: u32,
    /// See [`EventKind`].
    pub value: u64,
    /// Address that the frame came from or is about, network order; one of IPv4 is mapped (RFC 4291, section
    /// 2.5.5.2).
    pub address: [u8; 16],
    /// MAC address that the frame came from.
    pub mac: [u8; 6],
    /// Node that the event is about, 0 = none.
    pub node: u16,
}

/// What XDP tells the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum EventKind {
    /// The holder gave the group's lease back; `value` is its ballot.
    Released = 1,
    /// A foreign MAC address probes for or announces the VIP in `address`; `value` is the index of the interface where.
    Conflict = 2,
    /// Another daemon uses this node's id; `value` is its incarnation.
    DuplicateId = 3,
    /// A node has a newer configuration; `value` is its epoch.
    NewerEpoch = 4,
    /// A node asks for longer leases than this cluster's; `value` is the length in ns.
    LeaseTooLong = 5,
}

impl EventKind {
    /// The kind with this number.
    pub const fn from_u32(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::Released,
            2 => Self::Conflict,
            3 => Self::DuplicateId,
            4 => Self::NewerEpoch,
            5 => Self::LeaseTooLong,
            _ => return None,
        })
    }
}

/// Outcomes of frames, the index into `COUNTERS`. Every frame that comes in on a served interface counts once; of those
/// that leave, only those that must not. What is made of a held VIP's datagrams by the tee counts besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Counter {
    /// Not ours, or in doubt: passed.
    Other = 0,
    /// ARP request for a held VIP, answered.
    ArpReply,
    /// ARP request for a VIP that is not held, dropped.
    ArpFenced,
    /// ARP from a foreign MAC address that claims a VIP, passed.
    ArpConflict,
    /// Neighbour solicitation for a held VIP, answered.
    NdReply,
    /// Neighbour solicitation for a VIP that is not held, dropped.
    NdFenced,
    /// Neighbour discovery from a foreign MAC address that claims a VIP, passed.
    NdConflict,
    /// Neighbour solicitation for a VIP that is not as it must be, dropped.
    NdInvalid,
    /// IP packet to a held VIP, passed.
    VipPassed,
    /// IP packet to a VIP that is not held, dropped.
    VipFenced,
    /// IP packet to a VIP that is not held, sent on to the holder.
    VipForwarded,
    /// IP packet to a VIP, or ARP request for it, that came while the lease changed hands, kept for the next holder.
    VipKept,
    /// IP packet from a VIP that is not held, kept from leaving.
    VipSilenced,
    /// Copy of a datagram to a VIP that is not held, from its holder, passed.
    TeeAdmitted,
    /// Fragment of which it is not known whether its port is teed: the datagram's first one has not come before it. On a
    /// standby, dropped; on the holder, which serves it, not copied.
    TeeUnmatched,
    /// Copy of a datagram to a held VIP, sent to a standby.
    TeeCopied,
    /// Copy that could not be sent.
    TeeFailed,
    /// Lease message, answered.
    LeaseReply,
    /// Lease message that asks for no answer, or whose answer must not be given (quarantine).
    LeaseSilent,
    /// Answer to a renewal, taken in.
    LeaseRenewed,
    /// Message for the daemon, passed.
    MessagePassed,
    /// Own message that came back.
    OwnEcho,
    /// Not a message of this protocol on its port.
    RejectedMalformed,
    /// Message of another cluster.
    RejectedCluster,
    /// Message with a wrong tag.
    RejectedTag,
    /// Replayed message, or an answer to a question that this daemon did not ask.
    RejectedReplay,
    /// Message of a sender that cannot be (no id, this node's own, or not the owner of its ballot).
    RejectedSender,
    /// Message for a group that this node does not have.
    RejectedGroup,
    /// Message of another configuration epoch.
    RejectedEpoch,
    /// VRRP advert of a virtual router that the daemon listens to, passed.
    VrrpAdvert,
    /// As [`Self::VrrpAdvert`], but not with a time to live or hop limit of 255: dropped.
    VrrpWrongTtl,
    /// As [`Self::VrrpAdvert`], but of a version that the daemon does not take: dropped.
    VrrpWrongVersion,
    /// As [`Self::VrrpAdvert`], but with a checksum that does not fit: dropped.
    VrrpWrongChecksum,
    /// As [`Self::VrrpAdvert`], but otherwise not as it must be: dropped.
    VrrpMalformed,
}

impl Counter {
    /// What becomes of copies.
    pub const OF_TEES: [Self; 4] = [Self::TeeAdmitted, Self::TeeUnmatched, Self::TeeCopied, Self::TeeFailed];

    /// The outcomes of messages that were not taken for what they said they were.
    pub const REJECTIONS: [Self; 7] = [
        Self::RejectedMalformed,
        Self::RejectedCluster,
        Self::RejectedTag,
        Self::RejectedReplay,
        Self::RejectedSender,
        Self::RejectedGroup,
        Self::RejectedEpoch,
    ];

    /// The outcomes of VRRP adverts that were not as they must be.
    pub const INVALID_ADVERTS: [Self; 4] =
        [Self::VrrpWrongTtl, Self::VrrpWrongVersion, Self::VrrpWrongChecksum, Self::VrrpMalformed];
}

impl From<Invalid> for Counter {
    #[inline(always)]
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Ttl => Self::VrrpWrongTtl,
            Invalid::Version => Self::VrrpWrongVersion,
            Invalid::Checksum => Self::VrrpWrongChecksum,
            Invalid::Kind
            | Invalid::Vrid
            | Invalid::Count
            | Invalid::Length
            | Invalid::Interval
            | Invalid::Auth => Self::VrrpMalformed,
        }
    }
}

/// Entries of `COUNTERS`.
pub const COUNTERS: usize = Counter::VrrpMalformed as usize + 1;

// bpftool users, pinned maps and the XDP program rely on these.
const _: () = {
    assert!(size_of::<Group>() == 64);
    assert!(size_of::<Standbys>() == 136);
    assert!(size_of::<Tee>() == 24);
    assert!(size_of::<Fragmented>() == 40);
    assert!(size_of::<FirstFragment>() == 16);
    assert!(size_of::<LockedAcceptor>() == 40);
    assert!(size_of::<LockedRenewal>() == 192);
    assert!(size_of::<Peer>() == 40);
    assert!(size_of::<Vip>() == 8);
    assert!(size_of::<Vip6>() == 24);
    assert!(size_of::<Interface>() == 24);
    assert!(size_of::<Served>() == 32);
    assert!(size_of::<Vrids>() == 96);
    assert!(size_of::<Config>() == 88);
    assert!(offset_of!(Config, keys) <= 64);
    assert!(size_of::<Event>() == 40);
};
