//! The start of a daemon, in an order in which each step is safe for those before it: the id is claimed before a vote
//! is cast, the fence is up before the VIPs are on the machine, and all that is made is written down for its removal.
//!
//! How a daemon starts without XDP is in [`without_xdp`].

mod without_xdp;

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::net::if_::if_nametoindex;
use tokio::sync::mpsc;
use tracing::{info, warn};
use vip_common::forward;
use vip_common::wire::name_hash;

use super::claim;
use super::conflicts::Conflicts;
use super::control_plane::{ControlPlane, id_taken, nanoseconds};
use super::footprint::{Footprint, MacFilter, Served};
use super::interfaces::Interfaces;
use super::lease_thread::{LeaseThread, Parts, Report};
use super::leftovers;
use super::mode::Mode;
use super::own_vote::OwnVote;
use super::plane::{ControlSide, LeaseSide};
use super::preemption::Preemption;
use super::presence;
use super::slots::{Slot, Slots};
use super::storage::Storage;
use crate::announce::{Announcer, GroupVips};
use crate::clock;
use crate::config::{Keys, Settings, Transport as TransportSettings, Vip, XdpMode};
use crate::control::Server;
use crate::courier::Courier;
use crate::dataplane::{self, Attached, DataPlane, Pins, ProgramLog, ProgramLogger, Wishes, Words};
use crate::exit::Failure;
use crate::ipv6::{self, SolicitedNodes};
use crate::membership::{Durable, Identity, Membership};
use crate::netlink::{Changes, Interface, Netlink, NetlinkError, dummy_name};
use crate::signer::{Origin, Signer, WireKeys};
use crate::store::{Owner, Store};
use crate::sysctl::ArpSysctls;
use crate::transport::Transport;
use crate::userplane::record::Record;

/// Why XDP is not native where nobody asked for that.
const AS_CONFIGURED: &str = "as configured (node.xdp, --xdp)";

/// A daemon that has started.
pub(super) struct Node {
    pub(super) control_plane: ControlPlane,
    pub(super) lease_thread: LeaseThread,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) stored: mpsc::Receiver<Durable>,
    pub(super) netlink: Netlink,
    pub(super) changes: Changes,
    pub(super) server: Server,
    pub(super) logger: Option<ProgramLogger>,
}

/// Why a start with XDP has failed.
enum Unstarted {
    /// The kernel, or the interface's driver, can have no such program.
    NoXdp(String),
    /// Everything else.
    Failed(Failure),
}

impl From<Failure> for Unstarted {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
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
    match with_xdp(settings, footprint).await {
        Ok(node) => Ok(node),
        Err(Unstarted::NoXdp(reason)) if wished == XdpMode::Auto => {
            mem::take(footprint).erase().await;
            without_xdp::start(settings, reason, footprint).await
        }
        Err(Unstarted::NoXdp(reason)) => Err(refused(reason)),
        Err(Unstarted::Failed(failure)) => Err(failure),
    }
}

async fn with_xdp(settings: &Settings, footprint: &mut Footprint) -> Result<Node, Unstarted> {
    let mut place = Place::find(settings).await?;
    place.interfaces.iter().try_for_each(check_parent)?;
    let own = Own::open(settings, &place)?;
    let (mut plane, slots) = load(settings, &place, &own, footprint).await?;
    let mut transport = open_transport(&place, &settings.cluster.transport)?;
    let mut signer = Signer::new(own.origin, own.keys.clone());
    signer.set_epoch(own.epoch());
    // A lease that still runs does not wait for others' objections: there were none when it was won.
    if !slots.iter().any(|slot| plane.words.holds(slot.number, clock::now()))
        && let Some(owner) = claim::owner_of_id(&mut transport, &mut signer)
    {
        return Err(id_taken(place.id, owner).into());
    }
    let (dummy, mode) = put_on_machine(settings, &mut place, &mut plane, &slots, footprint).await?;
    let sides = sides(settings, &place, &own, &slots, plane, dummy, mode)?;
    Ok(assemble(settings, place, own, &slots, transport, signer, sides)?)
}

