//! A segment in network namespaces: nodes, a switch that connects them by cables one can pull, and a client.
//!
//! Here: what a lab is made of, and its end. How the wires are made is in `topology`, how a daemon is started in
//! `daemon`, what can be done to it from outside in `freezer`, `mounts`, `reach` and `xdp`, and what removes the remains of
//! killed runs in `sweep`.

mod config;
mod daemon;
mod freezer;
mod mounts;
mod reach;
mod stack;
mod sweep;
mod topology;
mod xdp;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

use self::topology::Side;
pub use self::{
    daemon::{Daemon, DaemonOptions, daemon_binary},
    freezer::Freezer,
    mounts::Mounts,
    stack::Stack,
    sweep::sweep_leftovers,
    topology::mount_bpffs,
    xdp::{program_that_passes, time_programs},
};
use crate::net;

/// The VIP that [`DaemonOptions`] give to the group by default.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// A VIP for tests with a second interface: see [`Lab::add_back`].
pub const BACK_VIP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
/// The address of the server behind the nodes: see [`Lab::add_backend`].
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 210);
/// The client's own address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
/// A VIP for tests with IPv6, and the client's address there: see [`Lab::add_ipv6`].
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
/// See [`VIP6`].
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);
/// A VIP for tests with IPv6 on a second interface: see [`Lab::add_back_ipv6`].
pub const BACK_VIP6: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 0x100);
/// The port of the nodes' messages: the product's default.
pub const MESSAGE_PORT: u16 = 5680;
/// Where the BPF file system belongs.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Addresses above this one are the client's and the VIPs'.
const MAX_NODES: u8 = 99;
/// Where the daemons keep their pins, for their layout of the maps.
const LAYOUT: &str = "v9";

/// A switch, a client and nodes 1 to n, each in a namespace of its own. Dropping it removes everything that it made,
/// and ends what still runs in its namespaces.
#[derive(Debug)]
pub struct Lab {
    /// Unique on the machine; every name that the lab gives begins with it.
    name: String,
    nodes: u8,
    /// Configurations, keys, logs, sockets and state of the nodes.
    dir: PathBuf,
    /// Keeps the switch's ports accepting what the nodes send by XDP_TX.
    _ports: Vec<OwnedFd>,
}

impl Lab {
    /// Makes a lab of `nodes` nodes, all cables plugged.
    pub fn new(nodes: u8) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        ensure!((1..=MAX_NODES).contains(&nodes), "a lab has 1 to {MAX_NODES} nodes, not {nodes}");
        ensure!(
            nix::unistd::geteuid().is_root(),
            "a lab needs root: it makes network namespaces and loads BPF programs"
        );

        let name = sweep::lab_name(process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        // From here on, whatever fails, dropping the value removes what has been made.
        let mut lab = Self { name, nodes, dir, _ports: Vec::new() };
        topology::mount_bpffs()?;
        for node in lab.nodes() {
            let home = lab.home(node);
            fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        }
        lab._ports = topology::build(&lab)?;
        Ok(lab)
    }

    /// The nodes' numbers: 1 to n.
    pub fn nodes(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes
    }

    /// The namespace of node `node`; its interface is eth0.
    pub fn node_netns(&self, node: u8) -> String {
        format!("{}-n{node}", self.name)
    }

    /// The namespace of the client; its interface is eth0.
    pub fn client_netns(&self) -> String {
        format!("{}-client", self.name)
    }

    /// The namespace of the switch: a bridge, and port `p<k>` for node k.
    pub fn switch_netns(&self) -> String {
        format!("{}-switch", self.name)
    }

    /// The switch's port for node `node`.
    pub fn port(&self, node: u8) -> String {
        Side::Front.port(node)
    }

    /// The node whose eth0 has this MAC.
    pub fn node_of_mac(mac: [u8; 6]) -> Option<u8> {
        (1..=MAX_NODES).find(|node| topology::mac(Side::Front.node_address(*node)) == mac)
    }

    /// The MAC of node `node` on eth1 after [`Lab::add_back`].
    pub fn back_mac(&self, node: u8) -> [u8; 6] {
        topology::mac(Side::Back.node_address(node))
    }

    /// The address of node `node` on eth0.
    pub fn address(&self, node: u8) -> Ipv4Addr {
        Side::Front.node_address(node)
    }

    /// The address of node `node` on eth0 after [`Lab::add_ipv6`].
    pub fn address6(&self, node: u8) -> Ipv6Addr {
        Side::Front.node_address6(node)
    }

    /// From now on, the switch carries no multicast messages from and to node `node`.
    pub fn block_groups(&self, node: u8) -> Result<()> {
        reach::block_groups(self, node)
    }

