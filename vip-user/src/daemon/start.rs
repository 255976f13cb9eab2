//! The start of a daemon, in an order in which each step is safe for those before it: the id is claimed before a vote
//! is cast, the fence is up before the VIPs are on the machine, and all that is made is written down for its removal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::net::if_::if_nameindex;
use tokio::sync::mpsc;
use tracing::{info, warn};
use vip_common::forward;
use vip_common::wire::name_hash;

use super::claim;
use super::conflicts::Conflicts;
use super::control_plane::{ControlPlane, id_taken, nanoseconds};
use super::footprint::{Footprint, MacFilter};
use super::lease_thread::{LeaseThread, Parts, Report};
use super::own_vote::OwnVote;
use super::preemption::Preemption;
use super::presence;
use super::slots::{Slot, Slots};
use super::storage::Storage;
use crate::announce::{Announcer, GroupVips};
use crate::clock;
use crate::config::{Keys, Settings, Transport as TransportSettings, XdpMode};
use crate::control::Server;
use crate::courier::Courier;
use crate::dataplane::{self, Attached, DataPlane, Pins, ProgramLog, ProgramLogger, Wishes};
use crate::exit::Failure;
use crate::ipv6::{self, SolicitedNodes};
use crate::membership::{Durable, Identity, Membership, Offer};
use crate::netlink::{Changes, Interface, Netlink, NetlinkError, dummy_name};
use crate::signer::{Origin, Signer, WireKeys};
use crate::store::{Owner, Store};
use crate::sysctl::ArpSysctls;
use crate::transport::Transport;

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

/// Starts the daemon; `footprint` has what was put on the machine, also when this fails.
///
/// # Errors
/// Whatever keeps it from serving, with what to do about it.
pub(super) async fn start(settings: &Settings, footprint: &mut Footprint) -> Result<Node, Failure> {
    let mut place = Place::find(settings).await?;
    // Before anything that may fail.
    if !Pins::new(&settings.paths.bpffs).fence(&place.interface.name, place.interface.index) {
        expose_no_vips(&place).await?;
    }
    let own = Own::open(settings, &place)?;
    let (mut plane, slots) = load(settings, &place, &own, footprint).await?;
    let mut transport = open_transport(&place, &settings.cluster.transport)?;
    let mut signer = Signer::new(own.origin, own.keys.clone());
    signer.set_epoch(own.epoch());
    // A lease that still runs does not wait for others' objections: there were none when it was won.
    if !slots.iter().any(|slot| plane.words.holds(slot.number, clock::now()))
        && let Some(owner) = claim::owner_of_id(&mut transport, &mut signer)
    {
        return Err(id_taken(place.id, owner));
    }
    let dummy = put_on_machine(settings, &mut place, &mut plane, &slots, footprint).await?;
    assemble(settings, place, own, plane, &slots, transport, signer, dummy)
}

/// Where the daemon runs: interface, address and id, and the connections to kernel and clients.
struct Place {
    server: Server,
    netlink: Netlink,
    changes: Changes,
    interface: Interface,
    address: Ipv4Addr,
    id: u16,
}

impl Place {
    async fn find(settings: &Settings) -> Result<Self, Failure> {
        if settings.node.xdp == XdpMode::Off {
            return Err(Failure::configuration(
                "node.xdp = \"off\" is not supported yet: set it to auto, native or generic",
            ));
        }
        // First of all: a second daemon must not touch what the first one has.
        let server = Server::bind(&settings.paths.socket(&settings.node.iface))?;
        let (netlink, changes) = Netlink::open().map_err(netlink_failure)?;
        let interface = find_interface(&netlink, &settings.node.iface).await?;
        let Some(address) = interface.first_ipv4() else {
            return Err(Failure::configuration(format!(
                "{} has no IPv4 address: give it one that the other nodes reach, or choose another node.iface",
                interface.name
            )));
        };
        if let Some(vip) = own_address_as_vip(settings, &interface) {
            return Err(Failure::configuration(format!(
                "{vip} is this node's own address on {}, and cannot be a VIP: a VIP belongs to no node",
                interface.name
            )));
        }
        check_ipv6(settings, &interface)?;
        let id = node_id(settings, address)?;
        Ok(Self { server, netlink, changes, interface, address, id })
    }
}

/// The interface of that name.
async fn find_interface(netlink: &Netlink, name: &str) -> Result<Interface, Failure> {
    let found = netlink.interface(name).await.map_err(netlink_failure)?;
    found.ok_or_else(|| {
        let present = if_nameindex().map_or_else(
            |_| String::new(),
            |names| names.iter().map(|name| name.name().to_string_lossy()).collect::<Vec<_>>().join(", "),
        );
        Failure::configuration(format!(
            "no interface {name:?} (there are: {present}): set node.iface or --iface"
        ))
    })
}

/// All VIPs, of all groups.
fn vips(settings: &Settings) -> impl Iterator<Item = IpAddr> {
    settings.groups.iter().flat_map(|group| &group.vips).map(|vip| vip.address)
}

