//! Starts that are refused: one line on stderr that says what, where and what to do, the documented exit status, and
//! a machine as it was before.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use vip_tests::{
    cluster::Cluster,
    lab::{DaemonOptions, Lab, daemon_binary},
    net::{self, in_netns},
    traces::Traces,
    wait,
};

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exit statuses, as documented.
const REFUSED: i32 = 1;
const NO_PRIVILEGE: i32 = 77;
const BAD_CONFIGURATION: i32 = 78;

mod configuration {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_key() {
        let attempt = Attempt::new().edit("interval = ", "intervall = ");
        let line = attempt.refused(BAD_CONFIGURATION);
        let number = 1 + attempt.text().lines().position(|line| line.starts_with("intervall")).unwrap();
        assert_says(&line, &[&format!("{}:{number}: ", attempt.config.display()), "cluster.intervall"]);
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_with_file_and_line() {
        let attempt = Attempt::new().edit("[cluster]", "[cluster");
        let number = 1 + attempt.text().lines().position(|line| line == "[cluster").unwrap();
        let line = attempt.refused(BAD_CONFIGURATION);
        assert_says(&line, &[&format!("{}:{number}: ", attempt.config.display())]);
    }

    #[test]
    fn a_vip_of_two_groups_is_refused_with_both_places() {
        let again = "[[group]]\nname = \"api\"\nvips = [\"10.77.0.100/24\"]\n\n[paths]";
        let line = Attempt::new().edit("[paths]", again).refused(BAD_CONFIGURATION);
        assert_says(&line, &["10.77.0.100", "web", "group.vips"]);
    }

    #[test]
    fn a_lease_under_three_intervals_is_refused_with_the_least() {
        let line = Attempt::new().edit("lease = \"50ms\"", "lease = \"29ms\"").refused(BAD_CONFIGURATION);
        assert_says(&line, &["cluster.lease", "29ms", "30ms"]);
    }

    #[test]
    fn a_missing_key_file_is_refused_with_the_command_that_makes_one() {
        let attempt = Attempt::new();
        fs::remove_file(attempt.key()).unwrap();
        let line = attempt.refused(BAD_CONFIGURATION);
        assert_says(&line, &["cluster.key_file", "vip-user keygen", &attempt.key().display().to_string()]);
    }

    #[test]
    fn a_key_that_is_too_short_is_refused_and_not_shown() {
        let attempt = Attempt::new();
        fs::write(attempt.key(), "00112233\n").unwrap();
        let line = attempt.refused(BAD_CONFIGURATION);
        assert_says(&line, &["cluster.key_file", "line 1", "32"]);
        assert!(!line.contains("00112233"), "{line}");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_command_that_helps() {
        let attempt = Attempt::new();
        fs::set_permissions(attempt.key(), Permissions::from_mode(0o644)).unwrap();
        let line = attempt.refused(BAD_CONFIGURATION);
        assert_says(&line, &["cluster.key_file", "0644", "chmod 600"]);
    }
}

mod machine {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_refused_with_those_that_do() {
        let line = Attempt::new().on("eth9").refused(BAD_CONFIGURATION);
        assert_says(&line, &["eth9", "eth0", "--iface"]);
    }

    #[test]
    fn an_interface_of_a_vip_that_does_not_exist_is_refused_with_those_that_do() {
        let line =
            Attempt::new().edit("10.77.0.100/24", "10.77.0.100/24 dev eth9").refused(BAD_CONFIGURATION);
        assert_says(&line, &["eth9", "eth0", "dev eth9"]);
    }

    #[test]
    fn an_interface_that_is_named_in_two_ways_is_refused() {
        let attempt = Attempt::new().edit("10.77.0.100/24", "10.77.0.100/24 dev front");
        net::ip(&attempt.netns(), &["link", "property", "add", "dev", "eth0", "altname", "front"]).unwrap();
        assert_says(&attempt.refused(BAD_CONFIGURATION), &["front", "another name", "eth0"]);
    }

