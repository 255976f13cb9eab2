//! Serving without XDP: the VIPs are addresses of the interface while their group's lease word runs, and no
//! longer. A thread of its own puts them on after the flip, and takes them off before the word ends, whatever
//! the rest of the daemon does.
//!
//! Taking them off takes time, and so it begins a [`margin`] early. That is no fence: a process that is
//! stopped, killed or kept from running for longer takes nothing off.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tracing::{debug, error, warn};

use crate::announce::{Announcer, GroupVips};
use crate::dataplane::Words;
use crate::netlink::{Interface, Netlink, Result as NetlinkResult};
use crate::pace::Pace;
use crate::{clock, realtime};

/// SCHED_FIFO priority: below the lease thread's, whose renewals are what keeps the addresses on.
const PRIORITY: i32 = 48;
/// Addresses put on in one go. The words are looked at again after each.
const CHUNK: usize = 64;
/// Orders that may wait.
const ORDERS: usize = 256;
/// Time between two tries of what the kernel has refused, and between two looks at a word that may be renewed
/// late.
const RETRY: Duration = Duration::from_millis(1);
const SECOND: u64 = 1_000_000_000;

/// How many times the [`margin`] goes into a lease.
pub const MARGINS: u64 = 4;

/// How long before the end of its lease of this length a group's addresses are taken off; in ns, as the
/// length. A renewal every interval, of which a lease has three at least, keeps the word longer than this,
/// unless two of them in a row fail.
pub const fn margin(lease: u64) -> u64 {
    lease / MARGINS
}

/// About how long it takes to take so many addresses off, in ns: measured up to 2,000 on Linux 6.18, where it
/// grows with the square of their number beyond that.
pub const fn time_to_take_off(addresses: usize) -> u64 {
    const ONE: u64 = 50_000;
    ONE.saturating_mul(addresses as u64)
}

/// The thread's handle. Dropping it takes all addresses off, and waits until that is done.
#[derive(Debug)]
pub struct Addresses {
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    /// A word may have been armed.
    Look,
    /// Somebody may have taken addresses off.
    Repair,
    /// The group's word is disarmed: take its addresses off, and say so.
    Withdraw { slot: u32, done: SyncSender<()> },
    /// Take all addresses off, and end.
    Stop,
}

/// A place to give orders at, for other threads than the one that has the [`Addresses`].
#[derive(Clone, Debug)]
pub struct Inspector(SyncSender<Order>);

impl Inspector {
    /// The interface's addresses have changed: those that are missing are put back. Never blocks.
    pub fn look(&self) {
        // Full: the thread will look when it comes to what waits.
        let _ = self.0.try_send(Order::Repair);
    }
}

impl Addresses {
    /// Starts the thread, in the calling thread's network namespace. Each time that all addresses of a group
    /// are on, it has `announcer` announce them. `lease` is the length of leases in ns.
    ///
    /// # Errors
    /// The system has no thread, socket or memory left.
    pub fn spawn(
        iface: &Interface,
        groups: &[GroupVips],
        lease: u64,
        words: Words,
        announcer: Arc<Announcer>,
    ) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS);
        let (ready, is_ready) = sync_channel(1);
        let groups = groups.iter().map(|group| Group { slot: group.slot, vips: group.vips.clone(), on: 0 });
        let (groups, iface, index) = (groups.collect(), iface.name.clone(), iface.index);
        let run = move || match Kernel::open(iface, index) {
            Ok(kernel) => {
                let _ = ready.send(Ok(()));
                let pace = Pace::new(0, SECOND);
                Driver { kernel, groups, margin: margin(lease), words, announcer, pace, has_failed: false }
                    .run(&inbox);
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread = thread::Builder::new().name("addresses".into()).spawn(run)?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// A group's word is armed: its addresses are put on. Never blocks.
    pub fn serve(&self) {
        // Full: the thread will look when it comes to what waits.
        let _ = self.orders.try_send(Order::Look);
    }

    /// A group's word is disarmed: waits until its addresses are off, before anybody is told.
    pub fn withdraw(&self, slot: u32) {
        let (done, is_done) = sync_channel(1);
        if self.orders.send(Order::Withdraw { slot, done }).is_err() || is_done.recv().is_err() {
            error!("the thread that takes addresses off has ended");
        }
    }

    /// Where others say that addresses may be missing.
    pub fn inspector(&self) -> Inspector {
        Inspector(self.orders.clone())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        // In vain only if it has ended.
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that takes addresses off has panicked: they may still be there");
        }
    }
}

