//! The lease thread: runs the elections and does what they ask for. It alone sends, so that nothing else can
//! delay a renewal: it takes no lock, allocates nothing between two heartbeats, and hands slow work to the
//! daemon. (Without XDP, it waits for one thing: that the addresses of a group are off, before it tells
//! anybody that it has let go of it.)
//!
//! A round: wait for a datagram, an event, an order or the next deadline; tell the elections; carry out their
//! actions at once. A holder's round is three system calls per interval and group: wait, own vote, send.

mod incoming;
mod meter;
pub(super) mod pair;
mod pulse;
mod tally;

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, warn};
use vip_common::lease::{Ballot, Request};
use vip_common::maps::{Event, EventKind};
use vip_common::wire::{Kind, Message};

pub(super) use self::meter::Meter;
use self::pair::PairSide;
pub(super) use self::pulse::Pulse;
use self::pulse::Rounds;
pub(super) use self::tally::Tally;
use super::plane::LeaseSide;
use crate::announce::Announcer;
use crate::clock;
use crate::contacts::Way;
use crate::dataplane::Words;
use crate::election::{Action, Answer, Demotion, Election, HandoverFailure, State, View};
use crate::membership::Sender;
use crate::pace::Pace;
use crate::realtime;
use crate::signer::{Claimed, Objection, Signer, WireKeys};
use crate::transport::Transport;

/// SCHED_FIFO priority: above the announcer's, below the kernel's own threads'.
const PRIORITY: i32 = 50;
/// Datagrams, events and orders taken in one round, so that a flood of one kind cannot keep the renewals waiting.
const BATCH: usize = 64;
/// Orders that may wait.
const ORDERS: usize = 256;
/// Reports that may wait for the daemon; more of them are lost, and the thread goes on.
const REPORTS: usize = 1024;
const SECOND: u64 = 1_000_000_000;

/// What the daemon tells the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// The data plane has this configuration from now on.
    Configure { epoch: u32, voters: Vec<u16> },
    /// The nodes that may hold a group, fittest first.
    Candidates { slot: u32, order: Vec<u16> },
    /// Whether this node may hold a group.
    Eligible { slot: u32, eligible: bool },
    /// The other one of two voters, in pair mode; `None` where one vote must not count alone. Each configuration begins without.
    Pair { peer: Option<u16> },
    /// The interface has this address from now on.
    Readdress { own: IpAddr },
    /// What is for all nodes goes to these from now on, besides the group.
    Reach { contacts: Vec<IpAddr> },
    /// The gateway of a pair is asked from this address from now on.
    AskFrom { own: Ipv4Addr },
    /// Send this to all nodes.
    Letter { kind: Kind, body: Vec<u8> },
    /// Send this to one node.
    LetterTo { kind: Kind, body: Vec<u8>, to: IpAddr },
    /// Ask the node there whether this node's id or name is another one's.
    ProbeAt { to: IpAddr },
    /// Tell the prober there what it cannot have.
    Object { probe: Message, objection: Objection, to: IpAddr },
    /// Announce this VIP against a machine that claims it.
    Defend { slot: u32, vip: IpAddr },
    /// Hand a group over to this node.
    HandOver { slot: u32, to: u16 },
    /// Renew so often from now on, in ns.
    Interval(u64),
    /// Sign and verify by these keys from now on; the XDP program has been told by the control plane.
    Keys(WireKeys),
    /// Take no part in these groups any more, which this node does not hold, and say so.
    Part { slots: Vec<u32>, done: oneshot::Sender<Vec<GroupLease>> },
    /// Take part in further groups.
    Regroup(Regrouping),
    /// Release everything, send this last Hello, and end.
    Stop { farewell: Vec<u8> },
}

/// Groups, and VIPs of groups, that are others from now on.
#[derive(Debug)]
pub(super) struct Regrouping {
    /// Groups that this node begins to take part in.
    pub(super) added: Vec<GroupLease>,
    /// The voters, for their elections.
    pub(super) voters: Vec<u16>,
    /// By slot, whether packets for a group that come to this node go on to the holder.
    pub(super) forwards: BTreeMap<u32, bool>,
    /// One for each interface, in place of those that were: they announce what is held.
    pub(super) announcers: Vec<Arc<Announcer>>,
    /// Takes the former ones, whose end takes time.
    pub(super) done: oneshot::Sender<Vec<Arc<Announcer>>>,
}

