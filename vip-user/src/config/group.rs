//! The sections `[[group]]`: the VIPs that move together, and how eagerly this node takes them.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use vip_common::maps::MAX_INTERFACES;

use super::{
    document::{Field, Place, Section},
    name::check_name,
    node::{Node, XdpMode},
    notify::Notify,
    vip::{Vip, VipError},
    vrrp::{Protocol, VirtualRouter},
};
use crate::exit::Failure;

pub(super) const KEYS: &[&str] = &[
    "name",
    "vips",
    "priority",
    "preempt",
    "preempt_delay",
    "stale_forwarding",
    "presence",
    "virtual_mac",
    "router",
    "protocol",
    "vrid",
    "version",
    "advert_interval",
    "unicast_peers",
    "auth",
    "auth_password_file",
    "accept",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_type",
    "notify_timeout",
];

/// The name of the group that the VIPs of the command line are in.
pub const FLAG_GROUP: &str = "vip";

/// The most groups of a configuration.
pub const MAX_GROUPS: usize = 64;

/// The most VIPs of all groups together.
pub const MAX_VIPS: usize = 10_000;

const DEFAULT_PREEMPT_DELAY: Duration = Duration::from_secs(5);

/// VIPs that move together, under one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What people call it, unique and the same on all nodes. At most 32 bytes.
    pub name: String,
    /// At least one, where this node may hold them.
    pub vips: Vec<Vip>,
    /// This node's priority for this group; by default the node's.
    pub priority: u8,
    /// Whether a node of higher priority takes the group from a live holder.
    pub preempt: bool,
    /// How long that node waits, and has to be healthy, before it does so.
    pub preempt_delay: Duration,
    /// Whether a node without the lease passes stray frames for a VIP on to its holder.
    pub stale_forwarding: bool,
    /// When the VIPs are addresses of this machine.
    pub presence: Presence,
    /// Whether neighbours have the VIPs at one MAC address, whichever node serves them.
    pub virtual_mac: bool,
    /// Whether neighbours are told that the IPv6 VIPs are a router's.
    pub router: bool,
    /// How the nodes agree on who serves it.
    pub protocol: Protocol,
    /// Programs that are told what this node is in the group.
    pub notify: Notify,
}

/// When VIPs are addresses of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Presence {
    /// From the start on, so that a takeover adds none. Programs on a backup that connect to a VIP reach their own machine.
    #[default]
    Always,
    /// While it holds them: added after a takeover, removed when it is over. Programs on a backup reach the holder.
    Held,
}

impl Presence {
    fn read(field: &Field<'_>) -> Result<Self, Failure> {
        match field.string()? {
            None => Ok(Self::default()),
            Some("always") => Ok(Self::Always),
            Some("held") => Ok(Self::Held),
            Some(other) => Err(field.refuse(format!("{other:?} is no presence; use \"always\" or \"held\""))),
        }
    }
}

/// Said of what a node without the XDP program cannot do.
const TAKES_XDP: &str = "takes XDP, and node.xdp is \"off\"; change one of the two";

/// Reads the groups of the file, and adds the VIPs of the command line.
pub(super) fn read(sections: &[Section<'_>], node: &Node, flag_vips: &[Vip]) -> Result<Vec<Group>, Failure> {
    let mut reader = Reader::of(node);
    for section in sections {
        reader.read_group(section)?;
    }
    reader.add_flags(flag_vips)?;
    Ok(reader.groups)
}

/// Who holds a virtual router is known to this node by its adverts alone, and not by a lease.
fn read_stale_forwarding(field: &Field<'_>, is_vrrp: bool) -> Result<bool, Failure> {
    match field.boolean()? {
        Some(true) if is_vrrp => {
            Err(field.refuse("takes a lease, which a group of VRRP has not; remove the key"))
        }
        wished => Ok(wished.unwrap_or(!is_vrrp)),
    }
}

/// The groups so far, and where each name and address was given.
struct Reader<'n> {
    node: &'n Node,
    groups: Vec<Group>,
    names: HashMap<String, Place>,
    vips: HashMap<IpAddr, Given>,
    /// The interfaces that VIPs lie on.
    devs: HashSet<String>,
    /// Those of an interface (none: the node's), by family (IPv6?) and number.
    routers: HashMap<(Option<String>, bool, u8), Place>,
}

