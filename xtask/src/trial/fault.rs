//! The ways in which the holder fails, or gives up what it holds. How that is done to it is its system's
//! business.

use clap::ValueEnum;
use serde::Serialize;

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The daemon is asked to end
    Sigterm,
    /// The daemon alone is killed, and its supervisor starts it again
    Sigkill,
    /// The daemon and its supervisor are killed
    SigkillBoth,
    /// The daemon hangs
    Sigstop,
    /// The switch's end of the cable is pulled
    Cable,
    /// Nothing fails: the holder is told to hand over
    Handover,
    /// Nothing fails: all nodes are told to read their configurations, which have one VIP more
    Reload,
}

impl Fault {
    /// Those of the demo, in its order.
    pub(crate) const ALL: [Self; 5] =
        [Self::Sigterm, Self::Sigkill, Self::SigkillBoth, Self::Sigstop, Self::Cable];

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "SIGTERM",
            Self::Sigkill => "SIGKILL",
            Self::SigkillBoth => "SIGKILL, both",
            Self::Sigstop => "SIGSTOP",
            Self::Cable => "cable pulled",
            Self::Handover => "handover",
            Self::Reload => "reload",
        }
    }

    /// What happens to the holder.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Sigterm => "the holder's daemon is asked to end",
            Self::Sigkill => "the holder's daemon is killed, its supervisor is not",
            Self::SigkillBoth => "the holder's daemon is killed, and its supervisor",
            Self::Sigstop => "the holder's daemon hangs",
            Self::Cable => "the holder is cut off",
            Self::Handover => "the holder is told to hand over",
            Self::Reload => "the nodes are told of one VIP more",
        }
    }

    /// What is done to put it right.
    pub(crate) fn repair_story(self) -> &'static str {
        match self {
            Self::Sigterm | Self::SigkillBoth => "its daemon is started again",
            Self::Sigkill => "its daemon has been started again by its supervisor",
            Self::Sigstop => "its daemon goes on (SIGCONT)",
            Self::Cable => "its cable is plugged in",
            Self::Handover => "nothing has to be put right",
            Self::Reload => "the nodes are told of one VIP less",
        }
    }

    /// Whether the node can go on by itself.
    pub(crate) fn can_be_survived(self) -> bool {
        matches!(self, Self::Sigkill | Self::Reload)
    }
}
