//! Datagrams as fast as they are wanted, and services that count them.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::socket::{setsockopt, sockopt};
use vip_tests::{
    lab::{Lab, VIP},
    net::in_netns,
};

pub(super) const PORT: u16 = 5000;
/// Of each datagram, without headers.
const LEN: usize = 64;
/// Paced datagrams are sent so many at a time.
const BATCH: u32 = 10;
/// Longer than what has been sent takes to arrive.
const SETTLED: Duration = Duration::from_millis(200);
const RECEIVE_BUFFER: usize = 64 << 20;

/// A service on each node. Dropping them stops them.
pub(super) struct Services {
    counts: BTreeMap<u8, Arc<AtomicU64>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Services {
    pub(super) fn start(lab: &Lab, nodes: u8) -> Result<Self> {
        let mut services = Self { counts: BTreeMap::new(), is_over: Arc::default(), threads: Vec::new() };
        for node in 1..=nodes {
            let socket = in_netns(&lab.node_netns(node), || Ok(UdpSocket::bind((VIP, PORT))?))?;
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            let (count, is_over) = (Arc::new(AtomicU64::new(0)), Arc::clone(&services.is_over));
            services.counts.insert(node, Arc::clone(&count));
            services.threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if socket.recv(&mut [0; LEN]).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        Ok(services)
    }

    /// What each node's service has received so far.
    pub(super) fn received(&self) -> BTreeMap<u8, u64> {
        self.counts.iter().map(|(node, count)| (*node, count.load(Ordering::Relaxed))).collect()
    }

    /// The same, when no more comes.
    pub(super) fn settle(&self) -> Result<BTreeMap<u8, u64>> {
        let mut before = self.received();
        loop {
            vip_tests::interrupt::pause(SETTLED)?;
            let now = self.received();
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic has been reported.
            let _ = thread.join();
        }
    }
}

/// Sends from the client; gives how many, and how long that took.
pub(super) fn send(lab: &Lab, rate: Option<u32>, time: Duration) -> Result<(u64, Duration)> {
    let socket = in_netns(&lab.client_netns(), || Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    socket.connect((VIP, PORT))?;
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < time {
        for _ in 0..BATCH {
            sent += u64::from(socket.send(&[0; LEN]).is_ok());
        }
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok((sent, begun.elapsed()))
}
