//! The section `[node]`: this machine.

use std::{collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroU16};

use clap::ValueEnum;
use nix::unistd::Gid;
use serde::{Deserialize, Serialize};

use super::{
    Overrides,
    document::{Place, Section},
    name::check_name,
};
use crate::{exit::Failure, membership::check_tags};

pub(super) const KEYS: &[&str] =
    &["name", "iface", "id", "priority", "xdp", "egress_fence", "tags", "control_group", "metrics"];

const DEFAULT_PRIORITY: u8 = 100;

/// This machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// What people call it; by default the host name, without its domain if it is too long. At most 32 bytes.
    pub name: String,
    /// The interface where it talks to the other nodes, and where the VIPs lie that name no other one.
    pub iface: String,
    /// Its number in ballots. `None`: the low 16 bits of the interface's first IPv4 address.
    pub id: Option<NonZeroU16>,
    /// Who goes first, higher before lower. 0 is a witness: it votes but never holds.
    pub priority: u8,
    /// How the XDP program is attached, if at all.
    pub xdp: XdpMode,
    /// Keep packets from a VIP from leaving while another node serves it.
    pub egress_fence: bool,
    /// Whose members may change things by the control socket, besides root and the daemon's own user.
    pub control_group: Option<ControlGroup>,
    /// What programs are told of the node, by name: see [`check_tags`] for their bounds.
    pub tags: BTreeMap<String, String>,
    /// Where metrics, health and the web page are served by HTTP, if they are. The port is not 0.
    pub metrics: Option<SocketAddr>,
}

/// A group of users of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroup {
    /// As it was configured: its name, or its number.
    pub name: String,
    /// Its number.
    pub gid: Gid,
}

/// How the XDP program is attached to the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver where it can, else generic; off where the kernel can have no XDP program.
    #[default]
    Auto,
    /// In the driver; an error where the driver cannot.
    Native,
    /// In the kernel's stack, with any driver; slower.
    Generic,
    /// Not at all: the daemon does what it can do alone, without a fence.
    Off,
}

impl XdpMode {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text cannot be the name of the interface to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// Longer than the kernel allows, or empty.
    #[error("is not 1 to 15 bytes long, as interface names are")]
    Length,
    /// The kernel accepts no such name.
    #[error("is no interface name: it is \".\" or \"..\", or has a space, a \"/\" or a \":\"")]
    Characters,
    /// The loopback interface.
    #[error("is the loopback interface, which no other machine can reach; name a network interface")]
    Loopback,
}

/// Accepts a name that the kernel would accept for an interface, `lo` excluded. Whether there is such an
/// interface is not asked.
///
/// # Errors
/// Says what is wrong with the name.
pub fn parse_interface_name(name: &str) -> Result<String, InterfaceNameError> {
    if name.is_empty() || name.len() > 15 {
        return Err(InterfaceNameError::Length);
    }
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    if name == "." || name == ".." || name.contains(forbidden) {
        return Err(InterfaceNameError::Characters);
    }
    if name == "lo" {
        return Err(InterfaceNameError::Loopback);
    }
    Ok(name.to_owned())
}

impl Node {
    pub(super) fn read(section: &Section<'_>, overrides: &Overrides) -> Result<Self, Failure> {
        Ok(Self {
            name: read_name(section)?,
            iface: read_iface(section, overrides.iface.as_deref())?,
            id: section.field("id").integer::<u16>(1..=65_535)?.and_then(NonZeroU16::new),
            priority: section.field("priority").integer(0..=255)?.unwrap_or(DEFAULT_PRIORITY),
            xdp: read_xdp(section, overrides.xdp)?,
            egress_fence: section.field("egress_fence").boolean()?.unwrap_or(true),
            control_group: read_control_group(section)?,
            tags: read_tags(section)?,
            metrics: read_metrics(section)?,
        })
    }
}

fn read_tags(section: &Section<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let field = section.field("tags");
    let tags = field.table_of_strings()?.unwrap_or_default();
    check_tags(&tags).map_err(|why| field.refuse(why))?;
    Ok(tags)
}

fn read_control_group(section: &Section<'_>) -> Result<Option<ControlGroup>, Failure> {
    let field = section.field("control_group");
    let Some(name) = field.string()? else { return Ok(None) };
    let known = nix::unistd::Group::from_name(name)
        .map_err(|error| field.refuse(format!("this machine's groups cannot be read: {error}")))?;
    let gid =
        known.map(|group| group.gid).or_else(|| name.parse().ok().map(Gid::from_raw)).ok_or_else(|| {
            field.refuse(format!(
                "{name:?} is no group of this machine; name one that is, or make it: groupadd --system {name}"
            ))
        })?;
    Ok(Some(ControlGroup { name: name.to_owned(), gid }))
}

fn read_metrics(section: &Section<'_>) -> Result<Option<SocketAddr>, Failure> {
    let field = section.field("metrics");
    let Some(text) = field.string()? else { return Ok(None) };
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() > 0);
    let expected = "\"127.0.0.1:9180\" or \"[::1]:9180\"";
    let refuse = || field.refuse(format!("{text:?} is no address and port, as in {expected}"));
    address.map(Some).ok_or_else(refuse)
}

fn read_name(section: &Section<'_>) -> Result<String, Failure> {
    let field = section.field("name");
    if let Some(name) = field.string()? {
        return check_name(name).map_err(|why| field.refuse(why));
    }
    let refuse = |why| field.refuse(format!("no usable host name to default to ({why}); set node.name"));
    let host = nix::unistd::gethostname().map_err(|error| refuse(error.to_string()))?;
    default_name(&host.to_string_lossy()).map_err(refuse)
}

/// The host name; of a full one that is too long, as clouds give them, the part before the domain.
fn default_name(host: &str) -> Result<String, String> {
    check_name(host).or_else(|why| match host.split_once('.') {
        Some((short, _)) => check_name(short),
        None => Err(why),
    })
}

fn read_iface(section: &Section<'_>, flag: Option<&str>) -> Result<String, Failure> {
    let field = section.field("iface");
    let check = |place: &Place, name: &str| {
        parse_interface_name(name).map_err(|why| place.refuse(format!("{name:?} {why}")))
    };
    let configured = field.string()?.map(|name| check(field.place(), name)).transpose()?;
    let given = flag.map(|name| check(&Place::Flag("--iface"), name)).transpose()?;
    given.or(configured).ok_or_else(|| field.refuse("missing; set it, or give --iface, as in --iface eth0"))
}

fn read_xdp(section: &Section<'_>, flag: Option<XdpMode>) -> Result<XdpMode, Failure> {
    let field = section.field("xdp");
    let parse = |text| {
        let mode = XdpMode::value_variants().iter().copied().find(|mode| mode.name() == text);
        let modes = "\"auto\", \"native\", \"generic\" or \"off\"";
        mode.ok_or_else(|| field.refuse(format!("{text:?} is no mode; use {modes}")))
    };
    let configured = field.string()?.map(parse).transpose()?;
    Ok(flag.or(configured).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_that_is_too_long_goes_without_its_domain() {
        assert_eq!(default_name("lb1.example.net").unwrap(), "lb1.example.net");
        assert_eq!(default_name("ip-10-77-0-1.eu-central-1.compute.internal").unwrap(), "ip-10-77-0-1");
        assert!(default_name(&"n".repeat(33)).unwrap_err().contains("has 33 bytes"));
    }
}
