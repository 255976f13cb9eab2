//! Handlers that were written for Serf: they are told the same here, byte for byte, and work unchanged.
//!
//! What is compared with Serf itself takes its program, and the Python library takes that: without them, these tests say so
//! and pass.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use tokio::sync::mpsc;
use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Lab},
    recorder::{RECORDER, Record, records_in, section},
    serf::{self, Agent},
    wait,
};
use vip_user::{
    clock,
    config::{Handler, Run},
    events::{MEMBER_WINDOW, MemberEventKind, Node, Own, Query, UserEvent},
    handlers::{Answer, Events},
};

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);

const WEB: [(&str, &str); 2] = [("role", "web"), ("data-center", "east")];
const DB: [(&str, &str); 1] = [("role", "db")];
const DB_IN_RACK: [(&str, &str); 2] = [("role", "db"), ("rack", "7")];

/// A recorder into `file` that answers queries.
fn answering_recorder(file: &Path) -> String {
    let recorder = RECORDER.replace("$0", &file.display().to_string());
    format!("{recorder}\nif [ $SERF_EVENT = query ]; then echo answer to $SERF_QUERY_NAME; fi\n")
}

/// The order of tags is not Serf's to promise: it is another one each time.
fn with_tags_in_order(mut record: Record) -> Record {
    if record.event().starts_with("member-") {
        let line = |line: &str| {
            let (before, tags) = line.rsplit_once('\t').unwrap();
            let mut tags: Vec<&str> = tags.split(',').collect();
            tags.sort_unstable();
            format!("{before}\t{}\n", tags.join(","))
        };
        record.input = record.input.lines().map(line).collect();
    }
    record
}

fn records(path: &Path) -> Vec<Record> {
    records_in(path).into_iter().map(with_tags_in_order).collect()
}

/// Waits until a recorder has been told `count` times, the last time of this event.
fn wait_told(path: &Path, count: usize, event: &str) {
    wait::until_calmly(&format!("{count} events, the last one {event}"), PATIENCE, || {
        let records = records(path);
        match records.last() {
            Some(last) if records.len() == count && last.event() == event => Ok(Some(())),
            _ => bail!("{records:#?}"),
        }
    })
    .unwrap();
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect()
}

/// The handlers of node 1, with its tags.
struct Handlers {
    events: Events,
    answers: mpsc::Receiver<Answer>,
}

impl Handlers {
    fn start(handlers: &[(&str, Run)], own: &[(&str, &str)]) -> Self {
        let handler = |(on, run): &(&str, Run)| Handler {
            on: on.split(',').map(|filter| filter.parse().unwrap()).collect(),
            run: run.clone(),
            timeout: PATIENCE,
        };
        let handlers: Vec<Handler> = handlers.iter().map(handler).collect();
        let (events, answers) = Events::new(&handlers, Own { name: "lb1".into(), tags: tags(own) });
        Self { events, answers }
    }

    fn member(&mut self, kind: MemberEventKind, id: u8, of: &[(&str, &str)]) {
        let now = clock::now();
        let address = [10, 77, 0, id].into();
        self.events.member(
            kind,
            Node { id: id.into(), name: format!("lb{id}"), address, tags: tags(of) },
            now,
        );
        self.events.handle_timeout(now + MEMBER_WINDOW.longest);
    }

    fn user(&mut self, name: &str, payload: &str, ltime: u64) {
        let event = UserEvent { name: name.into(), payload: payload.into(), ltime, coalesce: false };
        self.events.user(event, clock::now());
    }

    async fn ask(&mut self, name: &str, payload: &str, ltime: u64) -> Vec<u8> {
        let query = Query { id: 5, name: name.into(), payload: payload.into(), ltime };
        self.events.query(query, clock::now());
        tokio::time::timeout(PATIENCE, self.answers.recv()).await.unwrap().unwrap().result.unwrap()
    }
}

