//! User events and queries: every member's handlers hear of them once, whatever happens meanwhile; and what strangers and
//! misbehaving members send changes nothing.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::bail;
use serde_json::Value;
use vip_common::wire::{Kind, name_hash};
use vip_tests::{
    cluster::Cluster,
    lab::DaemonOptions,
    net::in_netns,
    recorder::{RECORDER, Record, records_in, section},
    wait,
};
use vip_user::{
    config::{KeyRing, Keys},
    gossip::{Gossip, Origin as Made, UserEvent},
    signer::{Origin, Signer, WireKeys},
};

use crate::{PATIENCE, cluster::watch::Watch, others, with_long_leases};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 86, 80), 5680);

/// Three nodes whose handlers write down what they are told, and answer the query "uptime"; and who holds.
fn three_recording() -> (Cluster, u8) {
    let mut cluster = Cluster::prepare(3, |_| with_long_leases()).unwrap();
    for node in 1..=3 {
        let log = log_of(&cluster, node);
        let mut sections = section("user", RECORDER, &log, "");
        sections += &section("query", &format!("{RECORDER}; echo up $SERF_SELF_NAME"), &log, "");
        let options = cluster.options(node).unwrap();
        options.more_of_group.push_str(&sections);
        options.more_of_node = format!("tags = {{ role = \"web\", rack = \"r{node}\" }}");
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

fn log_of(cluster: &Cluster, node: u8) -> PathBuf {
    cluster.lab().home(node).join("told")
}

fn order(cluster: &Cluster, node: u8, arguments: &[&str]) -> String {
    let output = cluster.order(node, arguments).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line that a refused command has said.
fn refused(cluster: &Cluster, node: u8, arguments: &[&str]) -> String {
    let output = cluster.order(node, arguments).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("vip-user: ") && stderr.lines().count() == 1, "{stderr}");
    stderr
}

/// What the handler of a node was told by, of these events: name and payload, in order.
fn told(cluster: &Cluster, node: u8) -> Vec<(String, String)> {
    let name = |record: &Record| record.get("SERF_USER_EVENT").to_owned() + record.get("SERF_QUERY_NAME");
    records_in(&log_of(cluster, node)).iter().map(|record| (name(record), record.input.clone())).collect()
}

/// Waits until the handler of a node has been told these in this order, and nothing else.
fn wait_told(cluster: &Cluster, node: u8, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(name, input)| (name.to_string(), input.to_string())).collect();
    let what = format!("what node {node} is told");
    let result = wait::until_equal(&what, PATIENCE, &wanted, || Ok(told(cluster, node)));
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn an_event_is_told_once_on_every_node_the_senders_too_and_a_query_is_answered_by_those_asked() {
    let (cluster, holder) = three_recording();
    let [asker, other] = others(holder);
    assert_eq!(order(&cluster, asker, &["event", "deploy", "v42"]), "deploy: sent, Lamport time 1\n");
    for node in 1..=3 {
        wait_told(&cluster, node, &[("deploy", "v42\n")]);
        let [record] = &records_in(&log_of(&cluster, node))[..] else { panic!("one") };
        let names = ["SERF_EVENT", "SERF_USER_EVENT", "SERF_USER_LTIME", "SERF_SELF_NAME", "SERF_SELF_ROLE"];
        let expected = ["user", "deploy", "1", &format!("lb{node}"), "web"];
        assert_eq!(names.map(|name| record.get(name)), expected);
        assert_eq!(record.get("SERF_TAG_RACK"), format!("r{node}"));
    }

    let answers = order(&cluster, asker, &["query", "uptime", "please", "--json"]);
    let answers: Value = serde_json::from_str(&answers).unwrap();
    let mut said: Vec<_> = answers["answers"].as_array().unwrap().iter().map(Value::to_string).collect();
    said.sort_unstable();
    let expected = (1..=3).map(|node| format!(r#"{{"node":"lb{node}","payload":"up lb{node}\n"}}"#));
    assert_eq!(said, expected.collect::<Vec<_>>());
    assert_eq!(answers["acks"].as_array().unwrap().len(), 3);

    let name = format!("lb{other}");
    let text = order(&cluster, asker, &["query", "uptime", "--node", &name]);
    assert_eq!(text, format!("{name}: up {name}\n1 acknowledged, 1 answered\n"));
    for node in 1..=3 {
        let mut wanted = vec![("deploy", "v42\n"), ("uptime", "please\n")];
        wanted.extend((node == other).then_some(("uptime", "")));
        wait_told(&cluster, node, &wanted);
    }
}

#[test]
fn of_events_of_one_name_in_a_row_the_last_one_is_told_unless_each_of_them_counts() {
    let (cluster, holder) = three_recording();
    for payload in ["v1", "v2", "v3"] {
        order(&cluster, holder, &["event", "deploy", payload]);
    }
    for payload in ["a", "b", "c"] {
        order(&cluster, holder, &["event", "each", payload, "--coalesce=false"]);
    }
    for node in 1..=3 {
        wait_told(&cluster, node, &[("each", "a\n"), ("each", "b\n"), ("each", "c\n"), ("deploy", "v3\n")]);
    }
}

#[test]
fn a_node_that_was_away_for_a_moment_is_told_what_was_made_meanwhile_and_nothing_twice() {
    let (mut cluster, holder) = three_recording();
    let [away, other] = others(holder);
    let event = |cluster: &Cluster, node, name| order(cluster, node, &["event", name, "--coalesce=false"]);
    event(&cluster, holder, "before");
    for node in 1..=3 {
        wait_told(&cluster, node, &[("before", "")]);
    }
    cluster.lab().cable(away).pull().unwrap();
    // Both of one node: of several nodes, what it hears first may be told first.
    event(&cluster, holder, "cut");
    event(&cluster, holder, "off");
    for node in [holder, other] {
        wait_told(&cluster, node, &[("before", ""), ("cut", ""), ("off", "")]);
    }
    cluster.lab().cable(away).plug().unwrap();
    wait_told(&cluster, away, &[("before", ""), ("cut", ""), ("off", "")]);

    // Its daemon is dead while the next one is made, and knows what it has been told already.
    cluster.daemon(away).unwrap().kill().unwrap();
    event(&cluster, other, "dead");
    for node in [holder, other] {
        wait_told(&cluster, node, &[("before", ""), ("cut", ""), ("off", ""), ("dead", "")]);
    }
    cluster.restart(away).unwrap();
    wait_told(&cluster, away, &[("before", ""), ("cut", ""), ("off", ""), ("dead", "")]);
    event(&cluster, away, "after");
    for node in 1..=3 {
        wait_told(&cluster, node, &[("before", ""), ("cut", ""), ("off", ""), ("dead", ""), ("after", "")]);
    }
}

#[test]
fn a_query_says_who_was_not_reached_and_what_cannot_be_said_is_refused_with_the_reason() {
    let (cluster, holder) = three_recording();
    let [away, other] = others(holder);
    cluster.lab().cable(away).pull().unwrap();
    let name = format!("lb{away}");
    let why = refused(&cluster, other, &["query", "uptime", "--node", &name, "--timeout", "300ms"]);
    assert_eq!(why, format!("vip-user: not reached: {name}\n"));

    let long = "p".repeat(897);
    let cases: [(&[&str], &str); 7] = [
        (&["event", "a\nb"], "no control characters"),
        (&["event", ""], "1 to 128 bytes"),
        (&["event", &"n".repeat(129)], "1 to 128 bytes"),
        (&["event", "deploy", &long], "the payload has 897 bytes: at most 896"),
        (&["query", "\u{1b}[2J"], "no control characters"),
        (&["query", "uptime", "--node", "lb9"], "there is no node \"lb9\""),
        (&["query", "uptime", "--timeout", "6m"], "the timeout must be from 1 ms to 300 s"),
    ];
    for (arguments, expected) in cases {
        let why = refused(&cluster, other, arguments);
        assert!(why.contains(expected), "{arguments:?}: {why}");
    }
}

#[test]
fn members_shows_versions_tags_and_round_trips() {
    let (cluster, holder) = three_recording();
    let measured = |cluster: &Cluster| {
        let members: Value = serde_json::from_str(&order(cluster, holder, &["members", "--json"]))?;
        let others = members.as_array().unwrap().iter().filter(|member| member["id"] != holder);
        let round_trips: Vec<_> = others.filter_map(|member| member["round_trip_ms"].as_f64()).collect();
        if round_trips.len() == 2 { Ok(Some((members, round_trips))) } else { bail!("{members}") }
    };
    let (members, round_trips) =
        wait::until_calmly("both round trips", PATIENCE, || measured(&cluster)).unwrap();
    assert!(round_trips.iter().all(|ms| (0.0..10_000.0).contains(ms)), "{round_trips:?}");
    for member in members.as_array().unwrap() {
        assert_eq!(member["version"], "0.1.0");
        assert_eq!(member["tags"], serde_json::json!({"role": "web", "rack": format!("r{}", member["id"])}));
    }
    let table = order(&cluster, holder, &["members"]);
    let titles = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(titles, "MEMBER ID ADDRESS STATUS VOTER PRIORITY VERSION LAST HEARD ROUND TRIP");
}

#[test]
fn of_two_nodes_of_one_name_the_later_one_is_refused_with_the_address_of_the_first() {
    let options = |node| {
        let name = (node == 4).then(|| "lb2".to_owned());
        DaemonOptions { name, ..with_long_leases() }
    };
    let mut cluster = Cluster::prepare(4, options).unwrap();
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    cluster.restart(4).unwrap();
    let ended = cluster.daemon(4).unwrap().wait_exit(PATIENCE).unwrap();
    assert_eq!(ended.code(), Some(78));
    let log = cluster.daemon(4).unwrap().log();
    assert!(
        log.contains("node name \"lb2\" is taken by the node at 10.77.0.2: set another node.name"),
        "{log}"
    );

    // Where the two cannot hear each other at first, it ends when they do.
    cluster.lab().cable(4).pull().unwrap();
    cluster.restart(4).unwrap();
    cluster.wait_status(4, "to run", PATIENCE, |_| true).unwrap();
    cluster.lab().cable(4).plug().unwrap();
    assert_eq!(cluster.daemon(4).unwrap().wait_exit(PATIENCE).unwrap().code(), Some(78));
    assert_eq!(cluster.wait_whole_among(&[1, 2, 3], PATIENCE).unwrap(), holder);
}

/// Input: ten thousand requests for an event, as quickly as the control socket takes them.
#[test]
fn a_program_that_makes_too_many_events_is_refused_and_harms_nobody() {
    let (mut cluster, holder) = three_recording();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap().groups[0].ballot.clone();
    let socket = cluster.daemon(holder).unwrap().socket().to_owned();
    let mut refusals = 0;
    for _ in 0..10_000 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let request = r#"{"command":"event","name":"flood","payload":"x","coalesce":true}"#;
        writeln!(stream, "{request}").unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        refusals += usize::from(reply.contains("more than 100 events a second"));
        assert!(reply.contains("\"ltime\"") || reply.contains("more than 100"), "{reply}");
    }
    assert!(refusals > 5_000, "{refusals} of 10,000 were refused");
    assert_eq!(cluster.status(holder).unwrap().groups[0].ballot, before);
    watch.let_it_ask();
    watch.finish();
}

/// A member that has the key, and sends what it likes.
struct Rogue {
    socket: UdpSocket,
    signer: Signer,
    incarnation: u64,
}

impl Rogue {
    fn new(cluster: &Cluster, key: [u8; 16]) -> Self {
        let socket = in_netns(&cluster.lab().client_netns(), || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            let wire = socket2::SockRef::from(&socket);
            wire.bind_device(Some(b"eth0"))?;
            wire.set_multicast_ttl_v4(1)?;
            Ok(socket)
        });
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let incarnation = u64::try_from(since_1970.as_nanos()).unwrap();
        let keys = WireKeys::new(&Keys::Signed(KeyRing::new(key, None)));
        let origin = Origin { cluster: name_hash("lab"), node: 99, incarnation };
        Self { socket: socket.unwrap(), signer: Signer::new(origin, keys), incarnation }
    }

    fn event(&self, number: u64) -> Gossip {
        let origin = Made { node: 99, incarnation: self.incarnation, number };
        let (name, payload) = ("rogue".to_owned(), number.to_string().into_bytes());
        let after = number.saturating_sub(1);
        Gossip::Event(UserEvent { origin, ltime: number, after, name, payload, coalesce: false })
    }

    fn send(&mut self, body: &[u8]) -> Vec<u8> {
        let letter = self.signer.letter(Kind::Gossip, body);
        self.send_again(&letter);
        letter
    }

    fn send_again(&self, letter: &[u8]) {
        // A full queue of the wire is a loss like any other.
        let _ = self.socket.send_to(letter, GROUP);
    }
}

/// The key in the options' `key`.
fn key_of(options: &DaemonOptions) -> [u8; 16] {
    let text = options.key.lines().next().unwrap().trim();
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn forged_replayed_and_senseless_gossip_is_told_to_nobody() {
    let (cluster, holder) = three_recording();
    let key = key_of(&DaemonOptions::default());
    let mut forger = Rogue::new(&cluster, [7; 16]);
    let forged = forger.event(1).encode().unwrap();
    forger.send(&forged);

    let mut rogue = Rogue::new(&cluster, key);
    let real = rogue.event(1).encode().unwrap();
    let letter = rogue.send(&real);
    for node in 1..=3 {
        wait_told(&cluster, node, &[("rogue", "1\n")]);
    }
    // The same message again, the same event in a new message, what makes no sense, and too much of it.
    rogue.send_again(&letter);
    rogue.send(&real);
    rogue.send(&[0xff; 40]);
    rogue.send(&[4; 1_200]);
    rogue.send(&[&real[..], &[0]].concat());
    let mut with_a_control_character = rogue.event(2).encode().unwrap();
    let name = with_a_control_character.windows(5).position(|bytes| bytes == b"rogue").unwrap();
    with_a_control_character[name] = 0x1b;
    rogue.send(&with_a_control_character);
    order(&cluster, holder, &["event", "last", "--coalesce=false"]);
    for node in 1..=3 {
        wait_told(&cluster, node, &[("rogue", "1\n"), ("last", "")]);
    }
    let mut text = String::new();
    write!(text, "{}", cluster.status(holder).unwrap().counters["rejected"]).unwrap();
    assert_ne!(text, "0", "the forged one and the replayed one are counted");
}

/// Input: a member that sends ten thousand events a second for two seconds. Expected: the holder stays, and afterwards the members
/// hear each other's events as before.
#[test]
fn a_flood_of_events_of_a_member_harms_no_lease_and_ends() {
    let (cluster, holder) = three_recording();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap().groups[0].ballot.clone();
    let mut rogue = Rogue::new(&cluster, key_of(&DaemonOptions::default()));
    let began = std::time::Instant::now();
    for number in 1..=20_000 {
        let event = rogue.event(number).encode().unwrap();
        rogue.send(&event);
        while began.elapsed().as_micros() < u128::from(number) * 100 {
            std::hint::spin_loop();
        }
    }
    assert_eq!(cluster.status(holder).unwrap().groups[0].ballot, before);
    // While the handlers have their queues full of the flood, they are told nothing new.
    for node in 1..=3 {
        let is_told = || {
            order(&cluster, others(holder)[0], &["event", "after", "--coalesce=false"]);
            let told = told(&cluster, node);
            let is_there = told.iter().any(|(name, _)| name == "after");
            if is_there { Ok(Some(())) } else { bail!("{} others", told.len()) }
        };
        wait::until_calmly(&format!("node {node} to be told"), PATIENCE, is_told).unwrap();
    }
    watch.let_it_ask();
    watch.finish();
}
