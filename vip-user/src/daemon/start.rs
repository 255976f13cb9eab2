//! The start of a daemon, in an order in which each step is safe for those before it: the id is claimed before a vote
//! is cast, the fence is up before the VIPs are on the machine, and all that is made is written down for its removal.
//!
//! Here: what all starts have in common. The way with XDP is in [`with_xdp`], the one without in [`without_xdp`].

mod with_xdp;
mod without_xdp;

use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::warn;
use vip_common::wire::name_hash;

use self::with_xdp::Unstarted;
use super::claim;
use super::conflicts::Conflicts;
use super::contacts;
use super::control_plane::{ControlPlane, nanoseconds};
use super::footprint::Footprint;
use super::gossip::GossipSide;
use super::health::HealthSide;
use super::interfaces::Interfaces;
use super::journal::Journal;
use super::lease_thread::pair::{Hearing, PairSide};
use super::lease_thread::{LeaseThread, Parts, Report};
use super::leftovers;
use super::live_nodes::LiveNodes;
use super::mode::Mode;
use super::pairing::{self, Pairing};
use super::plane::{ControlSide, LeaseSide};
use super::preemption::Preemption;
use super::presence;
use super::slots::{Slot, Slots};
use super::storage::Storage;
use super::tee::TeeSide;
use super::vrrp::VrrpSide;
use super::vrrp_thread;
use super::watching::Watching;
use crate::announce::{Announcer, GroupVips};
use crate::clock;
use crate::config::{Cluster, Keys, Settings, Transport as TransportSettings, Vip, XdpMode};
use crate::contacts::Contacts;
use crate::control::Server;
use crate::dataplane::{PeerTable, Pins, ProgramLogger, RenewalTable, Words};
use crate::events::Own as OwnNode;
use crate::exit::Failure;
use crate::gateway::{Gateway, Question};
use crate::handlers::{Answer, Events};
use crate::ipv6::{self, mapped};
use crate::logging::Losses;
use crate::membership::{Durable, Identity, Membership, Rules};
use crate::netlink::{Changes, Interface, Netlink, NetlinkError, dummy_name};
use crate::signer::{Origin, Signer, WireKeys};
use crate::store::{Owner, Store};
use crate::sysctl::ArpSysctls;
use crate::transport::Transport;
use crate::userplane::record::Record;

/// How long a start waits until the node's IPv6 address can be used; the kernel takes one to two seconds.
const DUPLICATES_PATIENCE: Duration = Duration::from_secs(4);
const DUPLICATES_LOOK: Duration = Duration::from_millis(50);
/// Why XDP is not native where nobody asked for that.
const AS_CONFIGURED: &str = "as configured (node.xdp, --xdp)";

/// A daemon that has started.
pub(super) struct Node {
    pub(super) control_plane: ControlPlane,
    pub(super) lease_thread: LeaseThread,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) vrrp: mpsc::Receiver<vrrp_thread::Report>,
    pub(super) stored: mpsc::Receiver<Durable>,
    pub(super) answers: mpsc::Receiver<Answer>,
    pub(super) netlink: Netlink,
    pub(super) changes: Changes,
    pub(super) server: Server,
    pub(super) logger: Option<ProgramLogger>,
}

/// Starts the daemon; `footprint` has what was put on the machine, also when this fails. Where XDP is not
/// asked for, and cannot be had, the daemon starts without.
///
/// # Errors
/// Whatever keeps it from serving, with what to do about it.
pub(super) async fn start(settings: &Settings, footprint: &mut Footprint) -> Result<Node, Failure> {
    let wished = settings.node.xdp;
    if wished == XdpMode::Off {
        return without_xdp::start(settings, AS_CONFIGURED.to_owned(), footprint).await;
    }
    match with_xdp::start(settings, footprint).await {
        Ok(node) => Ok(node),
        Err(Unstarted::NoXdp(reason)) if wished == XdpMode::Auto => {
            mem::take(footprint).erase().await;
            without_xdp::start(settings, reason, footprint).await
        }
        Err(Unstarted::NoXdp(reason)) => Err(refused(reason)),
        Err(Unstarted::Failed(failure)) => Err(failure),
    }
}

