//! The groups' places in the data plane's maps. A group keeps its place, and so its acceptor's promises, across
//! restarts of the daemon; a new one gets a free place, and a quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vip_common::maps::{Role, SLOTS, Stale, Vrids};
use vip_common::wire::name_hash;

use super::control_plane::nanoseconds;
use super::groups::Group;
use super::interfaces::Interfaces;
use super::lease_thread::{GroupLease, Tally};
use crate::config::{self, Settings};
use crate::dataplane::{Error, Tables, Vip, Vip6, Words};
use crate::election::{self, Election};
use crate::exit::Failure;
use crate::virtual_mac;
use vip_common::vrrp::Family;

/// The first place of a group. An event's slot 0 is no group's.
const FIRST_SLOT: u32 = 1;

/// One group and its place.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    /// Hash of the group's name.
    pub(super) id: u32,
    /// CLOCK_BOOTTIME, ns.
    pub(super) quarantine_until: u64,
    /// Where neighbours have its VIPs; `None` = at the interface's own MAC address.
    pub(super) virtual_mac: Option<[u8; 6]>,
    /// The VIPs, and the index of the interface that each lies on.
    vips: Vec<(IpAddr, u32)>,
    pub(super) settings: config::Group,
}

impl Slot {
    /// The group's VIPs that lie on this interface.
    pub(super) fn vips_on(&self, interface: u32) -> impl Iterator<Item = IpAddr> {
        self.vips.iter().filter(move |(_, lies_on)| *lies_on == interface).map(|(vip, _)| *vip)
    }

    fn vips4(&self) -> impl Iterator<Item = (Ipv4Addr, Vip)> {
        self.vips.iter().filter_map(|(vip, interface)| match vip {
            IpAddr::V4(vip) => Some((*vip, Vip { slot: self.number, interface: *interface })),
            IpAddr::V6(_) => None,
        })
    }

    fn vips6(&self) -> impl Iterator<Item = (Ipv6Addr, Vip6)> {
        let (slot, router) = (self.number, self.settings.router.into());
        self.vips.iter().filter_map(move |(vip, interface)| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some((*vip, Vip6 { slot, router, interface: *interface })),
        })
    }

    /// Whether a lease decides who serves the group, and not VRRP.
    pub(super) const fn has_lease(&self) -> bool {
        self.settings.protocol.runs().is_none()
    }

    /// The group as the lease thread has it.
    pub(super) fn lease(&self, settings: election::Settings, seed: u64) -> GroupLease {
        let election = Election::new(settings, seed);
        GroupLease {
            slot: self.number,
            id: self.id,
            quarantine_until: self.quarantine_until,
            election,
            forwards: self.settings.stale_forwarding,
            given_until: 0,
            tally: Tally::default(),
        }
    }

    /// The group as the control plane has it.
    pub(super) fn group(&self) -> Group {
        Group::new(self.settings.clone(), self.number, self.id, self.quarantine_until)
    }
}

