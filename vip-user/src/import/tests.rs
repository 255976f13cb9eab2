//! What becomes of keepalived's directives, with small configurations that use them as people do.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vip_common::vrrp::Version;

use super::*;

/// Files that are not on the disk.
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Knows only patterns that are names, or end in `*`.
    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let matches = |path: &str| match pattern.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == pattern,
        };
        Ok(self.0.keys().filter(|path| path.to_str().is_some_and(matches)).cloned().collect())
    }
}

const FILE: &str = "/etc/keepalived/keepalived.conf";

fn with_files(files: &[(&str, &str)], config_id: &str) -> Result<Import, Failure> {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let options = Options { config_id: config_id.to_owned(), ..Options::default() };
    import(&Memory(files), Path::new(FILE), &options)
}

fn imported(text: &str) -> Import {
    with_files(&[(FILE, text)], "lb1").unwrap()
}

fn refused(text: &str) -> String {
    with_files(&[(FILE, text)], "lb1").unwrap_err().message
}

fn imported_as_vrrp(text: &str) -> Import {
    let files = [(PathBuf::from(FILE), text.to_owned())].into_iter().collect();
    let options = Options { config_id: "lb1".to_owned(), vrrp: true, ..Options::default() };
    import(&Memory(files), Path::new(FILE), &options).unwrap()
}

/// The settings that came of it, without the files of keys and passwords, which are not there.
fn settings(import: &Import) -> Settings {
    let text = import.text.replace("key_file = \"/etc/vip-user/cluster.key\"", "insecure = true");
    let lines = text.lines().filter(|line| !line.starts_with("auth"));
    let text = lines.collect::<Vec<_>>().join("\n");
    Settings::parse("vip.toml", &text, &crate::config::Overrides::default()).unwrap()
}

/// What became of the directive on this line.
#[track_caller]
fn fate(import: &Import, line: usize) -> (Fate, &str) {
    let on_line = |remark: &&Remark| remark.place.as_ref().is_some_and(|place| place.line == line);
    let remark =
        import.remarks.iter().find(on_line).unwrap_or_else(|| panic!("nothing is said of line {line}"));
    (remark.fate, &remark.why)
}

const PAIR: &str = r#"! Two machines, as in many a tutorial
global_defs {
    notification_email {
        ops@example.net
    }
    router_id lb1
    vrrp_skip_check_adv_addr
}

vrrp_script chk_haproxy {
    script "killall -0 haproxy"     # is it there?
    interval 2
    weight 2
}

vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 101
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass s3cret!
    }
    virtual_ipaddress {
        10.77.0.100/24 brd 10.77.0.255 dev eth0 label eth0:vip
    }
    track_script {
        chk_haproxy
    }
    notify_master "/etc/keepalived/master.sh 'two words'"
    smtp_alert
}
"#;

#[test]
fn a_pair_as_in_a_tutorial_is_carried_over() {
    let import = imported(PAIR);
    let Settings { node, cluster, groups, checks, .. } = settings(&import);
    assert_eq!((node.name.as_str(), node.iface.as_str()), ("lb1", "eth0"));
    assert_eq!((cluster.name.as_str(), cluster.expect), ("vrid-51", 3));
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!((group.name.as_str(), group.priority, group.preempt), ("VI_1", 101, true));
    assert_eq!(group.vips, ["10.77.0.100/24".parse().unwrap()]);
    assert_eq!(group.notify.to_string(), "notify_master /etc/keepalived/master.sh \"two words\", 1m at most");
    let [check] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!(
        check.to_string(),
        "chk_haproxy: process haproxy, every 2s, 2s at most, rise 1, fall 1; +2 for VI_1"
    );
    assert_eq!(fate(&import, 20).0, Fate::Carried);
    assert!(fate(&import, 21).1.contains("(keepalived: 3.0 to 4.0 s)"), "advert_int 1");
    assert_eq!(
        fate(&import, 33),
        (Fate::Left, "no mail is sent: let the group's notify run a script that sends it")
    );
    assert!(!format!("{import:?}").contains("s3cret"), "no secret is shown");
}