    /// Ends what [`Lab::block_groups`] has begun.
    pub fn unblock_groups(&self, node: u8) -> Result<()> {
        reach::unblock_groups(self, node)
    }

    /// From now on, next to nothing of what has the client's address gets from the switch to node `node`, a standby's copies
    /// included; all else does.
    pub fn throttle(&self, node: u8) -> Result<()> {
        reach::throttle(self, node)
    }

    /// Ends what [`Lab::throttle`] has begun.
    pub fn unthrottle(&self, node: u8) -> Result<()> {
        reach::unthrottle(self, node)
    }

    /// Puts node `node` on a segment of its own behind a router: its address is [`Lab::address_behind_router`] then. One node of
    /// a lab can be there.
    pub fn move_behind_router(&self, node: u8) -> Result<()> {
        reach::move_behind_router(self, node)
    }

    /// See [`Lab::move_behind_router`].
    pub fn address_behind_router(&self, node: u8) -> Ipv4Addr {
        reach::address_behind(node)
    }

    /// Connects client and nodes a second time, by a switch of its own: their interfaces are eth1, in 10.88.0.0/24. The
    /// cables have to be kept with the result.
    pub fn add_back(&self) -> Result<Vec<OwnedFd>> {
        topology::add_back(self)
    }

    /// The cable between node `node` and the switch of [`Lab::add_back`].
    pub fn back_cable(&self, node: u8) -> Cable<'_> {
        Cable { lab: self, side: Side::Back, node }
    }

    /// Gives client and nodes IPv6, with addresses in fd77::/64.
    pub fn add_ipv6(&self) -> Result<()> {
        topology::add_ipv6(self, Side::Front)
    }

    /// Gives client and nodes IPv6 on the second segment, with addresses in fd88::/64.
    pub fn add_back_ipv6(&self) -> Result<()> {
        topology::add_ipv6(self, Side::Back)
    }

    /// Connects one more machine to the switch, for what stands behind the nodes; it has the address [`BACKEND`]. Gives its
    /// namespace.
    pub fn add_backend(&self) -> Result<String> {
        topology::add_backend(self)
    }

    /// Where node `node` has its files.
    pub fn home(&self, node: u8) -> PathBuf {
        self.dir.join(format!("n{node}"))
    }

    /// Where node `node` pins its maps and links: `[paths] bpffs`.
    pub fn pins(&self, node: u8) -> PathBuf {
        self.all_pins().join(format!("n{node}"))
    }

    /// Where the daemon of node `node` keeps what does not survive a boot: `[paths] runtime`.
    pub fn runtime(&self, node: u8) -> PathBuf {
        config::runtime(self, node)
    }

    /// Attaches an XDP program that passes everything to eth0 of node `node`, until the result is dropped.
    pub fn occupy_xdp(&self, node: u8) -> Result<OwnedFd> {
        xdp::accept_xdp_tx(&self.node_netns(node), "eth0")
    }

    /// Takes the daemon's XDP program off eth1 of node `node`.
    pub fn detach_back_xdp(&self, node: u8) -> Result<()> {
        xdp::detach(&self.pins(node).join(LAYOUT).join("link-eth1"))
    }

    /// Takes the daemon's XDP program off eth0 of node `node`, as `bpftool link detach` does.
    pub fn detach_xdp(&self, node: u8) -> Result<()> {
        xdp::detach(&self.link_pin(node))
    }

    /// Puts an XDP program that passes everything in the place of the daemon's on node `node`.
    pub fn replace_xdp(&self, node: u8) -> Result<()> {
        xdp::replace(&self.link_pin(node))
    }

    /// A view of the file system that only the daemon of node `node` has, once it is started in it.
    pub fn mounts(&self, node: u8) -> Result<Mounts> {
        Mounts::separate(self, node)
    }

    /// What holds processes of node `node` still.
    pub fn freezer(&self, node: u8) -> Result<Freezer> {
        Freezer::make(&self.node_netns(node))
    }

    /// The cable between node `node` and the switch.
    pub fn cable(&self, node: u8) -> Cable<'_> {
        Cable { lab: self, side: Side::Front, node }
    }

    /// Puts an interface of this kind in the place of eth0 of node `node`, on top of it; a reason if the
    /// kernel has no such kind.
    pub fn stack(&self, node: u8, kind: Stack) -> Result<std::result::Result<(), String>> {
        stack::put(self, node, kind)
    }

    /// A command that will run on node `node`.
    pub fn command(&self, node: u8, program: impl AsRef<Path>) -> Result<Command> {
        net::command_in(&self.node_netns(node), program)
    }

    /// Writes the configuration that `options` describe for node `node`, and the cluster's key; gives the path.
    pub fn write_config(&self, node: u8, options: &DaemonOptions) -> Result<PathBuf> {
        config::write(self, node, options)
    }

    /// Starts the daemon on node `node`, with a configuration written anew from `options`. Does not wait for it to serve.
    pub fn start(&self, node: u8, options: &DaemonOptions) -> Result<Daemon> {
        daemon::start(self, node, options)
    }

    fn link_pin(&self, node: u8) -> PathBuf {
        self.pins(node).join(LAYOUT).join("link-eth0")
    }

    /// Makes the client send what is for the VIP to node `node`, whatever it is told: a neighbour entry that nothing changes.
    pub fn fix_neighbour(&self, node: u8) -> Result<()> {
        let mac = topology::written(topology::mac(Side::Front.node_address(node)));
        let (netns, vip) = (self.client_netns(), VIP.to_string());
        net::ip(&netns, &["neigh", "replace", &vip, "lladdr", &mac, "dev", "eth0", "nud", "permanent"])
    }

    /// Where the daemon of node `node` pins the map of this name.
    pub fn map_pin(&self, node: u8, map: &str) -> PathBuf {
        self.pins(node).join(LAYOUT).join(map)
    }

    fn all_pins(&self) -> PathBuf {
        Path::new(BPFFS).join(&self.name)
    }

    fn backend_netns(&self) -> String {
        format!("{}-backend", self.name)
    }

    fn router_netns(&self) -> String {
        format!("{}-router", self.name)
    }

    fn namespaces(&self) -> impl Iterator<Item = String> + '_ {
        let nodes = self.nodes().map(|node| self.node_netns(node));
        nodes.chain([self.switch_netns(), self.client_netns()])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let namespaces: Vec<String> =
            self.namespaces().chain([self.router_netns(), self.backend_netns()]).collect();
        let cgroups: Vec<PathBuf> = freezer::cgroup_root()
            .iter()
            .flat_map(|root| self.nodes().map(|node| root.join(self.node_netns(node))))
            .collect();
        for problem in sweep::remove(&namespaces, &cgroups, &[self.all_pins(), self.dir.clone()]) {
            eprintln!("{}: left behind: {problem:#}", self.name);
        }
    }
}