/// Where the daemon runs: interface, address and id, and the connections to kernel and clients.
struct Place {
    server: Server,
    netlink: Netlink,
    changes: Changes,
    interfaces: Interfaces,
    address: IpAddr,
    id: u16,
}

impl Place {
    async fn find(settings: &Settings) -> Result<Self, Failure> {
        // First of all: a second daemon must not touch what the first one has.
        let server = Server::bind(&settings.paths.socket(&settings.node.iface))?;
        let (netlink, changes) = Netlink::open().map_err(netlink_failure)?;
        let mut interfaces = Interfaces::at_home(&netlink, settings).await?;
        let record = Record::of(&settings.paths.runtime, &interfaces.home.name);
        if leftovers::take_off(&record, &netlink, &interfaces.home).await? {
            interfaces.refresh(&netlink).await?;
        }
        let others = interfaces.find_others(&netlink, settings).await;
        // Before anything that may fail; and one that is missing would be without a fence when it is back.
        let pins = Pins::new(&settings.paths.bpffs);
        if others.is_err() || !interfaces.iter().all(|one| pins.fence(&one.name, one.index)) {
            expose_no_vips(&netlink, &interfaces).await?;
        }
        others?;
        let address = own_address(&netlink, &mut interfaces, &settings.cluster.transport).await?;
        check_vips(settings, &interfaces)?;
        if let Some(gateway) = settings.cluster.pair {
            pairing::own_address(&interfaces.home, gateway)?;
        }
        let id = node_id(settings.node.id, interfaces.home.first_ipv4().map_or(address, IpAddr::V4))?;
        Ok(Self { server, netlink, changes, interfaces, address, id })
    }
}

/// Whether the interfaces can have these VIPs.
pub(super) fn check_vips(settings: &Settings, interfaces: &Interfaces) -> Result<(), Failure> {
    for interface in interfaces.iter() {
        if let Some(vip) = own_address_as_vip(settings, interface) {
            return Err(Failure::configuration(format!(
                "{vip} is this node's own address on {}, and cannot be a VIP: a VIP belongs to no node",
                interface.name
            )));
        }
    }
    check_ipv6(settings, interfaces)
}

/// All VIPs, of all groups.
fn vips(settings: &Settings) -> impl Iterator<Item = &Vip> {
    settings.groups.iter().flat_map(|group| &group.vips)
}

/// The VIPs of IPv6 that lie on this interface.
pub(super) fn vips6_on(
    settings: &Settings,
    interfaces: &Interfaces,
    index: u32,
) -> impl Iterator<Item = Ipv6Addr> {
    vips(settings).filter(move |vip| interfaces.of(vip).index == index).filter_map(|vip| match vip.address {
        IpAddr::V4(_) => None,
        IpAddr::V6(vip) => Some(vip),
    })
}

fn own_address_as_vip(settings: &Settings, interface: &Interface) -> Option<IpAddr> {
    let mut vips = vips(settings).map(|vip| vip.address);
    vips.find(|vip| interface.addresses.iter().any(|(address, _)| address == vip))
}

fn check_ipv6(settings: &Settings, interfaces: &Interfaces) -> Result<(), Failure> {
    interfaces.iter().try_for_each(|interface| {
        let first = vips6_on(settings, interfaces, interface.index).next();
        first.map_or(Ok(()), |vip| check_ipv6_for(vip, &interface.name))
    })
}

/// Where IPv6 is off, the kernel drops what the data plane lets in.
fn check_ipv6_for(vip: Ipv6Addr, iface: &str) -> Result<(), Failure> {
    match ipv6::is_disabled(iface) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::configuration(format!(
            "{vip} is an IPv6 VIP, and {iface} has IPv6 switched off: switch it on (sysctl -w \
             net.ipv6.conf.{iface}.disable_ipv6=0), or remove the IPv6 VIPs"
        ))),
        Err(error) => Err(Failure::configuration(format!("{vip} is an IPv6 VIP: {error}"))),
    }
}