/// What the thread tells the daemon.
#[derive(Debug)]
pub(super) enum Report {
    /// An election has something to tell: one of its actions that need no effect.
    Election { slot: u32, said: Action, tally: Tally, at: u64 },
    /// A message with a body came in.
    Letter { kind: Kind, from: Sender, way: Way, body: Vec<u8> },
    /// The data plane has something to say.
    Event(Event),
    /// A node of this name asks, of this one alone, whether its id or name is another one's.
    Probe { probe: Message, name: String, from: IpAddr },
    /// A node that was there before has this node's id or name.
    Taken { claimed: Claimed, by: IpAddr },
    /// Pair mode: this node's vote counts alone from now on, or no more.
    Alone(bool),
}

/// Where orders for the thread are given.
#[derive(Clone, Debug)]
pub(super) struct OrderBook {
    orders: SyncSender<Order>,
    doorbell: Arc<EventFd>,
}

impl OrderBook {
    /// Gives an order; they are carried out in the order given. Blocks only while hundreds of them wait.
    pub(super) fn give(&self, order: Order) {
        if self.orders.send(order).is_err() {
            error!("the lease thread has ended");
        }
        // Fails only when the counter is full, and then the bell has been heard.
        let _ = self.doorbell.write(1);
    }
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct LeaseThread {
    orders: OrderBook,
    fence_doubts: Arc<Notify>,
    rounds: Rounds,
    meter: Arc<Meter>,
    thread: JoinHandle<()>,
}

impl LeaseThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub(super) fn spawn(parts: Parts) -> io::Result<(Self, mpsc::Receiver<Report>)> {
        let (orders, inbox) = sync_channel(ORDERS);
        let (reports, outbox) = mpsc::channel(REPORTS);
        let doorbell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let fence_doubts = Arc::new(Notify::new());
        let rounds = Rounds::default();
        let meter = Arc::new(Meter::default());
        meter.works_at(clock::now());
        let driver = Driver {
            parts,
            inbox,
            doorbell: Arc::clone(&doorbell),
            reports,
            fence_doubts: Arc::clone(&fence_doubts),
            meter: Arc::clone(&meter),
            paces: Paces::once_a_second(),
            rounds: rounds.clone(),
            stopping: false,
        };
        let thread = thread::Builder::new().name("lease".into()).spawn(move || driver.run())?;
        Ok((Self { orders: OrderBook { orders, doorbell }, fence_doubts, rounds, meter, thread }, outbox))
    }

    /// Where to give it orders.
    pub(super) fn orders(&self) -> OrderBook {
        self.orders.clone()
    }

    /// Notified when a message comes in that the data plane should have kept: it may not be there any more.
    pub(super) fn fence_doubts(&self) -> Arc<Notify> {
        Arc::clone(&self.fence_doubts)
    }

    /// Whether it goes round.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse::of(self.rounds.clone(), Arc::clone(&self.orders.doorbell))
    }

    /// What the thread shows of itself.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Releases all leases, sends a last Hello, and waits for the thread's end.
    pub(super) fn stop(self, farewell: Vec<u8>) {
        self.orders.give(Order::Stop { farewell });
        if self.thread.join().is_err() {
            error!("the lease thread has panicked; its leases run out by themselves");
        }
    }
}

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) groups: Vec<GroupLease>,
    pub(super) words: Words,
    pub(super) plane: LeaseSide,
    pub(super) signer: Signer,
    pub(super) transport: Transport,
    /// The node's.
    pub(super) name: String,
    /// One for each interface.
    pub(super) announcers: Vec<Arc<Announcer>>,
    /// Where `cluster.pair` is set.
    pub(super) pair: Option<PairSide>,
}

