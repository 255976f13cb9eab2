//! What keeps the machine busy.

use std::time::Duration;

use anyhow::Result;
use rand::{SeedableRng, rngs::SmallRng};
use serde::Serialize;
use vip_tests::{
    flood::{Caught, Flood, arp_requests},
    hog::{Class, Hogs},
    lab::Lab,
};

use crate::systems::Kind;

const HOGS: usize = 4;
/// Messages that are caught, to be forged.
const CAUGHT: usize = 100;
const SEED: u64 = 1;
/// Longer than any trial.
const LIMIT: Duration = Duration::from_secs(300);

/// What happens beside the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Load {
    Quiet,
    /// Threads that spin, twice as many as this machine's processors.
    Hogs,
    /// Lease messages with a bit changed here or there, as fast as one thread sends.
    ForgedMessages,
    /// ARP requests for the VIP, as fast as one thread sends.
    ArpRequests,
}

/// What goes on until it is dropped.
pub(super) enum Running {
    Nothing,
    Hogs { _hogs: Hogs },
    Flood { _flood: Flood },
}

impl Load {
    /// The quiet one first: the others are compared with it.
    pub(super) const ALL: [Self; 4] = [Self::Quiet, Self::Hogs, Self::ForgedMessages, Self::ArpRequests];

    /// As the table names it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Hogs => "4 CPU hogs",
            Self::ForgedMessages => "forged lease messages",
            Self::ArpRequests => "ARP requests for the VIP",
        }
    }

    /// Only ours has lease messages.
    pub(super) fn concerns(self, kind: Kind) -> bool {
        self != Self::ForgedMessages || kind.is_ours()
    }

    pub(super) fn begin(self, lab: &Lab) -> Result<Running> {
        let flood = |frames| Ok(Running::Flood { _flood: Flood::start(lab, frames, LIMIT)? });
        match self {
            Self::Quiet => Ok(Running::Nothing),
            Self::Hogs => Ok(Running::Hogs { _hogs: Hogs::start(HOGS, Class::Ordinary, LIMIT)? }),
            Self::ForgedMessages => {
                flood(Caught::on(lab, CAUGHT)?.forged(&mut SmallRng::seed_from_u64(SEED)))
            }
            Self::ArpRequests => flood(arp_requests()),
        }
    }
}
