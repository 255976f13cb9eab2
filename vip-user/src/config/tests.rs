//! What a configuration file may say, and how each mistake in it is answered.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, time::Duration};

use vip_common::maps::MAX_INTERFACES;

use super::*;
use crate::{exit::Exit, folder::Folder};

mod checks;
mod tees;
mod vrrp;

const NODE: &str = "[node]\nname = \"lb1\"\niface = \"eth0\"\n";
const INSECURE: &str = "[cluster]\ninsecure = true\n";

/// Parses `text` as the file `vip.toml`, without flags.
fn parse(text: &str) -> Result<Settings, Failure> {
    Settings::parse("vip.toml", text, &Overrides::default())
}

/// Parses a file of a valid node, an insecure cluster with `cluster`, and then `rest`.
fn parse_with(cluster: &str, rest: &str) -> Result<Settings, Failure> {
    parse(&format!("{NODE}{INSECURE}{cluster}\n{rest}"))
}

/// The line that `cluster` of [`parse_with`] is on.
const CLUSTER_LINE: usize = 6;
/// The first line of `rest` of [`parse_with`] when `cluster` has one line.
const REST_LINE: usize = 7;

/// Checks that the failure is one of configuration, and starts with file, `line` and `key`; gives what
/// follows.
#[track_caller]
fn refused(result: Result<Settings, Failure>, line: usize, key: &str) -> String {
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::BadConfiguration, "{failure}");
    let start = format!("vip.toml:{line}: {key}: ");
    match failure.message.strip_prefix(&start) {
        Some(why) => why.to_owned(),
        None => panic!("{failure:?} does not start with {start:?}"),
    }
}

/// Checks a mistake in one line of `[cluster]`.
#[track_caller]
fn cluster_refuses(line: &str, key: &str, expected: &str) {
    let why = refused(parse_with(line, ""), CLUSTER_LINE, key);
    assert!(why.contains(expected), "{line}: {why}");
}

/// Checks a mistake in a line of a `[[group]]`: the third, after its name, of the file's rest.
#[track_caller]
fn group_refuses(line: &str, key: &str, expected: &str) {
    let why = refused(parse_with("", &format!("[[group]]\nname = \"web\"\n{line}")), REST_LINE + 2, key);
    assert!(why.contains(expected), "{line}: {why}");
}

/// Checks a mistake in a line of `[node]`.
#[track_caller]
fn node_refuses(line: &str, key: &str, expected: &str) {
    let why = refused(parse(&format!("[node]\n{line}\n{INSECURE}")), 2, key);
    assert!(why.contains(expected), "{line}: {why}");
}

fn vips(texts: &[&str]) -> Vec<Vip> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let settings = parse_with("", "[[group]]\nname = \"web\"\nvips = [\"10.77.0.100/24\"]").unwrap();
    let Settings { node, cluster, groups, tees, checks, handlers, paths } = settings;
    assert_eq!(tees, Vec::new());
    assert_eq!((checks, handlers, &paths.live_nodes), (Vec::new(), Vec::new(), &None));
    assert_eq!((node.id, node.priority, node.xdp), (None, 100, XdpMode::Auto));
    assert!(node.egress_fence);
    assert_eq!(node.metrics, None);
    assert_eq!((cluster.name.as_str(), cluster.expect), ("default", 3));
    assert_eq!((cluster.interval, cluster.lease), (Duration::from_millis(10), Duration::from_millis(50)));
    let multicast: SocketAddr = "239.255.86.80:5680".parse().unwrap();
    assert_eq!(cluster.transport, Transport::Multicast(multicast));
    let group = Group {
        name: "web".to_owned(),
        vips: vips(&["10.77.0.100/24"]),
        priority: 100,
        preempt: false,
        preempt_delay: Duration::from_secs(5),
        stale_forwarding: true,
        presence: Presence::Always,
        virtual_mac: false,
        router: false,
        protocol: Protocol::Lease { heeds: None },
        notify: Notify::default(),
    };
    assert_eq!(groups, [group]);
    assert_eq!(paths.socket("eth0"), Path::new("/run/vip-user/eth0.sock"));
    assert_eq!(paths.bpffs, Path::new("/sys/fs/bpf/vip-user"));
    assert_eq!(paths.state, Path::new("/var/lib/vip-user"));
}

#[test]
fn without_a_name_the_node_is_called_as_its_host() {
    let settings = parse(&format!("[node]\niface = \"eth0\"\n{INSECURE}")).unwrap();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(host.starts_with(&settings.node.name), "{} of {host}", settings.node.name);
}

