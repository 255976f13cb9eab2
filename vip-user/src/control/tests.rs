//! What the control socket promises to a daemon that starts, and to the clients of one that runs.

use std::{
    fs,
    future::ready,
    io::{Read, Write},
    net::Shutdown,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    sync::Barrier,
    thread,
};

use nix::unistd::Uid;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::ControlGroup,
    exit::{Exit, Failure},
    folder::Folder,
};

/// A daemon's server on a thread of its own, on a current-thread runtime. Dropping it stops it.
struct Daemon {
    folder: Folder,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    fn start(handler: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_for(Access::new(None), handler)
    }

    fn start_for(access: Access, handler: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let folder = Folder::new();
        let server = Server::bind(&folder.path().join("eth0.sock")).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = server.serve(access, move |request| ready(handler(request))) => panic!("the server gave up"),
                    _ = stopped => {}
                }
            });
        });
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("eth0.sock")
    }

    /// Stops the server as a daemon does that shuts down: its future is dropped.
    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Sends `bytes` as they are, and gives the whole answer.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers with the request's name.
fn echo(request: Request) -> Reply {
    Reply::ok(&format!("{request:?}"))
}

#[test]
fn requests_and_replies_look_as_documented() {
    assert_eq!(serde_json::to_string(&Request::Status).unwrap(), r#"{"command":"status"}"#);
    assert_eq!(serde_json::to_string(&Request::Members).unwrap(), r#"{"command":"members"}"#);
    let handover = Request::Handover { group: Some("web".to_owned()), to: None };
    let written = r#"{"command":"handover","group":"web","to":null}"#;
    assert_eq!(serde_json::to_string(&handover).unwrap(), written);
    assert_eq!(serde_json::from_str::<Request>(r#"{"command":"handover","group":"web"}"#).unwrap(), handover);
    let forget = Request::Forget { node: "lb3".to_owned() };
    assert_eq!(serde_json::to_string(&forget).unwrap(), r#"{"command":"forget","node":"lb3"}"#);
    assert_eq!(serde_json::to_string(&Reply::Ok(json!([1]))).unwrap(), r#"{"ok":[1]}"#);
    assert_eq!(serde_json::to_string(&Reply::Error("no".to_owned())).unwrap(), r#"{"error":"no"}"#);
}

#[test]
fn a_client_gets_the_handlers_answer_to_its_request() {
    let daemon = Daemon::start(echo);
    for command in [Request::Status, Request::Members, Request::Status] {
        let expected = format!("{command:?}");
        assert_eq!(request::<String>(&daemon.socket(), command).unwrap(), expected);
    }
}

#[test]
fn a_daemons_refusal_is_the_clients_failure() {
    let daemon = Daemon::start(|_| Reply::Error("not now".to_owned()));
    assert_eq!(request::<Value>(&daemon.socket(), Request::Status), Err(Failure::refused("not now")));
}

#[test]
fn a_refusal_without_a_reason_is_a_failure_that_names_the_socket() {
    let daemon = Daemon::start(|_| Reply::Error("\n".to_owned()));
    let failure = request::<Value>(&daemon.socket(), Request::Status).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.contains("eth0.sock: refused without a reason"), "{failure}");
}

#[test]
fn an_answer_of_another_shape_is_a_failure_that_names_the_socket() {
    let daemon = Daemon::start(echo);
    let failure = request::<u64>(&daemon.socket(), Request::Status).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.contains("eth0.sock: cannot understand the reply"), "{failure}");
}

#[test]
fn what_is_no_request_is_answered_with_the_reason() {
    let daemon = Daemon::start(echo);
    for bytes in ["\n", "status\n", "{\"command\":\"fly\"}\n", "{}\n", "{\"command\":\"status\"", ""] {
        let answer = daemon.exchange(bytes.as_bytes());
        assert!(answer.starts_with("{\"error\":\"not a request: "), "{bytes:?} -> {answer:?}");
        assert!(answer.ends_with("}\n"), "{answer:?}");
    }
    assert_eq!(daemon.exchange(b"{\"command\":\"status\"}\n"), "{\"ok\":\"Status\"}\n");
}

#[test]
fn a_request_over_the_limit_is_refused() {
    let daemon = Daemon::start(echo);
    let padded = |len: usize| {
        let request = r#"{"command":"status"}"#;
        format!("{}{request}\n", " ".repeat(len - request.len() - 1))
    };
    assert_eq!(daemon.exchange(padded(8192).as_bytes()), "{\"ok\":\"Status\"}\n");
    let answer = daemon.exchange(padded(8193).as_bytes());
    assert_eq!(answer, "{\"error\":\"the request is longer than 8192 bytes\"}\n");
}

#[test]
fn a_client_over_the_limit_waits_until_silent_ones_are_dropped() {
    let daemon = Daemon::start(echo);
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    assert_eq!(request::<String>(&daemon.socket(), Request::Status).unwrap(), "Status");
    // Among 32 at a time there was no room for the request before 9 of the 40 silent clients had been dropped.
    let answers = silent.into_iter().filter_map(|mut stream| {
        stream.set_nonblocking(true).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok().then_some(answer)
    });
    let answers: Vec<_> = answers.collect();
    assert!(answers.len() >= 9, "{} were dropped", answers.len());
    assert!(answers.iter().all(|answer| answer == "{\"error\":\"no request within 1 s\"}\n"), "{answers:?}");
}

#[test]
fn the_socket_is_for_everybody_and_its_folder_is_made() {
    let folder = Folder::new();
    let path = folder.path().join("run/vip-user/eth0.sock");
    let _server = Server::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o666);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
}

#[test]
fn who_is_not_in_the_group_may_look_and_change_nothing() {
    if !Uid::effective().is_root() {
        return eprintln!("passed over: only root can be somebody else");
    }
    let group = ControlGroup { name: "operators".to_owned(), gid: OPERATORS.into() };
    let daemon = Daemon::start_for(Access::new(Some(group)), echo);
    fs::set_permissions(daemon.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let leave = || request::<String>(&daemon.socket(), Request::Leave);
    let look = || request::<String>(&daemon.socket(), Request::Status);
    assert!(leave().is_ok(), "root");
    for (gid, others) in [(OPERATORS, vec![]), (STRANGER, vec![1, OPERATORS])] {
        assert!(as_somebody(gid, &others, leave).is_ok(), "a member, by {gid} and {others:?}");
    }
    // More groups than the first buffer takes: the one that matters is the last.
    let many: Vec<_> = (100_000..100_100).chain([OPERATORS]).collect();
    assert!(as_somebody(STRANGER, &many, leave).is_ok(), "a member of many groups");
    assert_eq!(as_somebody(STRANGER, &[1, 2], look).unwrap(), "Status");
    let failure = as_somebody(STRANGER, &[1, 2], leave).unwrap_err();
    assert_eq!(failure.exit, Exit::NoPrivilege);
    let expected =
        "only root and members of the group operators may change anything, and you are uid 65534; use sudo";
    assert_eq!(failure.message, expected);
}

#[test]
fn clients_that_may_only_look_keep_nobody_waiting() {
    if !Uid::effective().is_root() {
        return eprintln!("passed over: only root can be somebody else");
    }
    let daemon = Daemon::start(echo);
    fs::set_permissions(daemon.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let connect = || UnixStream::connect(daemon.socket()).unwrap();
    let silent: Vec<_> = as_somebody(STRANGER, &[], || (0..40).map(|_| connect()).collect());
    let before = std::time::Instant::now();
    assert_eq!(request::<String>(&daemon.socket(), Request::Status).unwrap(), "Status");
    // Who says nothing has a second for it: 40 of them, if they could fill the places, would take two.
    assert!(before.elapsed() < std::time::Duration::from_secs(1), "root has waited {:?}", before.elapsed());
    let answers = silent.into_iter().map(|mut stream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_or(String::new(), |_| answer)
    });
    assert_eq!(answers.filter(|answer| answer.contains("no request within 1 s")).count(), 16);
}

#[test]
fn a_second_daemon_is_refused_and_leaves_the_first_alone() {
    let daemon = Daemon::start(echo);
    let failure = Server::bind(&daemon.socket()).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    let expected = format!("already running on {}", daemon.socket().display());
    assert!(failure.message.starts_with(&expected), "{failure}");
    assert_eq!(request::<String>(&daemon.socket(), Request::Status).unwrap(), "Status");
}

#[test]
fn of_daemons_that_start_at_once_one_runs() {
    // Many rounds, since a race is lost in some of them only.
    for _ in 0..50 {
        let folder = Folder::new();
        let path = folder.path().join("eth0.sock");
        drop(UnixListener::bind(&path).unwrap());
        let start = Barrier::new(4);
        let bind = || {
            start.wait();
            Server::bind(&path)
        };
        let outcomes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let folder = Folder::new();
    let path = folder.path().join("eth0.sock");
    drop(UnixListener::bind(&path).unwrap());
    let failure = request::<Value>(&path, Request::Status).unwrap_err();
    assert_eq!(failure.exit, Exit::NoDaemon);
    assert!(failure.message.contains("the one that made it is gone"), "{failure}");
    Server::bind(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let folder = Folder::new();
    let path = folder.path().join("eth0.sock");
    fs::write(&path, "precious").unwrap();
    let failure = Server::bind(&path).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.contains("not by a socket"), "{failure}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_daemon_that_stops_leaves_no_socket() {
    let mut daemon = Daemon::start(echo);
    assert!(daemon.socket().exists());
    daemon.stop();
    assert!(!daemon.socket().exists());

    drop(Server::bind(&daemon.socket()).unwrap());
    assert!(!daemon.socket().exists(), "one that was never served");
}

#[test]
fn a_socket_that_is_not_there_is_no_daemon() {
    let path = Path::new("/nonexistent/eth0.sock");
    let failure = request::<Value>(path, Request::Status).unwrap_err();
    assert_eq!(failure.exit, Exit::NoDaemon);
    let expected = "no daemon answers on /nonexistent/eth0.sock: there is no such socket; start it with";
    assert!(failure.message.starts_with(expected), "{failure}");
}

#[test]
fn a_daemon_that_hangs_is_no_daemon_after_two_seconds() {
    let folder = Folder::new();
    let path = folder.path().join("eth0.sock");
    let _hanging = UnixListener::bind(&path).unwrap();
    let failure = request::<Value>(&path, Request::Status).unwrap_err();
    assert_eq!(failure.exit, Exit::NoDaemon);
    assert!(failure.message.contains("no reply within 2 s"), "{failure}");
}

#[test]
fn sockets_are_found_by_their_names() {
    let folder = Folder::new();
    for name in ["eth1.sock", "eth0.sock", "eth0.sock.old", "sock"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let found = sockets(folder.path()).unwrap();
    assert_eq!(found, [folder.path().join("eth0.sock"), folder.path().join("eth1.sock")]);
    assert!(sockets(&folder.path().join("missing")).unwrap().is_empty());
}

const OPERATORS: u32 = 54_321;
const STRANGER: u32 = 65_534;

/// Runs `what` on a thread that is user 65534 of these groups. The system's calls change one thread alone.
fn as_somebody<T: Send>(gid: u32, others: &[u32], what: impl FnOnce() -> T + Send) -> T {
    let become_them = || {
        // SAFETY: the pointer and the length are those of a slice that lives; the kernel only reads it.
        let result = unsafe { libc::syscall(libc::SYS_setgroups, others.len(), others.as_ptr()) };
        assert_eq!(result, 0);
        // SAFETY: takes numbers alone.
        let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
        assert_eq!(result, 0);
        // SAFETY: takes numbers alone.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
        assert_eq!(result, 0);
        what()
    };
    thread::scope(|scope| scope.spawn(become_them).join().unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
