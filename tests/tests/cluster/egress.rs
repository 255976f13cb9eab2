//! What nodes send from a VIP: the holder's packets leave, nobody else's do.

use std::{io::ErrorKind, net::UdpSocket, time::Duration};

use vip_tests::{
    cluster::Cluster,
    lab::{CLIENT, DaemonOptions, Lab, VIP},
    net::in_netns,
    wait,
};

use crate::{PATIENCE, others, three_with, with_long_leases};

#[test]
fn only_the_holders_packets_leave_from_a_vip() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let client = listener(cluster.lab());
    assert_eq!(heard(&cluster, &client), [holder]);

    let to = others(holder)[0];
    assert!(
        cluster.order(holder, &["handover", "web", "--to", &format!("lb{to}")]).unwrap().status.success()
    );
    wait::until("the new holder alone", PATIENCE, || Ok((heard(&cluster, &client) == [to]).then_some(())))
        .unwrap();

    // Input: the data plane without its daemon. Expected: it is silent as soon as its lease is over.
    for node in 1..=3 {
        cluster.daemon(node).unwrap().kill().unwrap();
    }
    wait::until("silence", PATIENCE, || Ok(heard(&cluster, &client).is_empty().then_some(()))).unwrap();
}

#[test]
fn every_node_may_send_from_a_vip_where_the_egress_fence_is_switched_off() {
    let more_of_node = "egress_fence = false".to_owned();
    let (cluster, _) = three_with(&DaemonOptions { more_of_node, ..with_long_leases() });
    assert_eq!(heard(&cluster, &listener(cluster.lab())), [1, 2, 3]);
}

/// Whose packets from the VIP reach the client, when each node sends one; and a last one of another address, to know that
/// they have had their time.
fn heard(cluster: &Cluster, client: &UdpSocket) -> Vec<u8> {
    let mut nodes = Vec::new();
    for node in 1..=3 {
        send(cluster.lab(), node, &format!("{VIP}:0"), node);
        send(cluster.lab(), node, "0.0.0.0:0", END);
        loop {
            let mut payload = [0];
            client.recv(&mut payload).unwrap();
            match payload {
                [END] => break,
                [sender] => nodes.push(sender),
            }
        }
    }
    nodes
}

const END: u8 = 0;
const PORT: u16 = 7999;

fn send(lab: &Lab, node: u8, source: &str, payload: u8) {
    let sent = in_netns(&lab.node_netns(node), || {
        Ok(UdpSocket::bind(source)?.send_to(&[payload], (CLIENT, PORT)).map_err(|error| error.kind()))
    });
    // A packet that is not let out is one that cannot be sent.
    let sent = sent.unwrap();
    assert!(matches!(sent, Ok(1) | Err(ErrorKind::PermissionDenied)), "{sent:?}");
}

fn listener(lab: &Lab) -> UdpSocket {
    let socket = in_netns(&lab.client_netns(), || Ok(UdpSocket::bind((CLIENT, PORT))?)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}
