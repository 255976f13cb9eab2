//! The sections `[[check]]`: what has to be well on this machine for it to hold its groups.

use std::{collections::HashMap, fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    document::{Field, Place, Section},
    duration::format_duration,
    group::Group,
    handler::Run,
    name::check_name,
    node::parse_interface_name,
};
use crate::exit::Failure;

mod http;
mod target;

pub use self::{
    http::{Http, StatusCodes, Tls, Trust},
    target::Target,
};

pub(super) const KEYS: &[&str] = &[
    "name",
    "type",
    "group",
    "interval",
    "timeout",
    "rise",
    "fall",
    "weight",
    "url",
    "host",
    "headers",
    "status",
    "body",
    "verify",
    "ca",
    "address",
    "run",
    "shell",
    "process",
    "interface",
    "file",
    "absent",
];

/// The most checks of a configuration.
pub const MAX_CHECKS: usize = 64;

/// The largest weight, either way: as keepalived's.
pub const MAX_WEIGHT: i16 = 253;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const LEAST_TIME: Duration = Duration::from_millis(1);
/// A process costs about a millisecond to start.
const LEAST_EXEC_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
const MOST_IN_A_ROW: u64 = 1000;
/// The kernel's bound of a file name.
const MAX_PROCESS_NAME: usize = 255;

/// Something that is looked at again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What people call it, unique. At most 32 bytes.
    pub name: String,
    /// Whom it concerns.
    pub scope: Scope,
    /// What is looked at.
    pub probe: Probe,
    /// From the begin of one run to the begin of the next, if that takes no longer.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// So many runs in a row have to pass before it passes again; at least 1. The first one after the start is enough.
    pub rise: u16,
    /// So many runs in a row have to fail before it fails; at least 1.
    pub fall: u16,
    /// What comes of its failing.
    pub effect: Effect,
}

/// Whom a check concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All groups.
    Node,
    /// These, by their names; at least one, each once.
    Groups(Vec<String>),
}

impl Scope {
    /// Whether this group is among them.
    #[must_use]
    pub fn covers(&self, group: &str) -> bool {
        match self {
            Self::Node => true,
            Self::Groups(names) => names.iter().any(|name| name == group),
        }
    }

    /// The names of the groups; none: all of them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Node => &[],
            Self::Groups(names) => names,
        }
    }
}

/// What comes of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// While it fails, this node cannot hold the groups that it concerns.
    Fatal,
    /// Added to the priority: a negative one while it fails, a positive one while it passes. Not 0.
    Weight(i16),
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A web server's answer to a GET.
    Http(Box<Http>),
    /// Whether somebody accepts connections there.
    Tcp(Target),
    /// The exit status of a program: 0 passes.
    Exec(Run),
    /// Whether a process of this name runs.
    Process(String),
    /// Whether this interface is on, and has a carrier.
    Interface(String),
    /// Whether there is such a file, or, if it is to be `absent`, none.
    File {
        /// Its absolute path.
        path: PathBuf,
        /// Whether its being there is the failure.
        absent: bool,
    },
}

