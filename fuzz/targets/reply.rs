//! What answers a client command on the control socket, through a real one: a daemon of another version, or no daemon.
//!
//! The first byte of the input tells what was asked for, "0" to "3"; the rest is the answer.
//!
//! Promised: what cannot be understood is a failure of one line that names the socket or is the daemon's own reason. What
//! can be is shown in as many lines as it has parts, and neither can command the terminal. As JSON it is one line, and the
//! same again when it is read.

#![no_main]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::thread;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vip_fuzz::{assert_plain, directory};
use vip_user::control::{self, Handover, Request};
use vip_user::departure::Departure;
use vip_user::exit::Failure;
use vip_user::status::{Member, MemberStatus, Status, render};

/// What the next client gets.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SOCKET: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = directory().join("reply.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || answer(&listener));
    path
});

fuzz_target!(|input: &[u8]| {
    let Some((which, answer)) = input.split_first() else { return };
    *ANSWER.lock().expect("no panic of the other thread") = answer.to_vec();
    match which % 4 {
        0 => check(Request::Status, |status: &Status| {
            let warnings = usize::from(status.insecure) + usize::from(!has_quorum(status));
            let lines = 1 + warnings + 1 + 1 + status.groups.len() + 1 + 1 + status.members.len() + 1 + 1;
            (render::status(status, false), lines)
        }),
        1 => check(Request::Members, |members: &Vec<Member>| {
            (render::members(members, false), 1 + members.len())
        }),
        2 => check(Request::Handover { group: None, to: None }, |_: &Vec<Handover>| (String::new(), 0)),
        _ => check(Request::Leave, |_: &Departure| (String::new(), 0)),
    }
});

/// Whether a majority of the voters is heard, as far as there are voters.
fn has_quorum(status: &Status) -> bool {
    let voters = status.members.iter().filter(|member| member.voter);
    let heard = |member: &&Member| matches!(member.status, MemberStatus::Alive | MemberStatus::Leaving);
    let (all, heard) = (voters.clone().count(), voters.filter(heard).count());
    all == 0 || 2 * heard > all
}

/// Checks the answer to this request, which is shown to people as `show` says, in so many lines.
fn check<T: DeserializeOwned + Serialize>(request: Request, show: impl Fn(&T) -> (String, usize)) {
    match control::request::<T>(&SOCKET, request) {
        Ok(answer) => {
            let (text, lines) = show(&answer);
            assert_eq!(text.lines().count(), lines, "{text:?}");
            text.lines().for_each(|line| assert!(!line.contains(char::is_control), "{line:?}"));
            let json = serde_json::to_string(&answer).expect("JSON");
            assert!(!json.contains(char::is_control), "{json:?}");
            serde_json::from_str::<T>(&json).expect("what was written is read");
        }
        Err(Failure { message, .. }) => assert_plain(&message),
    }
}

/// Gives every client the answer, whatever it asks.
fn answer(listener: &UnixListener) {
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.expect("a client"));
        let mut request = Vec::new();
        stream.read_until(b'\n', &mut request).expect("a request");
        let answer = ANSWER.lock().expect("no panic of the other thread").clone();
        stream.get_mut().write_all(&answer).expect("a client that reads");
    }
}