#[test]
fn every_key_is_taken_from_the_file() {
    let settings = parse(
        r#"
        node = { name = "lb9", iface = "bond0.7", id = 9, priority = 0, xdp = "generic", egress_fence = false, metrics = "[::1]:80" }
        paths = { bpffs = "/b", runtime = "/r", state = "/s" }
        [cluster]
        name = "edge"
        insecure = true
        group_address = "239.1.2.3:99"
        peers = ["10.0.0.1", "10.0.0.2"]
        expect = 16
        interval = "1ms"
        lease = "3ms"
        pair = "10.0.0.254"
        [[group]]
        name = "web"
        vips = ["10.0.0.3/24", "10.0.0.4/32"]
        priority = 7
        preempt = true
        preempt_delay = "1m"
        stale_forwarding = false
        presence = "held"
        virtual_mac = true
        router = true
        "#,
    );
    let Settings { node, cluster, groups, paths, .. } = settings.unwrap();
    assert_eq!((node.name.as_str(), node.iface.as_str()), ("lb9", "bond0.7"));
    assert_eq!((node.id.unwrap().get(), node.priority, node.xdp), (9, 0, XdpMode::Generic));
    assert!(!node.egress_fence);
    assert_eq!(node.metrics, Some("[::1]:80".parse().unwrap()));
    assert_eq!((cluster.name.as_str(), cluster.expect), ("edge", 16));
    let peers = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    assert_eq!(cluster.transport, Transport::Unicast { peers, port: 99 });
    assert!(matches!(cluster.keys, Keys::Insecure));
    assert_eq!(cluster.pair, Some(std::net::Ipv4Addr::new(10, 0, 0, 254)));
    assert_eq!((cluster.interval, cluster.lease), (Duration::from_millis(1), Duration::from_millis(3)));
    let group = Group {
        name: "web".to_owned(),
        vips: vips(&["10.0.0.3/24", "10.0.0.4/32"]),
        priority: 7,
        preempt: true,
        preempt_delay: Duration::from_secs(60),
        stale_forwarding: false,
        presence: Presence::Held,
        virtual_mac: true,
        router: true,
        protocol: Protocol::Lease { heeds: None },
        notify: Notify::default(),
    };
    assert_eq!(groups, [group]);
    let folders = Paths { bpffs: "/b".into(), runtime: "/r".into(), state: "/s".into(), live_nodes: None };
    assert_eq!(paths, folders);
}

#[test]
fn each_example_file_is_valid() {
    let folder = Folder::new();
    let key = folder.path().join("cluster.key");
    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let key_line = format!("key_file = {key:?}");
    let mut examples = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|name| name != "toml") {
            continue;
        }
        examples += 1;
        let text = fs::read_to_string(&path).unwrap();
        let text = if text.contains("key_file = \"/etc/vip-user/cluster.key\"") {
            text.replace("key_file = \"/etc/vip-user/cluster.key\"", &key_line)
        } else if text.contains("[cluster]") {
            text.replace("[cluster]", &format!("[cluster]\n{key_line}"))
        } else {
            format!("{text}\n[cluster]\n{key_line}")
        };
        let settings = Settings::parse(&path.display().to_string(), &text, &Overrides::default()).unwrap();
        assert!(!settings.groups.is_empty(), "{}", path.display());
    }
    assert!(examples >= 3, "found {examples} examples");
}

#[test]
fn the_full_example_has_every_key_and_shows_the_defaults() {
    let text = include_str!("../../../config/vip.toml");
    let keys =
        [node::KEYS, cluster::KEYS, group::KEYS, tee::KEYS, check::KEYS, handler::KEYS, PATHS_KEYS].concat();
    for key in keys {
        let assigned = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        assert!(text.lines().any(assigned), "{key} is not in vip.toml");
    }
    let example = parse(&text.replace("key_file =", "insecure = true #")).unwrap();
    let vips = "vips = [\"10.77.0.100/24\", \"2001:db8::100/64\"]";
    let default = parse_with("", &format!("[[group]]\nname = \"web\"\n{vips}")).unwrap();
    assert_eq!(example.groups, default.groups);
    assert_eq!(example.paths, default.paths);
    assert_eq!(example.tees, default.tees);
    assert_eq!(example.checks, default.checks);
    assert_eq!(example.handlers, default.handlers);
    assert_eq!(example.cluster.transport, default.cluster.transport);
    assert_eq!(example.cluster.name, default.cluster.name);
    assert_eq!(example.cluster.expect, default.cluster.expect);
    assert_eq!(example.cluster.interval, default.cluster.interval);
    assert_eq!(example.cluster.lease, default.cluster.lease);
    assert_eq!(example.node.priority, default.node.priority);
}

#[test]
fn a_broken_file_is_refused_in_one_line_that_shows_the_place() {
    let cases = [
        ("[node]\nname = \"lb1\niface = 3", 2, "\"name = \\\"lb1\""),
        ("[node\n", 1, "\"[node\""),
        ("[node]\nid = 1\nid = 2\n", 3, "\"id = 2\""),
        ("[node]\n[node]\n", 2, "\"[node]\""),
    ];
    for (text, line, shown) in cases {
        let failure = parse(text).unwrap_err();
        assert_eq!(failure.exit, Exit::BadConfiguration);
        let start = format!("vip.toml:{line}: {shown} is not valid TOML: ");
        assert!(failure.message.starts_with(&start), "{failure}");
        assert_eq!(failure.message.lines().count(), 1, "{failure}");
    }
}

