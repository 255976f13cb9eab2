//! Neighbour discovery for VIPs (RFC 4861): answered by the holder, kept from everybody else's stack, and watched for
//! conflicts. The names of tests begin with the clause of RFC 4861 that they are about, where there is one.

use std::net::Ipv6Addr;
use std::thread::sleep;
use std::time::Duration;

use vip_common::maps::{CONFLICT_INTERVAL, Counter, EventKind};
use vip_user::dataplane::Action;

use super::frames::{
    ADVERTISEMENT, ALL_NODES, ETHERTYPE_IPV6, Host, Neighbour, OVERRIDE, PROTOCOL_ICMPV6, ROUTER, SOLICITED,
    ethernet, ipv6, link_layer, tagged,
};
use super::node::{
    CLIENT, LEASE, LOOPBACK, MAIL, MAIL_VIP6, MOMENT, NODE_HOST, Node, Outcome, Peer, WEB, WEB_VIP6, host,
    now,
};

/// A station that has no business with the VIP.
const STRANGER: Host = host(66);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// Where the message begins in a frame without VLAN tags.
const MESSAGE: usize = 14 + 40;

/// Input and Expected: RFC 4861, sections 4.3, 4.4 and 7.2.4, by hand. The client 02:77:00:00:00:c8, fd77::a4d:c8
/// asks for fd77::a4d:64, which the node 02:77:00:00:00:01 holds.
#[test]
fn s7_2_4_a_solicitation_for_a_held_vip_is_answered() {
    #[rustfmt::skip]
    let solicitation = [
        0x33, 0x33, 0xff, 0x4d, 0x00, 0x64,  0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  0x86, 0xdd,
        0x60, 0, 0, 0,  0, 32,  58,  255,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0xc8,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x4d, 0x00, 0x64,
        135, 0,  0x64, 0xf9,  0, 0, 0, 0,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
        1, 1,  0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,
    ];
    #[rustfmt::skip]
    let advertisement = [
        0x02, 0x77, 0x00, 0x00, 0x00, 0xc8,  0x02, 0x77, 0x00, 0x00, 0x00, 0x01,  0x86, 0xdd,
        0x60, 0, 0, 0,  0, 32,  58,  255,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0xc8,
        136, 0,  0xfa, 0x4c,  0x60, 0, 0, 0,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
        2, 1,  0x02, 0x77, 0x00, 0x00, 0x00, 0x01,
    ];
    let outcome = Node::holding().receives(&solicitation);
    assert_eq!(outcome, Outcome::sent(&advertisement, Counter::NdReply));
}

/// Input and Expected: RFC 4862, section 5.4.2, by hand. A station without an address, 02:77:00:00:00:42, asks if
/// anybody has fd77::a4d:64. The answer is longer than the question, and is for all nodes, unsolicited.
#[test]
fn s7_2_4_a_probe_for_a_held_vip_is_answered_to_all_nodes() {
    #[rustfmt::skip]
    let probe = [
        0x33, 0x33, 0xff, 0x4d, 0x00, 0x64,  0x02, 0x77, 0x00, 0x00, 0x00, 0x42,  0x86, 0xdd,
        0x60, 0, 0, 0,  0, 24,  58,  255,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x4d, 0x00, 0x64,
        135, 0,  0x71, 0xce,  0, 0, 0, 0,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
    ];
    #[rustfmt::skip]
    let advertisement = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01,  0x02, 0x77, 0x00, 0x00, 0x00, 0x01,  0x86, 0xdd,
        0x60, 0, 0, 0,  0, 32,  58,  255,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        136, 0,  0x43, 0xd6,  0x20, 0, 0, 0,
        0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x4d, 0x00, 0x64,
        2, 1,  0x02, 0x77, 0x00, 0x00, 0x00, 0x01,
    ];
    let mut node = Node::holding();
    assert_eq!(node.receives(&probe), Outcome::sent(&advertisement, Counter::NdReply));
    assert_conflict(&mut node);
}

