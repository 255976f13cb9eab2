//! The table of guards: what the safety of the protocol rests on, one by one.
//!
//! An edit's text is the code as it stands, so that a guard that has moved or changed is noticed at once. How many
//! schedules a finder is given is some times what it took; `docs/SAFETY.md` tells that.

mod configuration;
mod handover;
mod lease;
mod messages;
mod pair;
mod vrrp;
mod word;

use super::guard::Guard;

/// All guards, in the order of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Guard> {
    let parts: [&[Guard]; 7] = [
        lease::GUARDS,
        word::GUARDS,
        messages::GUARDS,
        handover::GUARDS,
        configuration::GUARDS,
        pair::GUARDS,
        vrrp::GUARDS,
    ];
    parts.into_iter().flatten()
}