fn vips6(settings: &Settings) -> impl Iterator<Item = Ipv6Addr> {
    vips(settings).filter_map(|vip| match vip {
        IpAddr::V4(_) => None,
        IpAddr::V6(vip) => Some(vip),
    })
}

fn own_address_as_vip(settings: &Settings, interface: &Interface) -> Option<IpAddr> {
    vips(settings).find(|vip| interface.addresses.iter().any(|(address, _)| address == vip))
}

/// Where IPv6 is off, the kernel drops what the data plane lets in.
fn check_ipv6(settings: &Settings, interface: &Interface) -> Result<(), Failure> {
    let (Some(vip), iface) = (vips6(settings).next(), &interface.name) else { return Ok(()) };
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
}

/// Loads the program and fills its tables; from then on it could be attached.
async fn load(
    settings: &Settings,
    place: &Place,
    own: &Own,
    footprint: &mut Footprint,
) -> Result<(DataPlane, Slots), Failure> {
    let pins = Pins::new(&settings.paths.bpffs);
    footprint.pins_lock = Some(pins.lock().map_err(plane_failure)?);
    let wishes = wishes(settings);
    let (iface, index) = (&place.interface.name, place.interface.index);
    let resumed = dataplane::resume(&pins, iface, index, wishes);
    let mut plane =
        resumed.map_or_else(|| dataplane::load(Some(&pins), wishes.log), Ok).map_err(plane_failure)?;
    if plane.adopted && !is_of(&plane, own.origin)? {
        warn!("the data plane of a former run was another node's or cluster's, and is replaced by a new one");
        expose_no_vips(place).await?;
        pins.clear().map_err(plane_failure)?;
        plane = dataplane::load(Some(&pins), wishes.log).map_err(plane_failure)?;
    }
    footprint.adopted = plane.adopted;
    footprint.pins = Some(pins);
    let slots = Slots::assign(settings, &mut plane, clock::now())?;
    let (keys, count) = own.keys.as_array();
    let config = vip_common::maps::Config {
        incarnation: own.origin.incarnation,
        longest_lease: nanoseconds(settings.cluster.lease),
        keys,
        key_count: u32::try_from(count).unwrap_or(0),
        cluster: own.origin.cluster,
        epoch: own.epoch(),
        node: place.id,
        port: port(&settings.cluster.transport),
    };
    plane.tables.set_config(config).map_err(plane_failure)?;
    let entry = vip_common::maps::Interface {
        mac: place.interface.mac,
        reserved: 0,
        address: place.address.octets(),
    };
    plane.tables.set_interface(place.interface.index, entry).map_err(plane_failure)?;
    Ok((plane, slots))
}

/// What a former run must have been told alike, for this one to go on with its programs.
fn wishes(settings: &Settings) -> Wishes {
    let log = if tracing::enabled!(tracing::Level::DEBUG) { ProgramLog::Debug } else { ProgramLog::Off };
    Wishes { egress_fence: settings.node.egress_fence, log }
}

/// Takes off the VIPs that a former run has left: they must not be there without a fence.
async fn expose_no_vips(place: &Place) -> Result<(), Failure> {
    place.netlink.remove_dummy(&dummy_name(&place.interface.name)).await.map_err(netlink_failure)
}

