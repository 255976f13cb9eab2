//! The ways in which the holder fails, and how each is put right again.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use nix::sys::signal::Signal;
use vip_tests::{cluster::Cluster, interrupt};

/// How long a daemon may take to end after a SIGTERM.
const EXIT: Duration = Duration::from_secs(60);
/// A daemon that is killed again sooner is not started at once.
const STEADY: Duration = Duration::from_secs(1);

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
}

impl Fault {
    /// In the order of the demo.
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
        }
    }

    /// What is done to put it right.
    pub(crate) fn repair_story(self) -> &'static str {
        match self {
            Self::Sigterm | Self::SigkillBoth => "its daemon is started again",
            Self::Sigkill => "its daemon has been started again by its supervisor",
            Self::Sigstop => "its daemon goes on (SIGCONT)",
            Self::Cable => "its cable is plugged in",
        }
    }

    /// Whether the node can go on by itself.
    pub(crate) fn can_be_survived(self) -> bool {
        self == Self::Sigkill
    }

    /// Lets node `victim` fail; does not wait for what becomes of it.
    pub(crate) fn inflict(self, cluster: &mut Cluster, victim: u8) -> Result<()> {
        match self {
            Self::Sigterm => cluster.daemon(victim)?.signal(Signal::SIGTERM),
            Self::Sigkill => cluster.daemon(victim)?.signal_supervised(Signal::SIGKILL),
            Self::SigkillBoth => cluster.daemon(victim)?.signal_all(Signal::SIGKILL),
            Self::Sigstop => cluster.daemon(victim)?.signal_supervised(Signal::SIGSTOP),
            Self::Cable => cluster.lab().cable(victim).pull(),
        }
    }

    /// Puts node `victim` right again; does not wait until it takes part.
    pub(crate) fn repair(self, cluster: &mut Cluster, victim: u8) -> Result<()> {
        match self {
            Self::Sigkill => interrupt::pause(STEADY),
            Self::Sigterm | Self::SigkillBoth => {
                cluster.daemon(victim)?.wait_exit(EXIT)?;
                cluster.restart(victim)
            }
            Self::Sigstop => cluster.daemon(victim)?.signal_supervised(Signal::SIGCONT),
            Self::Cable => cluster.lab().cable(victim).plug(),
        }
    }
}
