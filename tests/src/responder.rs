//! What stands behind a VIP in the lab, as HAProxy would: a UDP echo service on a node, which says which node it is.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{lab::Lab, net::in_netns, worker::Worker};

/// The port of the service.
pub const PORT: u16 = 7777;
/// A probe is its sequence number, big-endian; the answer repeats it and appends the node's number.
pub const PROBE_LEN: usize = 8;

/// Room for probes while the service does not get to run.
const RECEIVE_BUFFER: usize = 8 << 20;

/// The echo service of one node. Dropping it stops it.
#[derive(Debug)]
pub struct Responder {
    _thread: Worker<()>,
}

impl Responder {
    /// Serves on `vip` at node `node`; the node need not have the address yet, or keep it.
    pub fn start(lab: &Lab, node: u8, vip: Ipv4Addr) -> Result<Self> {
        let socket = in_netns(&lab.node_netns(node), || bind_free(SocketAddrV4::new(vip, PORT)))?;
        let thread = Worker::start(&format!("responder-{node}"), move |order| {
            while !order.is_to_end() {
                answer_one(&socket, node);
            }
        });
        Ok(Self { _thread: thread? })
    }
}

/// Reads what an answer says: the probe's number and the node that answered.
pub fn parse_answer(payload: &[u8]) -> Option<(u64, u8)> {
    let (sequence, node) = payload.split_first_chunk::<PROBE_LEN>()?;
    let [node] = node else { return None };
    Some((u64::from_be_bytes(*sequence), *node))
}

/// Waits for a probe and answers it; gives up after a short time, so that the caller can look whether to stop.
fn answer_one(socket: &UdpSocket, node: u8) {
    let mut packet = [0; PROBE_LEN + 1];
    if let Ok((PROBE_LEN, client)) = socket.recv_from(&mut packet) {
        packet[PROBE_LEN] = node;
        // An answer that cannot be sent is a lost probe, which is what the prober counts.
        let _ = socket.send_to(&packet, client);
    }
}

fn bind_free(address: SocketAddrV4) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_freebind_v4(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket.into())
}
