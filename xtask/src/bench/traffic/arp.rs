//! A flood of ARP requests, and who keeps up with it.
//!
//! The switch's port sends the requests and counts the answers, out of the switch meanwhile: forwarding them would take longer
//! than answering. The node takes its frames in a thread of its own (threaded NAPI; a plain veth has none), so that the
//! sender does not slow it down as a sender on another machine would not.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use vip_tests::{
    clock::Stamp,
    flood::Flood,
    interrupt,
    lab::Lab,
    net::{Frames, frames_in, ip, run},
    oracle::arp_requests,
};

use super::side::{NODE, Side};

/// Between the beginning of a flood and that of the count.
const RUN_UP: Duration = Duration::from_millis(100);

/// Per second, at the switch's port.
pub(super) struct Rates {
    /// Those included that the node's queue had no room for.
    pub(super) requests: f64,
    /// All that the node sends: its few heartbeats are counted with them.
    pub(super) answers: f64,
}

pub(super) fn measure(lab: &Lab, side: Side, span: Duration) -> Result<Rates> {
    let (switch, port) = (lab.switch_netns(), lab.port(NODE));
    ip(&switch, &["link", "set", "dev", &port, "nomaster"])?;
    let rates = if side.has_napi() {
        receive_in_thread(lab, true)?;
        let rates = flood(lab, span)?;
        receive_in_thread(lab, false)?;
        rates
    } else {
        flood(lab, span)?
    };
    ip(&switch, &["link", "set", "dev", &port, "master", "br0"])?;
    Ok(rates)
}

fn flood(lab: &Lab, span: Duration) -> Result<Rates> {
    let flood = Flood::start_from_switch(lab, NODE, arp_requests(), 2 * (RUN_UP + span))?;
    interrupt::pause(RUN_UP)?;
    let (begun, before) = (Stamp::now(), passed(lab)?);
    interrupt::pause(span)?;
    let (after, seconds) = (passed(lab)?, Stamp::now().since(begun).as_secs_f64());
    flood.finish()?;
    let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
    let offered = |frames: Frames| frames.sent + frames.dropped;
    Ok(Rates {
        requests: rate(offered(before), offered(after)),
        answers: rate(before.received, after.received),
    })
}

fn passed(lab: &Lab) -> Result<Frames> {
    let port = lab.port(NODE);
    let frames = frames_in(&lab.switch_netns())?;
    frames.get(&port).copied().with_context(|| format!("the switch has no port {port}"))
}

/// The attribute is in sysfs, of which `ip netns exec` mounts that of the namespace.
fn receive_in_thread(lab: &Lab, threaded: bool) -> Result<()> {
    let write = format!("echo {} > /sys/class/net/eth0/threaded", u8::from(threaded));
    run(Command::new("ip").args(["netns", "exec", &lab.node_netns(NODE), "sh", "-c", &write]))
}
