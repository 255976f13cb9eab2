//! The state directory: what a node must still know after a crash of its daemon or machine.
//!
//! That is the last incarnation, the consent given to a first configuration, the current configuration, the pledge
//! for the choice of the next one, and which user events were delivered, and whether the node is in maintenance. All calls block on the disk, so they belong on a thread that may. The form of a file
//! is in `sealed`; what the items mean is in `membership`. Leases and their promises are not stored: they live in pinned
//! maps, and a quarantine covers their loss.
//!
//! A damaged file is never replaced by a guess. For consents, configurations and pledges a wrong guess could make two
//! clusters out of one. An incarnation too low would leave the node unheard by its peers until the clock passes the lost one,
//! and neither the clock nor the file's time proves what it was: it may have run ahead of both. The operator decides.

mod sealed;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::descriptor::release_early;
use crate::membership::{Configuration, FIRST_EPOCH, Pledge, Stored};

pub use sealed::{Damage, FileError};

/// Whose state a directory holds. A consent belongs to one node of one cluster: under another id or cluster name it
/// would say something that nobody agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: u16,
}

/// An open state directory. It is this process's alone until it is dropped.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    owner: Owner,
    incarnation: Option<Incarnation>,
    consent: Option<Configuration>,
    configuration: Option<Configuration>,
    pledge: Option<Pledge>,
    delivered: Option<Delivered>,
    maintenance: bool,
    _lock: Flock<File>,
}

/// The user events that handlers have had: all up to a Lamport time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivered {
    ltime: u64,
}

/// Whether an operator wants the node to hold nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Maintenance {
    on: bool,
}

/// The start of a daemon.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Incarnation {
    unix_ns: u64,
}

/// Why the state cannot be used or changed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused something.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process has the directory open.
    #[error(
        "{dir} is in use by another vip-user{}: stop it, or give this one another paths.state",
        in_parentheses(*.pid), dir = .dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// A file is not what was written.
    #[error("{path} is damaged: {damage}; {advice}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Box<Damage>,
        /// What the operator can do.
        advice: &'static str,
    },
    /// The state is that of another node or cluster.
    #[error(
        "{path} belongs to node {} of cluster {:?}, and this is node {} of cluster {:?}: put node.id or cluster.name \
         back, or, if this node starts anew, stop it, remove its state directory and start it again",
        .stored.node, .stored.cluster, .own.node, .own.cluster, path = .path.display()
    )]
    OtherOwner {
        /// The file that says so.
        path: PathBuf,
        /// Whose state it is.
        stored: Owner,
        /// Who this node is.
        own: Owner,
    },
    /// Another consent has been given already.
    #[error("this node has consented to {given} and cannot consent to {asked}: a consent is for life")]
    ConsentGiven {
        /// The consent on the disk.
        given: Configuration,
        /// The one that was to be stored.
        asked: Configuration,
    },
    /// The configuration on the disk is newer, or another one of the same epoch.
    #[error("this node has {current} and cannot go to {asked}: epochs only grow")]
    NotNewer {
        /// The configuration on the disk.
        current: Configuration,
        /// The one that was to be stored.
        asked: Configuration,
    },
    /// The pledge on the disk binds this node to more, or in a later epoch.
    #[error("this node has made a later pledge ({given}) and cannot make this one ({asked})")]
    PledgeGiven {
        /// The pledge on the disk.
        given: Box<Pledge>,
        /// The one that was to be stored.
        asked: Box<Pledge>,
    },
    /// There is no greater incarnation than the last one.
    #[error("{path} holds the greatest incarnation there is: set the clock right, then remove this file", path = .path.display())]
    NoIncarnationLeft {
        /// The file.
        path: PathBuf,
    },
    /// A value cannot be expressed in a file.
    #[error("cannot express the content of {path}: {source}", path = .path.display())]
    Inexpressible {
        /// The file.
        path: PathBuf,
        /// What is wrong with the value.
        source: toml::ser::Error,
    },
}