/// All groups, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// Places the configured groups, and clears the places of those that are no more, which must not be held. A group without
    /// memory stays silent for the longest lease from `now` on. The program may be running: VIPs that stay are looked up as
    /// they were or as they are to be, at every instant.
    pub(super) fn assign(
        settings: &Settings,
        interfaces: &Interfaces,
        tables: &mut Tables,
        words: &Words,
        now: u64,
    ) -> Result<Self, Failure> {
        let ids = group_ids(settings)?;
        let placed = Self::place(settings, &ids, interfaces, tables, words, now);
        placed.map_err(|error| Failure::refused(error.to_string()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// Where neighbours have VIPs of groups that have such an address.
    pub(super) fn virtual_macs(&self) -> BTreeSet<[u8; 6]> {
        self.0.iter().filter_map(|slot| slot.virtual_mac).collect()
    }

    /// Places the configured groups where nothing of them is remembered: each is silent for the longest lease
    /// from `now` on. Without XDP, nothing is sent on to their holders.
    pub(super) fn without_past(
        settings: &Settings,
        interfaces: &Interfaces,
        now: u64,
    ) -> Result<Self, Failure> {
        let quarantine_until = now + nanoseconds(settings.cluster.lease);
        let ids = group_ids(settings)?;
        let slot = |((group, id), number): ((&config::Group, u32), u32)| Slot {
            number,
            id,
            quarantine_until,
            virtual_mac: None,
            vips: vips_of(group, interfaces),
            settings: config::Group { stale_forwarding: false, ..group.clone() },
        };
        Ok(Self(settings.groups.iter().zip(ids).zip(FIRST_SLOT..).map(slot).collect()))
    }

    fn place(
        settings: &Settings,
        ids: &[u32],
        interfaces: &Interfaces,
        tables: &mut Tables,
        words: &Words,
        now: u64,
    ) -> Result<Self, Error> {
        let known = tables.slots()?;
        let places = places(&known, ids);
        let kept: BTreeSet<u32> = ids.iter().filter_map(|id| known.get(id).copied()).collect();
        for slot in (0..).take(SLOTS).filter(|slot| !kept.contains(slot)) {
            words.disarm(slot);
            words.set_role(slot, Role::Follower);
            words.set_stale(slot, Stale::Drop);
            words.set_virtual_mac(slot, [0; 6]);
            words.set_id(slot, 0);
        }
        let mut slots = Vec::new();
        let cluster = name_hash(&settings.cluster.name);
        for (group, id) in settings.groups.iter().zip(ids) {
            let number = places[id];
            if !kept.contains(&number) {
                tables.quarantine(number, now + nanoseconds(settings.cluster.lease))?;
            }
            words.set_id(number, *id);
            words.set_stale(number, stale(group));
            let virtual_mac = virtual_mac_of(cluster, group);
            words.set_virtual_mac(number, virtual_mac.unwrap_or_default());
            let has_promises = group.protocol.runs().is_none();
            let quarantine_until = if has_promises { tables.acceptor(number)?.quarantine_until } else { 0 };
            let vips = vips_of(group, interfaces);
            let settings = group.clone();
            slots.push(Slot { number, id: *id, quarantine_until, virtual_mac, vips, settings });
        }
        tables.set_vips(&slots.iter().flat_map(Slot::vips4).collect())?;
        tables.set_vips6(&slots.iter().flat_map(Slot::vips6).collect())?;
        tables.set_slots(&places)?;
        tables.set_vrids(&vrids(settings, interfaces))?;
        Ok(Self(slots))
    }
}

/// By interface, the virtual routers whose adverts are listened to.
fn vrids(settings: &Settings, interfaces: &Interfaces) -> BTreeMap<u32, Vrids> {
    let mut all: BTreeMap<u32, Vrids> = BTreeMap::new();
    for group in &settings.groups {
        if let (Some(router), Some(first)) = (group.protocol.router(), group.vips.first()) {
            let vrids = all.entry(interfaces.of(first).index).or_default();
            vrids.insert(family_of(first), router.version, router.vrid);
        }
    }
    all
}

const fn family_of(vip: &config::Vip) -> Family {
    if vip.address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// See [`Slot::vips`].
fn vips_of(group: &config::Group, interfaces: &Interfaces) -> Vec<(IpAddr, u32)> {
    group.vips.iter().map(|vip| (vip.address, interfaces.of(vip).index)).collect()
}

/// What becomes of packets for a group that another node serves.
const fn stale(group: &config::Group) -> Stale {
    if group.stale_forwarding { Stale::Forward } else { Stale::Drop }
}

/// Where neighbours have the VIPs of a group, if not at each interface's own MAC address.
pub(super) fn virtual_mac_of(cluster: u32, group: &config::Group) -> Option<[u8; 6]> {
    let first = group.vips.first().filter(|_| group.virtual_mac)?;
    Some(match group.protocol.runs() {
        Some(router) => router.vrid.virtual_mac(family_of(first)),
        None => virtual_mac::of(cluster, id_of(group)),
    })
}

/// The number of a group. One of VRRP has none on the wire, and must not be taken for one of that name that has a lease: other
/// nodes may have that already, or still.
fn id_of(group: &config::Group) -> u32 {
    match group.protocol.runs() {
        Some(_) => name_hash(&format!("vrrp/{}", group.name)),
        None => name_hash(&group.name),
    }
}

/// The groups' numbers on the wire, in the order of the configuration.
///
/// # Errors
/// Two groups have the same.
pub(super) fn group_ids(settings: &Settings) -> Result<Vec<u32>, Failure> {
    let mut names = BTreeMap::new();
    let mut ids = Vec::new();
    for group in &settings.groups {
        let id = id_of(group);
        if let Some(other) = names.insert(id, &group.name) {
            return Err(Failure::configuration(format!(
                "the groups {other:?} and {:?} have the same number on the wire: rename one of them",
                group.name
            )));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// A place for each group (group id → slot): the one that it has, or the lowest that nobody has.
fn places(known: &BTreeMap<u32, u32>, ids: &[u32]) -> BTreeMap<u32, u32> {
    let taken: BTreeSet<u32> = ids.iter().filter_map(|id| known.get(id).copied()).collect();
    let mut free = (FIRST_SLOT..).filter(|slot| !taken.contains(slot));
    ids.iter().filter_map(|id| Some((*id, known.get(id).copied().or_else(|| free.next())?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_groups_get_the_lowest_places_after_the_clusters_own() {
        assert_eq!(places(&BTreeMap::new(), &[70, 60]), BTreeMap::from([(70, 1), (60, 2)]));
    }

    #[test]
    fn a_group_keeps_its_place_and_a_new_one_takes_a_free_one() {
        let known = BTreeMap::from([(50, 1), (60, 2), (70, 3)]);
        assert_eq!(places(&known, &[80, 70, 90, 60]), BTreeMap::from([(60, 2), (70, 3), (80, 1), (90, 4)]));
    }
}