#[test]
fn what_is_no_file_or_far_too_long_is_refused_at_once() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::File::create(path("huge")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    let cases = [
        (path("pipe"), "it is not a regular file"),
        (folder.path().to_owned(), "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (path("huge"), "it has more than 8 MiB"),
    ];
    for (file, why) in cases {
        let failure = Settings::load(Some(&file), &Overrides::default()).unwrap_err();
        assert_eq!(failure.to_string(), format!("{}: cannot be read: {why}", file.display()));
        assert_eq!(failure.exit, Exit::BadConfiguration);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    let why = refused(parse("[nodes]\n"), 1, "nodes");
    assert_eq!(why, "unknown key; known here: node, cluster, group, tee, check, handler, paths");
    node_refuses("nmae = 1", "node.nmae", "known here: name, iface, id, priority, xdp, egress_fence");
    cluster_refuses("vrid = 51", "cluster.vrid", "unknown key");
    group_refuses("vip = []", "group.vip", "unknown key");
    let why = refused(parse_with("", "[paths]\nrun = \"/run\""), REST_LINE + 1, "paths.run");
    assert!(why.contains("known here: bpffs, runtime, state"), "{why}");
}

#[test]
fn metrics_are_served_at_an_address_and_a_port() {
    for text in ["9180", "localhost:9180", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:9180", ""] {
        let why = refused(parse(&format!("{NODE}metrics = {text:?}\n{INSECURE}")), 4, "node.metrics");
        assert!(why.contains("is no address and port, as in"), "{text:?}: {why}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_the_right_one() {
    node_refuses("iface = 3", "node.iface", "expected a string in quotes, found a value of type integer");
    let why = refused(parse(&format!("{NODE}priority = \"9\"")), 4, "node.priority");
    assert_eq!(why, "expected a whole number from 0 to 255, found a value of type string");
    cluster_refuses("interval = 10", "cluster.interval", "expected a duration in quotes, as in \"10ms\"");
    cluster_refuses("peers = \"10.0.0.1\"", "cluster.peers", "expected a list of strings");
    let group = "[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\"]\npreempt = 1";
    let why = refused(parse_with("", group), REST_LINE + 3, "group.preempt");
    assert_eq!(why, "expected true or false, found a value of type integer");
}

#[test]
fn sections_are_told_from_values_and_lists_from_single_ones() {
    assert_eq!(refused(parse("node = 1"), 1, "node"), "is a section, not a single value");
    let why = refused(parse(&format!("{NODE}[group]\nname = \"a\"")), 4, "group");
    assert_eq!(why, "is no list; write the section's header as [[group]]");
}

#[test]
fn an_interface_has_to_be_named() {
    let why = refused(parse("\n[node]\nname = \"lb1\""), 2, "node.iface");
    assert_eq!(why, "missing; set it, or give --iface, as in --iface eth0");
    let failure = parse("").unwrap_err();
    assert!(failure.message.starts_with("vip.toml: node.iface: missing"), "{failure}");
}

#[test]
fn a_control_group_is_named_or_numbered_and_exists() {
    let group = |text: &str| {
        parse(&format!("{NODE}control_group = {text}\n{INSECURE}")).unwrap().node.control_group.unwrap()
    };
    assert_eq!(group("\"root\"").gid.as_raw(), 0);
    assert_eq!(group("\"54321\"").gid.as_raw(), 54_321);
    let refusal =
        |text: &str| refused(parse(&format!("{NODE}control_group = {text}")), 4, "node.control_group");
    assert!(refusal("4").starts_with("expected a string in quotes"));
    assert!(refusal("\"no such\"").starts_with("\"no such\" is no group of this machine"));
}

#[test]
fn an_impossible_node_is_refused() {
    node_refuses("iface = \"lo\"", "node.iface", "\"lo\" is the loopback interface");
    node_refuses("iface = \"sixteen-letters-\"", "node.iface", "is not 1 to 15 bytes long");
    node_refuses("iface = \"\"", "node.iface", "is not 1 to 15 bytes long");
    node_refuses("iface = \"../eth0\"", "node.iface", "is no interface name");
    node_refuses("name = \"\"", "node.name", "the name is empty");
    node_refuses("name = \"a\\tb\"", "node.name", "has a control character");
    let long = format!("name = \"{}\"", "n".repeat(33));
    node_refuses(&long, "node.name", "has 33 bytes; a name has at most 32");
    for (line, key, expected) in [
        ("id = 0", "node.id", "0 is not a whole number from 1 to 65535"),
        ("id = 65536", "node.id", "65536 is not"),
        ("id = -1", "node.id", "-1 is not"),
        ("priority = 256", "node.priority", "256 is not a whole number from 0 to 255"),
        ("xdp = \"skb\"", "node.xdp", "\"skb\" is no mode; use \"auto\", \"native\", \"generic\" or \"off\""),
    ] {
        let why = refused(parse(&format!("{NODE}{line}\n")), 4, key);
        assert!(why.contains(expected), "{line}: {why}");
    }
}

#[test]
fn an_impossible_presence_is_refused() {
    let group = "[[group]]\nname = \"web\"\nvips = [\"10.77.0.100/24\"]\npresence = \"sometimes\"\n";
    let why = refused(parse_with("", group), REST_LINE + 3, "group.presence");
    assert_eq!(why, "\"sometimes\" is no presence; use \"always\" or \"held\"");
}

#[test]
fn a_lease_has_to_last_three_intervals() {
    let why =
        refused(parse_with("interval = \"10ms\"\nlease = \"20ms\"", ""), CLUSTER_LINE + 1, "cluster.lease");
    assert_eq!(why, "\"20ms\" is less than three intervals of 10ms; set lease to at least 30ms");
    assert!(parse_with("interval = \"10ms\"\nlease = \"30ms\"", "").is_ok());
}

#[test]
fn a_default_lease_that_does_not_fit_the_interval_is_called_the_default() {
    let failure = parse_with("interval = \"20ms\"", "").unwrap_err();
    let expected = "cluster.lease: \"50ms\", the default, is less than three intervals of 20ms; \
                    set lease to at least 60ms";
    assert!(failure.message.ends_with(expected), "{failure}");
}

#[test]
fn times_out_of_range_are_refused() {
    cluster_refuses("interval = \"999us\"", "cluster.interval", "\"999us\" is less than 1ms");
    cluster_refuses("lease = \"10001ms\"", "cluster.lease", "\"10001ms\" is more than 10s");
    cluster_refuses("lease = \"50\"", "cluster.lease", "\"50\" is not a duration");
    assert!(parse_with("lease = \"10s\"", "").is_ok());
}

#[test]
fn an_impossible_cluster_is_refused() {
    cluster_refuses("expect = 0", "cluster.expect", "0 is not a whole number from 1 to 16");
    cluster_refuses("expect = 17", "cluster.expect", "17 is not a whole number from 1 to 16");
    cluster_refuses("name = \" \"", "cluster.name", "the name is empty");
}

#[test]
fn a_group_address_that_is_none_is_refused() {
    let cases = [
        ("10.0.0.1:5680", "is not a multicast address"),
        ("239.255.86.80", "is not ADDRESS:PORT"),
        ("239.255.86.80:0", "has port 0"),
        ("[fd77::1]:5680", "is not a multicast address"),
        ("ff02::5680", "is not ADDRESS:PORT"),
        ("[ff02::5680]:0", "has port 0"),
        ("[ff02::5680%2]:5680", "that is node.iface"),
        ("[ff01::5680]:5680", "no packet leaves the machine"),
    ];
    for (address, expected) in cases {
        cluster_refuses(&format!("group_address = {address:?}"), "cluster.group_address", expected);
    }
}

#[test]
fn nodes_talk_ipv6_by_a_group_or_by_a_list() {
    let transport = |text| parse_with(text, "").unwrap().cluster.transport;
    let group = transport("group_address = \"[ff02::5680]:99\"");
    assert_eq!(group, Transport::Multicast("[ff02::5680]:99".parse().unwrap()));
    let list = transport("peers = [\"fd77::1\", \"fe80::2\"]");
    let peers = vec!["fd77::1".parse().unwrap(), "fe80::2".parse().unwrap()];
    assert_eq!(list, Transport::Unicast { peers, port: 5680 });
}

#[test]
fn members_to_join_through_are_checked_like_peers_and_flags_add_to_them() {
    let join = |line: &str| parse_with(line, "").unwrap().cluster.join;
    assert_eq!(join(""), [] as [IpAddr; 0]);
    assert_eq!(join("join = []"), [] as [IpAddr; 0]);
    let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    assert_eq!(join("join = [\"10.0.0.1\", \"10.0.0.2\"]"), [one, two]);
    assert_eq!(join("group_address = \"[ff05::1]:1\"\njoin = [\"fd77::1\"]").len(), 1);
    cluster_refuses("join = [\"10.0.0.1\", \"10.0.0.1\"]", "cluster.join", "10.0.0.1 is there twice");
    cluster_refuses("join = [\"lb1\"]", "cluster.join", "is not an IP address without a port");
    cluster_refuses("join = [\"239.0.0.1\"]", "cluster.join", "is a multicast address");
    cluster_refuses("join = [\"fd77::1\"]", "cluster.join", "the nodes talk to each other by IPv4");
    let many: Vec<_> = (1..=17).map(|last| format!("10.0.0.{last}")).collect();
    cluster_refuses(&format!("join = {many:?}"), "cluster.join", "one address more than the 16");

    let text = format!("{NODE}{INSECURE}join = [\"10.0.0.1\"]\n");
    let with = |join: Vec<IpAddr>| {
        let overrides = Overrides { join, ..Overrides::default() };
        Settings::parse("vip.toml", &text, &overrides)
    };
    assert_eq!(with(vec![two, one]).unwrap().cluster.join, [one, two]);
    let why = with(vec!["fd77::1".parse().unwrap()]).unwrap_err().message;
    assert!(why.contains("--join") && why.contains("by IPv4"), "{why}");
}

#[test]
fn a_group_that_the_node_never_holds_needs_no_vips() {
    let vips = |node: &str, group: &str| {
        let text = format!("{NODE}{node}\n{INSECURE}[[group]]\nname = \"web\"\n{group}\n");
        parse(&text).map(|settings| settings.groups[0].vips.len())
    };
    assert_eq!(vips("priority = 0", "").unwrap(), 0);
    assert_eq!(vips("priority = 0", "vips = []").unwrap(), 0);
    assert_eq!(vips("priority = 0", "vips = [\"10.0.0.1/24\"]").unwrap(), 1);
    assert_eq!(vips("", "priority = 0").unwrap(), 0);
    assert!(vips("priority = 0", "priority = 1").unwrap_err().message.contains("a group needs a VIP"));
    assert!(vips("", "").unwrap_err().message.contains("a group needs a VIP"));
}

#[test]
fn peers_that_cannot_be_are_refused() {
    cluster_refuses("peers = []", "cluster.peers", "the list is empty");
    cluster_refuses("peers = [\"10.0.0.1\", \"10.0.0.1\"]", "cluster.peers", "10.0.0.1 is there twice");
    cluster_refuses("peers = [\"10.0.0.1:5680\"]", "cluster.peers", "is not an IP address without a port");
    cluster_refuses("peers = [\"::ffff:10.0.0.1\"]", "cluster.peers", "is an IPv4 address; write 10.0.0.1");
    cluster_refuses("peers = [\"ff02::5680\"]", "cluster.peers", "is a multicast address");
    cluster_refuses("peers = [\"10.0.0.1\", \"fd77::2\"]", "cluster.peers", "fd77::2 is of another version");
    cluster_refuses("peers = [\"239.255.86.80\"]", "cluster.peers", "is a multicast address");
    let why = refused(parse_with("peers = [\n\"10.0.0.1\",\n\"x\"]", ""), CLUSTER_LINE + 2, "cluster.peers");
    assert!(why.starts_with("\"x\" is not an IP address"), "the line is the entry's own: {why}");
    let many: Vec<_> = (1..=17).map(|host| format!("10.0.0.{host}")).collect();
    cluster_refuses(&format!("peers = {many:?}"), "cluster.peers", "17 peers; a cluster has at most 16");
}

#[test]
fn a_key_file_beside_insecure_is_refused() {
    let why = refused(parse_with("key_file = \"/k\"", ""), CLUSTER_LINE - 1, "cluster.insecure");
    assert_eq!(why, "true contradicts cluster.key_file; remove one of the two");
}

#[test]
fn a_key_file_that_is_not_used_is_told_with_its_key_and_command() {
    let missing = "/nonexistent/cluster.key";
    let why = refused(parse(&format!("{NODE}[cluster]\nkey_file = {missing:?}")), 5, "cluster.key_file");
    let expected =
        format!("key file {missing} does not exist; make it with `(umask 077; vip-user keygen > {missing})`");
    assert!(why.starts_with(&expected), "{why}");
}

#[test]
fn a_vip_that_cannot_be_is_refused() {
    let cases = [
        ("10.77.0.100", "has no prefix length"),
        ("10.77.0.100/0", "has a prefix length that is not from 1 to 32"),
        ("10.77.0.100/33", "has a prefix length that is not from 1 to 32"),
        ("web/24", "is not an address with a prefix length"),
        ("2001:db8::100/0", "has a prefix length that is not from 1 to 128"),
        ("fe80::100/64", "is a link-local address"),
        ("224.0.0.18/24", "is a multicast address"),
        ("127.0.0.1/8", "is a loopback address"),
        ("0.0.0.0/8", "is the unspecified address"),
        ("255.255.255.255/32", "is the broadcast address"),
    ];
    for (vip, expected) in cases {
        group_refuses(&format!("vips = [{vip:?}]"), "group.vips", &format!("{vip:?} {expected}"));
    }
    group_refuses("vips = []", "group.vips", "a group needs a VIP");
    group_refuses("vips = []\npriority = 1", "group.vips", "only where its priority is 0");
    group_refuses("vips = [1]", "group.vips", "expected a list of strings");
}

#[test]
fn a_vip_that_is_given_twice_is_refused_with_both_places() {
    let twice = "[[group]]\nname = \"web\"\nvips = [\n\"10.0.0.1/24\",\n\"10.0.0.1/32\"]";
    let why = refused(parse_with("", twice), REST_LINE + 4, "group.vips");
    let first = REST_LINE + 3;
    let expected = format!(
        "10.0.0.1/32 overlaps 10.0.0.1/24 of group \"web\" (vip.toml:{first}); remove one of the two"
    );
    assert_eq!(why, expected);
}

#[test]
fn a_vip_lies_on_the_interface_that_it_names_or_else_on_the_nodes() {
    let group = "[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\", \"10.0.0.2/24 dev eth0\", \"10.1.0.1/24 dev eth1\"]";
    let settings = parse_with("", group).unwrap();
    let written: Vec<_> = settings.groups[0].vips.iter().map(Vip::to_string).collect();
    assert_eq!(written, ["10.0.0.1/24", "10.0.0.2/24", "10.1.0.1/24 dev eth1"]);
    assert_eq!(settings.other_interfaces().into_iter().collect::<Vec<_>>(), ["eth1"]);

    // The flag says which one is the node's.
    let overrides = Overrides {
        iface: Some("eth1".to_owned()),
        vips: vips(&["10.1.0.2/24", "10.0.0.2/24 dev eth0", "10.1.0.1/24"]),
        ..Overrides::default()
    };
    let settings = Settings::parse("vip.toml", &format!("{NODE}{INSECURE}{group}"), &overrides).unwrap();
    let written: Vec<_> = settings
        .groups
        .iter()
        .map(|group| group.vips.iter().map(Vip::to_string).collect::<Vec<_>>())
        .collect();
    assert_eq!(
        written,
        [vec!["10.0.0.1/24", "10.0.0.2/24 dev eth0", "10.1.0.1/24"], vec!["10.1.0.2/24"]],
        "{settings:?}"
    );
}

#[test]
fn an_address_is_on_one_interface_only() {
    let group = "[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\", \"10.0.0.1/24 dev eth1\"]";
    let why = refused(parse_with("", group), REST_LINE + 2, "group.vips");
    assert!(why.starts_with("10.0.0.1/24 dev eth1 overlaps 10.0.0.1/24 of group \"web\""), "{why}");
}

#[test]
fn two_groups_cannot_share_a_vip_or_a_name() {
    let group = |name: &str, vip: &str| format!("[[group]]\nname = {name:?}\nvips = [{vip:?}]\n");
    let text = group("web", "10.0.0.1/24") + &group("mail", "10.0.0.1/24");
    let why = refused(parse_with("", &text), REST_LINE + 5, "group.vips");
    let place = format!("of group \"web\" (vip.toml:{})", REST_LINE + 2);
    assert!(why.contains(&place), "{why}");

    let text = group("web", "10.0.0.1/24") + &group("web", "10.0.0.2/24");
    let why = refused(parse_with("", &text), REST_LINE + 4, "group.name");
    let place = format!("\"web\" is the name of another group already (vip.toml:{})", REST_LINE + 1);
    assert!(why.starts_with(&place), "{why}");
}

#[test]
fn a_group_without_a_name_is_told_by_its_own_line() {
    let text = "[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\"]\n[[group]]\nvips = [\"10.0.0.2/24\"]";
    assert_eq!(refused(parse_with("", text), REST_LINE + 3, "group.name"), "missing; give the group a name");
}

#[test]
fn there_are_at_most_64_groups_10_000_vips_and_64_interfaces() {
    let group = |index: usize| format!("[[group]]\nname = \"g{index}\"\nvips = [\"10.0.1.{index}/32\"]\n");
    let full: String = (0..MAX_GROUPS).map(group).collect();
    assert_eq!(parse_with("", &full).unwrap().groups.len(), 64);
    let why = refused(parse_with("", &(full + &group(MAX_GROUPS))), REST_LINE + 3 * 64 + 1, "group.name");
    assert!(why.contains("one group more than the 64"), "{why}");

    let of = |count: usize| {
        let vips: Vec<_> =
            (0..count).map(|index| format!("10.1.{}.{}/32", index / 256, index % 256)).collect();
        format!("[[group]]\nname = \"web\"\nvips = {vips:?}\n")
    };
    assert_eq!(parse_with("", &of(MAX_VIPS)).unwrap().groups[0].vips.len(), 10_000);
    let why = refused(parse_with("", &of(MAX_VIPS + 1)), REST_LINE + 2, "group.vips");
    assert!(why.contains("one VIP more than the 10000"), "{why}");

    let on = |count: usize| {
        let vips: Vec<_> = (1..count).map(|index| format!("10.1.0.{index}/32 dev eth{index}")).collect();
        format!("[[group]]\nname = \"web\"\nvips = {vips:?}\n")
    };
    assert_eq!(parse_with("", &on(MAX_INTERFACES)).unwrap().other_interfaces().len(), 63);
    let why = refused(parse_with("", &on(MAX_INTERFACES + 1)), REST_LINE + 2, "group.vips");
    assert!(why.contains("one interface more than the 64"), "{why}");
}

#[test]
fn a_relative_path_is_refused() {
    let why = refused(parse_with("", "[paths]\nruntime = \"run\""), REST_LINE + 1, "paths.runtime");
    assert_eq!(why, "\"run\" is not an absolute path");
}

#[test]
fn flags_win_over_the_file() {
    let overrides =
        Overrides { iface: Some("eth7".to_owned()), xdp: Some(XdpMode::Native), ..Overrides::default() };
    let text = format!("{NODE}xdp = \"generic\"\n{INSECURE}");
    let settings = Settings::parse("vip.toml", &text, &overrides).unwrap();
    assert_eq!((settings.node.iface.as_str(), settings.node.xdp), ("eth7", XdpMode::Native));
}

#[test]
fn xdp_can_be_off_unless_a_group_takes_it() {
    let off = Overrides { xdp: Some(XdpMode::Off), ..Overrides::default() };
    let with =
        |key: &str| format!("{NODE}{INSECURE}[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\"]\n{key}\n");
    let settings = Settings::parse("vip.toml", &with("virtual_mac = false"), &off).unwrap();
    assert_eq!(settings.node.xdp, XdpMode::Off);

    let taking = with("virtual_mac = true");
    let why = Settings::parse("vip.toml", &taking, &off).unwrap_err();
    let place = format!("vip.toml:{}: group.virtual_mac", taking.lines().count());
    assert_eq!(why.message, format!("{place}: takes XDP, and node.xdp is \"off\"; change one of the two"));
    assert_eq!(why.exit, Exit::BadConfiguration);
    assert!(Settings::parse("vip.toml", &taking, &Overrides::default()).is_ok());

    let elsewhere = with("").replace("10.0.0.1/24", "10.0.0.1/24 dev eth9");
    let why = Settings::parse("vip.toml", &elsewhere, &off).unwrap_err();
    let expected = "10.0.0.1/24 dev eth9 takes XDP, and node.xdp is \"off\"; change one of the two";
    assert!(why.message.ends_with(expected), "{why}");
}

#[test]
fn vips_of_flags_that_no_group_has_form_a_group_of_their_own() {
    let overrides =
        Overrides { vips: vips(&["10.0.0.9/24", "10.0.0.1/24", "10.0.0.8/24"]), ..Overrides::default() };
    let text = format!("{NODE}priority = 7\n{INSECURE}[[group]]\nname = \"web\"\nvips = [\"10.0.0.1/24\"]");
    let groups = Settings::parse("vip.toml", &text, &overrides).unwrap().groups;
    let names: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.vips.clone())).collect();
    assert_eq!(names, [("web", vips(&["10.0.0.1/24"])), ("vip", vips(&["10.0.0.9/24", "10.0.0.8/24"]))]);
    assert_eq!(groups[1].priority, 7);
}

#[test]
fn vips_of_flags_join_a_group_of_that_name_and_may_not_contradict_the_file() {
    let overrides = Overrides { vips: vips(&["10.0.0.9/24"]), ..Overrides::default() };
    let with = |vip: &str| format!("{NODE}{INSECURE}[[group]]\nname = \"vip\"\nvips = [{vip:?}]");
    let groups = Settings::parse("vip.toml", &with("10.0.0.1/24"), &overrides).unwrap().groups;
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].vips, vips(&["10.0.0.1/24", "10.0.0.9/24"]));

    let failure = Settings::parse("vip.toml", &with("10.0.0.9/32"), &overrides).unwrap_err();
    let expected =
        "--vip: 10.0.0.9/24 overlaps 10.0.0.9/32 of group \"vip\" (vip.toml:8); remove one of the two";
    assert_eq!(failure.message, expected);
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let folder = Folder::new();
    let missing = folder.path().join("none.toml");
    for failure in [
        Settings::load(Some(&missing), &Overrides::default()).unwrap_err(),
        Paths::load(Some(&missing)).unwrap_err(),
    ] {
        assert_eq!(failure.exit, Exit::BadConfiguration);
        assert!(
            failure.message.starts_with(&format!("{}: cannot be read: ", missing.display())),
            "{failure}"
        );
    }
}

