//! VIPs on the dummy interface, ARP sysctls, solicited-node groups and announcements, against the real kernel.
//!
//! Each test has a network namespace of its own, which belongs to the test's thread and to nothing else: it is gone
//! with the thread, however the test ends.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test"
)]

use std::collections::HashSet;
use std::fs;
use std::future::{Future, poll_fn};
use std::mem::replace;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::IntoRawFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use nix::unistd::Uid;
use pnet::datalink::{self, Channel, ChannelType, DataLinkReceiver};
use pnet::packet::ethernet::{EtherType, EtherTypes};
use vip_user::announce::{Announcer, GroupVips};
use vip_user::ipv6::{self, SolicitedNodes};
use vip_user::netlink::{Change, Changes, Interface, Netlink, NetlinkError, Repair};
use vip_user::sysctl::ArpSysctls;

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

const DUMMY: &str = "vip-left";
const MAC: &str = "02:00:00:00:00:01";

#[test]
fn vips_are_added_once_and_leftovers_removed() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let first = netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap();
        assert_eq!(first, Repair { created: true, added: vips(3), ..Repair::default() });
        assert!(netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap().is_empty());

        // Input: a VIP less, a stranger, and a VIP with another prefix length. Expected: exactly the VIPs, as /32.
        ip(&format!("addr add 192.0.2.1/24 dev {DUMMY}"));
        ip(&format!("addr add {}/16 dev {DUMMY}", vips(1)[0]));
        let second = netlink.ensure_vips(DUMMY, &vips(2)).await.unwrap();
        assert!(second.added.is_empty());
        let removed: HashSet<IpAddr> = second.removed.into_iter().collect();
        assert_eq!(removed, HashSet::from([Ipv4Addr::new(192, 0, 2, 1).into(), vips(1)[0], vips(3)[2]]));
        assert_eq!(on_dummy(&netlink).await, vips(2).into_iter().map(|vip| (vip, 32)).collect::<Vec<_>>());
    });
}

#[test]
fn ipv6_vips_are_added_beside_the_others_and_leftovers_removed() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let both = [vips(2), vips6(2)].concat();
        let first = netlink.ensure_vips(DUMMY, &both).await.unwrap();
        assert_eq!(first, Repair { created: true, added: both.clone(), ..Repair::default() });
        assert!(netlink.ensure_vips(DUMMY, &both).await.unwrap().is_empty());

        ip(&format!("addr add 2001:db8::1/64 dev {DUMMY}"));
        ip(&format!("addr del {}/128 dev {DUMMY}", vips6(2)[1]));
        let second = netlink.ensure_vips(DUMMY, &both).await.unwrap();
        assert_eq!(second.added, [vips6(2)[1]]);
        assert_eq!(second.removed, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        let on_dummy: HashSet<(IpAddr, u8)> = on_dummy(&netlink).await.into_iter().collect();
        let expected =
            vips(2).into_iter().map(|vip| (vip, 32)).chain(vips6(2).into_iter().map(|vip| (vip, 128)));
        assert_eq!(on_dummy, expected.collect());
    });
}

/// RFC 4862: an address that all nodes have must not be looked for elsewhere, and is nobody's source by itself.
#[test]
fn ipv6_vips_are_not_probed_for_and_are_nobodys_source() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        netlink.ensure_vips(DUMMY, &vips6(1)).await.unwrap();
        let shown = ip(&format!("-6 -o addr show dev {DUMMY} scope global"));
        assert!(shown.contains("nodad") && shown.contains("deprecated"), "{shown}");
        assert!(!shown.contains("tentative") && shown.contains("valid_lft forever"), "{shown}");
        let routes = ip("-6 route show table main");
        assert!(!routes.contains("fd78"), "{routes}");
    });
}

