//! What the server promises to those who watch, and what it bears from others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vip_common::maps::{COUNTERS, Counter};

use super::*;
use crate::config::XdpMode;
use crate::dataplane::Counters;
use crate::histogram::Histogram;
use crate::journal::{Entry, Happening, Kind};
use crate::status::{
    self, CheckState, CheckStatus, GroupState, GroupStatus, InterfaceState, InterfaceStatus, Member,
    MemberStatus, Protocol, Status,
};

/// A name that would be a script, and a label of its own, if it were not kept from it.
const NASTY: &str = "<img src=x onerror=\"a\\\">";

/// A server, and a control plane that shows this.
struct Watched {
    address: SocketAddr,
    _server: Server,
}

impl Watched {
    fn start(answers: impl Fn() -> Option<Snapshot> + Send + 'static) -> Self {
        let (source, mut asked) = Source::new();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::start(address, source).unwrap();
        // Ends with the server, which has the other end.
        thread::spawn(move || {
            let mut kept = Vec::new();
            while let Some(question) = asked.blocking_recv() {
                match answers() {
                    Some(snapshot) => drop(question.send(snapshot)),
                    None => kept.push(question),
                }
            }
        });
        Self { address, _server: server }
    }

    fn connect(&self) -> TcpStream {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The head and the body of the answer to these bytes.
    fn exchange(&self, bytes: &str) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        let (head, body) = self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        (status, head, body)
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, head, body) = self.get(path);
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[test]
fn everything_is_where_it_is_said_to_be_and_is_not_kept() {
    let watched = Watched::start(|| Some(example()));
    let kinds = [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/status.json", "application/json"),
        ("/members.json?pretty", "application/json"),
        ("/timeline.json", "application/json"),
        ("/live.json", "application/json"),
    ];
    for (path, kind) in kinds {
        let (status, head, _) = watched.get(path);
        assert_eq!(status, 200, "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{path}: {head}");
        assert!(
            head.contains("cache-control: no-store") && head.contains("connection: close"),
            "{path}: {head}"
        );
    }
    let (status, _, body) = watched.get("/nothing");
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
    let (_, shown) = watched.json("/status.json");
    assert_eq!(shown, serde_json::to_value(example().status).unwrap());
}

#[test]
fn the_page_takes_no_script_but_its_own() {
    let watched = Watched::start(|| Some(example()));
    let nonces = [(), ()].map(|()| {
        let (_, head, body) = watched.get("/");
        let policy =
            head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert_eq!(nonce.len(), 16, "{policy}");
        assert!(body.contains(&format!("<script nonce=\"{nonce}\">")), "{body}");
        assert!(body.contains(&format!("<style nonce=\"{nonce}\">")), "{body}");
        assert_eq!(body.matches("<script").count(), 1);
        nonce
    });
    assert_ne!(nonces[0], nonces[1], "one that is known beforehand would be none");
}

#[test]
fn nothing_can_be_changed() {
    let watched = Watched::start(|| Some(example()));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let (head, _) = watched.exchange(&format!("{method} /status.json HTTP/1.1\r\nHost: here\r\n\r\n"));
        assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"), "{head}");
    }
    let (head, body) = watched.exchange("HEAD /status.json HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{head}{body}");
}

#[test]
fn a_node_that_could_serve_is_ready_and_one_that_could_not_says_why() {
    let ready = |change: fn(&mut Snapshot)| {
        let mut snapshot = example();
        change(&mut snapshot);
        let watched = Watched::start(move || Some(snapshot.clone()));
        let (status, answer) = watched.json("/readyz");
        assert_eq!(answer["ready"], Value::from(status == 200), "{answer}");
        answer["reasons"].to_string()
    };
    assert_eq!(ready(|_| {}), "[]");
    assert_eq!(ready(|snapshot| snapshot.status.groups[1].state = GroupState::Witness), "[]");
    let fault = ready(|snapshot| snapshot.status.groups[1].state = GroupState::Fault);
    assert_eq!(fault, "[\"group mail: at fault\"]");
    let alone = ready(|snapshot| {
        snapshot.status.members[1].status = MemberStatus::Failed;
        snapshot.status.members[2].status = MemberStatus::Failed;
        snapshot.status.groups[0].state = GroupState::Candidate;
    });
    assert_eq!(alone, "[\"no majority: 1 of 3 voters are heard\"]");
    let down = ready(|snapshot| snapshot.status.interfaces[0].state = InterfaceState::NoCarrier);
    assert_eq!(down, "[\"the interface eth0 is down\"]");
    assert_eq!(ready(|snapshot| snapshot.status.epoch = 0), "[\"no configuration has been formed yet\"]");
}