#[test]
fn a_sync_group_is_one_group_with_all_vips_and_no_weights() {
    let import = imported(
        r#"vrrp_script chk {
    script "/usr/local/bin/check.sh 'a b'"
    interval 0.5
    timeout 3
    fall 3
    rise 2
    weight -20
}
vrrp_sync_group VG {
    group {
        inside
        outside
    }
    notify "/etc/keepalived/notify.sh"
}
vrrp_instance inside { interface eth1
    priority 150
    nopreempt
    track_script { chk }
    virtual_ipaddress { 10.88.0.1/24 }
    notify_fault /bin/fault
}
vrrp_instance outside {
    interface eth0
    priority 100
    virtual_ipaddress {
        192.0.2.1
    }
}
"#,
    );
    let Settings { node, groups, checks, .. } = settings(&import);
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!(node.iface, "eth1", "that of the first instance");
    assert_eq!((group.name.as_str(), group.priority, group.preempt), ("VG", 150, false));
    assert_eq!(group.vips, ["10.88.0.1/24", "192.0.2.1/32 dev eth0"].map(|vip| vip.parse().unwrap()));
    assert_eq!(group.notify.kind, crate::config::NotifyType::Group);
    let [check] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!(
        check.to_string(),
        "chk: exec /usr/local/bin/check.sh \"a b\", every 500ms, 3s at most, rise 2, fall 3; fatal for VG"
    );
    let notify = "notify_fault /bin/fault, notify /etc/keepalived/notify.sh, 1m at most";
    assert_eq!(group.notify.to_string(), notify, "also that of an instance");
}

#[test]
fn scripts_of_a_sync_groups_instances_are_the_groups_unless_there_are_several_for_an_event() {
    let instance = |name: &str, address: &str, master: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_ipaddress {{\n{address}/24\n}}\n\
             notify /bin/tell\nnotify_master {master}\nnotify_stop /bin/stop\n}}\n"
        )
    };
    let text = [
        "vrrp_sync_group VG {\ngroup {\na\nb\n}\nnotify_stop /bin/end\n}\n".to_owned(),
        instance("a", "10.0.0.1", "/bin/serve-a"),
        instance("b", "10.0.0.2", "/bin/serve-b"),
    ];
    let import = imported(&text.concat());
    let notify = &settings(&import).groups[0].notify;
    let lines = "notify_master /bin/serve-a, notify_stop /bin/end, notify /bin/tell, 1m at most";
    assert_eq!(notify.to_string(), lines);
    assert_eq!(notify.kind, crate::config::NotifyType::Instance);
    let fates = |first: usize| [0, 1, 2].map(|line| fate(&import, first + line).0);
    assert_eq!(fates(13), [Fate::Carried, Fate::Carried, Fate::Left]);
    assert_eq!(fates(22), [Fate::Changed, Fate::Left, Fate::Left]);
}

#[test]
fn a_check_is_made_once_for_several_groups_and_once_more_for_another_weight() {
    let instance = |name: &str, address: &str, weight: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_ipaddress {{\n{address}/24\n}}\n\
             track_script {{\nchk {weight}\n}}\ntrack_interface {{\neth0\neth9 weight -5\n}}\n}}\n"
        )
    };
    let text = [
        "vrrp_script chk {\nscript \"[ ! -f /etc/down ]\"\nweight -2\n}\n".to_owned(),
        instance("a", "10.0.0.1", ""),
        instance("b", "10.0.0.2", ""),
        instance("c", "10.0.0.3", "weight 7"),
        instance("d", "10.0.0.4", "weight 7 reverse"),
        "vrrp_script port {\nscript \"</dev/tcp/127.0.0.1/80\" # connects\n}\n".to_owned(),
        "vrrp_instance e {\ninterface eth0\nvirtual_ipaddress {\n10.0.0.5/24\n}\ntrack_script {\nport\n}\n}\n".to_owned(),
    ];
    let checks = settings(&imported(&text.concat())).checks;
    let shown: Vec<String> = checks.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "chk: exec \"[ ! -f /etc/down ]\", every 1s, 1s at most, rise 1, fall 1; -2 for a, b",
            "eth9: interface eth9, every 1s, 1s at most, rise 1, fall 1; -5 for a, b, c, d",
            "chk-2: exec \"[ ! -f /etc/down ]\", every 1s, 1s at most, rise 1, fall 1; +7 for c",
            "port: tcp 127.0.0.1:80, every 1s, 1s at most, rise 1, fall 1; fatal for e",
        ]
    );
}

