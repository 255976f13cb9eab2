//! The control plane: membership and all that the lease thread need not be kept waiting for.
//!
//! One value, which all tasks of the daemon share: see `shared`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use nix::net::if_::if_indextoname;
use tracing::{debug, error, info, warn};
use vip_common::maps::{self, COUNTERS, Counter, Event, EventKind};
use vip_common::wire::Kind;

use super::conflicts::Conflicts;
use super::gossip::GossipSide;
use super::groups::Group;
use super::health::HealthSide;
use super::interfaces::Interfaces;
use super::journal::Journal;
use super::lease_thread::{Order, OrderBook, Report};
use super::live_nodes::LiveNodes;
use super::mode::Mode;
use super::pairing::Pairing;
use super::plane::ControlSide;
use super::preemption::{self, Preemption};
use super::storage::Storage;
use super::tee::TeeSide;
use super::upgrade::Ended;
use super::vrrp::VrrpSide;
use super::watching::Watching;
use crate::clock;
use crate::config::Settings;
use crate::contacts::{Contacts, Way};
use crate::dataplane::{Counters, Words};
use crate::exit::Failure;
use crate::handlers::Events;
use crate::journal::{Happening, Kind as Change};
use crate::logging::Losses;
use crate::membership::{self, Action, Durable, Hello, Member, Membership, Severity};
use crate::netlink::Interface;
use crate::signer::Claimed;
use crate::status::{self, MemberStatus, Status};

/// See the module.
pub(super) struct ControlPlane {
    pub(super) settings: Settings,
    pub(super) id: u16,
    pub(super) interfaces: Interfaces,
    /// This node gives up what it holds, and ends: an interface is lost for good.
    pub(super) is_withdrawn: bool,
    /// What the VIPs are on; `None`: without XDP, the interface itself.
    pub(super) dummy: Option<String>,
    /// This node has taken or given up a group whose VIPs come and go with it.
    pub(super) presence_changed: bool,
    pub(super) groups: Vec<Group>,
    pub(super) words: Words,
    pub(super) plane: ControlSide,
    pub(super) mode: Mode,
    pub(super) membership: Membership,
    pub(super) contacts: Contacts,
    pub(super) journal: Journal,
    pub(super) log_losses: Losses,
    pub(super) health: HealthSide,
    pub(super) preemption: Preemption,
    pub(super) conflicts: Conflicts,
    pub(super) orders: OrderBook,
    pub(super) vrrp: VrrpSide,
    pub(super) storage: Storage,
    pub(super) gossip: GossipSide,
    /// Whether packets from a VIP that another node serves are kept from leaving.
    pub(super) egress_fence: bool,
    pub(super) tee: TeeSide,
    pub(super) events: Events,
    /// The daemon has been asked to stop.
    pub(super) is_ending: bool,
    pub(super) live_nodes: Option<LiveNodes>,
    /// Where `cluster.pair` is set.
    pub(super) pair: Option<Pairing>,
    pub(super) watching: Watching,
    /// How the daemon is to end, once it is.
    pub(super) end: Option<Result<Ended, Failure>>,
}

impl ControlPlane {
    /// Begins: the first orders go to the lease thread. `adopts`: on the data plane of a former run.
    pub(super) fn begin(&mut self, adopts: bool) {
        self.begin_states();
        self.tell_of_itself(adopts);
        for interface in self.interfaces.iter().filter(|interface| !interface.carrier) {
            tell_carrier(&mut self.journal, interface);
        }
        if self.health.is_in_maintenance {
            warn!("this node is in maintenance: it takes nothing until `vip-user maintenance off`");
        }
        let now = clock::now();
        for group in &mut self.groups {
            // By a former run.
            group.is_served = self.words.holds(group.slot, now);
        }
        self.warn_of_pair_mode();
        self.order_eligibility();
        self.settle();
        self.settle_contacts();
    }

