//! The journal: what an operator reads in the morning, from a daemon that lives and of one that died.

use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::daemon_binary,
    wait,
};

use crate::{PATIENCE, others, three_with, with_long_leases};

#[test]
fn the_nodes_tell_who_took_over_and_a_killed_ones_disk_tells_what_it_did() {
    let (mut cluster, killed) = three_with(&with_long_leases());
    cluster.daemon(killed).unwrap().kill().unwrap();
    let former = format!("lb{killed}");
    let is_succeeded = |status: &Status| status.groups[0].holder.as_ref().is_some_and(|now| *now != former);
    let status = cluster.wait_status(others(killed)[0], "a new holder", PATIENCE, is_succeeded).unwrap();
    let name = status.groups[0].holder.clone().unwrap();
    let successor = others(killed).into_iter().find(|node| name == format!("lb{node}")).unwrap();
    let bystander = 6 - killed - successor;

    let promoted = wait_for(&cluster, successor, "promoted", |entry| entry["node"] == former);
    assert_eq!(promoted["group"], "web");
    assert!(promoted["outage_ms"].as_f64().unwrap() > 0.0, "{promoted}");
    assert!(text(&promoted, "ballot").ends_with(&format!(".{successor}")), "{promoted}");
    let holder = wait_for(&cluster, bystander, "holder", |entry| entry["node"] == name);
    assert_eq!(holder["group"], "web");
    wait_for(&cluster, bystander, "member-failed", |entry| entry["node"] == former);

    // Nobody answers there: it is read from the disk, and that it is.
    let output = history_of(&cluster, killed);
    let remark = String::from_utf8(output.stderr).unwrap();
    assert!(remark.contains("this is what the last one has written to "), "{remark}");
    let left = entries(&output.stdout);
    let kinds = kinds(&left);
    assert!(kinds.contains(&"promoted") && !kinds.contains(&"daemon-stop"), "{kinds:?}");

    cluster.restart(killed).unwrap();
    let after_crash =
        |entry: &Value| text(entry, "text").contains("after one that did not end in good order");
    let again = wait_for(&cluster, killed, "daemon-start", after_crash);
    assert_eq!(again["number"].as_u64(), left.last().unwrap()["number"].as_u64().map(|last| last + 1));
    // The former run's entries are there, too.
    let first = wait::until("former entries", PATIENCE, || {
        let all = entries(&cluster.order(killed, &["history", "--json"])?.stdout);
        Ok(all.into_iter().next().filter(|first| first["number"] == 1))
    });
    assert_eq!(text(&first.unwrap(), "kind"), "daemon-start");
}

#[test]
fn a_daemon_that_is_asked_to_stop_leaves_a_journal_that_says_so() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    cluster.wait_status(holder, "to hold", PATIENCE, Status::is_master).unwrap();
    let daemon = cluster.daemon(holder).unwrap();
    daemon.signal(Signal::SIGTERM).unwrap();
    assert!(daemon.wait_exit(PATIENCE).unwrap().success());
    let left = entries(&history_of(&cluster, holder).stdout);
    assert_eq!(kinds(&left).last(), Some(&"daemon-stop"));
    let of = |kind| left.iter().rposition(|entry| entry["kind"] == kind).unwrap();
    assert!(of("daemon-stopping") < of("demoted") && of("demoted") < of("daemon-stop"), "{left:?}");
    assert!(text(&left[of("daemon-stopping")], "text").starts_with("SIGTERM"), "{left:?}");
    let to = text(&left[of("demoted")], "node");
    assert!(others(holder).map(|node| format!("lb{node}")).iter().any(|other| other == to), "{left:?}");

    // In words, of one group alone.
    let only = String::from_utf8(history(&cluster, holder, &["--group", "web"]).stdout).unwrap();
    let handed_over = format!("it has handed the lease over to {to}");
    assert!(only.lines().any(|line| line.ends_with(&handed_over)), "{only}");
    assert!(!only.contains("daemon-stop"), "{only}");
}

/// An entry of a kind in the journal of a node that is as `wanted` says, once there is one.
fn wait_for(cluster: &Cluster, node: u8, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = || {
        let output = cluster.order(node, &["history", "--json", "-n", "1000"])?;
        Ok(entries(&output.stdout).into_iter().find(|entry| entry["kind"] == kind && wanted(entry)))
    };
    let found = wait::until_calmly(&format!("{kind} in the journal of node {node}"), PATIENCE, look);
    found.unwrap_or_else(|error| panic!("{error:#}"))
}

/// `history` as an operator has it whose configuration says where everything is.
fn history(cluster: &Cluster, node: u8, arguments: &[&str]) -> Output {
    let mut command = Command::new(daemon_binary().unwrap());
    command.args(["history", "--iface", "eth0", "--config"]).arg(cluster.lab().home(node).join("vip.toml"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn history_of(cluster: &Cluster, node: u8) -> Output {
    history(cluster, node, &["--json", "-n", "1000"])
}

fn entries(lines: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(lines).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| text(entry, "kind")).collect()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("no {field}: {entry}"))
}
