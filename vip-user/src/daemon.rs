//! The daemon: the one driver of the parts that decide, which turns their actions into effects.
//!
//! Two sides: the lease thread, which must be punctual, and the control plane, a tokio runtime of one thread for
//! all that may wait (membership, the log, netlink, clients). They talk by two bounded queues, orders and reports.
//! The order of a start is in [`start`], what it leaves on the machine in [`footprint`].

mod backoff;
mod claim;
mod conflicts;
mod contacts;
mod control_plane;
mod departure;
mod ears;
mod elections;
mod figures;
mod fitness;
mod footprint;
mod gossip;
mod groups;
mod handover;
mod happenings;
mod health;
mod interfaces;
mod journal;
mod lease_thread;
mod leftovers;
mod live_nodes;
mod lookup;
mod maintenance;
mod mode;
mod own_vote;
mod pairing;
mod plane;
mod preemption;
mod presence;
mod privileges;
mod reload;
mod service;
mod shared;
mod slots;
mod start;
mod states;
mod storage;
mod tee;
mod upgrade;
mod vrrp;
mod vrrp_thread;
mod watching;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use self::control_plane::ControlPlane;
use self::footprint::Footprint;
use self::journal::Closing;
use self::lease_thread::Report;
use self::reload::Reloader;
use self::shared::Shared;
use self::start::Node;
pub use self::upgrade::Ended;
use self::upgrade::Upgrader;
use crate::clock;
use crate::config::{Settings, Source};
use crate::confinement;
use crate::control::{Access, Reply, Request};
use crate::exit::Failure;
use crate::handlers::{Answer, Stopping};
use crate::membership::Durable;
use crate::netlink::{Change, Changes, Interface, Netlink};
use crate::service::ServiceManager;

