//! A small parent that starts the daemon again when it has been killed: by the kernel for want of memory, by a fault of its
//! own, by somebody's hand. What it served is served on meanwhile, by the data plane, and the new daemon goes on with the
//! lease before it ends.
//!
//! A daemon that ends by itself is not started again: it says by its exit status what is wrong, and this parent passes it
//! on. One that hangs is left alone: its leases run out, and others serve.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, dup2_stdin, getppid};
use tracing::{info, warn};

use crate::descriptor::release_early;
use crate::exit::{Exit, Failure};

/// The flag that asks for all this.
pub const SUPERVISE: &str = "supervise";
/// The flag that this module gives to the daemon, with its own process id.
pub const SUPERVISED_BY: &str = "supervised-by";
/// This program, also when its file has been replaced meanwhile: another build could not go on with its lease.
const SELF: &str = "/proc/self/exe";
/// One that was killed, and is killed again sooner than this, is not started at once: something is wrong with it, and
/// others are to serve.
const STEADY: Duration = Duration::from_secs(1);
/// How long it is left dead then: longer than leases should be.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the daemon, with the arguments of this process, until it ends by itself or is asked to; gives its exit status.
///
/// # Errors
/// It cannot be started, or was killed while it stopped.
pub fn run() -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::refused(format!("cannot supervise the daemon: {error}"));
    let mut signals = Signals::catch().map_err(failed)?;
    let mut daemon = Daemon::start().map_err(failed)?;
    loop {
        let end = daemon.wait_for_end(&mut signals).map_err(failed)?;
        daemon = match end {
            End::Left(status) if signals.are_to_stop || !daemon.may_be_obstructed(status) => {
                return Ok(status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(Exit::Refused as u8));
            }
            End::Left(_) => Daemon::start().map_err(failed)?,
            End::Killed if signals.are_to_stop => return Err(killed_at_the_end()),
            End::Killed if daemon.is_first || daemon.is_steady() => {
                let next = daemon.succeed().map_err(failed)?;
                warn!("the daemon was killed, and is started again");
                next
            }
            End::Killed => {
                warn!("the daemon was killed again, and is started in {} s", PAUSE.as_secs());
                if signals.pause(PAUSE).map_err(failed)? {
                    return Err(killed_at_the_end());
                }
                daemon.succeed().map_err(failed)?
            }
        };
    }
}

fn killed_at_the_end() -> Failure {
    Failure::refused(
        "the daemon was killed and could not clear up: the VIPs stay on this machine, fenced, until the next start and stop",
    )
}

/// A supervised daemon's side.
pub struct Follower {
    line: UnixStream,
}

impl Follower {
    /// Makes this process a daemon that `parent` supervises: it stops in good order if that one dies, since nobody would
    /// start it again. To be called first of all, see [`crate::descriptor`].
    ///
    /// # Errors
    /// That one is dead already.
    pub fn of(parent: u32) -> Result<Self, Failure> {
        let failed = |why: io::Error| Failure::refused(format!("this daemon has no supervisor: {why}"));
        // It has inherited those that the supervisor waits for.
        SigSet::all().thread_unblock().map_err(|error| failed(error.into()))?;
        // It was started by another name.
        prctl::set_name(c"vip-user").map_err(|error| failed(error.into()))?;
        let line = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?)).map_err(failed)?;
        prctl::set_pdeathsig(Signal::SIGTERM).map_err(|error| failed(error.into()))?;
        if getppid().as_raw().cast_unsigned() != parent {
            return Err(failed(io::ErrorKind::NotConnected.into()));
        }
        Ok(Self { line: UnixStream::from(release_early(line)) })
    }

    /// Tells the supervisor that this daemon ends by itself.
    pub fn take_leave(mut self) {
        // Nobody need know if it has ended, too.
        let _ = self.line.write_all(FAREWELL);
    }
}

/// What a daemon says at its end: anything.
const FAREWELL: &[u8] = b".";