impl Store {
    /// Opens `dir` for `owner`; creates it (mode 0700) if it is missing. Fails when another process has it open, when
    /// any file in it is damaged, or when it belongs to another node or cluster: a daemon must not start then.
    pub fn open(dir: &Path, owner: Owner) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let lock = lock(dir)?;
        Ok(Self {
            incarnation: load(dir, Item::Incarnation, &owner)?,
            consent: load(dir, Item::Consent, &owner)?.map(|consent| first(dir, consent)).transpose()?,
            configuration: load(dir, Item::Configuration, &owner)?,
            pledge: load(dir, Item::Pledge, &owner)?,
            // Nothing that others count on: without it, this node hears only what is new.
            delivered: load(dir, Item::Delivered, &owner).unwrap_or(None),
            maintenance: load(dir, Item::Maintenance, &owner)?.is_some_and(|Maintenance { on }| on),
            dir: dir.to_owned(),
            owner,
            _lock: lock,
        })
    }

    /// The incarnation of a daemon that starts at `now_unix_ns`: that, or one more than the last one where the clock
    /// has gone back. It is on the disk before it is returned.
    pub fn next_incarnation(&mut self, now_unix_ns: u64) -> Result<u64, StoreError> {
        let least = match self.incarnation {
            None => 0,
            Some(last) => last
                .unix_ns
                .checked_add(1)
                .ok_or_else(|| StoreError::NoIncarnationLeft { path: Item::Incarnation.path(&self.dir) })?,
        };
        let next = Incarnation { unix_ns: now_unix_ns.max(least) };
        self.save(Item::Incarnation, next)?;
        self.incarnation = Some(next);
        Ok(next.unix_ns)
    }

    /// The first configuration that this node has consented to.
    pub fn consent(&self) -> Option<&Configuration> {
        self.consent.as_ref()
    }

    /// Makes the consent durable. Fails when another one has been given; the same one again does no harm.
    pub fn store_consent(&mut self, consent: &Configuration) -> Result<(), StoreError> {
        match &self.consent {
            Some(given) if given == consent => return Ok(()),
            Some(given) => {
                return Err(StoreError::ConsentGiven { given: given.clone(), asked: consent.clone() });
            }
            None => self.save(Item::Consent, consent)?,
        }
        self.consent = Some(consent.clone());
        Ok(())
    }

    /// The configuration that this node has adopted last.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// Makes the configuration durable. Fails unless its epoch is higher than that of the stored one; the same one
    /// again does no harm.
    pub fn store_configuration(&mut self, configuration: &Configuration) -> Result<(), StoreError> {
        match &self.configuration {
            Some(current) if current == configuration => return Ok(()),
            Some(current) if current.epoch() >= configuration.epoch() => {
                return Err(StoreError::NotNewer { current: current.clone(), asked: configuration.clone() });
            }
            _ => self.save(Item::Configuration, configuration)?,
        }
        self.configuration = Some(configuration.clone());
        Ok(())
    }

    /// What this node has pledged last.
    pub fn pledge(&self) -> Option<&Pledge> {
        self.pledge.as_ref()
    }

    /// Makes the pledge durable. Fails when it breaks the stored one; the same one again does no harm.
    pub fn store_pledge(&mut self, pledge: &Pledge) -> Result<(), StoreError> {
        match &self.pledge {
            Some(given) if given == pledge => return Ok(()),
            Some(given) if !pledge.keeps(given) => {
                let (given, asked) = (Box::new(given.clone()), Box::new(pledge.clone()));
                return Err(StoreError::PledgeGiven { given, asked });
            }
            _ => self.save(Item::Pledge, pledge)?,
        }
        self.pledge = Some(pledge.clone());
        Ok(())
    }

    /// The Lamport time up to which user events were delivered by an earlier run, if that is known.
    pub fn delivered(&self) -> Option<u64> {
        self.delivered.map(|delivered| delivered.ltime)
    }

    /// Keeps that time for the next run.
    pub fn store_delivered(&mut self, ltime: u64) -> Result<(), StoreError> {
        let delivered = Delivered { ltime };
        self.save(Item::Delivered, delivered)?;
        self.delivered = Some(delivered);
        Ok(())
    }

    /// Whether the node was put in maintenance, and not taken out again.
    pub fn maintenance(&self) -> bool {
        self.maintenance
    }

    /// Keeps that for the next run.
    pub fn store_maintenance(&mut self, on: bool) -> Result<(), StoreError> {
        if on != self.maintenance {
            self.save(Item::Maintenance, Maintenance { on })?;
            self.maintenance = on;
        }
        Ok(())
    }

    /// What membership starts from.
    pub fn stored(&self) -> Stored {
        let (consent, configuration) = (self.consent.clone(), self.configuration.clone());
        Stored { consent, configuration, pledge: self.pledge.clone() }
    }

    fn save(&self, item: Item, content: impl Serialize) -> Result<(), StoreError> {
        let text = sealed::seal(item.name(), &self.owner, content)
            .map_err(|source| StoreError::Inexpressible { path: item.path(&self.dir), source })?;
        Ok(sealed::write(&self.dir, &item.file(), &text)?)
    }
}

