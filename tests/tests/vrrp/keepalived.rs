//! keepalived on a node of a lab, with one virtual router.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vip_tests::{lab::Lab, net, wait};

use crate::PATIENCE;

/// What it calls its interface with the virtual MAC address.
const VMAC: &str = "vrrp.77";
/// What a line of its log has that says something is wrong. It is one of ours that has made it say so.
const COMPLAINTS: [&str; 8] =
    ["invalid", "mismatch", "bogus", "discard", "checksum", "incorrect", "not match", "dropping"];

/// One that runs; asked to stop when dropped.
pub(super) struct Keepalived {
    child: Option<Child>,
    node: u8,
    netns: String,
    log: PathBuf,
    /// What has to be taken off after it was killed.
    addresses: Vec<String>,
}

impl Keepalived {
    /// Starts it with these lines of the global section and of the instance, which serves these addresses.
    pub(super) fn start(lab: &Lab, node: u8, globals: &str, instance: &str, addresses: &[String]) -> Self {
        let home = lab.home(node);
        let (config, log) = (home.join("keepalived.conf"), home.join("keepalived.log"));
        let listed: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        let text = format!(
            "global_defs {{\nrouter_id lb{node}\n{globals}\n}}\n\
             vrrp_instance web {{\ninterface eth0\nstate BACKUP\nvirtual_router_id 77\n{instance}\n\
             virtual_ipaddress {{\n{listed}}}\n}}\n"
        );
        fs::write(&config, text).unwrap();
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = lab.command(node, "keepalived").unwrap();
        command
            .args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--log-detail", "--use-file"])
            .arg(config);
        for option in ["pid", "vrrp_pid"] {
            let path = home.join(option);
            let _ = fs::remove_file(&path);
            command.arg(format!("--{option}")).arg(path);
        }
        let child =
            command.stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap();
        Self { child: Some(child), node, netns: lab.node_netns(node), log, addresses: addresses.to_vec() }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `master`, `backup` or `fault`, as it has said last; nothing, if it has not said any.
    pub(super) fn state(&self) -> String {
        let log = self.log();
        let said = log.rsplit_once("Entering ").and_then(|(_, last)| last.split(' ').next());
        said.unwrap_or_default().to_lowercase()
    }

    /// Waits until it is `master` or `backup`.
    pub(super) fn wait_state(&self, state: &str) {
        let what = format!("keepalived on node {} to be {state}", self.node);
        let waited = wait::until_calmly(&what, PATIENCE, || Ok((self.state() == state).then_some(())));
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    /// What it has to complain of.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let is_one = |line: &&str| {
            let line = line.to_lowercase();
            // That it preempts, or cannot send yet from an address that is new, is no complaint about others.
            let is_its_own = line.contains("lower priority") || line.contains("send advert error");
            !is_its_own && COMPLAINTS.iter().any(|word| line.contains(word))
        };
        log.lines().filter(is_one).map(str::to_owned).collect()
    }

    /// Kills it, and takes off what it leaves on the interface: an operator would.
    pub(super) fn kill(mut self) {
        // The child that speaks VRRP dies with its parent.
        self.signal(Signal::SIGKILL);
        for address in &self.addresses {
            let _ = net::ip(&self.netns, &["addr", "del", address, "dev", "eth0"]);
        }
        // With `use_vmac`, and then the next one does not start while it is there.
        let _ = net::ip(&self.netns, &["link", "del", VMAC]);
    }

    /// Has it stop in good order.
    pub(super) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
    }
}