    /// Lets the daemon end, as soon as it looks.
    pub(super) fn end(&mut self, how: Result<Ended, Failure>) {
        self.end.get_or_insert(how);
    }

    /// How the daemon is to end, if it is.
    pub(super) fn take_end(&mut self) -> Option<Result<Ended, Failure>> {
        self.end.take()
    }

    /// When to call [`Self::handle_timeout`], in CLOCK_BOOTTIME ns.
    pub(super) fn next_deadline(&self) -> u64 {
        let others =
            [self.gossip.next_deadline(), self.contacts.next_deadline(), self.events.next_deadline()];
        others.into_iter().flatten().fold(self.membership.next_deadline(), u64::min)
    }

    /// A deadline has come.
    pub(super) fn handle_timeout(&mut self) {
        let now = clock::now();
        self.look_after_contacts(now);
        if self.gossip.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_gossip_timeout();
        }
        if self.events.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.events.handle_timeout(now);
        }
        if self.membership.next_deadline() <= now {
            self.look_after_members();
        }
    }

    fn look_after_members(&mut self) {
        match self.plane.peers() {
            Ok(peers) => peers.iter().for_each(|(id, peer)| self.membership.heard(*id, peer.last_heard)),
            Err(error) => warn!("{error}"),
        }
        self.membership.handle_timeout(clock::now());
        self.settle();
        // The outcome of a handover may not have been told, and a target may have come.
        self.order_eligibility();
        self.tell_of_checks();
        self.look_at_holders();
        self.warn_of_vacancies();
        self.look_for_quorums();
        self.log_losses.tell(clock::now());
        self.list_standbys();
    }

    /// A write has reached the disk.
    pub(super) fn handle_stored(&mut self, durable: Durable) {
        self.membership.handle_stored(durable, clock::now());
        self.settle();
    }

    /// The lease thread has something to tell.
    ///
    /// # Errors
    /// When this node must not go on.
    pub(super) fn handle_report(&mut self, report: Report) -> Result<(), Failure> {
        match report {
            Report::Election { slot, said, tally, at } => self.handle_election(slot, said, &tally, at),
            Report::Letter { kind: Kind::Hello, from, way, body } => self.read_hello(from, way, &body),
            Report::Letter { kind: Kind::Gossip, from, way, body } => self.read_gossip(from, way, &body),
            Report::Letter { kind, from, .. } => debug!("{kind:?} of node {} is not for the daemon", from.id),
            Report::Event(event) => self.handle_event(&event),
            Report::Probe { probe, name, from } => self.handle_probe(probe, &name, from),
            Report::Taken { claimed: Claimed::Id, by } => return Err(id_taken(self.id, by)),
            Report::Taken { claimed: Claimed::Name, by } => {
                return Err(name_taken(&self.settings.node.name, by));
            }
            Report::Alone(is_alone) => self.handle_alone(is_alone),
        }
        Ok(())
    }

    /// An interface that is served has changed. Says whether its carrier is back.
    ///
    /// # Errors
    /// When its MAC address is another one: answers and announcements under way have the old one.
    pub(super) fn handle_interface(&mut self, now: &Interface) -> Result<bool, Failure> {
        let mut addresses = now.addresses.clone();
        // Without XDP, they come and go here.
        addresses.retain(|(address, _)| !self.is_vip(*address));
        let now = Interface { addresses, ..now.clone() };
        let own_before = self.interfaces.own_address();
        let Some(before) = self.interfaces.update(&now) else { return Ok(false) };
        if now.mac != before.mac {
            return Err(Failure::refused(format!(
                "the MAC address of {} has changed; start again",
                now.name
            )));
        }
        if self.interfaces.own_address() != own_before {
            self.readdress();
        }
        if before.addresses != now.addresses {
            self.order_asking();
        }
        if before.mtu != now.mtu {
            info!(iface = %now.name, "packets of up to {} bytes (before: {})", now.mtu, before.mtu);
        }
        // The source of adverts may be another one, or there is one at last.
        if before.carrier == now.carrier
            && (before.addresses != now.addresses || before.tentative != now.tentative)
        {
            self.order_eligibility();
        }
        if before.carrier != now.carrier {
            tell_carrier(&mut self.journal, &now);
            self.order_eligibility();
            self.settle();
            self.tell_states();
        }
        Ok(now.carrier && !before.carrier)
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        self.groups.iter().flat_map(|group| &group.settings.vips).any(|vip| vip.address == address)
    }

    /// The last Hello: this node is leaving.
    pub(super) fn farewell(&mut self) -> Vec<u8> {
        self.membership.leave(clock::now());
        self.encoded_hello().unwrap_or_default()
    }

    /// What `status` shows.
    pub(super) fn status(&mut self) -> Status {
        let now = clock::now();
        self.observe_groups(now);
        let insecure = matches!(self.settings.cluster.keys, crate::config::Keys::Insecure);
        Status {
            node: self.settings.node.name.clone(),
            id: self.id,
            iface: self.interfaces.home.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            xdp: self.mode.xdp,
            xdp_reason: self.mode.reason.clone(),
            interfaces: self.interfaces.status(self.mode.xdp),
            egress_fence: self.egress_fence,
            epoch: self.membership.configuration().map_or(0, |configuration| configuration.epoch().into()),
            insecure,
            groups: self
                .groups
                .iter()
                .map(|group| {
                    let holds = |id| {
                        if group.has_lease() { self.name_of(id) } else { self.settings.node.name.clone() }
                    };
                    group.status(&self.words, now, holds)
                })
                .collect(),
            members: self.members(),
            counters: summary(&self.outcomes()),
            lease_ms: self.settings.cluster.lease.as_secs_f64() * 1e3,
            pair: self.pair_status(),
            maintenance: self.health.is_in_maintenance,
            checks: self.health.status(),
            tees: self.tee_status(),
        }
    }

    /// What `members` shows.
    pub(super) fn members(&self) -> Vec<status::Member> {
        let now = clock::now();
        let peers = self.plane.peers().unwrap_or_default();
        let known = self.membership.members().map(|member| self.member(member, &peers, now));
        known.chain(self.absent_voters()).collect()
    }

    /// Voters that have not been heard since this daemon started: who is missing is what an operator looks for.
    fn absent_voters(&self) -> impl Iterator<Item = status::Member> {
        let voters = self.membership.configuration().map_or(&[][..], |configuration| configuration.voters());
        let absent = voters.iter().filter(|id| self.membership.members().all(|member| member.id != **id));
        absent.map(|id| status::Member {
            name: self.name_of(*id),
            id: *id,
            address: String::new(),
            status: MemberStatus::Failed,
            voter: true,
            priority: 0,
            last_heard_ms: None,
            version: String::new(),
            round_trip_ms: None,
            tags: BTreeMap::new(),
        })
    }

    fn member(&self, member: &Member, peers: &BTreeMap<u16, maps::Peer>, now: u64) -> status::Member {
        let last_heard = peers.get(&member.id).map_or(0, |peer| peer.last_heard).max(member.last_heard_ns);
        let ago = if member.id == self.id { 0.0 } else { now.saturating_sub(last_heard) as f64 / 1e6 };
        let configuration = self.membership.configuration();
        status::Member {
            name: member.hello.name.clone(),
            id: member.id,
            address: member.address.to_string(),
            status: match member.status {
                membership::Status::Alive => MemberStatus::Alive,
                membership::Status::Leaving => MemberStatus::Leaving,
                membership::Status::Failed => MemberStatus::Failed,
                membership::Status::Left => MemberStatus::Left,
            },
            voter: configuration.is_some_and(|configuration| configuration.contains(member.id)),
            priority: member.hello.priority,
            last_heard_ms: Some(ago),
            version: member.hello.version.clone(),
            round_trip_ms: self.gossip.round_trip(member.id).map(|ns| ns as f64 / 1e6),
            tags: member.hello.tags.clone(),
        }
    }

    /// What has become of all frames; zeros if that cannot be read.
    pub(super) fn outcomes(&self) -> Counters {
        self.plane.counters().unwrap_or_else(|error| {
            warn!("{error}");
            Counters::new([0; COUNTERS])
        })
    }

    /// Carries out what the membership asks for, unless the daemon is to end: what follows an action that has failed
    /// must not be done.
    pub(super) fn settle(&mut self) {
        let mut nodes_changed = false;
        self.order_pair();
        while self.end.is_none()
            && let Some(action) = self.membership.poll_action()
        {
            nodes_changed |= matches!(action, Action::PeersChanged | Action::Member(..) | Action::Adopt(_));
            match action {
                Action::SendHello => self.send_hello(),
                Action::StoreConsent(consent) => self.storage.write(Durable::Consent(consent)),
                Action::StoreConfiguration(configuration) => {
                    self.storage.write(Durable::Configuration(configuration));
                }
                Action::StorePledge(pledge) => self.storage.write(Durable::Pledge(pledge)),
                Action::Adopt(configuration) => self.adopt(&configuration),
                Action::PeersChanged => {
                    self.rank();
                    self.order_eligibility();
                }
                Action::NameTaken(by) => self.end(Err(name_taken(&self.settings.node.name, by))),
                Action::Member(kind, node) => self.tell_of_member(kind, node),
                Action::Notice(notice) => match notice.severity() {
                    Severity::Info => info!("{notice}"),
                    Severity::Warn => warn!("{notice}"),
                    Severity::Error => error!("{notice}"),
                },
            }
        }
        if nodes_changed {
            self.list_live_nodes();
        }
    }

    fn send_hello(&mut self) {
        self.ping_next();
        if let Some(body) = self.encoded_hello() {
            self.orders.give(Order::Letter { kind: Kind::Hello, body });
        }
    }

    /// What this node says of itself at this moment, to whomever.
    pub(super) fn encoded_hello(&mut self) -> Option<Vec<u8>> {
        let mut hello = self.membership.hello();
        self.gossip.put_into(&mut hello);
        let encoded = hello.encode();
        encoded.inspect_err(|error| error!("this node cannot say who it is: {error}")).ok()
    }

    fn read_hello(&mut self, from: membership::Sender, way: Way, body: &[u8]) {
        match Hello::decode(body) {
            Ok(hello) => {
                self.note_voice(from, way);
                self.membership.handle_hello(from, hello.clone(), clock::now());
                self.settle();
                self.compare_events(from.id, &hello);
            }
            Err(error) => debug!("the Hello of node {} at {} makes no sense: {error}", from.id, from.address),
        }
    }

    /// From now on, this configuration's voters decide. The data plane first: it answers in the new epoch only.
    fn adopt(&mut self, configuration: &membership::Configuration) {
        let epoch = configuration.epoch();
        if let Err(error) = self.plane.set_epoch(epoch, configuration.contains(self.id)) {
            let reason = format!("the configuration cannot be put in force: {error}; start again");
            return self.end(Err(Failure::refused(reason)));
        }
        self.journal.tell(Happening::new(Change::Voters, format!("voters from now on: {configuration}")));
        self.orders.give(Order::Configure { epoch, voters: configuration.voters().to_vec() });
        self.forget_pair();
        self.order_pair();
        self.rank();
    }

    /// Tells the elections who may hold their groups, fittest first.
    pub(super) fn rank(&mut self) {
        let now = clock::now();
        self.preemption.observe(self.membership.candidates(), now);
        for group in self.groups.iter().filter(|group| group.has_lease()) {
            let candidates = self.membership.candidates();
            let mut candidates: Vec<(u8, u16)> = candidates
                .map(|member| (preemption::priority_of(member, group.id), member.id))
                .filter(|(priority, _)| *priority > 0)
                .collect();
            candidates.sort_by_key(|(priority, id)| (std::cmp::Reverse(*priority), *id));
            let order = candidates.into_iter().map(|(_, id)| id).collect();
            self.orders.give(Order::Candidates { slot: group.slot, order });
        }
        self.list_standbys();
    }

    /// Whether this node could answer for all VIPs, wherever they lie.
    pub(super) fn can_serve(&self) -> bool {
        self.interfaces.are_up() && !self.is_withdrawn
    }

    /// Whether there is a group that this node holds and must not.
    /// Gives up what this node holds, for good.
    pub(super) fn withdraw(&mut self) {
        self.is_withdrawn = true;
        self.order_eligibility();
        self.settle();
    }

    /// Tells the elections whether this node may hold their groups, and the other nodes what it offers. What it holds and should
    /// not, or not as well as another one, goes there first, if they still hear each other.
    pub(super) fn order_eligibility(&mut self) {
        self.tell_offers();
        let stays = self.membership.stays();
        let may_give_away = stays && self.interfaces.home.carrier;
        self.plan_vrrp();
        for index in 0..self.groups.len() {
            if !self.groups[index].has_lease() {
                continue;
            }
            let gives_away = may_give_away && self.groups[index].fitness.gives_away();
            if gives_away && self.give_away(index) {
                continue;
            }
            let group = &mut self.groups[index];
            let eligible = stays && group.fitness.may_hold(group.is_served);
            if group.eligible.replace(eligible) != Some(eligible) {
                self.orders.give(Order::Eligible { slot: group.slot, eligible });
            }
        }
        self.yield_to_fitter();
    }

    /// Tells the other nodes what this one offers now, before anything is done about it: who is given a group must know why, or
    /// gives it back.
    pub(super) fn tell_offers(&mut self) {
        self.assess();
        let leases = self.groups.iter().filter(|group| group.has_lease());
        let offers: Vec<_> = leases.map(Group::offer).collect();
        if offers != self.membership.hello().groups {
            self.membership.set_offers(offers, clock::now());
            self.settle();
        }
    }

    /// The home interface has another address: answers come from there, and membership says so.
    fn readdress(&mut self) {
        let home = &self.interfaces.home;
        let Some(address) = self.interfaces.own_address() else {
            warn!("{} has lost its address: lease messages cannot be answered from it", home.name);
            return;
        };
        self.orders.give(Order::Readdress { own: address });
        match self.plane.set_interface(home.index, self.interfaces.entry(home)) {
            Ok(()) => info!("{} has the address {address} now", home.name),
            Err(error) => error!("{error}"),
        }
        self.contacts.readdress(address, clock::now());
        self.settle_contacts();
    }

    fn handle_event(&mut self, event: &Event) {
        let address = Ipv6Addr::from(event.address).to_canonical();
        let mac = event.mac.map(|byte| format!("{byte:02x}")).join(":");
        let node = self.name_of(event.node);
        match EventKind::from_u32(event.kind) {
            // Whoever is master of a virtual router announces its addresses.
            Some(EventKind::Conflict)
                if self.is_of_vrrp(event.slot) && !self.words.holds(event.slot, clock::now()) =>
            {
                debug!("{mac} claims {address}, of a virtual router that this node does not serve");
            }
            // A new holder announces itself, and may be quicker than its message to this node's acceptor.
            Some(EventKind::Conflict) if self.is_member(event.mac) => {
                debug!("{mac}, a member, claims {address}")
            }
            Some(EventKind::Conflict) => self.handle_conflict(event, address, &mac),
            Some(EventKind::DuplicateId) => {
                warn!(%address, %mac, "another machine sends with this node's id {}", self.id);
            }
            Some(EventKind::NewerEpoch) => info!("{node} has a newer configuration, epoch {}", event.value),
            Some(EventKind::LeaseTooLong) => warn!(
                "{node} asks for a lease of {} ms, longer than this node's: make cluster.lease equal on all nodes",
                event.value as f64 / 1e6
            ),
            Some(EventKind::Released) | None => {}
        }
    }

    /// Another machine says that it has a VIP. This node keeps it, and tells all where it is.
    fn handle_conflict(&mut self, event: &Event, vip: IpAddr, mac: &str) {
        let now = clock::now();
        if !self.conflicts.matters(vip, now) {
            return debug!(%vip, mac, "another machine claims the VIP again");
        }
        self.tell_conflict(event.slot, vip, mac);
        let index = u32::try_from(event.value).unwrap_or(0);
        let iface = if_indextoname(index)
            .map_or_else(|_| format!("interface {index}"), |name| name.to_string_lossy().into_owned());
        let holds = self.words.holds(event.slot, now);
        let answer = if holds { "; announced against it" } else { "" };
        let claims = "another machine claims the VIP";
        warn!(%vip, mac, iface, "{claims}: it has the address configured{answer}");
        let text = format!("{claims} {vip} on {iface}: {mac}{answer}");
        let what = Happening::warning(Change::Conflict, text);
        let group = self.groups.iter().find(|group| group.slot == event.slot);
        self.journal.keep(match group {
            Some(group) => what.group(&group.settings.name),
            None => what,
        });
        if holds {
            self.orders.give(Order::Defend { slot: event.slot, vip });
        }
    }

    /// Whether the group runs VRRP, or heeds it.
    fn is_of_vrrp(&self, slot: u32) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.slot == slot && group.settings.protocol.router().is_some())
    }

    fn is_member(&self, mac: [u8; 6]) -> bool {
        self.plane.peers().is_ok_and(|peers| peers.values().any(|peer| peer.mac == mac))
    }

    pub(super) fn name_of(&self, id: u16) -> String {
        let known = self.membership.members().find(|member| member.id == id);
        known.map_or_else(|| format!("node {id}"), |member| member.hello.name.clone())
    }
}