    #[test]
    fn an_interface_without_an_ipv4_address_is_refused() {
        let attempt = Attempt::new();
        net::ip(&attempt.netns(), &["address", "flush", "dev", "eth0"]).unwrap();
        assert_says(&attempt.refused(BAD_CONFIGURATION), &["eth0", "no IPv4 address"]);
    }

    #[test]
    fn an_ipv6_vip_is_refused_where_ipv6_is_off_with_the_command_that_helps() {
        // Labs have none of it.
        let line = Attempt::new().edit("10.77.0.100/24", "fd77::100/64").refused(BAD_CONFIGURATION);
        assert_says(&line, &["fd77::100", "eth0", "sysctl -w net.ipv6.conf.eth0.disable_ipv6=0"]);
    }

    #[test]
    fn a_vip_that_is_the_nodes_own_address_is_refused() {
        let line = Attempt::new().edit("10.77.0.100/24", "10.77.0.1/24").refused(BAD_CONFIGURATION);
        assert_says(&line, &["10.77.0.1", "eth0", "own address"]);
    }

    #[test]
    fn a_gateway_of_a_pair_that_is_the_node_itself_a_vip_or_on_another_segment_is_refused() {
        for (gateway, why) in [
            ("10.77.0.1", "own address"),
            ("10.77.0.100", "is a VIP"),
            ("192.0.2.1", "no address in the network"),
            ("fd77::1", "not an IPv4 address"),
        ] {
            let pair = format!("pair = {gateway:?}\n[[group]]");
            let line = Attempt::new().edit("[[group]]", &pair).refused(BAD_CONFIGURATION);
            assert_says(&line, &["cluster.pair", gateway, why]);
        }
    }

    #[test]
    fn an_interface_with_another_xdp_program_is_refused_and_that_program_stays() {
        let attempt = Attempt::new();
        let _other = attempt.lab.occupy_xdp(1).unwrap();
        assert_says(&attempt.refused(REFUSED), &["another XDP program (\"pass_all\")", "eth0", "ip link"]);
        assert!(Traces::of(&attempt.lab, 1).unwrap().links["eth0"].xdp);
    }

    #[test]
    fn native_mode_is_refused_where_it_cannot_serve_a_virtual_mac_address() {
        let attempt = Attempt::new().edit("[\"10.77.0.100/24\"]", "[\"10.77.0.100/24\"]\nvirtual_mac = true");
        let line = attempt.with(&["--xdp", "native"]).refused(BAD_CONFIGURATION);
        assert_says(&line, &["eth0", "veth", "virtual_mac", "node.xdp"]);
    }

    #[test]
    fn native_mode_is_refused_where_the_driver_has_none() {
        let attempt = Attempt::new().on("soft0");
        add_bridge(&attempt.netns());
        let line = attempt.with(&["--xdp", "native"]).refused(REFUSED);
        assert_says(&line, &["soft0", "native", "--xdp generic"]);
    }

    #[test]
    fn a_directory_for_pins_that_is_on_no_bpf_file_system_is_refused() {
        let attempt = Attempt::new();
        let elsewhere = attempt.lab.home(1).join("pins");
        let line = attempt.set_path("bpffs", &elsewhere).refused(REFUSED);
        assert_says(&line, &[&elsewhere.display().to_string(), "mount -t bpf", "paths.bpffs"]);
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_port_that_another_program_has_is_refused_with_the_port() {
        let attempt = Attempt::new();
        let _other =
            in_netns(&attempt.netns(), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5680))?)).unwrap();
        assert_says(&attempt.refused(REFUSED), &["eth0", "5680", "cluster.group_address"]);
    }
}

mod privileges {
    use super::*;

