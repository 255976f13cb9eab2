//! The data plane as the two sides of the daemon have it: the XDP program with its maps, or, without XDP,
//! this process ([`crate::userplane`]). All that differs between the two, once a daemon has started, is here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use vip_common::lease::Renewal;
use vip_common::maps::{self, Event};
use vip_common::wire::Message;

use super::own_vote::OwnVote;
use crate::announce::Announcer;
use crate::clock;
use crate::courier::Courier;
use crate::dataplane::{Counters, Error, Events, RenewalTable, Tables};
use crate::signer::{Signer, WireKeys};
use crate::userplane::addresses::{Addresses, Inspector};
use crate::userplane::{Board, Received, UserPlane};

/// What the lease thread has of it.
#[expect(clippy::large_enum_variant, reason = "there is one")]
#[derive(Debug)]
pub(super) enum LeaseSide {
    /// Votes are cast, and answers taken in, by the XDP program.
    Xdp { renewals: RenewalTable, events: Events, own_vote: OwnVote, courier: Courier },
    /// By the thread itself.
    Process { plane: UserPlane, addresses: Addresses },
}

impl LeaseSide {
    /// Readable when there may be events; `None` where [`Self::has_events`] says so.
    pub(super) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Xdp { events, .. } => Some(events.as_fd()),
            Self::Process { .. } => None,
        }
    }

    /// Whether events wait that nobody has to be woken for.
    pub(super) fn has_events(&self) -> bool {
        match self {
            Self::Xdp { .. } => false,
            Self::Process { plane, .. } => plane.has_events(),
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        match self {
            Self::Xdp { events, .. } => events.next(),
            Self::Process { plane, .. } => plane.next_event(),
        }
    }

    /// This configuration is decided by from now on; the XDP program has been told by the control plane.
    pub(super) fn set_epoch(&mut self, epoch: u32, is_voter: bool) {
        if let Self::Process { plane, .. } = self {
            plane.set_epoch(epoch, is_voter);
        }
    }

    /// These keys verify from now on, and the first one signs; the XDP program has been told by the control plane.
    pub(super) fn set_keys(&mut self, keys: &WireKeys) {
        if let Self::Process { plane, .. } = self {
            plane.set_keys(keys);
        }
    }

    /// Starts counting answers to a new proposal.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub(super) fn set_renewal(&mut self, slot: u32, renewal: Renewal) -> Result<(), Error> {
        match self {
            Self::Xdp { renewals, .. } => renewals.set(slot, renewal),
            Self::Process { plane, .. } => {
                plane.set_renewal(slot, renewal);
                Ok(())
            }
        }
    }

    /// Asks this node's own acceptor; `None` if it has nothing to say, as in quarantine.
    ///
    /// # Errors
    /// When the kernel does not run the program: then this node has no vote, which only others' votes can outweigh.
    pub(super) fn cast(&mut self, message: &Message) -> Result<Option<Message>, Error> {
        match self {
            Self::Xdp { own_vote, .. } => own_vote.cast(message),
            Self::Process { plane, .. } => Ok(plane.cast(message, clock::now())),
        }
    }

    /// What there is for the daemon in a datagram. The XDP program has verified and counted what it let
    /// through; `signer` checks again, where it did not see the datagram.
    pub(super) fn receive<'a>(
        &mut self,
        datagram: &'a [u8],
        source: IpAddr,
        signer: &Signer,
    ) -> Received<'a> {
        match self {
            Self::Xdp { .. } => match signer.open(datagram) {
                Ok((message, kind, body)) => Received::Passed(message, kind, body),
                Err(_) => Received::Done,
            },
            Self::Process { plane, .. } => plane.receive(datagram, source, clock::now()),
        }
    }

    /// A group's word has been disarmed: nothing serves it any more when this returns.
    pub(super) fn disarmed(&self, slot: u32) {
        if let Self::Process { addresses, .. } = self {
            addresses.withdraw(slot);
        }
    }

    /// A group's word is armed, and it is this node's: neighbours are told. Without XDP, when its addresses
    /// are there.
    pub(super) fn promoted(&self, slot: u32, announcers: &[Arc<Announcer>]) {
        match self {
            Self::Xdp { .. } => announcers.iter().for_each(|announcer| announcer.promoted(slot)),
            Self::Process { addresses, .. } => addresses.serve(),
        }
    }

    /// Who brings the next holder what comes while a lease changes hands; without XDP, nothing is kept for
    /// it.
    pub(super) const fn courier(&self) -> Option<&Courier> {
        match self {
            Self::Xdp { courier, .. } => Some(courier),
            Self::Process { .. } => None,
        }
    }
}

/// What the control plane has of it.
#[expect(clippy::large_enum_variant, reason = "there is one")]
#[derive(Debug)]
pub(super) enum ControlSide {
    /// The maps.
    Xdp(Tables),
    /// What the lease thread shows.
    Process { board: Arc<Board>, addresses: Inspector },
}

impl ControlSide {
    /// Has the data plane decide in this epoch, and answer if this node is a voter; without XDP, the lease thread does, when
    /// it is told.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub(super) fn set_epoch(&mut self, epoch: u32, is_voter: bool) -> Result<(), Error> {
        match self {
            Self::Xdp(tables) => {
                let config = tables.config()?;
                tables.set_config(maps::Config { epoch, observer: (!is_voter).into(), ..config })
            }
            Self::Process { .. } => Ok(()),
        }
    }

    /// Has the data plane verify by these keys, and sign by the first one; without XDP, the lease thread does, when it is told.
    ///
    /// # Errors
    /// As [`Tables::set_keys`].
    pub(super) fn set_keys(&mut self, keys: &WireKeys) -> Result<(), Error> {
        match self {
            Self::Xdp(tables) => tables.set_keys(keys.verifying()),
            Self::Process { .. } => Ok(()),
        }
    }

    /// The interface has other addresses.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub(super) fn set_interface(&mut self, index: u32, interface: maps::Interface) -> Result<(), Error> {
        match self {
            Self::Xdp(tables) => tables.set_interface(index, interface),
            Self::Process { .. } => Ok(()),
        }
    }

    /// The addresses of the interface have changed: without XDP, some of them are VIPs that this node serves.
    pub(super) fn look_at_addresses(&self) {
        if let Self::Process { addresses, .. } = self {
            addresses.look();
        }
    }

    /// All nodes heard, by id.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub(super) fn peers(&self) -> Result<BTreeMap<u16, maps::Peer>, Error> {
        match self {
            Self::Xdp(tables) => tables.peers(),
            Self::Process { board, .. } => Ok(board.peers()),
        }
    }

    /// Outcomes of frames or, without XDP, of messages.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub(super) fn counters(&self) -> Result<Counters, Error> {
        match self {
            Self::Xdp(tables) => tables.counters(),
            Self::Process { board, .. } => Ok(board.counters()),
        }
    }
}
