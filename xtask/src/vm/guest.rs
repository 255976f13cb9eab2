//! A virtual machine from its start to its end, and what it has said.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use vip_tests::{clock::Stamp, interrupt, wait};

use super::kernel::Kernel;

/// How long a guest may run: many times longer than it does.
pub(super) const LIMIT: Duration = Duration::from_secs(400);
/// In MiB: the file system is in it twice while it is unpacked.
const MEMORY: &str = "768";
/// How much of what a guest has said is shown when something fails.
const TAIL_LINES: usize = 40;

/// A virtual machine with one processor and network cards on a segment of their own. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) kernel: Kernel,
    qemu: Child,
    ends: Stamp,
    log: PathBuf,
}

impl Guest {
    /// Boots a kernel; what it and its programs say, and QEMU of it, goes to the file `log`.
    pub(super) fn boot(kernel: Kernel, initramfs: &Path, cards: usize, log: PathBuf) -> Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        // Emulated, since virtual machines seldom have virtual machines of their own; an old processor is quicker then.
        command.args(["-accel", "tcg", "-cpu", "qemu64", "-m", MEMORY, "-nodefaults", "-no-reboot"]);
        command.args(["-display", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(initramfs);
        command.args(["-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off init_on_alloc=0"]);
        for card in 0..cards {
            command.args(["-netdev", &format!("hubport,hubid=0,id=port{card}")]);
            // Without the program to boot from the network.
            command.args(["-device", &format!("virtio-net-pci,netdev=port{card},romfile=")]);
        }
        let said = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let qemu = command.spawn().context("cannot run qemu-system-x86_64")?;
        Ok(Self { kernel, qemu, ends: Stamp::now() + LIMIT, log })
    }

    /// Waits until it has switched itself off, or ought to have, and gives all that it has said. QEMU's exit status says
    /// nothing of what went on inside.
    pub(super) fn wait(&mut self) -> Result<String> {
        let left = self.ends.since(Stamp::now());
        let ended = wait::until_calmly("the virtual machine to end", left, || Ok(self.qemu.try_wait()?));
        interrupt::check()?;
        if let Err(in_vain) = ended {
            eprintln!("Linux {}: {in_vain}", self.kernel.release);
        }
        let said = fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Shows the end of what it has said, and where all of it is.
    pub(super) fn show_last_words(&self, said: &str) {
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        eprintln!("--- Linux {}, last lines of {} ---", self.kernel.release, self.log.display());
        eprintln!("{}\n---", tail.join("\n"));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