/// The thread's side.
struct Driver {
    kernel: Kernel,
    groups: Vec<Group>,
    margin: u64,
    words: Words,
    announcer: Arc<Announcer>,
    /// Of messages about what the kernel has refused.
    pace: Pace,
    /// The kernel has refused something that is to be tried again.
    has_failed: bool,
}

#[derive(Debug)]
struct Group {
    slot: u32,
    vips: Vec<IpAddr>,
    /// How many of them have been put on, the first ones first.
    on: usize,
}

impl Group {
    /// When to look at the group again, if nobody rings: while its word, by this margin, lets addresses be
    /// there, and while a late renewal may do so.
    fn pause(&self, lease_until: u64, margin: u64, now: u64) -> Option<Duration> {
        let rest = lease_until.saturating_sub(margin).saturating_sub(now);
        match (self.on, rest) {
            (0, 0) if lease_until == 0 => None,
            (0, 0) => Some(RETRY),
            (on, 1..) if on < self.vips.len() => Some(Duration::ZERO),
            _ => Some(Duration::from_nanos(rest)),
        }
    }
}

impl Driver {
    fn run(mut self, inbox: &Receiver<Order>) {
        if let Err(error) = realtime::realtime(PRIORITY).and_then(|()| realtime::exact_timers()) {
            warn!("addresses without real-time priority ({error}): under load, they may be taken off late");
        }
        loop {
            match inbox.recv_timeout(self.pause()) {
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Repair) => self.repair(),
                Ok(Order::Withdraw { slot, done }) => {
                    self.withdraw(slot);
                    // In vain only if the lease thread has ended.
                    let _ = done.send(());
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.settle();
        }
        (0..self.groups.len()).for_each(|index| self.take_off(index));
        debug!("addresses: the thread ends");
    }

    /// Until a word is about to end, or there is more to be put on.
    fn pause(&self) -> Duration {
        const FOREVER: Duration = Duration::from_secs(3600);
        if self.has_failed {
            return RETRY;
        }
        let now = clock::now();
        let pause = |group: &Group| group.pause(self.words.read(group.slot).lease_until, self.margin, now);
        self.groups.iter().filter_map(pause).min().unwrap_or(FOREVER)
    }

    /// Takes off what may not be on any more, and then puts on a little of what is to be.
    fn settle(&mut self) {
        let is_retry = mem::take(&mut self.has_failed);
        for index in 0..self.groups.len() {
            if self.groups[index].on > 0 && !self.may_serve(index) {
                self.take_off(index);
            }
        }
        for index in 0..self.groups.len() {
            if self.groups[index].on < self.groups[index].vips.len() && self.may_serve(index) {
                self.put_on_more(index);
            }
        }
        if is_retry {
            self.repair();
        }
    }

    /// Whether the word runs for long enough to take the addresses off before its end.
    fn may_serve(&self, index: usize) -> bool {
        self.words.holds(self.groups[index].slot, clock::now().saturating_add(self.margin))
    }

    fn withdraw(&mut self, slot: u32) {
        if let Some(index) = self.groups.iter().position(|group| group.slot == slot && group.on > 0) {
            self.take_off(index);
        }
    }

    fn put_on_more(&mut self, index: usize) {
        let Group { slot, vips, on } = &mut self.groups[index];
        let next = vips.len().min(*on + CHUNK);
        let added = self.kernel.put_on(&vips[*on..next]);
        // Some may be there also where it has failed.
        *on = next;
        if next == vips.len() {
            self.announcer.promoted(*slot);
        }
        self.note(added);
    }

    fn take_off(&mut self, index: usize) {
        let Group { vips, on, .. } = &mut self.groups[index];
        let taken_off = self.kernel.take_off(&vips[..*on]);
        if taken_off.is_ok() {
            *on = 0;
        }
        self.note(taken_off);
    }

    /// Puts back what is to be there and is not.
    fn repair(&mut self) {
        for index in 0..self.groups.len() {
            let Group { vips, on, .. } = &self.groups[index];
            if *on == 0 || !self.may_serve(index) {
                continue;
            }
            let repaired = self.kernel.missing(&vips[..*on]).and_then(|missing| {
                if !missing.is_empty() {
                    warn!("{} VIPs were missing on {}; put back", missing.len(), self.kernel.iface);
                }
                self.kernel.put_on(&missing)
            });
            self.note(repaired);
        }
    }

    /// What the kernel has refused is tried again.
    fn note(&mut self, outcome: NetlinkResult<()>) {
        if let Err(error) = outcome {
            self.has_failed = true;
            if self.pace.allows(clock::now()) {
                error!("{error}; trying again");
            }
        }
    }
}

/// A connection of the thread's own, since that of the daemon waits for whatever the daemon waits for.
struct Kernel {
    runtime: Runtime,
    netlink: Netlink,
    iface: String,
    index: u32,
}

impl Kernel {
    fn open(iface: String, index: u32) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let netlink = runtime.block_on(async { Netlink::open() });
        let (netlink, _) = netlink.map_err(io::Error::other)?;
        Ok(Self { runtime, netlink, iface, index })
    }