impl Probe {
    /// Its type, as the configuration calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => Kind::Http,
            Self::Tcp(_) => Kind::Tcp,
            Self::Exec(_) => Kind::Exec,
            Self::Process(_) => Kind::Process,
            Self::Interface(_) => Kind::Interface,
            Self::File { .. } => Kind::File,
        }
        .name()
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => write!(f, "{http}"),
            Self::Tcp(target) => write!(f, "tcp {target}"),
            Self::Exec(run) => write!(f, "exec {run}"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::File { path, absent } => {
                let wish = if *absent { "no file" } else { "file" };
                write!(f, "{wish} {:?}", path.display().to_string())
            }
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scope, probe, interval, timeout, rise, fall, effect } = self;
        let (interval, timeout) = (format_duration(*interval), format_duration(*timeout));
        write!(f, "{name}: {probe}, every {interval}, {timeout} at most, rise {rise}, fall {fall}; ")?;
        match effect {
            Effect::Fatal => f.write_str("fatal for ")?,
            Effect::Weight(weight) => write!(f, "{weight:+} for ")?,
        }
        match scope {
            Scope::Node => f.write_str("all groups"),
            Scope::Groups(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// The types of checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Exec,
    Process,
    Interface,
    File,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Http, Self::Tcp, Self::Exec, Self::Process, Self::Interface, Self::File];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Exec => "exec",
            Self::Process => "process",
            Self::Interface => "interface",
            Self::File => "file",
        }
    }

    /// The keys that only this type has.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["url", "host", "headers", "status", "body", "verify", "ca"],
            Self::Tcp => &["address"],
            Self::Exec => &["run", "shell"],
            Self::Process => &["process"],
            Self::Interface => &["interface"],
            Self::File => &["file", "absent"],
        }
    }

    /// Of these, one look tells all that there is to know; the others can fail for a moment.
    const fn is_certain(self) -> bool {
        matches!(self, Self::Process | Self::Interface | Self::File)
    }

    fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let field = section.field("type");
        let types = "\"http\", \"tcp\", \"exec\", \"process\", \"interface\" or \"file\"";
        let text = field.string()?.ok_or_else(|| field.refuse(format!("missing; use {types}")))?;
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        let kind = kind.ok_or_else(|| field.refuse(format!("{text:?} is no type of check; use {types}")))?;
        kind.refuse_keys_of_others(section)?;
        Ok(kind)
    }

    fn refuse_keys_of_others(self, section: &Section<'_>) -> Result<(), Failure> {
        for other in Self::ALL.into_iter().filter(|other| *other != self) {
            let mut fields = other.keys().iter().map(|key| section.field(key));
            if let Some(field) = fields.find(Field::is_present) {
                let (other, own) = (other.name(), self.name());
                return Err(
                    field.refuse(format!("belongs to checks of type {other:?}; this is one of type {own:?}"))
                );
            }
        }
        Ok(())
    }
}

