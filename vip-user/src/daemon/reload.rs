//! Reload: the configuration is read anew, and the running daemon follows it. Leases of what has not changed do not notice.
//!
//! All of it is parsed and looked at first: what cannot be followed as a whole changes nothing. Then, in this order, so that no
//! VIP is on this machine without a fence, and no word is touched that the lease thread may write to:
//!
//! 1. Groups that go, or get another MAC address, are handed over or given back, and the lease thread parts with them.
//! 2. VIPs that go come off the machine.
//! 3. The tables of the data plane are others from one instant on. A group that is new begins with a quarantine.
//! 4. The lease thread takes part in new groups, and what is held is announced.
//! 5. VIPs that are new come onto the machine.

use std::collections::BTreeSet;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};
use vip_common::wire::name_hash;

use super::contacts;
use super::control_plane::{ControlPlane, nanoseconds};
use super::ears::Ears;
use super::groups::Group;
use super::handover::{LINGER, LOOK_EVERY};
use super::lease_thread::{Order, Regrouping};
use super::live_nodes::LiveNodes;
use super::plane::ControlSide;
use super::presence;
use super::shared::Shared;
use super::slots::{Slots, group_ids, virtual_mac_of};
use super::start::{self, netlink_failure, refused};
use super::vrrp;
use crate::announce::Announcer;
use crate::clock;
use crate::config::{self, Cluster, Node, Paths, Settings, Source, changes};
use crate::control::{NotDone, Reloaded};
use crate::dataplane::{self, Pins};
use crate::election::State;
use crate::events::Own;
use crate::exit::{Exit, Failure};
use crate::journal::{Happening, Kind};
use crate::membership::{Hello, Offer, Profile, Rules, Severity};
use crate::netlink::{Interface, Netlink};
use crate::service::ServiceManager;
use crate::signer::WireKeys;

/// What a reload works with; clones are the same.
#[derive(Clone)]
pub(super) struct Reloader {
    shared: Shared,
    netlink: Netlink,
    source: Arc<Source>,
    ears: Arc<[Arc<Ears>]>,
    manager: Option<Arc<ServiceManager>>,
    /// One at a time.
    turn: Arc<Mutex<()>>,
}

impl Reloader {
    /// For the daemon that was started from `source`, by this manager, and whose interfaces have these ears.
    pub(super) fn new(
        shared: Shared,
        netlink: Netlink,
        source: Arc<Source>,
        ears: Vec<Arc<Ears>>,
        manager: Option<Arc<ServiceManager>>,
    ) -> Self {
        Self { shared, netlink, source, ears: ears.into(), manager, turn: Arc::default() }
    }

    /// Reloads, and says in the log what came of it.
    pub(super) async fn reload(&self) -> Reloaded {
        let result = {
            let _turn = self.turn.lock().await;
            self.manager.iter().for_each(|manager| manager.reloading());
            let result = self.follow().await;
            // What it was told before still holds, whatever came of this.
            self.manager.iter().for_each(|manager| manager.ready());
            result
        };
        match &result {
            Ok(changes) if changes.is_empty() => {
                info!("reload: the configuration says what it has said before")
            }
            Ok(changes) => {
                changes.iter().for_each(|change| self.tell(Severity::Info, format!("reload: {change}")));
            }
            Err(failure) => self.tell(Severity::Error, format!("reload: {failure}")),
        }
        let not = |Failure { exit, message }| NotDone {
            reason: message,
            bad_configuration: exit == Exit::BadConfiguration,
        };
        Reloaded { result: result.map_err(not) }
    }

    fn tell(&self, severity: Severity, text: String) {
        let what = Happening { severity, ..Happening::new(Kind::Reload, text) };
        self.shared.with(|plane| plane.journal.tell(what));
    }

    async fn follow(&self) -> Result<Vec<String>, Failure> {
        let source = Arc::clone(&self.source);
        let read = spawn_blocking(move || source.load()).await;
        let new = read.map_err(|error| refused(format!("the configuration was not read: {error}")))??;
        let old = self.shared.with(|plane| plane.settings.clone());
        let changes = changes(&old, &new)?;
        if changes.is_empty() {
            return Ok(changes);
        }
        self.check(&old, &new).await?;
        let (teed, is_to_tee) = (!old.tees.is_empty(), !new.tees.is_empty());
        if is_to_tee && !teed {
            self.with_tee_program(dataplane::attach_tee).await?;
        }
        if old.groups != new.groups {
            self.regroup(&new).await?;
        }
        let followed = self.shared.ask(|plane| plane.follow(new));
        followed.inspect_err(|failure| self.give_up(failure))?;
        if teed && !is_to_tee {
            self.with_tee_program(|pins, iface| dataplane::remove_tee(iface, &pins.tee(iface))).await?;
        }
        Ok(changes)
    }

