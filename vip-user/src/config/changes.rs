//! What another configuration changes, in words, and whether a running daemon can follow it.
//!
//! Every key is named here once: one that is added to the settings does not compile until it is said what a reload makes of
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::{IpAddr, SocketAddr},
};

use super::{
    Check, Cluster, Group, Handler, Keys, Node, Paths, Presence, Protocol, Settings, Tee, Transport, Vip,
    VirtualRouter, format_duration,
};
use crate::exit::Failure;

/// More VIPs that come or go at once are counted, and not listed.
const LISTED_VIPS: usize = 8;

/// What a daemon that runs by `old` has to change to run by `new`, a line each; none where they say the same.
///
/// # Errors
/// Names the keys that cannot change while a daemon runs, and says what to do.
pub fn changes(old: &Settings, new: &Settings) -> Result<Vec<String>, Failure> {
    let mut comparison = Comparison::default();
    let Settings { node, cluster, groups, tees, checks, handlers, paths } = old;
    comparison.node(node, &new.node);
    comparison.cluster(cluster, &new.cluster);
    comparison.groups(groups, &new.groups);
    comparison.fixed("the interfaces that VIPs lie on", &old.other_interfaces(), &new.other_interfaces());
    comparison.tees(tees, &new.tees);
    comparison.checks(checks, &new.checks);
    comparison.handlers(handlers, &new.handlers);
    comparison.paths(paths, &new.paths);
    check_moves(groups, &new.groups)?;
    comparison.finish()
}

#[derive(Default)]
struct Comparison {
    changes: Vec<String>,
    /// Keys that are different and must not be.
    fixed: Vec<&'static str>,
}

impl Comparison {
    fn finish(self) -> Result<Vec<String>, Failure> {
        let fixed = match self.fixed.as_slice() {
            [] => return Ok(self.changes),
            [one] => (*one).to_owned(),
            [all @ .., last] => format!("{} and {last}", all.join(", ")),
        };
        Err(Failure::refused(format!(
            "{fixed} cannot change while the daemon runs, and so nothing has been changed: start it again, or undo that"
        )))
    }

    /// It is a part of what the daemon has built up at its start.
    fn fixed<T: PartialEq>(&mut self, key: &'static str, old: &T, new: &T) {
        if old != new {
            self.fixed.push(key);
        }
    }

    fn value<T: PartialEq>(&mut self, key: &str, old: &T, new: &T, show: impl Fn(&T) -> String) {
        if old != new {
            self.changes.push(format!("{key} is {} now, and was {}", show(new), show(old)));
        }
    }

    fn node(&mut self, old: &Node, new: &Node) {
        let Node { name, iface, id, priority, xdp, egress_fence, tags, control_group, metrics } = old;
        self.fixed("node.name", name, &new.name);
        self.fixed("node.iface", iface, &new.iface);
        self.fixed("node.id", id, &new.id);
        self.fixed("node.xdp", xdp, &new.xdp);
        self.fixed("node.egress_fence", egress_fence, &new.egress_fence);
        self.fixed("node.control_group", control_group, &new.control_group);
        self.value("node.priority", priority, &new.priority, u8::to_string);
        self.value("node.tags", tags, &new.tags, shown_tags);
        let shown =
            |address: &Option<_>| address.map_or_else(|| "none".to_owned(), |at: SocketAddr| at.to_string());
        self.value("node.metrics", metrics, &new.metrics, shown);
    }

    fn cluster(&mut self, old: &Cluster, new: &Cluster) {
        let Cluster { name, keys, transport, join, expect, interval, lease, voter_after, reap, pair } = old;
        self.fixed("cluster.name", name, &new.name);
        self.transport(transport, &new.transport);
        self.fixed("cluster.expect", expect, &new.expect);
        self.fixed("cluster.lease", lease, &new.lease);
        self.fixed("cluster.pair", pair, &new.pair);
        self.keys(keys, &new.keys);
        self.value("cluster.join", join, &new.join, |addresses| shown_addresses(addresses));
        self.value("cluster.interval", interval, &new.interval, |time| format_duration(*time));
        self.value("cluster.voter_after", voter_after, &new.voter_after, |time| format_duration(*time));
        let shown = |reap: &Option<_>| reap.map_or_else(|| "never".to_owned(), format_duration);
        self.value("cluster.reap", reap, &new.reap, shown);
    }