/// Section 7.3.3: neighbours confirm an entry by solicitations to the address and MAC address that they know, with or
/// without an option.
#[test]
fn s7_2_4_a_unicast_solicitation_is_answered_as_well() {
    let node = Node::holding();
    for options in [vec![], link_layer(1, CLIENT.mac)] {
        let solicitation = Neighbour {
            destination: WEB_VIP6,
            options: &options,
            ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6)
        };
        let outcome = node.receives(&solicitation.frame(CLIENT.mac));
        assert_eq!(outcome, Outcome::sent(&answer_to(CLIENT), Counter::NdReply), "{options:?}");
    }
}

#[test]
fn s7_2_3_the_answer_goes_to_the_link_layer_address_that_the_solicitation_names() {
    let both = Both::new();
    both.answer(&solicitation(&link_layer(1, CLIENT.mac)).frame(STRANGER.mac));
}

#[test]
fn a_solicitation_for_a_vip_that_is_not_held_is_dropped() {
    let node = Node::new();
    let frame = solicitation(&[]).frame(CLIENT.mac);
    let fenced = || Outcome::dropped(&frame, Counter::NdFenced);
    assert_eq!(node.receives(&frame), fenced(), "never armed");
    node.plane.words.arm(WEB, MOMENT);
    assert_eq!(node.receives(&frame), fenced(), "the lease has run out");
    node.plane.words.arm(MAIL, now() + LEASE);
    assert_eq!(node.receives(&frame), fenced(), "another group is held");
    node.plane.words.arm(WEB, now() + LEASE);
    assert_eq!(node.receives(&frame).counter, Counter::NdReply, "armed");
    node.plane.words.disarm(WEB);
    assert_eq!(node.receives(&frame), fenced(), "disarmed");
}

#[test]
fn s4_4_the_router_flag_is_that_of_the_vip() {
    let node = Node::holding();
    node.plane.words.arm(MAIL, now() + LEASE);
    for (vip, router) in [(WEB_VIP6, 0), (MAIL_VIP6, ROUTER)] {
        let asked = |source| node.receives(&Neighbour::solicitation(source, vip).frame(CLIENT.mac)).frame;
        assert_eq!(flags(&asked(CLIENT.ip6())), router | SOLICITED | OVERRIDE);
        assert_eq!(flags(&asked(NOBODY)), router | OVERRIDE);
    }
}

#[test]
fn neighbour_discovery_that_does_not_concern_a_vip_passes() {
    let node = Node::holding();
    let frames = [
        Neighbour::solicitation(CLIENT.ip6(), NODE_HOST.ip6()),
        Neighbour::solicitation(NOBODY, STRANGER.ip6()),
        Neighbour::advertisement(STRANGER.ip6()),
        Neighbour { kind: 133, ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6) },
        Neighbour { kind: 134, ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6) },
        Neighbour { kind: 137, ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6) },
    ];
    for frame in frames.map(|message| message.frame(STRANGER.mac)) {
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
}

#[test]
fn s7_1_1_the_hop_limit_is_255() {
    let mut both = Both::new();
    for hop_limit in 0..=254 {
        both.refuse(&Neighbour { hop_limit, ..solicitation(&[]) }.frame(CLIENT.mac));
    }
}

#[test]
fn s7_1_1_the_code_is_0() {
    let mut both = Both::new();
    for code in 1..=255 {
        both.refuse(&Neighbour { code, ..solicitation(&[]) }.frame(CLIENT.mac));
    }
}

/// Input: every single bit that the checksum covers turned over, but for those that make it another message.
#[test]
fn s7_1_1_the_checksum_is_right() {
    let node = Node::holding();
    let frame = solicitation(&link_layer(1, CLIENT.mac)).frame(CLIENT.mac);
    let (kind, target) = (MESSAGE, MESSAGE + 8..MESSAGE + 24);
    let covered = 14 + 8..frame.len();
    for byte in covered.filter(|byte| *byte != kind && !target.contains(byte)) {
        for bit in 0..8 {
            let mut broken = frame.clone();
            broken[byte] ^= 1 << bit;
            let expected = Outcome::dropped(&broken, Counter::NdInvalid);
            assert_eq!(node.receives(&broken), expected, "byte {byte}, bit {bit}");
        }
    }
    // A target with a wrong bit is no VIP.
    for byte in target {
        let mut broken = frame.clone();
        broken[byte] ^= 0x80;
        assert_eq!(node.receives(&broken), Outcome::passed(&broken, Counter::Other));
    }
}

