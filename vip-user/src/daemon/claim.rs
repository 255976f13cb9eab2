//! Claiming the node's id and name: before a daemon votes, it asks the others whether one of them has its id or its name
//! already.
//!
//! Two voters of one id would be counted as one, and of two nodes of one name nobody could tell which is meant; so the later
//! one must not start. Nobody answers where nobody is: a node that cannot be reached now, or hangs, is found later, when its
//! messages come in (see the lease thread). Who is asked by unicast answers for the nodes that it knows, too.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vip_common::wire::Kind;

use super::control_plane::{id_taken, name_taken};
use crate::clock;
use crate::exit::Failure;
use crate::signer::{Claimed, Objection, Signer};
use crate::transport::{Incoming, MAX_DATAGRAM, Transport};

/// One would do on a good network.
const PROBES: u32 = 3;
/// Time for the answers to one probe, in ns.
const PATIENCE: u64 = 60_000_000;

/// Fails if another node says that it has this node's id or name already.
pub(super) fn claim(transport: &mut Transport, signer: &mut Signer, name: &str) -> Result<(), Failure> {
    let objection = (0..PROBES).find_map(|_| {
        let probe = signer.letter(Kind::Probe, name.as_bytes());
        // Without a carrier nobody can hear it, or answer.
        let _ = transport.send(&probe);
        await_objection(transport, signer, name)
    });
    match objection {
        None => Ok(()),
        Some((Claimed::Id, owner)) => Err(id_taken(signer.origin().node, owner)),
        Some((Claimed::Name, owner)) => Err(name_taken(name, owner)),
    }
}

fn await_objection(transport: &mut Transport, signer: &Signer, name: &str) -> Option<(Claimed, IpAddr)> {
    let deadline = clock::now() + PATIENCE;
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        while let Ok(Some(incoming)) = transport.receive(&mut buffer) {
            if let Some(objection) = objection(&incoming, signer, name) {
                return Some(objection);
            }
        }
        let rest = deadline.checked_sub(clock::now())?;
        let timeout = PollTimeout::try_from(rest.div_ceil(1_000_000)).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut [PollFd::new(transport.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

/// What another node has, and where it is: by an answer to this probe; or, of two nodes that start at the same time, by the
/// probe of the earlier one.
fn objection(incoming: &Incoming<'_>, signer: &Signer, name: &str) -> Option<(Claimed, IpAddr)> {
    let (message, kind, body) = signer.open(incoming.datagram).ok()?;
    let own = signer.origin();
    let incarnation = message.incarnation.get();
    let is_own_id = message.sender.get() == own.node;
    match kind {
        Kind::Taken if is_own_id && incarnation == own.incarnation => {
            let Objection { claimed, owner } = Objection::read(body)?;
            Some((claimed, owner.unwrap_or(incoming.source)))
        }
        Kind::Probe if is_own_id && incarnation < own.incarnation => Some((Claimed::Id, incoming.source)),
        Kind::Probe if body == name.as_bytes() && incarnation < own.incarnation => {
            Some((Claimed::Name, incoming.source))
        }
        _ => None,
    }
}
