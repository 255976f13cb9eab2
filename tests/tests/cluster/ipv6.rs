//! IPv6 VIPs: a client reaches them, they move with their group, and no kernel answers for one by itself.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{Ipv6Addr, SocketAddrV6},
    process::Stdio,
    time::Duration,
};

use anyhow::{Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vip_tests::{
    clock::Stamp,
    cluster::Cluster,
    lab::{DaemonOptions, Lab, VIP6},
    net::{command_in, in_netns, ip},
    oracle::{NdpOracle, NdpReport},
    traces::Traces,
    wait,
};

use crate::{PATIENCE, cluster::watch::Watch};

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// The group in which neighbours ask for the VIP (RFC 4291, section 2.7.1).
const SOLICITED_NODE: &str = "ff02::1:ff00:100";

#[test]
fn an_ipv6_vip_answers_pings_and_moves_with_its_group() {
    let (mut cluster, holder) = three_with_ipv6(&DaemonOptions::default());
    let watch = Watch::start(cluster.lab());
    let oracle = NdpOracle::start(cluster.lab(), VIP6).unwrap();
    watch.wait_served(|node| node == holder);
    wait_ping(&cluster);
    wait_neighbour(&cluster, holder);
    let replies = |status: &vip_tests::cluster::Status| status.counters["nd_replies"] > 0;
    cluster.wait_status(holder, "to answer solicitations", PATIENCE, replies).unwrap();

    let broken = Stamp::now();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served_after(broken, |node| node != holder);
    wait_report(&oracle, "an announcement by the new holder", |report| {
        report.announced_by.last() == Some(&mac(successor.node))
    });
    wait_report(&oracle, "answers of the new holder", |report| report.last() == Some(mac(successor.node)));
    wait_neighbour(&cluster, successor.node);
    wait_ping(&cluster);

    cluster.restart(holder).unwrap();
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), successor.node);
    watch.finish_after_takeover(holder, successor);
    let report = oracle.finish();
    assert_eq!((report.doubles(), report.malformed), (0, 0));
    assert!(report.answered() > 0);
}

/// Expected: tcpdump has no complaint about answers and announcements, and calls them what they are.
#[test]
fn tcpdump_reads_answers_and_announcements_as_neighbour_advertisements() {
    let (mut cluster, holder) = three_with_ipv6(&DaemonOptions::default());
    let trace = cluster.lab().home(holder).join("advertisements");
    let mut command = command_in(&cluster.lab().client_netns(), "tcpdump").unwrap();
    command.args(["-i", "eth0", "-n", "-vv", "-l", "icmp6 and ip6[40] == 136"]).stderr(Stdio::null());
    let mut tcpdump = command.stdout(File::create(&trace).unwrap()).spawn().unwrap();
    let oracle = NdpOracle::start(cluster.lab(), VIP6).unwrap();
    let read = || fs::read_to_string(&trace).unwrap();
    let both = |text: &str| text.contains("Flags [solicited, override]") && text.contains("Flags [override]");
    wait::until_calmly("answers in the trace", PATIENCE, || Ok((!read().is_empty()).then_some(()))).unwrap();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let seen = wait::until_calmly("both in the trace", PATIENCE, || Ok(both(&read()).then_some(())));
    tcpdump.kill().unwrap();
    tcpdump.wait().unwrap();
    seen.unwrap();
    drop(oracle);
    let text = read();
    // The last line may be cut short.
    let lines = text.rsplit_once('\n').unwrap().0.lines();
    for line in lines.filter(|line| line.contains("tgt is fd77::100")) {
        assert!(line.contains("[icmp6 sum ok] ICMP6, neighbor advertisement, length 32"), "{line}");
    }
    for complaint in ["[|", "bad", "malformed", "invalid", "truncated"] {
        assert!(!text.contains(complaint), "{complaint} in {text}");
    }
}

#[test]
fn an_orderly_end_takes_ipv6_vips_off_and_leaves_their_groups() {
    let vips = vec![format!("{VIP6}/64")];
    let options = DaemonOptions { expect: 1, vips, ..DaemonOptions::default() };
    let mut cluster = Cluster::prepare(1, |_| options.clone()).unwrap();
    cluster.lab().add_ipv6().unwrap();
    let traces = |cluster: &Cluster| (Traces::of(cluster.lab(), 1).unwrap(), groups(cluster.lab()));
    let before = traces(&cluster);
    cluster.restart(1).unwrap();
    cluster.wait_status(1, "to be master", PATIENCE, |status| status.is_master()).unwrap();
    let (links, groups) = traces(&cluster);
    assert!(links.links["vip-eth0"].addresses.contains(&format!("{VIP6}/128")), "{links:?}");
    assert!(groups.contains(SOLICITED_NODE) && !before.1.contains(SOLICITED_NODE), "{groups}");

    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    assert_eq!(traces(&cluster), before);
}

