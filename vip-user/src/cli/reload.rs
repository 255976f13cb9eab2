//! `vip-user reload`: the daemon follows a configuration that has changed.

use super::{
    ReloadArgs,
    client::{find_daemon, json_line, print},
};
use crate::{
    control::{self, Reloaded, Request},
    exit::Failure,
};

/// Reloads, and says what is different now: a line each.
///
/// # Errors
/// If no daemon answers, or if nothing has been changed, and why.
pub fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let reloaded: Reloaded = control::request(&socket, Request::Reload)?;
    if args.json {
        print(&json_line(&reloaded)?)?;
    }
    match reloaded.result {
        Ok(_) if args.json => Ok(()),
        Ok(changes) if changes.is_empty() => print("nothing has changed\n"),
        Ok(changes) => print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>()),
        Err(not_done) => Err(not_done.into()),
    }
}
