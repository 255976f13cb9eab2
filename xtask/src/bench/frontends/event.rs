//! What happens to the node that serves, in the middle of a trial.

use clap::ValueEnum;
use serde::Serialize;

use crate::{systems::Kind, trial::Fault};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Event {
    /// Nothing at all: what the others are compared with
    Nothing,
    /// Its cable is pulled at the switch's end
    MachineLost,
    /// The daemon alone is killed, and its supervisor starts it again
    DaemonKilled,
    /// The daemon and its supervisor are killed
    AllKilled,
    /// The front end is killed, and started again; the VIP's software checks on it
    FrontKilled,
    /// All nodes are told to read a configuration with one VIP more
    Reload,
    /// The daemon is asked to end, and is started again
    Stop,
    /// The daemon is told to hand over
    Handover,
}

impl Event {
    pub(super) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::MachineLost,
        Self::DaemonKilled,
        Self::AllKilled,
        Self::FrontKilled,
        Self::Reload,
        Self::Stop,
        Self::Handover,
    ];

    /// As the table names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::MachineLost => "machine lost (cable)",
            Self::DaemonKilled => "daemon killed",
            Self::AllKilled => "daemon and supervisor killed",
            Self::FrontKilled => "front end killed",
            Self::Reload => "reload",
            Self::Stop => "daemon stopped and started",
            Self::Handover => "handover",
        }
    }

    /// What it is to the software that keeps the VIP alive; none where that is left alone.
    pub(super) fn fault(self) -> Option<Fault> {
        match self {
            Self::Nothing | Self::FrontKilled => None,
            Self::MachineLost => Some(Fault::Cable),
            Self::DaemonKilled => Some(Fault::Sigkill),
            Self::AllKilled => Some(Fault::SigkillBoth),
            Self::Reload => Some(Fault::Reload),
            Self::Stop => Some(Fault::Sigterm),
            Self::Handover => Some(Fault::Handover),
        }
    }

    /// Whether this can happen to it.
    pub(super) fn concerns(self, system: Kind) -> bool {
        self.fault().is_none_or(|fault| system.knows(fault))
    }

    /// Whether the node may go on serving.
    pub(super) fn can_be_survived(self) -> bool {
        self == Self::Nothing || self.fault().is_some_and(Fault::can_be_survived)
    }
}
