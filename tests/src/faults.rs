//! The faults that a cluster must survive, one item each: what is done to it, and what must hold.
//!
//! Whatever the fault, no two nodes may ever answer one request, which the oracle watches from before the first daemon
//! starts until all is well again; and all must be well again in the end. [`FAULTS`] says what else. Moments, victims
//! and luck are drawn from a seed, so that a round can be repeated (but not the machine's own timing).
//!
//! `tests/faults.rs` plays each once. To see one again, or at other moments:
//!
//! ```text
//! cargo xtask faults xdp-detached                  # one round of one fault, with any seed; which one, it says
//! cargo xtask faults xdp-detached --seed 7         # the same moments and victims as whenever it had seed 7
//! cargo xtask faults --rounds 10 --json            # all of them, with seeds S, S + 1, ...
//! cargo test -p vip-tests --test faults storm -- --nocapture
//! ```
//!
//! A new fault is a function on a [`Scene`](scene::Scene), a line in [`FAULTS`], and its name in `tests/faults.rs`.

mod clocks;
mod disks;
mod kernel;
mod network;
mod packets;
mod processes;
mod scene;
mod storm;

use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use self::scene::{Remains, Scene};
use crate::{interrupt, lab::DaemonOptions, watch::Sight};

/// Something that goes wrong.
#[derive(Debug)]
pub struct Fault {
    /// On the command line and in reports.
    pub name: &'static str,
    /// What is done, to three nodes that were well a moment ago unless it says otherwise.
    pub story: &'static str,
    /// What must hold, beside that no two nodes serve and that all is well again in the end.
    pub promise: &'static str,
    nodes: u8,
    play: fn(&mut Scene) -> Result<()>,
}

/// What became of one round of a fault.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the client saw; none where not even the nodes could be made.
    pub sight: Option<Sight>,
    /// The longest time without service from the fault on, its repair included; zero if there was none.
    pub outage: Duration,
    /// Double answers to UDP broadcasts between the loss of a node's fence and the moment that its daemon had noticed.
    pub excused: u64,
    /// Which promise was not kept.
    pub failure: Option<Error>,
}

impl Outcome {
    /// Requests that two nodes answered, without those that are excused.
    pub fn doubles(&self) -> u64 {
        self.sight.as_ref().map_or(0, Sight::doubles).saturating_sub(self.excused)
    }

    /// Nothing was seen that must not be.
    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.doubles() == 0
    }

    /// An error that says all that was wrong.
    pub fn into_result(self) -> Result<()> {
        if self.doubles() > 0 {
            let described = self.sight.map(|sight| sight.requests.described).unwrap_or_default();
            let described: Vec<String> = described.iter().map(ToString::to_string).collect();
            bail!("two nodes served: {described:#?}; {:?}", self.failure)
        }
        self.failure.map_or(Ok(()), Err)
    }
}

/// The fault of that name.
pub fn named(name: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name)
}

impl Fault {
    /// Plays one round of it on a cluster of its own.
    ///
    /// # Errors
    /// [`interrupt::Interrupted`] alone; what else goes wrong is in the outcome.
    pub fn play(&self, seed: u64, options: &DaemonOptions) -> Result<Outcome> {
        let mut scene = match Scene::open(self.name, self.nodes, seed, options) {
            Ok(scene) => scene,
            Err(error) => return Ok(Outcome { failure: Some(error), ..Outcome::default() }),
        };
        let played = (self.play)(&mut scene).with_context(|| format!("{}, seed {seed}", self.name));
        interrupt::check()?;
        let Remains { sight, outage, excused } = scene.close();
        Ok(Outcome { sight: Some(sight), outage, excused, failure: played.err() })
    }
}

macro_rules! faults {
    ($($name:literal $(on $nodes:literal)? = $play:path, $story:literal, $promise:literal;)+) => {
        /// All of them, in the order in which they are played.
        pub const FAULTS: &[Fault] = &[$(Fault {
            name: $name,
            story: $story,
            promise: $promise,
            nodes: faults!(@nodes $($nodes)?),
            play: $play,
        }),+];
    };
    (@nodes) => { 3 };
    (@nodes $nodes:literal) => { $nodes };
}

