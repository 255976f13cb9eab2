//! Maintenance: an operator frees this machine, and it takes nothing until told otherwise, over restarts of the daemon, too.

use tracing::warn;

use super::control_plane::ControlPlane;
use super::handover::Begun;
use super::shared::Shared;
use crate::control::{Handover, Maintenance, Reply};
use crate::journal::{Happening, Kind};

/// Begins or ends maintenance; replies when what this node holds has gone, or it is known why not. Doing it twice does no harm.
pub(super) async fn set(shared: &Shared, on: bool) -> Reply {
    let (begun, writing) = shared.ask(|plane| {
        let begun = plane.set_maintenance(on);
        (begun, plane.storage.write_maintenance(on))
    });
    let mut groups: Vec<Handover> = Vec::new();
    for begun in begun {
        groups.push(begun.finish(shared).await);
    }
    let forgotten = writing.await.err();
    if let Some(reason) = &forgotten {
        warn!("{reason}; a daemon that is started again will not know of it");
    }
    let node = shared.with(|plane| plane.settings.node.name.clone());
    Reply::ok(&Maintenance { node, on, groups, forgotten })
}

impl ControlPlane {
    /// Gives the handovers that were begun, or why one cannot be yet.
    fn set_maintenance(&mut self, on: bool) -> Vec<Begun> {
        if on != self.health.is_in_maintenance {
            let switched = if on { "on: this node takes nothing" } else { "off" };
            self.journal.tell(Happening::new(Kind::Maintenance, format!("maintenance is {switched}")));
        }
        self.health.is_in_maintenance = on;
        self.tell_offers();
        let begun = if on { self.hand_all_over() } else { Vec::new() };
        self.order_eligibility();
        self.settle();
        begun
    }
}
