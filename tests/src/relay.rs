//! The way of the lease messages between the nodes, with the faults of a bad network: loss, delay, reordering and
//! duplication, for each pair of nodes and each direction.
//!
//! What a node sends to the protocol's port is taken out of the switch (`tc`: a u32 filter and a redirection) and comes
//! to a thread here, which sends it on to each node that it is for. netem would do as much, but kernels for virtual
//! machines often lack it; and what the client asks and is answered does not pass here, so that one broadcast request
//! still reaches all nodes at one instant, and the oracle can go by that.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::Read,
    os::fd::AsFd,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{setsockopt, sockopt},
        time::TimeSpec,
    },
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use socket2::Socket;

use crate::{
    clock::Stamp,
    lab::{Lab, MESSAGE_PORT},
    net::{in_netns, ip, run},
    oracle::packet_socket,
    realtime,
    worker::{Order, Worker},
};

/// The cable through which messages leave the switch: its switch's end, and the end that is read.
const OUTLET: [&str; 2] = ["outlet", "relay"];
/// SCHED_FIFO priority: what is late here is to be late by intent.
const PRIORITY: i32 = 45;
/// How often the thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than any message.
const MAX_FRAME: usize = 2048;
const RECEIVE_BUFFER: usize = 4 << 20;
/// In a frame with an IPv4 header without options.
const UDP_CHECKSUM: std::ops::Range<usize> = 40..42;

/// How messages fare from one node to another. The default is a good cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Of a hundred messages, so many are lost.
    pub loss: u8,
    /// Of a hundred messages, so many arrive twice.
    pub doubled: u8,
    /// Every message takes so long.
    pub delay: Duration,
    /// Up to so much longer, each by itself: messages overtake each other.
    pub jitter: Duration,
}

impl Line {
    /// Nothing arrives.
    pub const CUT: Self = Self { loss: 100, doubled: 0, delay: Duration::ZERO, jitter: Duration::ZERO };
}

/// The running relay. Dropping it gives the messages back to the switch.
#[derive(Debug)]
pub struct Relay {
    switch: String,
    nodes: Vec<u8>,
    /// The switch's ports whose messages come here.
    diverted: Vec<String>,
    lines: Arc<Mutex<Lines>>,
    thread: Option<Worker<()>>,
}

/// By sender and receiver; a good cable where there is none.
type Lines = BTreeMap<(u8, u8), Line>;

impl Relay {
    /// Takes the messages of all nodes over; all lines are good. `seed` decides on each message's luck.
    pub fn start(lab: &Lab, seed: u64) -> Result<Self> {
        let switch = lab.switch_netns();
        let [outlet, inlet] = OUTLET;
        ip(&switch, &["link", "add", outlet, "type", "veth", "peer", "name", inlet])?;
        let nodes: Vec<u8> = lab.nodes().collect();
        // From here on, whatever fails, dropping the value removes the cable.
        let (diverted, lines) = (Vec::new(), Arc::default());
        let mut relay = Self { switch, nodes, diverted, lines, thread: None };
        for end in OUTLET {
            ip(&relay.switch, &["link", "set", "dev", end, "up"])?;
        }
        let carrier = Carrier {
            incoming: in_netns(&relay.switch, || receiver(inlet))?,
            ports: relay.nodes.iter().map(|node| Ok((*node, port(lab, *node)?))).collect::<Result<_>>()?,
            lines: Arc::clone(&relay.lines),
            random: SmallRng::seed_from_u64(seed),
            under_way: BinaryHeap::new(),
            count: 0,
        };
        relay.thread = Some(Worker::start("relay", move |order| carrier.run(&order))?);
        for port in lab.nodes().map(|node| lab.port(node)) {
            divert(&relay.switch, &port, outlet)?;
            relay.diverted.push(port);
        }
        Ok(relay)
    }

    /// From now on, messages from one node to another fare like this.
    pub fn set(&self, from: u8, to: u8, line: Line) {
        self.lines().insert((from, to), line);
    }

    /// From now on, all messages fare like this.
    pub fn set_all(&self, line: Line) {
        for from in &self.nodes {
            self.set_from(*from, line);
        }
    }

