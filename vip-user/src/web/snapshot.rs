//! A node as it is at one moment, with all that is shown of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::dataplane::Counters;
use crate::histogram::Histogram;
use crate::journal::Entry;
use crate::status::Status;

/// See the module. What is counted is counted since the daemon started, but for `outcomes`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken, in Unix milliseconds.
    pub at: u64,
    /// As `vip-user status` shows it.
    pub status: Status,
    /// The cluster's name.
    pub cluster: String,
    /// The time between two renewals.
    pub interval: Duration,
    /// What has happened to each group, in the order of those in `status`.
    pub groups: Vec<GroupFigures>,
    /// Outcomes of frames since the data plane was loaded.
    pub outcomes: Counters,
    /// How late this node's renewals were.
    pub lateness: Histogram,
    /// How long renewals and the answers to them took, by the id of the voter that answered: one each second.
    pub round_trips: BTreeMap<u16, Histogram>,
    /// The last minutes, oldest first.
    pub moments: Vec<Moment>,
    /// The newest entries of the journal, oldest first.
    pub timeline: Vec<Entry>,
    /// The handlers, in the order of the configuration.
    pub handlers: Vec<HandlerFigures>,
    /// Letters of other nodes that this daemon was too busy for.
    pub lost_letters: u64,
    /// Reports of its own lease thread that it was too busy for.
    pub lost_reports: u64,
    /// Lines of the log that were kept back, since there were too many like them.
    pub suppressed_lines: u64,
    /// For how long the lease thread has not come to its work, if that is too long.
    pub stuck_for: Option<Duration>,
}

/// What has happened to a group, as this node saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFigures {
    /// How often this node stood for it.
    pub candidacies: u64,
    /// How often this node came to hold it.
    pub promotions: u64,
    /// How often its lease ran out here.
    pub lapses: u64,
    /// How often this node gave it back.
    pub releases: u64,
    /// How often this node gave it back since it could not serve it any more.
    pub unfit: u64,
    /// How often this node handed it over.
    pub handovers: u64,
    /// How often nobody held it any more, and this node noticed.
    pub outages: u64,
    /// How long nobody held it, all these together.
    pub outage: Duration,
}

/// What a handler has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerFigures {
    /// What it runs, as in the configuration.
    pub run: String,
    /// How often it was run.
    pub runs: u64,
    /// How often that failed, or took too long.
    pub failures: u64,
    /// Events that it was not told of, since too many waited.
    pub lost: u64,
}

/// One second of the node's life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// When it ended, in Unix milliseconds.
    pub at: u64,
    /// How many renewals this node made.
    pub renewals: u64,
    /// How late they were on average, in microseconds; none without renewals.
    pub mean_us: Option<f64>,
    /// How late the latest one was, in microseconds; none without renewals.
    pub worst_us: Option<f64>,
    /// The longest that a voter's answer to the last of them took, in microseconds, where that is known.
    pub round_trip_us: Option<f64>,
}
