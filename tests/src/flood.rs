//! Packets that nobody should send: real messages caught and changed, cut, or sent again, and plain noise, as fast as one
//! thread can.

use std::{io::Read, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use socket2::Socket;

use crate::{
    clock::Stamp,
    lab::{Lab, MESSAGE_PORT, VIP},
    net::in_netns,
    oracle::{arp_request, packet_socket},
    wait,
    worker::Worker,
};

/// Longer than it takes the nodes to send some messages, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the queue of a receiver holds: it overflows, and the sender does not wait for it.
const SEND_BUFFER: usize = 4 << 20;
/// Longer than any message.
const MAX_FRAME: usize = 2048;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Where a message lies in a frame.
const MESSAGE: usize = ETHERNET + IPV4 + UDP;
/// The MAC of the machine that sends all this.
const STRANGER: [u8; 6] = [0x02, 0x77, 0xff, 0, 0, 1];
/// Of a message without its body.
const MESSAGE_LEN: usize = 80;

/// Real messages, as Ethernet frames; some of them twice, where they came from and where they went.
#[derive(Clone, Debug)]
pub struct Caught(Vec<Vec<u8>>);

impl Caught {
    /// Listens on all of the nodes' cables until so many have passed.
    pub fn on(lab: &Lab, count: usize) -> Result<Self> {
        let sockets: Vec<Socket> = lab.nodes().map(|node| listen(lab, node)).collect::<Result<_>>()?;
        let mut frames = Vec::new();
        wait::until("messages to catch", PATIENCE, || {
            frames.extend(sockets.iter().flat_map(|socket| std::iter::from_fn(|| next_message(socket))));
            Ok((frames.len() >= count).then_some(()))
        })?;
        Ok(Self(frames))
    }

    /// As they are.
    pub fn replayed(&self) -> Vec<Vec<u8>> {
        self.0.clone()
    }

    /// With a bit changed here or there in the message, its tag included.
    pub fn forged(&self, random: &mut SmallRng) -> Vec<Vec<u8>> {
        let forge = |frame: &Vec<u8>| {
            let mut frame = frame.clone();
            for _ in 0..random.random_range(1..=8) {
                let bit = 8 * MESSAGE + random.random_range(0..8 * MESSAGE_LEN);
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            frame
        };
        self.0.iter().map(forge).collect()
    }

    /// Cut short: some in the headers, and half of the others with lengths that claim to be right.
    pub fn truncated(&self, random: &mut SmallRng) -> Vec<Vec<u8>> {
        let cut = |frame: &Vec<u8>| {
            let mut frame = frame[..random.random_range(1..frame.len())].to_vec();
            if frame.len() >= MESSAGE && random.random() {
                set_lengths(&mut frame);
            }
            frame
        };
        self.0.iter().map(cut).collect()
    }
}

/// Noise: half of it in datagrams to the protocol's port, with all headers right, the rest from the EtherType on.
pub fn noise(count: usize, random: &mut SmallRng) -> Vec<Vec<u8>> {
    (0..count).map(|_| if random.random() { random_datagram(random) } else { random_frame(random) }).collect()
}

/// ARP requests for the lab's VIP, by machines that there are not.
pub fn arp_requests() -> Vec<Vec<u8>> {
    let senders = (201..=250).map(|host| Ipv4Addr::new(10, 77, 0, host));
    senders.map(|sender| arp_request(STRANGER, sender, VIP)).collect()
}

/// Frames on their way to all nodes, again and again. Dropping it ends that.
#[derive(Debug)]
pub struct Flood(Worker<u64>);

impl Flood {
    /// Sends the frames from the client's machine, for at most `limit`.
    pub fn start(lab: &Lab, frames: Vec<Vec<u8>>, limit: Duration) -> Result<Self> {
        Self::start_at(&lab.client_netns(), "eth0", frames, limit)
    }

    /// Sends them to node `node` alone, from the switch's end of its cable.
    pub fn start_from_switch(lab: &Lab, node: u8, frames: Vec<Vec<u8>>, limit: Duration) -> Result<Self> {
        Self::start_at(&lab.switch_netns(), &lab.port(node), frames, limit)
    }

    fn start_at(netns: &str, interface: &str, frames: Vec<Vec<u8>>, limit: Duration) -> Result<Self> {
        let socket = in_netns(netns, || packet_socket(interface, None))?;
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)?;
        let end = Stamp::now() + limit;
        let send = Worker::start("flood", move |order| {
            let mut sent = 0;
            for frame in frames.iter().cycle() {
                if order.is_to_end() || Stamp::now() >= end {
                    break;
                }
                // What does not fit the queue, or is too short to be a frame, is one less.
                sent += u64::from(socket.send(frame).is_ok());
            }
            sent
        });
        Ok(Self(send?))
    }

    /// Ends it; gives how many frames were sent.
    pub fn finish(self) -> Result<u64> {
        self.0.finish()
    }
}

/// At the switch's end of a node's cable, for all that passes there: the switch takes frames before those who listen for
/// a protocol of their own.
fn listen(lab: &Lab, node: u8) -> Result<Socket> {
    let socket = in_netns(&lab.switch_netns(), || packet_socket(&lab.port(node), Some(libc::ETH_P_ALL)))?;
    socket.set_nonblocking(true).context("O_NONBLOCK")?;
    Ok(socket)
}

/// The next message that has come in; `None` if there is none yet.
fn next_message(mut socket: &Socket) -> Option<Vec<u8>> {
    loop {
        let mut frame = [0; MAX_FRAME];
        let length = socket.read(&mut frame).ok()?;
        let is_ours = frame[ETHERNET + IPV4 + 2..ETHERNET + IPV4 + 4] == MESSAGE_PORT.to_be_bytes();
        if is_ours && length >= MESSAGE + MESSAGE_LEN {
            let mut frame = frame[..length].to_vec();
            // The card that would have filled the checksum in is none; zero: there is none (RFC 768).
            frame[MESSAGE - 2..MESSAGE].fill(0);
            // Where it is sent from now: the switch is not to be told where the nodes are.
            frame[6..12].copy_from_slice(&STRANGER);
            return Some(frame);
        }
    }
}

/// Makes the lengths of IPv4 and UDP say what is there. The IPv4 checksum then is wrong, which only the stack minds.
fn set_lengths(frame: &mut [u8]) {
    let length = |from: usize| u16::try_from(frame.len() - from).unwrap_or(u16::MAX).to_be_bytes();
    let (ipv4, udp) = (length(ETHERNET), length(ETHERNET + IPV4));
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&ipv4);
    frame[ETHERNET + IPV4 + 4..ETHERNET + IPV4 + 6].copy_from_slice(&udp);
}

