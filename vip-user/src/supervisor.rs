//! A small parent that starts the daemon again when it has been killed: by the kernel for want of memory, by a fault of its
//! own, by somebody's hand. What it served is served on meanwhile, by the data plane, and the new daemon goes on with the
//! lease before it ends.
//!
//! When a daemon asks for it by its end, this process becomes the program file that is on the disk by then, which goes on in its
//! place: under the same process id, so that a service manager sees no change.
//!
//! A daemon that ends by itself is not started again: it says by its exit status what is wrong, and this parent passes it
//! on. One that hangs is left alone: its leases run out, and others serve.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdin, execv, getppid};
use tracing::{info, warn};

use crate::daemon::Ended;
use crate::descriptor::release_early;
use crate::exit::{Exit, Failure};

/// The flag that asks for all this.
pub const SUPERVISE: &str = "supervise";
/// The flag that this module gives to the daemon, with its own process id.
pub const SUPERVISED_BY: &str = "supervised-by";
/// The flag that this module gives to the program that takes over from it: the daemon's process id that may still be going.
pub const SUCCEEDS: &str = "succeeds";
/// This program, also when its file has been replaced meanwhile: another build could not go on with its lease.
const SELF: &str = "/proc/self/exe";
/// One that was killed, and is killed again sooner than this, is not started at once: something is wrong with it, and
/// others are to serve.
const STEADY: Duration = Duration::from_secs(1);
/// How long it is left dead then: longer than leases should be.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the daemon, with the arguments of this process, until it ends by itself or is asked to; gives its exit status. `former` is
/// the daemon that the program before this one has left behind, in an upgrade.
///
/// # Errors
/// It cannot be started, or was killed while it stopped.
pub fn run(former: Option<u32>) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::refused(format!("cannot supervise the daemon: {error}"));
    let mut signals = Signals::catch().map_err(failed)?;
    let mut daemon =
        Daemon::start_after(former.map(|former| Pid::from_raw(former.cast_signed()))).map_err(failed)?;
    loop {
        let end = daemon.wait_for_end(&mut signals).map_err(failed)?;
        daemon = match end {
            End::Left(status) if signals.are_to_stop || !daemon.may_be_obstructed(status) => {
                return Ok(status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(Exit::Refused as u8));
            }
            End::Left(_) => Daemon::start_after(None).map_err(failed)?,
            End::Succeeded => {
                let error = become_next(daemon.pid());
                warn!("the program file on the disk cannot take over: {error}; this one goes on");
                daemon.succeed().map_err(failed)?
            }
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

    /// Tells the supervisor that this daemon ends by itself, and how. Where there is to be a next one, this process has to end at
    /// once.
    pub fn take_leave(mut self, ended: Ended) {
        let farewell = if ended == Ended::Stopped { DONE } else { NEXT };
        // Nobody need know if it has ended, too.
        let _ = self.line.write_all(&[farewell]);
        // The next one begins when the kernel lets go of it: as soon as of all that it needs.
        mem::forget(self.line);
    }
}

/// What a daemon says at its end: that it is one.
const DONE: u8 = b'.';
/// ... and that the program file on the disk is to take over.
const NEXT: u8 = b'>';

/// The file that this program was started from, or what has taken its place.
///
/// # Errors
/// The system does not tell.
pub fn program() -> io::Result<PathBuf> {
    let path = fs::read_link(SELF)?;
    // What the kernel says of a file that is not there any more (`d_path` in fs/d_path.c).
    let kept =
        path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(|kept| OsStr::from_bytes(kept).into());
    Ok(kept.unwrap_or(path))
}

/// Becomes the program file that is on the disk now; gives why it cannot. Signals that come meanwhile wait for that one.
fn become_next(former: Pid) -> io::Error {
    let become_it = || -> io::Result<Infallible> {
        let program = CString::new(program()?.into_os_string().into_vec())?;
        let arguments = env::args_os().filter(|argument| !is_left_behind(argument));
        let arguments = arguments.chain([format!("{}={former}", flag(SUCCEEDS)).into()]);
        let arguments = arguments.map(|argument| Ok(CString::new(argument.into_vec())?));
        Ok(execv(&program, &arguments.collect::<io::Result<Vec<_>>>()?)?)
    };
    match become_it() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn flag(name: &str) -> String {
    format!("--{name}")
}

/// Whether the daemon is not to see this argument.
fn is_for_supervisor(argument: &OsStr) -> bool {
    *argument == *flag(SUPERVISE) || is_left_behind(argument)
}

/// Whether this argument was for this process alone.
fn is_left_behind(argument: &OsStr) -> bool {
    argument.as_bytes().starts_with(format!("{}=", flag(SUCCEEDS)).as_bytes())
}

/// How a daemon ended.
enum End {
    /// By itself, or because it was asked to.
    Left(ExitStatus),
    /// So that the program file on the disk takes over. The kernel is taking it down.
    Succeeded,
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
    former: Option<Pid>,
    /// It has said that there is to be a next one.
    wants_next: bool,
}

impl Daemon {
    /// Starts it, without waiting until the one before it is gone.
    fn start_after(former: Option<Pid>) -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| OsString::from("vip-user"));
        let (line, stdin) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        let process = Command::new(SELF)
            .arg0(name)
            .args(arguments.filter(|argument| !is_for_supervisor(argument)))
            .arg(format!("--{SUPERVISED_BY}={}", process::id()))
            .stdin(OwnedFd::from(stdin))
            .spawn()?;
        Ok(Self {
            process,
            line,
            started: Instant::now(),
            is_first: former.is_none(),
            former,
            wants_next: false,
        })
    }

    /// Starts the next one, without waiting until this one is gone.
    fn succeed(self) -> io::Result<Self> {
        Self::start_after(Some(self.pid()))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    fn signal(&self, signal: Signal) {
        // It fails only if the daemon has ended, which is seen next.
        let _ = kill(self.pid(), signal);
    }

    fn is_steady(&self) -> bool {
        self.started.elapsed() >= STEADY
    }

    /// Whether it may have failed for what the one before it still had. That one is gone afterwards.
    fn may_be_obstructed(&mut self, status: ExitStatus) -> bool {
        if let Some(former) = self.former.take() {
            // Only a process that is not this one's child fails to be waited for.
            let _ = waitpid(former, None);
        }
        !self.is_first && !self.is_steady() && !status.success()
    }

    /// Waits until it has ended, and passes on to it what asks for that.
    fn wait_for_end(&mut self, signals: &mut Signals) -> io::Result<End> {
        loop {
            let mut farewell = [0];
            match self.line.read(&mut farewell) {
                Ok(0) if self.wants_next => return Ok(End::Succeeded),
                Ok(0) => return Ok(End::Killed),
                Ok(_) if farewell == [NEXT] => self.wants_next = true,
                Ok(_) => return self.process.wait().map(End::Left),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let is_gone = |former| waitpid(former, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive);
            self.former = self.former.filter(|former| !is_gone(*former));
            let Asked { stop, reload, upgrade } = signals.wait(Some(&self.line), PollTimeout::NONE)?;
            if stop {
                info!("the daemon is asked to stop");
                self.signal(Signal::SIGTERM);
            }
            if reload {
                self.signal(Signal::SIGHUP);
            }
            if upgrade {
                self.signal(Signal::SIGUSR2);
            }
        }
    }
}

/// What signals that have come ask for.
#[derive(Clone, Copy, Default)]
struct Asked {
    stop: bool,
    reload: bool,
    upgrade: bool,
}

/// The signals that matter here, which come one after the other.
struct Signals {
    caught: SignalFd,
    /// SIGTERM or SIGINT has come.
    are_to_stop: bool,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let asked = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2];
        let set = SigSet::from_iter(asked.into_iter().chain([Signal::SIGCHLD]));
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
                Ok(Signal::SIGUSR2) => asked.upgrade = true,
                _ => {}
            }
        }
        self.are_to_stop |= asked.stop;
        Ok(asked)
    }
}