#[test]
fn a_client_needs_the_paths_alone_to_be_valid() {
    let folder = Folder::new();
    let file = folder.path().join("vip.toml");
    fs::write(&file, "[cluster]\nlease = 3\n[paths]\nruntime = \"/elsewhere\"").unwrap();
    let paths = Paths::load(Some(&file)).unwrap();
    assert_eq!(paths.socket("eth0"), Path::new("/elsewhere/eth0.sock"));
    assert!(Settings::load(Some(&file), &Overrides::default()).is_err());
}

#[test]
fn handlers_have_filters_a_program_and_a_time_limit() {
    let text = r#"[[handler]]
run = "/bin/all"
[[handler]]
on = ["member-failed", "user:deploy", "query"]
run = ["/bin/some", "an argument", "-x"]
timeout = "1m"
[[handler]]
shell = true
run = "logger $SERF_EVENT | cat"
"#;
    let program = |path: &str, arguments: &[&str]| {
        Run::Program(path.to_owned(), arguments.iter().map(ToString::to_string).collect())
    };
    let handler = |on: &[&str], run, seconds| Handler {
        on: on.iter().map(|filter| filter.parse().unwrap()).collect(),
        run,
        timeout: Duration::from_secs(seconds),
    };
    let expected = [
        handler(&["*"], program("/bin/all", &[]), 10),
        handler(&["member-failed", "user:deploy", "query"], program("/bin/some", &["an argument", "-x"]), 60),
        handler(&["*"], Run::Shell("logger $SERF_EVENT | cat".to_owned()), 10),
    ];
    assert_eq!(parse_with("", text).unwrap().handlers, expected);
    let shown = expected.map(|handler| handler.to_string());
    assert_eq!(
        shown,
        [
            "/bin/all: on *, 10s at most",
            "/bin/some \"an argument\" -x: on member-failed, user:deploy, query, 1m at most",
            "\"logger $SERF_EVENT | cat\": on *, 10s at most",
        ]
    );
    assert_eq!(
        parse_with("", text).unwrap().handlers[2].run.command(),
        ("/bin/sh", vec!["-c", "logger $SERF_EVENT | cat"])
    );
}

