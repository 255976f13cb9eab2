//! `vrrp_sync_group`: its instances' VIPs are one group, since they move together.

use super::super::known;
use super::super::model::Group;
use super::super::remark::Fate;
use super::super::tree::Directive;
use super::Reader;
use super::instance::{Instance, Script, script};
use super::track::Track;

/// What a `vrrp_sync_group` says.
#[derive(Debug)]
pub(super) struct Sync {
    directive: Directive,
    name: String,
    members: Vec<String>,
    tracks: Vec<Track>,
    scripts: Vec<Script>,
}

impl Reader {
    pub(super) fn read_sync(&mut self, directive: &Directive) {
        let mut sync = Sync {
            directive: directive.clone(),
            name: directive.value().unwrap_or_default().to_owned(),
            members: Vec::new(),
            tracks: Vec::new(),
            scripts: Vec::new(),
        };
        for item in directive.items() {
            match item.keyword() {
                "group" => {
                    let names = item.items().flat_map(|line| &line.words).map(|word| word.text.clone());
                    sync.members.extend(names);
                    self.carried(item);
                }
                "track_script" | "track_process" | "track_file" | "track_interface" => {
                    sync.tracks.extend(Track::read_all(item));
                }
                _ => match script(item) {
                    Some(script) => sync.scripts.push(script),
                    None => self.remark_known(item, known::SYNC),
                },
            }
        }
        self.syncs.push(sync);
    }

    pub(super) fn form_sync(&mut self, sync: Sync) {
        let Sync { directive, name, members: names, tracks, scripts } = sync;
        let mut members: Vec<Instance> = Vec::new();
        for member in &names {
            match self.instances.iter().position(|instance| instance.name == *member) {
                Some(index) => members.push(self.instances.remove(index)),
                None => {
                    self.remark(&directive, Fate::Left, format!("there is no vrrp_instance {member} for it"))
                }
            }
        }
        let is_told_as_sync = scripts.iter().any(|script| script.key == "notify");
        let scripts = self.scripts_of_all(&name, scripts, &members);
        let mut group = Group {
            name: name.clone(),
            origin: format!("vrrp_sync_group {name}: {}", names.join(", ")),
            vips: Vec::new(),
            priority: members.iter().map(|member| member.priority).max().unwrap_or(0),
            preempt: members.iter().all(|member| member.preempt),
            preempt_delay: members.iter().filter_map(|member| member.preempt_delay).max(),
            virtual_mac: members.iter().any(|member| member.virtual_mac),
            router: None,
            is_told_as_sync,
            scripts,
        };
        group.preempt_delay = group.preempt_delay.filter(|_| group.preempt);
        if members.iter().any(|member| member.priority != group.priority) {
            let why = format!("its instances have several priorities; {} is the group's", group.priority);
            self.remark(&directive, Fate::Changed, why);
        }
        for member in &members {
            self.add_vips(&mut group.vips, &member.addresses, member.iface.as_deref());
            let what = if member.scripts.is_empty() { "VIPs are" } else { "VIPs and notify scripts are" };
            self.remark(&member.directive, Fate::Changed, format!("its {what} in the group {name:?}"));
        }
        self.add_group(&directive, group);
        tracks.iter().for_each(|track| self.track(track, &name, false));
        // keepalived takes the weights from the instances of a sync group: what they track is fatal.
        members.iter().flat_map(|member| &member.tracks).for_each(|track| self.track(track, &name, true));
    }

    /// In VRRP, each instance is a virtual router and moves alone. Gives what all instances of a group track, and their names.
    pub(super) fn take_apart(&mut self, syncs: Vec<Sync>) -> Vec<(Track, String)> {
        let mut tracked = Vec::new();
        for Sync { directive, members, tracks, scripts, .. } in syncs {
            let why = "its instances move each by itself until they are one group of the lease, not of VRRP";
            self.remark(&directive, Fate::Left, why);
            for script in scripts {
                self.remark(&script.directive, Fate::Left, "give it to the instances' groups");
            }
            for track in tracks {
                tracked.extend(members.iter().map(|member| (track.clone(), member.clone())));
            }
        }
        tracked
    }

    /// The scripts of the group, and those of its instances: a group has one for each event.
    fn scripts_of_all(
        &mut self,
        group: &str,
        mut own: Vec<Script>,
        members: &[Instance],
    ) -> Vec<(&'static str, String)> {
        for Script { directive, key, line } in members.iter().flat_map(|member| &member.scripts) {
            match own.iter().find(|script| script.key == *key) {
                None => own.push(Script { directive: directive.clone(), key, line: line.clone() }),
                Some(script) if script.line == *line => {
                    let why = format!("the group {group:?} moves as a whole, and runs it once");
                    self.remark(directive, Fate::Changed, why);
                }
                Some(_) => {
                    let why = format!(
                        "the group {group:?} moves as a whole, and has a {key} already: let that do this, too"
                    );
                    self.remark(directive, Fate::Left, why);
                }
            }
        }
        self.scripts(&own)
    }
}