/// The cable between a node and the switch.
#[derive(Debug)]
pub struct Cable<'a> {
    lab: &'a Lab,
    side: Side,
    node: u8,
}

impl Cable<'_> {
    /// Takes the switch's end out: the node loses its carrier, and nothing passes.
    pub fn pull(&self) -> Result<()> {
        self.set("down")
    }

    /// Puts the switch's end back in.
    pub fn plug(&self) -> Result<()> {
        self.set("up")
    }

    /// Takes the cable away with both its ends: the node loses its interface.
    pub fn remove(&self) -> Result<()> {
        net::ip(&self.lab.switch_netns(), &["link", "delete", "dev", &self.side.port(self.node)])
    }

    /// Lays a new cable after [`Cable::remove`]: the node gets an interface of the same name, MAC and address. It has to
    /// be kept with the result.
    pub fn renew(&self) -> Result<OwnedFd> {
        topology::connect(self.lab, self.side, self.node)
    }

    fn set(&self, state: &str) -> Result<()> {
        net::ip(&self.lab.switch_netns(), &["link", "set", "dev", &self.side.port(self.node), state])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netns_path;

    #[test]
    fn a_lab_leaves_nothing_behind() {
        let lab = Lab::new(2).unwrap();
        let namespaces: Vec<PathBuf> = lab.namespaces().map(|name| netns_path(&name)).collect();
        let dir = lab.dir.clone();
        let mut inhabitant = lab.command(1, "sleep").unwrap().arg("600").spawn().unwrap();
        assert!(namespaces.iter().all(|path| path.exists()) && dir.exists());

        drop(lab);
        assert!(!namespaces.iter().any(|path| path.exists()) && !dir.exists());
        assert!(!inhabitant.wait().unwrap().success(), "the inhabitant was ended");
    }

    #[test]
    fn a_pulled_cable_takes_the_carrier_and_a_plugged_one_gives_it_back() {
        let lab = Lab::new(1).unwrap();
        let carrier = || {
            let output = lab.command(1, "ip")?.args(["-o", "link", "show", "dev", "eth0"]).output()?;
            anyhow::Ok(!String::from_utf8_lossy(&output.stdout).contains("NO-CARRIER"))
        };
        assert!(carrier().unwrap());
        lab.cable(1).pull().unwrap();
        assert!(!carrier().unwrap());
        lab.cable(1).plug().unwrap();
        assert!(carrier().unwrap());
    }
}