#[test]
fn ipv6_is_switched_on_for_the_vips_interface_alone() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        for scope in ["all", "default"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        ip("link add left type veth");
        netlink.ensure_vips(DUMMY, &vips(1)).await.unwrap();
        assert!(ipv6::is_disabled(DUMMY).unwrap(), "nobody needs it");
        netlink.ensure_vips(DUMMY, &vips6(1)).await.unwrap();
        assert!(on_dummy(&netlink).await.contains(&(vips6(1)[0], 128)));
        assert!(ipv6::is_disabled("left").unwrap());
        let error = ipv6::is_disabled("none").unwrap_err().to_string();
        assert!(error.contains("/proc/sys/net/ipv6/conf/none/disable_ipv6"), "{error}");
    });
}

/// Input: 10,000 VIPs, which are more than a socket has room for, and one with the last 24 bits of another.
/// Expected: the groups of all, and MLD reports (RFC 3810, section 5.2) that tell switches of them; and none when it
/// is over.
#[test]
fn the_solicited_node_groups_of_all_vips_are_joined_and_left() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut wire = Capture::of("right", EtherTypes::Ipv6);
        let groups = || {
            let list = ip("-6 maddr show dev left");
            let groups = list.split_whitespace().filter(|word| word.starts_with("ff02::1:ff00:"));
            groups.map(str::to_owned).collect::<HashSet<String>>()
        };
        let before = groups();
        let joined: HashSet<String> = (0..10_000).map(|host| format!("ff02::1:ff00:{host:x}")).collect();
        let same_group: IpAddr = "fd79::7".parse().unwrap();
        let vips = vips6(10_000).into_iter().chain([same_group]).filter_map(|vip| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some(vip),
        });
        let start = Instant::now();
        let member = SolicitedNodes::join(left.index, vips).unwrap();
        println!("joined in {:?}", start.elapsed());
        assert_eq!(groups(), before.union(&joined).cloned().collect());
        let reported: Ipv6Addr = "ff02::1:ff00:1f3".parse().unwrap();
        while !is_report_of(wire.next(), reported) {}
        let start = Instant::now();
        drop(member);
        println!("left in {:?}", start.elapsed());
        assert_eq!(groups(), before);
    });
}

/// Whether an IPv6 frame is an MLDv2 report (RFC 3810, section 5.2: ICMPv6 type 143) with this group in it. It has a
/// hop-by-hop option (RFC 3810, section 5).
fn is_report_of(frame: &[u8], group: Ipv6Addr) -> bool {
    const ICMP: usize = 14 + 40 + 8;
    frame.get(20) == Some(&0)
        && frame.get(ICMP) == Some(&143)
        && frame.windows(16).any(|window| window == group.octets())
}

#[test]
fn vips_bring_no_prefix_route_and_no_arp() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        netlink.ensure_vips(DUMMY, &vips(2)).await.unwrap();
        assert_eq!(ip("route show table main"), "");
        assert!(ip(&format!("link show {DUMMY}")).contains("NOARP,UP"));
    });
}

#[test]
fn a_vip_that_is_deleted_is_noticed_and_put_back() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap();
        let index = netlink.interface(DUMMY).await.unwrap().unwrap().index;
        wait_for(&mut changes, |change| *change == Change::Address { index }).await;

        ip(&format!("addr del {}/32 dev {DUMMY}", vips(3)[1]));
        wait_for(&mut changes, |change| *change == Change::Address { index }).await;
        let repair = netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap();
        assert_eq!(repair, Repair { added: vec![vips(3)[1]], ..Repair::default() });
    });
}

#[test]
fn a_dummy_that_is_set_down_or_deleted_is_noticed_and_put_right() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        netlink.ensure_vips(DUMMY, &vips(2)).await.unwrap();

        ip(&format!("link set {DUMMY} arp on down"));
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Link { name, up: false, .. } if name == DUMMY),
        )
        .await;
        let repair = netlink.ensure_vips(DUMMY, &vips(2)).await.unwrap();
        assert_eq!(repair, Repair { raised: true, ..Repair::default() });
        assert!(ip(&format!("link show {DUMMY}")).contains("NOARP,UP"));

        ip(&format!("link del {DUMMY}"));
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Link { name, gone: true, .. } if name == DUMMY),
        )
        .await;
        let repair = netlink.ensure_vips(DUMMY, &vips(2)).await.unwrap();
        assert_eq!(repair, Repair { created: true, added: vips(2), ..Repair::default() });
    });
}