    fn transport(&mut self, old: &Transport, new: &Transport) {
        match (old, new) {
            (Transport::Unicast { peers, port }, Transport::Unicast { peers: next, port: next_port })
                if port == next_port && old.is_ipv6() == new.is_ipv6() =>
            {
                self.value("cluster.peers", peers, next, |addresses| shown_addresses(addresses));
            }
            _ => self.fixed("cluster.group_address or cluster.peers", old, new),
        }
    }

    /// What keys are is nobody's business.
    fn keys(&mut self, old: &Keys, new: &Keys) {
        if old == new {
            return;
        }
        match (old, new) {
            (Keys::Signed(old), Keys::Signed(new)) => {
                let signs =
                    if old.signing() == new.signing() { "the same one signs" } else { "another one signs" };
                let number = if new.iter().count() == 1 { "one key verifies" } else { "two keys verify" };
                self.changes.push(format!("cluster.key_file: {number} now, and {signs}"));
            }
            _ => self.fixed.push("cluster.insecure"),
        }
    }

    fn groups(&mut self, old: &[Group], new: &[Group]) {
        for group in old {
            match new.iter().find(|other| other.name == group.name) {
                Some(next) => self.group(group, next),
                None => self.changes.push(format!("group {:?} removed", group.name)),
            }
        }
        for group in new.iter().filter(|group| old.iter().all(|other| other.name != group.name)) {
            self.changes.push(format!(
                "group {:?} added, with {}",
                group.name,
                shown_vips(&group.vips.iter().collect::<Vec<_>>())
            ));
        }
        let names = |groups: &[Group]| groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        let (before, after) = (names(old), names(new));
        if before != after && before.iter().collect::<BTreeSet<_>>() == after.iter().collect() {
            self.changes.push("the groups come in another order".to_owned());
        }
    }

    fn group(&mut self, old: &Group, new: &Group) {
        let Group {
            name,
            vips,
            priority,
            preempt,
            preempt_delay,
            stale_forwarding,
            presence,
            virtual_mac,
            router,
            protocol,
            notify,
        } = old;
        let key = |key: &str| format!("group {name:?}: {key}");
        let different = |one: &[Vip], other: &[Vip]| {
            let other: BTreeSet<_> = other.iter().collect();
            shown_vips(&one.iter().filter(|vip| !other.contains(vip)).collect::<Vec<_>>())
        };
        for (what, vips) in [("added", different(&new.vips, vips)), ("removed", different(vips, &new.vips))] {
            if !vips.is_empty() {
                self.changes.push(key(&format!("{vips} {what}")));
            }
        }
        self.value(&key("priority"), priority, &new.priority, u8::to_string);
        self.value(&key("preempt"), preempt, &new.preempt, bool::to_string);
        self.value(&key("preempt_delay"), preempt_delay, &new.preempt_delay, |time| format_duration(*time));
        self.value(&key("stale_forwarding"), stale_forwarding, &new.stale_forwarding, bool::to_string);
        self.value(&key("presence"), presence, &new.presence, |presence| match presence {
            Presence::Always => "always".to_owned(),
            Presence::Held => "held".to_owned(),
        });
        self.value(&key("virtual_mac"), virtual_mac, &new.virtual_mac, bool::to_string);
        self.value(&key("router"), router, &new.router, bool::to_string);
        self.protocol(&key("protocol"), protocol, &new.protocol);
        self.value(&key("notify"), notify, &new.notify, |notify| match notify.is_empty() {
            true => "nothing".to_owned(),
            false => format!("({notify})"),
        });
    }