#[test]
fn mistakes_in_a_handler_are_told_by_their_place() {
    let refuses = |lines: &str, line: usize, key: &str, expected: &str| {
        let why = refused(parse_with("", &format!("[[handler]]\n{lines}")), REST_LINE + line, key);
        assert!(why.contains(expected), "{lines}: {why}");
    };
    refuses("on = [\"user\"]", 0, "handler.run", "missing; give the path of a program");
    refuses("run = \"tell\"", 1, "handler.run", "\"tell\" is not an absolute path; for a shell's line");
    refuses("run = []", 1, "handler.run", "missing");
    refuses("run = [\"./tell\", \"x\"]", 1, "handler.run", "not an absolute path");
    refuses("run = [\"/bin/tell\", \"a\\u0000b\"]", 1, "handler.run", "NUL");
    refuses("run = 7", 1, "handler.run", "expected a string");
    refuses("shell = true\nrun = [\"/bin/sh\"]", 2, "handler.run", "expected a string");
    refuses("shell = true", 0, "handler.run", "say what the shell is to run");
    refuses("run = \"/bin/x\"\nname = \"x\"", 2, "handler.name", "unknown key");
    refuses("run = \"/bin/x\"\non = []", 2, "handler.on", "empty");
    refuses("run = \"/bin/x\"\non = \"user\"", 2, "handler.on", "expected a list");
    let unknown = "\"member-died\" is no event; known: member-join, member-leave, member-failed";
    refuses("run = \"/bin/x\"\non = [\"user\",\n\"member-died\"]", 3, "handler.on", unknown);
    for timeout in ["0s", "601s"] {
        let lines = format!("run = \"/bin/x\"\ntimeout = {timeout:?}");
        refuses(&lines, 2, "handler.timeout", "is not more than 0s and at most 10m");
    }
    let too_many = "[[handler]]\nrun = \"/bin/x\"\n".repeat(MAX_HANDLERS + 1);
    let line = REST_LINE + 2 * MAX_HANDLERS + 1;
    assert!(refused(parse_with("", &too_many), line, "handler.run").contains("16 handlers at most"));
}

