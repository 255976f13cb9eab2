//! One daemon and one keepalived, each as master and as backup of the other.

use std::thread;

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, VIP, VIP6},
    net::command_in,
    wait,
};

use super::{capture::Capture, keepalived::Keepalived};
use crate::PATIENCE;

/// How the two speak.
struct Case {
    version: u8,
    ipv6: bool,
    unicast: bool,
    virtual_mac: bool,
    password: bool,
}

const CASES: [Case; 4] = [
    Case { version: 3, ipv6: false, unicast: false, virtual_mac: false, password: false },
    Case { version: 3, ipv6: true, unicast: false, virtual_mac: true, password: false },
    Case { version: 3, ipv6: false, unicast: true, virtual_mac: true, password: false },
    Case { version: 2, ipv6: false, unicast: false, virtual_mac: true, password: true },
];

const PASSWORD: &str = "secret";

impl Case {
    const fn interval(&self) -> &'static str {
        if self.version == 2 { "1" } else { "0.1" }
    }

    fn addresses(&self) -> Vec<String> {
        match self.ipv6 {
            true => vec!["fe80::77/64".to_owned(), format!("{VIP6}/64")],
            false => vec![format!("{VIP}/24")],
        }
    }

    /// Of node 1.
    fn options(&self, priority: u8) -> DaemonOptions {
        let interval = if self.version == 2 { "1s" } else { "100ms" };
        let mut group = format!(
            "protocol = \"vrrp\"\nvrid = 77\nversion = {}\nadvert_interval = \"{interval}\"\npriority = {priority}\n\
             virtual_mac = {}\n",
            self.version, self.virtual_mac
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

    /// Waits until the client reaches the VIP, at the address where it has to be while node 1 serves.
    fn wait_reached(&self, cluster: &Cluster) {
        let vip = if self.ipv6 { VIP6.to_string() } else { VIP.to_string() };
        let mac = match (self.virtual_mac, self.ipv6) {
            (false, _) => "",
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

    /// Of node 2.
    fn keepalived(&self, cluster: &Cluster) -> Keepalived {
        let mut instance = format!("priority 100\nadvert_int {}\n", self.interval());
        if self.unicast {
            instance += "unicast_peer {\n10.77.0.1\n}\n";
        }
        if self.password {
            instance += &format!("authentication {{\nauth_type PASS\nauth_pass {PASSWORD}\n}}\n");
        }
        let globals = format!("vrrp_version {}", self.version);
        Keepalived::start(cluster.lab(), 2, &globals, &instance, &self.addresses())
    }
}

#[test]
fn each_takes_over_from_the_other_however_it_ends() {
    // They mostly wait, each in a lab of its own.
    thread::scope(|scope| {
        for case in &CASES {
            scope.spawn(|| takes_turns(case));
        }
    });
}

fn takes_turns(case: &Case) {
    let mut cluster = Cluster::prepare(2, |_| case.options(150)).unwrap();
    if case.ipv6 {
        cluster.lab().add_ipv6().unwrap();
    }
    if case.password {
        write_password(&mut cluster);
    }
    let capture = Capture::start(cluster.lab());
    let keepalived = case.keepalived(&cluster);
    keepalived.wait_state("MASTER");

    // Ours is of higher priority, and preempts.
    cluster.restart(1).unwrap();
    wait_state(&cluster, "master");
    keepalived.wait_state("BACKUP");
    case.wait_reached(&cluster);
    // One that sleeps says nothing, and comes back.
    cluster.daemon(1).unwrap().stop().unwrap();
    keepalived.wait_state("MASTER");
    cluster.daemon(1).unwrap().cont().unwrap();
    keepalived.wait_state("BACKUP");
    wait_state(&cluster, "master");
    // One that is killed.
    cluster.daemon(1).unwrap().kill().unwrap();
    keepalived.wait_state("MASTER");
    cluster.restart(1).unwrap();
    keepalived.wait_state("BACKUP");
    // One whose cable is out, and in again.
    cluster.lab().cable(1).pull().unwrap();
    wait_state(&cluster, "fault");
    keepalived.wait_state("MASTER");
    cluster.lab().cable(1).plug().unwrap();
    keepalived.wait_state("BACKUP");
    wait_state(&cluster, "master");
    // One of lower priority from now on.
    let lower = cluster.options(1).unwrap();
    lower.more_of_group = lower.more_of_group.replace("priority = 150", "priority = 50");
    cluster.write_config(1).unwrap();
    let output = cluster.order(1, &["reload"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    keepalived.wait_state("MASTER");
    wait_state(&cluster, "backup");
    // keepalived says that it stops, and comes back; then it is killed.
    keepalived.stop();
    wait_state(&cluster, "master");
    let keepalived = case.keepalived(&cluster);
    keepalived.wait_state("MASTER");
    wait_state(&cluster, "backup");
    assert_eq!(keepalived.complaints(), [""; 0]);
    keepalived.kill();
    wait_state(&cluster, "master");
    case.wait_reached(&cluster);
    let keepalived = case.keepalived(&cluster);
    wait_state(&cluster, "backup");
    // Maintenance frees the machine, and what stops says so.
    keepalived.stop();
    wait_state(&cluster, "master");
    let output = cluster.order(1, &["maintenance", "on"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    wait_state(&cluster, "maintenance");
    let output = cluster.order(1, &["handover", "web"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("maintenance on"), "{said}");
    assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
    if !case.unicast {
        capture.finish(if case.ipv6 { &[] } else { &["10.77.0.1", "10.77.0.2"] });
    }
}

fn write_password(cluster: &mut Cluster) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = cluster.lab().home(1).join("password");
    let mut file =
        std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, PASSWORD.as_bytes()).unwrap();
    for node in [1, 2] {
        let options = cluster.options(node).unwrap();
        options.more_of_group = options.more_of_group.replace("PASSWORD", path.to_str().unwrap());
    }
}

pub(super) fn wait_state(cluster: &Cluster, state: &str) {
    cluster.wait_status(1, state, PATIENCE, |status| status.groups[0].state == state).unwrap();
}
