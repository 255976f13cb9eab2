//! Nodes without XDP (`xdp = "off"`): the same leases, with the VIPs as addresses that come and go. What has
//! no fence is told; what works without one is the same.
//!
//! Leases are longer than elsewhere: a daemon that is kept waiting for a quarter of one may serve when it should not, and to
//! change an address it waits for a lock that all network namespaces share.

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::Value;
use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::{DaemonOptions, VIP6},
    net,
    traces::Traces,
};

use crate::{
    PATIENCE,
    cluster::{
        faults::{Change, another_serves},
        handover::{assert_done, hand_over},
        ipv6::{three_with_ipv6, wait_neighbour, wait_ping},
        watch::{Watch, wait_until},
    },
    others, three_with, with_long_leases,
};

const VIP: &str = "10.77.0.100/32";
const OTHER_VIP: &str = "10.77.0.101/32";

#[test]
fn without_xdp_the_vip_is_on_the_holder_alone_and_status_says_that_nothing_fences_it() {
    let (mut cluster, holder) = three_with(&off(with_longer_leases()));
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    wait_on(&cluster, &[holder]);
    for node in 1..=3 {
        let traces = Traces::of(cluster.lab(), node).unwrap();
        assert!(!traces.links["eth0"].xdp && !traces.links.contains_key("vip-eth0"), "{traces:?}");
        assert!(traces.pins.is_empty(), "{traces:?}");
        let status = status(&mut cluster, node);
        assert_eq!((&status["xdp"], &status["egress_fence"]), (&Value::from("off"), &Value::from(false)));
        assert_eq!(status["xdp_reason"], "as configured (node.xdp, --xdp)");
        assert!(cluster.daemon(node).unwrap().log().contains("NO FENCE"));
        let text = cluster.order(node, &["status"]).unwrap();
        assert!(String::from_utf8_lossy(&text.stdout).contains("NO FENCE"), "{text:?}");
    }
    watch.finish();
}

#[test]
fn without_xdp_another_node_serves_when_the_holder_is_terminated() {
    fails_over(
        |cluster, victim| {
            assert!(cluster.daemon(victim)?.terminate()?.success());
            Ok(())
        },
        Cluster::restart,
    );
}

#[test]
fn without_xdp_another_node_serves_when_the_holders_cable_is_pulled() {
    fails_over(
        |cluster, victim| cluster.lab().cable(victim).pull(),
        |cluster, victim| cluster.lab().cable(victim).plug(),
    );
}

/// Input: the switch forwards nothing of the holder's any more, which sees no fault in its cable. Expected:
/// as its lease is not renewed, it takes its VIP off by itself.
#[test]
fn without_xdp_a_holder_that_is_cut_off_serves_no_more() {
    fails_over(
        |cluster, victim| {
            let lab = cluster.lab();
            net::ip(&lab.switch_netns(), &["link", "set", "dev", &lab.port(victim), "nomaster"])?;
            wait_until("the VIP to be off the node that is cut off", || Ok(!is_on(cluster, victim)));
            Ok(())
        },
        |cluster, victim| {
            let lab = cluster.lab();
            net::ip(&lab.switch_netns(), &["link", "set", "dev", &lab.port(victim), "master", "br0"])
        },
    );
}

#[test]
fn without_xdp_groups_are_handed_over_and_never_served_twice() {
    let (cluster, mut holder) = three_with(&off(with_longer_leases()));
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    for round in 0..6 {
        let to = others(holder)[round / 2 % 2];
        assert_done(&hand_over(&cluster, holder, &["web", "--to", &format!("lb{to}")]), &[("web", to)]);
        watch.wait_served(|node| node == to);
        wait_on(&cluster, &[to]);
        holder = to;
    }
    let gap = watch.finish();
    // Leases that were waited for, or taken anew by an election, would cost more.
    assert!(gap < with_longer_leases().lease / 4, "{gap:?}");
}

#[test]
fn without_xdp_an_ipv6_vip_answers_pings_and_moves_with_its_group() {
    let (mut cluster, holder) = three_with_ipv6(&off(with_longer_leases()));
    wait_ping(&cluster);
    wait_neighbour(&cluster, holder);
    assert!(cluster.daemon(holder).unwrap().terminate().unwrap().success());
    let is_on6 = |node| anyhow::Ok(addresses(&cluster, node, "eth0")?.contains(&format!("{VIP6}/128")));
    let others = others(holder);
    wait_until("the VIP to have moved", || Ok(is_on6(others[0])? || is_on6(others[1])?));
    assert!(!is_on6(holder).unwrap());
    let successor = if is_on6(others[0]).unwrap() { others[0] } else { others[1] };
    wait_ping(&cluster);
    wait_neighbour(&cluster, successor);
}

