//! What nodes send from a VIP: the holder's packets leave, nobody else's do.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use vip_tests::{
    cluster::Cluster,
    lab::{CLIENT, CLIENT6, DaemonOptions, Lab, VIP, VIP6},
    net::in_netns,
    wait,
};

use crate::{PATIENCE, cluster::ipv6::three_with_ipv6, others, three_with, with_long_leases};

#[test]
fn only_the_holders_packets_leave_from_a_vip() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let client = Client::new(cluster.lab(), CLIENT.into(), VIP.into());
    assert_eq!(client.heard(&cluster), [holder]);

    let to = others(holder)[0];
    assert!(
        cluster.order(holder, &["handover", "web", "--to", &format!("lb{to}")]).unwrap().status.success()
    );
    wait::until("the new holder alone", PATIENCE, || Ok((client.heard(&cluster) == [to]).then_some(())))
        .unwrap();

    // Input: the data plane without its daemon. Expected: it is silent as soon as its lease is over.
    for node in 1..=3 {
        cluster.daemon(node).unwrap().kill().unwrap();
    }
    wait::until("silence", PATIENCE, || Ok(client.heard(&cluster).is_empty().then_some(()))).unwrap();
}

#[test]
fn every_node_may_send_from_a_vip_where_the_egress_fence_is_switched_off() {
    let more_of_node = "egress_fence = false".to_owned();
    let (cluster, _) = three_with(&DaemonOptions { more_of_node, ..with_long_leases() });
    let client = Client::new(cluster.lab(), CLIENT.into(), VIP.into());
    assert_eq!(client.heard(&cluster), [1, 2, 3]);
}

#[test]
fn only_the_holders_packets_leave_from_an_ipv6_vip() {
    let (cluster, holder) = three_with_ipv6(&with_long_leases());
    assert_eq!(Client::new(cluster.lab(), CLIENT6.into(), VIP6.into()).heard(&cluster), [holder]);
}

/// Hears what comes from a VIP.
struct Client {
    socket: UdpSocket,
    address: SocketAddr,
    vip: IpAddr,
}

const END: u8 = 0;
const PORT: u16 = 7999;

impl Client {
    fn new(lab: &Lab, address: IpAddr, vip: IpAddr) -> Self {
        let address = SocketAddr::new(address, PORT);
        let socket = in_netns(&lab.client_netns(), || Ok(UdpSocket::bind(address)?)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, address, vip }
    }

    /// Whose packets from the VIP reach the client, when each node sends one; and a last one of another address, to know
    /// that they have had their time.
    fn heard(&self, cluster: &Cluster) -> Vec<u8> {
        let mut nodes = Vec::new();
        for node in 1..=3 {
            self.be_sent(cluster.lab(), node, Some(self.vip), node);
            self.be_sent(cluster.lab(), node, None, END);
            loop {
                let mut payload = [0];
                self.socket.recv(&mut payload).unwrap();
                match payload {
                    [END] => break,
                    [sender] => nodes.push(sender),
                }
            }
        }
        nodes
    }

    /// From this address, or from the one that the kernel takes.
    fn be_sent(&self, lab: &Lab, node: u8, from: Option<IpAddr>, payload: u8) {
        let any: IpAddr = if self.vip.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
        let source = SocketAddr::new(from.unwrap_or(any), 0);
        let sent = in_netns(&lab.node_netns(node), || {
            Ok(UdpSocket::bind(source)?.send_to(&[payload], self.address).map_err(|error| error.kind()))
        });
        // A packet that is not let out is one that cannot be sent.
        let sent = sent.unwrap();
        assert!(matches!(sent, Ok(1) | Err(ErrorKind::PermissionDenied)), "{sent:?}");
    }
}
