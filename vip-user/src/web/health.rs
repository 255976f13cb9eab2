//! What a load balancer or an orchestrator asks: is the daemon alive, could the node serve, and does it hold a group.

use serde::Serialize;

use super::snapshot::Snapshot;
use crate::status::{GroupState, GroupStatus, InterfaceState, MemberStatus, Status};

/// Whether the daemon works: if not, restarting it may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    /// What is wrong.
    reasons: Vec<String>,
}

impl Health {
    /// By what the control plane shows, if it shows anything.
    pub(super) fn of(snapshot: Option<&Snapshot>) -> Self {
        let reason = match snapshot {
            None => Some("the control plane does not answer".to_owned()),
            Some(snapshot) => snapshot.stuck_for.map(|time| {
                format!("the lease thread has not come to its work for {:.1} s", time.as_secs_f64())
            }),
        };
        Self { healthy: reason.is_none(), reasons: reason.into_iter().collect() }
    }
}

/// Whether the node serves, or would if it were its turn: as a backup that nothing is in the way of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// What is in the way.
    reasons: Vec<String>,
}

impl Readiness {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let Status { groups, interfaces, .. } = &snapshot.status;
        let down = interfaces.iter().filter(|interface| interface.state != InterfaceState::Up);
        let down = down.map(|interface| format!("the interface {} is down", interface.name));
        let groups = groups.iter().filter_map(obstacle);
        let quorum = lost_quorum(&snapshot.status);
        let stuck = Health::of(Some(snapshot)).reasons;
        let reasons: Vec<String> = stuck.into_iter().chain(quorum).chain(down).chain(groups).collect();
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// Why this node could not serve a group.
fn obstacle(group: &GroupStatus) -> Option<String> {
    let why = match group.state {
        GroupState::Master | GroupState::Backup | GroupState::Candidate | GroupState::Witness => return None,
        GroupState::Quarantine => "in quarantine, until no promise of a former run can matter",
        GroupState::Fault => "at fault",
        GroupState::Maintenance => "in maintenance",
    };
    Some(format!("group {}: {why}", group.name))
}

/// Without a majority of the voters, nobody can hold anything for long; but one that serves alone, as in pair mode, serves.
fn lost_quorum(status: &Status) -> Option<String> {
    if status.epoch == 0 {
        return Some("no configuration has been formed yet".to_owned());
    }
    let voters = status.members.iter().filter(|member| member.voter);
    let (all, alive) = voters.fold((0, 0), |(all, alive), member| {
        (
            all + 1,
            alive + usize::from(member.status != MemberStatus::Failed && member.status != MemberStatus::Left),
        )
    });
    let serves = status.groups.iter().any(|group| group.state == GroupState::Master);
    (alive <= all / 2 && !serves).then(|| format!("no majority: {alive} of {all} voters are heard"))
}

/// Whether this node holds a group: what a load balancer in front of the nodes sends traffic by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Holds {
    group: String,
    pub(super) holds: bool,
    holder: Option<String>,
}

impl Holds {
    /// `None` without a group of this name.
    pub(super) fn of(snapshot: &Snapshot, name: &str) -> Option<Self> {
        let group = snapshot.status.groups.iter().find(|group| group.name == name)?;
        let holds = group.state == GroupState::Master;
        Some(Self { group: group.name.clone(), holds, holder: group.holder.clone() })
    }
}