    fn tees(&mut self, old: &[Tee], new: &[Tee]) {
        for tee in new.iter().filter(|tee| !old.contains(tee)) {
            self.changes.push(format!("tee of {tee}: added"));
        }
        for tee in old.iter().filter(|tee| !new.contains(tee)) {
            self.changes.push(format!("tee of {tee}: removed"));
        }
    }

    fn protocol(&mut self, key: &str, old: &Protocol, new: &Protocol) {
        if old == new {
            return;
        }
        let before = (old.as_str(), old.router().map(shown_router));
        let now = (new.as_str(), new.router().map(shown_router));
        self.changes.push(match before == now {
            true => format!("{key}: another password"),
            false => format!("{key} is {} now, and was {}", shown_protocol(now), shown_protocol(before)),
        });
    }

    fn checks(&mut self, old: &[Check], new: &[Check]) {
        for check in new {
            match old.iter().find(|other| other.name == check.name) {
                None => self.changes.push(format!("check {:?} added", check.name)),
                Some(before) if before != check => {
                    self.changes.push(format!("check {:?} changed", check.name))
                }
                Some(_) => {}
            }
        }
        for check in old.iter().filter(|check| new.iter().all(|other| other.name != check.name)) {
            self.changes.push(format!("check {:?} removed", check.name));
        }
    }

    fn handlers(&mut self, old: &[Handler], new: &[Handler]) {
        for handler in new.iter().filter(|handler| !old.contains(handler)) {
            self.changes.push(format!("handler {handler}: added"));
        }
        for handler in old.iter().filter(|handler| !new.contains(handler)) {
            self.changes.push(format!("handler {handler}: removed"));
        }
    }

    fn paths(&mut self, old: &Paths, new: &Paths) {
        let Paths { bpffs, runtime, state, live_nodes } = old;
        self.fixed("paths.bpffs", bpffs, &new.bpffs);
        self.fixed("paths.runtime", runtime, &new.runtime);
        self.fixed("paths.state", state, &new.state);
        self.value("paths.live_nodes", live_nodes, &new.live_nodes, |path| {
            path.as_ref().map_or_else(|| "no file".to_owned(), |path| path.display().to_string())
        });
    }
}

/// Each group has a lease of its own: while some nodes read one file and some the other, two nodes would serve a VIP that goes from
/// one group to another.
fn check_moves(old: &[Group], new: &[Group]) -> Result<(), Failure> {
    let groups = old.iter().flat_map(|group| group.vips.iter().map(|vip| (vip.address, &group.name)));
    let groups: BTreeMap<IpAddr, &String> = groups.collect();
    for group in new {
        for vip in &group.vips {
            if let Some(before) = groups.get(&vip.address).filter(|before| **before != &group.name) {
                return Err(Failure::refused(format!(
                    "{vip} goes from group {before:?} to {:?}, and two nodes could serve it until all have read that: take it \
                     out of {before:?} on all nodes and reload there, then put it into the other group",
                    group.name
                )));
            }
        }
    }
    Ok(())
}

fn shown_protocol((name, router): (&str, Option<String>)) -> String {
    router.map_or_else(|| name.to_owned(), |router| format!("{name} ({router})"))
}

/// Without its password.
fn shown_router(router: &VirtualRouter) -> String {
    let VirtualRouter { vrid, version, advert_interval, unicast_peers, password } = router;
    let interval = format_duration(*advert_interval);
    let peers = if unicast_peers.is_empty() {
        String::new()
    } else {
        format!(", to {}", shown_addresses(unicast_peers))
    };
    let auth = if password.is_some() { ", with a password" } else { "" };
    format!("VRID {vrid}, version {}, adverts every {interval}{peers}{auth}", *version as u8)
}

fn shown_tags(tags: &BTreeMap<String, String>) -> String {
    joined(tags.iter().map(|(name, value)| format!("{name}={value}")))
}

fn shown_addresses(addresses: &[IpAddr]) -> String {
    joined(addresses.iter().map(IpAddr::to_string))
}