/// Where the daemon runs: interface, address and id, and the connections to kernel and clients.
struct Place {
    server: Server,
    netlink: Netlink,
    changes: Changes,
    interfaces: Interfaces,
    address: Ipv4Addr,
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
        let Some(address) = interfaces.home.first_ipv4() else {
            return Err(Failure::configuration(format!(
                "{} has no IPv4 address: give it one that the other nodes reach, or choose another node.iface",
                interfaces.home.name
            )));
        };
        for interface in interfaces.iter() {
            if let Some(vip) = own_address_as_vip(settings, interface) {
                return Err(Failure::configuration(format!(
                    "{vip} is this node's own address on {}, and cannot be a VIP: a VIP belongs to no node",
                    interface.name
                )));
            }
        }
        check_ipv6(settings, &interfaces)?;
        let id = node_id(settings, address)?;
        Ok(Self { server, netlink, changes, interfaces, address, id })
    }
}

/// All VIPs, of all groups.
fn vips(settings: &Settings) -> impl Iterator<Item = &Vip> {
    settings.groups.iter().flat_map(|group| &group.vips)
}

/// The VIPs of IPv6 that lie on this interface.
fn vips6_on(settings: &Settings, interfaces: &Interfaces, index: u32) -> impl Iterator<Item = Ipv6Addr> {
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

/// What is sent to all stations comes in by a macvlan and by its parent, and a program on the macvlan sees
/// the one alone.
fn check_parent(interface: &Interface) -> Result<(), Failure> {
    match &interface.parent {
        Some(parent) => Err(Failure::configuration(format!(
            "{iface} is a macvlan on {parent}, by which frames to a VIP come in as well, past an XDP program on {iface}: \
             serve {parent} itself, or set node.xdp to off",
            iface = interface.name
        ))),
        None => Ok(()),
    }
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

fn node_id(settings: &Settings, address: Ipv4Addr) -> Result<u16, Failure> {
    let [.., high, low] = address.octets();
    match settings.node.id.map_or(u16::from_be_bytes([high, low]), Into::into) {
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

    /// What the data plane is told of its node and cluster.
    fn config(&self, settings: &Settings) -> vip_common::maps::Config {
        let (keys, count) = self.keys.as_array();
        vip_common::maps::Config {
            incarnation: self.origin.incarnation,
            longest_lease: nanoseconds(settings.cluster.lease),
            keys,
            key_count: u32::try_from(count).unwrap_or(0),
            cluster: self.origin.cluster,
            epoch: self.epoch(),
            node: self.origin.node,
            port: port(&settings.cluster.transport),
        }
    }
}

/// Loads the program and fills its tables; from then on it could be attached.
async fn load(
    settings: &Settings,
    place: &Place,
    own: &Own,
    footprint: &mut Footprint,
) -> Result<(DataPlane, Slots), Unstarted> {
    let pins = Pins::new(&settings.paths.bpffs);
    footprint.pins_lock = Some(pins.lock().map_err(plane_failure)?);
    let wishes = wishes(settings);
    let served: Vec<_> = place.interfaces.iter().map(|one| (one.name.as_str(), one.index)).collect();
    let resumed = dataplane::resume(&pins, &served, wishes);
    let mut plane =
        resumed.map_or_else(|| dataplane::load(Some(&pins), wishes.log), Ok).map_err(plane_failure)?;
    if plane.adopted && !is_of(&plane, own.origin)? {
        warn!("the data plane of a former run was another node's or cluster's, and is replaced by a new one");
        expose_no_vips(&place.netlink, &place.interfaces).await?;
        pins.clear().map_err(plane_failure)?;
        plane = dataplane::load(Some(&pins), wishes.log).map_err(plane_failure)?;
    }
    footprint.adopted = plane.adopted;
    footprint.pins = Some(pins);
    let slots = Slots::assign(settings, &place.interfaces, &mut plane, clock::now())?;
    plane.tables.set_config(own.config(settings)).map_err(plane_failure)?;
    for interface in place.interfaces.iter() {
        let entry = place.interfaces.entry(interface);
        plane.tables.set_interface(interface.index, entry).map_err(plane_failure)?;
    }
    let indexes: Vec<u32> = place.interfaces.iter().map(|interface| interface.index).collect();
    plane.tables.keep_interfaces(&indexes).map_err(plane_failure)?;
    Ok((plane, slots))
}

/// What a former run must have been told alike, for this one to go on with its programs.
fn wishes(settings: &Settings) -> Wishes {
    let log = if tracing::enabled!(tracing::Level::DEBUG) { ProgramLog::Debug } else { ProgramLog::Off };
    Wishes { egress_fence: settings.node.egress_fence, log }
}

/// Takes off the VIPs that a former run has left: they must not be there without a fence.
async fn expose_no_vips(netlink: &Netlink, interfaces: &Interfaces) -> Result<(), Failure> {
    netlink.remove_dummy(&dummy_name(&interfaces.home.name)).await.map_err(netlink_failure)
}

/// Whether the promises in the maps are this node's.
fn is_of(plane: &DataPlane, origin: Origin) -> Result<bool, Unstarted> {
    let config = plane.tables.config().map_err(plane_failure)?;
    Ok(config.node == origin.node && config.cluster == origin.cluster)
}

fn port(transport: &TransportSettings) -> u16 {
    match transport {
        TransportSettings::Multicast(group) => group.port(),
        TransportSettings::Unicast { port, .. } => *port,
    }
}

fn open_transport(place: &Place, settings: &TransportSettings) -> Result<Transport, Failure> {
    let Interface { name, index, .. } = &place.interfaces.home;
    Transport::open(name, *index, place.address, settings).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program has it: set another port in cluster.group_address"
            }
            _ => "",
        };
        Failure::refused(format!("cannot open the heartbeat socket on {name}: {error}{hint}"))
    })
}