    /// From now on, what this node sends fares like this.
    pub fn set_from(&self, from: u8, line: Line) {
        self.nodes.iter().for_each(|to| self.set(from, *to, line));
    }

    /// From now on, what is sent to this node fares like this.
    pub fn set_to(&self, to: u8, line: Line) {
        self.nodes.iter().for_each(|from| self.set(*from, to, line));
    }

    /// From now on, all lines are good.
    pub fn heal(&self) {
        self.lines().clear();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // In this order: a filter that leads nowhere would take the messages all the same. What fails here goes with
        // the lab.
        for port in &self.diverted {
            let _ = tc(&self.switch, &format!("qdisc delete dev {port} clsact"));
        }
        let _ = ip(&self.switch, &["link", "delete", "dev", OUTLET[0]]);
        drop(self.thread.take());
    }
}

/// What comes out of the switch.
fn receiver(interface: &str) -> Result<Socket> {
    let socket = packet_socket(interface, Some(libc::ETH_P_IP))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    Ok(socket)
}

/// The way to a node.
fn port(lab: &Lab, node: u8) -> Result<Socket> {
    in_netns(&lab.switch_netns(), || packet_socket(&lab.port(node), None))
}

/// Redirects UDP datagrams to the protocol's port that come in by `port`.
fn divert(netns: &str, port: &str, outlet: &str) -> Result<()> {
    tc(netns, &format!("qdisc add dev {port} clsact"))?;
    let filter = format!(
        "filter add dev {port} ingress protocol ip prio 1 u32 match ip protocol 17 0xff match ip dport {MESSAGE_PORT} \
         0xffff action mirred egress redirect dev {outlet}"
    );
    tc(netns, &filter)
}

fn tc(netns: &str, args: &str) -> Result<()> {
    run(Command::new("tc").args(["-n", netns]).args(args.split_whitespace())).context("tc of iproute2")
}

/// The thread's side.
struct Carrier {
    incoming: Socket,
    ports: BTreeMap<u8, Socket>,
    lines: Arc<Mutex<Lines>>,
    random: SmallRng,
    under_way: BinaryHeap<Reverse<Passage>>,
    count: u64,
}

/// A message on its way. Ordered by its arrival; of those that arrive at once, the earlier one goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Passage {
    arrival: Stamp,
    number: u64,
    to: u8,
    frame: Vec<u8>,
}

impl Carrier {
    fn run(mut self, order: &Order) {
        // Without the privilege, a busy machine adds delays of its own.
        let _ = realtime::fifo(PRIORITY);
        while !order.is_to_end() {
            self.wait();
            self.take();
            self.deliver();
        }
    }

    /// Sleeps until there is something to take or to deliver.
    fn wait(&self) {
        let next = self.under_way.peek().map(|Reverse(passage)| passage.arrival.since(Stamp::now()));
        let timeout = TimeSpec::from(next.unwrap_or(LOOK).min(LOOK));
        let mut ready = [PollFd::new(self.incoming.as_fd(), PollFlags::POLLIN)];
        // Interrupted, everything is looked at.
        let _ = ppoll(&mut ready, Some(timeout), None);
    }

    fn take(&mut self) {
        let mut frame = [0; MAX_FRAME];
        while let Ok(length) = (&self.incoming).read(&mut frame) {
            self.dispatch(&frame[..length]);
        }
    }

    /// Sends a frame on its way to each node that it is for.
    fn dispatch(&mut self, frame: &[u8]) {
        let Some((destination, rest)) = frame.split_first_chunk::<6>() else { return };
        let Some((source, _)) = rest.split_first_chunk::<6>() else { return };
        let Some(from) = Lab::node_of_mac(*source) else { return };
        let one = Lab::node_of_mac(*destination);
        let mut frame = frame.to_vec();
        // The card that would have filled it in is none. Zero: there is none (RFC 768); messages have a tag.
        if let Some(checksum) = frame.get_mut(UDP_CHECKSUM) {
            checksum.fill(0);
        }
        let receivers: Vec<u8> =
            self.ports.keys().copied().filter(|to| *to != from && one.is_none_or(|one| one == *to)).collect();
        for to in receivers {
            let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(&(from, to)).copied();
            self.send(to, &frame, line.unwrap_or_default());
        }
    }

