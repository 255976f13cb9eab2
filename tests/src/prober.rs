//! The client's view: UDP probes to the VIP at a fixed rate, whatever becomes of the answers.
//!
//! The sender is open loop: it keeps absolute deadlines and never waits for an answer, so an outage costs exactly
//! the probes that were due in it. What the probes show is counted in `report`.

mod report;

use std::{
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

pub use self::report::{Outage, Report};
use crate::{
    clock::Stamp,
    lab::{CLIENT, Lab, VIP},
    net::in_netns,
    realtime,
    responder::{PORT, parse_answer},
    wait,
};

/// How long after the last probe an answer still counts.
const GRACE: Duration = Duration::from_millis(200);
/// How often the receiver looks whether it should stop.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(20);
/// Room for answers while the receiver does not get to run: seconds of them.
const RECEIVE_BUFFER: usize = 8 << 20;

/// SCHED_FIFO priority of a punctual prober: below the daemons', whose business it must not disturb.
const PRIORITY: i32 = 10;

/// What to probe, how often and for how long at most.
#[derive(Clone, Copy, Debug)]
pub struct ProberOptions {
    /// The service that answers.
    pub target: SocketAddrV4,
    /// Probes per second.
    pub rate: u32,
    /// The sender ends after this long by itself.
    pub limit: Duration,
    /// Whether sender and receiver come before everything that is not at real-time priority: for measurements, as a
    /// sender that is kept waiting does not see the outage that it waits through.
    pub punctual: bool,
}

impl Default for ProberOptions {
    /// 5 kHz on the lab's VIP, for at most a minute.
    fn default() -> Self {
        Self {
            target: SocketAddrV4::new(VIP, PORT),
            rate: 5000,
            limit: Duration::from_secs(60),
            punctual: false,
        }
    }
}

/// A running prober. [`Prober::finish`] gives its report; dropping it stops it without.
#[derive(Debug)]
pub struct Prober {
    log: Arc<Log>,
    sender: Option<JoinHandle<()>>,
    receiver: Option<JoinHandle<()>>,
}

/// The first answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the probe was sent.
    pub sent: Stamp,
    /// Who answered it.
    pub node: u8,
}

impl Prober {
    /// Starts to probe from the lab's client.
    pub fn start(lab: &Lab, options: &ProberOptions) -> Result<Self> {
        ensure!(options.rate > 0, "a prober needs a rate");
        let period = Duration::from_secs(1) / options.rate;
        let count = usize::try_from(options.limit.as_nanos() / period.as_nanos().max(1))?;
        let log = Arc::new(Log::new(period, count));
        let socket = in_netns(&lab.client_netns(), client_socket)?;

        let (sending, sender_log, target) = (socket.try_clone()?, Arc::clone(&log), options.target);
        let schedule: fn() = if options.punctual { hurry } else { || () };
        let sender = thread::Builder::new().name("prober-send".into());
        let sender = sender.spawn(move || {
            schedule();
            send(&sending, target, &sender_log);
        })?;
        let receiver_log = Arc::clone(&log);
        let receiver = thread::Builder::new().name("prober-receive".into());
        let receiver = receiver.spawn(move || {
            schedule();
            receive(&socket, target, &receiver_log);
        })?;
        Ok(Self { log, sender: Some(sender), receiver: Some(receiver) })
    }

    /// The first answer to a probe that was sent at `after` or later, and by a node that `by` accepts.
    pub fn answer_after(&self, after: Stamp, by: impl Fn(u8) -> bool) -> Option<Answer> {
        let slots = &self.log.slots[self.log.index_of(after)..self.log.sent()];
        let answers = slots.iter().filter_map(|slot| Some(Answer { sent: slot.sent()?, node: slot.node()? }));
        answers.into_iter().find(|answer| answer.sent >= after && by(answer.node))
    }

    /// What the probes show so far. Probes after the last answered one are not counted as lost yet.
    pub fn report_so_far(&self) -> Report {
        Report::new(&self.log, false)
    }

    /// Ends the probing, waits for late answers, and gives what the probes show.
    pub fn finish(mut self) -> Report {
        self.log.stop_sending.store(true, Ordering::Relaxed);
        join(&mut self.sender);
        // In vain only if something was lost, which is what the report is for.
        let all_answered = || Ok(self.log.unanswered_tail().is_none().then_some(()));
        let _ = wait::until_even_if_interrupted("late answers", GRACE, all_answered);
        self.stop();
        Report::new(&self.log, true)
    }

