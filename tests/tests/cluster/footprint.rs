//! What a daemon puts on its machine: that it stays there while the daemon serves, and is gone afterwards.

use nix::sys::signal::Signal;
use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Lab},
    net,
    traces::Traces,
    wait,
};

use crate::{
    PATIENCE,
    cluster::watch::{Watch, wait_until},
};

const DUMMY: &str = "vip-eth0";
const VIP: &str = "10.77.0.100/32";

#[test]
fn sigterm_and_sigint_end_the_daemon_and_leave_nothing_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
        let before = Traces::of(cluster.lab(), 1).unwrap();
        cluster.restart(1).unwrap();
        wait_master(&cluster);

        let during = Traces::of(cluster.lab(), 1).unwrap();
        assert!(during.links["eth0"].xdp && !before.links["eth0"].xdp);
        assert_eq!(during.links[DUMMY].addresses, [VIP]);
        assert_ne!(during.sysctls["eth0/arp_ignore"], before.sysctls["eth0/arp_ignore"]);
        assert_ne!(during.sysctls["eth0/arp_announce"], before.sysctls["eth0/arp_announce"]);
        assert!(during.pins.iter().any(|pin| pin.ends_with("link-eth0")));
        assert!(during.runtime.iter().any(|file| file.ends_with("eth0.sock")));

        let daemon = cluster.daemon(1).unwrap();
        daemon.signal(signal).unwrap();
        let status = daemon.wait_exit(PATIENCE).unwrap();
        assert!(status.success(), "{signal}: {status}{}", daemon.log_tail());
        assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before, "{signal}");
    }
}

#[test]
fn a_daemon_that_is_terminated_while_it_starts_leaves_nothing_behind() {
    let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
    let before = Traces::of(cluster.lab(), 1).unwrap();
    cluster.restart(1).unwrap();
    // The first thing that it makes.
    let socket = cluster.daemon(1).unwrap().socket().to_owned();
    wait::until("the control socket", PATIENCE, || Ok(socket.exists().then_some(()))).unwrap();
    let status = cluster.daemon(1).unwrap().terminate().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

#[test]
fn what_a_killed_daemon_left_is_gone_after_the_next_orderly_end() {
    let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
    let before = Traces::of(cluster.lab(), 1).unwrap();
    cluster.restart(1).unwrap();
    wait_master(&cluster);
    cluster.daemon(1).unwrap().kill().unwrap();
    assert!(Traces::of(cluster.lab(), 1).unwrap().links["eth0"].xdp, "the fence outlives the daemon");

    cluster.restart(1).unwrap();
    wait_master(&cluster);
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

#[test]
fn a_vip_that_something_else_removes_is_put_back_and_served() {
    let cluster = Cluster::start(1, &alone()).unwrap();
    wait_master(&cluster);
    let watch = Watch::start(cluster.lab());
    let removals: [&[&str]; 3] =
        [&["address", "del", VIP, "dev", DUMMY], &["link", "del", DUMMY], &["link", "set", DUMMY, "down"]];
    for removal in removals {
        let netns = cluster.lab().node_netns(1);
        net::ip(&netns, removal).unwrap();
        wait_until("the VIP to be back", || Ok(addresses_of_dummy(cluster.lab()) == [VIP]));
        watch.wait_served(|node| node == 1);
    }
    watch.finish();
}

#[test]
fn a_changed_mtu_is_told_and_the_vip_served_on() {
    let mut cluster = Cluster::start(1, &alone()).unwrap();
    wait_master(&cluster);
    let watch = Watch::start(cluster.lab());
    net::ip(&cluster.lab().node_netns(1), &["link", "set", "dev", "eth0", "mtu", "1400"]).unwrap();
    let daemon = cluster.daemon(1).unwrap();
    let told = || Ok(daemon.log().contains("packets of up to 1400 bytes (before: 1500)"));
    wait_until("the new MTU in the log", told);
    watch.wait_served(|node| node == 1);
    watch.finish();
}

#[test]
fn foreign_addresses_on_the_dummy_interface_are_removed_at_start_and_later() {
    let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
    let netns = cluster.lab().node_netns(1);
    // Kernels for virtual machines are often built without the dummy driver; the daemon uses the other one there.
    let add = |kind| net::ip(&netns, &["link", "add", DUMMY, "type", kind]);
    add("dummy").or_else(|_| add("ifb")).unwrap();
    net::ip(&netns, &["address", "add", "10.77.0.99/32", "dev", DUMMY]).unwrap();
    cluster.restart(1).unwrap();
    wait_master(&cluster);
    assert_eq!(addresses_of_dummy(cluster.lab()), [VIP]);

    net::ip(&netns, &["address", "add", "10.77.0.98/32", "dev", DUMMY]).unwrap();
    wait_until("the foreign address to be gone", || Ok(addresses_of_dummy(cluster.lab()) == [VIP]));
}

#[test]
fn a_vip_that_is_not_configured_any_more_is_gone_after_a_restart() {
    let both = vec!["10.77.0.100/24".to_owned(), "10.77.0.101/24".to_owned()];
    let mut cluster = Cluster::start(1, &DaemonOptions { vips: both, ..alone() }).unwrap();
    wait_master(&cluster);
    assert_eq!(addresses_of_dummy(cluster.lab()), [VIP, "10.77.0.101/32"]);

    cluster.options(1).unwrap().vips.pop();
    cluster.restart(1).unwrap();
    wait_master(&cluster);
    assert_eq!(addresses_of_dummy(cluster.lab()), [VIP]);
}

/// A cluster of one, which needs nobody.
fn alone() -> DaemonOptions {
    DaemonOptions { expect: 1, ..DaemonOptions::default() }
}

fn wait_master(cluster: &Cluster) {
    cluster.wait_status(1, "to be master", PATIENCE, |status| status.is_master()).unwrap();
}

/// None if there is no such interface, or it is down.
fn addresses_of_dummy(lab: &Lab) -> Vec<String> {
    let traces = Traces::of(lab, 1).unwrap();
    traces.links.get(DUMMY).map(|link| link.addresses.clone()).unwrap_or_default()
}