/// Input: a daemon that is killed, and one that is started in its place with another VIP. Expected: the old
/// one's VIP stays while there is no daemon, and is gone with the new one, though that knows nothing of it;
/// at the end, all is gone.
#[test]
fn what_a_killed_daemon_without_xdp_has_left_is_taken_off_by_the_next_start() {
    for args in [["--xdp", "off"], ["--xdp", "auto"]] {
        let mut cluster = Cluster::prepare(1, |_| alone()).unwrap();
        let before = Traces::of(cluster.lab(), 1).unwrap();
        cluster.restart(1).unwrap();
        wait_on(&cluster, &[1]);
        cluster.daemon(1).unwrap().kill().unwrap();
        assert!(is_on(&cluster, 1), "nothing takes it off");

        let options = cluster.options(1).unwrap();
        (options.vips, options.args) = (vec!["10.77.0.101/24".to_owned()], args.map(str::to_owned).to_vec());
        cluster.restart(1).unwrap();
        cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
        let link = if args[1] == "off" { "eth0" } else { "vip-eth0" };
        wait_until("the other VIP", || Ok(addresses(&cluster, 1, link)?.contains(&OTHER_VIP.to_owned())));
        assert!(!is_on(&cluster, 1));
        assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
        assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
    }
}

#[test]
fn what_a_killed_daemon_with_xdp_has_left_is_taken_off_by_a_start_without() {
    let mut cluster = Cluster::prepare(1, |_| DaemonOptions { args: Vec::new(), ..alone() }).unwrap();
    let before = Traces::of(cluster.lab(), 1).unwrap();
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    cluster.daemon(1).unwrap().kill().unwrap();
    assert!(Traces::of(cluster.lab(), 1).unwrap().links["eth0"].xdp);

    cluster.options(1).unwrap().args = alone().args;
    cluster.restart(1).unwrap();
    wait_on(&cluster, &[1]);
    let during = Traces::of(cluster.lab(), 1).unwrap();
    assert!(!during.links["eth0"].xdp && during.pins.is_empty(), "{during:?}");
    assert_eq!(during.sysctls, before.sysctls);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == 1);
    watch.finish();
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

#[test]
fn a_vip_that_something_else_takes_off_the_interface_is_put_back() {
    let mut cluster = Cluster::start(1, &alone()).unwrap();
    wait_on(&cluster, &[1]);
    net::ip(&cluster.lab().node_netns(1), &["address", "del", VIP, "dev", "eth0"]).unwrap();
    wait_on(&cluster, &[1]);
    let daemon = cluster.daemon(1).unwrap();
    wait_until("a word about it", || Ok(daemon.log().contains("1 VIPs were missing on eth0; put back")));
}

/// Expected: a lease goes from the node without XDP to one with it and back, by handover and by death; that
/// node's VIP is an address of eth0 only while it holds.
#[test]
fn a_node_without_xdp_and_nodes_with_it_are_one_cluster() {
    const OFF: u8 = 1;
    let mut cluster = Cluster::start_each(3, |node| match node {
        OFF => DaemonOptions { priority: 200, ..off(with_longer_leases()) },
        _ => with_longer_leases(),
    })
    .unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    if holder != OFF {
        assert_done(&hand_over(&cluster, holder, &["--to", "lb1"]), &[("web", OFF)]);
    }
    watch.wait_served(|node| node == OFF);
    assert_done(&hand_over(&cluster, OFF, &["--to", "lb2"]), &[("web", 2)]);
    watch.wait_served(|node| node == 2);
    assert!(!is_on(&cluster, OFF));

    // Input: the third node is cut off, and the holder's daemon killed. Expected: its data plane, which
    // lives, votes for the node without XDP.
    cluster.lab().cable(3).pull().unwrap();
    cluster.daemon(2).unwrap().kill().unwrap();
    let successor = watch.wait_served(|node| node == OFF);
    wait_on(&cluster, &[OFF]);
    cluster.restart(2).unwrap();
    cluster.lab().cable(3).plug().unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), OFF);
    watch.finish_after_takeover(2, successor);
}

