//! What instances track: scripts, processes and interfaces, as checks.

use std::time::Duration;

use super::super::model::{Check, Probe};
use super::super::remark::Fate;
use super::super::tree::Directive;
use super::{Reader, seconds};
use crate::config::{MAX_CHECKS, parse_interface_name};

/// The largest weight of a check.
const MAX_WEIGHT: i32 = 253;
/// Characters that a line for a program does not have, but one for a shell.
const SHELL: [char; 15] = ['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', ']', '~', '='];
/// keepalived counts one run, and waits for one interval.
const DEFAULT_COUNT: u32 = 1;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Something that can be tracked.
#[derive(Debug)]
pub(super) struct Tracked {
    directive: Directive,
    /// `None`: it cannot be looked at here.
    probe: Option<Probe>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
    weight: Weight,
    is_used: bool,
}

/// What a failure costs.
#[derive(Clone, Copy, Debug)]
struct Weight {
    value: i32,
    /// The other way around.
    is_reversed: bool,
}

/// One line of a `track_*` block.
#[derive(Clone, Debug)]
pub(super) struct Track {
    directive: Directive,
    is_interface: bool,
    /// What this line says; `None`: nothing, and so what is tracked does.
    weight: Option<Weight>,
}

impl Track {
    pub(super) fn read_all(block: &Directive) -> Vec<Self> {
        let is_interface = block.keyword() == "track_interface";
        let read = |line: &Directive| Self {
            directive: line.clone(),
            is_interface,
            weight: Weight::read(line, "weight"),
        };
        block.items().map(read).collect()
    }
}

impl Weight {
    const NONE: Self = Self { value: 0, is_reversed: false };

    /// What follows the word `keyword` on a line.
    fn read(line: &Directive, keyword: &str) -> Option<Self> {
        let mut words = line.words.iter().map(|word| word.text.as_str());
        words.find(|word| *word == keyword)?;
        let value = words.next()?.parse::<i32>().ok()?;
        Some(Self { value, is_reversed: words.next() == Some("reverse") })
    }
}

impl Reader {
    /// A `vrrp_script`.
    pub(super) fn read_script(&mut self, directive: &Directive) {
        let mut tracked = Tracked::new(directive, Weight::NONE);
        tracked.interval = Some(DEFAULT_INTERVAL);
        (tracked.rise, tracked.fall) = (Some(DEFAULT_COUNT), Some(DEFAULT_COUNT));
        for item in directive.items() {
            match (item.keyword(), item.value()) {
                ("script", Some(_)) => tracked.probe = self.read_command(item),
                ("user", Some(user)) if user != "root" => {
                    let why = format!(
                        "runs as the daemon's user: put \"/usr/sbin/runuser -u {user} --\" before it if it must not"
                    );
                    self.remark(item, Fate::Changed, why);
                }
                ("user", _) => self.carried(item),
                ("init_fail", _) => self.remark(
                    item,
                    Fate::Unneeded,
                    "no machine takes a group before its checks have passed",
                ),
                _ => self.read_common(&mut tracked, item),
            }
        }
        self.define(directive, tracked);
    }

    /// What most kinds of things have.
    fn read_common(&mut self, tracked: &mut Tracked, item: &Directive) {
        let value = item.value().unwrap_or_default();
        let count = |text: &str| text.parse::<u32>().ok().filter(|count| (1..=1000).contains(count));
        let is_known = match item.keyword() {
            "interval" => seconds(value).map(|time| tracked.interval = Some(time)).is_some(),
            "timeout" => seconds(value).map(|time| tracked.timeout = Some(time)).is_some(),
            "rise" => count(value).map(|count| tracked.rise = Some(count)).is_some(),
            "fall" => count(value).map(|count| tracked.fall = Some(count)).is_some(),
            "weight" => Weight::read(item, "weight").map(|weight| tracked.weight = weight).is_some(),
            _ => false,
        };
        match is_known {
            true => self.carried(item),
            false => self.remark(item, Fate::Left, "there is nothing like it here"),
        }
    }

