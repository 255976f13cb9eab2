//! What handlers and the list of live nodes are told while nodes come and go, and that no handler harms a lease.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, bail};
use serde_json::Value;
use vip_tests::{
    cluster::Cluster,
    lab::DaemonOptions,
    net::in_netns,
    oracle::packet_socket,
    recorder::{RECORDER, Record, records_in, section},
    wait,
};

use crate::{
    PATIENCE,
    cluster::{announcements::claim, watch::Watch},
    others, with_long_leases,
};

/// Three nodes with these options and such further sections each, whole; and who holds.
fn three_telling(options: &DaemonOptions, sections: impl Fn(&Cluster, u8) -> String) -> (Cluster, u8) {
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    for node in 1..=3 {
        let sections = sections(&cluster, node);
        cluster.options(node).unwrap().more_of_group.push_str(&sections);
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

fn recording(options: &DaemonOptions) -> (Cluster, u8) {
    three_telling(options, |cluster, node| section("*", RECORDER, &log_of(cluster, node), ""))
}

fn log_of(cluster: &Cluster, node: u8) -> PathBuf {
    cluster.lab().home(node).join("events")
}

fn records(cluster: &Cluster, node: u8) -> Vec<Record> {
    records_in(&log_of(cluster, node))
}

fn count(cluster: &Cluster, node: u8, event: &str) -> usize {
    records(cluster, node).iter().filter(|record| record.event() == event).count()
}

/// Waits until the recorder of `node` has been told something that `wanted` accepts, after the first `known` records.
fn wait_told(cluster: &Cluster, node: u8, known: usize, wanted: impl Fn(&Record) -> bool) -> Record {
    let look = || {
        let records = records(cluster, node);
        match records.iter().skip(known).find(|record| wanted(record)) {
            Some(record) => Ok(Some(record.clone())),
            None => bail!("{records:#?}"),
        }
    };
    let told = wait::until_calmly(&format!("the handler of node {node} to be told"), PATIENCE, look);
    told.unwrap_or_else(|error| panic!("{error:#}"))
}

/// The line of a node without tags.
fn line(node: u8) -> String {
    format!("lb{node}\t10.77.0.{node}\t\t\n")
}

fn is_about(record: &Record, event: &str, node: u8) -> bool {
    record.event() == event && record.input.contains(&line(node))
}

#[test]
fn handlers_are_told_of_nodes_that_come_fail_leave_and_come_back() {
    let (mut cluster, holder) = recording(&with_long_leases());
    for node in 1..=3 {
        for joined in 1..=3 {
            let told = wait_told(&cluster, node, 0, |record| is_about(record, "member-join", joined));
            let expected = [
                ("SERF_EVENT", "member-join".to_owned()),
                ("SERF_SELF_NAME", format!("lb{node}")),
                ("SERF_SELF_ROLE", String::new()),
            ];
            let expected = expected.map(|(name, value)| (name.to_owned(), value));
            assert_eq!(told.environment, BTreeMap::from(expected));
        }
        assert_eq!(count(&cluster, node, "member-failed"), 0);
    }

    let [victim, other] = others(holder);
    let told_so_far = |cluster: &Cluster| [holder, other].map(|node| (node, records(cluster, node).len()));
    let told = |cluster: &Cluster, before: [(u8, usize); 2], event: &str| {
        for (node, known) in before {
            let record = wait_told(cluster, node, known, |record| is_about(record, event, victim));
            assert_eq!(record.input, line(victim), "it tells of that node alone");
            assert_eq!(records(cluster, node).len(), known + 1, "and nothing else");
        }
    };
    // The holder goes on hearing the dead daemon's data plane vote.
    let before = told_so_far(&cluster);
    cluster.daemon(victim).unwrap().kill().unwrap();
    told(&cluster, before, "member-failed");
    let before = told_so_far(&cluster);
    cluster.restart(victim).unwrap();
    told(&cluster, before, "member-join");

    let before = told_so_far(&cluster);
    cluster.daemon(victim).unwrap().terminate().unwrap();
    told(&cluster, before, "member-leave");
    let before = told_so_far(&cluster);
    cluster.restart(victim).unwrap();
    told(&cluster, before, "member-join");
}

#[test]
fn handlers_are_told_who_is_promoted_and_demoted_also_by_the_end_of_the_daemon() {
    let (mut cluster, holder) = recording(&with_long_leases());
    let promoted = wait_told(&cluster, holder, 0, |record| record.event() == "promoted");
    assert_eq!((promoted.get("VIP_GROUP"), promoted.get("VIP_NODE")), ("web", &*format!("lb{holder}")));
    assert!(promoted.get("VIP_BALLOT").ends_with(&format!(".{holder}")), "{promoted:?}");
    assert_eq!(promoted.input, "10.77.0.100/24\n");
    let [target, _] = others(holder);
    assert_eq!(count(&cluster, target, "promoted"), 0);

    let output = cluster.order(holder, &["handover", "--to", &format!("lb{target}")]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let demoted = wait_told(&cluster, holder, 0, |record| record.event() == "demoted");
    assert_eq!((demoted.get("VIP_NODE"), demoted.get("VIP_GROUP")), (&*format!("lb{target}"), "web"));
    wait_told(&cluster, target, 0, |record| record.event() == "promoted");

    // The handler has been run when a daemon that is asked to stop has ended.
    cluster.daemon(target).unwrap().terminate().unwrap();
    assert_eq!(count(&cluster, target, "demoted"), 1);
}

#[test]
fn handlers_are_told_once_when_no_majority_can_be_reached() {
    let (cluster, holder) = recording(&with_long_leases());
    for round in 1..=2 {
        for node in others(holder) {
            cluster.lab().cable(node).pull().unwrap();
        }
        for node in 1..=3 {
            let is_new = |record: &Record| record.event() == "no-quorum";
            let known = records(&cluster, node).iter().rposition(is_new).map_or(0, |last| last + 1);
            let told = match count(&cluster, node, "no-quorum") {
                told if told == round => continue,
                _ => wait_told(&cluster, node, known, is_new),
            };
            assert_eq!((told.get("VIP_GROUP"), told.get("VIP_NODE")), ("web", ""));
            assert_eq!(told.input, "10.77.0.100/24\n");
        }
        for node in others(holder) {
            cluster.lab().cable(node).plug().unwrap();
        }
        cluster.wait_whole(PATIENCE).unwrap();
        for node in 1..=3 {
            assert_eq!(count(&cluster, node, "no-quorum"), round, "node {node}");
        }
    }
}

#[test]
fn handlers_are_told_who_claims_a_vip() {
    let (cluster, holder) = recording(&with_long_leases());
    let wire =
        in_netns(&cluster.lab().client_netns(), || packet_socket("eth0", Some(libc::ETH_P_ARP))).unwrap();
    for node in 1..=3 {
        // The data plane reports one claim in a while, and the holder's own first announcements are claims to it.
        let claimed_and_told = || {
            wire.send(&claim())?;
            Ok(records(&cluster, node).into_iter().find(|record| record.event() == "conflict"))
        };
        let told =
            wait::until_calmly("the handler to be told of a claim", PATIENCE, claimed_and_told).unwrap();
        assert_eq!((told.get("VIP_GROUP"), told.get("VIP_MAC")), ("web", "02:00:00:00:00:42"));
        assert_eq!(told.get("VIP_NODE"), format!("lb{holder}"));
        assert_eq!(told.input, "10.77.0.100/24\n");
    }
}

#[test]
fn handlers_that_hang_and_flood_do_not_change_the_holder() {
    let hangs = "trap '' TERM; sleep 1000 & sleep 1000";
    let floods = "cat /dev/zero & cat /dev/zero >&2";
    let (mut cluster, holder) = three_telling(&DaemonOptions::default(), |cluster, node| {
        let text = |text| section("*", text, &log_of(cluster, node), "timeout = \"3s\"");
        [hangs, floods, RECORDER].map(text).concat()
    });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();
    let [victim, _] = others(holder);
    for _ in 0..2 {
        let known = records(&cluster, holder).len();
        cluster.daemon(victim).unwrap().terminate().unwrap();
        wait_told(&cluster, holder, known, |record| is_about(record, "member-leave", victim));
        let known = records(&cluster, holder).len();
        cluster.restart(victim).unwrap();
        wait_told(&cluster, holder, known, |record| is_about(record, "member-join", victim));
    }
    wait::until_calmly("both handlers to be killed twice", PATIENCE, || {
        let log = cluster.daemon(holder)?.log();
        let killed = log.lines().filter(|line| line.contains("killed after 3s")).count();
        if killed >= 4 { Ok(Some(())) } else { bail!("{log}") }
    })
    .unwrap();
    let after = cluster.status(holder).unwrap();
    assert_eq!(after.groups[0].ballot, before.groups[0].ballot);
    assert_eq!(after.groups[0].transitions, before.groups[0].transitions);
    watch.finish();
}

#[test]
fn a_handler_gets_nothing_of_the_daemon_but_its_pipes() {
    let looks = r"(
        ls -m /proc/$$/fd; awk '{ print $40, $41 }' /proc/$$/stat; grep -E '^(VmLck|SigBlk|SigIgn):' /proc/$$/status
    ) > $0.new; mv $0.new $0";
    // The daemon gets nothing of whoever runs the test.
    let bare = r#"for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ "$fd" -lt 3 ] || eval "exec $fd>&-"; done; exec env --default-signal "$@""#;
    let wrapper = ["/bin/bash", "-c", bare, "bash"].map(str::to_owned).to_vec();
    let (cluster, holder) =
        three_telling(&DaemonOptions { wrapper, ..with_long_leases() }, |cluster, node| {
            section("promoted", looks, &log_of(cluster, node), "")
        });
    let look = || Ok(fs::read_to_string(log_of(&cluster, holder)).ok());
    let seen = wait::until_calmly("the handler to look", PATIENCE, look).unwrap();
    let lines: Vec<String> =
        seen.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let [fds, scheduling, locked, blocked, ignored] = &lines[..] else { panic!("{seen}") };
    assert_eq!(fds, "0, 1, 2");
    assert_eq!(scheduling, "0 0", "neither real-time priority nor policy");
    assert_eq!(locked, "VmLck: 0 kB");
    assert_eq!(blocked, "SigBlk: 0000000000000000");
    // The C library ignores 32 and 33, which are its own, in whatever it spawns.
    let ignored = u64::from_str_radix(ignored.strip_prefix("SigIgn: ").unwrap(), 16).unwrap();
    assert_eq!(ignored & !(1 << 31 | 1 << 32), 0, "{seen}");
}

#[test]
fn the_list_of_live_nodes_is_whole_at_any_time_and_has_all_that_are_live() {
    let list = |cluster: &Cluster, node: u8| cluster.lab().home(node).join("live.json");
    let mut cluster = Cluster::prepare(3, |_| with_long_leases()).unwrap();
    for node in 1..=3 {
        let path = list(&cluster, node);
        cluster.options(node).unwrap().more_of_paths = format!("live_nodes = {path:?}");
        cluster.restart(node).unwrap();
    }
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let [victim, other] = others(holder);
    let paths = [holder, other].map(|node| list(&cluster, node));
    wait_listed(&paths, &[1, 2, 3]);
    let entry = &read(&paths[0]).unwrap()["nodes"][0];
    let expected = serde_json::json!({
        "name": format!("lb{holder}"), "id": holder, "address": format!("10.77.0.{holder}"), "status": "alive",
        "voter": true, "priority": 100, "tags": {}
    });
    assert_eq!(*entry, expected, "the node itself comes first");

    let is_over = AtomicBool::new(false);
    let live = [holder, other].map(u64::from);
    thread::scope(|scope| {
        // A reader that finds no list, or a part of one, ends with an error.
        let reader = scope.spawn(|| -> Result<u64> {
            let mut reads = 0;
            while !is_over.load(Ordering::Relaxed) {
                for path in &paths {
                    read(path)?;
                    reads += 1;
                }
            }
            Ok(reads)
        });
        for round in 0..3 {
            match round % 2 {
                0 => drop(cluster.daemon(victim).unwrap().terminate().unwrap()),
                _ => cluster.daemon(victim).unwrap().kill().unwrap(),
            }
            wait_listed(&paths, &live);
            cluster.restart(victim).unwrap();
            wait_listed(&paths, &[1, 2, 3]);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap().unwrap() > 0);
    });
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn wait_listed(paths: &[PathBuf], wanted: &[u64]) {
    for path in paths {
        let ids = || {
            let list = read(path)?;
            let nodes = list["nodes"].as_array().into_iter().flatten();
            let mut ids: Vec<u64> = nodes.filter_map(|node| node["id"].as_u64()).collect();
            ids.sort_unstable();
            Ok(ids)
        };
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wait::until_equal(&format!("the list {}", path.display()), PATIENCE, &wanted, ids).unwrap();
    }
}