    /// Puts the program that copies where it belongs, or takes it away. Without ports that are teed, it does nothing.
    async fn with_tee_program(
        &self,
        work: impl FnOnce(&Pins, &str) -> Result<(), dataplane::Error> + Send + 'static,
    ) -> Result<(), Failure> {
        let (pins, iface) = self.shared.with(|plane| plane.tee_place());
        let done = spawn_blocking(move || work(&pins, &iface)).await;
        done.map_err(|error| refused(format!("the tee: {error}")))?
            .map_err(|error| refused(format!("the tee: {error}")))
    }

    /// Half of it is done. What this node holds goes to others; the next start does all of it.
    fn give_up(&self, failure: &Failure) {
        self.shared.ask(|plane| plane.end(Err(failure.clone())));
    }

    /// What only a running daemon can tell.
    async fn check(&self, old: &Settings, new: &Settings) -> Result<(), Failure> {
        group_ids(new)?;
        self.shared.with(|plane| {
            start::check_vips(new, &plane.interfaces)?;
            plane.check_hello(new)?;
            plane.check_groups(old, new)?;
            plane.check_tees(new)
        })?;
        let known = addresses(&old.groups);
        let added: Vec<IpAddr> = addresses(&new.groups).difference(&known).copied().collect();
        let home = self.shared.with(|plane| plane.vip_interface());
        for (vip, owner) in self.netlink.foreign_owners(&added, &home).await.map_err(netlink_failure)? {
            warn!(
                "{vip} is on {owner} as well: the kernel answers for it there, lease or not; remove it there"
            );
        }
        Ok(())
    }

    async fn regroup(&self, new: &Settings) -> Result<(), Failure> {
        if !self.shared.with(|plane| plane.has_xdp()) {
            self.shared.with(|plane| plane.set_groups_without_xdp(new));
            return Ok(());
        }
        let parted = self.withdraw(new).await?;
        if let Err(failure) = self.listen(new).await {
            self.shared.ask(ControlPlane::stay_in_all_groups);
            return Err(failure);
        }
        self.part(parted).await;
        self.shared.with(|plane| plane.drop_vips_but_of(new));
        presence::put_in_order(&self.shared, &self.netlink, true).await;
        let regrouped = self.shared.with(|plane| plane.regroup(new));
        let announcers = regrouped.inspect_err(|failure| self.give_up(failure))?;
        presence::put_in_order(&self.shared, &self.netlink, true).await;
        if let Ok(former) = announcers.await {
            // Their threads end when they have sent what they are at.
            drop(spawn_blocking(move || drop(former)));
        }
        Ok(())
    }

    /// Gives up the groups that go or are to be made anew; gives their slots, when this node holds none of them, and none is
    /// being handed over.
    ///
    /// # Errors
    /// One stays held. Nothing has changed then.
    async fn withdraw(&self, new: &Settings) -> Result<Vec<u32>, Failure> {
        let mut held = self.shared.ask(|plane| plane.leave_groups_but_of(new));
        let is_any_held = held.is_some();
        let deadline = clock::now().saturating_add(nanoseconds(self.shared.with(|plane| plane.patience())));
        while let Some(group) = held {
            if clock::now() >= deadline {
                self.shared.ask(ControlPlane::stay_in_all_groups);
                return Err(refused(format!(
                    "group {group:?} could not be given up, and so nothing has been changed"
                )));
            }
            sleep(LOOK_EVERY).await;
            held = self.shared.with(|plane| plane.group_that_changes_hands());
        }
        if is_any_held {
            // What still comes goes on to the next holders, until they have been heard of.
            sleep(LINGER).await;
        }
        Ok(self.shared.with(|plane| plane.slots_to_leave()))
    }

    /// Waits until the lease thread has parted with these groups.
    async fn part(&self, slots: Vec<u32>) {
        let (done, parted) = oneshot::channel();
        self.shared.with(|plane| plane.orders.give(Order::Part { slots, done }));
        // In vain only if that thread has ended, and so will the daemon.
        let _ = parted.await;
        if let Some(parted) = self.shared.with(ControlPlane::part_with_vrrp) {
            let _ = parted.await;
        }
    }