/// Waits until the file has this text.
async fn wait_text(path: &Path, wanted: &str) {
    let wait = async {
        while fs::read_to_string(path).ok().as_deref() != Some(wanted) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await.is_ok();
    assert!(found, "{}: {:?}", path.display(), fs::read_to_string(path));
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vip-tests-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Has two of Serf's agents go through every kind of event that it has; gives what its handler was told on the first, and
/// what it answered.
fn told_by_serf(lab: &Lab, file: &Path) -> (Vec<Record>, String) {
    let recorder = answering_recorder(file);
    let first = Agent::start(lab, 1, &WEB, &recorder, None).unwrap();
    wait_told(file, 1, "member-join");
    let second = Agent::start(lab, 2, &DB, "cat", Some(1)).unwrap();
    wait_told(file, 2, "member-join");
    second.order(&["tags", "-set", "rack=7"]).unwrap();
    wait_told(file, 3, "member-update");
    for (count, (name, payload)) in (4..).zip([("deploy", "v1"), ("now", ""), ("lines", "one\ntwo\n")]) {
        first.order(&["event", "-coalesce=false", name, payload]).unwrap();
        wait_told(file, count, "user");
    }
    let asked = first.order(&["query", "uptime", "how long"]).unwrap();
    wait_told(file, 7, "query");
    second.kill().unwrap();
    wait_told(file, 8, "member-failed");
    let second = Agent::start(lab, 2, &DB, "cat", Some(1)).unwrap();
    wait_told(file, 9, "member-join");
    second.order(&["leave"]).unwrap();
    wait_told(file, 10, "member-leave");
    // At its next look for those that are long gone.
    wait_told(file, 11, "member-reap");
    let answers = String::from_utf8(asked.stdout).unwrap();
    let answer = answers.lines().find_map(|line| line.strip_prefix("Response from 'lb1': "));
    (records(file), format!("{}\n", answer.unwrap()))
}

/// The same events, told to the same handler here.
async fn told_here(file: &Path) -> (Vec<Record>, String) {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    let mut handlers = Handlers::start(&[("*", Run::Shell(answering_recorder(file)))], &WEB);
    handlers.member(Join, 1, &WEB);
    handlers.member(Join, 2, &DB);
    handlers.member(Update, 2, &DB_IN_RACK);
    handlers.user("deploy", "v1", 1);
    handlers.user("now", "", 2);
    handlers.user("lines", "one\ntwo\n", 3);
    let answer = handlers.ask("uptime", "how long", 1).await;
    handlers.member(Failed, 2, &DB_IN_RACK);
    handlers.member(Join, 2, &DB);
    handlers.member(Leave, 2, &DB);
    handlers.member(Reap, 2, &DB);
    let end = tokio::time::timeout(PATIENCE, async {
        while records(file).len() < 11 {
            tokio::time::sleep(LOOK).await;
        }
    });
    end.await.expect("eleven events");
    (records(file), String::from_utf8(answer).unwrap())
}

#[test]
fn a_handler_is_told_by_serf_and_here_the_same_of_every_kind_of_event() {
    if let Err(reason) = serf::program() {
        return println!("skipped: {reason}");
    }
    let lab = Lab::new(2).unwrap();
    let files = ["serf", "here"].map(|name| lab.home(1).join(name));
    let by_serf = told_by_serf(&lab, &files[0]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = runtime.block_on(told_here(&files[1]));
    assert_eq!(by_serf, here);
}

/// Input: daemons and Serf's agents side by side on the same machines; one machine's die, come back, leave and come back.
/// Expected: their handlers on another machine are told the same of it.
#[test]
fn daemons_tell_their_handlers_the_same_of_nodes_as_serf_agents_beside_them() {
    if let Err(reason) = serf::program() {
        return println!("skipped: {reason}");
    }
    let mut cluster = Cluster::prepare(3, |_| DaemonOptions::default()).unwrap();
    let files = ["serf", "here"].map(|name| cluster.lab().home(1).join(name));
    cluster.options(1).unwrap().more_of_group = section("*", RECORDER, &files[1], "");
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    cluster.wait_whole(PATIENCE).unwrap();
    let recorder = RECORDER.replace("$0", &files[0].display().to_string());
    let _first = Agent::start(cluster.lab(), 1, &[], &recorder, None).unwrap();
    let second = |cluster: &Cluster| Agent::start(cluster.lab(), 2, &[], "cat", Some(1)).unwrap();
    let wait_both = |count: usize, event: &str| {
        for file in &files {
            wait::until_calmly(&format!("{event} of lb2"), PATIENCE, || {
                let told = told_of_lb2(file);
                let is_last = told.last().is_some_and(|record| record.event() == event);
                if told.len() == count && is_last { Ok(Some(())) } else { bail!("{told:#?}") }
            })
            .unwrap();
        }
    };
    let agent = second(&cluster);
    wait_both(1, "member-join");
    agent.kill().unwrap();
    cluster.daemon(2).unwrap().kill().unwrap();
    wait_both(2, "member-failed");
    let agent = second(&cluster);
    cluster.restart(2).unwrap();
    wait_both(3, "member-join");
    agent.order(&["leave"]).unwrap();
    cluster.daemon(2).unwrap().terminate().unwrap();
    wait_both(4, "member-leave");
    assert_eq!(told_of_lb2(&files[0]), told_of_lb2(&files[1]));
}

/// What was told of node 2, without what one and the same event told of others.
fn told_of_lb2(file: &Path) -> Vec<Record> {
    let only = |mut record: Record| {
        let lines = record.input.lines().filter(|line| line.starts_with("lb2\t"));
        record.input = lines.map(|line| format!("{line}\n")).collect();
        record
    };
    let told = records_in(file).into_iter().filter(|record| record.event().starts_with("member-")).map(only);
    // Serf forgets who has left.
    told.filter(|record| !record.input.is_empty() && record.event() != "member-reap").collect()
}

/// A load balancer's handlers as they are commonly written for Serf: each line of standard input is a server.
#[tokio::test]
async fn the_common_handlers_that_keep_a_load_balancers_list_of_servers_work_unchanged() {
    use MemberEventKind::{Failed, Join, Leave};
    const ON_JOIN: &str = r#"
if [ "x${SERF_SELF_ROLE}" != "xlb" ]; then
    echo "Not a load balancer."
    exit 0
fi
while read line; do
    ROLE=`echo $line | awk '{ print $3 }'`
    if [ "x${ROLE}" != "xweb" ]; then
        continue
    fi
    echo $line | awk '{ printf "    server %s %s:80 check\n", $1, $2 }' >> SERVERS
done
"#;
    const ON_LEAVE: &str = r#"
if [ "x${SERF_TAG_ROLE}" != "xlb" ]; then
    exit 0
fi
while read NAME ADDRESS ROLE TAGS; do
    sed -i "/ ${NAME} /d" SERVERS
done
"#;
    let folder = Folder::new("balancer");
    let servers = folder.file("servers");
    let shell = |text: &str| Run::Shell(text.replace("SERVERS", &servers.display().to_string()));
    let on = [("member-join", shell(ON_JOIN)), ("member-leave,member-failed", shell(ON_LEAVE))];
    let mut balancer = Handlers::start(&on, &[("role", "lb")]);
    let mut other = Handlers::start(&on, &DB);
    let server = |id: u8| format!("    server lb{id} 10.77.0.{id}:80 check\n");
    for (id, of) in [(1, &[("role", "lb")][..]), (2, &WEB), (3, &DB), (4, &WEB), (5, &[])] {
        balancer.member(Join, id, of);
        other.member(Join, id, of);
    }
    wait_text(&servers, &[server(2), server(4)].concat()).await;
    balancer.member(Failed, 2, &WEB);
    wait_text(&servers, &server(4)).await;
    balancer.member(Join, 2, &WEB);
    wait_text(&servers, &[server(4), server(2)].concat()).await;
    balancer.member(Leave, 4, &WEB);
    wait_text(&servers, &server(2)).await;
    other.events.stop(clock::now()).finish().await;
    wait_text(&servers, &server(2)).await;
}

#[tokio::test]
async fn a_handler_that_picks_its_work_by_event_and_name_works_unchanged() {
    const ROUTER: &str = r#"
case $SERF_EVENT in
    user) echo "$SERF_USER_EVENT at $SERF_USER_LTIME: $(cat)" >> FILE ;;
    query) case $SERF_QUERY_NAME in load) cut -d ' ' -f 1 /proc/loadavg ;; *) read who; echo "hello $who" ;; esac ;;
    *) awk -v event=$SERF_EVENT '{ print event, $1, $2 }' >> FILE ;;