#[test]
fn a_link_of_another_kind_is_never_touched() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        ip(&format!("link add {DUMMY} type bridge"));
        ip(&format!("addr add 192.0.2.1/24 dev {DUMMY}"));
        let before = ip(&format!("addr show {DUMMY}"));

        let foreign = |error: NetlinkError| matches!(&error, NetlinkError::ForeignLink { kind, .. } if kind == "bridge");
        assert!(foreign(netlink.ensure_vips(DUMMY, &vips(1)).await.unwrap_err()));
        assert!(foreign(netlink.remove_dummy(DUMMY).await.unwrap_err()));
        assert_eq!(ip(&format!("addr show {DUMMY}")), before);
    });
}

/// For each address of a link that is up, the kernel looks through all its routes over links of that number.
#[test]
fn a_new_dummy_has_its_addresses_before_it_is_up() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap();
        let index = netlink.interface(DUMMY).await.unwrap().unwrap().index;
        let address = Change::Address { index };
        let is_up = |change: &Change| matches!(change, Change::Link { name, up: true, .. } if name == DUMMY);
        assert_eq!(wait_for(&mut changes, |change| *change == address || is_up(change)).await, address);
        wait_for(&mut changes, is_up).await;
    });
}

/// One after the other, since the kernel changes addresses under one lock.
#[test]
fn ten_thousand_vips_of_either_family_are_added_and_checked_and_removed() {
    add_check_and_remove(vips(10_000));
    add_check_and_remove(vips6(10_000));
}

fn add_check_and_remove(vips: Vec<IpAddr>) {
    in_namespace(async move || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        let start = Instant::now();
        assert_eq!(netlink.ensure_vips(DUMMY, &vips).await.unwrap().added, vips);
        let added = start.elapsed();
        assert!(netlink.ensure_vips(DUMMY, &vips).await.unwrap().is_empty());
        let checked = start.elapsed() - added;
        // Input: 10,000 notifications that nobody has read. Expected: they overran the socket, and it says so.
        wait_for(&mut changes, |change| *change == Change::Resync).await;
        netlink.remove_dummy(DUMMY).await.unwrap();
        println!(
            "added in {added:?}, checked in {checked:?}, removed in {:?}",
            start.elapsed() - added - checked
        );
    });
}

/// Input: tasks that each ask for all neighbours, one a turn of the scheduler after the other: so that some ask when the kernel has
/// begun to answer another one and nobody has read that yet. Expected: the kernel, which answers one such question of a socket at a
/// time, refuses none of them.
#[test]
fn several_tasks_may_ask_for_all_that_there_is_at_once() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        cable(&netlink).await;
        // Nothing is not answered in two parts.
        ip("neigh add 10.77.0.2 dev left lladdr 02:00:00:00:00:02 nud permanent");
        let ask = |turns: u32| {
            let netlink = netlink.clone();
            tokio::spawn(async move {
                for _ in 0..turns {
                    a_turn().await;
                }
                netlink.forget_unresolved(1).await
            })
        };
        for asked in (0..8).map(ask).collect::<Vec<_>>() {
            asked.await.unwrap().unwrap();
        }
    });
}

/// Lets the tasks that are ready go first, and nothing more: tokio's own `yield_now` looks for what has arrived as well.
async fn a_turn() {
    let mut has_waited = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn removing_an_absent_dummy_is_no_error() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        netlink.remove_dummy(DUMMY).await.unwrap();
        netlink.ensure_vips(DUMMY, &vips(1)).await.unwrap();
        netlink.remove_dummy(DUMMY).await.unwrap();
        assert_eq!(netlink.interface(DUMMY).await.unwrap(), None);
    });
}

