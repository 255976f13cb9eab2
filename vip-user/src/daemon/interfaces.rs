//! The interfaces that the node serves: the home one, where the nodes talk to each other, and the others that VIPs lie on.
//! Without one of them, the node can hold nothing.

use std::collections::BTreeMap;
use std::iter;
use std::net::IpAddr;

use nix::net::if_::if_nameindex;
use vip_common::maps;

use super::start::netlink_failure;
use crate::config::{Settings, Transport, Vip, XdpMode};
use crate::exit::Failure;
use crate::ipv6::mapped;
use crate::netlink::{Interface, Netlink};
use crate::status::{InterfaceState, InterfaceStatus};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Interfaces {
    pub(super) home: Interface,
    /// How the nodes talk to each other there.
    transport: Transport,
    /// The addresses that nodes join through.
    join: Vec<IpAddr>,
    /// By the names that the configuration has for them.
    others: BTreeMap<String, Interface>,
}

impl Interfaces {
    /// The home interface alone.
    ///
    /// # Errors
    /// There is none, or it cannot be served.
    pub(super) async fn at_home(netlink: &Netlink, settings: &Settings) -> Result<Self, Failure> {
        let home = find(netlink, &settings.node.iface, "set node.iface or --iface").await?;
        let (transport, join) = (settings.cluster.transport.clone(), settings.cluster.join.clone());
        Ok(Self { home, transport, join, others: BTreeMap::new() })
    }

    /// Finds the others, too.
    ///
    /// # Errors
    /// One is missing, cannot be served, or is there already under another name.
    pub(super) async fn find_others(
        &mut self,
        netlink: &Netlink,
        settings: &Settings,
    ) -> Result<(), Failure> {
        for name in settings.other_interfaces() {
            let hint = format!("correct the VIPs that have \"dev {name}\"");
            let found = find(netlink, name, &hint).await?;
            if let Some(known) = self.by_index(found.index) {
                return Err(Failure::configuration(format!(
                    "{name} is another name of the interface {}: call it by one name everywhere",
                    known.name
                )));
            }
            self.others.insert(name.to_owned(), found);
        }
        Ok(())
    }

    /// The nodes find each other in another way from now on.
    pub(super) fn set_ways(&mut self, transport: Transport, join: Vec<IpAddr>) {
        (self.transport, self.join) = (transport, join);
    }

    /// Looks at all of them anew.
    ///
    /// # Errors
    /// One is gone.
    pub(super) async fn refresh(&mut self, netlink: &Netlink) -> Result<(), Failure> {
        for interface in iter::once(&mut self.home).chain(self.others.values_mut()) {
            *interface = find(netlink, &interface.name, "it was there a moment ago").await?;
        }
        Ok(())
    }

    /// All of them, the home one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Interface> {
        iter::once(&self.home).chain(self.others.values())
    }

    /// The one that this VIP lies on.
    pub(super) fn of(&self, vip: &Vip) -> &Interface {
        vip.dev.as_ref().and_then(|dev| self.others.get(dev)).unwrap_or(&self.home)
    }

    /// The one of this index, if it is served.
    pub(super) fn by_index(&self, index: u32) -> Option<&Interface> {
        self.iter().find(|interface| interface.index == index)
    }

    /// Whether the nodes talk to each other on the one of this index.
    pub(super) const fn is_home(&self, index: u32) -> bool {
        self.home.index == index
    }

    /// Takes note of how one of them is now; gives how it was.
    pub(super) fn update(&mut self, now: &Interface) -> Option<Interface> {
        let mut all = iter::once(&mut self.home).chain(self.others.values_mut());
        let known = all.find(|interface| interface.index == now.index)?;
        Some(std::mem::replace(known, now.clone()))
    }

    /// Whether all of them have a carrier.
    pub(super) fn are_up(&self) -> bool {
        self.iter().all(|interface| interface.carrier)
    }

    /// What the data plane is told of one of them.
    pub(super) fn entry(&self, interface: &Interface) -> maps::Interface {
        if !self.is_home(interface.index) {
            return maps::Interface { mac: interface.mac, home: 0, address: [0; 16] };
        }
        let home = if self.transport.is_ipv6() { 6 } else { 4 };
        let address = self.own_address().map_or([0; 16], |address| mapped(address).octets());
        maps::Interface { mac: interface.mac, home, address }
    }

    /// The address that this node sends from and is answered at. If there is no other, one that the kernel is still
    /// looking for duplicates of.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        let usable = self.addresses().filter(|address| !self.home.tentative.contains(address));
        self.transport.own_address(&self.join, usable).or_else(|| self.best_address())
    }

    /// Whether a better one is going to be there in a moment.
    pub(super) fn awaits_address(&self) -> bool {
        self.home.carrier && self.best_address().is_some_and(|best| self.home.tentative.contains(&best))
    }

    /// The own address, if all could be used.
    fn best_address(&self) -> Option<IpAddr> {
        self.transport.own_address(&self.join, self.addresses())
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> + Clone {
        self.home.addresses.iter().map(|(address, _)| *address)
    }

    /// What `status` shows of them; `mode` is the home one's.
    pub(super) fn status(&self, mode: XdpMode) -> Vec<InterfaceStatus> {
        self.iter().map(|interface| status(interface, mode)).collect()
    }
}

/// How the program runs on an interface.
pub(super) const fn mode(interface: &Interface) -> XdpMode {
    if interface.generic_xdp { XdpMode::Generic } else { XdpMode::Native }
}

fn status(interface: &Interface, home: XdpMode) -> InterfaceStatus {
    let state = match interface {
        Interface { carrier: true, .. } => InterfaceState::Up,
        Interface { up: true, .. } => InterfaceState::NoCarrier,
        Interface { .. } => InterfaceState::Down,
    };
    let xdp = if home == XdpMode::Off { XdpMode::Off } else { mode(interface) };
    InterfaceStatus { name: interface.name.clone(), xdp, state }
}

async fn find(netlink: &Netlink, name: &str, hint: &str) -> Result<Interface, Failure> {
    let found = netlink.interface(name).await.map_err(netlink_failure)?;
    found.ok_or_else(|| {
        let present = if_nameindex().map_or_else(
            |_| String::new(),
            |names| names.iter().map(|name| name.name().to_string_lossy()).collect::<Vec<_>>().join(", "),
        );
        Failure::configuration(format!("no interface {name:?} (there are: {present}): {hint}"))
    })
}
