//! The client's side: ask, wait for a bounded time, and say what to do if nobody answers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{Reply, Request, connect};
use crate::exit::Failure;

/// How long each step of a request may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a handover may take: the daemon offers for two leases and waits for the target's renewal, and the longest
/// leases are of 10 s.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(40);
/// How long a join may take: the daemon waits for the other node for five seconds.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// The longest reply that is read; a status of 10,000 VIPs is a fraction of it.
const MAX_REPLY: u64 = 16 * 1024 * 1024;

/// Asks the daemon whose control socket is at `path`.
///
/// # Errors
/// [`Exit::NoDaemon`](crate::exit::Exit::NoDaemon) if none answers,
/// [`Exit::NoPrivilege`](crate::exit::Exit::NoPrivilege) if the caller may not use the socket, or not ask for that, and
/// [`Exit::Refused`](crate::exit::Exit::Refused) with the daemon's reason if it refuses.
pub fn request<T: DeserializeOwned>(path: &Path, request: Request) -> Result<T, Failure> {
    let patience = match &request {
        // What a reload or maintenance takes from this node is handed over.
        Request::Handover { .. } | Request::Maintenance { .. } | Request::Reload | Request::Upgrade => {
            HANDOVER_PATIENCE
        }
        Request::Join { .. } => JOIN_PATIENCE,
        Request::Query { timeout_ms, .. } => PATIENCE.saturating_add(Duration::from_millis(*timeout_ms)),
        _ => PATIENCE,
    };
    let line = exchange(path, &request, patience).map_err(|error| explain(path, patience, &error))?;
    let strange =
        |error| Failure::refused(format!("{}: cannot understand the reply: {error}", path.display()));
    match serde_json::from_slice(&line).map_err(strange)? {
        Reply::Ok(answer) => serde_json::from_value(answer).map_err(strange),
        Reply::Error(reason) if reason.trim().is_empty() => Err(Failure::refused(format!(
            "{}: refused without a reason; see the daemon's log",
            path.display()
        ))),
        Reply::Error(reason) => Err(Failure::refused(reason)),
        Reply::Denied(reason) => Err(Failure::no_privilege(reason)),
    }
}

fn exchange(path: &Path, request: &Request, patience: Duration) -> io::Result<Vec<u8>> {
    let mut socket = connect(path, PATIENCE)?;
    socket.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    socket.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(socket.take(MAX_REPLY)).read_until(b'\n', &mut reply)?;
    if reply.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

fn explain(path: &Path, patience: Duration, error: &io::Error) -> Failure {
    let path = path.display();
    let start = "start it with `vip-user --iface NAME`, or as a service";
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::no_daemon(format!("no daemon answers on {path}: there is no such socket; {start}"))
        }
        io::ErrorKind::ConnectionRefused => {
            Failure::no_daemon(format!("no daemon answers on {path}: the one that made it is gone; {start}"))
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::no_daemon(format!(
            "no daemon answers on {path}: no reply within {} s; it may be stopped or overloaded, see its log",
            patience.as_secs()
        )),
        io::ErrorKind::PermissionDenied => Failure::no_privilege(format!(
            "no permission to use {path}; may its folder be entered by others?"
        )),
        _ => Failure::no_daemon(format!("no daemon answers on {path}: {error}; see the daemon's log")),
    }
}