#[test]
fn neighbours_that_were_asked_for_in_vain_are_forgotten_and_others_are_not() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        ip("link add other type veth peer name far");
        ip("neigh add 10.77.0.2 dev left nud incomplete");
        ip("neigh add 10.77.0.3 dev left nud failed");
        ip("neigh add 10.77.0.4 dev left lladdr 02:00:00:00:00:04 nud reachable");
        ip("neigh add 10.77.0.5 dev other nud failed");
        ip("neigh add fd77::2 dev left nud failed");
        ip("neigh add fd77::4 dev left lladdr 02:00:00:00:00:04 nud permanent");
        netlink.forget_unresolved(left.index).await.unwrap();
        assert_eq!(ip("-4 neigh show dev left"), "10.77.0.4 lladdr 02:00:00:00:00:04 REACHABLE \n");
        assert_eq!(ip("-6 neigh show dev left"), "fd77::4 lladdr 02:00:00:00:00:04 PERMANENT \n");
        assert!(ip("neigh show dev other nud all").contains("10.77.0.5"));
    });
}

#[test]
fn an_interface_is_described_as_it_is() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        ip("addr add 10.77.0.1/24 dev left");
        ip("addr add 10.77.0.2/24 dev left");
        ip("addr add fd77::1/64 dev left nodad");
        ip("link set right down");
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Link { name, up: true, carrier: false, .. } if name == "left"),
        )
        .await;

        let now = netlink.interface("left").await.unwrap().unwrap();
        let configured = ["10.77.0.1/24", "10.77.0.2/24", "fd77::1/64"];
        let shown = now.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}"));
        let shown: Vec<String> = shown.filter(|shown| !shown.starts_with("fe80::")).collect();
        assert_eq!(shown, configured);
        assert_eq!(now, Interface { addresses: now.addresses.clone(), carrier: false, ..left });
        assert_eq!(now.first_ipv4(), Some(Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!((now.mac, now.up), ([2, 0, 0, 0, 0, 1], true));
        for name in ["", "none", "longer-than-any-interface"] {
            assert_eq!(netlink.interface(name).await.unwrap(), None);
        }
        assert!(matches!(netlink.interface("lo").await, Err(NetlinkError::NotEthernet { .. })));
    });
}

#[test]
fn a_port_that_leaves_a_bridge_is_not_gone() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        cable(&netlink).await;
        ip("link add bridge type bridge");
        ip("link set left master bridge");
        ip("link set left nomaster");
        ip("link del bridge");
        let gone = |change: &Change| matches!(change, Change::Link { gone: true, .. });
        let first = wait_for(&mut changes, gone).await;
        assert!(matches!(&first, Change::Link { name, .. } if name == "bridge"), "{first:?}");
    });
}

#[test]
fn a_vip_on_another_link_is_reported() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        cable(&netlink).await;
        netlink.ensure_vips(DUMMY, &vips(3)).await.unwrap();
        assert_eq!(netlink.foreign_owners(&vips(3), DUMMY).await.unwrap(), []);
        ip(&format!("addr add {}/24 dev left", vips(3)[2]));
        let expected = vec![(vips(3)[2], "left".to_owned())];
        assert_eq!(netlink.foreign_owners(&vips(3), DUMMY).await.unwrap(), expected);
    });
}

#[test]
fn arp_sysctls_are_set_and_restored() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0.42 type veth");
        set_arp("eth0.42", "0", "1");
        let sysctls = ArpSysctls::apply("eth0.42", &saved.file).unwrap();
        assert_eq!(arp("eth0.42"), ("1".into(), "2".into()));
        sysctls.restore().unwrap();
        assert_eq!(arp("eth0.42"), ("0".into(), "1".into()));
        assert!(!saved.file.exists());
    });
}

#[test]
fn arp_sysctls_of_a_killed_run_are_restored_by_the_next() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0 type veth");
        set_arp("eth0", "0", "0");
        drop(ArpSysctls::apply("eth0", &saved.file).unwrap());
        let next = ArpSysctls::apply("eth0", &saved.file).unwrap();
        assert_eq!(arp("eth0"), ("1".into(), "2".into()));
        next.restore().unwrap();
        assert_eq!(arp("eth0"), ("0".into(), "0".into()));
    });
}

