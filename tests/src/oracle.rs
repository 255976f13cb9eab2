//! The check of "never two holders", on the wire: does any request get an answer from two nodes?
//!
//! Every request is an Ethernet broadcast, so that all nodes see it at once whatever the switch has learned: ARP
//! requests for the VIP, and UDP probes to it. At most one node may answer each, but for one that is under way while the
//! VIP moves (`moves`). The frames are in `frame`.
//!
//! The oracle has a MAC of its own: the client's kernel drops what is sent to it, so that the oracle's ARP answers
//! do not help the client to learn of a new holder sooner than it would by itself.

mod announcements;
mod frame;
mod moves;
mod ndp;

use std::{
    fmt,
    io::Read,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt},
};
use socket2::Socket;

pub use self::announcements::Announcements;
pub(crate) use self::frame::arp_request;
pub use self::frame::packet_socket;
use self::frame::{Arp, Mac};
use self::moves::moved_meanwhile;
pub use self::ndp::{NdpOracle, NdpReport};
use crate::{
    clock::Stamp,
    lab::{CLIENT, Lab, VIP},
    machine::slowness,
    net::in_netns,
    responder::{PORT, parse_answer},
};

/// The network that the ARP requests come from; the nodes have a route to it.
pub const SENDERS: &str = "10.77.1.0/24";
/// One sender after the other asks, so that an answer's target tells its request. They come round after a quarter of
/// a second, and are few enough for the neighbour table of a node that learns them.
const SENDER_COUNT: usize = 250;
const ORACLE_MAC: Mac = Mac([0x02, 0x77, 0, 0, 0, 0xff]);

/// In milliseconds: how often the receiver looks whether it should stop.
const RECEIVE_TIMEOUT: u8 = 20;
const RECEIVE_BUFFER: usize = 4 << 20;
/// After the last request, how long an answer still counts.
const GRACE: Duration = Duration::from_millis(100);
/// How many doubles the report describes; it counts them all.
const MAX_DESCRIBED: usize = 20;

/// A running oracle: 1,000 ARP requests and as many UDP probes a second, from the lab's client.
///
/// [`Oracle::finish`] gives its report; dropping it stops it without.
#[derive(Debug)]
pub struct Oracle {
    log: Arc<Log>,
    sender: Option<JoinHandle<()>>,
    receiver: Option<JoinHandle<()>>,
}

/// What the oracle saw.
#[derive(Clone, Debug)]
pub struct OracleReport {
    /// ARP requests and UDP probes sent.
    pub requests: u64,
    /// ARP requests with an answer.
    pub arp_answered: u64,
    /// UDP probes with an answer.
    pub udp_answered: u64,
    /// Requests that two nodes answered at once: 0, always.
    pub doubles: u64,
    /// Requests that one node answered after the other: the VIP moved while they were under way.
    pub moved: u64,
    /// The UDP probes among the doubles.
    pub udp_doubles: u64,
    /// The first few of those.
    pub described: Vec<Double>,
}

/// A request that two nodes answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Double {
    /// When it was sent.
    pub sent: Stamp,
    /// Who answered first, and how long after the request.
    pub first: (Answerer, Duration),
    /// Who else answered, and how long after the request.
    pub second: (Answerer, Duration),
}

/// By what an answer tells who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// An ARP answer: the MAC in it.
    Mac([u8; 6]),
    /// A UDP answer: the node's number in it.
    Node(u8),
}

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(first, early), (second, late)] = [self.first, self.second];
        write!(f, "answered by {first} after {early:?} and by {second} after {late:?}")
    }
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => Mac(*mac).fmt(f),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}

impl Oracle {
    /// Starts to ask for the lab's VIP, for at most `limit`.
    pub fn start(lab: &Lab, limit: Duration) -> Result<Self> {
        let count = usize::try_from(limit.as_nanos() / period().as_nanos())?;
        let log = Arc::new(Log::new(count));
        let sockets =
            in_netns(&lab.client_netns(), Sockets::open).context("cannot open the oracle's sockets")?;
        let Sockets { outgoing, arp, udp, udp_port } = sockets;

        let sender_log = Arc::clone(&log);
        let sender = thread::Builder::new().name("oracle-send".into());
        let sender = sender.spawn(move || send(&outgoing, udp_port, &sender_log))?;
        let receiver_log = Arc::clone(&log);
        let receiver = thread::Builder::new().name("oracle-receive".into());
        let receiver = receiver.spawn(move || receive(&arp, &udp, &receiver_log))?;
        Ok(Self { log, sender: Some(sender), receiver: Some(receiver) })
    }

    /// What the answers show so far.
    pub fn report_so_far(&self) -> OracleReport {
        self.log.report()
    }

    /// Ends the asking and gives what the answers show.
    pub fn finish(mut self) -> OracleReport {
        self.log.stop_sending.store(true, Ordering::Relaxed);
        join(&mut self.sender);
        // There is no condition to wait for: the answer in question is the one that must not come.
        thread::sleep(GRACE);
        self.stop();
        self.log.report()
    }

