//! How one daemon and another program speak VRRP with each other, and what each is told for that.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP, VIP6},
    net::command_in,
    wait,
};

use super::{frr::Frr, keepalived::Keepalived};
use crate::PATIENCE;

/// Of every virtual router here.
pub(super) const VRID: u8 = 77;
const PASSWORD: &str = "secret";

/// A way to speak.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) program: Program,
    pub(super) version: u8,
    /// In milliseconds.
    pub(super) interval: u16,
    pub(super) ipv6: bool,
    pub(super) unicast: bool,
    /// Of ours.
    pub(super) virtual_mac: bool,
    pub(super) password: bool,
}

/// Which program the daemon speaks with. FRR has a virtual MAC address always.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Keepalived,
    /// With a virtual MAC address.
    KeepalivedVmac,
    Frr,
}

impl Case {
    /// By version 3 and multicast, ten times in a second, with a virtual MAC address.
    pub(super) const fn with(program: Program) -> Self {
        Self {
            program,
            version: 3,
            interval: 100,
            ipv6: false,
            unicast: false,
            virtual_mac: true,
            password: false,
        }
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        match self.ipv6 {
            true => vec!["fe80::77/64".to_owned(), format!("{VIP6}/64")],
            false => vec![format!("{VIP}/24")],
        }
    }

    /// Of ours.
    pub(super) fn options(&self, priority: u8) -> DaemonOptions {
        let mut group = format!(
            "protocol = \"vrrp\"\nvrid = {VRID}\nversion = {}\nadvert_interval = \"{}ms\"\npriority = {priority}\n\
             virtual_mac = {}\n",
            self.version, self.interval, self.virtual_mac
        );
        if self.unicast {
            group += "unicast_peers = [\"10.77.0.2\"]\n";
        }
        if self.password {
            group += "auth = \"text\"\nauth_password_file = \"PASSWORD\"\n";
        }
        let mode = if self.virtual_mac { "xdp = \"generic\"" } else { "" };
        DaemonOptions {
            vips: self.addresses(),
            more_of_group: group,
            more_of_node: mode.to_owned(),
            ..DaemonOptions::default()
        }
    }

    /// Nodes for it, on which nothing runs yet; ours has this priority.
    pub(super) fn cluster(&self, nodes: u8, priority: u8) -> Cluster {
        let mut cluster = Cluster::prepare(nodes, |_| self.options(priority)).unwrap();
        if self.ipv6 {
            cluster.lab().add_ipv6().unwrap();
        }
        if self.password {
            write_password(&mut cluster);
        }
        cluster
    }

    /// The other program, with a priority of 100.
    pub(super) fn start(&self, cluster: &Cluster, node: u8) -> Other {
        let vmac = match self.program {
            Program::Frr => return Other::Frr(Frr::start(cluster.lab(), node, self)),
            Program::KeepalivedVmac => "use_vmac\n",
            Program::Keepalived => "",
        };
        let mut instance = format!("priority 100\nadvert_int {}\n{vmac}", f32::from(self.interval) / 1000.0);
        if self.unicast {
            instance += "unicast_peer {\n10.77.0.1\n}\n";
        }
        if self.password {
            instance += &format!("authentication {{\nauth_type PASS\nauth_pass {PASSWORD}\n}}\n");
        }
        let globals = format!("vrrp_version {}", self.version);
        Other::Keepalived(Keepalived::start(cluster.lab(), node, &globals, &instance, &self.addresses()))
    }

    /// Waits until the client reaches the VIP, at the address where it has to be while ours serves.
    pub(super) fn wait_reached(&self, cluster: &Cluster) {
        let vip = if self.ipv6 { VIP6.to_string() } else { VIP.to_string() };
        let mac = match (self.virtual_mac, self.ipv6) {
            (false, _) => "02:77:0a:4d:00:01",
            (true, false) => "00:00:5e:00:01:4d",
            (true, true) => "00:00:5e:00:02:4d",
        };
        let client = cluster.lab().client_netns();
        let reached = wait::until_calmly("the client to reach the VIP", PATIENCE, || {
            let answered = command_in(&client, "ping")?.args(["-c", "1", "-W", "1", &vip]).output()?;
            let entry = command_in(&client, "ip")?.args(["neigh", "show", &vip]).output()?;
            let is_there = String::from_utf8_lossy(&entry.stdout).contains(mac);
            Ok((answered.status.success() && is_there).then_some(()))
        });
        reached.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// Another program that runs.
pub(super) enum Other {
    Keepalived(Keepalived),
    Frr(Frr),
}

impl Other {
    /// `master` or `backup`, among others; nothing, if it does not say.
    pub(super) fn state(&self) -> String {
        match self {
            Self::Keepalived(keepalived) => keepalived.state(),
            Self::Frr(frr) => frr.state(),
        }
    }

    /// Waits until it is `master` or `backup`.
    pub(super) fn wait_state(&self, state: &str) {
        match self {
            Self::Keepalived(keepalived) => keepalived.wait_state(state),
            Self::Frr(frr) => frr.wait_state(state),
        }
    }

    /// What it has to complain of.
    pub(super) fn complaints(&self) -> Vec<String> {
        match self {
            Self::Keepalived(keepalived) => keepalived.complaints(),
            Self::Frr(frr) => frr.complaints(),
        }
    }

    /// Has it stop in good order.
    pub(super) fn stop(self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.stop(),
            Self::Frr(frr) => frr.stop(),
        }
    }

    /// Kills it, and takes off what it leaves on the interface: an operator would.
    pub(super) fn kill(self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.kill(),
            Self::Frr(frr) => frr.kill(),
        }
    }
}

fn write_password(cluster: &mut Cluster) {
    let path = cluster.lab().home(1).join("password");
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&path).unwrap();
    file.write_all(PASSWORD.as_bytes()).unwrap();
    for node in [1, 2] {
        let options = cluster.options(node).unwrap();
        options.more_of_group = options.more_of_group.replace("PASSWORD", path.to_str().unwrap());
    }
}

/// What ours on a node has logged as an error.
pub(super) fn errors(cluster: &mut Cluster, node: u8) -> Vec<String> {
    let log = cluster.daemon(node).unwrap().log();
    log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
}

/// Waits until ours is in this state.
pub(super) fn wait_state(cluster: &Cluster, node: u8, state: &str) {
    cluster.wait_status(node, state, PATIENCE, |status| status.groups[0].state == state).unwrap();
}
