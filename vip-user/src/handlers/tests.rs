//! What handlers are promised, and what they cannot do to the daemon, with real programs.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::sleep;

use super::*;
use crate::config::Run;
use crate::events::MEMBER_WINDOW;
use crate::folder::Folder;

/// Longer than anything here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// A handler for all events that is this text for the shell, with `$0` as a folder of its own.
fn shell(folder: &Folder, text: &str) -> Handler {
    on("*", folder, text)
}

fn on(filter: &str, folder: &Folder, text: &str) -> Handler {
    let words = ["-c", text, &folder.path().display().to_string()].map(str::to_owned);
    let run = Run::Program("/bin/sh".to_owned(), words.to_vec());
    Handler { on: vec![filter.parse().unwrap()], run, timeout: PATIENCE }
}

fn start(handlers: &[Handler]) -> (Events, mpsc::Receiver<Answer>) {
    Events::new(handlers, Own { name: "lb1".into(), tags: [("role".into(), "web".into())].into() })
}

fn user(payload: &str) -> UserEvent {
    UserEvent { name: "deploy".into(), payload: payload.into(), ltime: 7, coalesce: false }
}

fn query(id: u64) -> Query {
    Query { id, name: "load".into(), payload: b"1m".to_vec(), ltime: 9 }
}

/// Waits until a file of the folder has a whole line, or more, that `wanted` accepts; gives its text.
async fn file(folder: &Folder, name: &str, wanted: impl Fn(&str) -> bool) -> String {
    let path = folder.path().join(name);
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.ends_with('\n') && wanted(&text) {
            return text;
        }
        assert!(begin.elapsed() < PATIENCE, "{name} has {text:?}");
        sleep(LOOK).await;
    }
}

fn pids(text: &str) -> Vec<Pid> {
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// Whether a process runs: one that nobody has reaped yet does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

async fn wait_gone(pids: &[Pid]) {
    let begin = Instant::now();
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(begin.elapsed() < PATIENCE, "{pids:?} still run");
        sleep(LOOK).await;
    }
}