#[test]
fn a_witness_without_xdp_votes_and_never_holds() {
    const WITNESS: u8 = 3;
    let cluster = Cluster::start_each(3, |node| match node {
        WITNESS => DaemonOptions { priority: 0, ..off(with_longer_leases()) },
        _ => with_longer_leases(),
    })
    .unwrap();
    let victim = cluster.wait_whole(PATIENCE).unwrap();
    assert_eq!(cluster.status(WITNESS).unwrap().groups[0].state, "witness");
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == victim);
    let broken = Stamp::now();
    // Without the witness, the one that is left is no majority.
    cluster.lab().cable(victim).pull().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != victim);
    assert_ne!(successor.node, WITNESS);
    assert!(!is_on(&cluster, WITNESS));
    watch.finish();
}

#[test]
fn auto_is_off_where_the_kernel_has_no_bpf_and_says_so_and_native_is_refused() {
    let inject = ["-f", "--seccomp-bpf", "-o", "/dev/null", "--trace=bpf", "--inject=bpf:error=ENOSYS"];
    let wrapper = ["strace"].into_iter().chain(inject).map(str::to_owned).collect();
    let without_bpf = DaemonOptions { wrapper, args: Vec::new(), ..alone() };
    let mut cluster = Cluster::prepare(1, |_| without_bpf.clone()).unwrap();
    let before = Traces::of(cluster.lab(), 1).unwrap();
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to hold", PATIENCE, Status::is_master).unwrap();
    wait_on(&cluster, &[1]);
    let status = status(&mut cluster, 1);
    assert_eq!(status["xdp"], "off", "{status}");
    let reason = status["xdp_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("the kernel cannot have the XDP program"), "{reason}");
    let daemon = cluster.daemon(1).unwrap();
    assert!(daemon.log().contains(&reason) && daemon.log().contains("NO FENCE"), "{}", daemon.log_tail());
    // What traces it leaves the signal to it.
    daemon.signal_all(Signal::SIGTERM).unwrap();
    assert!(daemon.wait_exit(PATIENCE).unwrap().success());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);

    cluster.options(1).unwrap().args = ["--xdp", "native"].map(str::to_owned).to_vec();
    cluster.restart(1).unwrap();
    let daemon = cluster.daemon(1).unwrap();
    assert_eq!(daemon.wait_exit(PATIENCE).unwrap().code(), Some(1), "{}", daemon.log_tail());
    assert_eq!(Traces::of(cluster.lab(), 1).unwrap(), before);
}

#[test]
fn without_xdp_no_privilege_of_bpf_is_needed() {
    let wrapper = ["setpriv", "--bounding-set=-bpf,-perfmon"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(1, &DaemonOptions { wrapper, ..alone() }).unwrap();
    wait_on(&cluster, &[1]);
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
}

fn off(options: DaemonOptions) -> DaemonOptions {
    DaemonOptions { args: ["--xdp", "off"].map(str::to_owned).to_vec(), ..options }
}

fn with_longer_leases() -> DaemonOptions {
    let options = with_long_leases();
    DaemonOptions { lease: 3 * options.lease, ..options }
}

fn alone() -> DaemonOptions {
    DaemonOptions { expect: 1, ..off(with_longer_leases()) }
}

/// As in `faults`, and the VIP is an address of the new holder alone.
fn fails_over(inflict: Change, repair: Change) {
    let (cluster, victim) = three_with(&off(with_longer_leases()));
    another_serves(cluster, victim, inflict, repair, |cluster, node| wait_on(cluster, &[node]));
}

fn status(cluster: &mut Cluster, node: u8) -> Value {
    cluster.daemon(node).unwrap().status().unwrap()
}

/// Waits until the VIP is an address of eth0 on these nodes, and on no others.
fn wait_on(cluster: &Cluster, nodes: &[u8]) {
    wait_until("the VIP to be where it belongs", || {
        Ok(cluster.lab().nodes().all(|node| is_on(cluster, node) == nodes.contains(&node)))
    });
}

fn is_on(cluster: &Cluster, node: u8) -> bool {
    addresses(cluster, node, "eth0").unwrap().contains(&VIP.to_owned())
}

fn addresses(cluster: &Cluster, node: u8, link: &str) -> Result<Vec<String>> {
    Ok(Traces::of(cluster.lab(), node)?
        .links
        .get(link)
        .map(|link| link.addresses.clone())
        .unwrap_or_default())
}
