//! The VRRP thread: hears and sends the adverts of all virtual routers, and does what their state machines ask for. It alone
//! writes the lease words of groups that run VRRP. Nothing here depends on the cluster: it has no votes and no configuration of
//! voters.
//!
//! A round: wait for an advert, an order or the next deadline; look at what was heard before any timer, so that a thread that was
//! held up knows who has taken over; carry out the actions at once.

mod plan;
mod router;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};
use vip_common::vrrp::{Family, Vrid, parse};

pub(super) use self::plan::{Part, Plan};
use self::router::Router;
use super::lease_thread::{make_punctual, timespec};
use crate::announce::Announcer;
use crate::clock;
use crate::dataplane::Words;
use crate::netlink::Interface;
use crate::pace::Pace;
use crate::vrrp::{Action, Presence};
use crate::vrrp_link::{Link, MAX_PACKET};

/// Packets taken from one socket in one round, so that a flood cannot keep the adverts waiting.
const BATCH: usize = 64;
/// Orders that may wait.
const ORDERS: usize = 64;
/// Reports that may wait for the daemon; more of them are lost, and the thread goes on.
const REPORTS: usize = 1024;
const SECOND: u64 = 1_000_000_000;

/// What the daemon tells the thread.
#[derive(Debug)]
enum Order {
    /// These are all virtual routers from now on, on these interfaces; it is done when that is told.
    Plan { plans: Vec<Plan>, interfaces: Vec<Interface>, done: oneshot::Sender<()> },
    /// One for each interface, in place of those that were, which others have as well: their end takes time.
    Announcers(Vec<Arc<Announcer>>),
    /// Stop all, and end.
    Stop,
}

/// What the thread tells the daemon of the group in this slot.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) slot: u32,
    pub(super) said: Said,
}

#[derive(Debug)]
pub(super) enum Said {
    /// By a virtual router of this node: one of its actions that need no effect.
    Router(Action),
    /// A virtual router of this node cannot send adverts, and why; or it can again, or need not.
    Mute(Option<String>),
    /// Of one that it only listens to.
    Heard(Presence),
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct VrrpThread {
    orders: SyncSender<Order>,
    doorbell: Arc<EventFd>,
    thread: JoinHandle<()>,
}

impl VrrpThread {
    /// The way of its reports.
    pub(super) fn reports() -> (mpsc::Sender<Report>, mpsc::Receiver<Report>) {
        mpsc::channel(REPORTS)
    }

    /// Starts the thread, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub(super) fn spawn(
        words: Words,
        announcers: Vec<Arc<Announcer>>,
        reports: mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS);
        let doorbell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let driver = Driver {
            inbox,
            doorbell: Arc::clone(&doorbell),
            reports,
            words,
            announcers,
            interfaces: Vec::new(),
            links: Vec::new(),
            routers: BTreeMap::new(),
            pace: Pace::new(0, SECOND),
            stopping: false,
        };
        let thread = thread::Builder::new().name("vrrp".into()).spawn(move || driver.run())?;
        Ok(Self { orders, doorbell, thread })
    }

    /// These are all virtual routers from now on, on these interfaces, as soon as what this gives is told. Who is not among them
    /// stops.
    pub(super) fn plan(&self, plans: Vec<Plan>, interfaces: Vec<Interface>) -> oneshot::Receiver<()> {
        let (done, followed) = oneshot::channel();
        self.give(Order::Plan { plans, interfaces, done });
        followed
    }

    /// Announces by these from now on.
    pub(super) fn announce_by(&self, announcers: Vec<Arc<Announcer>>) {
        self.give(Order::Announcers(announcers));
    }

    /// Whether it has ended, which nobody has asked for.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops all virtual routers, and waits for the thread's end.
    pub(super) fn stop(self) {
        self.give(Order::Stop);
        if self.thread.join().is_err() {
            error!("the VRRP thread has panicked; its words run out by themselves");
        }
    }

    fn give(&self, order: Order) {
        if self.orders.send(order).is_err() {
            error!("the VRRP thread has ended");
        }
        // Fails only when the counter is full, and then the bell has been heard.
        let _ = self.doorbell.write(1);
    }
}

