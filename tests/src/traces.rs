//! What a daemon may leave on a node: its interfaces, addresses, XDP programs, sysctls, pins and sockets, as one value
//! that a test takes before and after.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{lab::Lab, net::in_netns};

/// The sysctls of every interface that a daemon has a say in.
const SYSCTLS: [&str; 2] = ["arp_ignore", "arp_announce"];

/// A node's state outside the daemon's process. The state directory is not in it: that is made to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// By interface.
    pub links: BTreeMap<String, Link>,
    /// By path below `net.ipv4.conf`.
    pub sysctls: BTreeMap<String, String>,
    /// Files and directories below `[paths] bpffs`, that one included.
    pub pins: Vec<PathBuf>,
    /// Files below `[paths] runtime`.
    pub runtime: Vec<PathBuf>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it has an XDP program.
    pub xdp: bool,
    /// Its addresses, with their prefix length, in order.
    pub addresses: Vec<String>,
}

impl Traces {
    /// Takes them now.
    pub fn of(lab: &Lab, node: u8) -> Result<Self> {
        let mut pins = Vec::new();
        let all_pins = lab.pins(node);
        if all_pins.exists() {
            pins.push(all_pins.clone());
            list(&all_pins, true, &mut pins)?;
        }
        let mut runtime = Vec::new();
        list(&lab.runtime(node), false, &mut runtime)?;
        Ok(Self {
            links: links(lab, node)?,
            sysctls: in_netns(&lab.node_netns(node), sysctls)?,
            pins,
            runtime,
        })
    }
}

fn links(lab: &Lab, node: u8) -> Result<BTreeMap<String, Link>> {
    let output = lab.command(node, "ip")?.args(["-json", "-details", "address"]).output()?;
    if !output.status.success() {
        bail!("ip address: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let links: Vec<Value> = serde_json::from_slice(&output.stdout).context("ip -json address")?;
    let link = |link: &Value| {
        let name = link["ifname"].as_str().context("an interface without a name")?;
        let address =
            |address: &Value| Some(format!("{}/{}", address["local"].as_str()?, address["prefixlen"]));
        let addresses = link["addr_info"].as_array().into_iter().flatten();
        let mut addresses: Vec<String> = addresses.filter_map(address).collect();
        addresses.sort();
        Ok((name.to_owned(), Link { xdp: !link["xdp"].is_null(), addresses }))
    };
    links.iter().map(link).collect()
}

fn sysctls() -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for scope in fs::read_dir("/proc/sys/net/ipv4/conf")? {
        let scope = scope?;
        for name in SYSCTLS {
            // An interface may go away meanwhile.
            let value = fs::read_to_string(scope.path().join(name)).unwrap_or_default();
            values.insert(format!("{}/{name}", scope.file_name().display()), value.trim().to_owned());
        }
    }
    Ok(values)
}

/// Adds what is below `directory`, in order; nothing if that does not exist.
fn list(directory: &Path, with_directories: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        let is_directory = path.is_dir();
        if with_directories || !is_directory {
            found.push(path.clone());
        }
        if is_directory {
            list(&path, with_directories, found)?;
        }
    }
    Ok(())
}
