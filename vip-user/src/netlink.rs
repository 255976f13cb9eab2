//! Links and addresses of this node, through rtnetlink: what the interface looks like, the dummy interface that
//! carries the VIPs, and notifications about both.
//!
//! This module and its child are the only ones that know rtnetlink. They decide nothing: when to look again after a
//! [`Change`], and what a VIP is worth, is the daemon's business. Sysctls are in [`crate::sysctl`], ARP in
//! [`crate::announce`].
//!
//! All functions work in the network namespace of the thread that called [`Netlink::open`].

mod address;
mod changes;
mod own_addresses;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::address::{host_prefix, is_link_local, is_tentative, local, share};
pub use self::changes::{Change, Changes, changes_in};
use crate::ipv6;

/// Longest name of an interface in bytes: `IFNAMSIZ` without the closing zero.
const MAX_NAME: usize = 15;

/// Requests on their way at one time. Enough to keep the kernel busy, few enough that their answers fit the
/// socket's receive buffer.
const PIPELINE: usize = 64;

/// Longest wait for an answer, which normally takes microseconds: rtnetlink gives no answer at all when it cannot
/// parse the kernel's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kinds of link that may carry the VIPs, best first. Kernels for virtual machines are often built without the dummy
/// driver; an ifb to which nothing is redirected is the same: it has a carrier, no ARP, and drops what is sent to it.
const KINDS: [InfoKind; 2] = [InfoKind::Dummy, InfoKind::Ifb];

/// What went wrong with a request to the kernel, and what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused for want of a privilege.
    #[error("{action}: not permitted: run as root, or give the process CAP_NET_ADMIN")]
    Permission {
        /// What was tried, on what.
        action: String,
    },
    /// The dummy's name is taken by a link of another kind, which is left untouched.
    #[error("{name} is a {kind} link, not the dummy interface for the VIPs: rename or delete it")]
    ForeignLink {
        /// Name of the link.
        name: String,
        /// Its kind as `ip -d link` shows it, or "physical".
        kind: String,
    },
    /// The interface has no 6-byte MAC address, so that there is no ARP on it.
    #[error("{name} is not an Ethernet interface: choose one that has a MAC address")]
    NotEthernet {
        /// Name of the interface.
        name: String,
    },
    /// The kernel can make no link that carries the VIPs.
    #[error("{action}: the kernel has no driver for it: load one with `modprobe dummy`")]
    NoDriver {
        /// What was tried.
        action: String,
    },
    /// The kernel refused for another reason.
    #[error("{action}: {source}")]
    Kernel {
        /// What was tried, on what.
        action: String,
        /// The kernel's error number.
        source: io::Error,
    },
    /// The exchange itself failed: the connection is closed, or its answer did not come or made no sense.
    #[error("{action}: {reason}")]
    Exchange {
        /// What was tried, on what.
        action: String,
        /// What happened instead.
        reason: String,
    },
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, NetlinkError>;

/// An Ethernet interface as the kernel described it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index, unique in the namespace; a link that is deleted and made again gets another one.
    pub index: u32,
    /// The kernel's name, also when it was asked for by an alternative name.
    pub name: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// Addresses and prefix lengths, in the kernel's order: those of IPv4 first, and of these the primary ones.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Those of them that the kernel is still looking for duplicates of, or has found one of (RFC 4862, section 5.4).
    /// Nothing can be sent from these.
    pub tentative: Vec<IpAddr>,
    /// Switched on by the operator (`IFF_UP`).
    pub up: bool,
    /// On, and the other side of the cable is there (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// One end of a virtual cable (veth(4)).
    pub veth: bool,
    /// Several interfaces that count as one (Documentation/networking/bonding.rst).
    pub bond: bool,
    /// Where it is a macvlan: the name of the link in this namespace that it is on. That hears the same
    /// segment.
    pub parent: Option<String>,
    /// Longest packet in bytes.
    pub mtu: u32,
    /// An XDP program runs on it, but not in its driver (`XDP_ATTACHED_SKB`).
    pub generic_xdp: bool,
    /// The kernel's id of the XDP program on it.
    pub xdp_program: Option<u32>,
}

impl Interface {
    /// The first IPv4 address, from which a node takes its identifier when none is configured.
    pub fn first_ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }
}