/// Where the others find this node. A new IPv6 address can be used when nobody has objected to it for a second or so.
async fn own_address(
    netlink: &Netlink,
    interfaces: &mut Interfaces,
    transport: &TransportSettings,
) -> Result<IpAddr, Failure> {
    let deadline = Instant::now() + DUPLICATES_PATIENCE;
    while interfaces.awaits_address() && Instant::now() < deadline {
        sleep(DUPLICATES_LOOK).await;
        interfaces.refresh(netlink).await?;
    }
    let version = if transport.is_ipv6() { 6 } else { 4 };
    interfaces.own_address().ok_or_else(|| {
        Failure::configuration(format!(
            "{} has no IPv{version} address: give it one that the other nodes reach, or choose another node.iface",
            interfaces.home.name
        ))
    })
}

fn node_id(given: Option<NonZeroU16>, address: IpAddr) -> Result<u16, Failure> {
    let [.., high, low] = mapped(address).octets();
    match given.map_or(u16::from_be_bytes([high, low]), Into::into) {
        0 => {
            Err(Failure::configuration(format!("{address} gives the node id 0, which is none: set node.id")))
        }
        id => Ok(id),
    }
}

/// Who the daemon is, and what its disk knows of it.
struct Own {
    store: Store,
    origin: Origin,
    keys: WireKeys,
}

impl Own {
    fn open(settings: &Settings, place: &Place) -> Result<Self, Failure> {
        let owner = Owner { cluster: settings.cluster.name.clone(), node: place.id };
        let mut store = Store::open(&settings.paths.state, owner).map_err(refused)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let incarnation = store.next_incarnation(nanoseconds(since_1970)).map_err(refused)?;
        let origin = Origin { cluster: name_hash(&settings.cluster.name), node: place.id, incarnation };
        if matches!(settings.cluster.keys, Keys::Insecure) {
            warn!("insecure = true: whoever reaches the segment can take the VIPs");
        }
        Ok(Self { store, origin, keys: WireKeys::new(&settings.cluster.keys) })
    }

    /// Of the configuration adopted last; 0 = none yet.
    fn epoch(&self) -> u32 {
        self.store.configuration().map_or(0, |configuration| configuration.epoch())
    }

    /// In that configuration.
    fn is_voter(&self) -> bool {
        self.store.configuration().is_some_and(|configuration| configuration.contains(self.origin.node))
    }

    /// What the data plane is told of its node and cluster.
    fn config(&self, settings: &Settings) -> vip_common::maps::Config {
        let mut config = vip_common::maps::Config {
            incarnation: self.origin.incarnation,
            longest_lease: nanoseconds(settings.cluster.lease),
            observer: (!self.is_voter()).into(),
            cluster: self.origin.cluster,
            epoch: self.epoch(),
            node: self.origin.node,
            port: settings.cluster.transport.port(),
            ..vip_common::maps::Config::default()
        };
        self.keys.put_into(&mut config);
        config
    }
}

/// Takes off the VIPs that a former run has left: they must not be there without a fence.
async fn expose_no_vips(netlink: &Netlink, interfaces: &Interfaces) -> Result<(), Failure> {
    netlink.remove_dummy(&dummy_name(&interfaces.home.name)).await.map_err(netlink_failure)
}

fn open_transport(place: &Place, cluster: &Cluster) -> Result<Transport, Failure> {
    let Interface { name, index, .. } = &place.interfaces.home;
    Transport::open(name, *index, place.address, &cluster.transport, &cluster.join).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program has it: set another port in cluster.group_address"
            }
            _ => "",
        };
        Failure::refused(format!("cannot open the heartbeat socket on {name}: {error}{hint}"))
    })
}

/// Where the sysctls of an interface are kept as they were.
fn saved_sysctls(settings: &Settings, iface: &str) -> PathBuf {
    settings.paths.runtime.join(format!("{iface}.sysctl"))
}

/// Puts the sysctls back that a former run has changed.
fn restore_sysctls(settings: &Settings, name: &str) {
    let left = ArpSysctls::left_by_a_former_run(name, &saved_sysctls(settings, name));
    if let Some(Err(error)) = left.map(ArpSysctls::restore) {
        warn!("{error:#}");
    }
}

