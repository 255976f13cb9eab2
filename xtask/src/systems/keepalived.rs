//! keepalived: its configuration, and which of its processes is which.

use std::{fs, net::Ipv4Addr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use vip_tests::lab::Lab;

use super::pair::Peer;

/// keepalived for some VIPs.
pub(super) struct Keepalived {
    pub(super) vips: Vec<Ipv4Addr>,
    pub(super) settings: Settings,
    /// Asked every second, the least that a script's interval can be: a node that does not answer is at fault.
    pub(super) health: Option<&'static str>,
}

/// How it is configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settings {
    /// Nothing but what it cannot do without.
    Defaults,
    /// The shortest interval that VRRPv3 has, at real-time priority, one announcement for each VIP.
    Best,
    /// The same, and the second node tracks the first one by BFD.
    BestWithBfd,
}

/// Real-time priority above everything else; none of its processes is to be ended for using the processor
/// much.
const BEST_GLOBALS: &str = "    vrrp_version 3
    vrrp_garp_master_delay 0
    vrrp_garp_master_repeat 1
    vrrp_garp_master_refresh 0
    vrrp_garp_lower_prio_delay 0
    vrrp_garp_lower_prio_repeat 1
    vrrp_rt_priority 50
    vrrp_rlimit_rttime 1000000
    vrrp_no_swap
    bfd_rt_priority 50
    bfd_rlimit_rttime 1000000
    bfd_no_swap
";

/// By option. In the node's directory, as another keepalived of this machine has the usual ones.
const PID_FILES: [(&str, &str); 4] = [
    ("--pid", "keepalived.pid"),
    ("--vrrp_pid", VRRP_PID),
    ("--checkers_pid", "checkers.pid"),
    ("--bfd_pid", "bfd.pid"),
];
const VRRP_PID: &str = "vrrp.pid";

impl Peer for Keepalived {
    fn command(&self, lab: &Lab, node: u8) -> Result<Command> {
        let file = |name: &str| lab.home(node).join(name);
        let config = self.write_config(lab, node)?;
        let mut command = lab.command(node, "keepalived")?;
        command.args(["--dont-fork", "--log-console", "--no-syslog", "--use-file"]).arg(config);
        for (option, name) in PID_FILES {
            // One that was killed leaves its own, and the next may take a process that has yet to vanish for
            // its rival.
            let _ = fs::remove_file(file(name));
            command.arg(option).arg(file(name));
        }
        Ok(command)
    }

    fn settings(&self) -> String {
        let vips = self.vips.iter().take(1).copied().collect();
        let shown = Self { vips, ..*self };
        format!("node 1:\n{}node 2:\n{}", shown.config(1), shown.config(2))
    }

    fn set_vips(&mut self, lab: &Lab, vips: Vec<Ipv4Addr>) -> Result<()> {
        self.vips = vips;
        lab.nodes().try_for_each(|node| self.write_config(lab, node).map(drop))
    }

    fn state_marker(&self) -> &'static str {
        "(web) Entering "
    }

    fn standby(&self) -> &'static str {
        // Held down by tracking, as long as BFD hears the master.
        if self.settings == Settings::BestWithBfd { "FAULT" } else { "BACKUP" }
    }

    fn settling(&self) -> Duration {
        match self.settings {
            // A session that is up first goes on at the idle interval of BFD, a second, with a detection time
            // of three.
            Settings::BestWithBfd => Duration::from_millis(1500),
            Settings::Defaults | Settings::Best => Duration::ZERO,
        }
    }

    fn interval(&self) -> Duration {
        match self.settings {
            Settings::Defaults => Duration::from_secs(1),
            Settings::Best | Settings::BestWithBfd => Duration::from_millis(10),
        }
    }

    fn advertiser(&self, lab: &Lab, node: u8, _parent: Pid) -> Result<Pid> {
        let path = lab.home(node).join(VRRP_PID);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Pid::from_raw(text.trim().parse()?))
    }
}

impl Keepalived {
    fn write_config(&self, lab: &Lab, node: u8) -> Result<PathBuf> {
        let config = lab.home(node).join("keepalived.conf");
        fs::write(&config, self.config(node))
            .with_context(|| format!("cannot write {}", config.display()))?;
        Ok(config)
    }

    fn config(&self, node: u8) -> String {
        let (globals, bfd, instance) = match self.settings {
            Settings::Defaults => ("", String::new(), "    state BACKUP\n".to_owned()),
            // The node that returns leaves the VIP where it is.
            Settings::Best => {
                let priority = 255 - node;
                let instance = format!(
                    "    state BACKUP\n    nopreempt\n    priority {priority}\n    advert_int 0.01\n"
                );
                (BEST_GLOBALS, String::new(), instance)
            }
            Settings::BestWithBfd => (BEST_GLOBALS, bfd_session(node), bfd_instance(node)),
        };
        let (script, track) = self.health.map(health_script).unwrap_or_default();
        let (vips, excluded) = self.vips.split_at(self.vips.len().min(1));
        format!(
            "global_defs {{
    router_id lb{node}
{globals}}}
{bfd}{script}vrrp_instance web {{
    interface eth0
    virtual_router_id 77
{instance}{track}    virtual_ipaddress {{
{}    }}
{}}}
",
            addresses(vips),
            // Those that adverts do not carry: they have room for some only.
            if excluded.is_empty() {
                String::new()
            } else {
                format!("    virtual_ipaddress_excluded {{\n{}    }}\n", addresses(excluded))
            }
        )
    }
}

/// The section of a script, and its part of the instance's. Nothing is set but what it cannot do without.
fn health_script(url: &str) -> (String, &'static str) {
    let script = format!(
        "vrrp_script front {{
    script \"/usr/bin/curl --silent --fail --max-time 0.5 --output /dev/null {url}\"
    user root
}}
"
    );
    (script, "    track_script {\n        front\n    }\n")
}

/// As its program says.
pub(super) fn version() -> Result<String> {
    let output = Command::new("keepalived").arg("--version").output().context("cannot run keepalived")?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn bfd_session(node: u8) -> String {
    let other = 3 - node;
    format!(
        "bfd_instance peer {{
    source_ip 10.77.0.{node}
    neighbor_ip 10.77.0.{other}
    min_rx 1
    min_tx 1
    multiplier 3
    vrrp
}}
"
    )
}

/// The second node is down while BFD hears the first one (`weight 0 reverse`), and stands up when it does
/// not. As version 2.2.7 makes it wait for three adverts then, like any other, that takes no less than
/// without BFD; but a false alarm of BFD does no harm, as the adverts go on.
fn bfd_instance(node: u8) -> String {
    let tracking = if node == 1 { "" } else { "    track_bfd {\n        peer weight 0 reverse\n    }\n" };
    let priority = 255 - node;
    format!("    state BACKUP\n    priority {priority}\n    advert_int 0.01\n{tracking}")
}

fn addresses(vips: &[Ipv4Addr]) -> String {
    vips.iter().map(|vip| format!("        {vip}/32 dev eth0\n")).collect()
}
