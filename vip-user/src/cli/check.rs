//! `vip-user check`: is the configuration valid, and what would run?

use std::net::IpAddr;

use super::{CheckArgs, client::print};
use crate::{
    config::{Group, Keys, Presence, Settings, Transport, VirtualRouter, XdpMode, format_duration},
    dataplane,
    exit::Failure,
    userplane::MISSING,
};

/// Reads the configuration, its key file included, and prints what a daemon would do with it.
///
/// # Errors
/// What is wrong with the configuration.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let settings = args.settings.load()?;
    if args.data_plane {
        return print(&format!("vip-user {} {}\n", env!("CARGO_PKG_VERSION"), dataplane::identity()));
    }
    let file = args.settings.file();
    let origin = if file.exists() { file.display().to_string() } else { "defaults and flags".to_owned() };
    print(&format!("{origin}: valid\n{}", summary(&settings)))
}

fn summary(settings: &Settings) -> String {
    let Settings { node, cluster, groups, tees, checks, handlers, paths } = settings;
    let id = node.id.map_or("id from the interface's address".to_owned(), |id| format!("id {id}"));
    let role = if node.priority == 0 { " (a witness)" } else { "" };
    let keys = match &cluster.keys {
        Keys::Signed(ring) => format!("signed ({} of at most 2 keys)", ring.iter().count()),
        Keys::Insecure => "INSECURE (messages are not authenticated)".to_owned(),
    };
    let listed =
        |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let mut transport = match &cluster.transport {
        Transport::Multicast(group) => format!("multicast {group}"),
        Transport::Unicast { peers, port } => format!("unicast to {} (port {port})", listed(peers)),
    };
    if !cluster.join.is_empty() {
        transport += &format!(", joining through {}", listed(&cluster.join));
    }
    let others: String = settings.other_interfaces().iter().map(|name| format!(" and {name}")).collect();
    let mut text = format!(
        "node     {} on {}{others}, {id}, priority {}{role}, XDP {}\n\
         cluster  {}, {} voters at first, {transport}, {keys}\n\
         timing   a renewal every {}, leases of {}\n",
        node.name,
        node.iface,
        node.priority,
        node.xdp,
        cluster.name,
        cluster.expect,
        format_duration(cluster.interval),
        format_duration(cluster.lease),
    );
    if let Some(gateway) = cluster.pair {
        text += &format!(
            "pair     one of two voters serves without the other while {gateway} answers: weaker than a majority\n"
        );
    }
    if node.xdp == XdpMode::Off {
        text += &format!(
            "fence    NONE: a daemon that is stopped or killed leaves its VIPs on, and two nodes may serve; \
             {MISSING}\n"
        );
    }
    if !node.tags.is_empty() {
        let tags: Vec<_> = node.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text += &format!("tags     {}\n", tags.join(", "));
    }
    if let Some(address) = node.metrics {
        let warning = if address.ip().is_loopback() { "" } else { ": OPEN to whoever reaches that address" };
        text += &format!("metrics  http://{address}/{warning}\n");
    }
    if let Some(reap) = cluster.reap {
        text += &format!(
            "reap     who is gone for {} is no voter any more, and forgotten\n",
            format_duration(reap)
        );
    }
    if groups.is_empty() {
        text += "groups   none: this node only votes\n";
    }
    for group in groups {
        text += &group_line(group);
        text += &router_lines(group);
        if !group.notify.is_empty() {
            text += &format!("notify   of {}: {}\n", group.name, group.notify);
        }
    }
    for tee in tees {
        text += &format!("tee      {tee}, to all standby nodes\n");
    }
    for check in checks {
        text += &format!("check    {check}\n");
    }
    for handler in handlers {
        text += &format!("handler  {handler}\n");
    }
    if let Some(path) = &paths.live_nodes {
        text += &format!("live     {} has the list of live nodes\n", path.display());
    }
    let also = node
        .control_group
        .as_ref()
        .map_or(String::new(), |group| format!(", members of the group {}", group.name));
    text + &format!(
        "socket   {}: all may look; root{also} and the daemon's user may change things\n",
        paths.socket(&node.iface).display()
    )
}