/// The data plane, set up: each part of it for the side that has it, and what is to be known of it.
struct Sides {
    lease: LeaseSide,
    control: ControlSide,
    words: Words,
    /// One for each interface.
    announcers: Vec<Arc<Announcer>>,
    logger: Option<ProgramLogger>,
    /// See [`ControlPlane::dummy`].
    dummy: Option<String>,
    egress_fence: bool,
    /// Why nothing is teed, where something is to be.
    tee_fault: Option<String>,
    mode: Mode,
    /// Whether a former run has left it.
    adopted: bool,
}

/// Puts the parts together and sets them going.
fn assemble(
    settings: &Settings,
    place: Place,
    own: Own,
    slots: &Slots,
    transport: Transport,
    signer: Signer,
    sides: Sides,
) -> Result<Node, Failure> {
    let Sides { lease, control, words, announcers, logger, dummy, egress_fence, tee_fault, mode, adopted } =
        sides;
    let health = HealthSide::start(settings, own.store.maintenance()).map_err(refused)?;
    let identity = identity(settings, &own, &place, slots);
    let membership = Membership::new(identity, own.store.stored(), clock::now()).map_err(refused)?;
    let gossip = GossipSide::new(place.id, own.origin.incarnation, own.store.delivered());
    let contacts = Contacts::new(contacts::settings(settings, place.address), clock::now());
    let (storage, stored) = Storage::new(own.store);
    let election = election_settings(settings, place.id);
    let pair = pair_side(settings, &place, &control, slots)?;
    let pair_board = pair.as_ref().map(PairSide::board);
    let (lease_thread, reports) = LeaseThread::spawn(Parts {
        groups: slots
            .iter()
            .filter(|slot| slot.has_lease())
            .map(|slot| slot.lease(election, seed(slot)))
            .collect(),
        words: words.clone(),
        plane: lease,
        signer,
        transport,
        name: settings.node.name.clone(),
        announcers: announcers.clone(),
        pair,
    })
    .map_err(refused)?;
    let watching =
        Watching::new(lease_thread.meter(), renewals_to_watch(settings, &control)?, settings.node.metrics);
    let me = OwnNode { name: settings.node.name.clone(), tags: settings.node.tags.clone() };
    let (events, answers) = Events::new(&settings.handlers, me);
    let (vrrp_side, vrrp) = VrrpSide::new(words.clone(), announcers);
    let mut control_plane = ControlPlane {
        settings: settings.clone(),
        id: place.id,
        interfaces: place.interfaces,
        is_withdrawn: false,
        dummy,
        groups: slots.iter().map(Slot::group).collect(),
        words,
        plane: control,
        mode,
        membership,
        contacts,
        presence_changed: false,
        log_losses: Losses::default(),
        journal: Journal::open(&settings.paths.state),
        health,
        preemption: Preemption::default(),
        conflicts: Conflicts::default(),
        orders: lease_thread.orders(),
        vrrp: vrrp_side,
        storage,
        gossip,
        egress_fence,
        tee: TeeSide::new(tee_fault),
        events,
        is_ending: false,
        live_nodes: settings.paths.live_nodes.clone().map(LiveNodes::start),
        pair: pair_board.map(Pairing::new),
        watching,
        end: None,
    };
    control_plane.begin(adopted);
    let Place { server, netlink, changes, .. } = place;
    Ok(Node { control_plane, lease_thread, reports, vrrp, stored, answers, netlink, changes, server, logger })
}

/// What the elections of the node `id` are told.
pub(super) fn election_settings(settings: &Settings, id: u16) -> crate::election::Settings {
    crate::election::Settings {
        node: id,
        lease: nanoseconds(settings.cluster.lease),
        interval: nanoseconds(settings.cluster.interval),
    }
}

