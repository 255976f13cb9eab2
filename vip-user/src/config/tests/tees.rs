//! What is teed.

use super::*;

const GROUP: &str = "[[group]]\nname = \"feed\"\nvips = [\"10.77.0.100/24\"]\n";

/// A file with the group, and this as its first tee.
fn with_tee(group: &str, tee: &str) -> Result<Settings, Failure> {
    parse_with("", &format!("{group}[[tee]]\n{tee}"))
}

#[test]
fn a_tee_has_a_group_and_a_port() {
    let text = "group = \"feed\"\nport = 5000\n[[tee]]\ngroup = \"feed\"\nport = 65535\nprotocol = \"udp\"";
    let tees = with_tee(GROUP, text).unwrap().tees;
    assert_eq!(tees, [5000, 65_535].map(|port| Tee { group: "feed".into(), port }));
    assert_eq!(tees[0].to_string(), "UDP port 5000 of feed");
}

#[test]
fn what_cannot_be_teed_is_refused_with_the_reason() {
    let line = REST_LINE + 3;
    let cases = [
        ("port = 5000", 0, "tee.group", "missing; name a group"),
        ("group = \"web\"\nport = 5000", 1, "tee.group", "\"web\" is no group of this file"),
        ("group = \"feed\"", 0, "tee.port", "missing; give a UDP port"),
        ("group = \"feed\"\nport = 0", 2, "tee.port", "0 is not a whole number from 1 to 65535"),
        ("group = \"feed\"\nport = 65536", 2, "tee.port", "65536 is not a whole number"),
        ("group = \"feed\"\nport = 5680", 2, "tee.port", "5680 is the port of the nodes' own messages"),
        ("group = \"feed\"\nport = 1\nprotocol = \"tcp\"", 3, "tee.protocol", "\"tcp\" cannot be teed"),
        (
            "group = \"feed\"\nport = 1\n[[tee]]\ngroup = \"feed\"\nport = 1",
            5,
            "tee.port",
            "UDP port 1 of feed is teed already (vip.toml:12)",
        ),
    ];
    for (tee, at, key, expected) in cases {
        let why = refused(with_tee(GROUP, tee), line + at, key);
        assert!(why.starts_with(expected), "{tee}: {why}");
    }
    let many: String = (1..=65).map(|port| format!("[[tee]]\ngroup = \"feed\"\nport = {port}\n")).collect();
    let why = refused(parse_with("", &format!("{GROUP}{many}")), line + 64 * 3 + 2, "tee.port");
    assert_eq!(why, "there can be 64 tees at most");
}

#[test]
fn a_tee_takes_a_fence_and_vips_that_are_always_at_home() {
    let tee = "group = \"feed\"\nport = 5000";
    for (more, expected) in [
        ("presence = \"held\"\n", "\"feed\" has presence \"held\": a standby does not have its VIPs"),
        ("protocol = \"vrrp\"\nvrid = 51\n", "\"feed\" is a group of VRRP: who holds it"),
        (
            "vips = [\"10.77.0.100/24\", \"10.78.0.1/24 dev eth1\"]\n",
            "\"feed\" has 10.78.0.1/24 dev eth1: copies go",
        ),
    ] {
        let group = if more.starts_with("vips") {
            format!("[[group]]\nname = \"feed\"\n{more}")
        } else {
            format!("{GROUP}{more}")
        };
        let line = REST_LINE + group.lines().count() + 1;
        let why = refused(with_tee(&group, tee), line, "tee.group");
        assert!(why.starts_with(expected), "{why}");
    }
    for (more, expected) in [
        ("xdp = \"off\"\n", "a tee takes XDP, and node.xdp is \"off\""),
        ("egress_fence = false\n", "a tee takes the egress fence"),
    ] {
        let text = format!("{NODE}{more}{INSECURE}{GROUP}[[tee]]\n{tee}");
        let why = refused(parse(&text), 11, "tee.group");
        assert!(why.starts_with(expected), "{why}");
    }
}