/// One group, as the thread sees it.
#[derive(Debug)]
pub(super) struct GroupLease {
    pub(super) slot: u32,
    /// Hash of its name.
    pub(super) id: u32,
    pub(super) quarantine_until: u64,
    pub(super) election: Election,
    /// Whether packets for it that come to this node go on to the holder.
    pub(super) forwards: bool,
    /// Until when the lease was last given away, by this node's acceptor, in CLOCK_BOOTTIME ns.
    pub(super) given_until: u64,
    pub(super) tally: Tally,
}

/// Logging that a dead network or a flood must not turn into a flood of its own.
#[derive(Debug)]
struct Paces {
    send: Pace,
    vote: Pace,
    renewal: Pace,
    reports: Pace,
    probe: Pace,
}

impl Paces {
    const fn once_a_second() -> Self {
        let pace = Pace::new(0, SECOND);
        Self { send: pace, vote: pace, renewal: pace, reports: pace, probe: pace }
    }
}

struct Driver {
    parts: Parts,
    inbox: Receiver<Order>,
    doorbell: Arc<EventFd>,
    reports: mpsc::Sender<Report>,
    fence_doubts: Arc<Notify>,
    meter: Arc<Meter>,
    paces: Paces,
    rounds: Rounds,
    stopping: bool,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    datagrams: bool,
    events: bool,
    orders: bool,
    answers: bool,
}

