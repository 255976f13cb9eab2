//! Clients that keep an old neighbour entry: what they send goes on to the holder, if that is wished.

use std::{collections::BTreeMap, time::Duration};

use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::DaemonOptions,
    prober::{Prober, ProberOptions},
    wait,
};

use crate::{PATIENCE, others, three_with, with_long_leases};

const HANDOVERS: usize = 10;
/// Of the machine: what comes of longer ones is not the handovers' doing.
const STALL: Duration = Duration::from_millis(10);

#[test]
fn a_client_that_takes_a_backup_for_the_vip_is_served_by_the_holder() {
    let (cluster, holder) = three_with(&with_long_leases());
    for backup in others(holder) {
        cluster.lab().fix_neighbour(backup).unwrap();
        let prober = Prober::start(cluster.lab(), &ProberOptions::default()).unwrap();
        let begun = Stamp::now();
        wait::until("an answer", PATIENCE, || Ok(prober.answer_after(begun, |_| true))).unwrap();
        let report = prober.finish();
        assert_eq!((report.lost, report.doubles), (0, 0), "{report:?}");
        assert_eq!(report.answered_by_node, BTreeMap::from([(holder, report.sent)]));
        assert!(counter(&cluster, backup, "vip_forwarded") >= report.sent);
        assert_eq!(counter(&cluster, backup, "vip_passed"), 0);
    }
}

#[test]
fn a_client_that_takes_a_backup_for_the_vip_is_not_served_where_that_is_switched_off() {
    let more_of_group = "stale_forwarding = false\n".to_owned();
    let (cluster, holder) = three_with(&DaemonOptions { more_of_group, ..with_long_leases() });
    let [backup, _] = others(holder);
    cluster.lab().fix_neighbour(backup).unwrap();
    let prober = Prober::start(cluster.lab(), &ProberOptions::default()).unwrap();
    let fences = |status: &Status| status.counters["vip_fenced"] > 100;
    cluster.wait_status(backup, "to fence", PATIENCE, fences).unwrap();
    let report = prober.finish();
    assert_eq!((report.lost, counter(&cluster, backup, "vip_forwarded")), (report.sent, 0));
}

fn counter(cluster: &Cluster, node: u8, name: &str) -> u64 {
    cluster.status(node).unwrap().counters[name]
}

/// Input: clients that hear announcements, and clients that keep to the node that they knew first.
#[test]
fn no_datagram_is_lost_in_handovers_there_and_back() {
    for is_deaf in [false, true] {
        let (cluster, first) = three_with(&with_long_leases());
        if is_deaf {
            cluster.lab().fix_neighbour(first).unwrap();
        }
        let prober = Prober::start(cluster.lab(), &ProberOptions::default()).unwrap();
        let (second, mut holder) = (others(first)[0], first);
        for _ in 0..HANDOVERS {
            let to = if holder == first { second } else { first };
            let begun = Stamp::now();
            wait::until("an answer", PATIENCE, || Ok(prober.answer_after(begun, |node| node == holder)))
                .unwrap();
            let output = cluster.order(holder, &["handover", "web", "--to", &format!("lb{to}")]).unwrap();
            assert!(output.status.success(), "{output:?}");
            cluster.wait_status(to, "to know that it holds", PATIENCE, Status::is_master).unwrap();
            holder = to;
        }
        let report = prober.finish();
        // After a stall of the machine, the prober sends what was due at once, more than a cable's queue has room for; and
        // a service may answer later than its node lets answers out.
        let is_stalled = report.worst_lateness.max(report.slowest_answer) > STALL;
        let in_handovers = report.outages.iter().filter(|outage| outage.before != outage.after).count();
        assert!(in_handovers == 0 || is_stalled, "deaf: {is_deaf}: {report:?}");
        assert_eq!(report.doubles, 0, "deaf: {is_deaf}: {report:?}");
    }
}