#[test]
fn a_damaged_or_foreign_file_of_arp_sysctls_is_replaced() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0 type veth");
        for content in
            ["", "{\"iface\":\"eth0\",\"arp_ig", "{\"iface\":\"eth1\",\"arp_ignore\":7,\"arp_announce\":1}"]
        {
            set_arp("eth0", "0", "1");
            fs::write(&saved.file, content).unwrap();
            ArpSysctls::apply("eth0", &saved.file).unwrap().restore().unwrap();
            assert_eq!(arp("eth0"), ("0".into(), "1".into()));
        }
    });
}

#[test]
fn stricter_arp_sysctls_and_those_changed_meanwhile_are_kept() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0 type veth");
        set_arp("eth0", "2", "0");
        let sysctls = ArpSysctls::apply("eth0", &saved.file).unwrap();
        assert_eq!(arp("eth0"), ("2".into(), "2".into()));
        set_arp("eth0", "8", "2");
        sysctls.restore().unwrap();
        assert_eq!(arp("eth0"), ("8".into(), "0".into()));
    });
}

#[test]
fn arp_sysctls_that_cannot_work_are_refused_and_leave_nothing() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0 type veth");
        set_arp("all", "3", "0");
        set_arp("eth0", "0", "0");
        let error = ArpSysctls::apply("eth0", &saved.file).unwrap_err();
        assert!(error.to_string().contains("conf.all.arp_ignore is 3"), "{error}");
        assert!(ArpSysctls::apply("none", &saved.file).is_err());
        assert_eq!(arp("eth0"), ("0".into(), "0".into()));
        assert!(!saved.file.exists());
    });
}

#[test]
fn arp_sysctls_of_a_vanished_interface_need_no_restoring() {
    in_namespace(async || {
        let saved = Scratch::new();
        ip("link add eth0 type veth");
        let sysctls = ArpSysctls::apply("eth0", &saved.file).unwrap();
        ip("link del eth0");
        sysctls.restore().unwrap();
        assert!(!saved.file.exists());
    });
}

/// Input: one VIP, promoted. Expected: both forms, at each of the four points.
#[test]
fn announcements_have_both_forms_byte_for_byte() {
    #[rustfmt::skip]
    let request = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // RFC 894: destination, broadcast
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // source
        0x08, 0x06,                         // EtherType ARP
        0x00, 0x01,                         // RFC 826: hardware type Ethernet
        0x08, 0x00,                         // protocol type IPv4
        0x06, 0x04,                         // lengths of the addresses
        0x00, 0x01,                         // operation: request
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // RFC 5227 2.3: sender hardware address, own
        0x0a, 0x4e, 0x00, 0x00,             // sender protocol address, the VIP 10.78.0.0
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // target hardware address, zero
        0x0a, 0x4e, 0x00, 0x00,             // target protocol address, the VIP
    ];
    let mut reply = request;
    reply[21] = 2; // operation: reply
    reply[32..38].copy_from_slice(&[0x02, 0x00, 0x00, 0x00, 0x00, 0x01]); // RFC 5944 4.6: own
    in_namespace(async move || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut capture = Capture::start("right");
        let announcer = Announcer::spawn(&left, vec![group(1, 1)], |_| true).unwrap();
        announcer.promoted(1);
        for _ in 0..4 {
            assert_eq!(capture.next(), request);
            assert_eq!(capture.next(), reply);
        }
        assert_eq!(announcer.failures(), 0);
    });
}

/// Input: one IPv6 VIP, promoted. Expected: the advertisement of RFC 4861, sections 4.4 and 7.2.6, at each of the
/// four points.
#[test]
fn advertisements_of_ipv6_vips_are_right_byte_for_byte() {
    #[rustfmt::skip]
    let advertisement = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, // RFC 2464, section 7: destination, the group of all nodes
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // source
        0x86, 0xdd,                         // EtherType IPv6
        0x60, 0x00, 0x00, 0x00,             // RFC 8200, section 3: version 6, no class, no flow
        0x00, 0x20, 0x3a, 0xff,             // 32 bytes of ICMPv6, hop limit 255
        0xfd, 0x78, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, // source, the VIP
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, // destination, all nodes
        0x88, 0x00, 0xd9, 0xac,             // RFC 4861, section 4.4: type, code, checksum
        0xa0, 0x00, 0x00, 0x00,             // router, not solicited, override
        0xfd, 0x78, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, // target, the VIP
        0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // section 4.6.1: its MAC address
    ];
    in_namespace(async move || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut capture = Capture::of("right", EtherTypes::Ipv6);
        let group = GroupVips { slot: 1, vips: vips6(1), virtual_mac: None, router: true };
        let announcer = Announcer::spawn(&left, vec![group], |_| true).unwrap();
        announcer.promoted(1);
        for _ in 0..4 {
            // In between, the kernel joins groups and looks for routers.
            let frame = loop {
                let frame = capture.next();
                if frame[54] == advertisement[54] {
                    break frame;
                }
            };
            assert_eq!(frame, advertisement);
        }
    });
}

