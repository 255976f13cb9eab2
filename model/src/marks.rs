//! What has happened on the way to a state.
//!
//! A search that never sees a lease held, renewed or handed over would find no promise broken either. So each state
//! carries what the way to it has shown. That is no part of the state: states are the same whatever led to them, and the
//! first way to each is the one that is looked at.

use std::hash::{Hash, Hasher};

/// What the way to a state has shown. All marks are equal and hash to nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Marks {
    /// Who has served last; 0 = nobody yet.
    last_holder: u16,
    /// A node has served.
    pub(crate) held: bool,
    /// A word that served has been moved forward.
    pub(crate) renewed: bool,
    /// A node has served after another one.
    pub(crate) succeeded: bool,
    /// A lease has been handed over while it ran.
    pub(crate) handed_over: bool,
}

impl Marks {
    /// Looks at a step: which nodes serve before and after, and until when by their own clocks. `passed` = time has.
    pub(crate) fn note(&mut self, before: &[(u16, u64)], after: &[(u16, u64)], passed: bool) {
        for (node, until) in after {
            self.held = true;
            let was = before.iter().find(|(id, _)| id == node);
            self.renewed |= was.is_some_and(|(_, was)| !passed && until > was);
            self.succeeded |= ![0, *node].contains(&self.last_holder);
            self.last_holder = *node;
        }
    }
}

impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Marks {}

impl Hash for Marks {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