/// How a daemon ended.
enum End {
    /// By itself, or because it was asked to.
    Left(ExitStatus),
    /// The kernel is taking it down, which may last as long as a lease does.
    Killed,
}

/// A daemon that was started.
struct Daemon {
    process: Child,
    /// The other end of what its standard input was at first. The kernel lets go of that as soon as of all that the next
    /// one needs, and of what takes time later.
    line: UnixStream,
    started: Instant,
    is_first: bool,
    /// The one before it, while that is being taken down.
    former: Option<Child>,
}

impl Daemon {
    fn start() -> io::Result<Self> {
        let flag = format!("--{SUPERVISE}");
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| OsString::from("vip-user"));
        let (line, stdin) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        let process = Command::new(SELF)
            .arg0(name)
            .args(arguments.filter(|argument| *argument != *flag))
            .arg(format!("--{SUPERVISED_BY}={}", process::id()))
            .stdin(OwnedFd::from(stdin))
            .spawn()?;
        Ok(Self { process, line, started: Instant::now(), is_first: true, former: None })
    }

    /// Starts the next one, without waiting until this one is gone.
    fn succeed(self) -> io::Result<Self> {
        Ok(Self { is_first: false, former: Some(self.process), ..Self::start()? })
    }

    fn signal(&self, signal: Signal) {
        // It fails only if the daemon has ended, which is seen next.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), signal);
    }

    fn is_steady(&self) -> bool {
        self.started.elapsed() >= STEADY
    }

    /// Whether it may have failed for what the one before it still had. That one is gone afterwards.
    fn may_be_obstructed(&mut self, status: ExitStatus) -> bool {
        if let Some(mut former) = self.former.take() {
            // Only a process that is not this one's child fails to be waited for.
            let _ = former.wait();
        }
        !self.is_first && !self.is_steady() && !status.success()
    }

    /// Waits until it has ended, and passes on to it what asks for that.
    fn wait_for_end(&mut self, signals: &mut Signals) -> io::Result<End> {
        loop {
            match self.line.read(&mut [0]) {
                Ok(0) => return Ok(End::Killed),
                Ok(_) => return self.process.wait().map(End::Left),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.former.as_mut().is_some_and(|former| !matches!(former.try_wait(), Ok(None))) {
                self.former = None;
            }
            let Asked { stop, reload } = signals.wait(Some(&self.line), PollTimeout::NONE)?;
            if stop {
                info!("the daemon is asked to stop");
                self.signal(Signal::SIGTERM);
            }
            if reload {
                self.signal(Signal::SIGHUP);
            }
        }
    }
}

/// What signals that have come ask for.
#[derive(Clone, Copy, Default)]
struct Asked {
    stop: bool,
    reload: bool,
}

/// The signals that matter here, which come one after the other.
struct Signals {
    caught: SignalFd,
    /// SIGTERM or SIGINT has come.
    are_to_stop: bool,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let set = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        set.thread_block()?;
        let caught = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { caught, are_to_stop: false })
    }

    /// Lets time pass; `true` if this process is to stop.
    fn pause(&mut self, time: Duration) -> io::Result<bool> {
        let until = Instant::now() + time;
        while !self.are_to_stop {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(false);
            }
            self.wait(None, PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX))?;
        }
        Ok(true)
    }

    /// Waits for signals, or until there is something on the line.
    fn wait(&mut self, line: Option<&UnixStream>, timeout: PollTimeout) -> io::Result<Asked> {
        let fds = [Some(self.caught.as_fd()), line.map(|line| line.as_fd())];
        let mut fds: Vec<_> =
            fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut asked = Asked::default();
        while let Some(signal) = self.caught.read_signal()? {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => asked.stop = true,
                Ok(Signal::SIGHUP) => asked.reload = true,
                _ => {}
            }
        }
        self.are_to_stop |= asked.stop;
        Ok(asked)
    }
}