    /// Takes in what is for the VIPs as they are to be.
    async fn listen(&self, new: &Settings) -> Result<(), Failure> {
        let cluster = name_hash(&new.cluster.name);
        let macs: BTreeSet<_> =
            new.groups.iter().filter_map(|group| virtual_mac_of(cluster, group)).collect();
        let interfaces = self.shared.with(|plane| plane.interfaces.clone());
        for ears in self.ears.iter() {
            ears.open(macs.clone(), start::vips6_on(new, &interfaces, ears.index())).await?;
        }
        Ok(())
    }
}

fn addresses(groups: &[config::Group]) -> BTreeSet<IpAddr> {
    groups.iter().flat_map(|group| &group.vips).map(|vip| vip.address).collect()
}

/// The group of this name.
fn named<'a>(groups: &'a [config::Group], name: &str) -> Option<&'a config::Group> {
    groups.iter().find(|group| group.name == name)
}

/// The same groups, with the same VIPs, as the data plane has them.
fn are_placed_alike(old: &[config::Group], new: &[config::Group]) -> bool {
    let is_alike = |one: &config::Group, other: &config::Group| {
        let config::Group { name, vips, virtual_mac, router, presence, stale_forwarding, .. } = one;
        *name == other.name
            && *vips == other.vips
            && *virtual_mac == other.virtual_mac
            && *router == other.router
            && *presence == other.presence
            && *stale_forwarding == other.stale_forwarding
    };
    old.len() == new.len() && old.iter().zip(new).all(|(one, other)| is_alike(one, other))
}

impl ControlPlane {
    const fn has_xdp(&self) -> bool {
        matches!(self.plane, ControlSide::Xdp(_))
    }

    /// What the VIPs are on.
    fn vip_interface(&self) -> String {
        self.dummy.clone().unwrap_or_else(|| self.interfaces.home.name.clone())
    }

    /// Whether this node can say of itself what the configuration has it say.
    fn check_hello(&self, new: &Settings) -> Result<(), Failure> {
        let Profile { tags, priority, interval_ns, .. } = profile(new);
        let offer = |group: &config::Group| Offer {
            group: name_hash(&group.name),
            priority: group.priority,
            preempt: group.preempt,
        };
        let leases = new.groups.iter().filter(|group| group.protocol.runs().is_none());
        let groups = leases.map(offer).collect();
        let hello = Hello { tags, priority, interval_ns, groups, ..self.membership.hello() };
        hello.encode().map(drop).map_err(|error| Failure::configuration(error.to_string()))
    }

    /// Whether the groups can be others while this daemon runs.
    fn check_groups(&self, old: &Settings, new: &Settings) -> Result<(), Failure> {
        let start_again = "so nothing has been changed: start the daemon again";
        if !self.has_xdp() && !are_placed_alike(&old.groups, &new.groups) {
            return Err(refused(format!(
                "without XDP, groups and their VIPs cannot change while the daemon runs, {start_again}"
            )));
        }
        let names =
            |groups: &[config::Group]| groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        if self.pair.is_some() && names(&old.groups) != names(&new.groups) {
            return Err(refused(format!(
                "with cluster.pair, groups cannot come or go while the daemon runs, {start_again}"
            )));
        }
        let native = self.interfaces.iter().find(|interface| interface.veth && !interface.generic_xdp);
        match native.filter(|_| new.groups.iter().any(|group| group.virtual_mac)) {
            Some(Interface { name, .. }) => Err(refused(format!(
                "{name} is a veth, on which native XDP cannot serve a group with virtual_mac, {start_again}"
            ))),
            None => Ok(()),
        }
    }

    /// What is the daemon's alone changes.
    fn set_groups_without_xdp(&mut self, new: &Settings) {
        for (group, settings) in self.groups.iter_mut().zip(&new.groups) {
            group.settings = config::Group { stale_forwarding: false, ..settings.clone() };
        }
    }

    /// This node is to give up the groups that are not to be there any more as they are; gives one that changes hands.
    fn leave_groups_but_of(&mut self, new: &Settings) -> Option<String> {
        let cluster = name_hash(&self.settings.cluster.name);
        for group in &mut self.groups {
            let stays = named(&new.groups, &group.settings.name)
                .is_some_and(|next| vrrp::kind(cluster, next) == vrrp::kind(cluster, &group.settings));
            group.is_leaving = !stays;
        }
        self.order_eligibility();
        self.settle();
        self.group_that_changes_hands()
    }

    /// The reload has failed.
    fn stay_in_all_groups(&mut self) {
        self.groups.iter_mut().for_each(|group| group.is_leaving = false);
        self.order_eligibility();
        self.settle();
    }