fn shown_vips(vips: &[&Vip]) -> String {
    match vips {
        many if many.len() > LISTED_VIPS => format!("{} VIPs", many.len()),
        few => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn joined(texts: impl Iterator<Item = impl Display>) -> String {
    let all: Vec<_> = texts.map(|text| text.to_string()).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    const FILE: &str = "\
        [node]\nname = \"lb1\"\niface = \"eth0\"\n[cluster]\ninsecure = true\n\
        [[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\", \"10.0.0.2/24\"]\n";

    fn parsed(text: &str) -> Settings {
        Settings::parse("vip.toml", text, &Overrides::default()).unwrap()
    }

    /// What changes from [`FILE`] when this part of it is that.
    fn said(part: &str, other: &str) -> Result<Vec<String>, String> {
        assert!(FILE.contains(part));
        changes(&parsed(FILE), &parsed(&FILE.replace(part, other))).map_err(|failure| failure.message)
    }

    #[test]
    fn what_has_not_changed_is_not_said() {
        assert_eq!(said("eth0", "eth0").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_can_be_followed_is_said_in_words() {
        let cases = [
            (
                "\"lb1\"\n",
                "\"lb1\"\npriority = 120\n",
                vec![
                    "node.priority is 120 now, and was 100",
                    "group \"web\": priority is 120 now, and was 100",
                ],
            ),
            (
                "\"lb1\"\n",
                "\"lb1\"\ntags = { role = \"web\" }\n",
                vec!["node.tags is role=web now, and was nothing"],
            ),
            ("true\n", "true\ninterval = \"5ms\"\n", vec!["cluster.interval is 5ms now, and was 10ms"]),
            ("true\n", "true\nreap = \"1h\"\n", vec!["cluster.reap is 1h now, and was never"]),
            (", \"10.0.0.2/24\"", "", vec!["group \"web\": 10.0.0.2/24 removed"]),
            (
                "\"10.0.0.2/24\"",
                "\"10.0.0.3/24\"",
                vec!["group \"web\": 10.0.0.3/24 added", "group \"web\": 10.0.0.2/24 removed"],
            ),
            (
                "[[group]]",
                "[[tee]]\ngroup = \"web\"\nport = 5000\n[[group]]",
                vec!["tee of UDP port 5000 of web: added"],
            ),
            (
                "[[group]]",
                "[[handler]]\nrun = \"/bin/true\"\n[[group]]",
                vec!["handler /bin/true: on *, 10s at most: added"],
            ),
        ];
        for (part, other, expected) in cases {
            assert_eq!(said(part, other).unwrap(), expected, "{other}");
        }
    }

    #[test]
    fn many_vips_are_counted() {
        let many: Vec<_> = (3..=20).map(|host| format!("\"10.0.0.{host}/24\"")).collect();
        let more = format!("\"10.0.0.2/24\", {}", many.join(", "));
        assert_eq!(said("\"10.0.0.2/24\"", &more).unwrap(), ["group \"web\": 18 VIPs added"]);
    }

    #[test]
    fn all_that_cannot_be_followed_is_named() {
        assert!(
            said("eth0", "eth1").unwrap_err().starts_with("node.iface cannot change while the daemon runs")
        );
        let both = said("name = \"lb1\"\n", "name = \"lb9\"\nid = 7\n").unwrap_err();
        assert!(both.starts_with("node.name and node.id cannot change"), "{both}");
        let dev = said("10.0.0.2/24", "10.0.0.2/24 dev eth1").unwrap_err();
        assert!(dev.starts_with("the interfaces that VIPs lie on cannot change"), "{dev}");
    }

    /// Two nodes with a file each would serve it, by two leases.
    #[test]
    fn a_vip_does_not_go_from_one_group_to_another() {
        let moved = said(", \"10.0.0.2/24\"]\n", "]\n[[group]]\nname = \"api\"\nvips = [\"10.0.0.2/24\"]\n")
            .unwrap_err();
        assert!(moved.starts_with("10.0.0.2/24 goes from group \"web\" to \"api\""), "{moved}");
    }
}