#[test]
fn every_vip_of_a_large_group_is_announced() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut capture = Capture::start("right");
        let announcer = Announcer::spawn(&left, vec![group(1, 2_000)], |_| true).unwrap();
        announcer.promoted(1);
        let mut silent: HashSet<(u8, IpAddr)> =
            vips(2_000).into_iter().flat_map(|vip| [(1, vip), (2, vip)]).collect();
        while !silent.is_empty() {
            let frame = capture.next();
            silent.remove(&(frame[21], vip_of(frame)));
        }
    });
}

/// Input: a large group loses its lease in the middle of a round; a small group that is held is promoted after it.
/// Expected: from the small group's first frame to its last point, nothing of the large one.
#[test]
fn announcements_stop_when_the_lease_is_not_held() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut capture = Capture::start("right");
        let held = Arc::new(AtomicBool::new(true));
        let lease = Arc::clone(&held);
        let small = GroupVips {
            slot: 2,
            vips: vec![Ipv4Addr::new(192, 0, 2, 2).into()],
            virtual_mac: None,
            router: false,
        };
        let held_now = move |slot| slot == 2 || lease.load(Ordering::SeqCst);
        let announcer = Announcer::spawn(&left, vec![group(1, 10_000), small.clone()], held_now).unwrap();
        announcer.promoted(1);
        capture.next();
        held.store(false, Ordering::SeqCst);
        announcer.promoted(2);
        while vip_of(capture.next()) != small.vips[0] {}
        for _ in 1..8 {
            assert_eq!(vip_of(capture.next()), small.vips[0]);
        }
    });
}

#[test]
fn a_demoted_group_is_silent_while_others_go_on() {
    in_namespace(async || {
        let (netlink, _changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let mut capture = Capture::start("right");
        let other = GroupVips {
            slot: 2,
            vips: vec![Ipv4Addr::new(192, 0, 2, 2).into()],
            virtual_mac: None,
            router: false,
        };
        let announcer = Announcer::spawn(&left, vec![group(1, 1), other.clone()], |_| true).unwrap();
        announcer.promoted(1);
        assert_eq!(vip_of(capture.next()), vips(1)[0]);
        announcer.demoted(1);
        announcer.promoted(2);
        while vip_of(capture.next()) != other.vips[0] {}
        for _ in 1..8 {
            assert_eq!(vip_of(capture.next()), other.vips[0]);
        }
    });
}

#[test]
fn announcements_go_on_after_the_interface_was_down() {
    in_namespace(async || {
        let (netlink, mut changes) = Netlink::open().unwrap();
        let left = cable(&netlink).await;
        let announcer = Announcer::spawn(&left, vec![group(1, 1)], |_| true).unwrap();
        ip("link set left down");
        announcer.promoted(1);
        let deadline = Instant::now() + PATIENCE;
        while announcer.failures() == 0 {
            assert!(Instant::now() < deadline, "a failure to send is not counted");
            thread::yield_now();
        }
        ip("link set left up");
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Link { name, carrier: true, .. } if name == "left"),
        )
        .await;
        let mut capture = Capture::start("right");
        announcer.promoted(1);
        assert_eq!(vip_of(capture.next()), vips(1)[0]);
    });
}