#[test]
fn a_load_balancer_learns_who_holds_a_group() {
    let watched = Watched::start(|| Some(example()));
    let (status, web) = watched.json("/holds/web");
    assert_eq!((status, &web["holds"], &web["holder"]), (200, &Value::from(true), &Value::from("lb1")));
    let (status, mail) = watched.json("/holds/mail");
    assert_eq!((status, &mail["holds"], &mail["holder"]), (503, &Value::from(false), &Value::from(NASTY)));
    assert_eq!(watched.get("/holds/nothing").0, 404);
    assert_eq!(watched.get("/holds/w%65b").0, 200);
}

#[test]
fn a_control_plane_or_a_lease_thread_that_is_stuck_is_not_healthy() {
    let watched = Watched::start(|| None);
    let (status, health) = watched.json("/healthz");
    assert_eq!((status, &health["healthy"]), (503, &Value::from(false)));
    assert!(health.to_string().contains("the control plane does not answer"), "{health}");
    assert_eq!(watched.get("/metrics").0, 503);

    let stuck = Snapshot { stuck_for: Some(Duration::from_millis(2500)), ..example() };
    let watched = Watched::start(move || Some(stuck.clone()));
    let (status, health) = watched.json("/healthz");
    assert_eq!(status, 503);
    assert!(health.to_string().contains("has not come to its work for 2.5 s"), "{health}");
    assert_eq!(watched.get("/readyz").0, 503);
    assert!(watched.get("/metrics").2.contains("\nvip_user_lease_thread_up 0\n"));
}

#[test]
fn silent_and_slow_clients_are_dropped_and_others_get_their_turn() {
    let watched = Watched::start(|| Some(example()));
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..40).map(|_| watched.connect()).collect();
    for stream in slow.iter_mut().step_by(2) {
        stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    }
    assert_eq!(watched.get("/healthz").0, 200);
    // Among 32 at a time, there was no room for it before some of the 40 had been dropped.
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let watched = Watched::start(|| Some(example()));
    let (head, _) = watched.exchange(&format!("GET /{} HTTP/1.1\r\nHost: here\r\n\r\n", "x".repeat(20_000)));
    assert!(head.starts_with("http/1.1 414 ") || head.starts_with("http/1.1 431 "), "{head}");
    let (head, _) = watched.exchange("hello\r\n\r\n");
    assert!(head.starts_with("http/1.1 400 "), "{head}");
}

#[test]
fn a_server_without_its_address_waits_for_it_and_ends_when_it_is_told_to() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (source, _asked) = Source::new();
    drop(Server::start(other.local_addr().unwrap(), source).unwrap());
}

#[test]
fn metrics_say_what_the_status_says_in_base_units() {
    let text = exposition(&example()).unwrap();
    let lines = [
        "vip_user_build_info{version=\"0.1.0\"} 1",
        "vip_user_group_state{group=\"web\",state=\"master\"} 1",
        "vip_user_group_state{group=\"web\",state=\"backup\"} 0",
        "vip_user_group_holder_info{group=\"web\",holder=\"lb1\"} 1",
        "vip_user_lease_remaining_seconds{group=\"web\"} 0.0432",
        "vip_user_group_transitions_total{group=\"web\"} 3",
        "vip_user_group_demotions_total{group=\"web\",reason=\"handed_over\"} 2",
        "vip_user_group_outage_seconds_total{group=\"web\"} 0.0015",
        "vip_user_members{status=\"alive\"} 3",
        "vip_user_voters 3",
        "vip_user_quorum 2",
        "vip_user_member_last_heard_seconds{member=\"lb3\",id=\"3\"} 0.0031",
        "vip_user_packets_total{outcome=\"vip_fenced\"} 5",
        "vip_user_packets_total{outcome=\"rejected_epoch\"} 0",
        "vip_user_renewal_lateness_seconds_bucket{le=\"0.00005\"} 1",
        "vip_user_renewal_lateness_seconds_bucket{le=\"0.0001\"} 2",
        "vip_user_renewal_lateness_seconds_bucket{le=\"+Inf\"} 3",
        "vip_user_renewal_lateness_seconds_count 3",
        "vip_user_renewal_lateness_seconds_sum 0.30011",
        "vip_user_heartbeat_round_trip_seconds_count{member=\"lb3\",id=\"3\"} 1",
        "vip_user_queue_drops_total{queue=\"letters\"} 7",
        "vip_user_check_passing{check=\"haproxy\",type=\"http\"} 1",
        "vip_user_check_failures_total{check=\"haproxy\",type=\"http\"} 4",
        "vip_user_check_duration_seconds{check=\"haproxy\",type=\"http\"} 0.0015",
        "vip_user_log_lines_suppressed_total 11",
        "vip_user_handler_failures_total{handler=\"1\",run=\"/bin/tell\"} 2",
    ];
    for line in lines {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_name_cannot_forge_a_metric() {
    let text = exposition(&example()).unwrap();
    let line = text.lines().find(|line| line.starts_with("vip_user_member_up{member=\"<")).unwrap();
    assert_eq!(line, "vip_user_member_up{member=\"<img src=x onerror=\\\"a\\\\\\\">\",id=\"2\"} 1");
}

#[test]
fn every_metric_keeps_the_conventions_and_every_value_has_labels_of_its_own() {
    let text = exposition(&example()).unwrap();
    let mut kinds = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name.starts_with("vip_user_"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(sample), "{sample} twice");
        }
    }
    assert!(kinds.len() > 30, "{kinds:?}");
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let text = exposition(&example()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let exported: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let configured =
        [include_str!("../../../config/grafana.json"), include_str!("../../../config/prometheus-rules.yml")];
    for file in configured {
        let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("vip_user_")).collect();
        assert!(asked.len() > 10 && asked.is_subset(&exported), "{:?}", asked.difference(&exported));
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard: Value = serde_json::from_str(include_str!("../../../config/grafana.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["uid"].is_string());
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each has a number of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let (x, width) = (panel["gridPos"]["x"].as_u64().unwrap(), panel["gridPos"]["w"].as_u64().unwrap());
        assert!(x + width <= 24, "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            assert!(target["expr"].as_str().unwrap().contains("instance=~\"$instance\""), "{target}");
        }
    }
}

