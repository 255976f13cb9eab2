//! The journal: what has changed on this node, and in the cluster as this node sees it. For whoever asks in the morning what
//! happened at night.
//!
//! Here: what an entry is, and which entries somebody wants to see. How they are kept on the disk is in [`file`]; the
//! daemon writes it.

pub mod file;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::membership::Severity;
use crate::status::rfc3339_millis;

/// The newest entries that a daemon keeps in memory, and tells.
pub const REMEMBERED: usize = 1000;

/// One change. Programs read its JSON: fields may be added, not renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Grows from entry to entry, by one unless some were lost; goes on where the former run ended.
    pub number: u64,
    /// When, by the time of day, in the form that [`rfc3339_millis`] gives.
    pub at: String,
    /// When, by CLOCK_BOOTTIME, in µs since the machine's start: what lies between two entries of one boot, also where the
    /// time of day was set meanwhile.
    pub boottime_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// Something that has changed, before it has a place in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// What kind of change.
    pub kind: Kind,
    /// Whether an operator should look at it.
    pub severity: Severity,
    /// The group that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The other node that it is about, or whom the group has come from or gone to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The ballot of the lease, as `round.node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballot: Option<String>,
    /// For how long nobody had held the group, in ms, as far as this node has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage_ms: Option<f64>,
    /// All of it, for people: one line.
    pub text: String,
}

/// What kinds of changes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The daemon has started; with nothing to go on from, or with the data plane that a former run has left.
    DaemonStart,
    /// The daemon was asked to end.
    DaemonStopping,
    /// It has ended in good order, or says what it cannot go on without.
    DaemonStop,
    /// This node holds the group from now on.
    Promoted,
    /// This node holds the group no longer.
    Demoted,
    /// A group was not handed over.
    HandoverFailed,
    /// Another node holds the group.
    Holder,
    /// Nobody holds the group.
    Vacant,
    /// Nobody holds the group, and no majority of the voters can be reached.
    NoQuorum,
    /// The group is held again after that.
    Quorum,
    /// A machine outside of the cluster claims a VIP.
    Conflict,
    /// A node's daemon is heard for the first time, or again. This and the next ones are told when handlers are told.
    MemberJoin,
    /// A node said that it stops.
    MemberLeave,
    /// A node fell silent without a word.
    MemberFailed,
    /// The name, address or tags of a node have changed.
    MemberUpdate,
    /// A node that was gone for long is forgotten.
    MemberReap,
    /// Other nodes decide from now on.
    Voters,
    /// An interface has lost its carrier, or has it again; or a virtual router's adverts cannot be sent by it.
    Interface,
    /// A health check fails, or passes again.
    Check,
    /// An operator has taken this node, or a group of it, out of service; or put it back.
    Maintenance,
    /// The configuration was read anew.
    Reload,
    /// Another program file was to take over, and could not.
    Upgrade,
    /// What a later version has written.
    #[serde(other)]
    Other,
}

impl Kind {
    /// Its name in the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DaemonStart => "daemon-start",
            Self::DaemonStopping => "daemon-stopping",
            Self::DaemonStop => "daemon-stop",
            Self::Promoted => "promoted",
            Self::Demoted => "demoted",
            Self::HandoverFailed => "handover-failed",
            Self::Holder => "holder",
            Self::Vacant => "vacant",
            Self::NoQuorum => "no-quorum",
            Self::Quorum => "quorum",
            Self::Conflict => "conflict",
            Self::MemberJoin => "member-join",
            Self::MemberLeave => "member-leave",
            Self::MemberFailed => "member-failed",
            Self::MemberUpdate => "member-update",
            Self::MemberReap => "member-reap",
            Self::Voters => "voters",
            Self::Interface => "interface",
            Self::Check => "check",
            Self::Maintenance => "maintenance",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Other => "other",
        }
    }
}

