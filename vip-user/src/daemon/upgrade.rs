//! Upgrade: the program file that is on the disk now takes over from this daemon.
//!
//! It is asked first whether it accepts the configuration, and which XDP program it brings. Then what this node holds is handed over,
//! where another node can take it: a start takes about as long as a lease may last, and longer on a busy machine. If its XDP
//! program is the one that runs, this daemon ends and leaves all in place: what nobody could take, the kernel serves on its lease,
//! until the next daemon goes on with it. If it is another one, the daemon ends as by SIGTERM. Either way, the supervisor becomes
//! the new program, and starts its daemon.

use std::ffi::OsString;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::control_plane::ControlPlane;
use super::handover;
use super::plane::ControlSide;
use super::shared::Shared;
use super::start::refused;
use crate::config::{Overrides, Source};
use crate::control::{NotDone, Upgraded, Upgrading};
use crate::dataplane;
use crate::exit::{Exit, Failure};
use crate::journal::{Happening, Kind};
use crate::membership::Severity;
use crate::supervisor;

/// How long the new program may take to say what it is.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How a daemon ends that does not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The machine is as it was before.
    Stopped,
    /// So it is, and another program is to take over.
    Replaced,
    /// All is in place for another program to go on with, at once.
    InPlace,
}

/// What an upgrade works with; clones are the same.
#[derive(Clone)]
pub(super) struct Upgrader {
    shared: Shared,
    source: Arc<Source>,
    /// There is a supervisor, who starts the next daemon.
    is_supervised: bool,
    /// One at a time.
    turn: Arc<Mutex<()>>,
}

/// What a program file says of itself.
struct Program {
    version: String,
    /// See [`dataplane::identity`].
    data_plane: String,
}

impl Upgrader {
    pub(super) fn new(shared: Shared, source: Arc<Source>, is_supervised: bool) -> Self {
        Self { shared, source, is_supervised, turn: Arc::default() }
    }

    /// Has the program file take over, unless it cannot; the daemon ends then, as soon as it looks.
    pub(super) async fn upgrade(&self) -> Upgraded {
        let _turn = self.turn.lock().await;
        let result = self.begin().await.map_err(|failure| {
            let what = Happening::new(Kind::Upgrade, format!("upgrade: {failure}"));
            self.shared.with(|plane| plane.journal.tell(Happening { severity: Severity::Error, ..what }));
            NotDone { bad_configuration: failure.exit == Exit::BadConfiguration, reason: failure.message }
        });
        Upgraded { result }
    }

    async fn begin(&self) -> Result<Upgrading, Failure> {
        if !self.is_supervised {
            return Err(Failure::refused(
                "this daemon was started without --supervise, so that nobody would start the next one: stop it, which \
                 hands over, and start it again",
            ));
        }
        let path = supervisor::program()
            .map_err(|error| refused(format!("cannot find the program file: {error}")))?;
        let Program { version, data_plane } = ask(&path, &self.source).await?;
        let in_place = data_plane == dataplane::identity() && self.shared.with(|plane| plane.has_fence());
        let how = if in_place { "in place" } else { "and loads another XDP program" };
        let text = format!("upgrade: version {version} of {} takes over, {how}", path.display());
        self.shared.with(|plane| plane.tell_stopping(text));
        handover::retire(&self.shared, if in_place { "served on meanwhile" } else { "released" }).await;
        let ended = if in_place { Ended::InPlace } else { Ended::Replaced };
        self.shared.ask(|plane| plane.end(Ok(ended)));
        Ok(Upgrading { version, in_place, process: process::id() })
    }
}

impl ControlPlane {
    /// Whether what is served would be fenced, and served on, without this process.
    const fn has_fence(&self) -> bool {
        matches!(self.plane, ControlSide::Xdp(_))
    }
}

/// Asks the program file what it is, and whether it accepts the configuration.
async fn ask(path: &Path, source: &Source) -> Result<Program, Failure> {
    let shown = path.display();
    let mut command = Command::new(path);
    command.arg("check").arg("--data-plane").args(arguments(source));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let answer = timeout(ANSWER_TIME, command.output()).await;
    let answer = answer.map_err(|_| {
        refused(format!("{shown} does not say what it is within {} s", ANSWER_TIME.as_secs()))
    })?;
    let answer = answer.map_err(|error| refused(format!("{shown} cannot be run: {error}")))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        let said = said.trim();
        let said = said.strip_prefix("vip-user: ").unwrap_or(said);
        let exit = match answer.status.code() {
            Some(code) if code == Exit::BadConfiguration as i32 => Exit::BadConfiguration,
            _ => Exit::Refused,
        };
        return Err(Failure::new(
            exit,
            format!("{shown} would not run with the configuration as it is: {said}"),
        ));
    }
    let said = String::from_utf8_lossy(&answer.stdout);
    match *said.split_whitespace().collect::<Vec<_>>() {
        ["vip-user", version, data_plane] => {
            Ok(Program { version: version.to_owned(), data_plane: data_plane.to_owned() })
        }
        _ => Err(refused(format!("{shown} is no vip-user that could take over"))),
    }
}

/// The arguments by which a command reads the settings from there.
fn arguments(source: &Source) -> Vec<OsString> {
    let Source { file, overrides: Overrides { iface, vips, xdp, join } } = source;
    let mut arguments = Vec::new();
    let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
    file.iter().for_each(|file| add("--config", file.into()));
    iface.iter().for_each(|iface| add("--iface", iface.into()));
    vips.iter().for_each(|vip| add("--vip", vip.to_string().into()));
    xdp.iter().for_each(|xdp| add("--xdp", xdp.to_string().into()));
    join.iter().for_each(|address| add("--join", address.to_string().into()));
    arguments
}