#[test]
fn the_list_of_live_nodes_is_a_file_by_its_absolute_path() {
    let live = |path: &str| parse_with("", &format!("[paths]\nlive_nodes = {path:?}"));
    let path = live("/run/vip-user/live.json").unwrap().paths.live_nodes;
    assert_eq!(path.as_deref(), Some(Path::new("/run/vip-user/live.json")));
    for (path, expected) in
        [("live.json", "not an absolute path"), ("/run/", "names no file"), ("/", "names no file")]
    {
        assert!(refused(live(path), REST_LINE + 1, "paths.live_nodes").contains(expected));
    }
}

#[test]
fn the_gateway_of_a_pair_is_one_machines_ipv4_address_and_no_vip() {
    assert_eq!(parse_with("", "").unwrap().cluster.pair, None);
    for (text, why) in [
        ("fd77::fe", "is not an IPv4 address"),
        ("gateway", "is not an IPv4 address"),
        ("224.0.0.1", "no single machine's address"),
        ("255.255.255.255", "no single machine's address"),
        ("0.0.0.0", "no single machine's address"),
        ("127.0.0.1", "no single machine's address"),
    ] {
        cluster_refuses(&format!("pair = {text:?}"), "cluster.pair", why);
    }
    cluster_refuses("pair = 5", "cluster.pair", "");
    let group = "[[group]]\nname = \"web\"\nvips = [\"10.77.0.254/24\"]";
    let why = refused(parse_with("pair = \"10.77.0.254\"", group), CLUSTER_LINE, "cluster.pair");
    assert!(why.contains("is a VIP"), "{why}");
}

