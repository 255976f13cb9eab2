//! Claiming the node's id: before a daemon votes, it asks the others whether one of them has its id already.
//!
//! Two voters of one id would be counted as one, so the later one must not start. Nobody answers where nobody is: a
//! node that cannot be reached now, or hangs, is found later, when its messages come in (see the lease thread).

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vip_common::wire::Kind;

use crate::clock;
use crate::signer::Signer;
use crate::transport::{MAX_DATAGRAM, Transport};

/// One would do on a good network.
const PROBES: u32 = 3;
/// Time for the answers to one probe, in ns.
const PATIENCE: u64 = 60_000_000;

/// The address of the node that has this id already, if one says so.
pub(super) fn owner_of_id(transport: &mut Transport, signer: &mut Signer) -> Option<IpAddr> {
    (0..PROBES).find_map(|_| {
        let probe = signer.letter(Kind::Probe, b"");
        // Without a carrier nobody can hear it, or answer.
        let _ = transport.send(&probe);
        await_objection(transport, signer)
    })
}

fn await_objection(transport: &mut Transport, signer: &Signer) -> Option<IpAddr> {
    let deadline = clock::now() + PATIENCE;
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        while let Ok(Some(incoming)) = transport.receive(&mut buffer) {
            if is_objection(incoming.datagram, signer) {
                return Some(incoming.source);
            }
        }
        let rest = deadline.checked_sub(clock::now())?;
        let timeout = PollTimeout::try_from(rest.div_ceil(1_000_000)).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut [PollFd::new(transport.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

/// An answer to this probe; or, of two nodes that start at the same time, the probe of the earlier one.
fn is_objection(datagram: &[u8], signer: &Signer) -> bool {
    let Ok((message, kind, _)) = signer.open(datagram) else { return false };
    let own = signer.origin();
    let incarnation = message.incarnation.get();
    message.sender.get() == own.node
        && match kind {
            Kind::Taken => incarnation == own.incarnation,
            Kind::Probe => incarnation < own.incarnation,
            _ => false,
        }
}
