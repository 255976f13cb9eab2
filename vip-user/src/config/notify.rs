//! The keys `notify*` of a group: programs that are told what this node is in it, as keepalived's notify scripts are.

use std::{fmt, time::Duration};

use super::{
    document::{Field, Section},
    duration::format_duration,
    handler::{Run, read_timeout},
};
use crate::exit::Failure;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Programs that are told what this node is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Told of every state, by four more arguments.
    pub any: Option<Run>,
    /// Run when this node serves.
    pub master: Option<Run>,
    /// Run when another one may.
    pub backup: Option<Run>,
    /// Run when this node cannot serve.
    pub fault: Option<Run>,
    /// Run when the daemon ends.
    pub stop: Option<Run>,
    /// The first of the four arguments.
    pub kind: NotifyType,
    /// How long each may take; at most 10 minutes.
    pub timeout: Duration,
}

impl Default for Notify {
    /// No programs.
    fn default() -> Self {
        Self {
            any: None,
            master: None,
            backup: None,
            fault: None,
            stop: None,
            kind: NotifyType::default(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// What a script takes the group for: keepalived has both, and a script may look at which it is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyType {
    /// A `vrrp_instance`, as most scripts expect. They are told this node's priority.
    #[default]
    Instance,
    /// A `vrrp_sync_group`. They are told 0 in place of a priority.
    Group,
}

/// What this node is in a group, in the words of VRRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyState {
    /// It serves.
    Master,
    /// Another one may serve.
    Backup,
    /// It cannot serve.
    Fault,
    /// Its daemon ends.
    Stop,
}

impl NotifyState {
    /// The word that scripts get.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }
}

impl Notify {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let script = |key| read_script(&section.field(key));
        Ok(Self {
            any: script("notify")?,
            master: script("notify_master")?,
            backup: script("notify_backup")?,
            fault: script("notify_fault")?,
            stop: script("notify_stop")?,
            kind: read_kind(&section.field("notify_type"))?,
            timeout: read_timeout(&section.field("notify_timeout"))?.unwrap_or(DEFAULT_TIMEOUT),
        })
    }

    /// What is to be run when this node is in this state, in this order: first the program for the state, as it is, then the
    /// one for all, with four more arguments. `group` and `priority` are what it is told of.
    #[must_use]
    pub fn runs(&self, state: NotifyState, group: &str, priority: u8) -> Vec<Run> {
        let own = match state {
            NotifyState::Master => &self.master,
            NotifyState::Backup => &self.backup,
            NotifyState::Fault => &self.fault,
            NotifyState::Stop => &self.stop,
        };
        let (kind, priority) = match self.kind {
            NotifyType::Instance => ("INSTANCE", priority),
            NotifyType::Group => ("GROUP", 0),
        };
        let told = [kind.to_owned(), group.to_owned(), state.as_str().to_owned(), priority.to_string()];
        let any = self.any.as_ref().map(|run| run.with_arguments(told));
        own.iter().cloned().chain(any).collect()
    }

    /// The keys that are set, with what they run.
    fn scripts(&self) -> impl Iterator<Item = (&'static str, &Run)> {
        let all = [
            ("notify_master", &self.master),
            ("notify_backup", &self.backup),
            ("notify_fault", &self.fault),
            ("notify_stop", &self.stop),
            ("notify", &self.any),
        ];
        all.into_iter().filter_map(|(key, run)| Some((key, run.as_ref()?)))
    }

    /// Whether nobody is to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scripts().next().is_none()
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, run) in self.scripts() {
            write!(f, "{key} {run}, ")?;
        }
        write!(f, "{} at most", format_duration(self.timeout))
    }
}

/// What a script that is a shell's line takes.
const FOR_SHELL: &str = "write [\"/bin/sh\", \"-c\", \"LINE\", \"sh\"]";

/// A line of words as keepalived takes it, or a list of them.
fn read_script(field: &Field<'_>) -> Result<Option<Run>, Failure> {
    if field.is_list() {
        let words = field.strings()?.unwrap_or_default().into_iter().map(|(_, word)| word.to_owned());
        return Run::of_words(field, words.collect(), FOR_SHELL).map(Some);
    }
    let Some(line) = field.string()? else { return Ok(None) };
    let words = shlex::split(line);
    let words = words.ok_or_else(|| field.refuse(format!("{line:?} has a quote that does not end")))?;
    Run::of_words(field, words, FOR_SHELL).map(Some)
}

fn read_kind(field: &Field<'_>) -> Result<NotifyType, Failure> {
    match field.string()? {
        None => Ok(NotifyType::default()),
        Some("instance") => Ok(NotifyType::Instance),
        Some("group") => Ok(NotifyType::Group),
        Some(other) => Err(field.refuse(format!("{other:?} is neither \"instance\" nor \"group\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Run {
        let [path, arguments @ ..] = words else { panic!("no words") };
        Run::Program((*path).to_owned(), arguments.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_script_of_a_state_comes_first_and_the_one_for_all_is_told_which() {
        let notify = Notify {
            any: Some(run(&["/bin/any", "-x"])),
            master: Some(run(&["/bin/master", "now"])),
            ..Notify::default()
        };
        let any = |state| run(&["/bin/any", "-x", "INSTANCE", "web", state, "120"]);
        assert_eq!(
            notify.runs(NotifyState::Master, "web", 120),
            [run(&["/bin/master", "now"]), any("MASTER")]
        );
        assert_eq!(notify.runs(NotifyState::Backup, "web", 120), [any("BACKUP")]);
        assert_eq!(notify.runs(NotifyState::Fault, "web", 120), [any("FAULT")]);
        assert_eq!(notify.runs(NotifyState::Stop, "web", 120), [any("STOP")]);
        assert_eq!(Notify::default().runs(NotifyState::Master, "web", 120), []);
    }

    #[test]
    fn a_script_for_a_sync_group_is_told_no_priority() {
        let notify = Notify { any: Some(run(&["/bin/any"])), kind: NotifyType::Group, ..Notify::default() };
        assert_eq!(
            notify.runs(NotifyState::Master, "VG_1", 120),
            [run(&["/bin/any", "GROUP", "VG_1", "MASTER", "0"])]
        );
    }
}
