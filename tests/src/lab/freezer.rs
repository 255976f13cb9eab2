//! Holding a process still, as a container's pause does: the kernel's freezer (cgroup v2, Linux 5.2).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// A cgroup whose processes can be frozen. It is removed with its lab.
#[derive(Debug)]
pub struct Freezer {
    directory: PathBuf,
}

impl Freezer {
    /// Makes the cgroup of that name, or takes the one that is there.
    pub(super) fn make(name: &str) -> Result<Self> {
        let root = cgroup_root().context("no cgroup2 file system is mounted")?;
        let directory = root.join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Takes a process in, to be frozen later.
    pub fn take(&self, process: Pid) -> Result<()> {
        self.write("cgroup.procs", &process.to_string())
    }

    /// From now on its processes do not run. Does not wait until each has come to a stop.
    pub fn freeze(&self) -> Result<()> {
        self.write("cgroup.freeze", "1")
    }

    /// Its processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", "0")
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.directory.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
    }
}

/// Where the cgroup2 file system is: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside cgroup v1.
pub(super) fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' '));
    let mut cgroup2 = fields.filter_map(|mut fields| {
        let (_device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| Path::new(place).to_owned())
    });
    cgroup2.next()
}