    fn put_on(&self, vips: &[IpAddr]) -> NetlinkResult<()> {
        self.runtime.block_on(self.netlink.put_on(&self.iface, self.index, vips))
    }

    fn take_off(&self, vips: &[IpAddr]) -> NetlinkResult<()> {
        self.runtime.block_on(self.netlink.take_off(&self.iface, self.index, vips))
    }

    fn missing(&self, vips: &[IpAddr]) -> NetlinkResult<Vec<IpAddr>> {
        self.runtime.block_on(self.netlink.missing(self.index, vips))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: u64 = 10;
    const NOW: u64 = 100;

    /// The pause of a group of two VIPs, of which so many are on.
    fn pause(on: usize, lease_until: u64) -> Option<Duration> {
        let vips = ["10.77.0.100", "fd77::100"].map(|vip| vip.parse().unwrap()).to_vec();
        Group { slot: 1, vips, on }.pause(lease_until, MARGIN, NOW)
    }

    #[test]
    fn addresses_that_are_on_are_looked_at_when_the_margin_before_the_end_of_the_lease_begins() {
        assert_eq!(pause(2, NOW + MARGIN + 7), Some(Duration::from_nanos(7)));
        for lease_until in [0, NOW, NOW + MARGIN] {
            assert_eq!([1, 2].map(|on| pause(on, lease_until)), [Some(Duration::ZERO); 2], "{lease_until}");
        }
    }

    #[test]
    fn addresses_that_are_to_be_put_on_are_not_waited_for() {
        assert_eq!([pause(0, NOW + MARGIN + 1), pause(1, NOW + MARGIN + 1)], [Some(Duration::ZERO); 2]);
    }

    #[test]
    fn a_word_that_a_late_renewal_may_still_move_is_looked_at_until_it_is_disarmed() {
        assert_eq!([pause(0, NOW + 1), pause(0, NOW - 1), pause(0, 0)], [Some(RETRY), Some(RETRY), None]);
    }

    #[test]
    fn the_margin_leaves_room_for_a_renewal_that_is_lost() {
        // Input: the shortest lease, of three intervals. Expected: two intervals after a renewal, the
        // addresses are on.
        let interval = 1_000_000;
        let lease = 3 * interval;
        assert!(vip_common::lease::serving_time(lease) - 2 * interval > margin(lease));
    }
}