impl Happening {
    /// Something that is a part of normal life.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        let (text, severity) = (text.into(), Severity::Info);
        Self { kind, severity, group: None, node: None, ballot: None, outage_ms: None, text }
    }

    /// Something that an operator should look at.
    pub fn warning(kind: Kind, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, ..Self::new(kind, text) }
    }

    /// About a group.
    #[must_use]
    pub fn group(self, name: &str) -> Self {
        Self { group: Some(name.to_owned()), ..self }
    }

    /// About another node, as [`Happening::node`] says.
    #[must_use]
    pub fn node(self, name: impl Into<String>) -> Self {
        Self { node: Some(name.into()), ..self }
    }

    /// With the ballot of the lease.
    #[must_use]
    pub fn ballot(self, ballot: impl ToString) -> Self {
        Self { ballot: Some(ballot.to_string()), ..self }
    }

    /// After nobody had held the group for so long, in ns.
    #[must_use]
    pub fn after_outage(self, outage: u64) -> Self {
        Self { outage_ms: Some(outage as f64 / 1e6), ..self }
    }
}

/// Which entries somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those of this group alone.
    pub group: Option<String>,
    /// Those not before this point in time, as [`rfc3339_millis`] writes it.
    pub since: Option<String>,
    /// The newest ones, so many of them.
    pub count: Option<usize>,
}

impl Selection {
    /// The point in time so long ago.
    #[must_use]
    pub fn ago(age: Duration) -> String {
        rfc3339_millis(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// Whether an entry is one of them, their number aside.
    #[must_use]
    pub fn wants(&self, entry: &Entry) -> bool {
        let is_of_group = self.group.as_ref().is_none_or(|group| entry.what.group.as_ref() == Some(group));
        // Written in one way, in which text is in the order of time.
        is_of_group && self.since.as_ref().is_none_or(|since| *since <= entry.at)
    }

    /// Leaves of `entries`, oldest first, those that are wanted.
    pub fn select(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| self.wants(entry));
        let surplus = self.count.map_or(0, |count| entries.len().saturating_sub(count));
        entries.drain(..surplus);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry of the group "web".
    pub(crate) fn entry(number: u64, at: &str) -> Entry {
        let what = Happening::new(Kind::Vacant, "nobody holds web").group("web");
        Entry { number, at: at.to_owned(), boottime_us: number, what }
    }

    #[test]
    fn an_entry_is_one_flat_object_that_is_read_back() {
        let what = Happening::warning(Kind::Demoted, "lb1 holds web no longer")
            .group("web")
            .node("lb2")
            .ballot("7.1")
            .after_outage(1_500_000);
        let entry = Entry { number: 3, at: "2026-01-01T00:00:00.000Z".to_owned(), boottime_us: 12, what };
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            r#"{"number":3,"at":"2026-01-01T00:00:00.000Z","boottime_us":12,"kind":"demoted","severity":"warn","group":"web","node":"lb2","ballot":"7.1","outage_ms":1.5,"text":"lb1 holds web no longer"}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }

    #[test]
    fn what_a_later_version_has_written_is_read_too() {
        let text = r#"{"number":1,"at":"","boottime_us":0,"kind":"eclipse","severity":"info","moon":true,"text":"dark"}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!((entry.what.kind, entry.what.text.as_str()), (Kind::Other, "dark"));
    }

    #[test]
    fn every_kind_is_called_the_same_everywhere() {
        for kind in [Kind::DaemonStart, Kind::HandoverFailed, Kind::NoQuorum, Kind::MemberReap, Kind::Other] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn a_selection_is_by_group_and_time_and_then_of_the_newest() {
        let times = ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z", "2026-01-02T00:00:00.000Z"];
        let mut all: Vec<Entry> = (1..).zip(times).map(|(number, at)| entry(number, at)).collect();
        all[1].what.group = None;
        let chosen = |selection: Selection| {
            let mut entries = all.clone();
            selection.select(&mut entries);
            entries.iter().map(|entry| entry.number).collect::<Vec<_>>()
        };
        assert_eq!(chosen(Selection::default()), [1, 2, 3]);
        assert_eq!(chosen(Selection { group: Some("web".into()), ..<_>::default() }), [1, 3]);
        assert_eq!(chosen(Selection { since: Some(times[1].into()), ..<_>::default() }), [2, 3]);
        let newest = Selection { group: Some("web".into()), count: Some(1), ..<_>::default() };
        assert_eq!(chosen(newest), [3]);
    }
}