impl Driver {
    fn run(mut self) {
        make_punctual();
        while !self.stopping {
            let ready = self.wait();
            self.meter.works_at(clock::now());
            if ready.datagrams {
                self.take_datagrams();
            }
            if ready.events || self.parts.plane.has_events() {
                self.take_events();
            }
            if ready.orders {
                self.take_orders();
            }
            self.meet_pair(ready.answers || ready.orders);
            self.meet_deadlines();
            self.do_what_pair_has_told();
            self.rounds.count();
        }
        debug!("lease thread ends");
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> Ready {
        let pair = self.parts.pair.as_ref();
        let elections = self.parts.groups.iter().filter_map(|group| group.election.next_deadline());
        let deadline = elections.chain(pair.and_then(|pair| pair.core.next_deadline())).min();
        let timeout = match self.parts.plane.has_events() {
            true => Some(TimeSpec::new(0, 0)),
            false => deadline.map(|deadline| timespec(deadline.saturating_sub(clock::now()))),
        };
        let (doorbell, datagrams) = (self.doorbell.as_fd(), self.parts.transport.as_fd());
        // Without events to be woken by, the doorbell stands in for them: nothing is lost by looking.
        let events = self.parts.plane.events_fd().unwrap_or(doorbell);
        // The same holds for a gateway that nobody asks.
        let answers = pair.map_or(doorbell, |pair| pair.socket().as_fd());
        let mut fds = [datagrams, events, doorbell, answers].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        self.meter.sleeps_until(deadline);
        // Interrupted or refused, everything is looked at: the deadlines must be met in any case.
        if ppoll(&mut fds, timeout, None).is_err() {
            return Ready { datagrams: true, events: true, orders: true, answers: true };
        }
        let [datagrams, events, orders, answers] = fds.map(|fd| fd.any().unwrap_or(true));
        Ready { datagrams, events, orders, answers }
    }

    fn take_orders(&mut self) {
        let _ = self.doorbell.read();
        for _ in 0..ORDERS {
            match self.inbox.try_recv() {
                Ok(order) => self.obey(order),
                Err(_) => return,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Configure { epoch, voters } => {
                self.parts.signer.set_epoch(epoch);
                self.parts.plane.set_epoch(epoch, voters.contains(&self.parts.signer.origin().node));
                self.set_voters(&voters);
            }
            Order::Candidates { slot, order } => {
                self.tell(slot, |election, view| election.set_candidates(&order, view));
            }
            Order::Eligible { slot, eligible } => {
                self.tell(slot, |election, view| election.set_eligible(eligible, view));
            }
            Order::Reach { contacts } => self.parts.transport.set_contacts(contacts),
            Order::Pair { peer } => self.set_peer(peer),
            Order::Readdress { own } => self.parts.transport.set_own(own),
            Order::AskFrom { own } => {
                if let Some(pair) = &mut self.parts.pair {
                    pair.gateway().set_own(own);
                }
            }
            Order::Letter { kind, body } => {
                let letter = self.parts.signer.letter(kind, &body);
                self.send(&letter);
            }
            Order::LetterTo { kind, body, to } => self.write_to(kind, &body, to),
            Order::ProbeAt { to } => {
                let name = self.parts.name.clone();
                self.write_to(Kind::Probe, name.as_bytes(), to);
            }
            Order::Object { probe, objection, to } => self.object(&probe, objection, to),
            Order::Defend { slot, vip } => {
                self.parts.announcers.iter().for_each(|announcer| announcer.defend(slot, vip));
            }
            Order::HandOver { slot, to } => self.hand_over(slot, to),
            Order::Interval(interval) => {
                self.parts.groups.iter_mut().for_each(|group| group.election.set_interval(interval));
            }
            Order::Keys(keys) => {
                self.parts.plane.set_keys(&keys);
                self.parts.signer.set_keys(keys);
            }
            Order::Part { slots, done } => {
                let gone = |group: &mut GroupLease| slots.contains(&group.slot);
                // In vain only if the daemon ends.
                let _ = done.send(self.parts.groups.extract_if(.., gone).collect());
            }
            Order::Regroup(regrouping) => self.regroup(regrouping),
            Order::Stop { farewell } => {
                self.tell_all(Election::release);
                let letter = self.parts.signer.letter(Kind::Hello, &farewell);
                self.send(&letter);
                self.stopping = true;
            }
        }
    }

    fn regroup(&mut self, regrouping: Regrouping) {
        let Regrouping { added, voters, forwards, announcers, done } = regrouping;
        let first_new = self.parts.groups.len();
        self.parts.groups.extend(added);
        for index in first_new..self.parts.groups.len() {
            let view = self.view(index);
            self.parts.groups[index].election.set_voters(&voters, &view);
            self.act(index);
        }
        for group in &mut self.parts.groups {
            group.forwards = forwards.get(&group.slot).copied().unwrap_or(false);
        }
        // In vain only if the daemon ends.
        let _ = done.send(mem::replace(&mut self.parts.announcers, announcers));
        for group in self.parts.groups.iter().filter(|group| group.election.state() == State::Holder) {
            self.parts.plane.promoted(group.slot, &self.parts.announcers);
        }
    }

    fn write_to(&mut self, kind: Kind, body: &[u8], to: IpAddr) {
        let letter = self.parts.signer.letter(kind, body);
        if let Err(error) = self.parts.transport.send_to(&letter, to)
            && self.paces.send.allows(clock::now())
        {
            warn!("sending to {to}: {error}");
        }
    }

    fn hand_over(&mut self, slot: u32, to: u16) {
        let forwards = self.parts.groups.iter().any(|group| group.slot == slot && group.forwards);
        if forwards
            && self.parts.words.holds(slot, clock::now())
            && let Some(courier) = self.parts.plane.courier()
        {
            courier.keep(slot);
        }
        self.tell(slot, |election, view| election.hand_over(to, view));
    }

    fn take_events(&mut self) {
        for _ in 0..BATCH {
            let Some(event) = self.parts.plane.next_event() else { return };
            match EventKind::from_u32(event.kind) {
                Some(EventKind::Released) => {
                    if let Some(group) = self.parts.groups.iter_mut().find(|group| group.slot == event.slot) {
                        group.tally.given_back(Ballot(event.value));
                    }
                    self.tell(event.slot, Election::handle_released);
                }
                Some(EventKind::DuplicateId) => {
                    self.probe();
                    self.report(Report::Event(event));
                }
                Some(_) => self.report(Report::Event(event)),
                None => {}
            }
        }
    }

    /// Asks whether there really is another node with this id: what was heard may be an old message of this node.
    fn probe(&mut self) {
        if self.paces.probe.allows(clock::now()) {
            let probe = self.parts.signer.letter(Kind::Probe, b"");
            self.send(&probe);
        }
    }

    fn meet_deadlines(&mut self) {
        for index in 0..self.parts.groups.len() {
            let view = self.view(index);
            let election = &mut self.parts.groups[index].election;
            if let Some(deadline) = election.next_deadline().filter(|deadline| *deadline <= view.now) {
                if election.state() == State::Holder {
                    self.meter.renews_late_by(view.now - deadline);
                }
                election.handle_timeout(&view);
                self.act(index);
            }
        }
    }

    fn tell(&mut self, slot: u32, what: impl FnOnce(&mut Election, &View)) {
        if let Some(index) = self.parts.groups.iter().position(|group| group.slot == slot) {
            let view = self.view(index);
            what(&mut self.parts.groups[index].election, &view);
            self.act(index);
        }
    }

    fn tell_all(&mut self, what: impl Fn(&mut Election, &View)) {
        for index in 0..self.parts.groups.len() {
            let view = self.view(index);
            what(&mut self.parts.groups[index].election, &view);
            self.act(index);
        }
    }

    /// What the data plane shows of a group, for a call of its election. Whether this node's vote counts alone has been
    /// looked at then at the very time that the election is told.
    fn view(&mut self, index: usize) -> View {
        if !self.is_alone() {
            return self.shown(index);
        }
        let now = clock::now();
        self.look_at_pair(now);
        View { now, ..self.shown(index) }
    }

    fn shown(&self, index: usize) -> View {
        let group = &self.parts.groups[index];
        // The clock first: a word that seems to have ended by then has ended, however XDP extends it meanwhile.
        let now = clock::now();
        let word = self.parts.words.read(group.slot);
        View {
            now,
            lease_until: word.lease_until,
            holder_until: word.holder_until,
            holder_ballot: word.holder_ballot,
            quarantine_until: group.quarantine_until,
        }
    }

    /// Carries out what an election asks for, in its order.
    fn act(&mut self, index: usize) {
        while let Some(action) = self.parts.groups[index].election.poll_action() {
            let slot = self.parts.groups[index].slot;
            match action {
                Action::SetRenewal(renewal) => {
                    if let Err(error) = self.parts.plane.set_renewal(slot, renewal)
                        && self.paces.renewal.allows(clock::now())
                    {
                        error!("a lease cannot be asked for: {error}");
                    }
                }
                Action::Send { request, sent_at } => self.ask(index, request, sent_at),
                Action::Offer(ballot) => self.say(index, |signer, group| signer.offer(group, ballot)),
                Action::Ask { ballot, sent_at } => {
                    self.say(index, |signer, group| signer.ask(group, ballot, sent_at));
                }
                Action::Grant { ballot, sent_at, left } => {
                    let word = self.parts.words.read(slot);
                    self.parts.groups[index].given_until = word.holder_until;
                    // Without this node's vote, nothing would keep it out if it were restarted now.
                    if word.holder_ballot == ballot {
                        self.say(index, |signer, group| signer.grant(group, ballot, sent_at, left));
                    }
                }
                Action::Arm { until } => self.parts.words.arm(slot, until),
                Action::Disarm => {
                    self.parts.words.disarm(slot);
                    self.parts.plane.disarmed(slot);
                }
                Action::SetRole(role) => self.parts.words.set_role(slot, role),
                Action::Promoted(_) => {
                    self.parts.plane.promoted(slot, &self.parts.announcers);
                    self.tell_of(index, action);
                }
                Action::Demoted(reason) => {
                    self.parts.announcers.iter().for_each(|announcer| announcer.demoted(slot));
                    self.end_keeping(index, reason);
                    self.tell_of(index, action);
                }
                Action::HandoverFailed { reason, .. } => {
                    if reason != HandoverFailure::Replaced
                        && self.parts.groups[index].forwards
                        && let Some(courier) = self.parts.plane.courier()
                    {
                        courier.given_up(slot);
                    }
                    self.tell_of(index, action);
                }
                Action::Standing(_) | Action::GaveUp(_) | Action::Notice(_) => self.tell_of(index, action),
            }
        }
    }

    /// Tells the daemon what an election has said, with what an operator wants to know of it.
    fn tell_of(&mut self, index: usize, said: Action) {
        let view = self.view(index);
        let GroupLease { slot, tally, .. } = &mut self.parts.groups[index];
        match said {
            Action::Standing(ballot) => tally.stood(ballot, &view),
            Action::Demoted(_) => tally.held(view.holder_ballot, view.now),
            _ => {}
        }
        let report = Report::Election { slot: *slot, said, tally: *tally, at: view.now };
        self.report(report);
    }

    /// What came for the group while its lease changed hands, if it has, is for its next holder.
    fn end_keeping(&self, index: usize, reason: Demotion) {
        let GroupLease { slot, forwards, given_until, .. } = self.parts.groups[index];
        let Some(courier) = self.parts.plane.courier().filter(|_| forwards) else { return };
        match reason {
            Demotion::HandedOver { .. } => courier.handed_over(slot, given_until),
            Demotion::Lapsed | Demotion::Released | Demotion::Unfit => courier.given_up(slot),
        }
    }

    /// Asks all acceptors: the others by the network, this node's own by its data plane.
    fn ask(&mut self, index: usize, request: Request, sent_at: u64) {
        let id = self.parts.groups[index].id;
        let message = self.parts.signer.request(id, request, sent_at);
        self.send(&message.to_bytes());
        let answered = match self.parts.plane.cast(&message) {
            Ok(answered) => answered,
            Err(error) => {
                if self.paces.vote.allows(clock::now()) {
                    error!("this node's own vote failed: {error}");
                }
                None
            }
        };
        if let Some((voter, answer)) =
            answered.and_then(|message| Some((message.sender.get(), Answer::read(&message)?)))
        {
            self.hear_vote(index, voter, answer);
        }
    }

    fn hear_vote(&mut self, index: usize, voter: u16, answer: Answer) {
        let view = self.view(index);
        let group = &mut self.parts.groups[index];
        group.tally.answered(voter, &answer);
        group.election.handle_answer(voter, answer, &view);
    }

    /// Tells another node's election something.
    fn say(&mut self, index: usize, message: impl FnOnce(&mut Signer, u32) -> Message) {
        let message = message(&mut self.parts.signer, self.parts.groups[index].id);
        self.send(&message.to_bytes());
    }

    fn send(&mut self, datagram: &[u8]) {
        if let Err(error) = self.parts.transport.send(datagram)
            && self.paces.send.allows(clock::now())
        {
            warn!("sending: {error}");
        }
    }

    fn report(&mut self, report: Report) {
        // A flood of letters keeps nobody from hearing what the elections have to tell.
        let is_letter = matches!(report, Report::Letter { .. });
        if is_letter && self.reports.capacity() < REPORTS / 2 {
            self.meter.lost_letter();
            if self.paces.reports.allows(clock::now()) {
                warn!("the daemon is busy: letters of other nodes are lost");
            }
            return;
        }
        if self.reports.try_send(report).is_err() {
            self.meter.lost_report();
            if self.paces.reports.allows(clock::now()) {
                warn!("the daemon is busy: reports are lost");
            }
        }
    }
}

pub(super) fn make_punctual() {
    if let Err(error) = realtime::realtime(PRIORITY) {
        warn!("no real-time priority ({error}): under load, renewals may be late; CAP_SYS_NICE allows it");
    }
    if let Err(error) = realtime::lock_memory() {
        warn!(
            "memory is not locked ({error}): when the machine swaps, renewals may be late; CAP_IPC_LOCK allows it"
        );
    }
    if let Err(error) = realtime::exact_timers() {
        debug!("timers are not exact: {error}");
    }
}

pub(super) fn timespec(ns: u64) -> TimeSpec {
    let (seconds, rest) = (ns / SECOND, ns % SECOND);
    TimeSpec::new(i64::try_from(seconds).unwrap_or(i64::MAX), i64::try_from(rest).unwrap_or(0))
}
