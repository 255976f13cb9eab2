//! Nodes that do not hear each other by multicast: the driver of [`crate::contacts`], and what operators ask of it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, error, info};
use vip_common::wire::{Kind, Message};

use super::control_plane::ControlPlane;
use super::lease_thread::Order;
use super::shared::Shared;
use crate::clock;
use crate::config;
use crate::contacts::{ANSWER_TIME, Action, Refused, Settings, Standing, Way};
use crate::control::{Joined, Reply};
use crate::gossip::{Gossip, MAX_ROSTER};
use crate::membership::{FAILED_AFTER, Member, Membership, Sender, Status};
use crate::signer::{Claimed, Objection};

/// How long another node may take to say that this one's id is taken.
const PROBE_TIME: Duration = Duration::from_millis(200);
/// Time between two looks at what came of a join.
const LOOK: Duration = Duration::from_millis(50);
/// How long a join waits for the other nodes once one has answered, and for those that it has told of, in ns.
const OTHERS_TIME: Duration = Duration::from_millis(500);
const OTHERS_PATIENCE: u64 = 2_000_000_000;

/// Whether the node to join through is heard.
enum Heard {
    Already,
    NotYet,
}

/// What the contacts are told of the configuration.
pub(super) fn settings(settings: &config::Settings, own: IpAddr) -> Settings {
    let vips = settings.groups.iter().flat_map(|group| &group.vips);
    Settings {
        own,
        never: vips.map(|vip| vip.address).collect(),
        peers: settings.cluster.transport.peers().to_vec(),
        join: settings.cluster.join.clone(),
    }
}

/// Finds the cluster through the node at this address, within a few seconds.
pub(super) async fn join(shared: &Shared, address: IpAddr) -> Reply {
    match shared.with(|plane| plane.may_join(address)) {
        Err(reply) => return reply,
        Ok(Heard::Already) => {}
        Ok(Heard::NotYet) => {
            // If another node has this one's id, this daemon ends: before others take its word for the other one's.
            shared.with(|plane| plane.orders.give(Order::ProbeAt { to: address }));
            sleep(PROBE_TIME).await;
            if let Err(reply) = shared.ask(|plane| plane.begin_join(address)) {
                return reply;
            }
        }
    }
    let patience = clock::now().saturating_add(ANSWER_TIME);
    while !shared.with(|plane| plane.hears_member_at(address)) {
        if clock::now() >= patience {
            return shared.with(|plane| plane.nobody_at(address));
        }
        sleep(LOOK).await;
    }
    // It has been asked where the others are, or will be in a moment; they are greeted, and greet back.
    let patience = clock::now().saturating_add(OTHERS_PATIENCE);
    sleep(OTHERS_TIME).await;
    while shared.with(|plane| plane.contacts.expects_more()) && clock::now() < patience {
        sleep(LOOK).await;
    }
    Reply::ok(&Joined { members: shared.with(|plane| plane.alive().len()) })
}

impl ControlPlane {
    /// Another node's letter came in.
    pub(super) fn note_voice(&mut self, from: Sender, way: Way) {
        self.contacts.heard(from.id, from.address, way, clock::now());
        self.settle_contacts();
    }

    /// A node of this name that starts, or is told to join, asks whether its id and its name are free.
    pub(super) fn handle_probe(&self, probe: Message, name: &str, from: IpAddr) {
        let (id, incarnation) = (probe.sender.get(), probe.incarnation.get());
        let now = clock::now();
        let has_one = |member: &&Member| {
            let speaks = now < member.last_hello_ns.saturating_add(FAILED_AFTER);
            speaks && (member.id == id || member.hello.name == name)
        };
        let owner = self.membership.members().find(has_one);
        // At the same address it is the same node, which has been started anew.
        if let Some(owner) = owner.filter(|owner| owner.address != from && owner.incarnation < incarnation) {
            let claimed = if owner.id == id { Claimed::Id } else { Claimed::Name };
            let objection = Objection { claimed, owner: Some(owner.address) };
            self.orders.give(Order::Object { probe, objection, to: from });
        }
    }

