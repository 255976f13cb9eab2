//! The start of a daemon with XDP: the program is on every interface before the VIPs are on the machine, and what a former
//! run has left is gone on with.

use std::sync::Arc;

use nix::net::if_::if_nametoindex;
use tracing::{info, warn};
use vip_common::forward;

use super::{
    AS_CONFIGURED, ControlSide, Footprint, LeaseSide, Mode, Node, Own, Pins, Place, Settings, Sides, Signer,
    Slots, announcers, assemble, claim, clock, expose_no_vips, netlink_failure, open_transport, presence,
    refused, restore_sysctls, saved_sysctls, vips, vips6_on,
};
use crate::config::XdpMode;
use crate::courier::Courier;
use crate::daemon::ears::Ears;
use crate::daemon::footprint::Served;
use crate::daemon::own_vote::OwnVote;
use crate::daemon::tee;
use crate::dataplane::{self, Attached, DataPlane, ProgramLog, Wishes};
use crate::exit::Failure;
use crate::netlink::{Interface, dummy_name};
use crate::signer::Origin;
use crate::sysctl::ArpSysctls;

/// Why a start has failed.
pub(super) enum Unstarted {
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

/// Starts it.
///
/// # Errors
/// As [`super::start`], and where there can be no XDP.
pub(super) async fn start(settings: &Settings, footprint: &mut Footprint) -> Result<Node, Unstarted> {
    let mut place = Place::find(settings).await?;
    place.interfaces.iter().try_for_each(check_parent)?;
    let own = Own::open(settings, &place)?;
    let (mut plane, slots) = load(settings, &place, &own, footprint).await?;
    let mut transport = open_transport(&place, &settings.cluster)?;
    let mut signer = Signer::new(own.origin, own.keys.clone());
    signer.set_epoch(own.epoch());
    // A lease that still runs does not wait for others' objections: there were none when it was won.
    if !slots.iter().any(|slot| plane.words.holds(slot.number, clock::now())) {
        claim::claim(&mut transport, &mut signer, &settings.node.name)?;
    }
    let (dummy, mode) = put_on_machine(settings, &mut place, &mut plane, &slots, footprint).await?;
    let sides = sides(settings, &place, &own, &slots, plane, dummy, mode)?;
    Ok(assemble(settings, place, own, &slots, transport, signer, sides)?)
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
    let slots = Slots::assign(settings, &place.interfaces, &mut plane.tables, &plane.words, clock::now())?;
    plane.tables.set_config(own.config(settings)).map_err(plane_failure)?;
    let served = place.interfaces.iter().map(|one| (one.index, place.interfaces.entry(one))).collect();
    plane.tables.set_interfaces(&served).map_err(plane_failure)?;
    Ok((plane, slots))
}

/// What a former run must have been told alike, for this one to go on with its programs.
fn wishes(settings: &Settings) -> Wishes {
    let log = if tracing::enabled!(tracing::Level::DEBUG) { ProgramLog::Debug } else { ProgramLog::Off };
    Wishes { egress_fence: settings.node.egress_fence, log }
}

/// Whether the promises in the maps are this node's.
fn is_of(plane: &DataPlane, origin: Origin) -> Result<bool, Unstarted> {
    let config = plane.tables.config().map_err(plane_failure)?;
    Ok(config.node == origin.node && config.cluster == origin.cluster)
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
        let ears = Ears::of(&place.netlink, &interface.name, interface.index);
        let vips6 = vips6_on(settings, &place.interfaces, interface.index);
        ears.open(slots.virtual_macs(), vips6).await?;
        served.ears = Some(Arc::new(ears));
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

/// Leaves the interfaces alone that a former run has served, and this one does not.
async fn release_former(settings: &Settings, place: &Place, slots: &Slots) -> Result<(), Unstarted> {
    let pins = Pins::new(&settings.paths.bpffs);
    let served: Vec<_> = place.interfaces.iter().map(|one| one.name.as_str()).collect();
    for name in pins.linked_interfaces().into_iter().filter(|name| !served.contains(&name.as_str())) {
        info!("{name} is not served any more: no VIP lies there");
        pins.release(&name).map_err(plane_failure)?;
        if let Ok(index) = if_nametoindex(name.as_str()) {
            Ears::of(&place.netlink, &name, index).close_for(&slots.virtual_macs()).await;
        }
        restore_sysctls(settings, &name);
    }
    Ok(())
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
fn xdp_mode(settings: &Settings, interface: &Interface) -> Result<(XdpMode, Option<String>), Failure> {
    match (settings.node.xdp, why_generic(settings, interface)) {
        (XdpMode::Native, Some(why)) => {
            Err(Failure::configuration(format!("{why}: set node.xdp to auto or generic")))
        }
        (XdpMode::Auto, Some(why)) => Ok((XdpMode::Generic, Some(why))),
        (XdpMode::Generic, _) => Ok((XdpMode::Generic, Some(AS_CONFIGURED.to_owned()))),
        (wished, _) => Ok((wished, None)),
    }
}

/// Why native XDP, though the driver has it, could not serve here.
///
/// A frame for a virtual MAC address counts as somebody else's when it comes in on a veth, and native XDP comes too late to
/// change that (`veth_forward_skb` in drivers/net/veth.c). A bond has the program run by its ports' drivers, which name the
/// port as where a frame came in, and also for what comes in by a port that is not in use (`bond_xdp_set` in
/// drivers/net/bonding/bond_main.c).
fn why_generic(settings: &Settings, interface: &Interface) -> Option<String> {
    let name = &interface.name;
    if interface.bond {
        return Some(format!("{name} is a bond, whose frames native XDP sees as those of its ports"));
    }
    let virtual_mac = settings.groups.iter().any(|group| group.virtual_mac);
    (interface.veth && virtual_mac)
        .then(|| format!("{name} is a veth, on which native XDP cannot serve a group with virtual_mac"))
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

/// Tees what is to be teed; gives why that cannot be, if it cannot. All else goes on without.
fn begin_tees(
    settings: &Settings,
    slots: &Slots,
    plane: &mut DataPlane,
    egress_fence: bool,
) -> Result<Option<String>, Unstarted> {
    let slot_of = |name: &str| slots.iter().find(|slot| slot.settings.name == name).map(|slot| slot.number);
    let is_resumed = plane.program.is_resumed();
    let fault =
        tee::begin(settings, &mut plane.tables, is_resumed, egress_fence, slot_of).map_err(plane_failure)?;
    if let Some(fault) = &fault {
        warn!("nothing is teed, and standbys hear nothing of what the holder hears: {fault}");
    }
    Ok(fault)
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
    let tee_fault = begin_tees(settings, slots, &mut plane, egress_fence)?;
    if let Err(error) = plane.program.let_resume(&Pins::new(&settings.paths.bpffs), wishes(settings)) {
        warn!("{error}; a restart will take longer");
    }
    let words = plane.words;
    let announcers = announcers(&place.interfaces, slots, &words)?;
    let source = forward::source_of(own.origin.cluster, place.id);
    let courier =
        Courier::spawn(&place.interfaces.home, source, plane.kept, words.clone()).map_err(refused)?;
    let logger = plane.program.take_logger().map_err(plane_failure)?;
    let own_vote = OwnVote::new(plane.program, settings.cluster.transport.port());
    Ok(Sides {
        lease: LeaseSide::Xdp { renewals: plane.renewals, events: plane.events, own_vote, courier },
        control: ControlSide::Xdp(plane.tables),
        words,
        announcers,
        logger,
        dummy: Some(dummy),
        egress_fence,
        tee_fault,
        mode,
        adopted: plane.adopted,
    })
}

fn plane_failure(error: dataplane::Error) -> Unstarted {
    match error.to_string() {
        text if error.is_lack_of_support() => Unstarted::NoXdp(text),
        text if error.is_privilege() => Failure::no_privilege(text).into(),
        text => Failure::refused(text).into(),
    }
}