    fn stop(&mut self) {
        self.log.stop_sending.store(true, Ordering::Relaxed);
        self.log.stop_receiving.store(true, Ordering::Relaxed);
        join(&mut self.sender);
        join(&mut self.receiver);
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The sockets live in the client's namespace, the threads that use them do not.
struct Sockets {
    outgoing: Socket,
    arp: Socket,
    udp: UdpSocket,
    udp_port: u16,
}

impl Sockets {
    fn open() -> Result<Self> {
        let outgoing = frame::packet_socket("eth0", None)?;
        let arp = frame::packet_socket("eth0", Some(libc::ETH_P_ARP))?;
        let udp = UdpSocket::bind((CLIENT, 0))?;
        arp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        setsockopt(&arp, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        let udp_port = udp.local_addr()?.port();
        Ok(Self { outgoing, arp, udp, udp_port })
    }
}

/// What sender and receiver write down: request n is `arp[n]` and `udp[n]`.
#[derive(Debug)]
struct Log {
    arp: Box<[Slot]>,
    udp: Box<[Slot]>,
    begun: AtomicUsize,
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
}

/// One request; all zero until it happens. Only the receiver writes the answers, `who` last.
#[derive(Debug, Default)]
struct Slot {
    sent: AtomicU64,
    answers: [AnswerCell; 2],
}

#[derive(Debug, Default)]
struct AnswerCell {
    who: AtomicU64,
    at: AtomicU64,
}

impl Log {
    fn new(count: usize) -> Self {
        let slots = || std::iter::repeat_with(Slot::default).take(count).collect();
        Self {
            arp: slots(),
            udp: slots(),
            begun: AtomicUsize::new(0),
            stop_sending: AtomicBool::new(false),
            stop_receiving: AtomicBool::new(false),
        }
    }

    /// The last request that was sent in the name of `sender`.
    fn asked_by(&self, sender: Ipv4Addr) -> Option<&Slot> {
        let last = self.begun.load(Ordering::Acquire).checked_sub(1)?;
        let number = (0..SENDER_COUNT).find(|number| sender_of(*number) == sender)?;
        let rounds_ago = (last + SENDER_COUNT - number) % SENDER_COUNT;
        self.arp.get(last.checked_sub(rounds_ago)?)
    }

    fn report(&self) -> OracleReport {
        let begun = self.begun.load(Ordering::Acquire);
        let (arp, udp) = (&self.arp[..begun], &self.udp[..begun]);
        let answered =
            |slots: &[Slot]| slots.iter().filter(|slot| slot.answers[0].get().is_some()).count() as u64;
        let (arp_doubles, arp_moved) = two_answers(arp, mac_answerer);
        let (udp_doubles, udp_moved) = two_answers(udp, node_answerer);
        OracleReport {
            requests: 2 * begun as u64,
            arp_answered: answered(arp),
            udp_answered: answered(udp),
            doubles: (arp_doubles.len() + udp_doubles.len()) as u64,
            moved: arp_moved + udp_moved,
            udp_doubles: udp_doubles.len() as u64,
            described: arp_doubles.into_iter().chain(udp_doubles).take(MAX_DESCRIBED).collect(),
        }
    }
}

/// The requests that two nodes answered: those that show two holders at once, and the number of the others.
fn two_answers(slots: &[Slot], answerer: fn(u64) -> Answerer) -> (Vec<Double>, u64) {
    let mut moved = 0;
    let doubles = slots.iter().enumerate().filter_map(|(place, slot)| {
        let double = slot.double(answerer)?;
        let is_move = moved_meanwhile(slots, place);
        moved += u64::from(is_move);
        (!is_move).then_some(double)
    });
    (doubles.collect(), moved)
}

impl Slot {
    fn sent(&self) -> Stamp {
        Stamp::from_nanos(self.sent.load(Ordering::Relaxed))
    }

    /// When `who` answered.
    fn answered_by(&self, who: u64) -> Option<Stamp> {
        self.answers.iter().filter_map(AnswerCell::get).find(|(by, _)| *by == who).map(|(_, at)| at)
    }

    /// Notes an answer by `who`, which is not 0, unless the same one has answered before.
    fn note(&self, who: u64) {
        let first_free =
            self.answers.iter().find(|answer| answer.get().is_none_or(|(earlier, _)| earlier == who));
        if let Some(cell) = first_free.filter(|cell| cell.get().is_none()) {
            cell.at.store(Stamp::now().as_nanos(), Ordering::Relaxed);
            cell.who.store(who, Ordering::Release);
        }
    }

    fn double(&self, answerer: fn(u64) -> Answerer) -> Option<Double> {
        let sent = self.sent();
        let answer = |cell: &AnswerCell| cell.get().map(|(who, at)| (answerer(who), at.since(sent)));
        Some(Double { sent, first: answer(&self.answers[0])?, second: answer(&self.answers[1])? })
    }
}

impl AnswerCell {
    fn get(&self) -> Option<(u64, Stamp)> {
        let who = self.who.load(Ordering::Acquire);
        (who != 0).then(|| (who, Stamp::from_nanos(self.at.load(Ordering::Relaxed))))
    }
}

fn send(outgoing: &Socket, udp_port: u16, log: &Log) {
    let period = period();
    let start = Stamp::now() + period;
    for (number, (arp, udp)) in log.arp.iter().zip(&log.udp).enumerate() {
        (start + period * u32::try_from(number).unwrap_or(u32::MAX)).sleep_until();
        if log.stop_sending.load(Ordering::Relaxed) {
            break;
        }
        let now = Stamp::now().as_nanos();
        arp.sent.store(now, Ordering::Relaxed);
        udp.sent.store(now, Ordering::Relaxed);
        log.begun.store(number + 1, Ordering::Release);
        let probe = (number as u64).to_be_bytes();
        // A request that cannot be sent is an unanswered one.
        let _ = outgoing.send(&Arp::request(ORACLE_MAC, sender_of(number), VIP).to_frame());
        let _ = outgoing.send(&frame::udp_broadcast(ORACLE_MAC, (CLIENT, udp_port), (VIP, PORT), probe));
    }
}

fn receive(arp: &Socket, udp: &UdpSocket, log: &Log) {
    while !log.stop_receiving.load(Ordering::Relaxed) {
        let mut ready =
            [PollFd::new(arp.as_fd(), PollFlags::POLLIN), PollFd::new(udp.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(RECEIVE_TIMEOUT)).is_err() {
            continue;
        }
        let [arp_ready, udp_ready] = ready.map(|socket| socket.any().unwrap_or(false));
        if arp_ready {
            note_arp(arp, log);
        }
        if udp_ready {
            note_udp(udp, log);
        }
    }
}

fn note_arp(mut socket: &Socket, log: &Log) {
    let mut packet = [0; 64];
    let Ok(length) = socket.read(&mut packet) else { return };
    let answer = Arp::parse(&packet[..length]).filter(|arp| arp.is_answer_for(VIP));
    if let Some((arp, slot)) = answer.and_then(|arp| Some((arp, log.asked_by(arp.target)?))) {
        slot.note(arp.sender_mac.to_number());
    }
}

fn note_udp(socket: &UdpSocket, log: &Log) {
    let mut packet = [0; 64];
    let Ok((length, from)) = socket.recv_from(&mut packet) else { return };
    let answer = parse_answer(&packet[..length]).filter(|_| from == (VIP, PORT).into());
    let Some((number, node)) = answer else { return };
    if let Some(slot) = usize::try_from(number).ok().and_then(|number| log.udp.get(number)) {
        slot.note(node.into());
    }
}

/// From one request to the next, each an ARP request and a UDP probe.
fn period() -> Duration {
    Duration::from_millis(1) * slowness()
}

/// Requests for the VIP, one from each sender: for a flood of them.
pub fn arp_requests() -> Vec<Vec<u8>> {
    (0..SENDER_COUNT).map(|number| Arp::request(ORACLE_MAC, sender_of(number), VIP).to_frame()).collect()
}

/// In whose name request `number` asks: an address in [`SENDERS`].
fn sender_of(number: usize) -> Ipv4Addr {
    // The remainder is below 250.
    let host = u8::try_from(number % SENDER_COUNT + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 77, 1, host)
}

fn mac_answerer(number: u64) -> Answerer {
    Answerer::Mac(Mac::from_number(number).0)
}

fn node_answerer(number: u64) -> Answerer {
    // Written from a u8.
    Answerer::Node(u8::try_from(number).unwrap_or(u8::MAX))
}

fn join(thread: &mut Option<JoinHandle<()>>) {
    // Its only failure is a panic, which has been reported by then.
    let _ = thread.take().map(JoinHandle::join);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_last_request_of_its_sender() {
        let log = Log::new(3 * SENDER_COUNT);
        assert!(log.asked_by(sender_of(0)).is_none(), "nothing sent yet");
        log.begun.store(SENDER_COUNT + 2, Ordering::Release);
        for (sender, request) in
            [(1, SENDER_COUNT + 1), (0, SENDER_COUNT), (2, 2), (SENDER_COUNT - 1, SENDER_COUNT - 1)]
        {
            assert!(std::ptr::eq(log.asked_by(sender_of(sender)).unwrap(), &log.arp[request]), "{sender}");
        }
        assert!(log.asked_by(VIP).is_none(), "not one of the oracle's senders");
    }

    #[test]
    fn only_a_second_node_makes_a_double() {
        let log = Log::new(1);
        log.begun.store(1, Ordering::Release);
        log.udp[0].sent.store(Stamp::now().as_nanos(), Ordering::Relaxed);
        log.udp[0].note(1);
        log.udp[0].note(1);
        assert_eq!((log.report().doubles, log.report().udp_answered), (0, 1));
        log.udp[0].note(2);
        log.udp[0].note(1);
        // As quickly as in no queue.
        log.udp[0]
            .answers
            .iter()
            .for_each(|cell| cell.at.store(log.udp[0].sent().as_nanos(), Ordering::Relaxed));
        let report = log.report();
        assert_eq!((report.doubles, report.udp_answered), (1, 1));
        assert_eq!([report.described[0].first.0, report.described[0].second.0], [1, 2].map(Answerer::Node));
    }
}
