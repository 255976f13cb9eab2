//! One run of a program, a handler or a check: a process group of its own, with pipes for its standard streams and nothing else of the daemon's.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::output::Output;
use crate::config::Run;
use crate::service;

/// How long the rest of a handler's output is waited for when it has ended: what it has left running in the background
/// may hold the pipes for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(200);
/// How long to wait for the end of what was killed.
const KILLED: Duration = Duration::from_millis(500);

/// How a run went.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: End,
    pub(crate) output: Output,
    pub(crate) errors: Output,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It never began.
    NotStarted(io::Error),
    /// Its process group was killed when its time was over.
    TimedOut,
    /// Its process group was killed, because the daemon ends.
    Stopped,
}

/// Runs a program with these variables and this input, no longer than `limit`, and not when the daemon ends.
pub(crate) async fn run(
    run: &Run,
    environment: &[(String, String)],
    input: &[u8],
    limit: Duration,
    is_stopping: &mut watch::Receiver<bool>,
) -> Ended {
    let (mut output, mut errors) = (Output::default(), Output::default());
    let mut child = match start(run, environment).await {
        Ok(child) => child,
        Err(error) => return Ended { how: End::NotStarted(error), output, errors },
    };
    let mut group = Group::of(&child);
    let how = tokio::select! {
        status = attend(&mut child, &mut group, input, &mut output, &mut errors) => {
            status.map_or_else(End::NotStarted, End::Exited)
        }
        () = sleep(limit) => End::TimedOut,
        // Ends with an error when the sender is gone: nobody will wait for this handler either.
        _ = is_stopping.wait_for(|is| *is) => End::Stopped,
    };
    if group.kill() {
        // A process that the kernel cannot end now is reaped by the runtime later.
        let _ = timeout(KILLED, child.wait()).await;
    }
    Ended { how, output, errors }
}

/// Starts the process on a thread that may wait: its file may be on a disk that does not answer. The daemon's memory is
/// not copied, locked as it is: without code between fork and exec, `posix_spawn` does it.
async fn start(run: &Run, environment: &[(String, String)]) -> io::Result<Child> {
    let (program, arguments) = run.command();
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    service::VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    spawn_blocking(move || command.spawn()).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Feeds the process and reads from it until it has ended.
async fn attend(
    child: &mut Child,
    group: &mut Group,
    input: &[u8],
    output: &mut Output,
    errors: &mut Output,
) -> io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let streams = async {
        tokio::join!(
            async {
                if let Some(stdin) = stdin {
                    feed(stdin, input).await;
                }
            },
            async {
                if let Some(stdout) = stdout {
                    output.read(stdout).await;
                }
            },
            async {
                if let Some(stderr) = stderr {
                    errors.read(stderr).await;
                }
            },
        );
    };
    tokio::pin!(streams);
    let mut are_closed = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut streams, if !are_closed => are_closed = true,
        }
    };
    // Its number may be another process's from now on.
    group.forget();
    if !are_closed {
        let _ = timeout(LAST_OUTPUT, streams).await;
    }
    status
}

async fn feed(mut stdin: ChildStdin, input: &[u8]) {
    // Handlers need not read what they do not want.
    let _ = stdin.write_all(input).await;
}

/// The process group of a handler that runs; dropped before that has ended, it is killed.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn forget(&mut self) {
        self.0 = None;
    }

    /// Gives whether there was one.
    fn kill(&mut self) -> bool {
        let Some(leader) = self.0.take() else { return false };
        // Fails only if all of it has ended meanwhile.
        let _ = killpg(leader, Signal::SIGKILL);
        true
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