    #[test]
    fn a_missing_capability_is_refused_by_its_name() {
        let needed = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"];
        for missing in needed {
            let short = missing.trim_start_matches("CAP_").to_lowercase();
            let wrapper = ["setpriv".to_owned(), format!("--bounding-set=-{short}")];
            let line = Attempt::new().under(&wrapper).refused(NO_PRIVILEGE);
            assert_says(&line, &["run as root"]);
            for capability in needed {
                assert_eq!(line.contains(capability), capability == missing, "{missing}: {line}");
            }
        }
    }

    #[test]
    fn an_ordinary_user_is_refused_with_all_that_is_missing() {
        let attempt = Attempt::with_options(&DaemonOptions { insecure: true, ..alone() });
        let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned);
        let line = attempt.under(&wrapper).refused(NO_PRIVILEGE);
        assert_says(&line, &["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"]);
    }

    #[test]
    fn a_kernel_that_refuses_bpf_at_any_point_of_the_start_is_told_in_one_line() {
        // Input: from the n-th call on, the kernel refuses every bpf(2) with E2BIG. Expected: the start fails, until n
        // is past what it takes; meanwhile maps, program and link have each been refused.
        let next = AtomicU32::new(1);
        let refused_until_it_serves = || {
            let mut said = Vec::new();
            loop {
                let first = next.fetch_add(1, Ordering::Relaxed);
                let inject = format!("--inject=bpf:error=E2BIG:when={first}+");
                let wrapper = ["strace", "-f", "-o", "/dev/null", "--trace=bpf", &inject].map(str::to_owned);
                match Attempt::new().under(&wrapper).outcome() {
                    Outcome::Serves => return said,
                    Outcome::Refused(line) => said.push(line),
                }
            }
        };
        let said: Vec<String> = thread::scope(|scope| {
            // Each start is on a machine of its own, and waits for the kernel for half of its time.
            let threads = [(); 3].map(|()| scope.spawn(refused_until_it_serves));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let parts = [
            "cannot load the XDP program",
            "refuses the XDP program",
            "attach the XDP program to eth0",
            "cannot pin",
        ];
        for part in parts {
            assert!(said.iter().any(|line| line.contains(part)), "no {part:?} in {said:#?}");
        }
        // Whatever it is, the kernel's reason is in it.
        let without_reason: Vec<&String> = said.iter().filter(|line| !line.contains("os error 7")).collect();
        assert!(without_reason.is_empty(), "{without_reason:#?}");
    }
}

mod others {
    use super::*;

    #[test]
    fn an_id_that_a_running_node_has_is_refused_with_its_address_and_that_node_goes_on() {
        let mut cluster = Cluster::prepare(2, |_| alone()).unwrap();
        cluster.restart(1).unwrap();
        let is_master = |status: &vip_tests::cluster::Status| status.is_master();
        let before = cluster.wait_status(1, "to be master", PATIENCE, is_master).unwrap();

        let options = DaemonOptions { id: Some(1), ..alone() };
        let line = refused(cluster.lab(), 2, BAD_CONFIGURATION, &mut daemon(cluster.lab(), 2, &options));
        assert_says(&line, &["node id 1", "10.77.0.1", "node.id"]);
        assert!(cluster.daemon(1).unwrap().is_running().unwrap());
        let after = cluster.status(1).unwrap();
        assert!(after.is_master(), "{after:?}");
        assert_eq!(after.groups[0].transitions, before.groups[0].transitions);
    }

    #[test]
    fn of_two_nodes_with_one_id_that_start_together_one_goes_on() {
        let options = DaemonOptions { id: Some(7), ..alone() };
        let mut cluster = Cluster::start_each(2, |_| options.clone()).unwrap();
        let ended = wait::until("one of them to end", PATIENCE, || {
            for node in [1, 2] {
                if !cluster.daemon(node)?.is_running()? {
                    return Ok(Some(node));
                }
            }
            Ok(None)
        })
        .unwrap();
        let survivor = 3 - ended;
        let status = cluster.daemon(ended).unwrap().wait_exit(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(BAD_CONFIGURATION));
        let line = cluster.daemon(ended).unwrap().log();
        assert_says(&line, &["node id 7", &format!("10.77.0.{survivor}")]);
        cluster.wait_status(survivor, "to be master", PATIENCE, |status| status.is_master()).unwrap();
        assert!(cluster.daemon(survivor).unwrap().is_running().unwrap());
    }

    #[test]
    fn a_second_daemon_on_an_interface_is_refused_and_the_first_goes_on() {
        let cluster = Cluster::start(1, &alone()).unwrap();
        let is_master = |status: &vip_tests::cluster::Status| status.is_master();
        cluster.wait_status(1, "to be master", PATIENCE, is_master).unwrap();
        let line = refused(cluster.lab(), 1, REFUSED, &mut daemon(cluster.lab(), 1, &alone()));
        assert_says(&line, &["already running", "eth0.sock"]);
        assert!(cluster.status(1).unwrap().is_master());
    }

    #[test]
    fn a_daemon_with_the_pins_of_a_running_one_is_refused_and_the_first_goes_on() {
        // Input: another interface, runtime and state directory, and the same paths.bpffs.
        let cluster = Cluster::start(1, &alone()).unwrap();
        cluster.wait_status(1, "to be master", PATIENCE, |status| status.is_master()).unwrap();
        let lab = cluster.lab();
        add_bridge(&lab.node_netns(1));
        let written = lab.write_config(1, &DaemonOptions { id: Some(2), ..alone() }).unwrap();
        let text = fs::read_to_string(written).unwrap();
        let config = lab.home(1).join("other.toml");
        fs::write(&config, text.replace("/run\"", "/run2\"").replace("/state\"", "/state2\"")).unwrap();
        let line = refused(lab, 1, REFUSED, &mut command(lab, 1, &[], "soft0", &config, &[]));
        assert_says(&line, &[&lab.pins(1).display().to_string(), "paths.bpffs"]);
        assert!(cluster.status(1).unwrap().is_master());
    }

    #[test]
    fn the_state_of_another_node_is_refused_with_both_ids() {
        let mut cluster = Cluster::start(1, &alone()).unwrap();
        cluster.wait_status(1, "to be master", PATIENCE, |status| status.is_master()).unwrap();
        assert!(cluster.daemon(1).unwrap().terminate().unwrap().success());
        let options = DaemonOptions { id: Some(2), ..alone() };
        let line = refused(cluster.lab(), 1, REFUSED, &mut daemon(cluster.lab(), 1, &options));
        assert_says(&line, &["state", "node 1", "node 2", "node.id"]);
    }
}

/// A start on the only node of a lab.
struct Attempt {
    lab: Lab,
    config: PathBuf,
    interface: &'static str,
    wrapper: Vec<String>,
    args: Vec<&'static str>,
}

enum Outcome {
    /// The line that was said.
    Refused(String),
    /// It started, and was ended.
    Serves,
}

impl Attempt {
    fn new() -> Self {
        Self::with_options(&alone())
    }

    fn with_options(options: &DaemonOptions) -> Self {
        let lab = Lab::new(1).unwrap();
        let config = lab.write_config(1, options).unwrap();
        Self { lab, config, interface: "eth0", wrapper: Vec::new(), args: Vec::new() }
    }

    /// Replaces a part of the configuration file.
    fn edit(self, part: &str, by: &str) -> Self {
        let text = self.text();
        assert_eq!(text.matches(part).count(), 1, "{part:?} in {text}");
        fs::write(&self.config, text.replace(part, by)).unwrap();
        self
    }

    fn set_path(self, key: &str, path: &Path) -> Self {
        let text = self.text();
        let old = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap().to_owned();
        self.edit(&old, &format!("{key} = {path:?}"))
    }

    fn on(mut self, interface: &'static str) -> Self {
        self.interface = interface;
        self
    }

    fn with(mut self, args: &[&'static str]) -> Self {
        self.args.extend(args);
        self
    }

    /// Started by another program.
    fn under(mut self, wrapper: &[String]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    fn key(&self) -> PathBuf {
        self.lab.home(1).join("cluster.key")
    }

    fn netns(&self) -> String {
        self.lab.node_netns(1)
    }

    fn command(&self) -> Command {
        command(&self.lab, 1, &self.wrapper, self.interface, &self.config, &self.args)
    }

    /// Starts it; it must be refused with `status`. Gives the line.
    fn refused(&self, status: i32) -> String {
        refused(&self.lab, 1, status, &mut self.command())
    }

    /// Starts it, and ends it if it serves.
    fn outcome(&self) -> Outcome {
        let before = Traces::of(&self.lab, 1).unwrap();
        let log = self.lab.home(1).join("stderr");
        let mut command = self.command();
        let mut child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let socket = self.lab.runtime(1).join("eth0.sock");
        // Every refusal comes before the VIPs are on the machine.
        let ended = wait::until("the end of the start", PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(Some(status)));
            }
            let serves = socket.exists() && Traces::of(&self.lab, 1)?.links.contains_key("vip-eth0");
            Ok(serves.then_some(None))
        })
        .unwrap();
        let Some(status) = ended else {
            child.kill().unwrap();
            child.wait().unwrap();
            return Outcome::Serves;
        };
        let output = Output { status, stdout: Vec::new(), stderr: fs::read(&log).unwrap() };
        let line = last_line(&output);
        assert_eq!(status.code(), Some(REFUSED), "{line}");
        assert_eq!(Traces::of(&self.lab, 1).unwrap(), before, "{line}");
        Outcome::Refused(line)
    }
}