fn member(name: &str, id: u16) -> Member {
    Member {
        name: name.to_owned(),
        id,
        address: format!("10.77.0.{id}"),
        status: MemberStatus::Alive,
        voter: true,
        priority: 100,
        last_heard_ms: Some(if id == 1 { 0.0 } else { 3.1 }),
        version: "0.1.0".to_owned(),
        round_trip_ms: (id != 1).then_some(0.2),
        tags: BTreeMap::new(),
    }
}

fn group(name: &str, state: GroupState, holder: &str) -> GroupStatus {
    GroupStatus {
        name: name.to_owned(),
        state,
        holder: Some(holder.to_owned()),
        ballot: "7.1".to_owned(),
        lease_remaining_ms: 43.2,
        vips: vec!["10.77.0.100/24".to_owned()],
        priority: 120,
        transitions: 3,
        since: "2026-01-01T00:00:00.000Z".to_owned(),
        protocol: Protocol::Lease,
        vrid: None,
        vrrp_master: None,
    }
}

fn example() -> Snapshot {
    let mut outcomes = [0; COUNTERS];
    outcomes[Counter::VipFenced as usize] = 5;
    let histogram = |durations: &[u64]| {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|ns| histogram.record(*ns));
        histogram
    };
    Snapshot {
        at: 1_767_225_600_500,
        status: Status {
            node: "lb1".to_owned(),
            id: 1,
            iface: "eth0".to_owned(),
            version: "0.1.0".to_owned(),
            xdp: XdpMode::Native,
            epoch: 1,
            insecure: false,
            groups: vec![group("web", GroupState::Master, "lb1"), group("mail", GroupState::Backup, NASTY)],
            members: vec![member("lb1", 1), member(NASTY, 2), member("lb3", 3)],
            counters: status::Counters::default(),
            egress_fence: true,
            xdp_reason: None,
            interfaces: vec![InterfaceStatus {
                name: "eth0".to_owned(),
                xdp: XdpMode::Native,
                state: InterfaceState::Up,
            }],
            lease_ms: 50.0,
            pair: None,
            maintenance: false,
            checks: vec![CheckStatus {
                name: "haproxy".to_owned(),
                kind: "http".to_owned(),
                groups: Vec::new(),
                weight: 0,
                state: CheckState::Passing,
                passing: true,
                since: "2026-01-01T00:00:00.000Z".to_owned(),
                runs: 60,
                failures: 4,
                took_ms: 1.5,
                last_error: None,
            }],
            tees: Vec::new(),
        },
        cluster: "edge".to_owned(),
        interval: Duration::from_millis(10),
        groups: vec![
            GroupFigures { handovers: 2, outage: Duration::from_micros(1500), ..GroupFigures::default() },
            GroupFigures::default(),
        ],
        outcomes: Counters::new(outcomes),
        lateness: histogram(&[20_000, 90_000, 300_000_000]),
        round_trips: [(3, histogram(&[150_000]))].into(),
        moments: vec![Moment {
            at: 1_767_225_600_000,
            renewals: 100,
            mean_us: Some(21.5),
            worst_us: Some(90.0),
            round_trip_us: Some(150.0),
        }],
        timeline: vec![Entry {
            number: 1,
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            boottime_us: 5,
            what: Happening::new(Kind::Promoted, "this node is master now").group("web"),
        }],
        handlers: vec![HandlerFigures { run: "/bin/tell".to_owned(), runs: 9, failures: 2, lost: 0 }],
        lost_letters: 7,
        lost_reports: 0,
        suppressed_lines: 11,
        stuck_for: None,
    }
}
