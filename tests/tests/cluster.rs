//! Whole clusters: real daemons on real (virtual) wires, seen from the client and through the documented commands.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test"
)]

mod cluster {
    mod announcements;
    mod bad_nights;
    mod commands;
    mod egress;
    mod events;
    mod faults;
    mod footprint;
    mod forming;
    mod forwarding;
    mod frontends;
    mod gossip;
    mod groups;
    mod handover;
    mod health;
    mod history;
    mod interfaces;
    mod ipv6;
    mod join;
    mod lease_over_ipv6;
    mod notify;
    mod pair;
    mod partitions;
    mod preemption;
    mod presence;
    mod promises;
    mod reach;
    mod reload;
    mod service;
    mod stacks;
    mod supervision;
    mod tee;
    mod upgrade;
    mod virtual_mac;
    mod voters;
    mod watch;
    mod web;
    mod without_xdp;
}

use std::time::Duration;

use vip_tests::{cluster::Cluster, lab::DaemonOptions};

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes with the product's defaults, whole; and who holds.
fn three_whole() -> (Cluster, u8) {
    three_with(&DaemonOptions::default())
}

/// Three nodes with the same options, whole; and who holds.
fn three_with(options: &DaemonOptions) -> (Cluster, u8) {
    let cluster = Cluster::start(3, options).unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

/// Leases that a busy machine does not let lapse, where a test is about a holder that keeps its lease: of a second, and
/// more on an emulated machine.
fn with_long_leases() -> DaemonOptions {
    let options = DaemonOptions::default();
    let interval = options.interval.max(Duration::from_millis(50));
    DaemonOptions { interval, lease: 20 * interval, ..options }
}

/// The other two of three nodes.
fn others(node: u8) -> [u8; 2] {
    match node {
        1 => [2, 3],
        2 => [1, 3],
        3 => [1, 2],
        _ => panic!("there is no node {node}"),
    }
}
