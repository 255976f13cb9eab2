//! `vip-user upgrade`: the program file that is on the disk now takes over from the daemon.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::{
    UpgradeArgs,
    client::{find_daemon, json_line, print},
};
use crate::{
    control::{self, Request, Upgraded, Upgrading},
    exit::Failure,
    status::Status,
};

/// How long the next daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// Upgrades, and waits until the next daemon answers.
///
/// # Errors
/// If no daemon answers, or why it goes on as it was, or that the next one has not come.
pub fn upgrade(args: &UpgradeArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let upgraded: Upgraded = control::request(&socket, Request::Upgrade)?;
    if args.json {
        print(&json_line(&upgraded)?)?;
    }
    let Upgrading { version, in_place, process } = upgraded.result.map_err(Failure::from)?;
    wait_for_next(&socket, process)?;
    if args.json {
        return Ok(());
    }
    let how = if in_place { "in place" } else { "with another XDP program" };
    print(&format!("version {version} has taken over, {how}\n"))
}

/// Waits until the daemon that ran as `former` is gone, and the next one answers.
fn wait_for_next(socket: &Path, former: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let former = Pid::from_raw(former.cast_signed());
    loop {
        let is_gone = kill(former, None) == Err(Errno::ESRCH);
        match control::request::<Status>(socket, Request::Status) {
            Ok(_) if is_gone => return Ok(()),
            Err(failure) if Instant::now() >= deadline => {
                let reason = format!("the next daemon does not answer, see its log: {failure}");
                return Err(Failure::new(failure.exit, reason));
            }
            _ if Instant::now() >= deadline => {
                return Err(Failure::refused("the daemon has not ended; see its log"));
            }
            _ => thread::sleep(LOOK),
        }
    }
}
