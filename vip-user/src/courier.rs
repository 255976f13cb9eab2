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
/// How long frames are kept and brought on after the next holder's first renewal, in ns: more than a frame takes from one
/// node to another, and than a service takes to answer what came before; the answer may leave meanwhile.
const LINGER: u64 = 20_000_000;
/// Most frames that may wait for the end of another group's handover.
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
        let driver = Driver { kept, words: words.clone(), source, sender, waiting: Vec::new() };
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

/// The thread's side.
struct Driver {
    kept: Kept,
    words: Words,
    source: [u8; 6],
    sender: Box<dyn DataLinkSender>,
    /// Frames for other groups than the one that is being brought.
    waiting: Vec<(u32, Vec<u8>)>,
}

impl Driver {
    fn run(mut self, inbox: &Receiver<Errand>) {
        for outcome in [realtime::realtime(PRIORITY), realtime::exact_timers()] {
            if let Err(error) = outcome {
                debug!("what is kept in handovers may be late under load: {error}");
            }
        }
        while let Ok(Errand { slot, given_until }) = inbox.recv() {
            let is_served = given_until.is_some_and(|until| self.wait_served(slot, until));
            let to = is_served.then(|| self.words.holder_mac(slot));
            // What others have sent here before they knew better may still be under way.
            let end = clock::now().saturating_add(if is_served { LINGER } else { 0 });
            while clock::now() < end {
                self.bring(slot, to);
                thread::sleep(LOOK_EVERY);
            }
            self.words.set_stale(slot, Stale::Forward);
            self.bring(slot, to);
        }
        debug!("courier ends");
    }

    /// Waits for the next holder's first renewal; `false` if there was none in time.
    fn wait_served(&self, slot: u32, given_until: u64) -> bool {
        loop {
            if self.words.read(slot).holder_until > given_until {
                return true;
            }
            if given_until <= clock::now() {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
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
