//! What a fault is played on: a cluster, a client that watches it all the time, and luck that a seed decides.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    clock::Stamp,
    cluster::Cluster,
    interrupt,
    lab::{DaemonOptions, Lab},
    prober::Answer,
    watch::{Sight, Watch},
};

/// Longer than any condition takes, on however busy a machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than all conditions of one fault together take.
const LIMIT: Duration = Duration::from_secs(180);
/// A fault comes at some moment of this span after all is well, whatever heartbeats and leases do.
const PHASES: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Scene {
    // In this order: the watch ends before what it watches.
    watch: Watch,
    pub(super) cluster: Cluster,
    random: SmallRng,
    struck: Option<Stamp>,
    /// See [`Scene::without_fence`].
    excused: u64,
}

/// What is left of a scene.
pub(super) struct Remains {
    pub(super) sight: Sight,
    /// The longest time without service from the fault on; zero if there was none.
    pub(super) outage: Duration,
    pub(super) excused: u64,
}

impl Scene {
    /// A scene with so many nodes, which no daemon runs on yet.
    pub(super) fn open(name: &str, nodes: u8, seed: u64, options: &DaemonOptions) -> Result<Self> {
        let cluster = Cluster::prepare(nodes, |_| options.clone())?;
        let watch = Watch::start(cluster.lab(), LIMIT, PATIENCE)?;
        let mut hasher = DefaultHasher::new();
        (name, seed).hash(&mut hasher);
        let random = SmallRng::seed_from_u64(hasher.finish());
        Ok(Self { watch, cluster, random, struck: None, excused: 0 })
    }

    /// Ends it.
    pub(super) fn close(self) -> Remains {
        let sight = self.watch.finish();
        let outage = self.struck.and_then(|struck| sight.probes.outage_after(struck).cloned());
        let outage = outage.map_or(Duration::ZERO, |outage| outage.duration);
        Remains { sight, outage, excused: self.excused }
    }

    pub(super) fn lab(&self) -> &Lab {
        self.cluster.lab()
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> Vec<u8> {
        self.lab().nodes().collect()
    }

    /// All nodes but this one.
    pub(super) fn others(&self, node: u8) -> Vec<u8> {
        self.lab().nodes().filter(|other| *other != node).collect()
    }

    /// Starts all daemons at once.
    pub(super) fn start(&mut self) -> Result<()> {
        self.nodes().into_iter().try_for_each(|node| self.cluster.restart(node))
    }

    /// Starts all daemons, waits until all is well, and lets some time pass. Gives who serves then.
    pub(super) fn whole(&mut self) -> Result<u8> {
        self.start()?;
        self.recovered()?;
        let phase = self.below(PHASES);
        interrupt::pause(phase)?;
        Ok(self.served()?.node)
    }

    /// This is the moment of the fault.
    pub(super) fn strike(&mut self) {
        self.struck = Some(Stamp::now());
    }

    /// Gives the nodes leases that a busy machine does not let lapse, where a fault must not cost one.
    pub(super) fn take_long_leases(&mut self) -> Result<()> {
        for node in self.nodes() {
            let options = self.cluster.options(node)?;
            (options.interval, options.lease) = (Duration::from_millis(50), Duration::from_secs(1));
        }
        Ok(())
    }

    /// Under which ballot a node knows the VIP to be held: it stays the same for as long as the lease is not lost.
    pub(super) fn ballot(&self, node: u8) -> Result<String> {
        let groups = self.cluster.status(node)?.groups;
        Ok(groups.into_iter().next().context("no group")?.ballot)
    }

    /// Takes the fence off a node by `what`, and waits until its daemon has noticed and ended, with `words`.
    ///
    /// Between the two, its stack takes in what is broadcast to the VIP, which no client does: the double answers to
    /// that, and to nothing else, are counted apart.
    pub(super) fn without_fence(
        &mut self,
        node: u8,
        what: impl FnOnce(&Lab) -> Result<()>,
        words: &[&str],
    ) -> Result<()> {
        let doubles = |scene: &Self| scene.watch.requests_so_far().udp_doubles;
        let before = doubles(self);
        self.strike();
        what(self.lab())?;
        self.ends_by_itself(node, words)?;
        self.excused += doubles(self) - before;
        Ok(())
    }

    /// Lets the daemon of a node run on what a former run has left, or on what it has made itself.
    pub(super) fn perhaps_adopted(&mut self, node: u8) -> Result<()> {
        if self.random.random() {
            self.cluster.daemon(node)?.kill()?;
            self.cluster.restart(node)?;
            self.recovered()?;
        }
        Ok(())
    }

    /// Waits until all nodes are alive, agree on a holder, and the client is served. Gives the holder.
    pub(super) fn recovered(&self) -> Result<u8> {
        self.recovered_among(&self.nodes())
    }

    /// As [`Scene::recovered`], for these nodes alone.
    pub(super) fn recovered_among(&self, nodes: &[u8]) -> Result<u8> {
        let holder = self.cluster.wait_whole_among(nodes, PATIENCE)?;
        self.served()?;
        Ok(holder)
    }

    /// Waits until somebody serves.
    pub(super) fn served(&self) -> Result<Answer> {
        self.watch.wait_served_after(Stamp::now(), |_| true).with_context(|| self.cluster.log_tails())
    }

    /// Waits until another node than this one serves.
    pub(super) fn served_without(&self, node: u8) -> Result<Answer> {
        let answer = self.watch.wait_served_after(Stamp::now(), |by| by != node);
        answer.with_context(|| self.cluster.log_tails())
    }

    /// Lets some time pass, less than `span`.
    pub(super) fn pause_below(&mut self, span: Duration) -> Result<()> {
        let span = self.below(span);
        interrupt::pause(span)
    }

    /// Starts the daemon of a node that must refuse to, and says so: `words` are in what it says.
    pub(super) fn refuses_to_start(&mut self, node: u8, words: &[&str]) -> Result<()> {
        self.cluster.restart(node)?;
        self.ends_by_itself(node, words)
    }

    /// Waits until the daemon of a node ends; `words` are in what it says last.
    pub(super) fn ends_by_itself(&mut self, node: u8, words: &[&str]) -> Result<()> {
        let daemon = self.cluster.daemon(node)?;
        let status = daemon.wait_exit(PATIENCE)?;
        ensure!(
            !status.success(),
            "the daemon of node {node} ended as if all were well{}",
            daemon.log_tail()
        );
        let log = daemon.log();
        let last = log.lines().rev().find(|line| line.starts_with("vip-user: ")).unwrap_or_default();
        for word in words {
            ensure!(last.contains(word), "node {node} does not say {word:?}{}", daemon.log_tail());
        }
        Ok(())
    }

    /// Takes off a machine what a boot would: the data plane with all its promises, the fence, and the VIPs. Its daemon
    /// does not run.
    pub(super) fn boot(&self, node: u8) -> Result<()> {
        // The VIPs first, as nothing fences them without the others.
        crate::net::ip(&self.lab().node_netns(node), &["link", "delete", "dev", "vip-eth0"])?;
        std::fs::remove_dir_all(self.lab().pins(node)).context("removing the pins")
    }

    /// One of the nodes.
    pub(super) fn any_node(&mut self) -> u8 {
        let nodes = self.lab().nodes().count();
        // At most 99.
        u8::try_from(self.random.random_range(1..=nodes)).unwrap_or(1)
    }

    /// A duration below `span`.
    pub(super) fn below(&mut self, span: Duration) -> Duration {
        self.random.random_range(Duration::ZERO..span)
    }

    pub(super) fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }
}
