//! What a group may say of VRRP.

use vip_common::vrrp::{Version, Vrid};

use super::*;

const START: &str = "[[group]]\nname = \"web\"\n";

fn group(text: &str) -> Result<Group, Failure> {
    parse_with("", &format!("{START}{text}")).map(|mut settings| settings.groups.remove(0))
}

/// Checks that a group of VRRP is refused by the line, counted from the one after its name, and the key.
#[track_caller]
fn vrrp_refuses(text: &str, line: usize, key: &str, expected: &str) {
    let why = refused(parse_with("", &format!("{START}{text}")), REST_LINE + 1 + line, key);
    assert!(why.contains(expected), "{text}: {why}");
}

#[test]
fn a_virtual_router_has_the_defaults_of_the_rfc() {
    let group = group("protocol = \"vrrp\"\nvrid = 51\nvips = [\"10.0.0.1/24\"]").unwrap();
    let expected = VirtualRouter {
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        advert_interval: Duration::from_secs(1),
        unicast_peers: Vec::new(),
        password: None,
    };
    assert_eq!(group.protocol, Protocol::Vrrp(expected));
    assert_eq!((group.priority, group.preempt, group.preempt_delay), (100, true, Duration::ZERO));
    assert_eq!((group.virtual_mac, group.router, group.stale_forwarding), (true, true, false));
}

#[test]
fn what_a_virtual_router_cannot_be_is_refused() {
    const VRRP: &str = "protocol = \"vrrp\"\nvrid = 51\n";
    let cases = [
        ("protocol = \"carp\"", 1, "group.protocol", "use \"lease\" or \"vrrp\""),
        ("protocol = \"vrrp\"\nvrid = 0", 2, "group.vrid", "from 1 to 255"),
        ("version = 2\nvips = [\"10.0.0.1/24\"]", 1, "group.version", "set protocol = \"vrrp\""),
        (
            &format!("{VRRP}advert_interval = \"15ms\""),
            3,
            "group.advert_interval",
            "whole hundredths of a second, from 10ms",
        ),
        (&format!("{VRRP}advert_interval = \"41s\""), 3, "group.advert_interval", "to 40950ms"),
        (
            &format!("{VRRP}version = 2\nadvert_interval = \"100ms\""),
            4,
            "group.advert_interval",
            "whole seconds, from 1s",
        ),
        (&format!("{VRRP}version = 4"), 3, "group.version", "from 2 to 3"),
        (&format!("{VRRP}vips = [\"10.0.0.1/24\", \"fe80::1/64\"]"), 3, "group.vips", "two families"),
        (
            &format!("{VRRP}vips = [\"10.0.0.1/24\", \"10.0.0.2/24 dev eth1\"]"),
            3,
            "group.vips",
            "two interfaces",
        ),
        (
            &format!("{VRRP}vips = [\"fd77::1/64\"]"),
            3,
            "group.vips",
            "vips = [\"fe80::51/64\", \"fd77::1/64\"]",
        ),
        (&format!("{VRRP}version = 2\nvips = [\"fe80::1/64\"]"), 4, "group.vips", "version = 3"),
        (&format!("{VRRP}vips = [\"10.0.0.1/24\"]\npriority = 0"), 4, "group.priority", "from 1 to 255"),
        (&format!("{VRRP}vips = [\"10.0.0.1/24\"]\naccept = false"), 4, "group.accept", "firewall"),
        (
            &format!("{VRRP}vips = [\"10.0.0.1/24\"]\nstale_forwarding = true"),
            4,
            "group.stale_forwarding",
            "lease",
        ),
        (&format!("{VRRP}unicast_peers = [\"224.0.0.18\"]"), 3, "group.unicast_peers", "multicast"),
        (
            &format!("{VRRP}vips = [\"10.0.0.1/24\"]\nunicast_peers = [\"fe80::2\"]"),
            4,
            "group.unicast_peers",
            "family",
        ),
        (&format!("{VRRP}auth = \"text\""), 3, "group.auth", "version = 2"),
        (&format!("{VRRP}version = 2\nauth = \"ah\""), 4, "group.auth", "no authentication"),
        (
            &format!("{VRRP}version = 2\nauth_password_file = \"/p\""),
            4,
            "group.auth_password_file",
            "auth = \"text\"",
        ),
    ];
    for (text, line, key, expected) in cases {
        vrrp_refuses(text, line, key, expected);
    }
    // Two of a kind on one interface.
    let twice =
        format!("{VRRP}vips = [\"10.0.0.1/24\"]\n[[group]]\nname = \"two\"\n{VRRP}vips = [\"10.0.0.2/24\"]");
    vrrp_refuses(&twice, 7, "group.vrid", "another virtual router on this interface");
    let by_family = twice.replace("10.0.0.2/24", "fe80::51/64");
    assert!(parse_with("", &format!("{START}{by_family}")).is_ok(), "each family has its own");
    let without_xdp = parse(&format!(
        "[node]\niface = \"eth0\"\nxdp = \"off\"\n{INSECURE}{START}{VRRP}vips = [\"10.0.0.1/24\"]"
    ));
    assert!(without_xdp.unwrap_err().message.contains("group.protocol: takes XDP"));
}

#[test]
fn a_password_is_read_from_a_file_that_others_cannot_read() {
    let folder = Folder::new();
    let path = folder.path().join("password");
    let read = |content: &str, mode: u32| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let keys = format!(
            "protocol = \"vrrp\"\nvrid = 51\nversion = 2\nauth = \"text\"\nauth_password_file = {path:?}\n"
        );
        group(&format!("{keys}vips = [\"10.0.0.1/24\"]"))
    };
    let router = read("secret\n", 0o600).unwrap().protocol.runs().cloned().unwrap();
    assert_eq!(router.password, Some(Password(*b"secret\0\0")));
    assert!(!format!("{router:?}").contains("secret"));
    for (content, mode, expected) in [
        ("secret\n", 0o644, "chmod 600"),
        ("", 0o600, "has 0 bytes"),
        ("far too long", 0o600, "has 12 bytes"),
    ] {
        let why = read(content, mode).unwrap_err();
        assert!(why.message.contains(expected), "{why}");
    }
}

#[test]
fn a_group_of_the_lease_may_heed_a_virtual_router() {
    let group = group("vrid = 51\nvips = [\"10.0.0.1/24\"]").unwrap();
    assert!(group.protocol.runs().is_none());
    assert_eq!(group.protocol.router().unwrap().vrid.get(), 51);
    assert_eq!((group.preempt, group.virtual_mac, group.stale_forwarding), (false, false, true));
}