/// Sysctls, fence, VIPs, in this order: at no time does the kernel answer for a VIP by itself. Gives the name of the
/// VIPs' interface, and how the program is attached.
async fn put_on_machine(
    settings: &Settings,
    place: &mut Place,
    plane: &mut DataPlane,
    slots: &Slots,
    footprint: &mut Footprint,
) -> Result<(String, Mode), Unstarted> {
    footprint.served = place.interfaces.iter().map(|interface| Served::on(&interface.name)).collect();
    let mut fenced = Vec::new();
    for (interface, served) in place.interfaces.iter().zip(&mut footprint.served) {
        fenced.push(fence(settings, interface, plane, served)?);
    }

    let dummy = dummy_name(&place.interfaces.home.name);
    footprint.dummy = Some((place.netlink.clone(), dummy.clone()));
    let (now, groups) = (clock::now(), slots.iter());
    let vips_here = groups.flat_map(|slot| presence::of(&slot.settings, plane.words.holds(slot.number, now)));
    let vips_here: Vec<_> = vips_here.collect();
    place.netlink.ensure_vips(&dummy, &vips_here).await.map_err(netlink_failure)?;
    let vips: Vec<_> = vips(settings).map(|vip| vip.address).collect();
    for (vip, owner) in place.netlink.foreign_owners(&vips, &dummy).await.map_err(netlink_failure)? {
        warn!("{vip} is on {owner} as well: the kernel answers for it there, lease or not; remove it there");
    }
    for (interface, served) in place.interfaces.iter().zip(&mut footprint.served) {
        let filter = mac_filter(&place.netlink, &interface.name, interface.index, slots);
        filter.open().await.map_err(netlink_failure)?;
        served.mac_filter = Some(filter);
        let vips6 = vips6_on(settings, &place.interfaces, interface.index);
        served.solicited = Some(SolicitedNodes::join(interface.index, vips6).map_err(refused)?);
    }
    release_former(settings, place, slots).await?;
    place.interfaces.refresh(&place.netlink).await?;
    let mut modes = Vec::new();
    for (interface, fenced) in place.interfaces.iter().zip(fenced) {
        modes.push(tell_fenced(settings, place, interface, fenced));
    }
    // The home one is the first.
    Ok((dummy, modes.swap_remove(0)))
}

/// How the program has come onto an interface.
struct Fenced {
    attached: Attached,
    /// See [`Mode::of_xdp`].
    why_wished: Option<String>,
    why_not_native: Option<String>,
}

/// Sysctls and program of one interface.
fn fence(
    settings: &Settings,
    interface: &Interface,
    plane: &mut DataPlane,
    served: &mut Served,
) -> Result<Fenced, Unstarted> {
    let Interface { name, index, .. } = interface;
    let sysctls = ArpSysctls::apply(name, &saved_sysctls(settings, name));
    served.sysctls = Some(sysctls.map_err(|error| Failure::refused(format!("{error:#}")))?);
    let pin = Pins::new(&settings.paths.bpffs).link(name);
    let (wished, why_wished) = xdp_mode(settings, interface)?;
    let attached = plane.program.attach(name, *index, wished, &pin);
    let attached = attached.map_err(|error| plane_failure(error.naming(interface.xdp_program)))?;
    served.fence = Some(plane.program.fence(name, *index, &pin).map_err(plane_failure)?);
    Ok(Fenced { attached, why_wished, why_not_native: plane.program.why_not_native().map(str::to_owned) })
}