    fn send(&mut self, to: u8, frame: &[u8], line: Line) {
        if self.happens(line.loss) {
            return;
        }
        let copies = if self.happens(line.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.random.random_range(Duration::ZERO..=line.jitter);
            let arrival = Stamp::now() + line.delay + jitter;
            self.count += 1;
            self.under_way.push(Reverse(Passage { arrival, number: self.count, to, frame: frame.to_vec() }));
        }
    }

    fn happens(&mut self, percent: u8) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn deliver(&mut self) {
        let now = Stamp::now();
        while self.under_way.peek().is_some_and(|Reverse(passage)| passage.arrival <= now)
            && let Some(Reverse(Passage { to, frame, .. })) = self.under_way.pop()
        {
            // A port that is down loses what is sent to it.
            let _ = self.ports.get(&to).map(|port| port.send(&frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::wait;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A socket on a node, as a daemon has it.
    fn node(lab: &Lab, node: u8) -> UdpSocket {
        let socket =
            in_netns(&lab.node_netns(node), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, MESSAGE_PORT))?));
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn receive(socket: &UdpSocket) -> Result<u64> {
        let mut number = [0; 8];
        socket.recv(&mut number)?;
        Ok(u64::from_be_bytes(number))
    }

    fn wait_received(socket: &UdpSocket) -> u64 {
        wait::until("a message", PATIENCE, || receive(socket).map(Some)).unwrap()
    }

    #[test]
    fn messages_pass_good_lines_once_and_in_order_and_cut_ones_not_at_all() {
        let lab = Lab::new(3).unwrap();
        let relay = Relay::start(&lab, 1).unwrap();
        relay.set(1, 3, Line::CUT);
        let [one, two, three] = [1, 2, 3].map(|number| node(&lab, number));
        for to in [2, 3] {
            for number in 0..100_u64 {
                one.send_to(&number.to_be_bytes(), (lab.address(to), MESSAGE_PORT)).unwrap();
            }
        }
        for number in 0..100 {
            assert_eq!(wait_received(&two), number);
        }
        // From node 2 the same node 3 is reached, and had node 1's come they would be there by now.
        two.send_to(&7_u64.to_be_bytes(), (lab.address(3), MESSAGE_PORT)).unwrap();
        assert_eq!(wait_received(&three), 7);
        assert!(receive(&two).is_err() && receive(&three).is_err());
    }

    #[test]
    fn bad_lines_lose_double_and_delay() {
        let lab = Lab::new(2).unwrap();
        let relay = Relay::start(&lab, 1).unwrap();
        let [one, two] = [1, 2].map(|number| node(&lab, number));
        let send = |line: Line| {
            relay.set(1, 2, line);
            // Few enough for a receive buffer.
            for number in 0..50_u64 {
                one.send_to(&number.to_be_bytes(), (lab.address(2), MESSAGE_PORT)).unwrap();
            }
        };
        let wait = |count: usize| -> Vec<u64> { (0..count).map(|_| wait_received(&two)).collect() };

        send(Line { doubled: 100, ..Line::default() });
        assert!(wait(100).is_sorted());

        let late =
            Line { delay: Duration::from_millis(20), jitter: Duration::from_millis(20), ..Line::default() };
        let begun = Stamp::now();
        send(late);
        let numbers = wait(50);
        assert!(Stamp::now().since(begun) >= late.delay);
        assert!(!numbers.is_sorted(), "nothing was overtaken");

        // The way back is good, and what comes over it was sent after all others had been dispatched.
        send(Line { loss: 50, ..Line::default() });
        two.send_to(&7_u64.to_be_bytes(), (lab.address(1), MESSAGE_PORT)).unwrap();
        assert_eq!(wait_received(&one), 7);
        let arrived = std::iter::from_fn(|| receive(&two).ok()).count();
        assert!((10..40).contains(&arrived), "{arrived}");
    }
}