/// Reads the checks, in the order of the file.
pub(super) fn read(sections: &[Section<'_>], groups: &[Group]) -> Result<Vec<Check>, Failure> {
    if let Some(first_too_many) = sections.get(MAX_CHECKS) {
        let field = first_too_many.field("name");
        return Err(field.refuse(format!("there can be {MAX_CHECKS} checks at most")));
    }
    let mut names = HashMap::new();
    sections.iter().map(|section| read_check(section, groups, &mut names)).collect()
}

fn read_check(
    section: &Section<'_>,
    groups: &[Group],
    names: &mut HashMap<String, Place>,
) -> Result<Check, Failure> {
    let name = read_name(&section.field("name"), names)?;
    let kind = Kind::read(section)?;
    let least = if kind == Kind::Exec { LEAST_EXEC_INTERVAL } else { LEAST_TIME };
    let (rise, fall) = if kind.is_certain() { (1, 1) } else { (2, 3) };
    Ok(Check {
        name,
        scope: read_scope(&section.field("group"), groups)?,
        probe: read_probe(kind, section)?,
        interval: read_time(&section.field("interval"), DEFAULT_INTERVAL, least..=LONGEST_INTERVAL)?,
        timeout: read_time(&section.field("timeout"), DEFAULT_TIMEOUT, LEAST_TIME..=LONGEST_TIMEOUT)?,
        rise: section.field("rise").integer(1..=MOST_IN_A_ROW)?.unwrap_or(rise),
        fall: section.field("fall").integer(1..=MOST_IN_A_ROW)?.unwrap_or(fall),
        effect: match section.field("weight").signed(-MAX_WEIGHT..=MAX_WEIGHT)?.unwrap_or(0) {
            0 => Effect::Fatal,
            weight => Effect::Weight(weight),
        },
    })
}

fn read_name(field: &Field<'_>, names: &mut HashMap<String, Place>) -> Result<String, Failure> {
    let name = field.string()?.ok_or_else(|| field.refuse("missing; give the check a name"))?;
    let name = check_name(name).map_err(|why| field.refuse(why))?;
    match names.insert(name.clone(), field.place().clone()) {
        None => Ok(name),
        Some(first) => Err(field.refuse(format!(
            "{name:?} is the name of another check already ({}); rename one of the two",
            first.position()
        ))),
    }
}

/// One group, a list of them, or all.
fn read_scope(field: &Field<'_>, groups: &[Group]) -> Result<Scope, Failure> {
    let wished: Vec<(Place, &str)> = match field.is_list() {
        true => field.strings()?.unwrap_or_default(),
        false => field.string()?.into_iter().map(|name| (field.place().clone(), name)).collect(),
    };
    if wished.is_empty() {
        return match field.is_present() {
            true => Err(field.refuse("the list is empty; leave it out for a check that concerns all groups")),
            false => Ok(Scope::Node),
        };
    }
    let mut names: Vec<String> = Vec::new();
    for (place, name) in wished {
        if !groups.iter().any(|group| group.name == name) {
            let known: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
            return Err(place.refuse(format!("there is no group {name:?}; there are: {}", known.join(", "))));
        }
        if names.iter().any(|other| other == name) {
            return Err(place.refuse(format!("{name:?} is in the list already")));
        }
        names.push(name.to_owned());
    }
    Ok(Scope::Groups(names))
}

fn read_probe(kind: Kind, section: &Section<'_>) -> Result<Probe, Failure> {
    Ok(match kind {
        Kind::Http => Probe::Http(Box::new(Http::read(section)?)),
        Kind::Tcp => Probe::Tcp(Target::read(&section.field("address"))?),
        Kind::Exec => Probe::Exec(Run::read(section)?),
        Kind::Process => Probe::Process(read_process(&section.field("process"))?),
        Kind::Interface => Probe::Interface(read_interface(&section.field("interface"))?),
        Kind::File => {
            let absent = section.field("absent").boolean()?.unwrap_or(false);
            Probe::File { path: read_path(&section.field("file"))?, absent }
        }
    })
}

fn read_process(field: &Field<'_>) -> Result<String, Failure> {
    let name = field.string()?.ok_or_else(|| field.refuse("missing; name a program, as in \"haproxy\""))?;
    if name.is_empty() || name.len() > MAX_PROCESS_NAME {
        return Err(field.refuse(format!("the name of a program has 1 to {MAX_PROCESS_NAME} bytes")));
    }
    if name.contains(|c: char| c == '/' || c.is_control()) {
        return Err(
            field.refuse(format!("{name:?} is not the name of a program alone; leave out its folder"))
        );
    }
    Ok(name.to_owned())
}

fn read_interface(field: &Field<'_>) -> Result<String, Failure> {
    let name = field.string()?.ok_or_else(|| field.refuse("missing; name an interface, as in \"eth1\""))?;
    parse_interface_name(name).map_err(|why| field.refuse(format!("{name:?} {why}")))
}

/// An absolute path.
fn read_path(field: &Field<'_>) -> Result<PathBuf, Failure> {
    let text = field.string()?.ok_or_else(|| field.refuse("missing; give the absolute path of a file"))?;
    if !text.starts_with('/') || text.contains('\0') {
        return Err(field.refuse(format!("{text:?} is not an absolute path")));
    }
    Ok(text.into())
}

fn read_time(
    field: &Field<'_>,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Failure> {
    let time = field.duration()?.unwrap_or(default);
    if range.contains(&time) {
        return Ok(time);
    }
    let [time, least, most] = [&time, range.start(), range.end()].map(|time| format_duration(*time));
    Err(field.refuse(format!("{time} is not from {least} to {most}")))
}

impl Check {
    /// What it adds to a priority, for one that passes and for one that fails; 0 for fatal ones.
    #[must_use]
    pub fn weights(&self) -> (i16, i16) {
        match self.effect {
            Effect::Fatal => (0, 0),
            Effect::Weight(weight) => (weight.max(0), weight.min(0)),
        }
    }
}