/// Where the sysctls of an interface are kept as they were.
fn saved_sysctls(settings: &Settings, iface: &str) -> PathBuf {
    settings.paths.runtime.join(format!("{iface}.sysctl"))
}

fn mac_filter(netlink: &Netlink, iface: &str, index: u32, slots: &Slots) -> MacFilter {
    let macs = slots.iter().filter_map(|slot| slot.virtual_mac).collect();
    MacFilter { netlink: netlink.clone(), iface: iface.to_owned(), index, macs }
}

/// Leaves the interfaces alone that a former run has served, and this one does not.
async fn release_former(settings: &Settings, place: &Place, slots: &Slots) -> Result<(), Unstarted> {
    let pins = Pins::new(&settings.paths.bpffs);
    let served: Vec<_> = place.interfaces.iter().map(|one| one.name.as_str()).collect();
    for name in pins.linked_interfaces().into_iter().filter(|name| !served.contains(&name.as_str())) {
        info!("{name} is not served any more: no VIP lies there");
        pins.release(&name).map_err(plane_failure)?;
        if let Ok(index) = if_nametoindex(name.as_str()) {
            mac_filter(&place.netlink, &name, index, slots).close().await;
        }
        restore_sysctls(settings, &name);
    }
    Ok(())
}

/// Puts the sysctls back that a former run has changed.
fn restore_sysctls(settings: &Settings, name: &str) {
    let left = ArpSysctls::left_by_a_former_run(name, &saved_sysctls(settings, name));
    if let Some(Err(error)) = left.map(ArpSysctls::restore) {
        warn!("{error:#}");
    }
}

/// Says how the program is on an interface.
fn tell_fenced(settings: &Settings, place: &Place, interface: &Interface, fenced: Fenced) -> Mode {
    let name = &interface.name;
    let Fenced { attached, why_wished, why_not_native } = fenced;
    let mode = Mode::of_xdp(interface.generic_xdp, attached, why_wished, why_not_native.as_deref());
    let taken_over = match attached {
        Attached::Replaced => ", in place of a former run's",
        Attached::Resumed => ", as a former run has left it",
        Attached::Native | Attached::Generic => "",
    };
    if place.interfaces.is_home(interface.index) {
        info!("node {} on {name}, address {}, {} XDP{taken_over}", place.id, place.address, mode.xdp);
    } else {
        info!("VIPs on {name}, too, {} XDP{taken_over}", mode.xdp);
    }
    if settings.node.xdp == XdpMode::Auto
        && let Some(reason) = &mode.reason
    {
        warn!("XDP on {name} is generic, as safe as native, and slower: {reason}");
    }
    mode
}

/// The mode to try, and why not a better one.
///
/// A frame for a virtual MAC address counts as somebody else's when it comes in on a veth, and native XDP comes too late to
/// change that (`veth_forward_skb` in drivers/net/veth.c).
fn xdp_mode(settings: &Settings, interface: &Interface) -> Result<(XdpMode, Option<String>), Failure> {
    let needs_generic = interface.veth && settings.groups.iter().any(|group| group.virtual_mac);
    let why =
        || format!("{} is a veth, on which native XDP cannot serve a group with virtual_mac", interface.name);
    match settings.node.xdp {
        XdpMode::Native if needs_generic => {
            Err(Failure::configuration(format!("{}: set node.xdp to auto or generic", why())))
        }
        XdpMode::Auto if needs_generic => Ok((XdpMode::Generic, Some(why()))),
        XdpMode::Generic => Ok((XdpMode::Generic, Some(AS_CONFIGURED.to_owned()))),
        wished => Ok((wished, None)),
    }
}

/// Keeps what is from a VIP from leaving while another node serves it, if that is wished and the kernel can; `false` if not.
/// Nobody is served twice without it.
fn fence_egress(settings: &Settings, place: &Place, plane: &mut DataPlane) -> Result<bool, Unstarted> {
    let mut are_all_fenced = true;
    for interface in place.interfaces.iter() {
        are_all_fenced &= fence_egress_of(settings, &interface.name, plane)?;
    }
    Ok(are_all_fenced)
}

