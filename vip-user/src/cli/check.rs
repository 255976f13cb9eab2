//! `vip-user check`: is the configuration valid, and what would run?

use super::{SettingsArgs, client::print};
use crate::{
    config::{Group, Keys, Settings, Transport, format_duration},
    exit::Failure,
};

/// Reads the configuration, its key file included, and prints what a daemon would do with it.
///
/// # Errors
/// What is wrong with the configuration.
pub fn check(args: &SettingsArgs) -> Result<(), Failure> {
    let settings = args.load()?;
    let file = args.file();
    let origin = if file.exists() { file.display().to_string() } else { "defaults and flags".to_owned() };
    print(&format!("{origin}: valid\n{}", summary(&settings)))
}

fn summary(settings: &Settings) -> String {
    let Settings { node, cluster, groups, paths } = settings;
    let id = node.id.map_or("id from the interface's address".to_owned(), |id| format!("id {id}"));
    let role = if node.priority == 0 { " (a witness)" } else { "" };
    let xdp = format!("{:?}", node.xdp).to_lowercase();
    let keys = match &cluster.keys {
        Keys::Signed(ring) => format!("signed ({} of at most 2 keys)", ring.iter().count()),
        Keys::Insecure => "INSECURE (messages are not authenticated)".to_owned(),
    };
    let transport = match &cluster.transport {
        Transport::Multicast(group) => format!("multicast {group}"),
        Transport::Unicast { peers, port } => format!("unicast to {} peers, port {port}", peers.len()),
    };
    let mut text = format!(
        "node     {} on {}, {id}, priority {}{role}, XDP {xdp}\n\
         cluster  {}, {} voters at first, {transport}, {keys}\n\
         timing   a renewal every {}, leases of {}\n",
        node.name,
        node.iface,
        node.priority,
        cluster.name,
        cluster.expect,
        format_duration(cluster.interval),
        format_duration(cluster.lease),
    );
    if groups.is_empty() {
        text += "groups   none: this node only votes\n";
    }
    for group in groups {
        text += &group_line(group);
    }
    text + &format!("socket   {}\n", paths.socket(&node.iface).display())
}

fn group_line(group: &Group) -> String {
    let vips = match group.vips.as_slice() {
        [vip] => vip.to_string(),
        [first, .., last] => format!("{} VIPs, {first} to {last}", group.vips.len()),
        [] => "no VIPs".to_owned(),
    };
    let preempt = match group.preempt {
        true => format!("preempts after {}", format_duration(group.preempt_delay)),
        false => "does not preempt".to_owned(),
    };
    format!("group    {}: {vips}, priority {}, {preempt}\n", group.name, group.priority)
}