/// What [`Netlink::ensure_vips`] had to change; all empty when everything was as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The dummy was missing, and was made.
    pub created: bool,
    /// The dummy was down or had ARP enabled, and was put right.
    pub raised: bool,
    /// VIPs that were missing, in the order they were asked for.
    pub added: Vec<IpAddr>,
    /// Addresses that did not belong there, whatever their prefix length.
    pub removed: Vec<IpAddr>,
}

impl Repair {
    /// Whether nothing had to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Name of the dummy interface that carries the VIPs of `iface`: `vip-<iface>`, within the kernel's 15 bytes.
///
/// A long name is shortened to its first 4 bytes and 24 bits of a hash of the whole, the same on every start.
pub fn dummy_name(iface: &str) -> String {
    let plain = format!("vip-{iface}");
    if plain.len() <= MAX_NAME {
        return plain;
    }
    let mut head = String::new();
    for letter in iface.chars() {
        if head.len() + letter.len_utf8() > 4 {
            break;
        }
        head.push(letter);
    }
    format!("vip-{head}-{:06x}", fnv1a(iface.as_bytes()) & 0x00ff_ffff)
}

/// FNV-1a, 32 bits: the standard library's hasher may differ between releases, and the name must not.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A connection to the kernel for requests about links and addresses. Dropping it closes the connection.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    /// Whose turn it is to read all that there is of a kind, see [`Netlink::dump`].
    turn: Arc<Mutex<()>>,
}

