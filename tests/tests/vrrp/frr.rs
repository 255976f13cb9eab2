//! FRR's `vrrpd` on a node of a lab, with one virtual router.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, chown},
};
use vip_tests::{lab::Lab, net, wait};

use super::case::{Case, VRID};
use crate::PATIENCE;

/// Where Debian has the daemons.
const DAEMONS: &str = "/usr/lib/frr";
const USER: &str = "frr";
/// FRR knows whose it is by its addresses.
const MACVLAN: &str = "vrrp";
/// What a line of its log has that says something is wrong with an advert.
const COMPLAINTS: [&str; 4] = ["Bad ", "incorrect", "undersized", "oversized"];

/// One that runs; killed when dropped.
pub(super) struct Frr {
    /// `zebra` and `vrrpd`.
    daemons: Vec<Child>,
    netns: String,
    home: PathBuf,
    /// Of its addresses, as it calls it.
    family: &'static str,
}

impl Frr {
    /// With a virtual router of priority 100. FRR wants a macvlan interface with the virtual router's MAC address and addresses,
    /// which it takes up and down.
    pub(super) fn start(lab: &Lab, node: u8, case: &Case) -> Self {
        let (home, netns) = (lab.home(node).join("frr"), lab.node_netns(node));
        fs::create_dir_all(&home).unwrap();
        // The user that Debian's runs as: another one must be of a group that has been compiled in.
        let user = User::from_name(USER).unwrap().unwrap();
        chown(&home, Some(user.uid), Some(user.gid)).unwrap();
        let (family, key, mac) = match case.ipv6 {
            false => ("v4", "ip", format!("00:00:5e:00:01:{VRID:02x}")),
            true => ("v6", "ipv6", format!("00:00:5e:00:02:{VRID:02x}")),
        };
        let ip = |arguments: &[&str]| net::ip(&netns, arguments).unwrap();
        ip(&["link", "add", "link", "eth0", "name", MACVLAN, "type", "macvlan", "mode", "bridge"]);
        ip(&["link", "set", MACVLAN, "address", &mac]);
        // It would send from any link-local address that there is: the virtual router's is to be the only one.
        ip(&["link", "set", MACVLAN, "addrgenmode", "none"]);
        let mut config = format!(
            "log stdout debugging\ndebug vrrp\ninterface eth0\nvrrp {VRID} version {}\nvrrp {VRID} priority 100\n\
             vrrp {VRID} advertisement-interval {}\n",
            case.version, case.interval
        );
        for address in case.addresses() {
            // The other one has it as well, and duplicates are not looked for.
            let checked = if case.ipv6 { &["nodad"][..] } else { &[] };
            ip(&[&["addr", "add", &address, "dev", MACVLAN], checked].concat());
            let (address, _) = address.split_once('/').unwrap();
            config += &format!("vrrp {VRID} {key} {address}\n");
        }
        ip(&["link", "set", MACVLAN, "up"]);
        fs::write(home.join("frr.conf"), config).unwrap();
        let mut frr = Self { daemons: Vec::new(), netns, home, family };
        let socket = frr.home.join("zebra.sock");
        // Of a former run.
        let _ = fs::remove_file(&socket);
        frr.run(lab, node, "zebra", Path::new("/dev/null"));
        wait::until("zebra", PATIENCE, || Ok(socket.exists().then_some(()))).unwrap();
        let config = frr.home.join("frr.conf");
        frr.run(lab, node, "vrrpd", &config);
        frr
    }

    fn run(&mut self, lab: &Lab, node: u8, daemon: &str, config: &Path) {
        let log = self.home.join(format!("{daemon}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = lab.command(node, Path::new(DAEMONS).join(daemon)).unwrap();
        command.args(["-u", USER, "-g", USER, "-P", "0", "-f"]).arg(config);
        command.arg("-z").arg(self.home.join("zebra.sock")).arg("--vty_socket").arg(&self.home);
        command.arg("-i").arg(self.home.join(format!("{daemon}.pid")));
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        self.daemons.push(command.spawn().unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("vrrpd.log")).unwrap_or_default()
    }

    /// What the virtual router is, `master` or `backup` among others; nothing, if nobody says that.
    pub(super) fn state(&self) -> String {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(&self.home).args(["-d", "vrrpd", "-c", "show vrrp json"]);
        let output = vtysh.output().unwrap();
        let routers: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        routers[0][self.family]["status"].as_str().unwrap_or_default().to_lowercase()
    }

    /// Waits until it is `master` or `backup`.
    pub(super) fn wait_state(&self, state: &str) {
        let what = format!("FRR to be {state}");
        let waited = wait::until_calmly(&what, PATIENCE, || Ok((self.state() == state).then_some(())));
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    /// What it has to complain of.
    pub(super) fn complaints(&self) -> Vec<String> {
        let is_one = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
        self.log().lines().filter(is_one).map(str::to_owned).collect()
    }

    /// Kills it, and takes its interface away, which it would answer on.
    pub(super) fn kill(mut self) {
        self.end(Signal::SIGKILL);
        net::ip(&self.netns, &["link", "del", MACVLAN]).unwrap();
    }

    /// Has it stop in good order. Its interface goes, too: it was made for it.
    pub(super) fn stop(mut self) {
        self.end(Signal::SIGTERM);
        net::ip(&self.netns, &["link", "del", MACVLAN]).unwrap();
    }

    fn end(&mut self, signal: Signal) {
        for mut daemon in self.daemons.drain(..).rev() {
            kill(Pid::from_raw(daemon.id().cast_signed()), signal).unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}
