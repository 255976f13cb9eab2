//! Gratuitous ARP, and unsolicited neighbour advertisements, for the VIPs that this node holds, from a thread of its
//! own.
//!
//! Takeover is done when the lease word is armed; announcements only hurry the neighbours along. So this thread can
//! be late or fail without harm to safety, and it never announces what is not held. When to announce is decided in
//! [`schedule`], the frames are made in `frames`; this file has the thread and its socket. Answers to requests
//! come from the XDP program, not from here.

mod frames;
pub mod schedule;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pnet::datalink::DataLinkSender;
use tracing::{debug, warn};

use crate::netlink::Interface;
use crate::{packet_socket, realtime};
use frames::Frames;
use schedule::{Burst, Schedule};

/// SCHED_FIFO priority of the thread: announcements follow a takeover within the same millisecond, CPU hogs or not.
const PRIORITY: i32 = 40;

/// VIPs to be defended that may wait.
const DEFENCES: usize = 64;

/// Shortest time between two log lines about failures to send.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The VIPs of one group, and the slot of its lease word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVips {
    /// Slot of the group in the data plane's maps.
    pub slot: u32,
    /// Its VIPs.
    pub vips: Vec<IpAddr>,
    /// Where neighbours have them; `None` = at the interface's own MAC address.
    pub virtual_mac: Option<[u8; 6]>,
    /// Whether those of IPv6 are a router's.
    pub router: bool,
}

/// The announcing thread's handle. Dropping it stops the thread and waits for its end, some milliseconds at most.
#[derive(Debug)]
pub struct Announcer {
    shared: Arc<Shared>,
    /// Wakes the thread; closed to stop it.
    doorbell: Option<SyncSender<()>>,
    defences: SyncSender<Defence>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    /// Starts the thread, in the calling thread's network namespace. `held` says whether the lease of a slot is held
    /// at this moment; it is called before each burst of frames and must be quick.
    ///
    /// MAC address and index of `iface` are taken as they are now: start another announcer when they change.
    ///
    /// # Errors
    /// The socket or the thread cannot be made; `PermissionDenied` without CAP_NET_RAW.
    pub fn spawn(
        iface: &Interface,
        groups: Vec<GroupVips>,
        held: impl Fn(u32) -> bool + Send + 'static,
    ) -> io::Result<Announcer> {
        let sender = packet_socket::open(iface)?;
        let build = |group: &GroupVips| {
            Frames::build(group.virtual_mac.unwrap_or(iface.mac), &group.vips, group.router)
        };
        let frames: Vec<Frames> = groups.iter().map(build).collect();
        let shared = Arc::new(Shared {
            orders: groups.iter().map(|group| Order { slot: group.slot, state: AtomicU64::new(0) }).collect(),
            failures: AtomicU64::new(0),
        });
        // One place is enough: a ring that finds it taken is heard with the one before.
        let (doorbell, bell) = sync_channel(1);
        let (defences, to_defend) = sync_channel(DEFENCES);
        let driver = Driver {
            schedule: Schedule::new(frames.iter().map(Frames::count)),
            seen: vec![0; frames.len()],
            frames,
            shared: Arc::clone(&shared),
            bell,
            to_defend,
            sender,
            held,
            failures: FailureLog { iface: iface.name.clone(), next: None, unlogged: 0 },
        };
        let thread = thread::Builder::new().name("announce".into()).spawn(move || driver.run())?;
        Ok(Announcer { shared, doorbell: Some(doorbell), defences, thread: Some(thread) })
    }

    /// Announces the VIPs of the slot now, several times over the next second, and every 30 s from then on. To be
    /// called after the lease is armed. Never blocks, allocates nothing; an unknown slot is ignored.
    pub fn promoted(&self, slot: u32) {
        self.order(slot, true);
    }

    /// Ends the announcements of the slot. Frames already handed to the kernel may still go out. Never blocks.
    pub fn demoted(&self, slot: u32) {
        self.order(slot, false);
    }

    /// Announces one VIP of the slot, once, against somebody who claims it; unless the lease is not held. Never blocks; an
    /// unknown VIP is ignored, and one too many is.
    pub fn defend(&self, slot: u32, vip: IpAddr) {
        let _ = self.defences.try_send(Defence { slot, vip });
        self.ring();
    }

    /// Bursts that could not be sent in full since the start.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    fn order(&self, slot: u32, promoted: bool) {
        let Some(order) = self.shared.orders.iter().find(|order| order.slot == slot) else { return };
        order.give(promoted);
        self.ring();
    }

    fn ring(&self) {
        if let Some(doorbell) = &self.doorbell {
            // Full: the thread has not yet answered the last ring, and will see this order too.
            let _ = doorbell.try_send(());
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.doorbell = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the announcing thread had died");
        }
    }
}

