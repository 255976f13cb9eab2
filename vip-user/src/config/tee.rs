//! The sections `[[tee]]`: UDP ports of a group at which the standby nodes hear what the holder hears.

use std::{collections::HashMap, fmt};

use vip_common::maps::MAX_TEES;

use super::{
    cluster::Cluster,
    document::{Field, Place, Section},
    group::{Group, Presence},
    node::{Node, XdpMode},
};
use crate::exit::Failure;

pub(super) const KEYS: &[&str] = &["group", "port", "protocol"];

/// A UDP port of a group, whose datagrams the standby nodes get copies of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tee {
    /// The name of a group.
    pub group: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {} of {}", self.port, self.group)
    }
}

/// Reads the tees, in the order of the file.
pub(super) fn read(
    sections: &[Section<'_>],
    node: &Node,
    cluster: &Cluster,
    groups: &[Group],
) -> Result<Vec<Tee>, Failure> {
    if let Some(first_too_many) = sections.get(MAX_TEES) {
        let field = first_too_many.field("port");
        return Err(field.refuse(format!("there can be {MAX_TEES} tees at most")));
    }
    let mut places: HashMap<Tee, Place> = HashMap::new();
    let mut tees = Vec::with_capacity(sections.len());
    for section in sections {
        let (group, port) = (section.field("group"), section.field("port"));
        check_protocol(&section.field("protocol"))?;
        check_node(&group, node)?;
        let tee = Tee { group: read_group(&group, groups)?, port: read_port(&port, cluster)? };
        if let Some(first) = places.insert(tee.clone(), port.place().clone()) {
            return Err(port.refuse(format!("{tee} is teed already ({})", first.position())));
        }
        tees.push(tee);
    }
    Ok(tees)
}

fn check_protocol(field: &Field<'_>) -> Result<(), Failure> {
    match field.string()? {
        None | Some("udp") => Ok(()),
        Some(other) => Err(field.refuse(format!("{other:?} cannot be teed; only \"udp\" can"))),
    }
}

/// Without XDP, nothing lets copies in; without the egress fence, the standbys' answers would leave.
fn check_node(field: &Field<'_>, node: &Node) -> Result<(), Failure> {
    if node.xdp == XdpMode::Off {
        return Err(field.refuse("a tee takes XDP, and node.xdp is \"off\"; change one of the two"));
    }
    if !node.egress_fence {
        return Err(field.refuse(
            "a tee takes the egress fence, or clients get an answer from each standby, and node.egress_fence is false; \
             change one of the two",
        ));
    }
    Ok(())
}

/// A group whose VIPs are on the machine also while another node holds them, and where the nodes see each other.
fn read_group(field: &Field<'_>, groups: &[Group]) -> Result<String, Failure> {
    let name = field.string()?.ok_or_else(|| field.refuse("missing; name a group"))?;
    let Some(group) = groups.iter().find(|group| group.name == name) else {
        return Err(field.refuse(format!("{name:?} is no group of this file")));
    };
    if group.protocol.runs().is_some() {
        return Err(field.refuse(format!(
            "{name:?} is a group of VRRP: who holds it is not known well enough to let its copies in; a tee takes a lease"
        )));
    }
    if group.presence == Presence::Held {
        return Err(field.refuse(format!(
            "{name:?} has presence \"held\": a standby does not have its VIPs, and has no use for copies; set that to \
             \"always\""
        )));
    }
    if let Some(vip) = group.vips.iter().find(|vip| vip.dev.is_some()) {
        return Err(field.refuse(format!(
            "{name:?} has {vip}: copies go where the nodes talk to each other, and its VIPs have to lie there"
        )));
    }
    Ok(name.to_owned())
}

fn read_port(field: &Field<'_>, cluster: &Cluster) -> Result<u16, Failure> {
    let port: u16 = field.integer(1..=65_535)?.ok_or_else(|| field.refuse("missing; give a UDP port"))?;
    if port == cluster.transport.port() {
        return Err(field.refuse(format!("{port} is the port of the nodes' own messages")));
    }
    Ok(port)
}
