//! A sender of raw frames on an interface, by pnet.

use std::io;
use std::os::fd::IntoRawFd as _;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pnet::datalink::{self, Channel, ChannelType, DataLinkSender, NetworkInterface};
use pnet::util::MacAddr;

use crate::netlink::Interface;

/// Longest wait for room in the socket's send buffer.
const SEND_TIMEOUT: Duration = Duration::from_millis(10);

/// Opens one, in the calling thread's network namespace. Frames are sent as they are; none is received.
///
/// # Errors
/// `PermissionDenied` without CAP_NET_RAW.
pub(crate) fn open(iface: &Interface) -> io::Result<Box<dyn DataLinkSender>> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => ": run as root, or give the process CAP_NET_RAW",
            _ => "",
        };
        io::Error::new(error.kind(), format!("opening a packet socket on {}: {error}{hint}", iface.name))
    };
    // pnet's own socket would take in a copy of every frame of the interface. One of protocol 0 receives nothing
    // (packet(7)), and "layer 3" makes pnet bind it with that protocol; the frames are sent as they are.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
    let config = datalink::Config {
        channel_type: ChannelType::Layer3(0),
        promiscuous: false,
        write_timeout: Some(SEND_TIMEOUT),
        // pnet owns the descriptor from here on, and closes it in case of an error.
        socket_fd: Some(socket.map_err(|errno| failed(errno.into()))?.into_raw_fd()),
        ..datalink::Config::default()
    };
    let [a, b, c, d, e, f] = iface.mac;
    let target = NetworkInterface {
        name: iface.name.clone(),
        description: String::new(),
        index: iface.index,
        mac: Some(MacAddr(a, b, c, d, e, f)),
        ips: Vec::new(),
        flags: 0,
    };
    match datalink::channel(&target, config).map_err(failed)? {
        Channel::Ethernet(sender, _) => Ok(sender),
        _ => Err(failed(io::Error::other("pnet gave another kind of channel"))),
    }
}