/// A VIP to be announced once.
#[derive(Clone, Copy, Debug)]
struct Defence {
    slot: u32,
    vip: IpAddr,
}

/// What both sides see. Orders are kept here and not in the channel, so that none is lost when it is full.
#[derive(Debug)]
struct Shared {
    orders: Box<[Order]>,
    failures: AtomicU64,
}

/// The latest order for a group: a count of orders, times two, plus one for "promoted".
#[derive(Debug)]
struct Order {
    slot: u32,
    state: AtomicU64,
}

impl Order {
    fn give(&self, promoted: bool) {
        let next = |state: u64| Some(((state >> 1).wrapping_add(1) << 1) | u64::from(promoted));
        // Release: who sees the order sees the armed lease word, too. The closure never refuses.
        let _ = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, next);
    }
}

/// The thread's side: drives the schedule by the clock, the doorbell and the socket.
struct Driver<H> {
    schedule: Schedule,
    /// The state of each order when it was last looked at.
    seen: Vec<u64>,
    /// The frames of each group, in the order of `shared.orders`.
    frames: Vec<Frames>,
    shared: Arc<Shared>,
    bell: Receiver<()>,
    to_defend: Receiver<Defence>,
    sender: Box<dyn DataLinkSender>,
    held: H,
    failures: FailureLog,
}

impl<H: Fn(u32) -> bool> Driver<H> {
    fn run(mut self) {
        for (wish, outcome) in
            [("real-time priority", realtime::realtime(PRIORITY)), ("exact timers", realtime::exact_timers())]
        {
            if let Err(error) = outcome {
                warn!("announcing thread without {wish}: {error}; announcements may be late under load");
            }
        }
        while self.wait() {
            self.take_orders();
            while let Ok(defence) = self.to_defend.try_recv() {
                self.defend(defence);
            }
            while let Some(burst) = self.schedule.poll(Instant::now()) {
                self.send(burst);
            }
        }
        debug!("announcing thread ends");
    }

    /// Sleeps until something is due or the doorbell rings; false when the announcer is gone.
    fn wait(&self) -> bool {
        match self.schedule.deadline() {
            None => self.bell.recv().is_ok(),
            Some(deadline) => {
                let rest = deadline.saturating_duration_since(Instant::now());
                self.bell.recv_timeout(rest) != Err(RecvTimeoutError::Disconnected)
            }
        }
    }

    fn take_orders(&mut self) {
        let now = Instant::now();
        for (group, (order, seen)) in self.shared.orders.iter().zip(&mut self.seen).enumerate() {
            let state = order.state.load(Ordering::Acquire);
            if state == std::mem::replace(seen, state) {
                continue;
            }
            if state & 1 == 1 {
                self.schedule.promoted(group, now);
            } else {
                self.schedule.demoted(group);
            }
        }
    }

    /// Sends a burst if the lease is held. If it is not, the round ends, but not the schedule: a lease may lapse for
    /// a moment and be renewed, and only a demotion is final. After a failure the rest of the burst waits for the
    /// next round: what failed for one frame will most likely fail for the next one.
    fn send(&mut self, burst: Burst) {
        let (Some(order), Some(frames)) = (self.shared.orders.get(burst.group), self.frames.get(burst.group))
        else {
            return;
        };
        if !(self.held)(order.slot) {
            self.schedule.skip_round(burst.group);
            return;
        }
        for frame in frames.of(burst.frames) {
            if let Some(Err(error)) = self.sender.send_to(frame, None) {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                self.failures.log(&error);
                return;
            }
        }
    }

    fn defend(&mut self, Defence { slot, vip }: Defence) {
        let group = self.shared.orders.iter().position(|order| order.slot == slot);
        let Some(frame) = group.and_then(|group| self.frames[group].of_vip(vip)) else { return };
        if (self.held)(slot)
            && let Some(Err(error)) = self.sender.send_to(frame, None)
        {
            self.failures.log(&error);
        }
    }
}

/// Keeps a cable that is out from filling the log.
struct FailureLog {
    iface: String,
    next: Option<Instant>,
    unlogged: u64,
}

impl FailureLog {
    fn log(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            self.unlogged += 1;
            return;
        }
        warn!(
            unlogged = self.unlogged,
            "announcing on {}: {error}; tried again at the next repetition", self.iface
        );
        self.next = Some(now + LOG_INTERVAL);
        self.unlogged = 0;
    }
}