/// What is kept, each in a file of its own.
#[derive(Clone, Copy)]
enum Item {
    Incarnation,
    Consent,
    Configuration,
    Pledge,
    Delivered,
    Maintenance,
}

impl Item {
    fn name(self) -> &'static str {
        match self {
            Self::Incarnation => "incarnation",
            Self::Consent => "consent",
            Self::Configuration => "configuration",
            Self::Pledge => "pledge",
            Self::Delivered => "events",
            Self::Maintenance => "maintenance",
        }
    }

    fn file(self) -> String {
        format!("{}.toml", self.name())
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.file())
    }

    /// An incarnation only has to grow: nobody agreed to anything by it, and a node that was refused its id at its
    /// first start may take another one. Nor does anybody count on what was delivered; and maintenance is the machine's.
    fn is_anyones(self) -> bool {
        matches!(self, Self::Incarnation | Self::Delivered | Self::Maintenance)
    }

    /// What an operator can do when the file is damaged.
    fn advice(self) -> &'static str {
        match self {
            Self::Incarnation => {
                "if this machine's clock is right, remove this file: the node then starts from the time of day"
            }
            Self::Delivered => "remove this file: the node then hears of new user events only",
            Self::Maintenance => "remove this file: the node is then not in maintenance",
            Self::Consent | Self::Configuration | Self::Pledge => {
                "this node no longer knows what it has agreed to: if other nodes of the cluster have a configuration \
                 (`vip-user members` there), remove its whole state directory, and it comes back as a new node; if none \
                 has one, stop all nodes and remove the state directories of all"
            }
        }
    }
}

/// The stored value of `item`, if it was ever stored.
fn load<T: DeserializeOwned>(dir: &Path, item: Item, owner: &Owner) -> Result<Option<T>, StoreError> {
    let path = item.path(dir);
    let Some(bytes) = sealed::read(&path)? else {
        return Ok(None);
    };
    match sealed::unseal(item.name(), &bytes) {
        Ok((stored, content)) if stored == *owner || item.is_anyones() => Ok(Some(content)),
        Ok((stored, _)) => Err(StoreError::OtherOwner { path, stored, own: owner.clone() }),
        Err(damage) => Err(StoreError::Damaged { path, damage: Box::new(damage), advice: item.advice() }),
    }
}

/// A consent as it can have been stored: to a first configuration.
fn first(dir: &Path, consent: Configuration) -> Result<Configuration, StoreError> {
    if consent.epoch() == FIRST_EPOCH {
        return Ok(consent);
    }
    let (path, damage) = (Item::Consent.path(dir), Box::new(Damage::LaterConsent(consent.epoch())));
    Err(StoreError::Damaged { path, damage, advice: Item::Consent.advice() })
}

/// Creates `dir` and the directories above it where they are missing, durably.
fn create_dir(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(parent)?;
    DirBuilder::new().mode(0o700).create(dir).map_err(FileError::when("create", dir))?;
    sealed::sync_dir(parent)
}

/// Takes the directory for this process. The lock ends with the process, however that ends.
fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map(release_early).map_err(FileError::when("open", &path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let pid = format!("{}\n", std::process::id());
            lock.set_len(0)
                .and_then(|()| lock.write_all(pid.as_bytes()))
                .map_err(FileError::when("write", &path))?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(StoreError::InUse { dir: dir.to_owned(), pid })
        }
        Err((_, errno)) => Err(FileError::when("lock", &path)(errno.into()).into()),
    }
}

fn in_parentheses(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

#[cfg(test)]
mod tests;
