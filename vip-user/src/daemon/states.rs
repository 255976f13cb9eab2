//! What this node is in a group, told to the group's notify scripts: once for each change.

use super::control_plane::ControlPlane;
use super::groups::{Group, holder};
use crate::clock;
use crate::config::NotifyState;
use crate::dataplane::Words;
use crate::election::State;
use crate::handlers::{Call, Notifier, Stopping};
use crate::status::GroupState;

/// What the scripts of a group have been told, and what runs them.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    told: Option<NotifyState>,
    /// The daemon has begun with a lease of its former run, which goes on: the node is master all the time.
    goes_on: bool,
    /// Since the first script was run.
    notifier: Option<Notifier>,
}

impl Scripts {
    /// What is to be told now, if anything: a state that is not known, or was told last, is not.
    fn change(&mut self, state: Option<NotifyState>) -> Option<NotifyState> {
        let new = state.filter(|state| self.told != Some(*state));
        self.told = new.or(self.told);
        new
    }
}

impl ControlPlane {
    /// The daemon begins.
    pub(super) fn begin_states(&mut self) {
        let now = clock::now();
        for group in &mut self.groups {
            group.scripts.goes_on = is_held(group, &self.words, self.id, now);
        }
    }

    /// Tells what has changed, in any group.
    pub(super) fn tell_states(&mut self) {
        let now = clock::now();
        self.observe_groups(now);
        if self.is_ending {
            return;
        }
        for group in &mut self.groups {
            let is_held = is_held(group, &self.words, self.id, now);
            let goes_on = group.scripts.goes_on && group.scripts.told.is_none();
            let state =
                state_of(group).filter(|state| *state != NotifyState::Backup || !(goes_on && is_held));
            // An election may be over before it is looked at for the first time.
            if state == Some(NotifyState::Master) && group.scripts.told.is_none() && !goes_on {
                let before = calls(group, NotifyState::Backup);
                if !before.is_empty() {
                    group.scripts.notifier.get_or_insert_with(|| self.events.notifier()).tell(before);
                }
            }
            let Some(state) = group.scripts.change(state) else { continue };
            let calls = calls(group, state);
            if !calls.is_empty() {
                group.scripts.notifier.get_or_insert_with(|| self.events.notifier()).tell(calls);
            }
        }
    }

    /// A group is not on this node any more; keepalived's scripts are told FAULT then.
    pub(super) fn tell_removed(&self, mut group: Group) {
        let calls = calls(&group, NotifyState::Fault);
        if !calls.is_empty() && group.scripts.change(Some(NotifyState::Fault)).is_some() {
            group.scripts.notifier.get_or_insert_with(|| self.events.notifier()).tell(calls);
        }
    }

    /// Tells of no more changes: those by which the daemon ends are one, and the last one.
    pub(super) fn end_states(&mut self) {
        self.is_ending = true;
    }

    /// Another daemon goes on: scripts that run, or wait, are not cut off.
    pub(super) fn finish_scripts(&mut self, stopping: &mut Stopping) {
        let notifiers = self.groups.iter_mut().filter_map(|group| group.scripts.notifier.take());
        notifiers.for_each(|notifier| stopping.add(notifier, Vec::new()));
    }

    /// The daemon ends, and this is told.
    pub(super) fn tell_end(&mut self, stopping: &mut Stopping) {
        for group in &mut self.groups {
            let calls = calls(group, NotifyState::Stop);
            if !calls.is_empty() && group.scripts.told.is_some() {
                let notifier = group.scripts.notifier.take().unwrap_or_else(|| self.events.notifier());
                stopping.add(notifier, calls);
            }
        }
    }
}

/// Whether this node, of this id, holds the group.
fn is_held(group: &Group, words: &Words, id: u16, now: u64) -> bool {
    match group.has_lease() {
        true => holder(words.read(group.slot), now) == Some(id),
        false => words.holds(group.slot, now),
    }
}

/// What this node is in a group; `None`: nothing that scripts have a word for, or not known yet.
const fn state_of(group: &Group) -> Option<NotifyState> {
    match (group.part, group.state()) {
        (_, GroupState::Witness) => None,
        // Also if the lease has run out and may yet be renewed: the election says when it is lost.
        (State::Holder, _) => Some(NotifyState::Master),
        (_, GroupState::Fault) => Some(NotifyState::Fault),
        (_, GroupState::Quarantine) => None,
        (_, _) => Some(NotifyState::Backup),
    }
}

/// The scripts that are to be told of this state.
fn calls(group: &Group, state: NotifyState) -> Vec<Call> {
    let notify = &group.settings.notify;
    let runs = notify.runs(state, &group.settings.name, group.fitness.priority);
    let event = format!("{} in group {}", state.as_str(), group.settings.name);
    runs.into_iter().map(|run| Call { run, event: event.clone(), limit: notify.timeout }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_what_is_not_known_is_none() {
        use NotifyState::{Backup, Fault, Master};
        let mut scripts = Scripts::default();
        let seen =
            [None, Some(Backup), Some(Backup), Some(Master), None, Some(Master), Some(Fault), Some(Backup)];
        let told: Vec<NotifyState> = seen.into_iter().filter_map(|state| scripts.change(state)).collect();
        assert_eq!(told, [Backup, Master, Fault, Backup]);
    }
}