/// Input: all 65,536 checksums. Expected: one is right.
#[test]
fn s7_1_1_one_checksum_is_right() {
    let node = Node::holding();
    let mut frame = solicitation(&[]).frame(CLIENT.mac);
    let right = [frame[MESSAGE + 2], frame[MESSAGE + 3]];
    for checksum in (0..=u16::MAX).map(u16::to_be_bytes) {
        frame[MESSAGE + 2..MESSAGE + 4].copy_from_slice(&checksum);
        let (action, _) = node.run(&frame);
        let expected = if checksum == right { Action::Tx } else { Action::Drop };
        assert_eq!(action, expected, "{checksum:x?}");
    }
}

/// Input: every length but the right one in the IPv6 header, over a checksum that is right for it.
#[test]
fn s7_1_1_the_length_is_24_or_more_and_that_of_the_options() {
    let node = Node::holding();
    let options = link_layer(1, CLIENT.mac);
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &WEB_VIP6.octets(), &options].concat();
    let valid = [24, 32];
    for len in (0..message.len()).chain([33, 40, 255, 256, 0x7fff, 0xffff]).filter(|len| !valid.contains(len))
    {
        let mut frame = solicitation(&options).frame(CLIENT.mac);
        let group = solicitation(&[]).destination;
        let sum = pseudo_sum(CLIENT.ip6(), group, len, &message[..len.min(message.len())]);
        frame[MESSAGE + 2..MESSAGE + 4].copy_from_slice(&(!sum).to_be_bytes());
        frame[18..20].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::NdInvalid), "{len} bytes");
    }
}

#[test]
fn s7_1_1_every_option_has_a_length() {
    let mut both = Both::new();
    for empty in [[1, 0, 2, 0x77, 0, 0, 0, 0xc8], [0, 0, 0, 0, 0, 0, 0, 0], [14, 0, 1, 2, 3, 4, 5, 6]] {
        both.refuse(&solicitation(&empty).frame(CLIENT.mac));
        let second = [link_layer(1, CLIENT.mac), empty.to_vec()].concat();
        both.refuse(&solicitation(&second).frame(CLIENT.mac));
    }
}

/// Section 4.6: options end where the message does.
#[test]
fn s4_6_no_option_is_longer_than_what_is_left_of_the_message() {
    let mut both = Both::new();
    for len in 2..=255 {
        let too_long = [&link_layer(1, CLIENT.mac)[..], &[14, len, 1, 2, 3, 4, 5, 6]].concat();
        both.refuse(&solicitation(&too_long).frame(CLIENT.mac));
    }
}

/// RFC 2464, section 6: the option that names an Ethernet address is 8 bytes long.
#[test]
fn a_link_layer_address_that_is_none_of_ethernet_is_invalid() {
    let mut both = Both::new();
    let twice_as_long = [&[1, 2][..], &[0; 14]].concat();
    both.refuse(&solicitation(&twice_as_long).frame(CLIENT.mac));
}

#[test]
fn s7_1_1_a_station_without_an_address_asks_a_solicited_node_group() {
    let mut both = Both::new();
    for destination in [WEB_VIP6, ALL_NODES, NODE_HOST.ip6(), "ff02::2:ff4d:64".parse().unwrap(), NOBODY] {
        let probe = Neighbour { destination, ..Neighbour::solicitation(NOBODY, WEB_VIP6) };
        both.refuse(&probe.frame(STRANGER.mac));
    }
}

#[test]
fn s7_1_1_a_station_without_an_address_names_no_link_layer_address() {
    let mut both = Both::new();
    let options = link_layer(1, STRANGER.mac);
    both.refuse(
        &Neighbour { options: &options, ..Neighbour::solicitation(NOBODY, WEB_VIP6) }.frame(STRANGER.mac),
    );
    // A nonce (RFC 3971, section 5.3.2) is nothing of the kind.
    let options = [14, 1, 1, 2, 3, 4, 5, 6];
    let probe = Neighbour { options: &options, ..Neighbour::solicitation(NOBODY, WEB_VIP6) };
    assert_eq!(both.holder.receives(&probe.frame(STRANGER.mac)).counter, Counter::NdReply);
}