/// Makes soft0, an interface whose driver knows no XDP.
fn add_bridge(netns: &str) {
    net::ip(netns, &["link", "add", "soft0", "type", "bridge"]).unwrap();
    net::ip(netns, &["link", "set", "soft0", "up"]).unwrap();
    net::ip(netns, &["address", "add", "10.99.0.1/24", "dev", "soft0"]).unwrap();
}

/// A cluster of one, which needs nobody.
fn alone() -> DaemonOptions {
    DaemonOptions { expect: 1, ..DaemonOptions::default() }
}

/// The daemon of `node` with these options, in the foreground.
fn daemon(lab: &Lab, node: u8, options: &DaemonOptions) -> Command {
    let config = lab.write_config(node, options).unwrap();
    command(lab, node, &[], "eth0", &config, &[])
}

fn command(
    lab: &Lab,
    node: u8,
    wrapper: &[String],
    interface: &str,
    config: &Path,
    args: &[&str],
) -> Command {
    let mut command = lab.command(node, "timeout").unwrap();
    command.args(["--signal=KILL", "60"]).args(wrapper).arg(daemon_binary().unwrap());
    command.args(["--iface", interface, "--config"]).arg(config).args(args);
    command
}

/// Runs a start that must fail with `status`, say one line and leave the node as it was; gives the line.
fn refused(lab: &Lab, node: u8, status: i32, command: &mut Command) -> String {
    let before = Traces::of(lab, node).unwrap();
    let output = command.output().unwrap();
    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(Traces::of(lab, node).unwrap(), before, "{line}");
    line
}

fn only_line(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let [line] = stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("not one line: {}: {stderr}", output.status)
    };
    assert!(line.starts_with("vip-user: "), "{line}");
    line.to_owned()
}

/// Where the kernel does not do what it says it can, warnings may come before the line.
fn last_line(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (said, logged): (Vec<&str>, Vec<&str>) =
        stderr.lines().partition(|line| line.starts_with("vip-user: "));
    let ([line], true) = (&said[..], logged.iter().all(|line| line.contains(" WARN "))) else {
        panic!("not one line and warnings: {}: {stderr}", output.status)
    };
    (*line).to_owned()
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
}
