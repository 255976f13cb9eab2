//! Checks against the machine itself: what passes, what fails and why, and that none waits for another one.

use std::fs;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Overrides, Settings};
use crate::folder::Folder;

mod certificates;

/// Longer than anything here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A run that is to be over in time may take so long on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// The checks of these sections of a configuration.
fn checks(sections: &str) -> Vec<Check> {
    let folder = Folder::new();
    let file = folder.path().join("vip.toml");
    let rest = "[node]\niface = \"eth0\"\n[cluster]\ninsecure = true\n";
    fs::write(&file, format!("{rest}{sections}")).unwrap();
    Settings::load(Some(&file), &Overrides::default()).unwrap().checks
}

/// What one run of the check of these lines gives, within `limit`.
async fn run_within(lines: &str, limit: Duration) -> Result<(), String> {
    let check = checks(&format!("[[check]]\nname = \"x\"\n{lines}")).remove(0);
    Prober::new(&check.probe).run(limit).await
}

async fn run(lines: &str) -> Result<(), String> {
    run_within(lines, LIMIT).await
}

/// A server that takes each connection, reads a request, answers with this and closes; `None`: it never answers. Gives its port.
async fn server(answer: Option<String>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let Some(answer) = answer else { return std::future::pending().await };
                let request = String::from_utf8_lossy(&request[..length]);
                let _ = stream.write_all(answer.replace("{request}", &request).as_bytes()).await;
            });
        }
    });
    port
}

