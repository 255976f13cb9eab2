//! `vrrp_instance`: a group, unless it is in a sync group.

use std::net::IpAddr;
use std::time::Duration;

use super::super::known;
use super::super::model::Group;
use super::super::remark::Fate;
use super::super::tree::Directive;
use super::address::Address;
use super::router::Spoken;
use super::track::Track;
use super::{Reader, seconds};

/// The most addresses of `cluster.peers`.
const MAX_PEERS: usize = 16;
const DEFAULT_PRIORITY: u8 = 100;

/// What a `vrrp_instance` says.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) directive: Directive,
    pub(super) name: String,
    pub(super) iface: Option<String>,
    pub(super) spoken: Spoken,
    pub(super) priority: u8,
    pub(super) preempt: bool,
    pub(super) preempt_delay: Option<Duration>,
    pub(super) virtual_mac: bool,
    pub(super) addresses: Vec<Address>,
    pub(super) tracks: Vec<Track>,
    pub(super) scripts: Vec<Script>,
}

/// A `notify*` of an instance or sync group.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) directive: Directive,
    pub(super) key: &'static str,
    pub(super) line: String,
}

/// The keys that name scripts, here as there.
const NOTIFIES: [&str; 5] = ["notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"];

impl Reader {
    pub(super) fn read_instance(&mut self, directive: &Directive) {
        let mut instance = Instance {
            directive: directive.clone(),
            name: directive.value().unwrap_or_default().to_owned(),
            iface: None,
            spoken: Spoken::default(),
            priority: DEFAULT_PRIORITY,
            // As VRRP has it: nopreempt has to be asked for.
            preempt: true,
            preempt_delay: None,
            virtual_mac: false,
            addresses: Vec::new(),
            tracks: Vec::new(),
            scripts: Vec::new(),
        };
        for item in directive.items() {
            self.read_item(&mut instance, item);
        }
        self.model.vrids.extend(instance.spoken.vrid);
        self.instances.push(instance);
    }

    fn read_item(&mut self, instance: &mut Instance, item: &Directive) {
        match (item.keyword(), item.value()) {
            ("interface", Some(name)) => {
                instance.iface = Some(name.to_owned());
                self.carried(item);
            }
            ("state", _) => {
                self.remark(
                    item,
                    Fate::Unneeded,
                    "priority decides who serves first; who starts is a backup until elected",
                );
            }
            ("virtual_router_id", Some(vrid)) => {
                instance.spoken.vrid = vrid.parse().ok();
                match self.speaks_vrrp {
                    true => self.carried(item),
                    false => self.remark(
                        item,
                        Fate::Changed,
                        "clusters are told apart by name, and groups of one too",
                    ),
                }
            }
            ("priority", Some(priority)) => self.read_priority(instance, item, priority),
            ("nopreempt", _) => {
                instance.preempt = false;
                self.carried(item);
            }
            ("preempt_delay", Some(delay)) => {
                instance.preempt_delay = seconds(delay);
                self.remark(item, Fate::Carried, "counted from when the machine is a voter, and healthy");
            }
            ("advert_int", Some(interval)) if self.speaks_vrrp => {
                self.read_interval(&mut instance.spoken, item, interval);
            }
            ("version", Some(version)) if self.speaks_vrrp => {
                instance.spoken.version = self.read_version(item, version);
            }
            ("authentication", _) if self.speaks_vrrp => {
                self.read_authentication(&mut instance.spoken, item);
            }
            ("virtual_ipaddress_excluded", _) if self.speaks_vrrp => {
                for line in item.items() {
                    let why = "adverts name all VIPs of a group: none can be excluded from them";
                    self.remark(line, Fate::Left, why);
                }
            }
            ("advert_int", Some(interval)) => self.explain_interval(item, interval),
            ("authentication", _) => {
                self.remark(item, Fate::Changed, "every message is signed by a key instead: vip-user keygen");
            }
            ("use_vmac", _) => {
                instance.virtual_mac = true;
                let why = match self.speaks_vrrp {
                    true => "virtual_mac: that of the virtual router, and no macvlan",
                    false => "virtual_mac: an address 72:... of the group, and no macvlan",
                };
                self.remark(item, Fate::Changed, why);
            }
            ("unicast_peer", _) => self.read_peers(&mut instance.spoken, item),
            ("unicast_src_ip", Some(address)) => self.read_own(item, address),
            ("virtual_ipaddress" | "virtual_ipaddress_excluded", _) => {
                instance.addresses.extend(item.items().map(Address::read));
            }
            ("track_script" | "track_process" | "track_file" | "track_interface", _) => {
                instance.tracks.extend(Track::read_all(item));
            }
            (keyword, Some(_)) if NOTIFIES.contains(&keyword) => instance.scripts.extend(script(item)),
            _ => self.remark_known(item, known::INSTANCE),
        }
    }