/// RFC 4291, section 2.7: no packet comes from a group.
#[test]
fn a_group_asks_nothing() {
    let mut both = Both::new();
    both.refuse(&Neighbour { source: ALL_NODES, ..solicitation(&[]) }.frame(CLIENT.mac));
}

#[test]
fn a_solicitation_of_another_ip_version_is_invalid() {
    let mut both = Both::new();
    for version in (0..16).filter(|version| *version != 6) {
        let mut frame = solicitation(&[]).frame(CLIENT.mac);
        frame[14] = version << 4;
        both.refuse(&frame);
    }
}

#[test]
fn s7_1_1_what_is_reserved_and_what_is_unknown_are_ignored() {
    let both = Both::new();
    both.answer(&Neighbour { flags: u32::MAX, ..solicitation(&[]) }.frame(CLIENT.mac));
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6].to_vec();
    let unknown = [&[253, 4][..], &[0xee; 30]].concat();
    let source = link_layer(1, CLIENT.mac);
    for options in [[&nonce[..], &source], [&source, &nonce], [&unknown, &source], [&source, &unknown]] {
        both.answer(&solicitation(&options.concat()).frame(STRANGER.mac));
    }
    for options in [&nonce, &unknown] {
        both.answer(&solicitation(options).frame(CLIENT.mac));
    }
}

/// The first one counts, as with Linux.
#[test]
fn a_second_link_layer_address_is_ignored() {
    let both = Both::new();
    let options = [link_layer(1, CLIENT.mac), link_layer(1, STRANGER.mac)].concat();
    both.answer(&solicitation(&options).frame(STRANGER.mac));
}

/// Expected: up to 64 bytes of options are read, in whatever pieces; what has more is not answered.
#[test]
fn long_options_are_read_up_to_a_bound() {
    let mut both = Both::new();
    for units in 1..=8_u8 {
        let one = [&[253, units][..], &vec![0x55; usize::from(units) * 8 - 2]].concat();
        both.answer(&solicitation(&one).frame(CLIENT.mac));
        both.answer(&solicitation(&[253, 1, 0, 0, 0, 0, 0, 9].repeat(units.into())).frame(CLIENT.mac));
    }
    both.refuse(&solicitation(&[253, 1, 0, 0, 0, 0, 0, 9].repeat(9)).frame(CLIENT.mac));
}

/// Expected: an answer without what lay behind the solicitation.
#[test]
fn padding_behind_a_solicitation_goes() {
    let both = Both::new();
    let frame = solicitation(&link_layer(1, CLIENT.mac)).frame(CLIENT.mac);
    both.answer(&[&frame[..], &[0xaa; 18]].concat());
}

#[test]
fn solicitations_are_answered_through_up_to_two_vlan_tags() {
    let (holding, other) = (Node::holding(), Node::new());
    let option = link_layer(1, CLIENT.mac);
    let (short, long) = (solicitation(&[]).frame(CLIENT.mac), solicitation(&option).frame(CLIENT.mac));
    for tags in [&[0x8100][..], &[0x88a8], &[0x8100, 0x8100], &[0x88a8, 0x8100], &[0x88a8, 0x88a8]] {
        for frame in [&short, &long].map(|frame| tagged(frame, tags)) {
            let answer = tagged(&answer_to(CLIENT), tags);
            assert_eq!(holding.receives(&frame), Outcome::sent(&answer, Counter::NdReply), "{tags:x?}");
            assert_eq!(other.receives(&frame), Outcome::dropped(&frame, Counter::NdFenced), "{tags:x?}");
        }
    }
    let frame = tagged(&short, &[0x88a8, 0x8100, 0x8100]);
    assert_eq!(holding.receives(&frame), Outcome::passed(&frame, Counter::Other));
}

/// Input: a solicitation behind an extension header. Expected: it is fenced by its destination.
#[test]
fn a_solicitation_behind_an_extension_header_is_a_packet_like_any_other() {
    let node = Node::new();
    for destination in [solicitation(&[]).destination, WEB_VIP6] {
        let message = &Neighbour { destination, ..solicitation(&[]) }.packet()[40..];
        for extension in [0, 43, 44, 60] {
            let payload = [&[PROTOCOL_ICMPV6, 0, 0, 0, 0, 0, 0, 0][..], message].concat();
            let packet = ipv6(CLIENT.ip6(), destination, extension, 255, &payload);
            let frame = ethernet(NODE_HOST.mac, CLIENT.mac, ETHERTYPE_IPV6, &packet);
            let expected = match destination {
                WEB_VIP6 => Outcome::dropped(&frame, Counter::VipFenced),
                _ => Outcome::passed(&frame, Counter::Other),
            };
            assert_eq!(node.receives(&frame), expected);
        }
    }
}