impl Netlink {
    /// Opens the connection for requests, served by a task on the current tokio runtime, and a subscription to
    /// changes. The subscription comes first: what is read afterwards misses nothing.
    ///
    /// # Errors
    /// The sockets cannot be made. Needs no privilege.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn open() -> Result<(Netlink, Changes)> {
        let failed = |source| NetlinkError::Kernel { action: "opening a netlink socket".into(), source };
        let changes = Changes::subscribe().map_err(failed)?;
        // Strict checking makes the kernel filter dumps by interface.
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check().map_err(failed)?;
        tokio::spawn(connection);
        Ok((Netlink { handle, turn: Arc::default() }, changes))
    }

    /// Describes the interface of that name; `None` if there is none.
    ///
    /// # Errors
    /// [`NetlinkError::NotEthernet`], or the exchange with the kernel failed.
    pub async fn interface(&self, name: &str) -> Result<Option<Interface>> {
        let Some(link) = self.link(name).await? else { return Ok(None) };
        let mac = match link.header.link_layer_type {
            LinkLayerType::Ether => mac_address(&link),
            _ => None,
        };
        let Some(mac) = mac else { return Err(NetlinkError::NotEthernet { name: name.into() }) };
        let index = link.header.index;
        let messages = self.addresses(index).await?;
        let parent = match macvlan_parent(&link) {
            Some(parent) => Some(self.name_of(parent).await?),
            None => None,
        };
        Ok(Some(Interface {
            index,
            name: link_name(&link).to_owned(),
            mac,
            addresses: messages.iter().filter_map(|m| Some((local(m)?, m.header.prefix_len))).collect(),
            tentative: messages.iter().filter(|m| is_tentative(m)).filter_map(local).collect(),
            up: link.header.flags.contains(LinkFlags::Up),
            carrier: link.header.flags.contains(LinkFlags::LowerUp),
            veth: link_kind(&link) == Some(&InfoKind::Veth),
            bond: link_kind(&link) == Some(&InfoKind::Bond),
            parent,
            mtu: mtu(&link),
            generic_xdp: xdp(&link).any(|fact| *fact == LinkXdp::Attached(XdpAttached::SocketBuffer)),
            xdp_program: xdp(&link).find_map(|fact| match fact {
                LinkXdp::ProgId(id) => Some(*id),
                _ => None,
            }),
        }))
    }

    /// Whether the link of that name is switched on, and whether it has a carrier; `None` if there is none.
    ///
    /// # Errors
    /// The exchange with the kernel failed.
    pub async fn link_state(&self, name: &str) -> Result<Option<(bool, bool)>> {
        let link = self.link(name).await?;
        let has = |link: &LinkMessage, flag| link.header.flags.contains(flag);
        Ok(link.map(|link| (has(&link, LinkFlags::Up), has(&link, LinkFlags::LowerUp))))
    }

    /// Makes the dummy interface carry exactly `vips`, each as a /32 or /128 (which brings no prefix route), and says
    /// what had to be changed. The dummy is made if it is missing, and is up with `IFF_NOARP`. Calling it again
    /// changes nothing, so that it serves as start-up, repair and change of configuration alike.
    ///
    /// # Errors
    /// [`NetlinkError::ForeignLink`] when the name belongs to another kind of link; [`NetlinkError::Kernel`] when the
    /// dummy cannot have IPv6, and there are VIPs of it; else the first failure, after all other changes were tried.
    /// A dummy that vanishes meanwhile is such a failure; a [`Change`] follows it.
    pub async fn ensure_vips(&self, dummy: &str, vips: &[IpAddr]) -> Result<Repair> {
        let (link, created) = self.find_or_make(dummy).await?;
        let index = link.header.index;
        let is_ready = link.header.flags.contains(LinkFlags::Up | LinkFlags::Noarp);
        if vips.iter().any(IpAddr::is_ipv6) {
            let action = || format!("switching IPv6 on for {dummy}");
            ipv6::enable(dummy).map_err(|source| NetlinkError::Kernel { action: action(), source })?;
        }
        let mut missing: HashSet<IpAddr> = vips.iter().copied().collect();
        let mut strangers = Vec::new();
        for message in self.addresses(index).await? {
            let host = local(&message).filter(|address| message.header.prefix_len == host_prefix(address));
            if !host.is_some_and(|address| missing.remove(&address)) && !is_link_local(&message) {
                strangers.push(message);
            }
        }
        let repair = Repair {
            created,
            raised: !is_ready && !created,
            added: vips.iter().copied().filter(|vip| missing.remove(vip)).collect(),
            removed: strangers.iter().filter_map(local).collect(),
        };
        // Additions first: a VIP that is there with a wrong prefix length is never absent in between.
        let added = self.add_addresses(dummy, index, &repair.added).await;
        let removed = self.remove_addresses(dummy, strangers).await;
        // Last: for an address of a link that is up, the kernel looks through all its routes over that link
        // (`fib_sync_up`).
        let raised = if is_ready { Ok(()) } else { self.raise(dummy, index).await };
        added.and(removed).and(raised).map(|()| repair)
    }

    /// Deletes the dummy interface and the VIPs on it; does nothing if it is absent.
    ///
    /// # Errors
    /// [`NetlinkError::ForeignLink`], or the kernel refuses.
    pub async fn remove_dummy(&self, dummy: &str) -> Result<()> {
        let Some(link) = self.link(dummy).await? else { return Ok(()) };
        require_dummy(dummy, &link)?;
        let request = self.handle.link().del(link.header.index).execute();
        ask(request, libc::ENODEV, || format!("deleting {dummy}")).await?;
        Ok(())
    }

    /// VIPs that are configured on links other than `dummy`, with the name of the link: the kernel would answer ARP
    /// or NDP for them there, lease or not.
    ///
    /// # Errors
    /// The exchange with the kernel failed.
    pub async fn foreign_owners(&self, vips: &[IpAddr], dummy: &str) -> Result<Vec<(IpAddr, String)>> {
        let wanted: HashSet<IpAddr> = vips.iter().copied().collect();
        let own = self.link(dummy).await?.map(|link| link.header.index);
        let mut found: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
        for message in self.addresses(0).await? {
            let index = message.header.index;
            if let Some(vip) = local(&message).filter(|vip| wanted.contains(vip) && own != Some(index)) {
                found.entry(index).or_default().push(vip);
            }
        }
        let mut owners = Vec::new();
        for (index, vips) in found {
            let name = self.name_of(index).await?;
            owners.extend(vips.into_iter().map(|vip| (vip, name.clone())));
        }
        Ok(owners)
    }

    /// Forgets the neighbours of a link that the kernel has asked for in vain. What a node sends while its cable is
    /// out leaves such entries behind, and the kernel asks again only a second after its last try
    /// (`net.ipv4.neigh.*.retrans_time_ms`): until then, all that a new holder answers to that neighbour would wait.
    ///
    /// # Errors
    /// The exchange with the kernel failed, or it refuses.
    pub async fn forget_unresolved(&self, index: u32) -> Result<()> {
        let unresolved = [NeighbourState::Incomplete, NeighbourState::Failed];
        // Of no family in particular: of all.
        let request = || self.handle.neighbours().get().execute();
        let neighbours = self.dump(request, || format!("reading the neighbours of link {index}")).await?;
        let is_forgotten = |neighbour: &NeighbourMessage| {
            neighbour.header.ifindex == index && unresolved.contains(&neighbour.header.state)
        };
        let requests =
            stream::iter(neighbours).filter(|neighbour| ready(is_forgotten(neighbour))).map(|neighbour| {
                let request = self.handle.neighbours().del(neighbour).execute();
                ask(request, libc::ENOENT, move || format!("forgetting a neighbour of link {index}"))
            });
        all_done(requests).await
    }

    /// Has an interface take in what is for this MAC address too, as for its own (`bridge fdb add MAC dev IFACE self`); again
    /// is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn take_in(&self, iface: &str, index: u32, mac: [u8; 6]) -> Result<()> {
        let request = self.handle.neighbours().add_bridge(index, &mac);
        let request = request.flags(NeighbourFlags::Own).execute();
        ask(request, libc::EEXIST, || format!("having {iface} take in another MAC address")).await?;
        Ok(())
    }

    /// Undoes [`Self::take_in`]; does nothing if it is not so.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn take_in_no_more(&self, iface: &str, index: u32, mac: [u8; 6]) -> Result<()> {
        let mut entry = NeighbourMessage::default();
        entry.header.family = AddressFamily::Bridge;
        entry.header.ifindex = index;
        entry.header.flags = NeighbourFlags::Own;
        entry.header.state = NeighbourState::Permanent;
        entry.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let request = self.handle.neighbours().del(entry).execute();
        ask(request, libc::ENOENT, || format!("having {iface} take in its own MAC address alone")).await?;
        Ok(())
    }

    /// Finds the dummy, or makes it and leaves it down; and whether it was made.
    async fn find_or_make(&self, name: &str) -> Result<(LinkMessage, bool)> {
        if let Some(link) = self.link(name).await? {
            return require_dummy(name, &link).map(|()| (link, false));
        }
        self.create_dummy(name).await?;
        let link = self.link(name).await?.ok_or_else(|| NetlinkError::Kernel {
            action: format!("creating {name}"),
            source: io::Error::from_raw_os_error(libc::ENODEV),
        })?;
        require_dummy(name, &link).map(|()| (link, true))
    }

    /// Sets the dummy up, without ARP. If it is gone by now, that is no error here: a [`Change`] says so.
    async fn raise(&self, name: &str, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).up().arp(false).build();
        let request = self.handle.link().set(message).execute();
        ask(request, libc::ENODEV, || format!("setting {name} up")).await.map(drop)
    }

    /// Makes the link, of the first of [`KINDS`] that the kernel knows.
    async fn create_dummy(&self, name: &str) -> Result<()> {
        let action = || format!("creating the dummy interface {name}");
        for kind in KINDS {
            let builder = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind);
            let message = builder.name(name).build();
            if ask(self.handle.link().add(message).execute(), libc::EOPNOTSUPP, action).await?.is_some() {
                return Ok(());
            }
        }
        Err(NetlinkError::NoDriver { action: action() })
    }

    async fn add_addresses(&self, dummy: &str, index: u32, vips: &[IpAddr]) -> Result<()> {
        let requests = stream::iter(vips.iter().copied()).map(|vip: IpAddr| {
            let mut request = self.handle.address().add(index, vip, host_prefix(&vip));
            if vip.is_ipv6() {
                share(request.message_mut());
            }
            ask(request.execute(), libc::EEXIST, move || format!("adding {vip} to {dummy}"))
        });
        all_done(requests).await
    }

    async fn remove_addresses(&self, dummy: &str, messages: Vec<AddressMessage>) -> Result<()> {
        let requests = stream::iter(messages).map(|message| {
            let address = local(&message).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let request = self.handle.address().del(message).execute();
            ask(request, libc::EADDRNOTAVAIL, move || format!("removing {address} from {dummy}"))
        });
        all_done(requests).await
    }

    /// The link of that name, if there is one.
    async fn link(&self, name: &str) -> Result<Option<LinkMessage>> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let mut answer = pin!(self.handle.link().get().match_name(name).execute());
        let link = ask(answer.try_next(), libc::ENODEV, || format!("reading the link {name}")).await?;
        Ok(link.flatten())
    }

    /// The name of the link of that index, or the index itself if the link is gone by now.
    async fn name_of(&self, index: u32) -> Result<String> {
        let mut answer = pin!(self.handle.link().get().match_index(index).execute());
        let link = ask(answer.try_next(), libc::ENODEV, || format!("reading link {index}")).await?;
        Ok(link.flatten().map_or_else(|| format!("link {index}"), |link| link_name(&link).to_owned()))
    }

    /// One dump of the IP addresses of a link, none if it is gone; of all links for index 0.
    async fn addresses(&self, index: u32) -> Result<Vec<AddressMessage>> {
        let mut request = self.handle.address().get();
        // Of all families: a kernel without IPv6 takes a question for that alone for this one.
        request.message_mut().header.family = AddressFamily::Unspec;
        request.message_mut().header.index = index;
        self.dump(|| request.execute(), || format!("reading the addresses of link {index}")).await
    }

    /// Reads all that there is of a kind; nothing if it is of a link that is gone. One at a time: the kernel refuses one for a
    /// socket that has another one under way (EBUSY, `__netlink_dump_start`).
    async fn dump<T, S>(&self, request: impl FnOnce() -> S, action: impl FnOnce() -> String) -> Result<Vec<T>>
    where
        S: Stream<Item = std::result::Result<T, rtnetlink::Error>>,
    {
        let _turn = self.turn.lock().await;
        let all = ask(request().try_collect(), libc::ENODEV, action).await?;
        Ok(all.unwrap_or_default())
    }
}