    fn read_priority(&mut self, instance: &mut Instance, item: &Directive, text: &str) {
        match text.parse::<u8>() {
            Ok(priority @ 1..) => {
                instance.priority = priority;
                self.carried(item);
            }
            _ => {
                self.remark(item, Fate::Left, format!("is not from 1 to 255; {DEFAULT_PRIORITY} is assumed"))
            }
        }
    }

    /// keepalived waits for three adverts and a skew of one at most.
    fn explain_interval(&mut self, item: &Directive, text: &str) {
        let down = seconds(text).map_or_else(String::new, |interval| {
            format!(
                " (keepalived: {:.1} to {:.1} s)",
                interval.as_secs_f64() * 3.0,
                interval.as_secs_f64() * 4.0
            )
        });
        let why = format!("cluster.lease is what a dead holder costs, 50 ms by default{down}");
        self.remark(item, Fate::Changed, why);
    }

    fn read_peers(&mut self, spoken: &mut Spoken, item: &Directive) {
        for peer in item.items() {
            match peer.keyword().parse::<IpAddr>() {
                Ok(address) => {
                    spoken.add_peer(address);
                    self.add_peer(peer, address);
                }
                Err(_) => self.remark(peer, Fate::Left, "is no IP address"),
            }
        }
    }

    fn read_own(&mut self, item: &Directive, text: &str) {
        match text.parse::<IpAddr>() {
            Ok(address) => self.add_peer(item, address),
            Err(_) => self.remark(item, Fate::Left, "is no IP address"),
        }
    }

    /// The list may have this machine's own address, and so can be the same on all.
    fn add_peer(&mut self, directive: &Directive, address: IpAddr) {
        let peers = &mut self.model.peers;
        let is_other_version = peers.first().is_some_and(|first| first.is_ipv6() != address.is_ipv6());
        let fate = if peers.contains(&address) {
            (Fate::Carried, "")
        } else if is_other_version {
            (Fate::Left, "the machines talk to each other by one version of IP")
        } else if peers.len() == MAX_PEERS {
            (Fate::Left, "there can be 16 peers at most")
        } else {
            peers.push(address);
            (Fate::Carried, "in cluster.peers, which all machines and the witness share")
        };
        self.remark(directive, fate.0, fate.1);
    }

    /// The group that an instance is, alone.
    pub(super) fn group_of(&mut self, instance: &Instance) -> Group {
        let mut vips = Vec::new();
        self.add_vips(&mut vips, &instance.addresses, instance.iface.as_deref());
        let scripts = self.scripts(&instance.scripts);
        Group {
            name: instance.name.clone(),
            origin: format!("vrrp_instance {}{}", instance.name, instance.vrid_text()),
            vips,
            priority: instance.priority,
            preempt: instance.preempt,
            preempt_delay: instance.preempt_delay.filter(|_| instance.preempt),
            virtual_mac: instance.virtual_mac,
            router: None,
            scripts,
            is_told_as_sync: false,
        }
    }

    /// The scripts that can be run here.
    pub(super) fn scripts(&mut self, scripts: &[Script]) -> Vec<(&'static str, String)> {
        let mut kept: Vec<(&'static str, String)> = Vec::new();
        for Script { directive, key, line } in scripts {
            let user = directive.words.get(2).map(|user| user.text.as_str()).filter(|user| *user != "root");
            let path = shlex::split(line).and_then(|words| words.into_iter().next());
            if !path.is_some_and(|path| path.starts_with('/')) {
                self.remark(directive, Fate::Left, "is no program by its absolute path");
            } else if kept.iter().any(|(other, _)| other == key) {
                self.remark(directive, Fate::Left, "is there already");
            } else {
                kept.push((key, line.clone()));
                match user {
                    None => self.carried(directive),
                    Some(user) => self.remark(
                        directive,
                        Fate::Changed,
                        format!("runs as the daemon's user: put \"/usr/sbin/runuser -u {user} --\" before it if it must not"),
                    ),
                }
            }
        }
        kept
    }
}

impl Instance {
    pub(super) fn vrid_text(&self) -> String {
        self.spoken.vrid.map_or_else(String::new, |vrid| format!(", virtual_router_id {vrid}"))
    }
}

/// A `notify*` with its script.
pub(super) fn script(item: &Directive) -> Option<Script> {
    let key = NOTIFIES.into_iter().find(|key| *key == item.keyword())?;
    let word = item.words.get(1)?;
    // A path alone may have what would be a quote in a line of words.
    let line =
        if word.is_quoted { word.text.clone() } else { shlex::try_quote(&word.text).ok()?.into_owned() };
    Some(Script { directive: item.clone(), key, line })
}