/// Without an entry in `INTERFACES` there is no address to answer with.
#[test]
fn an_interface_that_is_not_served_passes_solicitations() {
    let node = Node::alone();
    let frame = solicitation(&[]).frame(CLIENT.mac);
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    let unicast = Neighbour { destination: WEB_VIP6, ..solicitation(&[]) }.frame(CLIENT.mac);
    assert_eq!(node.receives(&unicast), Outcome::dropped(&unicast, Counter::VipFenced));
}

#[test]
fn a_probe_for_a_vip_that_is_not_held_passes_and_is_reported() {
    let mut node = Node::new();
    let probe = Neighbour::solicitation(NOBODY, WEB_VIP6).frame(STRANGER.mac);
    assert_eq!(node.receives(&probe), Outcome::passed(&probe, Counter::NdConflict));
    assert_conflict(&mut node);
}

/// Input: an advertisement to all, one to somebody who asked, and solicitations for something else and for the VIP
/// itself.
#[test]
fn any_use_of_a_vip_by_a_foreign_mac_passes_and_is_reported() {
    for message in claims() {
        for mut node in [Node::new(), Node::holding()] {
            let frame = message.frame(STRANGER.mac);
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::NdConflict), "{message:?}");
            assert_conflict(&mut node);
        }
    }
}

/// Input: what says that a stranger has the VIP, to the VIP itself.
#[test]
fn a_claim_that_is_addressed_to_the_vip_is_fenced_and_reported() {
    let claim = Neighbour { destination: WEB_VIP6, flags: SOLICITED, ..Neighbour::advertisement(WEB_VIP6) };
    let frame = claim.frame(STRANGER.mac);
    let mut node = Node::new();
    assert_eq!(node.receives(&frame), Outcome::dropped(&frame, Counter::VipFenced));
    assert_conflict(&mut node);
    let mut node = Node::holding();
    assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::NdConflict));
    assert_conflict(&mut node);
}

/// Section 7.1.2, and 7.1.1 for the solicitation of something else. Input: claims that are not valid.
#[test]
fn s7_1_2_what_is_not_valid_is_no_conflict() {
    let mut node = Node::new();
    for claim in claims().into_iter().filter(|claim| claim.kind == ADVERTISEMENT || claim.target != WEB_VIP6)
    {
        let invalid = [
            Neighbour { hop_limit: 64, ..claim },
            Neighbour { code: 1, ..claim },
            Neighbour { options: &[2, 0, 0, 0, 0, 0, 0, 0], ..claim },
            Neighbour { options: &[2, 1, 0, 0], ..claim },
        ];
        for frame in invalid.map(|message| message.frame(STRANGER.mac)) {
            assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other), "{frame:x?}");
        }
        let mut frame = claim.frame(STRANGER.mac);
        frame[MESSAGE + 3] ^= 1;
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
    let to_a_group = Neighbour { flags: SOLICITED, ..Neighbour::advertisement(WEB_VIP6) }.frame(STRANGER.mac);
    assert_eq!(node.receives(&to_a_group), Outcome::passed(&to_a_group, Counter::Other));
    let for_a_group = Neighbour::solicitation(WEB_VIP6, ALL_NODES).frame(STRANGER.mac);
    assert_eq!(node.receives(&for_a_group), Outcome::passed(&for_a_group, Counter::Other));
    assert!(node.events().is_empty());
}

#[test]
fn conflicts_are_reported_once_an_interval() {
    let mut node = Node::new();
    let claim = Neighbour::advertisement(WEB_VIP6).frame(STRANGER.mac);
    let start = now();
    for _ in 0..20 {
        assert_eq!(node.receives(&claim).counter, Counter::NdConflict);
    }
    let intervals = (now() - start) / CONFLICT_INTERVAL;
    let events = node.events().len() as u64;
    assert!((1..=intervals + 1).contains(&events), "{events} events in {intervals} whole intervals");
}