/// Waits for the answer to a request; `None` if the kernel refuses it with the error number `expected`.
async fn ask<T>(
    request: impl Future<Output = std::result::Result<T, rtnetlink::Error>>,
    expected: i32,
    action: impl FnOnce() -> String,
) -> Result<Option<T>> {
    match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(rtnetlink::Error::NetlinkError(message))) => match message.to_io() {
            error if error.raw_os_error() == Some(expected) => Ok(None),
            error if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(NetlinkError::Permission { action: action() })
            }
            source => Err(NetlinkError::Kernel { action: action(), source }),
        },
        Ok(Err(other)) => Err(NetlinkError::Exchange { action: action(), reason: other.to_string() }),
        Err(late) => Err(NetlinkError::Exchange { action: action(), reason: late.to_string() }),
    }
}

/// Sends all requests, up to [`PIPELINE`] at a time, and gives the first failure, if any, when all are answered.
async fn all_done<F: Future<Output = Result<Option<()>>>>(requests: impl Stream<Item = F>) -> Result<()> {
    let results: Vec<Result<Option<()>>> = requests.buffer_unordered(PIPELINE).collect().await;
    results.into_iter().try_for_each(|result| result.map(drop))
}

fn link_name(link: &LinkMessage) -> &str {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    });
    name.unwrap_or_default()
}