/// The carrier of an interface is back, or gone.
fn tell_carrier(journal: &mut Journal, interface: &Interface) {
    let name = &interface.name;
    let text = if interface.carrier { "carrier is back" } else { "no carrier, so this node cannot serve" };
    let what = format!("{name}: {text}");
    if interface.carrier {
        info!(iface = %name, "{text}");
        journal.keep(Happening::new(Change::Interface, what));
    } else {
        warn!(iface = %name, "{text}");
        journal.keep(Happening::warning(Change::Interface, what));
    }
}

/// The failure of a node whose id another one has.
pub(super) fn id_taken(id: u16, by: IpAddr) -> Failure {
    Failure::configuration(format!(
        "node id {id} is taken by the node at {by}: set another node.id on one of the two"
    ))
}

/// The failure of a node whose name another one has.
pub(super) fn name_taken(name: &str, by: IpAddr) -> Failure {
    Failure::configuration(format!(
        "node name {name:?} is taken by the node at {by}: set another node.name on one of the two"
    ))
}

pub(super) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn summary(counters: &Counters) -> status::Counters {
    status::Counters {
        arp_replies: counters.get(Counter::ArpReply),
        nd_replies: counters.get(Counter::NdReply),
        vip_passed: counters.get(Counter::VipPassed),
        vip_fenced: counters.get(Counter::VipFenced),
        vip_forwarded: counters.get(Counter::VipForwarded),
        conflicts: counters.get(Counter::ArpConflict) + counters.get(Counter::NdConflict),
        lease_replies: counters.get(Counter::LeaseReply),
        rejected: Counter::REJECTIONS.into_iter().map(|counter| counters.get(counter)).sum(),
        vrrp_adverts: counters.get(Counter::VrrpAdvert),
        vrrp_invalid: Counter::INVALID_ADVERTS.into_iter().map(|counter| counters.get(counter)).sum(),
    }
}