    /// A node asks where the others are.
    pub(super) fn handle_join(&self, from: Sender) {
        let others = self.membership.members().filter(|member| ![self.id, from.id].contains(&member.id));
        let mut alive: Vec<_> = others.filter(|member| member.status == Status::Alive).collect();
        // Of too many, those without which nothing goes.
        let votes = |id| self.membership.configuration().is_some_and(|current| current.contains(id));
        alive.sort_by_key(|member| !votes(member.id));
        let roster = alive.iter().map(|member| member.address).take(MAX_ROSTER).collect();
        self.send_gossip(&Gossip::Roster(roster), from.address);
    }

    /// A node has told where the others are.
    pub(super) fn handle_roster(&mut self, addresses: &[IpAddr]) {
        self.contacts.handle_roster(addresses, clock::now());
        self.settle_contacts();
    }

    /// A deadline of the contacts may have come.
    pub(super) fn look_after_contacts(&mut self, now: u64) {
        if self.contacts.next_deadline().is_some_and(|deadline| deadline <= now) {
            let membership = &self.membership;
            self.contacts.handle_timeout(|id| standing(membership, id), now);
            self.settle_contacts();
        }
    }

    /// Carries out what the contacts ask for.
    pub(super) fn settle_contacts(&mut self) {
        while let Some(action) = self.contacts.poll_action() {
            match action {
                Action::Reach(contacts) => {
                    tell(&contacts);
                    self.orders.give(Order::Reach { contacts });
                }
                Action::Ask(address) => self.send_gossip(&Gossip::Join, address),
                Action::Greet(address) => self.greet(address),
            }
        }
    }

    fn greet(&mut self, to: IpAddr) {
        if let Some(body) = self.encoded_hello() {
            self.orders.give(Order::LetterTo { kind: Kind::Hello, body, to });
        }
    }

    pub(super) fn send_gossip(&self, gossip: &Gossip, to: IpAddr) {
        match gossip.encode() {
            Ok(body) => self.orders.give(Order::LetterTo { kind: Kind::Gossip, body, to }),
            Err(error) => error!("{to} cannot be told {gossip:?}: {error}"),
        }
    }

    fn may_join(&self, address: IpAddr) -> Result<Heard, Reply> {
        self.contacts.check(address).map_err(|refused| refusal(address, refused))?;
        Ok(if self.contacts.hears(address, clock::now()) { Heard::Already } else { Heard::NotYet })
    }

    fn begin_join(&mut self, address: IpAddr) -> Result<(), Reply> {
        let asked = self.contacts.join(address, clock::now());
        self.settle_contacts();
        asked.map_err(|refused| refusal(address, refused))?;
        info!(%address, "asking where the cluster is");
        Ok(())
    }

    fn hears_member_at(&self, address: IpAddr) -> bool {
        let is_it = |member: &&Member| member.address == address && member.status == Status::Alive;
        self.contacts.hears(address, clock::now()) && self.membership.members().find(is_it).is_some()
    }

    fn nobody_at(&self, address: IpAddr) -> Reply {
        let cluster = &self.settings.cluster;
        Reply::Error(format!(
            "no answer from {address} within {} s: is a daemon of cluster {:?} there, does it have the same key, does a \
             firewall drop UDP port {}?",
            ANSWER_TIME / 1_000_000_000,
            cluster.name,
            cluster.transport.port()
        ))
    }
}

fn tell(contacts: &[IpAddr]) {
    let list = contacts.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    match contacts {
        [] => debug!("writing to no node by unicast"),
        _ => info!("writing to {list} by unicast"),
    }
}

fn refusal(address: IpAddr, refused: Refused) -> Reply {
    Reply::Error(format!("{address} {refused}"))
}

fn standing(membership: &Membership, id: u16) -> Standing {
    let Some(member) = membership.members().find(|member| member.id == id) else { return Standing::Unknown };
    let votes = membership.configuration().is_some_and(|current| current.contains(id));
    // A voter that was stopped is to be found when it is started again.
    if member.status == Status::Left && !votes { Standing::Gone } else { Standing::Member }
}
