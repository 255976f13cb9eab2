//! VRRP, version 3 (RFC 9568) and version 2 (RFC 3768): what a router does when it hears an advert, hears none, or is told
//! something. Section numbers are RFC 9568's where nothing else is said.
//!
//! Here is no clock, socket or map: [`Instance`] takes what happens and `now`, and gives actions and the next deadline. What an
//! advert is, and which one is valid, is [`vip_common::vrrp`]'s. `docs/VRRP.md` has the RFC's clauses and where each is kept.

mod hearing;
mod instance;
mod timers;

pub use self::hearing::{Hearing, Presence};
pub use self::instance::{Action, Demotion, Instance, Objection, Settings, State};
pub use self::timers::{Timers, promise};

use std::net::IpAddr;

/// A valid advert of another router, as the state machine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advert {
    /// Whose it is.
    pub source: IpAddr,
    /// 0: it gives up; 255: it owns the addresses.
    pub priority: u8,
    /// How often it advertises, in ns.
    pub interval: u64,
}

/// The active router, as it was heard last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Master {
    /// Where its adverts come from.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
}

impl From<Advert> for Master {
    fn from(advert: Advert) -> Self {
        Self { address: advert.source, priority: advert.priority }
    }
}

#[cfg(test)]
mod tests;