/// Runs a test on a thread of its own in a fresh network namespace, with a tokio runtime.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    assert!(Uid::effective().is_root(), "needs root: these tests make network namespaces");
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    };
    if let Err(panic) = thread::spawn(body).join() {
        resume_unwind(panic);
    }
}

/// Runs `ip`, which inherits this thread's namespace, and gives its output.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("running ip");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A veth pair, "left" and "right", both up.
async fn cable(netlink: &Netlink) -> Interface {
    ip(&format!("link add left address {MAC} type veth peer name right"));
    ip("link set left up");
    ip("link set right up");
    let left = netlink.interface("left").await.unwrap().unwrap();
    assert!(left.up && left.carrier);
    left
}

/// The first so many of 10.78.0.0/16.
fn vips(count: u32) -> Vec<IpAddr> {
    (0..count).map(|host| Ipv4Addr::from_bits(0x0a4e_0000 + host).into()).collect()
}

/// The first so many of fd78::/96; after 2^16 of them, their last 24 bits are others.
fn vips6(count: u32) -> Vec<IpAddr> {
    (0..count).map(|host| Ipv6Addr::from_bits(0xfd78 << 112 | u128::from(host)).into()).collect()
}

fn group(slot: u32, count: u32) -> GroupVips {
    GroupVips { slot, vips: vips(count), virtual_mac: None, router: false }
}

/// All addresses on the dummy but the one that the kernel gives it.
async fn on_dummy(netlink: &Netlink) -> Vec<(IpAddr, u8)> {
    let mut addresses = netlink.interface(DUMMY).await.unwrap().unwrap().addresses;
    addresses.retain(|(address, _)| !address.to_string().starts_with("fe80::"));
    addresses
}

async fn wait_for(changes: &mut Changes, wanted: impl Fn(&Change) -> bool) -> Change {
    let search = async {
        loop {
            let change = changes.next().await.unwrap();
            if wanted(&change) {
                return change;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the change is not reported")
}

fn arp(iface: &str) -> (String, String) {
    let read =
        |key| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{iface}/{key}")).unwrap().trim().to_owned();
    (read("arp_ignore"), read("arp_announce"))
}

fn set_arp(iface: &str, ignore: &str, announce: &str) {
    fs::write(format!("/proc/sys/net/ipv4/conf/{iface}/arp_ignore"), ignore).unwrap();
    fs::write(format!("/proc/sys/net/ipv4/conf/{iface}/arp_announce"), announce).unwrap();
}

/// A place for the saved sysctls, removed with what is in it.
struct Scratch {
    directory: PathBuf,
    file: PathBuf,
}

impl Scratch {
    fn new() -> Scratch {
        let name = format!("vip-netlink-test-{}-{:?}", std::process::id(), thread::current().id());
        let directory = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        fs::create_dir_all(&directory).unwrap();
        Scratch { file: directory.join("arp.json"), directory }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Receives the frames of one kind, ARP by default, that arrive on an interface.
struct Capture {
    receiver: Box<dyn DataLinkReceiver>,
}

impl Capture {
    fn start(iface: &str) -> Capture {
        Self::of(iface, EtherTypes::Arp)
    }

    fn of(iface: &str, ethertype: EtherType) -> Capture {
        let interfaces = datalink::interfaces();
        let interface = interfaces.iter().find(|interface| interface.name == iface).expect("the other end");
        // Room for every frame of a test, so that a busy machine loses none.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        let config = datalink::Config {
            channel_type: ChannelType::Layer3(ethertype.0),
            read_timeout: Some(PATIENCE),
            socket_fd: Some(socket.into_raw_fd()),
            ..datalink::Config::default()
        };
        match datalink::channel(interface, config).unwrap() {
            Channel::Ethernet(_, receiver) => Capture { receiver },
            _ => panic!("not an Ethernet channel"),
        }
    }

    fn next(&mut self) -> &[u8] {
        self.receiver.next().expect("no frame arrives")
    }
}

/// The sender protocol address of an ARP frame.
fn vip_of(frame: &[u8]) -> IpAddr {
    Ipv4Addr::new(frame[28], frame[29], frame[30], frame[31]).into()
}
