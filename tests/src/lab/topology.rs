//! The wires of a lab: namespaces, the bridge that is its switch, veth cables, addresses.
//!
//! Nothing here knows of daemons, VIPs or leases.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{BACKEND, BPFFS, CLIENT, CLIENT6, Lab, xdp};
use crate::{
    machine,
    net::{command_in, in_netns, ip, run},
    oracle,
};

const CLIENT_PORT: &str = "client";
const BACKEND_PORT: &str = "backend";
const BACK_CLIENT_PORT: &str = "back-client";
const BACK_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 200);
const BACK_CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 0x200);

/// Makes the BPF file system available where it belongs, as systemd does at boot; gives whether it was missing.
pub fn mount_bpffs() -> Result<bool> {
    let mounted = statfs(BPFFS).is_ok_and(|mounted| mounted.filesystem_type() == BPF_FS_MAGIC);
    if !mounted {
        run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))?;
    }
    Ok(!mounted)
}

/// Makes the namespaces and connects them; the attachments have to live as long as the lab.
pub(super) fn build(lab: &Lab) -> Result<Vec<OwnedFd>> {
    let switch = lab.switch_netns();
    for name in lab.namespaces() {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        in_netns(&name, disable_ipv6)?;
        ip(&name, &["link", "set", "dev", "lo", "up"])?;
    }
    add_bridge(&switch, Side::Front)?;
    in_netns(&switch, look_into_no_packets)?;

    let cards = machine::cards();
    if !cards.is_empty() {
        return give_cards(lab, &cards).map(|()| Vec::new());
    }
    lay_cable(&switch, Side::Front, CLIENT_PORT, &lab.client_netns(), CLIENT)?;
    prepare_client(lab)?;
    let mut attachments = Vec::new();
    for node in lab.nodes() {
        attachments.push(connect(lab, Side::Front, node)?);
    }
    Ok(attachments)
}

/// Makes a second segment that connects all.
pub(super) fn add_back(lab: &Lab) -> Result<Vec<OwnedFd>> {
    let switch = lab.switch_netns();
    add_bridge(&switch, Side::Back)?;
    lay_cable(&switch, Side::Back, BACK_CLIENT_PORT, &lab.client_netns(), BACK_CLIENT)?;
    lab.nodes().map(|node| connect(lab, Side::Back, node)).collect()
}

/// Makes the server's namespace and connects it.
pub(super) fn add_backend(lab: &Lab) -> Result<String> {
    let netns = lab.backend_netns();
    run(Command::new("ip").args(["netns", "add", &netns]))?;
    in_netns(&netns, disable_ipv6)?;
    ip(&netns, &["link", "set", "dev", "lo", "up"])?;
    lay_cable(&lab.switch_netns(), Side::Front, BACKEND_PORT, &netns, BACKEND)?;
    Ok(netns)
}

/// Connects a node to the switch; the attachment has to live as long as the cable.
pub(super) fn connect(lab: &Lab, side: Side, node: u8) -> Result<OwnedFd> {
    let (switch, netns, port) = (lab.switch_netns(), lab.node_netns(node), side.port(node));
    lay_cable(&switch, side, &port, &netns, side.node_address(node))?;
    if side == Side::Front {
        lead_to_oracle(&netns)?;
    }
    xdp::accept_xdp_tx(&switch, &port)
}

/// A segment of the lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The one that every lab has.
    Front,
    /// The one of [`Lab::add_back`].
    Back,
}

impl Side {
    /// The switch's port for node `node`.
    pub(super) fn port(self, node: u8) -> String {
        match self {
            Self::Front => format!("p{node}"),
            Self::Back => format!("q{node}"),
        }
    }

    pub(super) const fn node_address(self, node: u8) -> Ipv4Addr {
        match self {
            Self::Front => Ipv4Addr::new(10, 77, 0, node),
            Self::Back => Ipv4Addr::new(10, 88, 0, node),
        }
    }

    pub(super) fn node_address6(self, node: u8) -> Ipv6Addr {
        let network = self.client6().segments()[0];
        Ipv6Addr::new(network, 0, 0, 0, 0, 0, 0, node.into())
    }

    const fn client6(self) -> Ipv6Addr {
        match self {
            Self::Front => CLIENT6,
            Self::Back => BACK_CLIENT6,
        }
    }

    const fn bridge(self) -> &'static str {
        match self {
            Self::Front => "br0",
            Self::Back => "br1",
        }
    }

    const fn interface(self) -> &'static str {
        match self {
            Self::Front => "eth0",
            Self::Back => "eth1",
        }
    }
}

