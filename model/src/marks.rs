//! What has happened on the way to a state.
//!
//! A search that never sees a lease held, renewed or handed over would find no promise broken either. So each search says
//! what it has to see, and each state carries what the way to it has shown. That is no part of the state: states are the
//! same whatever led to them, and the first way to each is the one that is looked at.

use std::hash::{Hash, Hasher};

use stateright::{Model, Property};

/// Something that a search has to see, or else it shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A node serves.
    Held,
    /// A word that serves is moved forward.
    Renewed,
    /// A node serves after another one, whatever has ended that one's lease.
    Succeeded,
    /// A node serves after another one whose lease was not given back, but ran out.
    TakenOver,
    /// A lease is handed over while it runs.
    HandedOver,
    /// A daemon that was started anew serves by what it has asked for itself.
    CameBack,
    /// A node serves in a later configuration than the first one.
    LaterEpoch,
}

/// A state that carries marks.
pub(crate) trait Marked {
    fn marks(&self) -> &Marks;
}

impl Sight {
    /// What a search must find in some state.
    pub(crate) fn property<M>(self) -> Property<M>
    where
        M: Model,
        M::State: Marked,
    {
        // Plain functions, as the checker takes no closures that know `self`.
        let (says, is_seen): (_, fn(&M, &M::State) -> bool) = match self {
            Self::Held => ("a lease is held", |_, state| state.marks().has(Self::Held)),
            Self::Renewed => ("a lease is renewed", |_, state| state.marks().has(Self::Renewed)),
            Self::Succeeded => ("another node holds next", |_, state| state.marks().has(Self::Succeeded)),
            Self::TakenOver => {
                ("another node takes over what ran out", |_, state| state.marks().has(Self::TakenOver))
            }
            Self::HandedOver => ("a lease is handed over", |_, state| state.marks().has(Self::HandedOver)),
            Self::CameBack => ("a restarted daemon holds", |_, state| state.marks().has(Self::CameBack)),
            Self::LaterEpoch => {
                ("a lease is held in a later epoch", |_, state| state.marks().has(Self::LaterEpoch))
            }
        };
        Property::sometimes(says, is_seen)
    }
}

/// What the way to a state has shown. All marks are equal and hash to nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Marks {
    /// Who has served last; 0 = nobody yet.
    last_holder: u16,
    /// That one's lease has run out.
    has_run_out: bool,
    /// By sight, a bit each.
    seen: u8,
}

impl Marks {
    /// Looks at a step: which nodes serve before and after, and until when by their own clocks. `passed` = time has.
    pub(crate) fn note(&mut self, before: &[(u16, u64)], after: &[(u16, u64)], passed: bool) {
        if !before.is_empty() && after.is_empty() {
            self.has_run_out = passed;
        }
        for (node, until) in after {
            let was = before.iter().find(|(id, _)| id == node);
            let is_another = ![0, *node].contains(&self.last_holder);
            self.see(Sight::Held, true);
            self.see(Sight::Renewed, was.is_some_and(|(_, was)| !passed && until > was));
            self.see(Sight::Succeeded, is_another);
            self.see(Sight::TakenOver, is_another && self.has_run_out);
            self.last_holder = *node;
        }
    }

    pub(crate) fn see(&mut self, sight: Sight, is_seen: bool) {
        self.seen |= u8::from(is_seen) << sight as u8;
    }

    fn has(&self, sight: Sight) -> bool {
        self.seen >> sight as u8 & 1 == 1
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