    /// A group that is still to be given up, or that is being handed over.
    fn group_that_changes_hands(&self) -> Option<String> {
        let now = clock::now();
        let is_held = |group: &Group| group.part == State::Holder || self.words.holds(group.slot, now);
        let changes =
            |group: &&Group| group.is_leaving && is_held(group) || group.handovers.is_under_way(now);
        self.groups.iter().find(changes).map(|group| group.settings.name.clone())
    }

    fn slots_to_leave(&self) -> Vec<u32> {
        self.groups.iter().filter(|group| group.is_leaving).map(|group| group.slot).collect()
    }

    fn drop_vips_but_of(&mut self, new: &Settings) {
        let stay = addresses(&new.groups);
        for group in &mut self.groups {
            group.settings.vips.retain(|vip| stay.contains(&vip.address));
        }
    }

    /// Has the data plane and the lease thread know the groups as they are to be. Gives where the former announcers come out.
    fn regroup(&mut self, new: &Settings) -> Result<oneshot::Receiver<Vec<Arc<Announcer>>>, Failure> {
        self.drop_tees_but_of(new).map_err(refused)?;
        let ControlSide::Xdp(tables) = &mut self.plane else { return Err(refused("there is no XDP here")) };
        let slots = Slots::assign(new, &self.interfaces, tables, &self.words, clock::now())?;
        let announcers = start::announcers(&self.interfaces, &slots, &self.words)?;
        let mut former = mem::take(&mut self.groups);
        former.extract_if(.., |group| group.is_leaving).for_each(|group| self.tell_removed(group));
        let known: BTreeSet<u32> = former.iter().map(|group| group.id).collect();
        let election = start::election_settings(new, self.id);
        let added = slots.iter().filter(|slot| slot.has_lease() && !known.contains(&slot.id));
        let added = added.map(|slot| slot.lease(election, start::seed(slot))).collect();
        self.groups = slots
            .iter()
            .map(|slot| match former.iter().position(|group| group.id == slot.id) {
                Some(index) => former.swap_remove(index).with(slot.settings.clone()),
                None => slot.group(),
            })
            .collect();
        let voters = self.membership.configuration().map_or(&[][..], |current| current.voters()).to_vec();
        let forwards = slots.iter().map(|slot| (slot.number, slot.settings.stale_forwarding)).collect();
        self.vrrp.announce_by(announcers.clone());
        let (done, announced) = oneshot::channel();
        self.orders.give(Order::Regroup(Regrouping { added, voters, forwards, announcers, done }));
        Ok(announced)
    }

    /// All that is not about groups is as configured from now on; and the elections know all groups.
    fn follow(&mut self, new: Settings) -> Result<(), Failure> {
        let former = mem::replace(&mut self.settings, new);
        self.follow_tees().map_err(refused)?;
        let Settings { node, cluster, groups: _, tees: _, checks, handlers, paths } = &self.settings;
        // Those that are not named here are the same as before, or of the start alone.
        let (Node { name, tags, metrics, .. }, Paths { live_nodes, .. }) = (node, paths);
        let Cluster { keys, transport, join, interval, .. } = cluster;
        if *keys != former.cluster.keys {
            let keys = WireKeys::new(keys);
            self.plane.set_keys(&keys).map_err(refused)?;
            self.orders.give(Order::Keys(keys));
        }
        if *interval != former.cluster.interval {
            self.orders.give(Order::Interval(nanoseconds(*interval)));
        }
        if *live_nodes != former.paths.live_nodes {
            self.live_nodes = live_nodes.clone().map(LiveNodes::start);
        }
        self.watching.serve_at(*metrics);
        if *checks != former.checks
            && let Err(error) = self.health.follow(&self.settings)
        {
            warn!("no check is run any more: {error}; start the daemon again");
        }
        self.events.set_own(Own { name: name.clone(), tags: tags.clone() });
        self.events.set_handlers(handlers);
        self.interfaces.set_ways(transport.clone(), join.clone());
        let now = clock::now();
        if let Some(own) = self.interfaces.own_address() {
            self.contacts.reconfigure(contacts::settings(&self.settings, own), now);
        }
        self.membership.set_profile(profile(&self.settings), now);
        if former.node.tags != self.settings.node.tags {
            self.tell_of_own_update();
        }
        self.order_eligibility();
        self.rank();
        self.settle();
        self.settle_contacts();
        self.list_live_nodes();
        Ok(())
    }
}

/// What the membership is told anew.
fn profile(settings: &Settings) -> Profile {
    let Settings { node, cluster, .. } = settings;
    Profile {
        tags: node.tags.clone(),
        priority: node.priority,
        interval_ns: nanoseconds(cluster.interval),
        rules: Rules { voter_after: nanoseconds(cluster.voter_after), reap: cluster.reap.map(nanoseconds) },
    }
}