/// A bridge that floods multicast as a switch without snooping does, and forwards as soon as a port is up.
fn add_bridge(switch: &str, side: Side) -> Result<()> {
    let quick = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
    ip(switch, &[&["link", "add", side.bridge(), "type", "bridge"], &quick[..]].concat())?;
    ip(switch, &["link", "set", "dev", side.bridge(), "up"])
}

/// The MAC tells which node it is, for whoever reads a packet trace: 02:77 and the address.
pub(super) const fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x77, a, b, c, d]
}

/// A MAC address as programs take it.
pub(super) fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn lay_cable(switch: &str, side: Side, port: &str, netns: &str, address: Ipv4Addr) -> Result<()> {
    let (mac, interface) = (written(mac(address)), side.interface());
    let peer = ["peer", "name", interface, "address", &mac, "netns", netns];
    ip(switch, &[&["link", "add", port, "type", "veth"], &peer[..]].concat())?;
    ip(switch, &["link", "set", "dev", port, "master", side.bridge(), "up"])?;
    bring_up(netns, interface, address)
}

/// Gives client and nodes the machine's own network cards, which have a switch between them already. The cards come back
/// when their namespaces end.
fn give_cards(lab: &Lab, cards: &[String]) -> Result<()> {
    let nodes = lab.nodes().map(|node| (lab.node_netns(node), Side::Front.node_address(node)));
    let places: Vec<_> = [(lab.client_netns(), CLIENT)].into_iter().chain(nodes).collect();
    ensure!(places.len() <= cards.len(), "{} cards for {} namespaces: {cards:?}", cards.len(), places.len());
    for ((netns, address), card) in places.iter().zip(cards) {
        let mac = written(mac(*address));
        run(Command::new("ip").args(["link", "set", "dev", card, "down", "netns", netns]))?;
        ip(netns, &["link", "set", "dev", card, "name", "eth0", "address", &mac])?;
        bring_up(netns, "eth0", *address)?;
    }
    lab.nodes().try_for_each(|node| lead_to_oracle(&lab.node_netns(node)))?;
    prepare_client(lab)
}

fn bring_up(netns: &str, interface: &str, address: Ipv4Addr) -> Result<()> {
    ip(netns, &["address", "add", &format!("{address}/24"), "dev", interface])?;
    ip(netns, &["link", "set", "dev", interface, "up"])
}

/// Where answers to the oracle go: see there.
fn lead_to_oracle(netns: &str) -> Result<()> {
    ip(netns, &["route", "add", oracle::SENDERS, "dev", "eth0"])
}

/// Switches IPv6 on again (see [`disable_ipv6`]) and gives all addresses on this segment.
pub(super) fn add_ipv6(lab: &Lab, side: Side) -> Result<()> {
    let nodes = lab.nodes().map(|node| (lab.node_netns(node), side.node_address6(node)));
    for (netns, address) in [(lab.client_netns(), side.client6())].into_iter().chain(nodes) {
        in_netns(&netns, || switch_ipv6("0"))?;
        ip(&netns, &["address", "add", &format!("{address}/64"), "dev", side.interface(), "nodad"])?;
    }
    Ok(())
}

/// Bridges of kernels with br_netfilter drop IP packets that are not as they should be; switches do not.
fn look_into_no_packets() -> Result<()> {
    for protocol in ["iptables", "ip6tables", "arptables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{protocol}");
        if Path::new(&path).exists() {
            fs::write(&path, "0").with_context(|| format!("cannot write {path}"))?;
        }
    }
    Ok(())
}

fn prepare_client(lab: &Lab) -> Result<()> {
    in_netns(&lab.client_netns(), keep_no_packets)?;
    fill_in_checksums(lab)
}

/// What the client sends to an address that nobody answers for is lost, and not kept until somebody does: an answer
/// then would hide the outage. (One packet is kept in any case.)
fn keep_no_packets() -> Result<()> {
    let path = "/proc/sys/net/ipv4/neigh/eth0/unres_qlen_bytes";
    fs::write(path, "0").with_context(|| format!("cannot write {path}"))
}

/// Has the client's checksums filled in before its packets leave, as a card does. Between two veth they never are, and a
/// packet that a node sends on by XDP_TX would arrive with a wrong one.
fn fill_in_checksums(lab: &Lab) -> Result<()> {
    let mut ethtool = command_in(&lab.client_netns(), "ethtool")?;
    run(ethtool.args(["-K", "eth0", "tx", "off"])).context("ethtool; `cargo xtask setup` installs it")
}

/// Keeps router solicitations and duplicate detection out of the traces. A kernel without IPv6 has none of this.
fn disable_ipv6() -> Result<()> {
    switch_ipv6("1")
}

fn switch_ipv6(disabled: &str) -> Result<()> {
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        if Path::new(&path).exists() {
            fs::write(&path, disabled).with_context(|| format!("cannot write {path}"))?;
        }
    }
    Ok(())
}