async fn web(head: &str, body: &str) -> u16 {
    server(Some(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}"))).await
}

#[tokio::test]
async fn a_web_server_is_well_if_its_code_and_body_are_the_right_ones() {
    let (well, sick) = (web("200 OK", "all is well").await, web("503 Busy", "").await);
    let http =
        |port: u16, more: &str| format!("type = \"http\"\nurl = \"http://127.0.0.1:{port}/up\"\n{more}");
    assert_eq!(run(&http(well, "")).await, Ok(()));
    assert_eq!(run(&http(well, "body = \"is well\"")).await, Ok(()));
    assert_eq!(run(&http(sick, "status = 503")).await, Ok(()));
    let named = format!("type = \"http\"\nurl = \"http://localhost:{well}/up\"");
    assert_eq!(run(&named).await, Ok(()));
    assert_eq!(run(&http(sick, "")).await, Err("the answer is 503 Service Unavailable".to_owned()));
    let missing = run(&http(well, "body = \"fine\"")).await;
    assert_eq!(missing, Err("the answer has no \"fine\" in its first 11 bytes".to_owned()));
}

#[tokio::test]
async fn a_web_server_is_asked_for_the_host_with_the_headers() {
    let port = web("200 OK", "{request}").await;
    let seen = |text: &str| {
        format!(
            "type = \"http\"\nurl = \"http://127.0.0.1:{port}/a?b\"\nhost = \"www.example.com\"\n\
             headers = {{ X-Check = \"yes\" }}\nbody = {text:?}"
        )
    };
    for line in
        ["GET /a?b HTTP/1.1\r\n", "host: www.example.com\r\n", "connection: close\r\n", "x-check: yes\r\n"]
    {
        assert_eq!(run(&seen(line)).await, Ok(()));
    }
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_is_looked_at() {
    let text = "all is well";
    let within = web("200 OK", &format!("{}{text}", "x".repeat(64 * 1024 - text.len()))).await;
    let beyond = web("200 OK", &format!("{}{text}", "x".repeat(64 * 1024))).await;
    let http = |port| format!("type = \"http\"\nurl = \"http://127.0.0.1:{port}\"\nbody = {text:?}");
    assert_eq!(run(&http(within)).await, Ok(()));
    assert_eq!(run(&http(beyond)).await, Err(format!("the answer has no {text:?} in its first 65536 bytes")));
    let endless = web(&format!("200 OK\r\nX: {}", "x".repeat(100_000)), "").await;
    let head = run(&format!("type = \"http\"\nurl = \"http://127.0.0.1:{endless}\"")).await;
    assert!(head.unwrap_err().starts_with("HTTP: "));
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_in_time() {
    let (mute, deaf) = (server(None).await, unused_port().await);
    let http = format!("type = \"http\"\nurl = \"http://127.0.0.1:{mute}\"");
    assert_eq!(run_within(&http, Duration::from_millis(20)).await, Err("not done within 20ms".to_owned()));
    assert_eq!(run(&format!("type = \"tcp\"\naddress = \"127.0.0.1:{mute}\"")).await, Ok(()));
    let refused = run(&format!("type = \"tcp\"\naddress = \"127.0.0.1:{deaf}\"")).await.unwrap_err();
    assert!(refused.starts_with(&format!("127.0.0.1:{deaf}: Connection refused")), "{refused}");
    let garbage = server(Some("SSH-2.0-OpenSSH\r\n".to_owned())).await;
    let http = run(&format!("type = \"http\"\nurl = \"http://127.0.0.1:{garbage}\"")).await;
    assert!(http.unwrap_err().starts_with("HTTP: "));
    let https = run(&format!("type = \"http\"\nurl = \"https://127.0.0.1:{garbage}\"\nverify = false")).await;
    assert!(https.unwrap_err().starts_with("TLS: "));
}

/// One that nobody listens on.
async fn unused_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_program_is_well_if_it_exits_with_0() {
    let shell = |line: &str| format!("type = \"exec\"\nshell = true\nrun = {line:?}");
    assert_eq!(run(&shell("exit 0")).await, Ok(()));
    let failed = run(&shell("echo too full >&2; exit 3")).await;
    assert_eq!(failed, Err("exit status: 3: too full".to_owned()));
    let missing = run("type = \"exec\"\nrun = \"/nowhere/x\"").await;
    assert!(missing.unwrap_err().starts_with("cannot be run: No such file"));
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_has_started() {
    let folder = Folder::new();
    let pid = folder.path().join("pid");
    let line = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let limit = Duration::from_millis(300);
    let killed = run_within(&format!("type = \"exec\"\nshell = true\nrun = {line:?}"), limit).await;
    assert_eq!(killed, Err("killed after 300ms, its timeout".to_owned()));
    let Ok(child) = fs::read_to_string(&pid) else { return };
    let state = format!("/proc/{}/cmdline", child.trim());
    eventually("its child to end", || fs::read(&state).is_ok_and(|line| !line.is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_file_is_to_be_there_or_not() {
    let folder = Folder::new();
    let path = folder.path().join("drain");
    let file = |absent| format!("type = \"file\"\nfile = {path:?}\nabsent = {absent}");
    assert_eq!(run(&file(true)).await, Ok(()));
    assert_eq!(run(&file(false)).await, Err(format!("{} is not there", path.display())));
    fs::write(&path, "").unwrap();
    assert_eq!(run(&file(false)).await, Ok(()));
    assert_eq!(run(&file(true)).await, Err(format!("{} is there", path.display())));
}

#[tokio::test]
async fn an_interface_and_a_process_are_looked_for_by_their_names() {
    let missing = run("type = \"interface\"\ninterface = \"no-such-dev\"").await;
    assert_eq!(missing, Err("there is no interface no-such-dev".to_owned()));
    let missing = run("type = \"process\"\nprocess = \"no-such-program\"").await;
    assert_eq!(missing, Err("no process no-such-program runs".to_owned()));
    let own = std::env::current_exe().unwrap();
    let own = own.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
    assert_eq!(run(&format!("type = \"process\"\nprocess = {own:?}")).await, Ok(()));
}

#[tokio::test]
async fn one_that_hangs_delays_no_other_one_and_changes_are_told() {
    let folder = Folder::new();
    let (path, mute) = (folder.path().join("ready"), server(None).await);
    let sections = format!(
        "[[check]]\nname = \"hangs\"\ntype = \"http\"\nurl = \"http://127.0.0.1:{mute}\"\ntimeout = \"10m\"\n\
         [[check]]\nname = \"sleeps\"\ntype = \"exec\"\nshell = true\nrun = \"sleep 1000\"\ntimeout = \"10m\"\n\
         [[check]]\nname = \"ready\"\ntype = \"file\"\nfile = {path:?}\ninterval = \"1ms\"\n"
    );
    let health = Health::start(&checks(&sections)).unwrap();
    let changed = health.changed();
    let verdicts = |health: &Health| -> Vec<_> { health.records().iter().map(Record::verdict).collect() };
    tokio::time::timeout(PATIENCE, changed.notified()).await.unwrap();
    assert_eq!(verdicts(&health), [Verdict::Pending, Verdict::Pending, Verdict::Failing]);
    let runs = |health: &Health| health.records()[2].runs;
    let begun = runs(&health);
    eventually("a hundred runs", || (runs(&health) < begun + 100).then_some(())).await;
    fs::write(&path, "").unwrap();
    tokio::time::timeout(PATIENCE, changed.notified()).await.unwrap();
    assert_eq!(verdicts(&health), [Verdict::Pending, Verdict::Pending, Verdict::Passing]);
    let record = &health.records()[2];
    assert!(record.failures >= begun && record.failures < record.runs);
    assert_eq!(record.last_error, Some(format!("{} is not there", path.display())));
    // Ends although two of them do not.
    drop(health);
}

#[tokio::test]
async fn what_is_known_of_a_check_outlives_a_change_of_how_it_is_run_and_not_of_what_it_looks_at() {
    let folder = Folder::new();
    let (path, other) = (folder.path().join("ready"), folder.path().join("other"));
    let section = |name: &str, path, interval: &str| {
        format!("[[check]]\nname = {name:?}\ntype = \"file\"\nfile = {path:?}\ninterval = \"{interval}\"\n")
    };
    let before = checks(&(section("a", &path, "1h") + &section("b", &path, "1h")));
    let mut health = Health::start(&before).unwrap();
    let all_fail =
        |health: &Health| health.records().iter().all(|record| record.verdict() == Verdict::Failing);
    eventually("both to fail", || (!all_fail(&health)).then_some(())).await;
    fs::write(&other, "").unwrap();
    health.replace(&checks(&(section("b", &other, "1h") + &section("a", &path, "2m")))).unwrap();
    let verdict = |health: &Health, index: usize| health.records()[index].verdict();
    assert_eq!(verdict(&health, 1), Verdict::Failing);
    eventually("the new one to pass", || (verdict(&health, 0) != Verdict::Passing).then_some(())).await;
    health.replace(&[]).unwrap();
    assert!(health.thread.is_none());
}

#[test]
fn without_checks_there_is_no_thread() {
    let health = Health::start(&[]).unwrap();
    assert!(health.thread.is_none() && health.records().is_empty());
}

#[test]
fn what_is_wrong_is_kept_in_few_words() {
    let mut record =
        Record::new(checks("[[check]]\nname = \"x\"\ntype = \"file\"\nfile = \"/x\"\n").remove(0));
    record.note(Err("ä".repeat(1000)), Duration::ZERO);
    assert_eq!(record.last_error.map(|error| error.len()), Some(MAX_ERROR));
}

/// Waits until `missing` gives nothing.
async fn eventually(what: &str, missing: impl Fn() -> Option<()>) {
    let deadline = Instant::now() + PATIENCE;
    while missing().is_some() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