fn random_datagram(random: &mut SmallRng) -> Vec<u8> {
    let length = *[0, 1, MESSAGE_LEN - 1, MESSAGE_LEN, MESSAGE_LEN + 40, 1200].choose(random).unwrap_or(&0);
    let mut frame = vec![0; MESSAGE + length];
    random.fill(&mut frame[MESSAGE..]);
    ethernet(&mut frame, [0x08, 0x00]);
    let ipv4 = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, random.random(), 239, 255, 86, 80];
    frame[ETHERNET..ETHERNET + IPV4].copy_from_slice(&ipv4);
    let port = MESSAGE_PORT.to_be_bytes();
    frame[ETHERNET + IPV4..ETHERNET + IPV4 + 4].copy_from_slice(&[port, port].concat());
    set_lengths(&mut frame);
    frame
}

fn random_frame(random: &mut SmallRng) -> Vec<u8> {
    let mut frame = vec![0; random.random_range(ETHERNET..400)];
    random.fill(&mut frame[ETHERNET..]);
    // IPv4, VLAN tags, IPv6, and what nobody knows. No ARP: whoever forges that needs no lease to be believed.
    let ethertypes = [[0x08, 0x00], [0x81, 0x00], [0x88, 0xa8], [0x86, 0xdd], [0x88, 0xb5]];
    ethernet(&mut frame, *ethertypes.choose(random).unwrap_or(&ethertypes[0]));
    frame
}

/// From the stranger, to all.
fn ethernet(frame: &mut [u8], ethertype: [u8; 2]) {
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&STRANGER);
    frame[12..14].copy_from_slice(&ethertype);
}