#[test]
fn unicast_peers_and_this_machine_are_the_peers_and_are_counted() {
    let text = |peers: &str| {
        format!(
            "vrrp_instance a {{\ninterface eth0\nunicast_src_ip 10.0.0.1\nunicast_peer {{\n{peers}}}\n\
             virtual_ipaddress {{\n10.0.0.9/24\n}}\n}}\n"
        )
    };
    let of = |peers: &str| imported(&text(peers));
    let import = of("10.0.0.2\n10.0.0.3\n10.0.0.4\n");
    assert!(import.text.contains("peers = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\"]"));
    assert_eq!(settings(&import).cluster.expect, 4);
    let import = of("10.0.0.2\n");
    assert_eq!(settings(&import).cluster.expect, 3, "with a witness");
    assert!(import.remarks[0].why.contains("two machines"), "{:?}", import.remarks[0]);
    assert_eq!(fate(&of("10.0.0.2\nfd77::3\n"), 6).0, Fate::Left);
}

#[test]
fn parameters_conditions_sequences_and_includes_are_written_out() {
    let main = "$IF=eth0\n$BASE=10.0.${NET}\n$NET=7\n@lb1 $PRIO=150\n@lb2 $PRIO=100\n@^lb1 nonsense\ninclude conf.d/*\n";
    let instance = "$VI= \\\nvrrp_instance V${N} { \\\n    interface ${IF} \\\n    priority $PRIO \\\n    virtual_ipaddress { \\\n\
                    ~SEQ(A, 1, 2) ${BASE}.${N}${A}/24 \\\n    } \\\n}\n~LST(N, 1, 3) $VI\n$HOME is no parameter\n";
    let import = with_files(&[(FILE, main), ("/etc/keepalived/conf.d/a.conf", instance)], "lb1").unwrap();
    let groups = settings(&import).groups;
    let shown: Vec<(&str, u8, Vec<String>)> = groups
        .iter()
        .map(|group| {
            (group.name.as_str(), group.priority, group.vips.iter().map(ToString::to_string).collect())
        })
        .collect();
    let vips = |last: [&str; 2]| last.map(|last| format!("10.0.7.{last}/24")).to_vec();
    assert_eq!(shown, [("V1", 150, vips(["11", "12"])), ("V3", 150, vips(["31", "32"]))]);
    assert!(import.remarks.iter().any(|remark| remark.why.contains("2 lines for other machines")));
    let unknown = import.remarks.iter().find(|remark| remark.directive.starts_with("$HOME")).unwrap();
    assert_eq!(unknown.place.as_ref().unwrap().to_string(), "/etc/keepalived/conf.d/a.conf:10");
}

#[test]
fn what_cannot_be_carried_over_is_named_with_its_line() {
    let import = imported(
        "vrrp_instance a {\ninterface eth0\nvirtual_ipaddress {\n10.0.0.1/24\nfe80::1/64\n10.0.0.1/24\n}\n\
         virtual_routes {\n10.1.0.0/16 via 10.0.0.254\n}\nno_such_thing 5\n}\n\
         virtual_server 10.0.0.1 80 {\nreal_server 10.0.0.5 80 {\nweight 1\n}\n}\n",
    );
    let fates: Vec<(usize, Fate)> = import
        .remarks
        .iter()
        .filter_map(|remark| Some((remark.place.as_ref()?.line, remark.fate)))
        .filter(|(_, fate)| *fate != Fate::Carried)
        .collect();
    assert_eq!(
        fates,
        [(5, Fate::Left), (6, Fate::Unneeded), (8, Fate::Left), (11, Fate::Left), (13, Fate::Left)]
    );
    assert!(fate(&import, 5).1.contains("link-local"));
    assert!(fate(&import, 13).1.contains("IPVS"));
}

