//! Interfaces on top of others: a node's eth0 is not the cable itself then, but a VLAN on it, a bond of it,
//! or a macvlan.

use std::fs;

use anyhow::{Result, ensure};

use super::{Lab, topology};
use crate::{
    machine,
    net::{command_in, in_netns, ip, run},
    oracle,
};

/// The cable's end, once something is on top of it.
const LOWER: &str = "lower";
const VLAN: &str = "10";

/// A kind of interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// eth0 is a VLAN, which the switch's port has as well.
    Vlan,
    /// eth0 is a bond of one cable.
    Bond,
    /// eth0 is a macvlan, as containers have them: the cable is in another namespace, the switch's.
    Macvlan,
    /// eth0 is a macvlan, and the cable's end is beside it.
    MacvlanBesideParent,
    /// eth0 is the cable, and has a macvlan on it.
    MacvlanParent,
}

pub(super) fn put(lab: &Lab, node: u8, kind: Stack) -> Result<Result<(), String>> {
    let netns = lab.node_netns(node);
    if let Some(reason) = missing(&netns, kind)? {
        ensure!(!machine::is_complete(), reason);
        return Ok(Err(reason));
    }
    if kind == Stack::MacvlanParent {
        ip(&netns, &["link", "add", "link", "eth0", "name", "child", "type", "macvlan", "mode", "bridge"])?;
        // Or the kernel answers by it for the addresses of eth0 as well.
        in_netns(&netns, || Ok(fs::write("/proc/sys/net/ipv4/conf/child/arp_ignore", "1")?))?;
        ip(&netns, &["link", "set", "dev", "child", "up"])?;
        return Ok(Ok(()));
    }
    let address = lab.address(node);
    let mac = topology::written(topology::mac(address));
    ip(&netns, &["link", "set", "dev", "eth0", "down"])?;
    ip(&netns, &["address", "flush", "dev", "eth0"])?;
    ip(&netns, &["link", "set", "dev", "eth0", "name", LOWER])?;
    match kind {
        Stack::Vlan => {
            let (switch, port) = (lab.switch_netns(), lab.port(node));
            let tagged = format!("{port}.{VLAN}");
            ip(&netns, &["link", "set", "dev", LOWER, "up"])?;
            ip(&netns, &["link", "add", "link", LOWER, "name", "eth0", "type", "vlan", "id", VLAN])?;
            ip(&switch, &["link", "add", "link", &port, "name", &tagged, "type", "vlan", "id", VLAN])?;
            ip(&switch, &["link", "set", "dev", &port, "nomaster"])?;
            ip(&switch, &["link", "set", "dev", &tagged, "master", "br0", "up"])?;
        }
        Stack::Bond => {
            ip(&netns, &["link", "add", "eth0", "type", "bond", "mode", "active-backup", "miimon", "10"])?;
            ip(&netns, &["link", "set", "dev", LOWER, "master", "eth0"])?;
        }
        Stack::Macvlan | Stack::MacvlanBesideParent => {
            let below = mac.replacen("02:77", "02:78", 1);
            ip(&netns, &["link", "set", "dev", LOWER, "address", &below, "up"])?;
            let on = ["link", "add", "link", LOWER, "name", "eth0", "address", &mac];
            ip(&netns, &[&on[..], &["type", "macvlan", "mode", "bridge"]].concat())?;
            if kind == Stack::Macvlan {
                let (host, there) = (lab.switch_netns(), format!("{LOWER}{node}"));
                ip(&netns, &["link", "set", "dev", LOWER, "netns", &host, "name", &there])?;
                ip(&host, &["link", "set", "dev", &there, "up"])?;
            }
        }
        Stack::MacvlanParent => {}
    }
    ip(&netns, &["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&netns, &["link", "set", "dev", "eth0", "up"])?;
    ip(&netns, &["route", "add", oracle::SENDERS, "dev", "eth0"])?;
    Ok(Ok(()))
}

/// Why the kernel cannot make such an interface, if it cannot.
fn missing(netns: &str, kind: Stack) -> Result<Option<String>> {
    let driver = match kind {
        Stack::Vlan => "vlan",
        Stack::Bond => "bond",
        Stack::Macvlan | Stack::MacvlanBesideParent | Stack::MacvlanParent => "macvlan",
    };
    let below: &[&str] = if kind == Stack::Bond { &[] } else { &["link", "eth0"] };
    let id: &[&str] = if kind == Stack::Vlan { &["id", VLAN] } else { &[] };
    let add = [&["link", "add"], below, &["name", "trial", "type", driver], id].concat();
    let output = command_in(netns, "ip")?.args(&add).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Some(format!("the kernel makes no {driver} interface: {}", said.trim())));
    }
    run(command_in(netns, "ip")?.args(["link", "delete", "dev", "trial"]))?;
    Ok(None)
}