fn fence_egress_of(settings: &Settings, name: &str, plane: &mut DataPlane) -> Result<bool, Unstarted> {
    let pin = Pins::new(&settings.paths.bpffs).egress(name);
    if !settings.node.egress_fence {
        dataplane::remove_egress(name, &pin).map_err(plane_failure)?;
        return Ok(false);
    }
    plane.program.attach_egress(name, &pin).or_else(|error| {
        warn!(
            "nothing keeps late packets of a former holder from leaving by {name} ({error}): that takes a kernel with \
             clsact; node.egress_fence = false silences this"
        );
        Ok(false)
    })
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
    mode: Mode,
}

/// Makes the two sides of the XDP program.
fn sides(
    settings: &Settings,
    place: &Place,
    own: &Own,
    slots: &Slots,
    mut plane: DataPlane,
    dummy: String,
    mode: Mode,
) -> Result<Sides, Unstarted> {
    let egress_fence = fence_egress(settings, place, &mut plane)?;
    if let Err(error) = plane.program.let_resume(&Pins::new(&settings.paths.bpffs), wishes(settings)) {
        warn!("{error}; a restart will take longer");
    }
    let words = plane.words;
    let announcers = announcers(&place.interfaces, slots, &words)?;
    let source = forward::source_of(own.origin.cluster, place.id);
    let courier =
        Courier::spawn(&place.interfaces.home, source, plane.kept, words.clone()).map_err(refused)?;
    let logger = plane.program.take_logger().map_err(plane_failure)?;
    let own_vote = OwnVote::new(plane.program, port(&settings.cluster.transport));
    Ok(Sides {
        lease: LeaseSide::Xdp { renewals: plane.renewals, events: plane.events, own_vote, courier },
        control: ControlSide::Xdp(plane.tables),
        words,
        announcers,
        logger,
        dummy: Some(dummy),
        egress_fence,
        mode,
    })
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
    let Sides { lease, control, words, announcers, logger, dummy, egress_fence, mode } = sides;
    let identity = identity(settings, &own, &place, slots);
    let membership = Membership::new(identity, own.store.stored(), clock::now()).map_err(refused)?;
    let (storage, stored) = Storage::new(own.store);
    let election = crate::election::Settings {
        node: place.id,
        lease: nanoseconds(settings.cluster.lease),
        interval: nanoseconds(settings.cluster.interval),
    };
    let (lease_thread, reports) = LeaseThread::spawn(Parts {
        groups: slots.iter().map(|slot| slot.lease(election, seed(slot))).collect(),
        words: words.clone(),
        plane: lease,
        signer,
        transport,
        announcers,
    })
    .map_err(refused)?;
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
        presence_changed: false,
        preemption: Preemption::default(),
        conflicts: Conflicts::default(),
        orders: lease_thread.orders(),
        storage,
        egress_fence,
        end: None,
    };
    control_plane.begin();
    let Place { server, netlink, changes, .. } = place;
    Ok(Node { control_plane, lease_thread, reports, stored, netlink, changes, server, logger })
}

/// What sets this node's random back-offs apart from the others'. Without the system's randomness, the time does.
fn seed(slot: &Slot) -> u64 {
    getrandom::u64().unwrap_or_else(|_| clock::now() ^ u64::from(slot.id))
}

/// One for each interface, for the VIPs that lie there.
fn announcers(interfaces: &Interfaces, slots: &Slots, words: &Words) -> Result<Vec<Arc<Announcer>>, Failure> {
    interfaces.iter().map(|interface| announcer(interface, &group_vips(slots, interface), words)).collect()
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
        priority: settings.node.priority,
        expect: settings.cluster.expect,
        interval_ns: nanoseconds(settings.cluster.interval),
        lease_ns: nanoseconds(settings.cluster.lease),
        groups: slots.iter().map(|slot| slot.group().offer(true)).collect(),
    }
}

pub(super) fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::refused(error.to_string())
}

fn plane_failure(error: dataplane::Error) -> Unstarted {
    match error.to_string() {
        text if error.is_lack_of_support() => Unstarted::NoXdp(text),
        text if error.is_privilege() => Failure::no_privilege(text).into(),
        text => Failure::refused(text).into(),
    }
}

pub(super) fn netlink_failure(error: NetlinkError) -> Failure {
    match error {
        NetlinkError::Permission { .. } => Failure::no_privilege(error.to_string()),
        NetlinkError::NotEthernet { .. } => Failure::configuration(error.to_string()),
        _ => refused(error),
    }
}