#[test]
fn a_file_that_makes_no_sense_is_refused_with_its_line() {
    let at = |line: usize, rest: &str| format!("{FILE}:{line}: {rest}");
    assert_eq!(
        refused("vrrp_instance a {\ninterface eth0\n"),
        at(1, "the block of vrrp_instance a does not end")
    );
    assert_eq!(refused("global_defs {\n}\n}\n"), at(3, "a } without its {"));
    assert_eq!(refused("{\n}\n"), at(1, "a block that belongs to nothing"));
    assert!(refused("$A=${A} x\n${A}\n").starts_with(&at(2, "parameters or sequences stand for too much")));
    assert!(refused("include keepalived.conf\n").contains("files include each other"));
    assert!(refused("~SEQ(A, 1, 0, 5) x\n").contains("has no end"));
    assert!(refused("global_defs {\n}\n").contains("no vrrp_instance with VIPs is in it"));
}

#[test]
fn nothing_that_files_say_brings_it_down() {
    // Every beginning of a configuration that has everything is one that breaks off somewhere.
    let text =
        format!("{PAIR}~SEQx(A, 0x1, 3) include \"x\nvrrp_sync_group g {{ group {{ VI_1 }} }} $X=\\\n\\");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let _ = with_files(&[(FILE, &text[..end])], "lb1");
    }
}

#[test]
fn whatever_is_made_of_its_words_is_refused_or_valid() {
    const WORDS: [&str; 40] = [
        "vrrp_instance",
        "vrrp_sync_group",
        "vrrp_script",
        "vrrp_track_process",
        "global_defs",
        "virtual_ipaddress",
        "group",
        "track_script",
        "track_interface",
        "interface",
        "priority",
        "script",
        "process",
        "notify",
        "router_id",
        "unicast_peer",
        "weight",
        "reverse",
        "interval",
        "preempt_delay",
        "a",
        "b",
        "eth0",
        "eth1",
        "lo",
        "10.0.0.1/24",
        "10.0.0.2",
        "fd77::1/64",
        "255",
        "-7",
        "1e99",
        "\"/bin/x 'y\"",
        "{",
        "{",
        "}",
        "}",
        "\n",
        "\n",
        "\n@lb1",
        "\n~SEQ(a, 1, 3) $a=",
    ];
    // The same texts in each run: what is found can be found again (Knuth's multiplicative generator).
    let mut state: u64 = 1;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..2_000 {
        let words: Vec<&str> = (0..next(60)).map(|_| WORDS[next(WORDS.len())]).collect();
        let text = format!(
            "vrrp_instance i {{\ninterface eth0\nvirtual_ipaddress {{\n10.9.9.9/24\n}}\n}}\n{}\n",
            words.join(" ")
        );
        match with_files(&[(FILE, &text)], "lb1") {
            Ok(import) => assert!(!settings(&import).groups.is_empty(), "{text}"),
            Err(failure) => assert!(failure.message.starts_with(FILE), "{failure}: {text}"),
        }
    }
}

