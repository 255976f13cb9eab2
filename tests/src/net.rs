//! Network namespaces from inside the process: running a piece of code, or starting a program, in one of them, and what has
//! passed its interfaces.
//!
//! `ip netns exec` is not used: it remounts /sys and so hides the BPF file system that the daemon pins to.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt,
    panic,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// Where iproute2 keeps named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

/// Runs `work` on a thread of its own that has entered the namespace `name`.
///
/// Sockets belong to the namespace they were made in, so `work` can hand them out and their users need not enter it.
/// A panic of `work` goes on in the caller.
pub fn in_netns<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let entered = || {
        enter(name)?;
        work()
    };
    thread::scope(|scope| scope.spawn(entered).join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
}

/// Has the calling thread enter the namespace `name`, for good.
pub(crate) fn enter(name: &str) -> Result<()> {
    setns(open(name)?, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter the namespace {name}"))
}

/// A command that will run in the namespace `name`, with this process's mounts.
pub fn command_in(name: &str, program: impl AsRef<Path>) -> Result<Command> {
    let netns = open(name)?;
    let mut command = Command::new(program.as_ref());
    let enter = move || Ok(setns(&netns, CloneFlags::CLONE_NEWNET)?);
    // SAFETY: between fork and exec, the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(enter) };
    Ok(command)
}

/// Runs `ip` with `args` in the namespace `name`.
pub fn ip(name: &str, args: &[&str]) -> Result<()> {
    run(Command::new("ip").args(["-n", name]).args(args))
}

/// Runs a command to its end; an error has the command line and what it wrote to stderr.
///
/// Ctrl-C in a terminal does not reach it: it ends what it began, and the caller cleans up.
pub fn run(command: &mut Command) -> Result<()> {
    command.process_group(0);
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Frames that an interface has received and sent since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// By the namespace that it is in.
    pub received: u64,
    /// Likewise.
    pub sent: u64,
    /// The bytes of those received, headers included.
    pub received_bytes: u64,
    /// Likewise.
    pub sent_bytes: u64,
    /// That it was to send, and could not: of a veth, because the queue of its other end was full.
    pub dropped: u64,
}

/// The counts of each interface in the namespace `name`.
pub fn frames_in(name: &str) -> Result<BTreeMap<String, Frames>> {
    let table =
        in_netns(name, || fs::read_to_string(DEVICES).with_context(|| format!("cannot read {DEVICES}")));
    parse_devices(&table?).with_context(|| format!("{DEVICES} is not as expected"))
}

/// Of the thread that reads it: /proc/net is that of the process's first.
const DEVICES: &str = "/proc/thread-self/net/dev";

/// Two lines of headings, then for each interface eight numbers of what it has received, and eight of what it has sent; the
/// first of each are the bytes, the second the frames, the fourth those that were dropped.
fn parse_devices(table: &str) -> Option<BTreeMap<String, Frames>> {
    let frames = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let mut numbers = numbers.split_whitespace();
        let mut skip = |count: usize| numbers.nth(count)?.parse().ok();
        let (received_bytes, received) = (skip(0)?, skip(0)?);
        let (sent_bytes, sent, dropped) = (skip(6)?, skip(0)?, skip(1)?);
        let frames = Frames { received, sent, received_bytes, sent_bytes, dropped };
        Some((name.trim().to_owned(), frames))
    };
    table.lines().skip(2).map(frames).collect()
}

/// The file that stands for the namespace `name`.
pub fn netns_path(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

fn open(name: &str) -> Result<File> {
    let path = netns_path(name);
    File::open(&path).with_context(|| format!("no namespace at {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as Linux 6.18 prints it.
    #[test]
    fn the_frames_of_an_interface_are_read_from_its_line() {
        let table = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs\n    lo:       0       1    0    0    0     0          0         0        0       2    0    0    0     0       0          0\n  eth0: 4200 70 0 0 0 0 0 0 1800 30 0 5 0 0 0 0\n";
        let expected = [
            ("lo".to_owned(), Frames { received: 1, sent: 2, received_bytes: 0, sent_bytes: 0, dropped: 0 }),
            (
                "eth0".to_owned(),
                Frames { received: 70, sent: 30, received_bytes: 4200, sent_bytes: 1800, dropped: 5 },
            ),
        ];
        assert_eq!(parse_devices(table), Some(expected.into()));
        assert_eq!(parse_devices("\n\nnothing"), None);
    }
}
