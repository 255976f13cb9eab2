//! What a new holder tells the segment, and what the client makes of it.

use std::io::Read;

use anyhow::Result;
use pnet::packet::{
    arp::{ArpOperation, ArpOperations, ArpPacket},
    ethernet::EthernetPacket,
};
use socket2::Socket;
use vip_tests::{
    cluster::Cluster,
    lab::VIP,
    net::{command_in, in_netns},
    oracle::packet_socket,
    wait,
};

use crate::{PATIENCE, cluster::watch::Watch, three_whole};

#[test]
fn a_new_holder_announces_the_vip_in_both_forms_and_the_client_learns_its_mac() {
    let (mut cluster, holder) = three_whole();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(&cluster, |node| node == holder);
    wait_neighbour(&cluster, holder);

    let wire =
        in_netns(&cluster.lab().client_netns(), || packet_socket("eth0", Some(libc::ETH_P_ARP))).unwrap();
    wire.set_nonblocking(true).unwrap();
    cluster.daemon(holder).unwrap().kill().unwrap();
    let successor = watch.wait_served(&cluster, |node| node != holder).node;
    for operation in [ArpOperations::Request, ArpOperations::Reply] {
        wait::until("an announcement by the new holder", PATIENCE, || {
            Ok((next_announcement(&wire)? == (operation, mac(successor))).then_some(()))
        })
        .unwrap();
    }
    wait_neighbour(&cluster, successor);
    watch.finish();
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
    wait::until_equal(&what, PATIENCE, &Some(mac(node)), || {
        let mut command = command_in(&cluster.lab().client_netns(), "ip")?;
        let output =
            command.args(["-json", "neighbour", "show", &VIP.to_string(), "dev", "eth0"]).output()?;
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
        Ok(entries.first().and_then(|entry| Some(entry["lladdr"].as_str()?.to_owned())))
    })
    .unwrap();
}

/// As the lab gives them.
fn mac(node: u8) -> String {
    format!("02:77:0a:4d:00:{node:02x}")
}
