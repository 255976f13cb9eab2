//! A mount namespace for one daemon, so that its file systems can be filled, made read-only and taken away without the
//! machine noticing.

use std::{
    ffi::OsStr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{BPFFS, Lab};
use crate::net::run;

/// In bytes: room for the state, and nearly no more.
const STATE_SIZE: &str = "size=128k";

/// A view of the file system that differs from the machine's in what is mounted here. Dropping it ends the process
/// that keeps it; daemons in it keep it, too.
#[derive(Debug)]
pub struct Mounts {
    keeper: Child,
    state: String,
}

impl Mounts {
    pub(super) fn separate(lab: &Lab, node: u8) -> Result<Self> {
        let state = lab.home(node).join("state");
        std::fs::create_dir_all(&state)?;
        // In the node's network namespace, so that the lab's end is its end as well.
        let mut command = lab.command(node, "unshare")?;
        command.args(["--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep infinity"]);
        let mut keeper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("unshare")?;
        // Its line says that it is where it should be.
        let said = keeper.stdout.take().context("no output")?;
        let state = state.to_str().context("the state directory's name is no UTF-8")?.to_owned();
        let mounts = Self { keeper, state };
        std::io::Read::read_exact(&mut { said }, &mut [0])
            .context("unshare cannot make a mount namespace")?;
        Ok(mounts)
    }

    /// The [`wrapper`](super::DaemonOptions::wrapper) of a daemon with this view.
    pub fn wrapper(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), self.namespace()]
    }

    /// Puts the state directory on a small file system of its own.
    pub fn give_state_a_disk(&self) -> Result<()> {
        self.run("mount", ["-t", "tmpfs", "-o", STATE_SIZE, "tmpfs", &self.state])
    }

    /// Fills that file system.
    pub fn fill_disk(&self) -> Result<()> {
        let fill = format!("cat /dev/zero > {}/fill 2> /dev/null || true", self.state);
        self.run("sh", ["-c", &fill])
    }

    /// Takes away what filled it.
    pub fn free_disk(&self) -> Result<()> {
        self.run("rm", [&format!("{}/fill", self.state)])
    }

    /// Makes the state directory read-only, as the kernel does with a disk that fails.
    pub fn make_state_read_only(&self) -> Result<()> {
        // Over itself: the file system as such cannot be, while the daemon has a file open for writing.
        self.run("mount", ["--bind", &self.state, &self.state])?;
        self.run("mount", ["-o", "remount,bind,ro", &self.state])
    }

    /// Makes it writable again.
    pub fn make_state_writable(&self) -> Result<()> {
        self.run("umount", [&self.state])
    }

    /// Puts a BPF file system of the daemon's own over the machine's.
    pub fn give_own_bpffs(&self) -> Result<()> {
        self.run("umount", [BPFFS])?;
        self.mount_bpffs()
    }

    /// Mounts it (again).
    pub fn mount_bpffs(&self) -> Result<()> {
        self.run("mount", ["-t", "bpf", "bpf", BPFFS])
    }

    /// Takes it away: what is pinned in it is gone as soon as nobody has it open any more.
    pub fn unmount_bpffs(&self) -> Result<()> {
        self.run("umount", ["--lazy", BPFFS])
    }

    /// Runs a program to its end in this view.
    fn run<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Result<()> {
        run(Command::new("nsenter").arg(self.namespace()).arg(program).args(args))
    }

    fn namespace(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.keeper.id())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
