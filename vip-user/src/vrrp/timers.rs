//! The lengths of time of section 6.1. All in ns.

use vip_common::lease::serving_time;
use vip_common::vrrp::Version;

const SECOND: u64 = 1_000_000_000;
/// Intervals without an advert after which a backup takes over (section 6.1).
const MISSED: u64 = 3;

/// How long a backup waits, by the version of its protocol and its priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// The protocol's.
    pub version: Version,
    /// Of the backup.
    pub priority: u8,
}

impl Timers {
    /// `Skew_Time`: the higher the priority, the sooner; less than `interval`, the active router's. In version 2, whatever the
    /// interval, less than a second (RFC 3768, section 6.1).
    pub const fn skew(self, interval: u64) -> u64 {
        let of = match self.version {
            Version::V2 => SECOND,
            Version::V3 => interval,
        };
        of / 256 * (256 - self.priority as u64)
    }

    /// `Active_Down_Interval`, in version 2 `Master_Down_Interval`: how long the active router, which advertises every
    /// `interval`, may be silent.
    pub const fn down(self, interval: u64) -> u64 {
        MISSED * interval + self.skew(interval)
    }
}

/// For how long the active router may serve on an advert, from before it was sent: until the backups that heard this one, and
/// no later one, take over at the soonest, by clocks that go faster by the drift bound.
pub const fn promise(interval: u64) -> u64 {
    serving_time(MISSED * interval)
}