/// What is spoken beside the lease, or in its place, and what that means.
fn router_lines(group: &Group) -> String {
    let Some(router) = group.protocol.router() else { return String::new() };
    let VirtualRouter { vrid, version, advert_interval, unicast_peers, password } = router;
    let name = format!("VRID {vrid}, version {}", *version as u8);
    if group.protocol.runs().is_none() {
        return format!("vrrp     {}: stands back while adverts of {name}, are heard\n", group.name);
    }
    let to = match unicast_peers.as_slice() {
        [] => "multicast".to_owned(),
        peers => format!("unicast to {}", peers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!(
        "vrrp     {}: {name}, adverts every {}, {to}; WITHOUT A QUORUM: nodes that do not hear each other all serve\n",
        group.name,
        format_duration(*advert_interval)
    );
    if password.is_some() {
        text += &format!(
            "auth     of {}: a password that every advert shows; it protects from mistakes alone\n",
            group.name
        );
    }
    text
}

fn group_line(group: &Group) -> String {
    let vips = match group.vips.as_slice() {
        [vip] => vip.to_string(),
        [first, .., last] => format!("{} VIPs, {first} to {last}", group.vips.len()),
        [] => "no VIPs".to_owned(),
    };
    let preempt = match group.preempt {
        true if group.preempt_delay.is_zero() => "preempts".to_owned(),
        true => format!("preempts after {}", format_duration(group.preempt_delay)),
        false => "does not preempt".to_owned(),
    };
    let router = if group.router { ", a router's" } else { "" };
    let presence = match group.presence {
        Presence::Always => "",
        Presence::Held => ", here while held",
    };
    let mac = if group.virtual_mac { ", at a virtual MAC" } else { "" };
    format!(
        "group    {}: {vips}{router}{presence}{mac}, priority {}, {preempt}\n",
        group.name, group.priority
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{
        Check, Cluster, ControlGroup, Effect, Handler, Node, Notify, Paths, Probe, Protocol, Run, Scope, Tee,
    };

    #[test]
    fn the_summary_says_what_would_run() {
        assert_eq!(
            summary(&settings()),
            "node     lb1 on eth0 and eth1, id from the interface's address, priority 100, XDP auto\n\
             cluster  edge, 3 voters at first, unicast to 10.0.0.8, 10.0.0.9 (port 5680), joining through 10.0.0.7, INSECURE (messages are not authenticated)\n\
             timing   a renewal every 10ms, leases of 50ms\n\
             tags     role=web\n\
             metrics  http://127.0.0.1:9180/\n\
             reap     who is gone for 24h is no voter any more, and forgotten\n\
             group    web: 3 VIPs, 10.0.0.1/24 to fd77::3/64 dev eth1, a router's, here while held, at a virtual MAC, priority 120, preempts after 5s\n\
             notify   of web: notify /etc/notify.sh, 1m at most\n\
             tee      UDP port 5000 of web, to all standby nodes\n\
             check    haproxy: process haproxy, every 500ms, 1s at most, rise 1, fall 1; -30 for web\n\
             handler  /usr/local/bin/tell ops: on member-failed, user:deploy, 10s at most\n\
             live     /run/vip-user/live.json has the list of live nodes\n\
             socket   /run/vip-user/eth0.sock: all may look; root, members of the group adm and the daemon's user may change things\n"
        );
    }

    #[test]
    fn the_summary_points_out_who_never_holds() {
        let mut settings = settings();
        settings.node.priority = 0;
        settings.groups.clear();
        let text = summary(&settings);
        assert!(text.contains("priority 0 (a witness)"), "{text}");
        assert!(text.contains("groups   none: this node only votes"), "{text}");
    }

    #[test]
    fn the_summary_warns_of_metrics_that_others_can_read() {
        let mut settings = settings();
        settings.node.metrics = Some(([0, 0, 0, 0], 9180).into());
        let text = summary(&settings);
        assert!(text.contains("metrics  http://0.0.0.0:9180/: OPEN to whoever"), "{text}");
    }

    #[test]
    fn the_summary_says_what_is_missing_without_xdp() {
        let mut settings = settings();
        settings.node.xdp = XdpMode::Off;
        let text = summary(&settings);
        assert!(text.contains("fence    NONE: ") && text.contains("no stale forwarding"), "{text}");
    }

    fn settings() -> Settings {
        Settings {
            node: Node {
                name: "lb1".to_owned(),
                iface: "eth0".to_owned(),
                id: None,
                priority: 100,
                xdp: XdpMode::Auto,
                egress_fence: true,
                control_group: Some(ControlGroup { name: "adm".to_owned(), gid: 4.into() }),
                tags: [("role".to_owned(), "web".to_owned())].into(),
                metrics: Some(([127, 0, 0, 1], 9180).into()),
            },
            cluster: Cluster {
                name: "edge".to_owned(),
                keys: Keys::Insecure,
                transport: Transport::Unicast {
                    peers: vec![[10, 0, 0, 8].into(), [10, 0, 0, 9].into()],
                    port: 5680,
                },
                join: vec![[10, 0, 0, 7].into()],
                expect: 3,
                interval: std::time::Duration::from_millis(10),
                lease: std::time::Duration::from_millis(50),
                voter_after: std::time::Duration::from_secs(5),
                reap: Some(std::time::Duration::from_secs(86_400)),
                pair: None,
            },
            groups: vec![Group {
                name: "web".to_owned(),
                vips: ["10.0.0.1/24", "10.0.0.2/24", "fd77::3/64 dev eth1"]
                    .map(|vip| vip.parse().unwrap())
                    .to_vec(),
                priority: 120,
                preempt: true,
                preempt_delay: std::time::Duration::from_secs(5),
                stale_forwarding: true,
                presence: Presence::Held,
                virtual_mac: true,
                router: true,
                protocol: Protocol::Lease { heeds: None },
                notify: Notify {
                    any: Some(Run::Program("/etc/notify.sh".to_owned(), Vec::new())),
                    ..Notify::default()
                },
            }],
            tees: vec![Tee { group: "web".to_owned(), port: 5000 }],
            checks: vec![Check {
                name: "haproxy".to_owned(),
                scope: Scope::Groups(vec!["web".to_owned()]),
                probe: Probe::Process("haproxy".to_owned()),
                interval: std::time::Duration::from_millis(500),
                timeout: std::time::Duration::from_secs(1),
                rise: 1,
                fall: 1,
                effect: Effect::Weight(-30),
            }],
            handlers: vec![Handler {
                on: ["member-failed", "user:deploy"].map(|filter| filter.parse().unwrap()).to_vec(),
                run: Run::Program("/usr/local/bin/tell".to_owned(), vec!["ops".to_owned()]),
                timeout: std::time::Duration::from_secs(10),
            }],
            paths: Paths {
                bpffs: PathBuf::new(),
                runtime: "/run/vip-user".into(),
                state: PathBuf::new(),
                live_nodes: Some("/run/vip-user/live.json".into()),
            },
        }
    }
}
