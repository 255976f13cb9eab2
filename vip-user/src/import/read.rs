//! keepalived's directives, translated. Each leaves a remark.

mod address;
mod instance;
mod router;
mod sync;
mod track;

use std::collections::HashMap;

use self::instance::Instance;
use self::track::Tracked;
use super::Options;
use super::known::{self, Known};
use super::model::{Group, Model};
use super::remark::{Fate, Remark};
use super::tree::Directive;
use crate::config::{MAX_GROUPS, parse_interface_name};

/// Translates a configuration.
pub(super) fn read(directives: &[Directive], options: &Options) -> (Model, Vec<Remark>) {
    let mut reader = Reader { speaks_vrrp: options.vrrp, ..Reader::default() };
    for directive in directives {
        reader.read_top(directive);
    }
    reader.choose_interface(options.iface.as_deref());
    reader.form_groups();
    reader.end_tracks();
    reader.model.nodes = Some(reader.model.peers.len()).filter(|nodes| *nodes > 0);
    reader.remarks.sort_by(|a, b| a.place.cmp(&b.place));
    // What all instances of a sync group track is told once.
    reader.remarks.dedup();
    (reader.model, reader.remarks)
}

#[derive(Default)]
struct Reader {
    model: Model,
    remarks: Vec<Remark>,
    instances: Vec<Instance>,
    syncs: Vec<sync::Sync>,
    /// What instances can track, by its name.
    tracked: HashMap<String, Tracked>,
    /// Groups are to be virtual routers of VRRP.
    speaks_vrrp: bool,
    /// `vrrp_version`.
    version: Option<u8>,
    /// `default_interface`.
    default_interface: Option<String>,
}

impl Reader {
    fn remark(&mut self, directive: &Directive, fate: Fate, why: impl AsRef<str>) {
        let place = Some(directive.place.clone());
        self.remarks.push(Remark::new(place, &shown(directive), fate, why.as_ref()));
    }

    fn carried(&mut self, directive: &Directive) {
        self.remark(directive, Fate::Carried, "");
    }

    /// Of a directive whose fate is known, or that nobody knows.
    fn remark_known(&mut self, directive: &Directive, known: &'static [Known]) {
        let beside = if self.speaks_vrrp { known::BESIDE } else { &[] };
        let keyword = directive.keyword();
        match known::find(beside, keyword).or_else(|| known::find(known, keyword)) {
            Some((fate, why)) => self.remark(directive, fate, why),
            None => self.remark(directive, Fate::Left, "not a directive that is known here"),
        }
    }

    fn read_top(&mut self, directive: &Directive) {
        match directive.keyword() {
            "global_defs" => directive.items().for_each(|item| self.read_global(item)),
            "vrrp_instance" => self.read_instance(directive),
            "vrrp_sync_group" => self.read_sync(directive),
            "vrrp_script" => self.read_script(directive),
            "vrrp_track_process" | "track_process" => self.read_process(directive),
            "vrrp_track_file" | "track_file" => self.read_file(directive),
            _ => self.remark_known(directive, known::TOP),
        }
    }

    fn read_global(&mut self, item: &Directive) {
        match (item.keyword(), item.value()) {
            ("router_id" | "lvs_id", Some(name)) if crate::config::is_name(name) => {
                self.model.name = Some(name.to_owned());
                self.remark(
                    item,
                    Fate::Changed,
                    "is the node's name, and has to be another one on each machine",
                );
            }
            ("router_id" | "lvs_id", _) => {
                self.remark(item, Fate::Left, "cannot be a node's name: set node.name")
            }
            ("default_interface", Some(name)) => {
                self.default_interface = Some(name.to_owned());
                self.carried(item);
            }
            ("vrrp_version", Some(version)) if self.speaks_vrrp => {
                self.version = self.read_version(item, version);
            }
            ("script_user", Some("root")) => {
                self.remark(item, Fate::Unneeded, "scripts have the daemon's user")
            }
            ("script_user", _) => {
                self.remark(
                    item,
                    Fate::Left,
                    "scripts have the daemon's user: put runuser or setpriv before them",
                );
            }
            _ => self.remark_known(item, known::GLOBALS),
        }
    }

    /// The interface where the machines talk to each other: that of the first instance that has one.
    fn choose_interface(&mut self, wished: Option<&str>) {
        let given = self.instances.iter().find_map(|instance| instance.iface.clone());
        let chosen = wished.map(str::to_owned).or(given).or_else(|| self.default_interface.take());
        self.model.iface = chosen.filter(|name| parse_interface_name(name).is_ok());
        let others: Vec<&str> =
            self.instances.iter().filter_map(|instance| instance.iface.as_deref()).collect();
        if others.iter().any(|iface| Some(*iface) != self.model.iface.as_deref()) {
            let iface = self.model.iface.clone().unwrap_or_default();
            let why = format!(
                "the machines talk to each other on {iface} alone (--iface chooses another one); VIPs elsewhere have \"dev\""
            );
            self.remarks.push(Remark::new(None, "interfaces", Fate::Changed, &why));
        }
    }

    /// Sync groups first: what is in one is no group of its own.
    fn form_groups(&mut self) {
        let syncs = std::mem::take(&mut self.syncs);
        let tracked_by_all = match self.speaks_vrrp {
            true => self.take_apart(syncs),
            false => {
                syncs.into_iter().for_each(|sync| self.form_sync(sync));
                Vec::new()
            }
        };
        for instance in std::mem::take(&mut self.instances) {
            let mut group = self.group_of(&instance);
            if self.speaks_vrrp {
                self.make_router(&instance, &mut group);
            }
            self.add_group(&instance.directive, group);
            let (name, tracks) = (instance.name.clone(), instance.tracks);
            tracks.iter().for_each(|track| self.track(track, &name, false));
        }
        tracked_by_all.iter().for_each(|(track, name)| self.track(track, name, false));
    }

    fn add_group(&mut self, directive: &Directive, group: Group) {
        if group.vips.is_empty() {
            self.remark(directive, Fate::Left, "has no VIP that can be carried over, and so is no group");
        } else if !crate::config::is_name(&group.name) {
            self.remark(directive, Fate::Left, "its name is no group's: it may have 32 bytes");
        } else if self.model.groups.iter().any(|other| other.name == group.name) {
            self.remark(directive, Fate::Left, "there is another one of this name");
        } else if self.model.groups.len() == MAX_GROUPS {
            self.remark(directive, Fate::Left, format!("there can be {MAX_GROUPS} groups at most"));
        } else {
            self.remark(directive, Fate::Carried, format!("the group {:?}", group.name));
            self.model.groups.push(group);
        }
    }
}

/// The directive in a line, without secrets: what follows `auth_pass` is one, also where a mistake has it in a word or a line
/// with something else.
fn shown(directive: &Directive) -> String {
    const MAX_SHOWN: usize = 100;
    const SECRET: &str = "auth_pass";
    let text = directive.text();
    let begin: String = text.chars().take(MAX_SHOWN).collect();
    let dots = if begin.len() < text.len() { "..." } else { "" };
    match begin.split_once(SECRET) {
        Some((before, _)) => format!("{before}{SECRET} ..."),
        None => format!("{begin}{dots}"),
    }
}

/// A number of seconds, with a fraction, as keepalived takes it.
fn seconds(text: &str) -> Option<std::time::Duration> {
    const LONGEST: f64 = 1e6;
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LONGEST).contains(seconds))?;
    // Durations of the configuration are whole microseconds.
    let micros = std::time::Duration::from_secs_f64(seconds).as_micros();
    Some(std::time::Duration::from_micros(u64::try_from(micros).ok()?))
}