struct Given {
    vip: Vip,
    group: String,
    place: Place,
}

impl<'n> Reader<'n> {
    fn of(node: &'n Node) -> Self {
        let devs = HashSet::from([node.iface.clone()]);
        Self {
            node,
            groups: Vec::new(),
            names: HashMap::new(),
            vips: HashMap::new(),
            devs,
            routers: HashMap::new(),
        }
    }

    fn read_group(&mut self, section: &Section<'_>) -> Result<(), Failure> {
        let name = self.read_name(&section.field("name"))?;
        self.check_room(section.field("name").place())?;
        let priority = section.field("priority").integer(0..=255)?.unwrap_or(self.node.priority);
        let protocol = Protocol::read(section)?;
        let vips = self.read_vips(&section.field("vips"), &name, priority, &protocol)?;
        protocol.check(section, &vips, priority)?;
        if let Some(router) = protocol.router() {
            self.claim_vrid(&section.field("vrid"), router, &vips)?;
        }
        let is_vrrp = protocol.runs().is_some();
        if is_vrrp && self.node.xdp == XdpMode::Off {
            return Err(section.field("protocol").refuse(TAKES_XDP));
        }
        let preempt_delay = if is_vrrp { Duration::ZERO } else { DEFAULT_PREEMPT_DELAY };
        self.groups.push(Group {
            name,
            vips,
            priority,
            // The default of Preempt_Mode (RFC 9568, section 6.1).
            preempt: section.field("preempt").boolean()?.unwrap_or(is_vrrp),
            preempt_delay: section.field("preempt_delay").duration()?.unwrap_or(preempt_delay),
            stale_forwarding: read_stale_forwarding(&section.field("stale_forwarding"), is_vrrp)?,
            presence: Presence::read(&section.field("presence"))?,
            virtual_mac: self.read_virtual_mac(&section.field("virtual_mac"), is_vrrp)?,
            // RFC 9568, section 6.4.3: neighbours are told of a router.
            router: section.field("router").boolean()?.unwrap_or(is_vrrp),
            protocol,
            notify: Notify::read(section)?,
        });
        Ok(())
    }

    fn read_name(&mut self, field: &Field<'_>) -> Result<String, Failure> {
        let name = field.string()?.ok_or_else(|| field.refuse("missing; give the group a name"))?;
        let name = check_name(name).map_err(|why| field.refuse(why))?;
        match self.names.insert(name.clone(), field.place().clone()) {
            None => Ok(name),
            Some(first) => Err(field.refuse(format!(
                "{name:?} is the name of another group already ({}); rename one of the two",
                first.position()
            ))),
        }
    }

    fn read_virtual_mac(&self, field: &Field<'_>, default: bool) -> Result<bool, Failure> {
        match field.boolean()? {
            Some(true) if self.node.xdp == XdpMode::Off => Err(field.refuse(TAKES_XDP)),
            wished => Ok(wished.unwrap_or(default)),
        }
    }

    /// A virtual router is one of a kind on its interface, for each family.
    fn claim_vrid(&mut self, field: &Field<'_>, router: &VirtualRouter, vips: &[Vip]) -> Result<(), Failure> {
        let Some(vip) = vips.first() else { return Ok(()) };
        let key = (vip.dev.clone(), vip.address.is_ipv6(), router.vrid.get());
        match self.routers.insert(key, field.place().clone()) {
            None => Ok(()),
            Some(first) => Err(field.refuse(format!(
                "{} is the number of another virtual router on this interface already ({})",
                router.vrid,
                first.position()
            ))),
        }
    }

