//! A real front end on the VIP: when it dies, its node gives the VIP away, and visitors are served by another one.

use std::net::SocketAddr;

use anyhow::Result;
use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    fronts::{Backend, Front, HEALTH, PORT, Program, Software},
    lab::VIP,
    visitors::{Connections, VisitorOptions, Visitors},
};

use crate::{PATIENCE, cluster::watch::wait_until, with_long_leases};

/// Asked often, for the test's sake.
const CHECK: &str = r#"
[[check]]
name = "front"
type = "http"
interval = "20ms"
fall = 2
"#;

/// Input: HAProxy on all nodes, and new visitors all the time; HAProxy of the holder is killed, and started again.
/// Expected: the node is at fault, another one serves, and keeps the VIP when the first one is well again.
#[test]
fn who_loses_its_haproxy_hands_over_and_visitors_are_served_by_another_node() {
    if let Err(reason) = Program::find("haproxy") {
        return println!("skipped: {reason}");
    }
    let mut options = with_long_leases();
    options.more_of_group = format!("{CHECK}url = \"{HEALTH}\"\n");
    let cluster = Cluster::start(3, &options).unwrap();
    let _backend = Backend::start(cluster.lab()).unwrap();
    let start = |node| Front::start(cluster.lab(), node, Software::Haproxy, VIP);
    let mut fronts = (1..=3).map(start).collect::<Result<Vec<_>>>().unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();

    let target = SocketAddr::new(VIP.into(), PORT);
    let connections = Connections::New;
    let options = VisitorOptions { target, rate: 100, connections, patience: PATIENCE };
    let visitors = Visitors::start(cluster.lab(), &options).unwrap();
    let wait_answer = |what: &str, after, by: &dyn Fn(u8) -> bool| {
        wait_until(what, || {
            Ok(visitors.outcome_after(after, |outcome| outcome.ok().filter(|node| by(*node))).is_some())
        });
    };
    wait_answer("an answer of the holder", Stamp::now(), &|node| node == holder);
    fronts.remove(usize::from(holder) - 1).kill().unwrap();
    wait_answer("an answer of another node", Stamp::now(), &|node| node != holder);
    let fault = |status: &Status| status.groups[0].state == "fault";
    cluster.wait_status(holder, "to be at fault", PATIENCE, fault).unwrap();

    fronts.push(start(holder).unwrap());
    let successor = cluster.wait_whole(PATIENCE).unwrap();
    assert_ne!(successor, holder);
    wait_answer("an answer of the successor", Stamp::now(), &|node| node == successor);
    visitors.finish().unwrap();
}