    /// The program of a script. Looking for a process by a program of its own is left to the daemon.
    fn read_command(&mut self, item: &Directive) -> Option<Probe> {
        let arguments: Vec<&str> = item.words[1..].iter().map(|word| word.text.as_str()).collect();
        let line = arguments.join(" ");
        let words = shlex::split(&line).filter(|_| !line.contains(SHELL));
        let plain: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some((host, port)) = line.trim().strip_prefix("</dev/tcp/").and_then(|to| to.split_once('/')) {
            self.remark(item, Fate::Changed, "a check of type tcp connects without a shell");
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            return Some(Probe::Tcp(format!("{host}:{port}")));
        }
        match *plain.as_slice() {
            [killall, "-0", process] if name(killall) == "killall" => {
                self.remark(item, Fate::Changed, "a check of type process finds it without a program");
                Some(Probe::Process(name(process)))
            }
            [pidof, process] if name(pidof) == "pidof" => {
                self.remark(item, Fate::Changed, "a check of type process finds it without a program");
                Some(Probe::Process(name(process)))
            }
            [path, ..] if path.starts_with('/') => {
                self.carried(item);
                Some(Probe::Program(plain.into_iter().map(str::to_owned).collect()))
            }
            _ if line.trim().is_empty() => None,
            _ => {
                self.remark(
                    item,
                    Fate::Changed,
                    "a line for /bin/sh, as it is no program by its absolute path",
                );
                Some(Probe::Shell(line))
            }
        }
    }

    /// A `vrrp_track_process`.
    pub(super) fn read_process(&mut self, directive: &Directive) {
        let mut tracked = Tracked::new(directive, Weight { value: 1, is_reversed: false });
        for item in directive.items() {
            match (item.keyword(), item.words.len()) {
                ("process", 2) => {
                    let name = item.value().unwrap_or_default();
                    tracked.probe = Some(Probe::Process(name.to_owned()));
                    self.carried(item);
                }
                ("process", _) => {
                    self.remark(
                        item,
                        Fate::Left,
                        "processes are told apart by name alone: use a check of type exec with pgrep -f",
                    );
                }
                ("quorum", _) if item.value() == Some("1") => self.carried(item),
                ("delay" | "fork_delay" | "terminate_delay", _) => {
                    self.remark(
                        item,
                        Fate::Changed,
                        "rise and fall of the check do that: so many looks in a row",
                    );
                }
                _ => self.read_common(&mut tracked, item),
            }
        }
        self.define(directive, tracked);
    }

    /// A `vrrp_track_file`: the number in it counts, which checks do not know.
    pub(super) fn read_file(&mut self, directive: &Directive) {
        let tracked = Tracked::new(directive, Weight { value: 1, is_reversed: false });
        self.define(directive, tracked);
    }

    fn define(&mut self, directive: &Directive, tracked: Tracked) {
        let name = directive.value().unwrap_or_default().to_owned();
        if self.tracked.contains_key(&name) {
            return self.remark(directive, Fate::Left, "there is something else of this name");
        }
        self.tracked.insert(name, tracked);
    }

    /// A group depends on something, whatever its weight if that is not to count.
    pub(super) fn track(&mut self, track: &Track, group: &str, is_fatal: bool) {
        // What is not a group has no checks.
        if !self.model.groups.iter().any(|known| known.name == *group) {
            return;
        }
        let name = track.directive.keyword().to_owned();
        let found =
            if track.is_interface { self.tracked_interface(&name) } else { self.tracked_thing(&name) };
        let (mut check, own) = match found {
            Ok(found) => found,
            Err((fate, why)) => return self.remark(&track.directive, fate, why),
        };
        let weight = track.weight.unwrap_or(own);
        if weight.is_reversed {
            return self.remark(
                &track.directive,
                Fate::Left,
                "there is no reverse: turn the script's result around",
            );
        }
        check.weight = if is_fatal { 0 } else { weight.value.clamp(-MAX_WEIGHT, MAX_WEIGHT) };
        if is_fatal && weight.value != 0 {
            self.remark(
                &track.directive,
                Fate::Changed,
                "fatal: keepalived takes no weights in a sync group either",
            );
        } else {
            self.carried(&track.directive);
        }
        self.add_check(&track.directive, check, group);
    }

