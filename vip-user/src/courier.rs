//! Brings the next holder of a group what came for its VIPs while the lease changed hands, from a thread of its own.
//!
//! Between a holder's disarming and the next one's arming nobody may serve. The XDP program keeps what comes meanwhile
//! ([`Stale::Keep`]). This thread waits for the next holder's first renewal, which says that it serves; has the program
//! send on from then on; and sends on what was kept. If there is no renewal in time, what was kept is dropped. Nothing
//! depends on this for safety: whether a frame is served is for the next holder's own fence to decide.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pnet::datalink::DataLinkSender;
use tracing::{debug, warn};
use vip_common::maps::{SLOTS, Stale};

use crate::dataplane::{Kept, Words};
use crate::netlink::Interface;
use crate::{clock, packet_socket, realtime};

/// SCHED_FIFO priority: between the lease thread's and the announcer's, as clients wait for what was kept.
const PRIORITY: i32 = 45;
/// How often to look whether the next holder serves.
const LOOK_EVERY: Duration = Duration::from_micros(50);
/// How long frames are kept and brought on after the next holder's first renewal, in ns, while answers to what came before may still
/// leave: more than a frame takes from one node to another, and than a service takes to answer, also where it waits for a processor;
/// less than the 200 ms after which TCP sends again what nobody has acknowledged.
pub(crate) const LINGER: u64 = 100_000_000;
/// Most frames that may wait for their group's next holder.
const MOST_WAITING: usize = 4096;

/// The thread's handle. Dropping it stops the thread, once it has brought what it has been told to.
#[derive(Debug)]
pub(crate) struct Courier {
    /// Closed to stop it.
    errands: Option<SyncSender<Errand>>,
    words: Words,
    thread: Option<JoinHandle<()>>,
}

/// A group whose frames need not be kept any more.
#[derive(Clone, Copy, Debug)]
struct Errand {
    slot: u32,
    /// Until when its lease was given away, by this node's acceptor: a later time is the next holder's renewal. `None`: the
    /// lease was not given away after all.
    given_until: Option<u64>,
}

impl Courier {
    /// Starts the thread, in the calling thread's network namespace. `source` is what frames are sent on from.
    ///
    /// # Errors
    /// The socket or the thread cannot be made; `PermissionDenied` without CAP_NET_RAW.
    pub(crate) fn spawn(iface: &Interface, source: [u8; 6], kept: Kept, words: Words) -> io::Result<Self> {
        // An errand for each group: more are not under way at once.
        let (errands, inbox) = sync_channel(SLOTS);
        let sender = packet_socket::open(iface)?;
        let (there, deliveries, waiting) = (words.clone(), Vec::new(), Vec::new());
        let driver = Driver { kept, words: there, source, sender, deliveries, waiting };
        let thread = thread::Builder::new().name("courier".into()).spawn(move || driver.run(&inbox))?;
        Ok(Self { errands: Some(errands), words, thread: Some(thread) })
    }

    /// The group is about to be handed over: from its disarming on, what comes for it is kept.
    pub(crate) fn keep(&self, slot: u32) {
        self.words.set_stale(slot, Stale::Keep);
    }

    /// The group has been handed over, until `given_until` by this node's acceptor. Never blocks.
    pub(crate) fn handed_over(&self, slot: u32, given_until: u64) {
        self.order(Errand { slot, given_until: Some(given_until) });
    }

    /// The group has not been handed over. Never blocks.
    pub(crate) fn given_up(&self, slot: u32) {
        self.order(Errand { slot, given_until: None });
    }

    fn order(&self, errand: Errand) {
        let told = self.errands.as_ref().is_some_and(|errands| errands.try_send(errand).is_ok());
        if !told {
            self.words.set_stale(errand.slot, Stale::Forward);
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.errands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the courier's thread had died");
        }
    }
}

/// A group whose next holder is brought what was kept for it.
struct Delivery {
    slot: u32,
    given_until: u64,
    /// When to end, in CLOCK_BOOTTIME ns: set when the next holder has renewed.
    ends_at: Option<u64>,
}

/// The thread's side.
struct Driver {
    kept: Kept,
    words: Words,
    source: [u8; 6],
    sender: Box<dyn DataLinkSender>,
    /// Under way, at most one of a group.
    deliveries: Vec<Delivery>,
    /// Frames, each with its group's slot, that no next holder is known for yet.
    waiting: Vec<(u32, Vec<u8>)>,
}

impl Driver {
    fn run(mut self, inbox: &Receiver<Errand>) {
        for outcome in [realtime::realtime(PRIORITY), realtime::exact_timers()] {
            if let Err(error) = outcome {
                debug!("what is kept in handovers may be late under load: {error}");
            }
        }
        while let Ok(errand) = inbox.recv() {
            self.begin(errand);
            while !self.deliveries.is_empty() {
                inbox.try_iter().for_each(|errand| self.begin(errand));
                self.look();
                thread::sleep(LOOK_EVERY);
            }
        }
        debug!("courier ends");
    }

    fn begin(&mut self, Errand { slot, given_until }: Errand) {
        self.deliveries.retain(|delivery| delivery.slot != slot);
        match given_until {
            Some(given_until) => self.deliveries.push(Delivery { slot, given_until, ends_at: None }),
            None => self.end(slot, None),
        }
    }

    /// Brings what there is, and ends what is over: what others have sent here before they knew better may be under way for
    /// a while. A lease that has come back to this node needs nothing kept.
    fn look(&mut self) {
        let now = clock::now();
        for mut delivery in std::mem::take(&mut self.deliveries) {
            let slot = delivery.slot;
            if delivery.ends_at.is_none() && self.words.read(slot).holder_until > delivery.given_until {
                delivery.ends_at = Some(now.saturating_add(LINGER));
            }
            let to = delivery.ends_at.map(|_| self.words.holder_mac(slot));
            if self.words.holds(slot, now) || delivery.ends_at.unwrap_or(delivery.given_until) <= now {
                self.end(slot, to);
            } else {
                if to.is_some() {
                    self.bring(slot, to);
                }
                self.deliveries.push(delivery);
            }
        }
    }

    fn end(&mut self, slot: u32, to: Option<[u8; 6]>) {
        self.words.set_stale(slot, Stale::Forward);
        self.bring(slot, to);
    }

    /// Sends what was kept for the group, or drops it.
    fn bring(&mut self, slot: u32, to: Option<[u8; 6]>) {
        let (waiting, mut count) = (&mut self.waiting, 0_u32);
        self.kept.drain(|slot, frame| {
            if waiting.len() < MOST_WAITING {
                waiting.push((slot, frame));
            }
        });
        for (_, mut frame) in waiting.extract_if(.., |(of, _)| *of == slot) {
            if let (Some(to), Some(addresses)) = (to, frame.first_chunk_mut::<12>()) {
                addresses[..6].copy_from_slice(&to);
                addresses[6..].copy_from_slice(&self.source);
                // One that cannot be sent is lost, as on any cable.
                let sent = self.sender.send_to(&frame, None);
                count += u32::from(sent.is_some_and(|sent| sent.is_ok()));
            }
        }
        if count > 0 {
            debug!(slot, "{count} frames brought to the next holder");
        }
    }
}
