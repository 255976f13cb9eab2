//! `vip-user status`, `members` and `handover`: find the daemon, ask it, and show the answer.

use std::{
    io::{self, Write},
    path::PathBuf,
    process, thread,
    time::Duration,
};

use serde::Serialize;

use super::{DaemonArgs, HandoverArgs, MembersArgs, StatusArgs, watch};
use crate::{
    config::Paths,
    control::{self, Handover, Request},
    exit::Failure,
    logging::has_colours,
    status::{Member, Status, render},
};

/// The time between two pictures of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Shows the daemon's status, once or until interrupted.
///
/// # Errors
/// If no daemon answers at first. One that is gone while it is watched may come back, so it is waited for.
pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    if args.watch && !args.json && watch::is_possible() {
        return watch::watch(socket);
    }
    let picture = || -> Result<String, Failure> {
        let status: Status = control::request(&socket, Request::Status)?;
        if args.json { json_line(&status) } else { Ok(render::status(&status, has_colours(&io::stdout()))) }
    };
    let first = picture()?;
    if !args.watch {
        return print(&first);
    }
    print(&first)?;
    loop {
        thread::sleep(WATCH_INTERVAL);
        match picture() {
            Ok(text) => print(&text)?,
            Err(failure) if !args.json => print(&format!("{failure}\n"))?,
            Err(_) => {}
        }
    }
}

/// Shows the nodes of the cluster.
///
/// # Errors
/// If no daemon answers.
pub fn members(args: &MembersArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let members: Vec<Member> = control::request(&socket, Request::Members)?;
    let text =
        if args.json { json_line(&members)? } else { render::members(&members, has_colours(&io::stdout())) };
    print(&text)
}

/// Hands groups over, and says how that went: a line for each, on standard error for those that stayed.
///
/// # Errors
/// If no daemon answers, or if a group was not handed over; the error is the last one's.
pub fn handover(args: HandoverArgs) -> Result<(), Failure> {
    let HandoverArgs { daemon, group, to } = args;
    let socket = find_daemon(&daemon)?;
    let handovers: Vec<Handover> = control::request(&socket, Request::Handover { group, to })?;
    let mut failures = Vec::new();
    for Handover { group, result } in handovers {
        match result {
            Ok(holder) => print(&format!("{group}: {holder} holds it now\n"))?,
            Err(reason) => failures.push(format!("{group}: not handed over: {reason}")),
        }
    }
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        // As for the last one, which `main` prints: nobody can be told that standard error is closed.
        let _ = writeln!(io::stderr(), "vip-user: {failure}");
    }
    Err(Failure::refused(last))
}

/// Writes to standard output. A reader that has seen enough, as `head` has, ends the command: that is no
/// error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        written => {
            written.map_err(|error| Failure::refused(format!("cannot write to standard output: {error}")))
        }
    }
}

pub(super) fn json_line(answer: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(answer);
    text.map(|text| text + "\n").map_err(|error| Failure::refused(format!("cannot write JSON: {error}")))
}

/// The control socket to use. Whether a daemon answers on it is seen when it is asked.
pub(super) fn find_daemon(args: &DaemonArgs) -> Result<PathBuf, Failure> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let paths = Paths::load(args.config.as_deref())?;
    match &args.iface {
        Some(iface) => Ok(paths.socket(iface)),
        None => only_socket(&paths),
    }
}

fn only_socket(paths: &Paths) -> Result<PathBuf, Failure> {
    let runtime = paths.runtime.display();
    let mut sockets = control::sockets(&paths.runtime).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::no_privilege(format!("no permission to read {runtime}")),
        _ => Failure::no_daemon(format!("{runtime} cannot be read: {error}")),
    })?;
    match (sockets.pop(), sockets.is_empty()) {
        (Some(socket), true) => Ok(socket),
        (Some(socket), false) => {
            let all = sockets.iter().chain([&socket]).map(|path| path.display().to_string());
            let all = all.collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!("several daemons ({all}); choose one with --iface or --socket")))
        }
        (None, _) => Err(Failure::no_daemon(format!(
            "no daemon answers: there is no {runtime}/*.sock; start it with `vip-user --iface NAME`, or as a service"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{exit::Exit, folder::Folder};

    #[test]
    fn a_socket_that_is_named_is_used_without_a_configuration() {
        let socket = PathBuf::from("/some/where.sock");
        let args = DaemonArgs { iface: None, config: None, socket: Some(socket.clone()) };
        assert_eq!(find_daemon(&args).unwrap(), socket);
    }

    #[test]
    fn an_interface_names_its_socket_in_the_configured_folder() {
        let folder = Folder::new();
        let args = args_for(folder.path(), Some("eth0"));
        assert_eq!(find_daemon(&args).unwrap(), folder.path().join("eth0.sock"));
    }

    #[test]
    fn the_only_daemon_needs_no_name() {
        let folder = Folder::new();
        fs::write(folder.path().join("eth1.sock"), "").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        assert_eq!(find_daemon(&args_for(folder.path(), None)).unwrap(), folder.path().join("eth1.sock"));
    }

    #[test]
    fn of_several_daemons_one_has_to_be_named() {
        let folder = Folder::new();
        for name in ["eth1.sock", "eth0.sock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let failure = find_daemon(&args_for(folder.path(), None)).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let both = format!("({0}/eth0.sock, {0}/eth1.sock)", folder.path().display());
        assert!(failure.message.contains(&both) && failure.message.contains("--iface"), "{failure}");
    }

    #[test]
    fn without_a_daemon_the_folder_that_was_looked_at_is_named() {
        let folder = Folder::new();
        for runtime in [folder.path().to_owned(), folder.path().join("missing")] {
            let mut args = args_for(folder.path(), None);
            let config = folder.path().join("other.toml");
            fs::write(&config, format!("[paths]\nruntime = {runtime:?}")).unwrap();
            args.config = Some(config);
            let failure = find_daemon(&args).unwrap_err();
            assert_eq!(failure.exit, Exit::NoDaemon);
            assert!(failure.message.contains(&format!("{}/*.sock", runtime.display())), "{failure}");
        }
    }

    fn args_for(runtime: &Path, iface: Option<&str>) -> DaemonArgs {
        let config = runtime.join("vip.toml");
        fs::write(&config, format!("[paths]\nruntime = {runtime:?}")).unwrap();
        DaemonArgs { iface: iface.map(str::to_owned), config: Some(config), socket: None }
    }
}
