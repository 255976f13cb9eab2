//! One daemon and one other program, each as master and as backup of the other.

use std::thread;

use vip_tests::cluster::Cluster;

use super::{
    capture::Capture,
    case::{
        Case, Other,
        Program::{Frr, Keepalived, KeepalivedVmac},
        errors, wait_state,
    },
};

const WITH_KEEPALIVED: [Case; 6] = [
    Case { virtual_mac: false, ..Case::with(Keepalived) },
    Case { ipv6: true, ..Case::with(Keepalived) },
    Case { ipv6: true, virtual_mac: false, ..Case::with(Keepalived) },
    Case { ipv6: true, ..Case::with(KeepalivedVmac) },
    Case { unicast: true, ..Case::with(Keepalived) },
    Case { version: 2, interval: 1000, password: true, ..Case::with(Keepalived) },
];
const WITH_FRR: [Case; 3] = [
    Case::with(Frr),
    Case { ipv6: true, ..Case::with(Frr) },
    Case { version: 2, interval: 1000, ..Case::with(Frr) },
];

#[test]
fn keepalived_and_we_take_over_from_each_other_however_one_ends() {
    take_turns(&WITH_KEEPALIVED);
}

#[test]
fn frr_and_we_take_over_from_each_other_however_one_ends() {
    take_turns(&WITH_FRR);
}

/// They mostly wait, each in a lab of its own.
fn take_turns(cases: &[Case]) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| take_turns_by(case));
        }
    });
}

fn take_turns_by(case: &Case) {
    let mut cluster = case.cluster(2, 150);
    let capture = Capture::start(cluster.lab(), &cluster.lab().node_netns(2));
    let other = case.start(&cluster, 2);
    other.wait_state("master");
    we_are_better_and_end(case, &mut cluster, &other);
    let other = it_is_better_and_ends(case, &mut cluster, other);
    we_stop_in_good_order(&mut cluster, &other);
    assert_eq!(other.complaints(), [""; 0]);
    assert_eq!(errors(&mut cluster, 1), [""; 0]);
    let log = cluster.daemon(1).unwrap().log();
    assert_eq!(log.contains("every advert shows the password"), case.password, "{log}");
    capture.finish(1);
}

/// Ours is of higher priority, and preempts whenever it is back.
fn we_are_better_and_end(case: &Case, cluster: &mut Cluster, other: &Other) {
    cluster.restart(1).unwrap();
    wait_state(cluster, 1, "master");
    other.wait_state("backup");
    case.wait_reached(cluster);
    // One that sleeps says nothing, and comes back.
    cluster.daemon(1).unwrap().stop().unwrap();
    other.wait_state("master");
    cluster.daemon(1).unwrap().cont().unwrap();
    other.wait_state("backup");
    wait_state(cluster, 1, "master");
    // One that is killed.
    cluster.daemon(1).unwrap().kill().unwrap();
    other.wait_state("master");
    cluster.restart(1).unwrap();
    other.wait_state("backup");
    wait_state(cluster, 1, "master");
    // One whose cable is out, and in again.
    cluster.lab().cable(1).pull().unwrap();
    wait_state(cluster, 1, "fault");
    other.wait_state("master");
    cluster.lab().cable(1).plug().unwrap();
    other.wait_state("backup");
    wait_state(cluster, 1, "master");
    // One that is to give up says so.
    let output = cluster.order(1, &["maintenance", "on"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    wait_state(cluster, 1, "maintenance");
    other.wait_state("master");
    let output = cluster.order(1, &["handover", "web"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("maintenance on"), "{said}");
    assert!(cluster.order(1, &["maintenance", "off"]).unwrap().status.success());
    other.wait_state("backup");
    wait_state(cluster, 1, "master");
}

/// Ours is of lower priority from now on. Gives the other one as it runs in the end, as master.
fn it_is_better_and_ends(case: &Case, cluster: &mut Cluster, other: Other) -> Other {
    let lower = cluster.options(1).unwrap();
    lower.more_of_group = lower.more_of_group.replace("priority = 150", "priority = 50");
    cluster.write_config(1).unwrap();
    let output = cluster.order(1, &["reload"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    other.wait_state("master");
    wait_state(cluster, 1, "backup");
    // It stops, and says so.
    other.stop();
    wait_state(cluster, 1, "master");
    let other = case.start(cluster, 2);
    other.wait_state("master");
    wait_state(cluster, 1, "backup");
    // Its cable is out, and in again.
    cluster.lab().cable(2).pull().unwrap();
    wait_state(cluster, 1, "master");
    cluster.lab().cable(2).plug().unwrap();
    other.wait_state("master");
    wait_state(cluster, 1, "backup");
    assert_eq!(other.complaints(), [""; 0]);
    // It is killed.
    other.kill();
    wait_state(cluster, 1, "master");
    case.wait_reached(cluster);
    let other = case.start(cluster, 2);
    other.wait_state("master");
    wait_state(cluster, 1, "backup");
    other
}

/// Who ends says so, if it is master.
fn we_stop_in_good_order(cluster: &mut Cluster, other: &Other) {
    let higher = cluster.options(1).unwrap();
    higher.more_of_group = higher.more_of_group.replace("priority = 50", "priority = 150");
    cluster.write_config(1).unwrap();
    assert!(cluster.order(1, &["reload"]).unwrap().status.success());
    wait_state(cluster, 1, "master");
    other.wait_state("backup");
    let counters = cluster.status(1).unwrap().counters;
    assert_eq!(counters["vrrp_invalid"], 0);
    assert!(counters["vrrp_adverts"] > 0);
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    other.wait_state("master");
}
