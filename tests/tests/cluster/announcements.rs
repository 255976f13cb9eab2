//! What a new holder tells the segment, and what the client makes of it.

use std::io::Read;

use anyhow::Result;
use pnet::packet::{
    arp::{ArpOperation, ArpOperations, ArpPacket},
    ethernet::EthernetPacket,
};
use socket2::Socket;
use vip_tests::{
    cluster::{Cluster, Status},
    lab::VIP,
    net::{command_in, in_netns},
    oracle::packet_socket,
    wait,
};

use crate::{PATIENCE, cluster::watch::Watch, three_whole};

/// A machine that is of no cluster.
const STRANGER: &str = "02:00:00:00:00:42";

#[test]
fn a_new_holder_announces_the_vip_in_both_forms_and_the_client_learns_its_mac() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    wait_neighbour(&cluster, holder);

    let wire =
        in_netns(&cluster.lab().client_netns(), || packet_socket("eth0", Some(libc::ETH_P_ARP))).unwrap();
    wire.set_nonblocking(true).unwrap();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served(|node| node != holder).node;
    for operation in [ArpOperations::Request, ArpOperations::Reply] {
        wait::until("an announcement by the new holder", PATIENCE, || {
            Ok((next_announcement(&wire)? == (operation, mac(successor))).then_some(()))
        })
        .unwrap();
    }
    wait_neighbour(&cluster, successor);
    watch.finish();
}

/// Input: another machine says again and again that it has the VIP.
/// Expected: each node names it to the operator; the holder, and nobody else, says as often that it has the VIP (RFC 5227,
/// section 2.4 c), and goes on serving.
#[test]
fn who_claims_the_vip_is_named_by_all_and_answered_by_the_holder() {
    const CLAIMS: u64 = 5;
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let open = || packet_socket("eth0", Some(libc::ETH_P_ARP));
    let wire = in_netns(&cluster.lab().client_netns(), open).unwrap();
    wire.set_nonblocking(true).unwrap();
    for count in 1..=CLAIMS {
        wire.send(&claim()).unwrap();
        for node in 1..=3 {
            let heard = |status: &Status| status.counters["conflicts"] >= count;
            cluster.wait_status(node, "to count the claim", PATIENCE, heard).unwrap();
        }
    }

    let warnings = |cluster: &mut Cluster, node| {
        let log = cluster.daemon(node).unwrap().log();
        log.lines().filter(|line| line.contains("another machine claims the VIP: ")).count()
    };
    let is_named = |cluster: &mut Cluster, node, defended: bool| {
        let log = cluster.daemon(node).unwrap().log();
        let words = ["vip=10.77.0.100", STRANGER, "iface=\"eth0\""];
        let is_meant = |line: &str| words.into_iter().all(|word| line.contains(word));
        log.lines().any(|line| is_meant(line) && line.contains("announced against it") == defended)
    };
    for node in 1..=3 {
        wait::until("the claim in the log", PATIENCE, || {
            Ok(is_named(&mut cluster, node, node == holder).then_some(()))
        })
        .unwrap();
    }
    // A refresh is of two frames, one of each form; a defence is one in request form.
    let mut seen = Vec::new();
    wait::until("a defence for each warning of the holder", PATIENCE, || {
        seen.extend(std::iter::from_fn(|| next_announcement(&wire).ok()).filter(|(_, by)| by != STRANGER));
        let of = |wanted| seen.iter().filter(|(form, _)| *form == wanted).count();
        let defences = of(ArpOperations::Request).checked_sub(of(ArpOperations::Reply));
        Ok((defences == Some(warnings(&mut cluster, holder))).then_some(()))
    })
    .unwrap();
    assert!(seen.iter().all(|(_, by)| *by == mac(holder)), "{seen:?}");
    watch.wait_served(|node| node == holder);
    watch.finish();
}

/// An ARP announcement (RFC 5227, section 2.3) of the VIP by [`STRANGER`].
pub(super) fn claim() -> Vec<u8> {
    let stranger: Vec<u8> = STRANGER.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let (vip, none) = (VIP.octets(), [0; 6]);
    let header = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &stranger, &header, &stranger, &vip, &none, &vip].concat()
}

/// The form and the MAC of the next gratuitous ARP for the VIP; an error if there is none yet.
fn next_announcement(mut wire: &Socket) -> Result<(ArpOperation, String)> {
    loop {
        let mut frame = [0; 128];
        let length = wire.read(&mut frame)?;
        let Some(ethernet) = EthernetPacket::new(&frame[..length]) else { continue };
        let payload = pnet::packet::Packet::payload(&ethernet);
        let Some(arp) = ArpPacket::new(payload) else { continue };
        if (arp.get_sender_proto_addr(), arp.get_target_proto_addr()) == (VIP, VIP) {
            return Ok((arp.get_operation(), arp.get_sender_hw_addr().to_string()));
        }
    }
}

/// Waits until the client's neighbour entry for the VIP has the MAC of `node`.
fn wait_neighbour(cluster: &Cluster, node: u8) {
    let what = format!("the client to know the VIP at {}", mac(node));
    wait::until_equal(&what, PATIENCE, &Some(mac(node)), || neighbour_entry(cluster)).unwrap();
}

/// The MAC address that the client has for the VIP.
pub(super) fn neighbour_entry(cluster: &Cluster) -> Result<Option<String>> {
    let mut command = command_in(&cluster.lab().client_netns(), "ip")?;
    let output = command.args(["-json", "neighbour", "show", &VIP.to_string(), "dev", "eth0"]).output()?;
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    Ok(entries.first().and_then(|entry| Some(entry["lladdr"].as_str()?.to_owned())))
}

/// As the lab gives them.
fn mac(node: u8) -> String {
    format!("02:77:0a:4d:00:{node:02x}")
}