struct Driver {
    inbox: Receiver<Order>,
    doorbell: Arc<EventFd>,
    reports: mpsc::Sender<Report>,
    words: Words,
    announcers: Vec<Arc<Announcer>>,
    interfaces: Vec<Interface>,
    links: Vec<Link>,
    /// By slot.
    routers: BTreeMap<u32, Router>,
    /// Logging that a flood must not turn into a flood of its own.
    pace: Pace,
    stopping: bool,
}

impl Driver {
    fn run(mut self) {
        make_punctual();
        while !self.stopping {
            self.wait();
            self.hear();
            self.take_orders();
            let slots: Vec<u32> = self.due();
            for slot in slots {
                self.handle_timeout(slot);
            }
        }
        debug!("VRRP thread ends");
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let deadline = self.routers.values().filter_map(Router::next_deadline).min();
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_sub(clock::now())));
        let links = self.links.iter().map(Link::as_fd);
        let all = links.chain([self.doorbell.as_fd()]);
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Whatever it ends with, all is looked at: a socket without a packet costs a system call.
        let _ = ppoll(&mut fds, timeout, None);
    }

    fn due(&self) -> Vec<u32> {
        let now = clock::now();
        let is_due = |router: &Router| router.next_deadline().is_some_and(|deadline| deadline <= now);
        self.routers.iter().filter(|(_, router)| is_due(router)).map(|(slot, _)| *slot).collect()
    }

    /// Silence says something only where it was listened to.
    fn handle_timeout(&mut self, slot: u32) {
        let Some(router) = self.routers.get_mut(&slot) else { return };
        if router.presence().is_some() {
            match ensure_open(&mut self.links, &self.interfaces, place(router)) {
                Ok(true) => {}
                Ok(false) => return router.listen_anew(clock::now()),
                Err(error) => return router.not_heard(&error, clock::now()),
            }
        }
        self.with(slot, |router, now| router.handle_timeout(now));
    }

    fn hear(&mut self) {
        let mut buffer = [0; MAX_PACKET];
        for index in 0..self.links.len() {
            for _ in 0..BATCH {
                let link = &mut self.links[index];
                let (interface, family) = (link.index(), link.family());
                match link.receive(&mut buffer) {
                    Ok(Some((arrival, message))) => match parse(&arrival, message) {
                        Ok(advert) => {
                            let key = (interface, family, advert.vrid);
                            let Some(slot) = self.slot_of(key) else { continue };
                            self.with(slot, |router, now| router.hear(&arrival, &advert, now));
                        }
                        // XDP has counted it where it is of a virtual router of this node.
                        Err(error) => debug!("a packet of VRRP is ignored: {error}"),
                    },
                    Ok(None) => break,
                    Err(error) => {
                        if self.pace.allows(clock::now()) {
                            warn!("receiving adverts: {error}");
                        }
                        break;
                    }
                }
            }
        }
    }

    fn slot_of(&self, key: (u32, Family, Vrid)) -> Option<u32> {
        self.routers.iter().find(|(_, router)| router.key() == key).map(|(slot, _)| *slot)
    }

    fn take_orders(&mut self) {
        let _ = self.doorbell.read();
        for _ in 0..ORDERS {
            match self.inbox.try_recv() {
                Ok(Order::Plan { plans, interfaces, done }) => {
                    self.follow(plans, interfaces);
                    // In vain where nobody waits for it.
                    let _ = done.send(());
                }
                Ok(Order::Announcers(announcers)) => {
                    self.announcers = announcers;
                    self.announce_what_is_held();
                }
                Ok(Order::Stop) => {
                    self.follow(Vec::new(), Vec::new());
                    self.stopping = true;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn follow(&mut self, plans: Vec<Plan>, interfaces: Vec<Interface>) {
        let goes = |router: &Router| !plans.iter().any(|plan| router.is_of(plan));
        let gone: Vec<u32> =
            self.routers.iter().filter(|(_, router)| goes(router)).map(|(slot, _)| *slot).collect();
        for slot in gone {
            self.with(slot, |router, _| router.shut_down());
            self.routers.remove(&slot);
        }
        self.interfaces = interfaces;
        self.open_links(&plans);
        for plan in plans {
            let (slot, part) = (plan.slot, plan.part);
            let word = self.words.read(slot).lease_until;
            self.routers.entry(slot).or_insert_with(|| Router::new(&plan, clock::now()));
            self.with(slot, |router, now| router.follow(plan, word, now));
            if part == Part::Rests {
                // Of a former run.
                self.words.disarm(slot);
            }
        }
    }

    /// Those that some virtual router needs, and no others.
    fn open_links(&mut self, plans: &[Plan]) {
        let is_needed = |index: u32, family: Family| {
            plans.iter().any(|plan| (plan.interface, plan.family()) == (index, family))
        };
        self.links.retain(|link| is_needed(link.index(), link.family()));
        for interface in &self.interfaces {
            for family in [Family::V4, Family::V6] {
                if !is_needed(interface.index, family) {
                    continue;
                }
                if let Err(error) = ensure_open(&mut self.links, &self.interfaces, (interface.index, family))
                {
                    error!("VRRP is not heard on {}: {error}", interface.name);
                }
            }
        }
    }

    /// Has a virtual router do something, and carries out what comes of it.
    fn with(&mut self, slot: u32, what: impl FnOnce(&mut Router, u64)) {
        let Some(router) = self.routers.get_mut(&slot) else { return };
        let before = router.presence();
        what(router, clock::now());
        while let Some(action) = router.poll_action() {
            match action {
                Action::Disarm => {
                    self.words.disarm(slot);
                    self.announcers.iter().for_each(|announcer| announcer.demoted(slot));
                }
                Action::Advertise { priority, promise } => {
                    let sent = send(router, priority, &mut self.links, &self.interfaces);
                    serve_if(sent, router, promise, &self.words, &self.announcers);
                }
                Action::Mute(is_mute) => {
                    report(&self.reports, slot, Said::Mute(is_mute.then(|| router.failure().to_owned())));
                }
                Action::Promoted { .. } | Action::Demoted(_) | Action::Follows(_) => {
                    report(&self.reports, slot, Said::Router(action));
                }
            }
        }
        let presence = router.presence();
        if let Some(presence) = presence.filter(|_| presence != before) {
            report(&self.reports, slot, Said::Heard(presence));
        }
    }

    fn announce_what_is_held(&self) {
        let now = clock::now();
        for slot in self.routers.keys().filter(|slot| self.words.holds(**slot, now)) {
            self.announcers.iter().for_each(|announcer| announcer.promoted(*slot));
        }
    }
}

/// Sends an advert; gives a time before that.
fn send(
    router: &mut Router,
    priority: u8,
    links: &mut Vec<Link>,
    interfaces: &[Interface],
) -> io::Result<u64> {
    let place = place(router);
    let is_open = ensure_open(links, interfaces, place)?;
    let link = links.iter_mut().find(|link| (link.index(), link.family()) == place).filter(|_| is_open);
    // Where it has been opened now, the next one is sent, unless somebody else is heard until then.
    let link = link.ok_or_else(|| io::Error::other("adverts of others have not been heard yet"))?;
    let stamp = clock::now();
    router.send(priority, link).map(|()| stamp)
}

/// Whether the sockets for an interface and a family are open; if not, opens them for what comes from now on.
fn ensure_open(
    links: &mut Vec<Link>,
    interfaces: &[Interface],
    (index, family): (u32, Family),
) -> io::Result<bool> {
    if links.iter().any(|link| (link.index(), link.family()) == (index, family)) {
        return Ok(true);
    }
    let interface = interfaces.iter().find(|interface| interface.index == index);
    links.push(Link::open(interface.ok_or_else(|| io::Error::other("its interface is gone"))?, family)?);
    Ok(false)
}

/// The interface, by its index, and the family that a router is on.
fn place(router: &Router) -> (u32, Family) {
    let (index, family, _) = router.key();
    (index, family)
}

/// Lets the data plane serve on an advert, if it was sent.
fn serve_if(
    sent: io::Result<u64>,
    router: &mut Router,
    promise: Option<u64>,
    words: &Words,
    announcers: &[Arc<Announcer>],
) {
    let stamp = match sent {
        Ok(stamp) => stamp,
        Err(error) => return router.not_sent(&error, clock::now()),
    };
    let Some(promise) = promise else { return };
    let (slot, until) = (router.slot(), stamp + promise);
    let was_held = words.holds(slot, stamp);
    words.promise(slot, until);
    router.sent(until);
    if !was_held {
        announcers.iter().for_each(|announcer| announcer.promoted(slot));
    }
}

fn report(reports: &mpsc::Sender<Report>, slot: u32, said: Said) {
    if reports.try_send(Report { slot, said }).is_err() {
        warn!("the daemon is busy: a report of VRRP is lost");
    }
}
