//! What the node's checks say, and what comes of it: the log, what others are told, and which groups this node holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::control_plane::ControlPlane;
use super::fitness::{Circumstances, Duty, Fitness};
use crate::clock;
use crate::config::{Effect, Settings};
use crate::events::{CheckEvent, CheckEventKind};
use crate::health::{Health, Record, Verdict};
use crate::journal::{Happening, Kind};
use crate::pace::Pace;
use crate::status::{CheckState, CheckStatus, rfc3339_millis};

/// Least time from one look at the checks to the next: each may lead to messages to all nodes. The first result after a quiet
/// time is looked at at once.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time between two lines of the log about one check, in ns.
const TOLD_EVERY: u64 = 1_000_000_000;

/// The checks as the control plane knows them.
#[derive(Debug)]
pub(super) struct HealthSide {
    health: Health,
    /// What was looked at last, in the order of the configuration.
    looked_at: Vec<Look>,
    /// An operator wants this node to hold nothing.
    pub(super) is_in_maintenance: bool,
    /// The daemon is about to end: others are to hold what this node does.
    pub(super) is_retiring: bool,
}

/// A check, as it was looked at last.
#[derive(Debug)]
struct Look {
    record: Record,
    /// The verdict that the log has.
    told: Verdict,
    pace: Pace,
}

impl HealthSide {
    /// Starts the checks.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub(super) fn start(settings: &Settings, is_in_maintenance: bool) -> std::io::Result<Self> {
        let health = Health::start(&settings.checks)?;
        Ok(Self { looked_at: looks(&health), health, is_in_maintenance, is_retiring: false })
    }

    /// Goes on with the checks of this configuration.
    ///
    /// # Errors
    /// As [`HealthSide::start`]; then there are none any more.
    pub(super) fn follow(&mut self, settings: &Settings) -> std::io::Result<()> {
        let followed = self.health.replace(&settings.checks);
        self.looked_at = looks(&self.health);
        followed
    }

    /// Where results are waited for.
    pub(super) fn results(&self) -> Results {
        Results { changed: self.health.changed(), next: Instant::now() }
    }

    /// What the checks say of a group.
    pub(super) fn fitness(&self, group: &str, circumstances: Circumstances) -> Fitness {
        let checks = self.looked_at.iter().map(|look| (&look.record.check, look.record.verdict()));
        Fitness::of(circumstances, checks.filter(|(check, _)| check.scope.covers(group)))
    }

    /// What `status` shows.
    pub(super) fn status(&self) -> Vec<CheckStatus> {
        self.health.records().into_iter().map(check_status).collect()
    }

    fn look(&mut self) {
        for (look, record) in self.looked_at.iter_mut().zip(self.health.records()) {
            look.record = record;
        }
    }

    /// Checks that have changed since they were told, and are told now; one that does so all the time is told now and then.
    fn take_news(&mut self, now: u64) -> impl Iterator<Item = &Record> {
        self.looked_at.iter_mut().filter_map(move |Look { record, told, pace }| {
            let is_due = record.verdict() != *told && pace.allows(now);
            is_due.then(|| {
                *told = record.verdict();
                &*record
            })
        })
    }
}

/// Waits for results.
#[derive(Debug)]
pub(super) struct Results {
    changed: Arc<Notify>,
    next: Instant,
}

impl Results {
    /// Waits until a check has changed; may be cancelled.
    pub(super) async fn next(&mut self) {
        sleep_until(self.next).await;
        self.changed.notified().await;
        self.next = Instant::now() + LOOK_EVERY;
    }
}

impl ControlPlane {
    /// A check has changed.
    pub(super) fn handle_checks(&mut self) {
        self.health.look();
        self.order_eligibility();
        self.settle();
        self.look_at_holders();
        self.tell_of_checks();
    }

    /// Tells of checks that have changed too often to be told each time.
    pub(super) fn tell_of_checks(&mut self) {
        let now = clock::now();
        for record in self.health.take_news(now) {
            self.journal.tell(happening(record));
            self.events.check(event(record), now);
        }
    }

    /// Finds out what this node makes of each of its groups now.
    pub(super) fn assess(&mut self) {
        let can_serve = self.can_serve();
        let sources: Vec<bool> = self
            .groups
            .iter()
            .map(|group| group.has_lease() || self.source_of(&group.settings).is_some())
            .collect();
        for (group, has_source) in self.groups.iter_mut().zip(sources) {
            let circumstances = Circumstances {
                priority: group.settings.priority,
                can_serve: can_serve && has_source && !group.is_leaving,
                is_unwanted: self.health.is_in_maintenance || self.health.is_retiring,
                is_served: group.is_served,
                heard: group.heard,
            };
            let (before, name) = (group.fitness, &group.settings.name);
            group.fitness = self.health.fitness(name, circumstances);
            if group.fitness.priority != before.priority && group.fitness.duty == Duty::Serve {
                info!(group = %name, "priority {} (before: {})", group.fitness.priority, before.priority);
            }
        }
    }
}

fn looks(health: &Health) -> Vec<Look> {
    let look = |record: Record| Look { told: record.verdict(), record, pace: Pace::new(0, TOLD_EVERY) };
    health.records().into_iter().map(look).collect()
}

/// What has happened to a check.
fn happening(record: &Record) -> Happening {
    let name = &record.check.name;
    if record.verdict() == Verdict::Passing {
        return Happening::new(Kind::Check, format!("check {name} passes"));
    }
    let effect = match record.check.effect {
        Effect::Fatal => "fatal".to_owned(),
        Effect::Weight(weight) => format!("weight {weight:+}"),
    };
    let reason = record.last_error.as_deref().unwrap_or_default();
    Happening::warning(Kind::Check, format!("check {name} fails ({effect}): {reason}"))
}

/// The same, for handlers.
fn event(record: &Record) -> CheckEvent {
    let kind = match record.verdict() {
        Verdict::Passing => CheckEventKind::Passed,
        Verdict::Failing | Verdict::Pending => CheckEventKind::Failed,
    };
    CheckEvent {
        kind,
        check: record.check.name.clone(),
        reason: record.last_error.clone().unwrap_or_default(),
    }
}

fn check_status(record: Record) -> CheckStatus {
    CheckStatus {
        kind: record.check.probe.kind().to_owned(),
        groups: record.check.scope.names().to_vec(),
        weight: match record.check.effect {
            Effect::Fatal => 0,
            Effect::Weight(weight) => weight,
        },
        state: match record.verdict() {
            Verdict::Pending => CheckState::Pending,
            Verdict::Passing => CheckState::Passing,
            Verdict::Failing => CheckState::Failing,
        },
        passing: record.verdict() == Verdict::Passing,
        since: rfc3339_millis(record.since),
        runs: record.runs,
        failures: record.failures,
        took_ms: record.took.as_secs_f64() * 1e3,
        name: record.check.name,
        last_error: record.last_error,
    }
}