esac
"#;
    let folder = Folder::new("router");
    let log = folder.file("log");
    let router = Run::Shell(ROUTER.replace("FILE", &log.display().to_string()));
    let mut handlers = Handlers::start(&[("*", router)], &[]);
    handlers.user("deploy", "v1", 7);
    handlers.member(MemberEventKind::Join, 2, &[]);
    wait_text(&log, "deploy at 7: v1\nmember-join lb2 10.77.0.2\n").await;
    let load = String::from_utf8(handlers.ask("load", "", 1).await).unwrap();
    assert!(load.trim().parse::<f64>().is_ok(), "{load}");
    assert_eq!(handlers.ask("greet", "operator", 2).await, b"hello operator\n");
}

/// A handler in Python, of a library for Serf's, as its manual has them: roles to classes, events to methods.
#[tokio::test]
async fn handlers_of_the_python_library_serf_master_work_unchanged() {
    const SCRIPT: &str = r#"
import sys
from serf_master import SerfHandler, SerfHandlerProxy

class WebHandler(SerfHandler):
    def write(self, *words):
        with open(sys.argv[1], "a") as log:
            print(self.name, self.role, *words, file=log)

    def member_join(self):
        for line in sys.stdin:
            name, address, role, tags = line.rstrip("\n").split("\t")
            self.write("joined:", name, address, role, tags)

    def deploy(self):
        self.write("deploy:", sys.stdin.read().strip())

    def uptime(self):
        print("up for", sys.stdin.readline().strip())

class DatabaseHandler(SerfHandler):
    def member_join(self):
        raise SystemExit("not for this role")

handler = SerfHandlerProxy()
handler.register("web", WebHandler())
handler.register("db", DatabaseHandler())
handler.run()
"#;
    let library = match serf::library() {
        Ok(library) => format!("PYTHONPATH={}", library.display()),
        Err(reason) => return println!("skipped: {reason}"),
    };
    let folder = Folder::new("python");
    let (script, log) = (folder.file("handler.py"), folder.file("log"));
    fs::write(&script, SCRIPT).unwrap();
    let words = [library.as_str(), "python3", script.to_str().unwrap(), log.to_str().unwrap()];
    let run = Run::Program("/usr/bin/env".to_owned(), words.map(str::to_owned).to_vec());
    let mut handlers = Handlers::start(&[("*", run)], &WEB);
    handlers.member(MemberEventKind::Join, 2, &DB_IN_RACK);
    handlers.member(MemberEventKind::Failed, 2, &DB_IN_RACK);
    handlers.user("deploy", "v1", 7);
    let expected = "lb1 web joined: lb2 10.77.0.2 db rack=7,role=db\nlb1 web deploy: v1\n";
    wait_text(&log, expected).await;
    assert_eq!(handlers.ask("uptime", "ever", 1).await, b"up for ever\n");
}
