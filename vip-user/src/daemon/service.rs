//! What the service manager is told while the daemon runs.

use std::convert::Infallible;
use std::future;
use std::time::Duration;

use super::control_plane::ControlPlane;
use super::lease_thread::Pulse;
use super::shared::Shared;
use crate::clock;
use crate::membership;
use crate::service::ServiceManager;

/// Time between two looks at what the manager is to be told, at most.
const LOOK: Duration = Duration::from_secs(1);
/// How many groups are named in the line for people.
const NAMED: usize = 3;

/// Tells the manager, if there is one, that the daemon serves, and from then on what it does, and that it lives: that this
/// thread and the lease thread both go on.
pub(super) async fn keep_told(
    manager: Option<&ServiceManager>,
    shared: &Shared,
    mut pulse: Pulse,
) -> Infallible {
    let Some(manager) = manager else { return future::pending().await };
    let look = manager.watchdog().map_or(LOOK, |limit| LOOK.min(limit / 4));
    let mut told = String::new();
    manager.ready();
    loop {
        let headline = shared.with(ControlPlane::headline);
        if headline != told {
            manager.status(&headline);
            told = headline;
        }
        if manager.watchdog().is_some() && pulse.has_beaten() {
            manager.alive();
        }
        tokio::time::sleep(look).await;
    }
}

impl ControlPlane {
    /// What this node does, in a line.
    fn headline(&mut self) -> String {
        self.observe_groups(clock::now());
        let holds = held(
            &self.groups.iter().map(|group| (&*group.settings.name, group.is_master())).collect::<Vec<_>>(),
        );
        let is_alive = |id: &u16| {
            let mut members = self.membership.members();
            members.any(|member| member.id == *id && member.status == membership::Status::Alive)
        };
        match self.membership.configuration() {
            None => format!("{holds}; waits for the nodes of the first configuration"),
            Some(configuration) => {
                let voters = configuration.voters();
                let alive = voters.iter().filter(|id| is_alive(id)).count();
                format!("{holds}; {alive} of {} voters alive", voters.len())
            }
        }
    }
}

/// Which groups this node holds, of these: each by its name, and whether it does.
fn held(groups: &[(&str, bool)]) -> String {
    let held: Vec<_> = groups.iter().filter(|(_, is_held)| *is_held).map(|(name, _)| *name).collect();
    match held.len() {
        _ if groups.is_empty() => "only votes".to_owned(),
        0 => "holds nothing".to_owned(),
        1..=NAMED => format!("holds {}", held.join(", ")),
        count => format!("holds {count} of {} groups", groups.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_groups_are_named_and_many_are_counted() {
        assert_eq!(held(&[]), "only votes");
        assert_eq!(held(&[("web", false)]), "holds nothing");
        assert_eq!(held(&[("web", true), ("api", false), ("db", true)]), "holds web, db");
        assert_eq!(held(&[("a", true); 4]), "holds 4 of 4 groups");
    }
}