    /// Who never holds the group need not know what is in it.
    fn read_vips(
        &mut self,
        field: &Field<'_>,
        group: &str,
        priority: u8,
        protocol: &Protocol,
    ) -> Result<Vec<Vip>, Failure> {
        let entries = field.strings()?.unwrap_or_default();
        if entries.is_empty() && priority > 0 {
            return Err(field.refuse(
                "a group needs a VIP, as in vips = [\"10.77.0.100/24\"]; only where its priority is 0, so that this node \
                 votes and never holds it, it may have none",
            ));
        }
        let mut vips = Vec::with_capacity(entries.len().min(MAX_VIPS));
        for (place, text) in entries {
            let parsed = if protocol.runs().is_some() { Vip::parse(text) } else { text.parse() };
            let vip = parsed.map_err(|why: VipError| place.refuse(format!("{text:?} {why}")))?;
            vips.push(self.claim(vip, group, place)?);
        }
        Ok(vips)
    }

    /// A VIP that a group of the file has already needs no group; the others are in [`FLAG_GROUP`].
    fn add_flags(&mut self, vips: &[Vip]) -> Result<(), Failure> {
        let place = Place::Flag("--vip");
        for vip in vips {
            let vip = self.placed(vip.clone());
            if self.vips.get(&vip.address).is_some_and(|given| given.vip == vip) {
                continue;
            }
            let vip = self.claim(vip, FLAG_GROUP, place.clone())?;
            match self.groups.iter_mut().find(|group| group.name == FLAG_GROUP) {
                Some(group) => group.vips.push(vip),
                None => {
                    self.check_room(&place)?;
                    self.groups.push(Group {
                        name: FLAG_GROUP.to_owned(),
                        vips: vec![vip],
                        priority: self.node.priority,
                        preempt: false,
                        preempt_delay: DEFAULT_PREEMPT_DELAY,
                        stale_forwarding: true,
                        presence: Presence::default(),
                        virtual_mac: false,
                        router: false,
                        protocol: Protocol::Lease { heeds: None },
                        notify: Notify::default(),
                    });
                }
            }
        }
        Ok(())
    }

    fn check_room(&self, place: &Place) -> Result<(), Failure> {
        if self.groups.len() < MAX_GROUPS {
            return Ok(());
        }
        Err(place.refuse(format!("one group more than the {MAX_GROUPS} that are possible; join some")))
    }

    /// The VIP, without its interface where that is the node's.
    fn placed(&self, vip: Vip) -> Vip {
        Vip { dev: vip.dev.filter(|dev| *dev != self.node.iface), ..vip }
    }

    /// Notes that `group` has this VIP, and gives it as it is to be kept; refuses an address that has an owner already.
    fn claim(&mut self, vip: Vip, group: &str, place: Place) -> Result<Vip, Failure> {
        let vip = self.placed(vip);
        if vip.dev.is_some() && self.node.xdp == XdpMode::Off {
            return Err(place.refuse(format!("{vip} {TAKES_XDP}")));
        }
        if let Some(first) = self.vips.get(&vip.address) {
            return Err(place.refuse(format!(
                "{vip} overlaps {} of group {:?} ({}); remove one of the two",
                first.vip,
                first.group,
                first.place.position()
            )));
        }
        if self.vips.len() == MAX_VIPS {
            return Err(place.refuse(format!("one VIP more than the {MAX_VIPS} that are possible")));
        }
        self.devs.extend(vip.dev.clone());
        if self.devs.len() > MAX_INTERFACES {
            return Err(
                place.refuse(format!("one interface more than the {MAX_INTERFACES} that are possible"))
            );
        }
        self.vips.insert(vip.address, Given { vip: vip.clone(), group: group.to_owned(), place });
        Ok(vip)
    }
}
