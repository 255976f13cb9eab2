//! The start of a daemon without XDP: acceptors, lease words and fence are in this process, and the VIPs come
//! and go as addresses of the interface. What a former run has left of either kind is taken off first.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::{
    ControlSide, Footprint, LeaseSide, Mode, Node, Own, Pins, Place, Settings, Sides, Signer, Slots, Words,
    announcer, assemble, claim, clock, expose_no_vips, group_vips, nanoseconds, netlink_failure,
    open_transport, refused, restore_sysctls, vips,
};
use crate::exit::Failure;
use crate::userplane::addresses::{Addresses, MARGINS, margin, time_to_take_off};
use crate::userplane::record::Record;
use crate::userplane::{MISSING, UserPlane};

/// Starts it; `reason` is why there is no XDP.
///
/// # Errors
/// As [`super::start`].
pub(super) async fn start(
    settings: &Settings,
    reason: String,
    footprint: &mut Footprint,
) -> Result<Node, Failure> {
    check_groups(settings, &reason)?;
    let place = Place::find(settings).await?;
    take_off_xdp(settings, &place).await?;
    let own = Own::open(settings, &place)?;
    let slots = Slots::without_past(settings, &place.interfaces, clock::now())?;
    let mut transport = open_transport(&place, &settings.cluster)?;
    let mut signer = Signer::new(own.origin, own.keys.clone());
    signer.set_epoch(own.epoch());
    claim::claim(&mut transport, &mut signer, &settings.node.name)?;
    let sides = sides(settings, &place, &own, &slots, reason, footprint)?;
    warn_of_others(settings, &place).await?;
    assemble(settings, place, own, &slots, transport, signer, sides)
}

/// Where XDP is off by itself, the configuration may have asked for more than there is.
fn check_groups(settings: &Settings, reason: &str) -> Result<(), Failure> {
    if let Some(group) = settings.groups.iter().find(|group| group.virtual_mac) {
        return Err(Failure::configuration(format!(
            "group {:?} has virtual_mac, which takes XDP, and there is none here ({reason}): remove that key",
            group.name
        )));
    }
    if let Some(tee) = settings.tees.first() {
        return Err(Failure::configuration(format!(
            "{tee} is teed, which takes XDP, and there is none here ({reason}): remove that section"
        )));
    }
    if let Some(group) = settings.groups.iter().find(|group| group.protocol.runs().is_some()) {
        return Err(Failure::configuration(format!(
            "group {:?} has protocol = \"vrrp\", which takes XDP, and there is none here ({reason})",
            group.name
        )));
    }
    if let Some(name) = settings.other_interfaces().into_iter().next() {
        return Err(Failure::configuration(format!(
            "VIPs lie on {name}, which takes XDP, and there is none here ({reason}): let them lie on {}",
            settings.node.iface
        )));
    }
    Ok(())
}

/// What a former run with XDP has left: its fence would drop what this one serves, and its acceptors would
/// answer beside this one's, which are in quarantine for as long as promises made there can matter.
async fn take_off_xdp(settings: &Settings, place: &Place) -> Result<(), Failure> {
    expose_no_vips(&place.netlink, &place.interfaces).await?;
    let home = &place.interfaces.home.name;
    let pins = Pins::new(&settings.paths.bpffs);
    let mut served = pins.linked_interfaces();
    pins.remove_former(home).map_err(refused)?;
    served.retain(|name| name != home);
    served.push(home.clone());
    served.iter().for_each(|name| restore_sysctls(settings, name));
    Ok(())
}

fn sides(
    settings: &Settings,
    place: &Place,
    own: &Own,
    slots: &Slots,
    reason: String,
    footprint: &mut Footprint,
) -> Result<Sides, Failure> {
    let interface = &place.interfaces.home;
    let lease = nanoseconds(settings.cluster.lease);
    let all: Vec<_> = vips(settings).map(|vip| vip.address).collect();
    let record = Record::of(&settings.paths.runtime, &interface.name);
    record.write(&all).map_err(refused)?;
    footprint.own_addresses = Some((record, place.netlink.clone(), interface.clone()));

    let words = Words::in_process().map_err(refused)?;
    let numbers: BTreeMap<u32, u32> = slots.iter().map(|slot| (slot.id, slot.number)).collect();
    let quarantine_until = slots.iter().map(|slot| slot.quarantine_until).max().unwrap_or(0);
    let plane = UserPlane::new(own.config(settings), numbers, quarantine_until, words.clone());
    let groups = group_vips(slots, interface);
    let announcer = announcer(interface, &groups, &words)?;
    let addresses = Addresses::spawn(interface, &groups, lease, words.clone(), announcer.clone());
    let addresses = addresses.map_err(refused)?;
    info!("node {} on {}, address {}, without XDP", place.id, interface.name, place.address);
    warn!(
        "XDP is off ({reason}): NO FENCE. The VIPs are put on {} itself, and taken off {} ms before a lease ends; \
         a daemon that is stopped, killed or kept from running takes none off, and two nodes may serve then. \
         Moreover: {MISSING}",
        interface.name,
        margin(lease) as f64 / 1e6
    );
    let needed = time_to_take_off(all.len());
    if needed > margin(lease) {
        warn!(
            "taking {} VIPs off takes about {} ms, and that must not end after the lease: make cluster.lease {} ms \
             at least",
            all.len(),
            needed as f64 / 1e6,
            MARGINS * needed / 1_000_000
        );
    }
    Ok(Sides {
        control: ControlSide::Process { board: plane.board(), addresses: addresses.inspector() },
        lease: LeaseSide::Process { plane, addresses },
        words,
        announcers: vec![announcer],
        logger: None,
        dummy: None,
        egress_fence: false,
        tee_fault: None,
        mode: Mode::off(reason),
        adopted: false,
    })
}

async fn warn_of_others(settings: &Settings, place: &Place) -> Result<(), Failure> {
    let all: Vec<_> = vips(settings).map(|vip| vip.address).collect();
    let name = &place.interfaces.home.name;
    for (vip, owner) in place.netlink.foreign_owners(&all, name).await.map_err(netlink_failure)? {
        warn!("{vip} is on {owner} as well: the kernel answers for it there, lease or not; remove it there");
    }
    Ok(())
}