async fn next(answers: &mut mpsc::Receiver<Answer>) -> Answer {
    timeout(PATIENCE, answers.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_handler_has_the_event_in_its_environment_and_the_payload_on_its_standard_input() {
    let folder = Folder::new();
    let record = "env | grep -E '^(SERF|VIP)_' | sort > $0/env; cat > $0/input; echo > $0/done";
    let (mut events, _answers) = start(&[shell(&folder, record)]);
    events.user(user("v1"), 0);
    file(&folder, "done", |_| true).await;
    let expected = "SERF_EVENT=user\nSERF_SELF_NAME=lb1\nSERF_SELF_ROLE=web\nSERF_TAG_ROLE=web\n\
                    SERF_USER_EVENT=deploy\nSERF_USER_LTIME=7\n";
    assert_eq!(fs::read_to_string(folder.path().join("env")).unwrap(), expected);
    assert_eq!(fs::read_to_string(folder.path().join("input")).unwrap(), "v1\n");
}

#[tokio::test]
async fn a_handler_is_run_for_one_event_after_the_other_and_only_for_its_own() {
    let folder = Folder::new();
    let text = "test -e $0/runs && echo two at once >> $0/log; touch $0/runs; cat >> $0/log; rm $0/runs";
    let (mut events, _answers) = start(&[on("user:deploy", &folder, text)]);
    for count in 0..20 {
        events.user(user(&count.to_string()), 0);
        events.user(UserEvent { name: "other".into(), ..user("x") }, 0);
        events.query(query(1), 0);
    }
    let expected: String = (0..20).map(|count| format!("{count}\n")).collect();
    assert_eq!(file(&folder, "log", |text| text.ends_with("19\n")).await, expected);
}

#[tokio::test]
async fn member_events_are_told_when_it_is_quiet_and_group_events_at_once() {
    let folder = Folder::new();
    let (mut events, _answers) = start(&[shell(&folder, "(echo $SERF_EVENT; cat) >> $0/log")]);
    let node =
        |id: u16| Node { id, name: format!("lb{id}"), address: [10, 77, 0, 1].into(), tags: <_>::default() };
    events.member(MemberEventKind::Join, node(2), 0);
    events.member(MemberEventKind::Join, node(3), 5);
    let vips = vec!["10.77.0.100/24".to_owned()];
    events
        .group(GroupEvent { kind: GroupEventKind::Demoted, group: "web".into(), vips, ..<_>::default() }, 6);
    file(&folder, "log", |text| text == "demoted\n10.77.0.100/24\n").await;
    assert_eq!(events.next_deadline(), Some(5 + MEMBER_WINDOW.quiet));
    events.handle_timeout(5 + MEMBER_WINDOW.quiet);
    let joined = "member-join\nlb2\t10.77.0.1\t\t\nlb3\t10.77.0.1\t\t\n";
    file(&folder, "log", |text| text.ends_with(joined)).await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_killed_with_all_that_it_has_started() {
    let folder = Folder::new();
    let hangs = "trap '' TERM; sleep 600 & echo $$ $! > $0/pids; wait";
    let limit = Duration::from_millis(500);
    let handler = Handler { timeout: limit, ..on("query", &folder, hangs) };
    let (mut events, mut answers) = start(&[handler, on("user", &folder, "cat > $0/after")]);
    events.query(query(3), 0);
    let pids = pids(&file(&folder, "pids", |_| true).await);
    let answer = next(&mut answers).await;
    assert_eq!(answer, Answer { query: 3, result: Err(NoAnswer::TimedOut) });
    wait_gone(&pids).await;
}

#[tokio::test]
async fn a_slow_handler_delays_no_other_one() {
    let folder = Folder::new();
    let waits = "while test -d $0 && ! test -e $0/go; do sleep 0.01; done; echo > $0/slow";
    let (mut events, _answers) = start(&[shell(&folder, waits), shell(&folder, "cat >> $0/quick")]);
    for payload in ["1", "2", "3"] {
        events.user(user(payload), 0);
    }
    file(&folder, "quick", |text| text == "1\n2\n3\n").await;
    assert!(!folder.path().join("slow").exists());
    fs::write(folder.path().join("go"), "").unwrap();
    file(&folder, "slow", |_| true).await;
}

#[tokio::test]
async fn a_handler_that_falls_behind_loses_the_newest_events_and_goes_on() {
    let folder = Folder::new();
    let waits = "cat >> $0/log; while test -d $0 && ! test -e $0/go; do sleep 0.01; done";
    let (mut events, mut answers) = start(&[shell(&folder, waits)]);
    events.user(user("0"), 0);
    file(&folder, "log", |text| text == "0\n").await;
    for count in 1..=2 * QUEUE_LENGTH {
        events.user(user(&count.to_string()), 0);
    }
    events.query(query(8), 0);
    assert_eq!(next(&mut answers).await, Answer { query: 8, result: Err(NoAnswer::Busy) });

    fs::write(folder.path().join("go"), "").unwrap();
    let last = format!("\n{QUEUE_LENGTH}\n");
    file(&folder, "log", |text| text.ends_with(&last)).await;
    let end = UserEvent { name: "end".into(), ..user("end") };
    events.user(end, 0);
    let expected: String = (0..=QUEUE_LENGTH).map(|count| format!("{count}\n")).collect();
    assert_eq!(file(&folder, "log", |text| text.ends_with("end\n")).await, format!("{expected}end\n"));
}

#[tokio::test]
async fn a_flood_of_output_is_drained_and_holds_nobody_up() {
    let folder = Folder::new();
    let floods = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; echo > $0/done";
    let (mut events, mut answers) = start(&[on("query", &folder, floods)]);
    events.query(query(4), 0);
    let answer = next(&mut answers).await;
    assert_eq!(answer, Answer { query: 4, result: Err(NoAnswer::TooLong(20_000_000)) });
    assert!(folder.path().join("done").exists(), "it went on to its end");
}

#[tokio::test]
async fn a_handler_need_not_read_its_standard_input() {
    let folder = Folder::new();
    let (mut events, _answers) = start(&[shell(&folder, "echo > $0/$SERF_EVENT")]);
    events.user(user(&"x".repeat(1_000_000)), 0);
    file(&folder, "user", |_| true).await;
    events.query(query(1), 0);
    file(&folder, "query", |_| true).await;
}

#[tokio::test]
async fn what_a_handler_leaves_in_the_background_is_neither_waited_for_nor_killed() {
    let folder = Folder::new();
    let text = "sleep 600 & echo $! > $0/pids; echo started";
    let (mut events, mut answers) = start(&[shell(&folder, text)]);
    events.query(query(2), 0);
    assert_eq!(next(&mut answers).await, Answer { query: 2, result: Ok(b"started\n".to_vec()) });
    let pids = pids(&file(&folder, "pids", |_| true).await);
    assert!(runs(pids[0]));
    kill(pids[0], nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_gone(&pids).await;
}

#[tokio::test]
async fn the_answer_to_a_query_is_what_its_handler_writes_to_standard_output() {
    let folder = Folder::new();
    let cases = [
        ("cat; echo of 3 >&2", Ok(b"1m\n".to_vec())),
        ("head -c 1024 /dev/zero", Ok(vec![0; MAX_ANSWER_BYTES])),
        ("head -c 1025 /dev/zero", Err(NoAnswer::TooLong(1_025))),
        ("echo only an error >&2", Err(NoAnswer::Silent)),
        ("echo half; exit 3", Err(NoAnswer::Failed)),
        ("echo half; kill -9 $$", Err(NoAnswer::Failed)),
    ];
    for (id, (text, result)) in (1..).zip(cases) {
        let (mut events, mut answers) = start(&[on("query:load", &folder, text)]);
        assert!(events.answers("load") && !events.answers("other"));
        events.query(query(id), 0);
        assert_eq!(next(&mut answers).await, Answer { query: id, result }, "{text}");
        events.query(Query { name: "other".into(), ..query(id) }, 0);
        assert_eq!(next(&mut answers).await, Answer { query: id, result: Err(NoAnswer::NoHandler) });
    }
    let missing = Run::Program("/nonexistent/handler".to_owned(), Vec::new());
    let (mut events, mut answers) = start(&[Handler { run: missing, ..shell(&folder, "") }]);
    events.query(query(1), 0);
    assert_eq!(next(&mut answers).await.result, Err(NoAnswer::Failed));
}

#[tokio::test]
async fn of_several_handlers_the_first_that_says_something_answers() {
    let folder = Folder::new();
    let slow = "while test -d $0 && ! test -e $0/go; do sleep 0.01; done; echo slow; echo > $0/done";
    let (mut events, mut answers) =
        start(&[shell(&folder, "true"), shell(&folder, slow), shell(&folder, "echo quick")]);
    events.query(query(6), 0);
    assert_eq!(next(&mut answers).await, Answer { query: 6, result: Ok(b"quick\n".to_vec()) });
    fs::write(folder.path().join("go"), "").unwrap();
    file(&folder, "done", |_| true).await;
    events.query(query(7), 0);
    assert_eq!(next(&mut answers).await.query, 7, "there is one answer to each");
}

#[tokio::test]
async fn at_the_end_handlers_are_told_what_waits_and_may_finish() {
    let folder = Folder::new();
    let (mut events, _answers) = start(&[shell(&folder, "sleep 0.1; echo $SERF_EVENT >> $0/log")]);
    events.user(user("x"), 0);
    let node = Node { id: 1, name: "lb1".into(), address: [10, 0, 0, 1].into(), tags: <_>::default() };
    events.member(MemberEventKind::Leave, node, 0);
    events.stop(1).finish().await;
    assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "user\nmember-leave\n");
    events.user(user("late"), 2);
    assert!(!events.answers("load"), "nobody is there any more");
}

#[tokio::test]
async fn at_the_end_handlers_that_do_not_finish_are_killed() {
    let folder = Folder::new();
    let hangs = "trap '' TERM; sleep 600 & echo $$ $! >> $0/pids; wait";
    let (mut events, mut answers) = start(&[shell(&folder, hangs)]);
    events.query(query(1), 0);
    events.query(query(2), 0);
    let pids = pids(&file(&folder, "pids", |_| true).await);
    let begin = Instant::now();
    events.stop(0).finish().await;
    assert!(begin.elapsed() >= GRACE);
    wait_gone(&pids).await;
    for query in [1, 2] {
        assert_eq!(next(&mut answers).await, Answer { query, result: Err(NoAnswer::Stopping) });
    }
    assert_eq!(pids, self::pids(&file(&folder, "pids", |_| true).await), "the second one is not begun");
}

#[tokio::test]
async fn a_handler_whose_task_is_gone_is_killed_with_all_that_it_has_started() {
    let folder = Folder::new();
    let hangs = "sleep 600 & echo $$ $! > $0/pids; wait";
    let (mut events, _answers) = start(&[shell(&folder, hangs)]);
    events.user(user("x"), 0);
    let pids = pids(&file(&folder, "pids", |_| true).await);
    events.runners.remove(0).close().abort();
    wait_gone(&pids).await;
}
