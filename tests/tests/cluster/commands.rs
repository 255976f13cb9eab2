//! The commands' contract: what programs and operators read.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};
use vip_tests::{cluster::Cluster, lab::VIP};

use crate::{PATIENCE, three_whole};

#[test]
fn status_has_the_documented_fields_on_master_and_backup() {
    let (mut cluster, holder) = three_whole();
    for node in 1..=3 {
        let status = cluster.daemon(node).unwrap().status().unwrap();
        assert_fields(
            &status,
            &["node", "id", "iface", "version", "xdp", "epoch", "insecure", "groups", "members", "counters"],
        );
        assert_eq!(status["node"], format!("lb{node}"));
        assert_eq!(status["id"], node);
        assert_eq!(status["iface"], "eth0");
        assert_eq!(status["xdp"], "native");
        assert_eq!(status["epoch"], 1);
        assert_eq!(status["insecure"], false);

        let [group] = &status["groups"].as_array().unwrap()[..] else { panic!("one group: {status}") };
        assert_fields(
            group,
            &[
                "name",
                "state",
                "holder",
                "ballot",
                "lease_remaining_ms",
                "vips",
                "priority",
                "transitions",
                "since",
            ],
        );
        assert_eq!(group["name"], "web");
        assert_eq!(group["state"], if node == holder { "master" } else { "backup" });
        assert_eq!(group["holder"], format!("lb{holder}"));
        assert_eq!(group["vips"], serde_json::json!(["10.77.0.100/24"]));
        assert_eq!(group["priority"], 100);
        let (_round, proposer) = group["ballot"].as_str().unwrap().split_once('.').unwrap();
        assert_eq!(proposer, holder.to_string());
        let remaining = group["lease_remaining_ms"].as_f64().unwrap();
        assert!((0.0..=50.0).contains(&remaining), "{remaining}");
        assert!(group["transitions"].as_u64().unwrap() >= 1);
        let since = group["since"].as_str().unwrap();
        assert!(since.len() == "2026-01-01T00:00:00.000Z".len() && since.ends_with('Z'), "{since}");

        assert_members(&status["members"]);
        assert_fields(
            &status["counters"],
            &[
                "arp_replies",
                "nd_replies",
                "vip_passed",
                "vip_fenced",
                "vip_forwarded",
                "lease_replies",
                "rejected",
                "conflicts",
                "vrrp_adverts",
                "vrrp_invalid",
            ],
        );
    }
}

#[test]
fn members_has_the_documented_fields_and_all_nodes() {
    let (mut cluster, _) = three_whole();
    let output = cluster.daemon(2).unwrap().client("members").unwrap();
    assert!(output.status.success());
    assert_members(&serde_json::from_slice(&output.stdout).unwrap());
}

#[test]
fn client_commands_exit_with_69_where_no_daemon_answers() {
    let (mut cluster, _) = three_whole();
    let ends: [fn(&mut Cluster); 2] = [
        |cluster| cluster.daemon(1).unwrap().kill().unwrap(),
        |cluster| assert!(cluster.daemon(2).unwrap().terminate().unwrap().success()),
    ];
    for (node, end) in [1, 2].into_iter().zip(ends) {
        end(&mut cluster);
        for command in ["status", "members"] {
            let output = cluster.daemon(node).unwrap().client(command).unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(69), "{stderr}");
            assert!(stderr.starts_with("vip-user: ") && stderr.lines().count() == 1, "{stderr}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn bpftool_prints_the_pinned_maps_with_named_fields() {
    let (cluster, holder) = three_whole();
    cluster.wait_status(holder, "to hold", PATIENCE, |status| status.is_master()).unwrap();
    // Slot 1: the first group with VIPs.
    let groups = dump(&cluster, holder, "GROUPS");
    let group = &groups.iter().find(|entry| entry["key"] == 1).unwrap()["value"];
    assert_fields(
        group,
        &[
            "lease_until",
            "holder_until",
            "holder_ballot",
            "conflict_at",
            "id",
            "role",
            "stale",
            "holder",
            "holder_mac",
            "former_mac",
        ],
    );
    assert_eq!(group["holder"], holder);
    assert!(group["lease_until"].as_u64().unwrap() > 0);

    // Where nothing is, the slot is 0.
    let mut vips = dump(&cluster, holder, "VIPS");
    vips.retain(|entry| entry["value"]["slot"] != 0);
    let [vip] = &vips[..] else { panic!("one VIP: {vips:?}") };
    assert_fields(&vip["value"], &["address", "slot", "interface"]);
    assert_eq!(vip["value"]["address"], json!(VIP.octets()));
    assert_eq!(vip["value"]["slot"], 1);
}

/// The entries of a pinned map, as bpftool formats them by the map's type information.
fn dump(cluster: &Cluster, node: u8, map: &str) -> Vec<Value> {
    let path = cluster.lab().map_pin(node, map);
    let output = Command::new("bpftool").args(["--json", "map", "dump", "pinned"]).arg(&path).output();
    let output = output.expect("bpftool; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    entries.into_iter().map(|entry| entry["formatted"].clone()).collect()
}

fn assert_members(members: &Value) {
    let members = members.as_array().unwrap();
    assert_eq!(members.len(), 3);
    for member in members {
        assert_fields(member, &["name", "id", "address", "status", "voter", "priority", "last_heard_ms"]);
        assert_eq!(member["name"], format!("lb{}", member["id"]));
        assert_eq!(member["address"], format!("10.77.0.{}", member["id"]));
        assert_eq!(member["status"], "alive");
        assert_eq!(member["voter"], true);
        assert_eq!(member["priority"], 100);
        assert!(member["last_heard_ms"].as_f64().unwrap() >= 0.0);
    }
    let ids: BTreeSet<u64> = members.iter().map(|member| member["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from([1, 2, 3]));
}

/// Fields may be added, not renamed.
fn assert_fields(object: &Value, documented: &[&str]) {
    let object = object.as_object().unwrap_or_else(|| panic!("no object: {object}"));
    for field in documented {
        assert!(object.contains_key(*field), "no {field}: {object:?}");
    }
}
