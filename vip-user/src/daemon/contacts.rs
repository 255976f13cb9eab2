//! Nodes that do not hear each other by multicast: asking a member where the others are, and answering that.

use std::net::IpAddr;

use tracing::{debug, error};
use vip_common::wire::Kind;

use super::control_plane::ControlPlane;
use super::lease_thread::Order;
use crate::contacts::Way;
use crate::gossip::{Gossip, MAX_ROSTER};
use crate::membership::{Sender, Status};

impl ControlPlane {
    /// A node asks where the others are.
    pub(super) fn handle_join(&mut self, from: Sender, _way: Way) {
        let others = self.membership.members().filter(|member| ![self.id, from.id].contains(&member.id));
        let alive = others.filter(|member| member.status == Status::Alive);
        let roster = alive.map(|member| member.address).take(MAX_ROSTER).collect();
        self.tell(&Gossip::Roster(roster), from.address);
    }

    /// A node has told where the others are.
    pub(super) fn handle_roster(&mut self, from: Sender, _way: Way, addresses: &[IpAddr]) {
        debug!("node {} at {} knows {} others", from.id, from.address, addresses.len());
    }

    pub(super) fn tell(&self, gossip: &Gossip, to: IpAddr) {
        match gossip.encode() {
            Ok(body) => self.orders.give(Order::LetterTo { kind: Kind::Gossip, body, to }),
            Err(error) => error!("{to} cannot be told {gossip:?}: {error}"),
        }
    }
}
