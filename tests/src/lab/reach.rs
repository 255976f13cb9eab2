//! Segments that carry no multicast, a node on a segment of its own, behind a router, and a cable that has no room for what the
//! client sends.

use std::{fs, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result};

use super::{CLIENT, Lab, MESSAGE_PORT, topology::Side};
use crate::net::{in_netns, ip, run};

/// The router's ends, on the nodes' segment and on the other one.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const ROUTER_BEHIND: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 254);
/// A cable of the switch whose other end nobody reads: kernels for virtual machines often lack the action that drops.
const NOWHERE: &str = "nowhere";
/// The other segment.
const BEHIND: &str = "10.99.0.0/24";

/// Has the switch drop what a node sends to the messages' port of any group, and what others send there to the node.
pub(super) fn block_groups(lab: &Lab, node: u8) -> Result<()> {
    let (switch, port) = (lab.switch_netns(), lab.port(node));
    // It is there if this is not the first node.
    if ip(&switch, &["link", "show", "dev", NOWHERE]).is_err() {
        ip(&switch, &["link", "add", NOWHERE, "up", "type", "veth", "peer", "name", "nowhere-else"])?;
        ip(&switch, &["link", "set", "dev", "nowhere-else", "up"])?;
    }
    tc(&switch, &format!("qdisc add dev {port} clsact"))?;
    for direction in ["ingress", "egress"] {
        for (protocol, groups, prio) in [("ip", "ip dst 224.0.0.0/4", 1), ("ipv6", "ip6 dst ff00::/8", 2)] {
            let family = groups.split(' ').next().unwrap_or_default();
            tc(
                &switch,
                &format!(
                    "filter add dev {port} {direction} protocol {protocol} prio {prio} u32 match {groups} match {family} \
                     dport {MESSAGE_PORT} 0xffff action mirred egress redirect dev {NOWHERE}"
                ),
            )?;
        }
    }
    Ok(())
}

/// The switch's port carries everything again.
pub(super) fn unblock_groups(lab: &Lab, node: u8) -> Result<()> {
    tc(&lab.switch_netns(), &format!("qdisc delete dev {} clsact", lab.port(node)))
}

/// Has the switch's queue for a node full: of what has the client's address, it lets one packet or so through in a second.
pub(super) fn throttle(lab: &Lab, node: u8) -> Result<()> {
    let (switch, port) = (lab.switch_netns(), lab.port(node));
    for args in [
        format!("qdisc add dev {port} root handle 1: htb"),
        format!("class add dev {port} parent 1: classid 1:1 htb rate 1kbit burst 2000 cburst 2000"),
        format!("qdisc add dev {port} parent 1:1 pfifo limit 4"),
        format!("filter add dev {port} parent 1: protocol ip u32 match ip src {CLIENT} flowid 1:1"),
    ] {
        tc(&switch, &args)?;
    }
    Ok(())
}

/// The switch has room for everything again.
pub(super) fn unthrottle(lab: &Lab, node: u8) -> Result<()> {
    tc(&lab.switch_netns(), &format!("qdisc delete dev {} root", lab.port(node)))
}

/// The address of a node that is behind the router.
pub(super) const fn address_behind(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, node)
}

/// Takes a node's cable out of the switch and plugs it into a router, which is on the nodes' segment with its other end.
pub(super) fn move_behind_router(lab: &Lab, node: u8) -> Result<()> {
    let (switch, router, netns) = (lab.switch_netns(), lab.router_netns(), lab.node_netns(node));
    run(Command::new("ip").args(["netns", "add", &router]))?;
    in_netns(&router, || {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch routing on")
    })?;
    ip(&switch, &["link", "add", "router", "type", "veth", "peer", "name", "front", "netns", &router])?;
    ip(&switch, &["link", "set", "dev", "router", "master", "br0", "up"])?;
    let port = Side::Front.port(node);
    ip(&switch, &["link", "set", "dev", &port, "nomaster", "netns", &router, "name", "behind"])?;
    for (interface, address) in [("front", ROUTER), ("behind", ROUTER_BEHIND)] {
        ip(&router, &["address", "add", &format!("{address}/24"), "dev", interface])?;
        ip(&router, &["link", "set", "dev", interface, "up"])?;
    }
    ip(&netns, &["address", "flush", "dev", "eth0"])?;
    ip(&netns, &["address", "add", &format!("{}/24", address_behind(node)), "dev", "eth0"])?;
    ip(&netns, &["route", "add", "default", "via", &ROUTER_BEHIND.to_string()])?;
    for other in lab.nodes().filter(|other| *other != node) {
        ip(&lab.node_netns(other), &["route", "add", BEHIND, "via", &ROUTER.to_string()])?;
    }
    Ok(())
}

fn tc(netns: &str, args: &str) -> Result<()> {
    run(Command::new("tc").args(["-n", netns]).args(args.split_whitespace())).context("tc of iproute2")
}
