//! Which VIPs a new holder has announced, and when: gratuitous ARP, as it arrives at the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use nix::sys::socket::{setsockopt, sockopt};

use super::frame::{Arp, packet_socket};
use crate::{clock::Stamp, lab::Lab, net::in_netns, worker::Worker};

/// Room for the announcements of 10,000 VIPs while the thread does not get to run.
const RECEIVE_BUFFER: usize = 32 << 20;
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(20);

/// A running watch over announcements. Dropping it ends it.
#[derive(Debug)]
pub struct Announcements {
    wanted: BTreeSet<Ipv4Addr>,
    first: Arc<Mutex<BTreeMap<Ipv4Addr, Stamp>>>,
    _thread: Worker<()>,
}

impl Announcements {
    /// Watches for announcements of these VIPs by any node but `former`, the holder that is about to fail.
    pub fn watch(lab: &Lab, vips: &[Ipv4Addr], former: u8) -> Result<Self> {
        let socket = in_netns(&lab.client_netns(), || packet_socket("eth0", Some(libc::ETH_P_ARP)))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        let first = Arc::default();
        let noted: Arc<Mutex<BTreeMap<_, _>>> = Arc::clone(&first);
        let thread = Worker::start("announcements", move |order| {
            let mut frame = [0; 64];
            while !order.is_to_end() {
                let Ok(length) = (&socket).read(&mut frame) else { continue };
                let now = Stamp::now();
                let arp = Arp::parse(&frame[..length]);
                let by_other = arp.filter(|arp| Lab::node_of_mac(arp.sender_mac.0) != Some(former));
                if let Some(vip) = by_other.and_then(|arp| arp.announced()) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).entry(vip).or_insert(now);
                }
            }
        })?;
        Ok(Self { wanted: vips.iter().copied().collect(), first, _thread: thread })
    }

    /// How many of the VIPs have been announced, and when the last one of those was for the first time.
    pub fn so_far(&self) -> (usize, Option<Stamp>) {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = || first.iter().filter(|(vip, _)| self.wanted.contains(vip));
        (seen().count(), seen().map(|(_, at)| *at).max())
    }
}