/// What the lease thread needs for pair mode, where that is set.
fn pair_side(
    settings: &Settings,
    place: &Place,
    control: &ControlSide,
    slots: &Slots,
) -> Result<Option<PairSide>, Failure> {
    let Some(gateway) = settings.cluster.pair else { return Ok(None) };
    let home = &place.interfaces.home;
    let own = pairing::own_address(home, gateway)?;
    let question = Question { mac: home.mac, own, gateway };
    let gateway = Gateway::open(home, question)
        .map_err(|error| Failure::refused(format!("cannot ask the gateway on {}: {error}", home.name)))?;
    let hearing = match control {
        ControlSide::Xdp(_) => {
            Hearing::Map(PeerTable::open(&Pins::new(&settings.paths.bpffs)).map_err(refused)?)
        }
        ControlSide::Process { board, .. } => Hearing::Board(Arc::clone(board)),
    };
    let lease = nanoseconds(settings.cluster.lease);
    let groups = slots.iter().filter(|slot| slot.has_lease()).count();
    Ok(Some(PairSide::new(place.id, lease, groups, gateway, hearing)))
}

/// Where the answers to this node's renewals are seen by those who watch.
fn renewals_to_watch(settings: &Settings, control: &ControlSide) -> Result<Option<RenewalTable>, Failure> {
    match control {
        ControlSide::Xdp(_) => {
            RenewalTable::open(&Pins::new(&settings.paths.bpffs)).map(Some).map_err(refused)
        }
        ControlSide::Process { .. } => Ok(None),
    }
}

/// What sets this node's random back-offs apart from the others'. Without the system's randomness, the time does.
pub(super) fn seed(slot: &Slot) -> u64 {
    getrandom::u64().unwrap_or_else(|_| clock::now() ^ u64::from(slot.id))
}

/// The groups' VIPs that lie on an interface.
fn group_vips(slots: &Slots, interface: &Interface) -> Vec<GroupVips> {
    let vips = |slot: &Slot| GroupVips {
        slot: slot.number,
        vips: slot.vips_on(interface.index).collect(),
        virtual_mac: slot.virtual_mac,
        router: slot.settings.router,
    };
    slots.iter().map(vips).collect()
}

/// One for each interface, for the VIPs that lie there.
pub(super) fn announcers(
    interfaces: &Interfaces,
    slots: &Slots,
    words: &Words,
) -> Result<Vec<Arc<Announcer>>, Failure> {
    interfaces.iter().map(|interface| announcer(interface, &group_vips(slots, interface), words)).collect()
}

fn announcer(interface: &Interface, groups: &[GroupVips], words: &Words) -> Result<Arc<Announcer>, Failure> {
    let words = words.clone();
    let announcer = Announcer::spawn(interface, groups.to_vec(), move |slot| words.holds(slot, clock::now()));
    announcer.map(Arc::new).map_err(refused)
}

fn identity(settings: &Settings, own: &Own, place: &Place, slots: &Slots) -> Identity {
    Identity {
        id: place.id,
        incarnation: own.origin.incarnation,
        address: place.address,
        name: settings.node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tags: settings.node.tags.clone(),
        priority: settings.node.priority,
        expect: settings.cluster.expect,
        interval_ns: nanoseconds(settings.cluster.interval),
        lease_ns: nanoseconds(settings.cluster.lease),
        groups: slots.iter().filter(|slot| slot.has_lease()).map(|slot| slot.group().offer()).collect(),
        rules: Rules {
            voter_after: nanoseconds(settings.cluster.voter_after),
            reap: settings.cluster.reap.map(nanoseconds),
        },
    }
}

pub(super) fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::refused(error.to_string())
}

pub(super) fn netlink_failure(error: NetlinkError) -> Failure {
    match error {
        NetlinkError::Permission { .. } => Failure::no_privilege(error.to_string()),
        NetlinkError::NotEthernet { .. } => Failure::configuration(error.to_string()),
        _ => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_given_no_id_takes_the_last_16_bits_of_its_address() {
        let id = |address: &str| node_id(None, address.parse().unwrap()).ok();
        assert_eq!(id("10.77.1.2"), Some(0x0102));
        assert_eq!(id("fe80::77:aff:fe4d:3"), Some(3));
        assert_eq!(id("10.77.0.0"), None);
        assert_eq!(node_id(NonZeroU16::new(9), "10.77.1.2".parse().unwrap()).ok(), Some(9));
    }
}