/// Multicast groups of the node's eth0.
fn groups(lab: &Lab) -> String {
    let output =
        lab.command(1, "ip").unwrap().args(["-6", "maddress", "show", "dev", "eth0"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Input: a node without a daemon that has the VIP on a dummy interface, as a router or not. Expected: it answers
/// solicitations for its own address, and none for the VIP.
#[test]
fn no_kernel_answers_for_an_ipv6_vip_on_a_dummy_interface() {
    let lab = Lab::new(1).unwrap();
    lab.add_ipv6().unwrap();
    let netns = lab.node_netns(1);
    let add = |kind| ip(&netns, &["link", "add", "vip-eth0", "arp", "off", "type", kind]);
    add("dummy").or_else(|_| add("ifb")).unwrap();
    ip(&netns, &["link", "set", "vip-eth0", "up"]).unwrap();
    ip(&netns, &["address", "add", &format!("{VIP6}/128"), "dev", "vip-eth0", "nodad"]).unwrap();
    for forwarding in ["0", "1"] {
        let set = || Ok(fs::write("/proc/sys/net/ipv6/conf/all/forwarding", forwarding)?);
        in_netns(&netns, set).unwrap();
        let (own, vip) = (NdpOracle::start(&lab, lab.address6(1)), NdpOracle::start(&lab, VIP6));
        let (own, vip) = (own.unwrap(), vip.unwrap());
        wait_report(&own, "answers for the node's own address", |report| report.answered() > 100);
        assert_eq!(vip.finish().answered(), 0, "forwarding {forwarding}");
    }
}

/// Three nodes that have IPv6.
pub(super) fn started_with_ipv6(options_of: impl Fn(u8) -> DaemonOptions) -> Cluster {
    let mut cluster = Cluster::prepare(3, options_of).unwrap();
    cluster.lab().add_ipv6().unwrap();
    for node in 1..=3 {
        cluster.restart(node).unwrap();
    }
    cluster
}

/// Three nodes with a VIP of IPv4 and one of IPv6, whole; and who holds them.
pub(super) fn three_with_ipv6(options: &DaemonOptions) -> (Cluster, u8) {
    let vips = vec!["10.77.0.100/24".to_owned(), format!("{VIP6}/64")];
    let cluster = started_with_ipv6(|_| DaemonOptions { vips: vips.clone(), ..options.clone() });
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    (cluster, holder)
}

/// Waits until the client gets an answer of the VIP to an echo request.
pub(super) fn wait_ping(cluster: &Cluster) {
    wait_ping_of(cluster, VIP6);
}

/// Waits until the client gets an answer of this address to an echo request (RFC 4443, section 4).
pub(super) fn wait_ping_of(cluster: &Cluster, address: Ipv6Addr) {
    let open = || Ok(Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?);
    let socket = in_netns(&cluster.lab().client_netns(), open).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait::until("an answer to a ping", PATIENCE, || ping(&socket, address).map(Some)).unwrap();
}

fn ping(mut socket: &Socket, address: Ipv6Addr) -> Result<()> {
    let question = [ECHO_REQUEST, 0, 0, 0, 0x56, 0x49, 0, 1, b'v', b'i', b'p'];
    socket.send_to(&question, &SocketAddrV6::new(address, 0, 0, 0).into())?;
    let mut answer = [0; 64];
    loop {
        let length = socket.read(&mut answer)?;
        if answer[0] == ECHO_REPLY {
            ensure!(answer[4..length] == question[4..], "another answer: {:?}", &answer[..length]);
            return Ok(());
        }
    }
}

/// Waits until the client's neighbour entry for the VIP has the MAC of `node`.
pub(super) fn wait_neighbour(cluster: &Cluster, node: u8) {
    wait_neighbour_of(cluster, VIP6, mac(node));
}

/// Waits until the client's neighbour entry for this address has this MAC.
pub(super) fn wait_neighbour_of(cluster: &Cluster, address: Ipv6Addr, mac: [u8; 6]) {
    let wanted = mac.map(|byte| format!("{byte:02x}")).join(":");
    wait::until_equal("the client's neighbour entry", PATIENCE, &Some(wanted), || {
        let mut command = command_in(&cluster.lab().client_netns(), "ip")?;
        let output = command.args(["-6", "-json", "neighbour", "show", &address.to_string()]).output()?;
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
        Ok(entries.first().and_then(|entry| Some(entry["lladdr"].as_str()?.to_owned())))
    })
    .unwrap();
}

fn wait_report(oracle: &NdpOracle, what: &str, wanted: impl Fn(&NdpReport) -> bool) {
    wait::until_calmly(what, PATIENCE, || Ok(wanted(&oracle.report_so_far()).then_some(()))).unwrap();
}

/// As the lab gives them.
fn mac(node: u8) -> [u8; 6] {
    [0x02, 0x77, 0x0a, 0x4d, 0x00, node]
}