faults! {
    "sigterm" = processes::sigterm,
        "the holder's daemon is asked to end",
        "another node serves while it is away";
    "sigkill" = processes::sigkill,
        "the holder's daemon is killed",
        "another node serves while it is away";
    "sigstop" = processes::sigstop,
        "the holder's daemon is stopped, and goes on later (SIGSTOP, SIGCONT)",
        "another node serves while it is stopped, and it does not take up where it left off";
    "stutter" = processes::stutter,
        "the holder's daemon is stopped for up to two leases, ten times",
        "it never goes on with a lease that has ended meanwhile";
    "freeze" = processes::freeze,
        "the holder's daemon is frozen by its cgroup, and thawed later",
        "another node serves while it is frozen";
    "hogs" = processes::hogs,
        "four ordinary processes want all of the processors",
        "somebody serves when they are gone";
    "fifo-hog" = processes::fifo_hog,
        "a real-time process, below the daemons' priority, takes one processor for a second",
        "somebody serves when it is gone";
    "restart-loop" = processes::restart_loop,
        "one daemon is killed or ended, and started, again and again, sometimes before it has started",
        "it starts every time, and takes part in the end";
    "all-start" = processes::all_start,
        "all nodes start at once, for the first time",
        "they form one cluster";
    "all-restart" = processes::all_restart,
        "all daemons are killed and started at once, while their data planes serve on",
        "they serve again, with their promises kept";
    "boot" = processes::boot,
        "a machine boots: its data plane is gone with all its promises",
        "it stays silent until whatever it may have promised is over, and takes part again";
    "all-boot" = processes::all_boot,
        "all machines boot at once",
        "they serve again as the cluster that they were";
    "reinstalled" = processes::reinstalled,
        "a machine boots with an empty disk",
        "it takes part again, in the cluster that the others have";
    "link-down" = network::link_down,
        "the holder's cable is pulled, or its interface switched off, and put right later",
        "another node serves meanwhile";
    "link-flapping" = network::link_flapping,
        "the holder's cable is pulled and plugged in ten times, for up to 80 ms each",
        "somebody serves when it is in for good";
    "deaf" = network::deaf,
        "messages of others do not reach the holder; its own arrive, and clients reach it",
        "another node serves meanwhile";
    "mute" = network::mute,
        "messages of the holder reach nobody; it hears the others, and clients reach it",
        "another node serves meanwhile";
    "pair-cut" = network::pair_cut,
        "the holder and one other node do not hear each other; the third hears both",
        "somebody serves meanwhile";
    "partitions" = network::partitions,
        "who hears whom changes at random, each way by itself, twenty times in two seconds",
        "somebody serves when all hear each other again";
    "loss" = network::loss,
        "1 to 50 % of the messages are lost, on each way another share",
        "somebody serves when the network is good again";
    "delay" = network::delay,
        "messages take up to 60 ms, longer than a lease, on each way another time",
        "somebody serves when the network is good again";
    "reordering" = network::reordering,
        "messages overtake each other by up to 60 ms",
        "somebody serves when the network is good again";
    "duplication" = network::duplication,
        "half of the messages and more arrive twice",
        "somebody serves when the network is good again";
    "bad-network" = network::bad_network_and_a_kill,
        "messages are lost, doubled, late and out of order, and the holder is killed meanwhile",
        "somebody serves when the network is good again";
    "two-clusters" on 6 = network::two_clusters,
        "another cluster with another key and the same ids is on the segment; the holder of the first is killed",
        "each cluster serves its own VIP, and its own alone";
    "bpffs-unmounted" = kernel::bpffs_unmounted,
        "the BPF file system with the pins of one node is unmounted",
        "that node takes its VIPs off and ends, while it still can, and starts when the file system is back";
    "pins-deleted" = kernel::pins_deleted,
        "the pins of one node are deleted",
        "that node takes its VIPs off and ends, while it still can";
    "map-unpinned" = kernel::map_unpinned,
        "one daemon is killed, and the pin of one of its maps is deleted",
        "the VIPs go off that node before the rest of its data plane does, and it takes part again";
    "xdp-detached" = kernel::xdp_detached,
        "the XDP program of one node is detached from its interface",
        "nobody answers for the VIP on that node, which takes its VIPs off and ends";
    "xdp-replaced" = kernel::xdp_replaced,
        "a program that passes everything takes the place of one node's XDP program",
        "nobody answers for the VIP on that node, which takes its VIPs off and ends";
    "interface-renamed" = kernel::interface_renamed,
        "the interface of one node is renamed",
        "that node takes its VIPs off and ends";
    "interface-deleted" = kernel::interface_deleted,
        "the interface of one node is deleted, and another one of the same name, MAC and address comes",
        "that node takes its VIPs off and ends, and serves on the new interface when it is started again";
    "disk-full" = disks::disk_full,
        "one disk is full when the first configuration is formed",
        "nobody serves before that node has its consent on the disk";
    "state-read-only" = disks::state_read_only,
        "the state directory of one node becomes read-only",
        "running leases go on; once its daemon is killed, it refuses to start and says why";
    "state-torn" = disks::state_torn,
        "a state file of one node is cut or changed while its daemon is down",
        "that node refuses to start, and says which file it is and what to do";
    "state-old" = disks::state_old,
        "the state of one node is put back to what it was earlier, before the cluster was formed or after",
        "it takes part again, in the cluster that the others have";
    "forged" = packets::forged,
        "messages with changed bits, at full speed",
        "nothing comes of them";
    "replayed" = packets::replayed,
        "messages of the cluster's first moments, at full speed, while the holder boots and forgets what it has heard",
        "nothing comes of them, and somebody serves meanwhile";
    "truncated" = packets::truncated,
        "messages cut short, with lengths that are wrong or right, at full speed",
        "nothing comes of them";
    "noise" = packets::noise,
        "random datagrams to the protocol's port and random frames, at full speed",
        "nothing comes of them";
    "clock-forward" = clocks::clock_forward,
        "the time of day of one node steps forward by up to ten years, and back after a restart",
        "it takes part all the time";
    "clock-back" = clocks::clock_back,
        "the time of day of one node steps back by up to ten years, and forward after a restart",
        "it takes part all the time";
    "clock-back-disk-lost" = clocks::clock_back_disk_lost,
        "the time of day of one node steps back, its disk is lost, and it is started again",
        "its messages are taken for old ones until its clock is right; the others serve";
    "all-stop" = storm::all_stop,
        "all daemons are stopped, and go on one after the other, three times",
        "none goes on with a lease that has ended meanwhile";
    "handover" = storm::handover,
        "a node is killed, stopped or cut off while the holder hands over, on a bad network or a good one, five times",
        "the lease is handed over or not, and somebody serves";
    "storm" = storm::storm,
        "daemons are killed, started and stopped, cables pulled, lines cut and made bad, thirty times at random",
        "somebody serves when it is over";
}
