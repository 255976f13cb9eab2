//! Notifications about links and IP addresses, read straight from a multicast netlink socket.
//!
//! No task and no queue of its own stand between the kernel and the consumer: the socket's receive buffer is the
//! bound, and its overrun is reported as [`Change::Resync`]. What a change means is not decided here.

use std::collections::VecDeque;
use std::io;

use futures_util::FutureExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// Longest datagram in bytes: the kernel's `NLMSG_GOODSIZE` is at most 32 KiB, and one link fits even with many
/// virtual functions.
const MAX_DATAGRAM: usize = 64 * 1024;

/// Changes held back at most; more of them are cheaper to answer with one [`Change::Resync`].
const MAX_PENDING: usize = 256;

/// Netlink aligns each message of a datagram to 4 bytes.
const ALIGNMENT: usize = 4;

/// Something happened to a link or to its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link appeared, vanished or changed.
    Link {
        /// Index of the link.
        index: u32,
        /// Its name now, or its last one.
        name: String,
        /// Switched on by the operator (`IFF_UP`).
        up: bool,
        /// On, and the other side is there (`IFF_LOWER_UP`).
        carrier: bool,
        /// The link was deleted, or moved to another namespace.
        gone: bool,
    },
    /// An address was added to a link or removed from it; own changes show as well.
    Address {
        /// Index of the link.
        index: u32,
    },
    /// Notifications were lost: everything must be read again.
    Resync,
}

/// The stream of changes since [`super::Netlink::open`].
pub struct Changes {
    socket: TokioSocket,
    datagram: Vec<u8>,
    pending: VecDeque<Change>,
}

impl Changes {
    pub(super) fn subscribe() -> io::Result<Changes> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (*group as u32 - 1));
        socket.socket_mut().bind(&SocketAddr::new(0, mask))?;
        Ok(Changes { socket, datagram: Vec::with_capacity(MAX_DATAGRAM), pending: VecDeque::new() })
    }

    /// The next change. Several address changes of one link that wait together are one, so that a repair of many
    /// addresses does not cause as many looks. May be cancelled without losing a change.
    ///
    /// # Errors
    /// The socket failed for another reason than an overrun; it will not recover.
    pub async fn next(&mut self) -> io::Result<Change> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            self.receive().await?;
            // Ends when nothing waits, or when tokio's budget for this task is spent.
            while let Some(more) = self.receive().now_or_never() {
                more?;
            }
        }
    }

    /// Reads one datagram into `pending`.
    async fn receive(&mut self) -> io::Result<()> {
        self.datagram.clear();
        match self.socket.recv_from(&mut self.datagram).await {
            // Only the kernel, port 0, is believed.
            Ok(sender) if sender.port_number() == 0 => {
                for change in changes_in(&self.datagram) {
                    enqueue(&mut self.pending, change);
                }
            }
            Ok(_) => {}
            // netlink(7): the receive buffer was full and notifications were dropped.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                enqueue(&mut self.pending, Change::Resync);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Queues a change, unless one that waits already covers it.
fn enqueue(pending: &mut VecDeque<Change>, change: Change) {
    if change == Change::Resync || pending.len() >= MAX_PENDING {
        pending.clear();
        pending.push_back(Change::Resync);
        return;
    }
    let covered = match &change {
        // A link's state of the moment is told even after an overrun: it needs no reading.
        Change::Link { .. } => pending.back() == Some(&change),
        _ => pending.front() == Some(&Change::Resync) || pending.contains(&change),
    };
    if !covered {
        pending.push_back(change);
    }
}

/// The changes in a datagram of the kernel, which holds one or more messages. A message that cannot be read counts as
/// lost, and so do those behind it.
pub fn changes_in(mut datagram: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while !datagram.is_empty() {
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) else {
            changes.push(Change::Resync);
            break;
        };
        changes.extend(change(&message.payload));
        let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    changes
}

fn change(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => link_change(link, false),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => link_change(link, true),
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message),
        ) => Some(Change::Address { index: message.header.index }),
        NetlinkPayload::Overrun(_) => Some(Change::Resync),
        _ => None,
    }
}

/// Bridges tell about their ports in the same group, with a family of their own: a link that leaves a bridge is
/// "deleted" there, and still exists.
fn link_change(link: &LinkMessage, gone: bool) -> Option<Change> {
    (link.header.interface_family == AddressFamily::Unspec).then(|| Change::Link {
        index: link.header.index,
        name: super::link_name(link).to_owned(),
        up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        gone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, up: bool) -> Change {
        Change::Link { index, name: "eth0".into(), up, carrier: up, gone: false }
    }

    #[test]
    fn address_changes_of_one_link_wait_as_one() {
        let mut pending = VecDeque::new();
        for change in [Change::Address { index: 1 }, link(1, true), Change::Address { index: 1 }] {
            enqueue(&mut pending, change);
        }
        assert_eq!(pending, [Change::Address { index: 1 }, link(1, true)]);
    }

    #[test]
    fn an_overrun_replaces_what_waits_and_covers_later_addresses() {
        let mut pending = VecDeque::from([Change::Address { index: 1 }]);
        for change in [Change::Resync, Change::Address { index: 2 }, link(1, false)] {
            enqueue(&mut pending, change);
        }
        assert_eq!(pending, [Change::Resync, link(1, false)]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut pending = VecDeque::new();
        for index in 0..10_000 {
            enqueue(&mut pending, Change::Address { index });
        }
        assert_eq!(pending, [Change::Resync]);
    }

    #[test]
    fn a_datagram_that_makes_no_sense_counts_as_lost() {
        assert_eq!(changes_in(&[1, 2, 3]), [Change::Resync]);
    }
}