#[test]
fn a_control_character_in_a_file_does_not_reach_the_terminal() {
    let import = imported(
        "vrrp_instance VI_1 {\n interface eth0\n c\u{1b}[2J 7\n virtual_ipaddress {\n 10.77.0.100\n }\n}\n",
    );
    let remark = import.remarks.iter().find(|remark| remark.directive.contains("[2J")).unwrap();
    for text in [&remark.directive, &remark.to_string()] {
        assert!(text.contains("c\u{fffd}[2J") && !text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn a_password_is_not_shown_wherever_a_mistake_has_put_it() {
    let import = imported(
        "vrrp_instance VI_1 {\n interface eth0\n auth_pass,s3cret\n nopreempt auth_pass s3cret\n virtual_ipaddress {\n 10.77.0.100\n \
         auth_pass_s3cret 10.77.0.101\n }\n}\n",
    );
    let remarks = import.remarks.iter().map(|remark| remark.to_string()).collect::<Vec<_>>();
    assert!(remarks.iter().all(|remark| !remark.contains("s3cret")), "{remarks:#?}");
    assert_eq!(remarks.iter().filter(|remark| remark.contains("auth_pass ...")).count(), 3, "{remarks:#?}");
}

#[test]
fn as_vrrp_an_instance_is_the_virtual_router_that_it_was() {
    let import = imported_as_vrrp(PAIR);
    let Settings { groups, checks, .. } = settings(&import);
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    let router = group.protocol.runs().expect("a virtual router");
    // keepalived speaks version 2 unless told otherwise.
    assert_eq!((router.vrid.get(), router.version), (51, Version::V2));
    assert_eq!((router.advert_interval, &router.unicast_peers), (Duration::from_secs(1), &Vec::new()));
    assert_eq!((group.priority, group.preempt, group.virtual_mac), (101, true, false));
    assert!(import.text.contains("\nauth = \"text\"\nauth_password_file = \"/etc/vip-user/VI_1.password\""));
    assert!(!import.text.contains("s3cret"), "{}", import.text);
    assert_eq!(checks.len(), 1);
}

/// Two instances of a sync group, of both families and at the same number.
const DUAL: &str = "global_defs {
    vrrp_version 3
    vrrp_mcast_group4 224.0.0.99
}
vrrp_sync_group both {
    group {
        web
        web6
    }
}
vrrp_instance web {
    interface eth0
    virtual_router_id 7
    advert_int 0.25
    use_vmac
    unicast_src_ip 10.77.0.1
    unicast_peer {
        10.77.0.2
    }
    virtual_ipaddress {
        10.77.0.100/24
        10.77.0.101/24 dev eth1
    }
    virtual_ipaddress_excluded {
        2001:db8::5/64
    }
}
vrrp_instance web6 {
    interface eth0
    virtual_router_id 7
    version 2
    virtual_ipaddress {
        2001:db8::100/64
        fe80::100/64
    }
}
vrrp_instance web7 {
    interface eth0
    virtual_router_id 8
    virtual_ipaddress {
        2001:db8::7/64
    }
}
";

#[test]
fn as_vrrp_instances_are_groups_of_one_family_on_one_interface() {
    let import = imported_as_vrrp(DUAL);
    let Settings { groups, .. } = settings(&import);
    let [web, web6] = groups.as_slice() else { panic!("{groups:?}") };
    let router = web.protocol.runs().expect("a virtual router");
    assert_eq!((router.vrid.get(), router.version), (7, Version::V3));
    assert_eq!(router.advert_interval, Duration::from_millis(250));
    assert_eq!((&router.unicast_peers, web.virtual_mac), (&vec!["10.77.0.2".parse().unwrap()], true));
    assert_eq!(web.vips, ["10.77.0.100/24".parse().unwrap()]);
    // RFC 9568, section 5.2.9: the link-local address first; version 2 has no IPv6.
    let addresses: Vec<_> = web6.vips.iter().map(|vip| vip.address.to_string()).collect();
    assert_eq!(addresses, ["fe80::100", "2001:db8::100"]);
    assert_eq!(web6.protocol.runs().expect("a virtual router").version, Version::V3);

    let left = import.remarks.iter().filter(|remark| remark.fate == Fate::Left);
    let lines: Vec<_> = left.filter_map(|remark| Some(remark.place.as_ref()?.line)).collect();
    // The group of adverts, the sync group, the VIP on eth1, the excluded one, and the router without a link-local address.
    assert_eq!(lines, [3, 5, 11, 25, 37, 37], "{:#?}", import.remarks);
}