    fn tracked_interface(&self, name: &str) -> Result<(Check, Weight), (Fate, &'static str)> {
        let mut served = self.model.groups.iter().flat_map(|group| &group.vips);
        if self.model.iface.as_deref() == Some(name) || served.any(|vip| vip.dev.as_deref() == Some(name)) {
            return Err((
                Fate::Unneeded,
                "a machine that has lost an interface of its VIPs holds nothing anyway",
            ));
        }
        if parse_interface_name(name).is_err() {
            return Err((Fate::Left, "is no interface that can be looked at"));
        }
        let check = Check {
            name: name.to_owned(),
            groups: Vec::new(),
            probe: Probe::Interface(name.to_owned()),
            interval: None,
            timeout: None,
            rise: None,
            fall: None,
            weight: 0,
        };
        Ok((check, Weight::NONE))
    }

    fn tracked_thing(&mut self, name: &str) -> Result<(Check, Weight), (Fate, &'static str)> {
        let Some(tracked) = self.tracked.get_mut(name) else {
            return Err((Fate::Left, "there is nothing of this name to track"));
        };
        tracked.is_used = true;
        let Some(probe) = tracked.probe.clone() else {
            return Err((
                Fate::Left,
                "cannot be looked at here: a check of type exec can read a file, or look for a process",
            ));
        };
        let check = Check {
            name: name.to_owned(),
            groups: Vec::new(),
            probe,
            interval: tracked.interval,
            timeout: tracked.timeout.or(tracked.interval),
            rise: tracked.rise,
            fall: tracked.fall,
            weight: 0,
        };
        Ok((check, tracked.weight))
    }

    /// One check serves several groups, where it is the same for them.
    fn add_check(&mut self, directive: &Directive, mut check: Check, group: &str) {
        let is_same = |known: &&mut Check| {
            Check { groups: Vec::new(), name: String::new(), ..(**known).clone() }
                == Check { name: String::new(), ..check.clone() }
        };
        if let Some(known) = self.model.checks.iter_mut().find(is_same) {
            if !known.groups.iter().any(|name| name == group) {
                known.groups.push(group.to_owned());
            }
            return;
        }
        if self.model.checks.len() == MAX_CHECKS {
            return self.remark(directive, Fate::Left, format!("there can be {MAX_CHECKS} checks at most"));
        }
        check.name = self.free_name(&check.name);
        check.groups.push(group.to_owned());
        self.model.checks.push(check);
    }

    /// A name that no check has, and that is not too long.
    fn free_name(&self, wished: &str) -> String {
        let begin: String = wished.chars().filter(|c| !c.is_control() && c.is_ascii()).take(24).collect();
        let is_taken = |name: &str| self.model.checks.iter().any(|check| check.name == name);
        let numbered = (2..).map(|number: usize| format!("{begin}-{number}"));
        std::iter::once(begin.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(begin)
    }

    /// Says of what is defined whether anything came of it.
    pub(super) fn end_tracks(&mut self) {
        for tracked in std::mem::take(&mut self.tracked).into_values() {
            let (fate, why) = match tracked {
                Tracked { is_used: false, .. } => (Fate::Unneeded, "nobody tracks it"),
                Tracked { probe: None, .. } => (Fate::Left, "no check can look at this"),
                Tracked { .. } => (Fate::Carried, "as a check"),
            };
            self.remark(&tracked.directive, fate, why);
        }
    }
}

impl Tracked {
    fn new(directive: &Directive, weight: Weight) -> Self {
        Self {
            directive: directive.clone(),
            probe: None,
            interval: None,
            timeout: None,
            rise: None,
            fall: None,
            weight,
            is_used: false,
        }
    }
}