/// Whether the promises in the maps are this node's.
fn is_of(plane: &DataPlane, origin: Origin) -> Result<bool, Failure> {
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
    let Interface { name, index, .. } = &place.interface;
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
/// VIPs' interface.
async fn put_on_machine(
    settings: &Settings,
    place: &mut Place,
    plane: &mut DataPlane,
    slots: &Slots,
    footprint: &mut Footprint,
) -> Result<String, Failure> {
    let name = place.interface.name.clone();
    let saved = settings.paths.runtime.join(format!("{name}.sysctl"));
    let sysctls = ArpSysctls::apply(&name, &saved).map_err(|error| Failure::refused(format!("{error:#}")))?;
    footprint.sysctls = Some(sysctls);

    let pin = Pins::new(&settings.paths.bpffs).link(&name);
    let index = place.interface.index;
    let wished = xdp_mode(settings, &place.interface)?;
    let attached = plane.program.attach(&name, index, wished, &pin);
    let attached = attached.map_err(|error| plane_failure(error.naming(place.interface.xdp_program)))?;
    footprint.fence = Some(plane.program.fence(&name, index, &pin).map_err(plane_failure)?);

    let dummy = dummy_name(&name);
    footprint.dummy = Some((place.netlink.clone(), dummy.clone()));
    let (now, groups) = (clock::now(), slots.iter());
    let vips_here = groups.flat_map(|slot| presence::of(&slot.settings, plane.words.holds(slot.number, now)));
    let vips_here: Vec<_> = vips_here.collect();
    place.netlink.ensure_vips(&dummy, &vips_here).await.map_err(netlink_failure)?;
    let vips: Vec<_> = vips(settings).collect();
    for (vip, owner) in place.netlink.foreign_owners(&vips, &dummy).await.map_err(netlink_failure)? {
        warn!("{vip} is on {owner} as well: the kernel answers for it there, lease or not; remove it there");
    }
    let macs: Vec<_> = slots.iter().filter_map(|slot| slot.virtual_mac).collect();
    let filter = MacFilter { netlink: place.netlink.clone(), iface: name.clone(), index, macs };
    filter.open().await.map_err(netlink_failure)?;
    footprint.mac_filter = Some(filter);
    footprint.solicited = Some(SolicitedNodes::join(index, vips6(settings)).map_err(refused)?);
    place.interface = find_interface(&place.netlink, &name).await?;
    let mode = if place.interface.generic_xdp { XdpMode::Generic } else { XdpMode::Native };
    let taken_over = match attached {
        Attached::Replaced => ", in place of a former run's",
        Attached::Resumed => ", as a former run has left it",
        Attached::Native | Attached::Generic => "",
    };
    info!("node {} on {name}, address {}, {mode} XDP{taken_over}", place.id, place.address);
    if wished == XdpMode::Auto && mode == XdpMode::Generic {
        warn!("the driver of {name} has no native XDP: generic XDP is as safe, and slower");
    }
    Ok(dummy)
}

/// A frame for a virtual MAC address counts as somebody else's when it comes in on a veth, and native XDP comes too late to
/// change that (`veth_forward_skb` in drivers/net/veth.c).
fn xdp_mode(settings: &Settings, interface: &Interface) -> Result<XdpMode, Failure> {
    let needs_generic = interface.veth && settings.groups.iter().any(|group| group.virtual_mac);
    match settings.node.xdp {
        XdpMode::Native if needs_generic => Err(Failure::configuration(format!(
            "{} is a veth, on which native XDP cannot serve a group with virtual_mac: set node.xdp to auto or generic",
            interface.name
        ))),
        XdpMode::Auto if needs_generic => Ok(XdpMode::Generic),
        wished => Ok(wished),
    }
}

/// Keeps what is from a VIP from leaving while another node serves it, if that is wished and the kernel can; `false` if not.
/// Nobody is served twice without it.
fn fence_egress(settings: &Settings, place: &Place, plane: &mut DataPlane) -> Result<bool, Failure> {
    let name = &place.interface.name;
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

/// Puts the parts together and sets them going.
#[expect(clippy::too_many_arguments, reason = "the parts, each made by a step of its own")]
fn assemble(
    settings: &Settings,
    place: Place,
    own: Own,
    mut plane: DataPlane,
    slots: &Slots,
    transport: Transport,
    signer: Signer,
    dummy: String,
) -> Result<Node, Failure> {
    let egress_fence = fence_egress(settings, &place, &mut plane)?;
    if let Err(error) = plane.program.let_resume(&Pins::new(&settings.paths.bpffs), wishes(settings)) {
        warn!("{error}; a restart will take longer");
    }
    let words = plane.words.clone();
    let announcer = announcer(&place.interface, slots, &plane)?;
    let source = forward::source_of(own.origin.cluster, place.id);
    let courier = Courier::spawn(&place.interface, source, plane.kept, words.clone()).map_err(refused)?;
    let logger = plane.program.take_logger().map_err(plane_failure)?;
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
        renewals: plane.renewals,
        events: plane.events,
        own_vote: OwnVote::new(plane.program, port(&settings.cluster.transport)),
        signer,
        transport,
        announcer,
        courier,
    })
    .map_err(refused)?;
    let mut control_plane = ControlPlane {
        settings: settings.clone(),
        id: place.id,
        interface: place.interface,
        dummy,
        groups: slots.iter().map(Slot::group).collect(),
        words,
        tables: plane.tables,
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

fn announcer(interface: &Interface, slots: &Slots, plane: &DataPlane) -> Result<Announcer, Failure> {
    let vips = |slot: &Slot| GroupVips {
        slot: slot.number,
        vips: slot.vips().collect(),
        virtual_mac: slot.virtual_mac,
        router: slot.settings.router,
    };
    let groups = slots.iter().map(vips).collect();
    let words = plane.words.clone();
    Announcer::spawn(interface, groups, move |slot| words.holds(slot, clock::now())).map_err(refused)
}

fn identity(settings: &Settings, own: &Own, place: &Place, slots: &Slots) -> Identity {
    let offer = |slot: &Slot| Offer {
        group: slot.id,
        priority: slot.settings.priority,
        preempt: slot.settings.preempt,
    };
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
        groups: slots.iter().map(offer).collect(),
    }
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::refused(error.to_string())
}

fn plane_failure(error: dataplane::Error) -> Failure {
    if error.is_privilege() { Failure::no_privilege(error.to_string()) } else { refused(error) }
}

fn netlink_failure(error: NetlinkError) -> Failure {
    match error {
        NetlinkError::Permission { .. } => Failure::no_privilege(error.to_string()),
        NetlinkError::NotEthernet { .. } => Failure::configuration(error.to_string()),
        _ => refused(error),
    }
}