#[test]
fn the_holder_and_the_node_itself_announce_without_conflict() {
    let mut node = Node::new();
    let announcement = |by: Host| Neighbour::advertisement(WEB_VIP6).frame(by.mac);
    assert_eq!(node.receives(&announcement(host(2))).counter, Counter::NdConflict, "not the holder yet");
    assert_eq!(node.events().len(), 1);
    sleep(Duration::from_nanos(CONFLICT_INTERVAL + 1_000_000));

    node.answer(&Peer::new(2).propose(1, LEASE));
    for by in [host(2), NODE_HOST] {
        let frame = announcement(by);
        assert_eq!(node.receives(&frame), Outcome::passed(&frame, Counter::Other));
    }
    assert!(node.events().is_empty());
    assert_eq!(node.receives(&announcement(STRANGER)).counter, Counter::NdConflict);
    assert_conflict(&mut node);
}

/// The client asks for [`WEB_VIP6`].
fn solicitation(options: &[u8]) -> Neighbour<'_> {
    Neighbour { options, ..Neighbour::solicitation(CLIENT.ip6(), WEB_VIP6) }
}

/// A message each that says that its sender has [`WEB_VIP6`].
fn claims() -> [Neighbour<'static>; 4] {
    let announcement = Neighbour::advertisement(WEB_VIP6);
    [
        announcement,
        Neighbour { destination: CLIENT.ip6(), flags: SOLICITED | OVERRIDE, ..announcement },
        Neighbour::solicitation(WEB_VIP6, CLIENT.ip6()),
        Neighbour::solicitation(WEB_VIP6, WEB_VIP6),
    ]
}

/// The answer for this host, which has asked for [`WEB_VIP6`].
fn answer_to(asker: Host) -> Vec<u8> {
    let options = link_layer(2, NODE_HOST.mac);
    let answer = Neighbour {
        destination: asker.ip6(),
        flags: SOLICITED | OVERRIDE,
        options: &options,
        ..Neighbour::advertisement(WEB_VIP6)
    };
    let mut packet = answer.packet();
    // No class, and no flow.
    packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    ethernet(asker.mac, NODE_HOST.mac, ETHERTYPE_IPV6, &packet)
}

/// A node that holds [`WEB_VIP6`], and one that does not.
struct Both {
    holder: Node,
    other: Node,
}

impl Both {
    fn new() -> Self {
        Self { holder: Node::holding(), other: Node::new() }
    }

    /// The client is answered by the one, and not by the other.
    fn answer(&self, frame: &[u8]) {
        let answer = Outcome::sent(&answer_to(CLIENT), Counter::NdReply);
        assert_eq!(self.holder.receives(frame), answer, "{frame:x?}");
        assert_eq!(self.other.receives(frame), Outcome::dropped(frame, Counter::NdFenced), "{frame:x?}");
    }

    /// Neither answers it or reports it, or lets its stack see it.
    fn refuse(&mut self, frame: &[u8]) {
        for node in [&mut self.holder, &mut self.other] {
            assert_eq!(node.receives(frame), Outcome::dropped(frame, Counter::NdInvalid), "{frame:x?}");
            assert!(node.events().is_empty());
        }
    }
}

fn assert_conflict(node: &mut Node) {
    let event = node.event(EventKind::Conflict);
    let expected = (WEB, WEB_VIP6.octets(), STRANGER.mac, u64::from(LOOPBACK), 0);
    assert_eq!((event.slot, event.address, event.mac, event.value, event.node), expected);
}

/// Of an advertisement in a frame without VLAN tags.
fn flags(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[MESSAGE + 4..MESSAGE + 8].try_into().unwrap())
}

/// RFC 8200, section 8.1, for a packet that says that its payload is so long.
fn pseudo_sum(source: Ipv6Addr, destination: Ipv6Addr, len: usize, message: &[u8]) -> u16 {
    let len = u32::try_from(len).unwrap().to_be_bytes();
    let padding = [0; 40];
    let even = [message, &padding[..message.len() % 2]].concat();
    let all =
        [&source.octets()[..], &destination.octets(), &len, &[0, 0, 0, PROTOCOL_ICMPV6], &even].concat();
    super::frames::ones_complement_sum(&all)
}