#[test]
fn notify_scripts_are_lines_as_keepalived_takes_them_or_lists() {
    let group = |lines: &str| {
        parse_with("", &format!("[[group]]\nname = \"web\"\nvips = [\"10.77.0.100/24\"]\n{lines}"))
    };
    let program = |words: &[&str]| {
        let arguments = words[1..].iter().map(ToString::to_string).collect();
        Some(Run::Program(words[0].to_owned(), arguments))
    };
    let text = r#"
notify = "/etc/keepalived/notify.sh 'two words' three"
notify_master = ["/bin/master", "two words"]
notify_backup = "/bin/backup"
notify_fault = '/bin/fault "a b"'
notify_stop = "/bin/stop"
notify_type = "group"
notify_timeout = "5m"
"#;
    let expected = Notify {
        any: program(&["/etc/keepalived/notify.sh", "two words", "three"]),
        master: program(&["/bin/master", "two words"]),
        backup: program(&["/bin/backup"]),
        fault: program(&["/bin/fault", "a b"]),
        stop: program(&["/bin/stop"]),
        kind: NotifyType::Group,
        timeout: Duration::from_secs(300),
    };
    let notify = &group(text).unwrap().groups[0].notify;
    assert_eq!(*notify, expected);
    assert_eq!(
        notify.to_string(),
        "notify_master /bin/master \"two words\", notify_backup /bin/backup, notify_fault /bin/fault \"a b\", \
         notify_stop /bin/stop, notify /etc/keepalived/notify.sh \"two words\" three, 5m at most"
    );

    let refuses = |line: &str, key: &str, expected: &str| {
        let why = refused(group(line), REST_LINE + 3, key);
        assert!(why.contains(expected), "{line}: {why}");
    };
    refuses(
        "notify = \"notify.sh\"",
        "group.notify",
        "is not an absolute path; for a shell's line, write [\"/bin/sh\"",
    );
    refuses("notify_master = \"/bin/x 'a\"", "group.notify_master", "a quote that does not end");
    refuses("notify_fault = \"\"", "group.notify_fault", "missing");
    refuses("notify_type = \"GROUP\"", "group.notify_type", "neither \"instance\" nor \"group\"");
    refuses("notify_timeout = \"11m\"", "group.notify_timeout", "at most 10m");
}