/// What the kernel says of the XDP program on a link.
fn xdp(link: &LinkMessage) -> impl Iterator<Item = &LinkXdp> {
    let facts = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => Some(facts),
        _ => None,
    });
    facts.flatten()
}

/// 0 = not said.
fn mtu(link: &LinkMessage) -> u32 {
    let said = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    said.unwrap_or(0)
}

fn mac_address(link: &LinkMessage) -> Option<[u8; 6]> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    })
}

fn link_kind(link: &LinkMessage) -> Option<&InfoKind> {
    let info = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    });
    info?.iter().find_map(|item| match item {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

/// In another namespace, it is nobody's business here.
fn macvlan_parent(link: &LinkMessage) -> Option<u32> {
    let is_elsewhere =
        link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    if is_elsewhere || !matches!(link_kind(link), Some(InfoKind::MacVlan | InfoKind::MacVtap)) {
        return None;
    }
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })
}

fn require_dummy(name: &str, link: &LinkMessage) -> Result<()> {
    match link_kind(link) {
        Some(kind) if KINDS.contains(kind) => Ok(()),
        kind => {
            let kind = kind.map_or_else(|| "physical".to_owned(), ToString::to_string);
            Err(NetlinkError::ForeignLink { name: name.into(), kind })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_kept_as_they_are() {
        assert_eq!(dummy_name("eth0"), "vip-eth0");
        assert_eq!(dummy_name("enp3s0f1.42"), "vip-enp3s0f1.42");
    }

    #[test]
    fn long_names_stay_within_the_kernels_limit_and_differ() {
        let names = ["enp129s0f0np0", "enp129s0f0np1", "enp129s0f1np0", "größeres-netz"].map(dummy_name);
        assert!(names.iter().all(|name| name.len() <= MAX_NAME), "{names:?}");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert_eq!(dummy_name("enp129s0f0np0"), names[0]);
    }
}