    fn stop(&mut self) {
        self.log.stop_sending.store(true, Ordering::Relaxed);
        self.log.stop_receiving.store(true, Ordering::Relaxed);
        join(&mut self.sender);
        join(&mut self.receiver);
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What sender and receiver write down: one slot per probe, made before the first is sent.
#[derive(Debug)]
struct Log {
    start: Stamp,
    period: Duration,
    slots: Box<[Slot]>,
    /// How many slots the sender has begun.
    begun: AtomicUsize,
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
}

/// One probe. Zero stands for "not yet": no stamp and no node has that value.
#[derive(Debug, Default)]
struct Slot {
    sent: AtomicU64,
    answered: AtomicU64,
    /// Who answered first.
    node: AtomicU8,
    /// Whether another node answered as well.
    double: AtomicBool,
}

impl Log {
    fn new(period: Duration, count: usize) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(count).collect();
        // A moment ahead, so that the first deadline is not missed while the threads start.
        let start = Stamp::now() + Duration::from_millis(5);
        Self {
            start,
            period,
            slots,
            begun: AtomicUsize::new(0),
            stop_sending: AtomicBool::new(false),
            stop_receiving: AtomicBool::new(false),
        }
    }

    fn sent(&self) -> usize {
        self.begun.load(Ordering::Acquire)
    }

    /// When probe `index` is due.
    fn due(&self, index: usize) -> Stamp {
        let periods = u32::try_from(index).unwrap_or(u32::MAX);
        self.start + self.period * periods
    }

    /// The first probe that is due at `time` or later, or the last one begun: no probe is sent before it is due.
    fn index_of(&self, time: Stamp) -> usize {
        let periods = time.since(self.start).as_nanos().div_ceil(self.period.as_nanos());
        usize::try_from(periods).unwrap_or(usize::MAX).min(self.sent())
    }

    /// The last probe, if it has no answer yet.
    fn unanswered_tail(&self) -> Option<&Slot> {
        self.slots[..self.sent()].last().filter(|slot| slot.node().is_none())
    }
}

impl Slot {
    fn sent(&self) -> Option<Stamp> {
        some_stamp(&self.sent)
    }

    fn answered(&self) -> Option<Stamp> {
        some_stamp(&self.answered)
    }

    fn node(&self) -> Option<u8> {
        Some(self.node.load(Ordering::Acquire)).filter(|node| *node != 0)
    }

    /// Only the receiver's thread calls this.
    fn note(&self, node: u8, now: Stamp) {
        match self.node() {
            None => {
                self.answered.store(now.as_nanos(), Ordering::Relaxed);
                self.node.store(node, Ordering::Release);
            }
            Some(first) if first != node => self.double.store(true, Ordering::Relaxed),
            Some(_) => {}
        }
    }
}

fn some_stamp(cell: &AtomicU64) -> Option<Stamp> {
    Some(cell.load(Ordering::Relaxed)).filter(|nanos| *nanos != 0).map(Stamp::from_nanos)
}

/// Not connected: a connected socket would report an ICMP error by refusing the next probe.
fn client_socket() -> Result<UdpSocket> {
    let socket =
        UdpSocket::bind(SocketAddr::new(CLIENT.into(), 0)).context("cannot bind the client's socket")?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    Ok(socket)
}

/// Where that is not allowed, the report says how late the prober was.
fn hurry() {
    let _ = realtime::fifo(PRIORITY);
}

fn send(socket: &UdpSocket, target: SocketAddrV4, log: &Log) {
    for (index, slot) in log.slots.iter().enumerate() {
        log.due(index).sleep_until();
        if log.stop_sending.load(Ordering::Relaxed) {
            break;
        }
        slot.sent.store(Stamp::now().as_nanos(), Ordering::Relaxed);
        log.begun.store(index + 1, Ordering::Release);
        // A probe that cannot even be sent is a lost one.
        let _ = socket.send_to(&(index as u64).to_be_bytes(), target);
    }
}

fn receive(socket: &UdpSocket, target: SocketAddrV4, log: &Log) {
    let mut packet = [0; 64];
    while !log.stop_receiving.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
        let now = Stamp::now();
        let Some((sequence, node)) = parse_answer(&packet[..length]) else { continue };
        let slot = usize::try_from(sequence).ok().and_then(|index| log.slots.get(index));
        if let Some(slot) = slot.filter(|_| from == target.into()) {
            slot.note(node, now);
        }
    }
}

fn join(thread: &mut Option<JoinHandle<()>>) {
    // Its only failure is a panic, which has been reported by then.
    let _ = thread.take().map(JoinHandle::join);
}