/// How long the VIPs can be without a fence before that is found out, where no heartbeat finds it out sooner. A tenth of
/// a second is what a follower can be woken for.
const FENCE_CHECK: Duration = Duration::from_millis(100);
/// Longest wait for a write to the disk at the end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Serves the configured VIPs until a signal asks to stop. `settings` are what was read from `source`, which is read again when
/// a reload is asked for; `is_supervised`: another daemon is started when this one asks for that by its end.
///
/// # Errors
/// What kept the daemon from starting, or stopped it. Either way, the machine is as it was before.
pub fn run(settings: Settings, source: Source, is_supervised: bool) -> Result<Ended, Failure> {
    privileges::check(settings.node.xdp)?;
    privileges::allow_open_files()?;
    confinement::keep_capabilities()?;
    let failed = |error| Failure::refused(format!("cannot start the runtime: {error}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let result = runtime.block_on(serve(&settings, source, is_supervised));
    match result {
        // The lease runs, and the next daemon waits: what is written at this moment is as lost as if this one were killed.
        Ok(Ended::InPlace) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(LAST_WRITE),
    }
    result
}

async fn serve(settings: &Settings, source: Source, is_supervised: bool) -> Result<Ended, Failure> {
    let mut signals = Signals::install()?;
    let mut footprint = Footprint::default();
    match start::start(settings, &mut footprint).await {
        Ok(node) => {
            footprint.started();
            let life = run_until_stopped(node, (source, is_supervised), &footprint, &mut signals);
            let (ended, handlers, journal) = match life.await {
                Life::Ended(ended, handlers, journal) => (ended, handlers, journal),
                Life::LeftInPlace => {
                    // As the kernel finds it.
                    mem::forget(footprint);
                    return Ok(Ended::InPlace);
                }
            };
            footprint.erase().await;
            handlers.finish().await;
            journal.finish().await;
            ended
        }
        Err(failure) => {
            footprint.erase().await;
            Err(failure)
        }
    }
}

/// What became of a daemon that has started.
enum Life {
    /// What it came to, the handlers that may still be running, and the journal that may still be written.
    Ended(Result<Ended, Failure>, Stopping, Closing),
    /// All that it had goes on without it: this process has to end at once.
    LeftInPlace,
}

/// SIGTERM and SIGINT: the same orderly end. SIGHUP: reload. SIGUSR2: upgrade.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
enum Asked {
    /// By the signal of this name.
    Stop(&'static str),
    Reload,
    Upgrade,
}

impl Signals {
    fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::refused(format!("cannot handle signals: {error}"));
        let install = |kind| signal(kind).map_err(failed);
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup: install(SignalKind::hangup())?,
            upgrade: install(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }

    /// Reloads and upgrades when that is asked for, until the daemon is to stop; gives the signal's name.
    async fn wait_for_stop(&mut self, reloader: &Reloader, upgrader: &Upgrader) -> &'static str {
        loop {
            match self.next().await {
                Asked::Stop(name) => return name,
                Asked::Reload => {
                    let reloader = reloader.clone();
                    // What came of it is in the log.
                    tokio::spawn(async move { reloader.reload().await });
                }
                Asked::Upgrade => {
                    let upgrader = upgrader.clone();
                    tokio::spawn(async move { upgrader.upgrade().await });
                }
            }
        }
    }
}

/// The daemon's life: its end is a signal, an operator's wish, or something that it cannot serve without.
async fn run_until_stopped(
    node: Node,
    (source, is_supervised): (Source, bool),
    footprint: &Footprint,
    signals: &mut Signals,
) -> Life {
    let Node { control_plane, lease_thread, netlink, mut changes, server, logger, .. } = node;
    let mut inbox =
        Inbox { reports: node.reports, vrrp: node.vrrp, stored: node.stored, answers: node.answers };
    let (shared, doubts) = (Shared::new(control_plane), lease_thread.fence_doubts());
    let manager = ServiceManager::of_environment().map(Arc::new);
    let source = Arc::new(source);
    let upgrader = Upgrader::new(shared.clone(), Arc::clone(&source), is_supervised);
    let reloader = Reloader::new(shared.clone(), netlink.clone(), source, footprint.ears(), manager.clone());
    let asked = (shared.clone(), reloader.clone(), upgrader.clone());
    let access = Access::new(shared.with(|plane| plane.settings.node.control_group.clone()));
    let clients = tokio::spawn(server.serve(access, move |request| {
        let (shared, reloader, upgrader) = asked.clone();
        answer(shared, reloader, upgrader, request)
    }));
    let watchers = watching::start(&shared);
    let logger = logger.map(|logger| tokio::spawn(logger.forward()));
    let ended = {
        let stop = async {
            let name = signals.wait_for_stop(&reloader, &upgrader).await;
            shared.with(|plane| plane.tell_stopping(format!("{name}: handing over what this node holds")));
            manager.iter().for_each(|manager| manager.stopping());
            shared.with(ControlPlane::end_states);
            handover::retire(&shared, "released").await;
        };
        tokio::select! {
            () = stop => Ok(Ended::Stopped),
            end = live(&shared, &mut inbox, &netlink, &mut changes) => end,
            failure = fence_lost(&shared, &netlink, footprint, &doubts) => Err(failure),
            never = service::keep_told(manager.as_deref(), &shared, lease_thread.pulse()) => match never {},
        }
    };
    if let Ok(Ended::InPlace) = ended {
        let (handlers, journal) = shared.with(|plane| (plane.pause_events(), plane.close_journal(&ended)));
        let last_words = async {
            handlers.finish().await;
            journal.finish().await;
        };
        // Until they are done, this daemon is the one that serves.
        tokio::select! {
            () = last_words => {}
            _ = live(&shared, &mut inbox, &netlink, &mut changes) => {}
        }
        return Life::LeftInPlace;
    }
    if ended.is_err() {
        // The fence may be down; leases and threads can take their time.
        footprint.remove_vips().await;
    }
    let farewell = shared.with(ControlPlane::farewell);
    let handlers = shared.with(ControlPlane::stop_events);
    let journal = shared.with(|plane| plane.close_journal(&ended));
    // First: others may take over sooner.
    if let Some(thread) = shared.with(|plane| plane.vrrp.take_thread()) {
        thread.stop();
    }
    lease_thread.stop(farewell);
    watchers.abort();
    let _ = watchers.await;
    clients.abort();
    let _ = clients.await;
    if let Some(logger) = logger {
        logger.abort();
    }
    Life::Ended(ended, handlers, journal)
}

/// What comes to the control plane from other threads and tasks of the daemon.
struct Inbox {
    reports: mpsc::Receiver<Report>,
    vrrp: mpsc::Receiver<vrrp_thread::Report>,
    stored: mpsc::Receiver<Durable>,
    answers: mpsc::Receiver<Answer>,
}

/// Looks at the fence now and then, and when there is a reason to doubt it, until it is lost.
async fn fence_lost(shared: &Shared, netlink: &Netlink, footprint: &Footprint, doubts: &Notify) -> Failure {
    loop {
        let _ = tokio::time::timeout(FENCE_CHECK, doubts.notified()).await;
        if shared.with(|plane| plane.vrrp.has_ended()) {
            return Failure::refused("the VRRP thread has ended unexpectedly");
        }
        if let Some((iface, lost)) = footprint.lost_fence() {
            if shared.with(|plane| plane.interfaces.home.name != iface) {
                withdraw(shared, netlink).await;
            }
            return Failure::refused(lost.to_string());
        }
    }
}

/// An interface is lost, and not the one where the nodes talk to each other: takes the VIPs off this machine, and lets
/// other nodes take over before the daemon ends.
async fn withdraw(shared: &Shared, netlink: &Netlink) {
    let dummy = shared.with(|plane| {
        plane.withdraw();
        plane.dummy.clone()
    });
    if let Some(dummy) = dummy
        && let Err(error) = netlink.remove_dummy(&dummy).await
    {
        warn!("{error}");
    }
    handover::let_go(shared).await;
}

/// Handles what happens, until something does that the daemon cannot live with, or an operator takes the node out.
async fn live(
    shared: &Shared,
    inbox: &mut Inbox,
    netlink: &Netlink,
    changes: &mut Changes,
) -> Result<Ended, Failure> {
    let mut checks = shared.with(|plane| plane.health.results());
    loop {
        if let Some(end) = shared.with(ControlPlane::take_end) {
            return end;
        }
        if shared.with(ControlPlane::take_presence_changed) {
            presence::put_in_order(shared, netlink, true).await;
        }
        let deadline = shared.with(|plane| plane.next_deadline());
        let result = tokio::select! {
            report = inbox.reports.recv() => match report {
                Some(report) => shared.with(|plane| plane.handle_report(report)),
                None => Err(Failure::refused("the lease thread has ended unexpectedly")),
            },
            Some(report) = inbox.vrrp.recv() => {
                shared.with(|plane| plane.handle_vrrp(report));
                Ok(())
            }
            Some(answer) = inbox.answers.recv() => {
                shared.with(|plane| plane.handle_answer(answer));
                Ok(())
            }
            Some(durable) = inbox.stored.recv() => {
                shared.with(|plane| plane.handle_stored(durable));
                Ok(())
            }
            change = changes.next() => match change {
                Ok(change) => handle_change(shared, netlink, change).await,
                Err(error) => Err(Failure::refused(format!("netlink notifications have ended: {error}"))),
            },
            () = checks.next() => {
                shared.with(ControlPlane::handle_checks);
                Ok(())
            }
            () = shared.asked() => Ok(()),
            () = tokio::time::sleep(Duration::from_nanos(deadline.saturating_sub(clock::now()))) => {
                shared.with(ControlPlane::handle_timeout);
                Ok(())
            }
        };
        result?;
    }
}

/// Something about links or addresses has changed: the interfaces that it is about are looked at anew, and the VIPs are put
/// back.
async fn handle_change(shared: &Shared, netlink: &Netlink, change: Change) -> Result<(), Failure> {
    let (interfaces, dummy) = shared.with(|plane| (plane.interfaces.clone(), plane.dummy.clone()));
    let (changed, vip_link) = match &change {
        Change::Link { index, name, .. } => (Some(*index), Some(name) == dummy.as_ref()),
        Change::Address { index } => (Some(*index), interfaces.by_index(*index).is_none()),
        Change::Resync => (None, true),
    };
    for interface in
        interfaces.iter().filter(|interface| changed.is_none_or(|index| index == interface.index))
    {
        shared.with(|plane| plane.plane.look_at_addresses());
        match look_at(shared, netlink, interface).await {
            Err(failure) if interfaces.is_home(interface.index) => return Err(failure),
            Err(failure) => {
                let (shared, netlink) = (shared.clone(), netlink.clone());
                tokio::spawn(async move {
                    withdraw(&shared, &netlink).await;
                    shared.ask(|plane| plane.end(Err(failure)));
                });
            }
            Ok(()) => {}
        }
    }
    if vip_link {
        presence::put_in_order(shared, netlink, false).await;
    }
    Ok(())
}

/// Looks at an interface that is served.
///
/// # Errors
/// It is not what it was, and cannot be served any more.
async fn look_at(shared: &Shared, netlink: &Netlink, interface: &Interface) -> Result<(), Failure> {
    let Interface { name, index, .. } = interface;
    match netlink.interface(name).await {
        Ok(Some(now)) if now.index == *index => {
            let back = shared.with(|plane| plane.handle_interface(&now))?;
            if back && let Err(error) = netlink.forget_unresolved(*index).await {
                warn!("{error}");
            }
        }
        Ok(_) => {
            return Err(Failure::refused(format!(
                "the interface {name} is gone; start again when it is back"
            )));
        }
        Err(error) => warn!("{error}"),
    }
    Ok(())
}

/// Answers the clients of the control socket.
async fn answer(shared: Shared, reloader: Reloader, upgrader: Upgrader, request: Request) -> Reply {
    match request {
        Request::Status => Reply::ok(&shared.with(ControlPlane::status)),
        Request::Members => Reply::ok(&shared.with(|plane| plane.members())),
        Request::History { after } => Reply::ok(&shared.with(|plane| plane.journal.since(after))),
        Request::Reload => Reply::ok(&reloader.reload().await),
        Request::Upgrade => Reply::ok(&upgrader.upgrade().await),
        Request::Leave => shared.ask(ControlPlane::leave),
        Request::Join { address } => contacts::join(&shared, address).await,
        Request::Forget { node } => shared.ask(|plane| plane.forget(&node)),
        Request::Handover { group, to } => {
            handover::hand_over(&shared, group.as_deref(), to.as_deref()).await
        }
        Request::Maintenance { on } => maintenance::set(&shared, on).await,
        Request::Event { name, payload, coalesce } => {
            shared.ask(|plane| plane.make_event(&name, &payload, coalesce))
        }
        Request::Query { name, payload, nodes, timeout_ms } => {
            let timeout = timeout_ms.saturating_mul(1_000_000);
            match shared.ask(|plane| plane.ask_nodes((&name, &payload), &nodes, timeout)) {
                Ok(outcome) => match outcome.await {
                    Ok(outcome) => Reply::ok(&shared.with(|plane| plane.explain_outcome(outcome))),
                    Err(_) => Reply::Error("the daemon ends".to_owned()),
                },
                Err(reason) => Reply::Error(reason),
            }
        }
    }
}
