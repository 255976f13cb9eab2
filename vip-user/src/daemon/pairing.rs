//! Pair mode as the control plane has it: who the other voter is, what status and log say.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tracing::warn;

use super::control_plane::ControlPlane;
use super::lease_thread::Order;
use super::lease_thread::pair::PairBoard;
use crate::clock;
use crate::exit::Failure;
use crate::netlink::Interface;
use crate::pace::Pace;
use crate::status;

/// Least time between two lines that say that this node is alone, in ns.
const LOG_PERIOD: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pairing {
    board: Arc<PairBoard>,
    /// What the lease thread has been told.
    peer: Option<u16>,
    /// A link that loses much must not fill the log.
    pace: Pace,
    /// The log says that this node is alone.
    is_told: bool,
}

impl Pairing {
    /// The lease thread has not been told of any other voter yet.
    pub(super) fn new(board: Arc<PairBoard>) -> Self {
        Self { board, peer: None, pace: Pace::new(0, LOG_PERIOD), is_told: false }
    }
}

/// The address that the gateway is asked from.
///
/// # Errors
/// There is none in the gateway's network, or it is the gateway's.
pub(super) fn own_address(home: &Interface, gateway: Ipv4Addr) -> Result<Ipv4Addr, Failure> {
    let refused = |why: String| Failure::configuration(format!("cluster.pair: {why}"));
    let of_ipv4 = home.addresses.iter().filter_map(|(address, length)| match address {
        IpAddr::V4(address) => Some((*address, *length)),
        IpAddr::V6(_) => None,
    });
    if of_ipv4.clone().any(|(address, _)| address == gateway) {
        return Err(refused(format!("{gateway} is this node's own address; set it to the gateway's")));
    }
    let mut near = of_ipv4.filter(|(address, length)| is_near(*address, gateway, *length));
    near.next().map(|(address, _)| address).ok_or_else(|| {
        refused(format!(
            "{} has no address in the network of {gateway}, so that one cannot be asked there; set it to the gateway of \
             that segment",
            home.name
        ))
    })
}

/// Whether two addresses are in one network with prefixes of this length.
fn is_near(one: Ipv4Addr, other: Ipv4Addr, length: u8) -> bool {
    let apart = (one.to_bits() ^ other.to_bits()).leading_zeros();
    apart >= u32::from(length)
}

impl ControlPlane {
    /// Says at the start what pair mode is.
    pub(super) fn warn_of_pair_mode(&self) {
        if let Some(gateway) = self.settings.cluster.pair {
            warn!(
                "pair mode: of two voters, one that hears nothing of the other serves without its vote while {gateway} \
                 answers. That is weaker than a majority: if both hear {gateway} and not each other, two nodes serve. \
                 A third voter, of priority 0 for one, is the safe way"
            );
        }
    }

    /// Tells the lease thread who the other one of two voters is. To be called before a Hello is given out: what that says may
    /// let others be elected without this node.
    pub(super) fn order_pair(&mut self) {
        let Some(pairing) = &mut self.pair else { return };
        let gateway = self.settings.cluster.pair.map(IpAddr::from);
        let is_gateway =
            |id| self.membership.members().any(|member| member.id == id && Some(member.address) == gateway);
        let peer = self.membership.pair().filter(|id| !is_gateway(*id));
        if std::mem::replace(&mut pairing.peer, peer) != peer {
            self.orders.give(Order::Pair { peer });
        }
    }

    /// The home interface has other addresses: the gateway is asked from one that is near it.
    pub(super) fn order_asking(&self) {
        let Some(gateway) = self.settings.cluster.pair else { return };
        match own_address(&self.interfaces.home, gateway) {
            Ok(own) => self.orders.give(Order::AskFrom { own }),
            Err(failure) => warn!("the gateway cannot be asked: {failure}"),
        }
    }

    /// A configuration has been ordered, which begins without.
    pub(super) fn forget_pair(&mut self) {
        if let Some(pairing) = &mut self.pair {
            pairing.peer = None;
        }
    }

    /// This node's vote counts alone from now on, or no more.
    pub(super) fn handle_alone(&mut self, is_alone: bool) {
        let (other, gateway) = (self.other_voter(), self.gateway());
        let Some(pairing) = &mut self.pair else { return };
        if is_alone && !pairing.pace.allows(clock::now()) || is_alone == pairing.is_told {
            return;
        }
        pairing.is_told = is_alone;
        if is_alone {
            warn!(
                "ALONE: nothing is heard of {other}; this node serves without its vote while {gateway} answers; two nodes \
                 may serve if {other} hears it, too"
            );
        } else {
            warn!("not alone any more: the votes of both nodes are needed");
        }
    }

    /// What `status` shows of it.
    pub(super) fn pair_status(&self) -> Option<status::Pair> {
        let pairing = self.pair.as_ref()?;
        Some(status::Pair {
            gateway: self.gateway(),
            alone: pairing.board.is_alone(),
            answers: pairing.board.answers(),
            other: self.other_voter(),
        })
    }

    fn gateway(&self) -> String {
        self.settings.cluster.pair.map(|gateway| gateway.to_string()).unwrap_or_default()
    }

    fn other_voter(&self) -> String {
        let other = self.pair.as_ref().and_then(|pairing| pairing.peer);
        other.map_or_else(|| "the other node".to_owned(), |id| self.name_of(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_near_by_their_prefix() {
        let near =
            |one: &str, other: &str, length| is_near(one.parse().unwrap(), other.parse().unwrap(), length);
        assert!(near("10.77.0.1", "10.77.0.254", 24));
        assert!(!near("10.77.0.1", "10.77.1.254", 24));
        assert!(near("10.77.0.1", "10.77.1.254", 16));
        assert!(near("10.77.0.1", "192.0.2.1", 0));
        assert!(!near("10.77.0.1", "10.77.0.2", 32));
    }
}
