extern crate std;
use super::*;
use std::format;
use std::vec::Vec;

const VRID: Vrid = Vrid::new(51).unwrap();

fn to_group(a: u8, b: u8, c: u8, d: u8) -> Arrival {
    let path = Path::V4 { source: Ipv4Addr::new(a, b, c, d), destination: GROUP_IPV4 };
    Arrival { path, ttl: TTL }
}

fn to_group6(source: Ipv6Addr) -> Arrival {
    Arrival { path: Path::V6 { source, destination: GROUP_IPV6 }, ttl: TTL }
}

fn written(advert: &Advert<'_>, path: &Path) -> Vec<u8> {
    advert.write(path, &mut [0; MAX_LEN]).unwrap().to_vec()
}

fn centiseconds(number: u16) -> Centiseconds {
    Centiseconds::new(number).unwrap()
}

/// One of each version and family, its addresses being those of the captures below.
fn adverts() -> [(Advert<'static>, Path); 4] {
    let seconds = NonZeroU8::new(1).unwrap();
    let list = |addresses| List::new(addresses).unwrap();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5819, 0x2bff, 0xfea4, 0x7a9e);
    let v4 = to_group(10, 9, 0, 1).path;
    let vrid = |number| Vrid::new(number).unwrap();
    let v3 = Content::V3 {
        interval: centiseconds(10),
        addresses: Addresses::V4(list(&[[10, 9, 0, 100], [10, 9, 0, 101]])),
    };
    let v3_ipv6 = Content::V3 {
        interval: centiseconds(10),
        addresses: Addresses::V6(
            List::new(&[
                [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1],
                [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            ])
            .unwrap(),
        ),
    };
    let v2 = Content::V2 { interval: seconds, auth: Auth::None, addresses: list(&[[10, 9, 0, 103]]) };
    let v2_text = Content::V2 {
        interval: seconds,
        auth: Auth::Text(*b"secret\0\0"),
        addresses: list(&[[10, 9, 0, 104]]),
    };
    [
        (Advert { vrid: vrid(51), priority: 150, content: v3 }, v4),
        (Advert { vrid: vrid(53), priority: 152, content: v3_ipv6 }, to_group6(link_local).path),
        (Advert { vrid: vrid(54), priority: 153, content: v2 }, v4),
        (Advert { vrid: vrid(55), priority: 154, content: v2_text }, v4),
    ]
}

/// What keepalived 2.2.7 (Debian 12) sent for [`adverts`], as tcpdump wrote it down, without the IP headers.
const CAPTURED: [&[u8]; 4] = [
    &[0x31, 0x33, 0x96, 0x02, 0x00, 0x0a, 0x39, 0x48, 0x0a, 9, 0, 0x64, 0x0a, 9, 0, 0x65],
    &[
        0x31, 0x35, 0x98, 0x02, 0x00, 0x0a, 0x3e, 0xa3, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1,
        0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
    ],
    &[0x21, 0x36, 0x99, 0x01, 0x00, 0x01, 0x3b, 0x57, 0x0a, 9, 0, 0x67, 0, 0, 0, 0, 0, 0, 0, 0],
    &[
        0x21, 0x37, 0x9a, 0x01, 0x01, 0x01, 0xfd, 0x08, 0x0a, 9, 0, 0x68, b's', b'e', b'c', b'r', b'e', b't',
        0, 0,
    ],
];

#[test]
fn adverts_of_keepalived_are_read_and_written_bit_by_bit() {
    for ((advert, path), captured) in adverts().iter().zip(CAPTURED) {
        assert_eq!(parse(&Arrival { path: *path, ttl: TTL }, captured), Ok(*advert));
        assert_eq!(written(advert, path), captured);
    }
}

/// Input: what keepalived 2.2.7 sent to a peer by unicast, IP header and all.
#[test]
fn an_ipv4_packet_tells_how_the_advert_came() {
    let packet = [
        0x45, 0xc0, 0x00, 0x20, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xa6, 0x98, 0x0a, 9, 0, 1, 0x0a, 9, 0, 2,
        0x31, 0x34, 0x97, 0x01, 0x00, 0x0a, 0x18, 0xc0, 0x0a, 9, 0, 0x66,
    ];
    let (arrival, message) = Arrival::of_ipv4(&packet).unwrap();
    assert_eq!(arrival.path.source(), IpAddr::from([10, 9, 0, 1]));
    assert_eq!(arrival.path.destination(), IpAddr::from([10, 9, 0, 2]));
    let advert = parse(&arrival, message).unwrap();
    assert_eq!((advert.vrid.get(), advert.priority), (52, 151));
    assert_eq!(advert.interval(), Duration::from_millis(100));

    for len in 0..packet.len() {
        assert_eq!(Arrival::of_ipv4(&packet[..len]), Err(Invalid::Length), "cut to {len} bytes");
    }
    let mut short = packet;
    short[0] = 0x44;
    assert_eq!(Arrival::of_ipv4(&short), Err(Invalid::Length), "a header of 16 bytes");
}

/// RFC 9568, section 5.2: the layout, written down by hand; the checksum is that of section 5.2.8, without a pseudo-header,
/// which is 0xffff less the sum of the words 0x31ff, 0xc801, 0x0fff, 0xc000 and 0x0201.
#[test]
fn the_checksum_of_rfc_9568_over_ipv4_is_taken_as_well() {
    let message = [0x31, 0xff, 0xc8, 0x01, 0x0f, 0xff, 0x33, 0xfe, 0xc0, 0x00, 0x02, 0x01];
    let advert = parse(&to_group(192, 0, 2, 9), &message).unwrap();
    let addresses = Addresses::V4(List::new(&[[192, 0, 2, 1]]).unwrap());
    let content = Content::V3 { interval: centiseconds(4095), addresses };
    assert_eq!(advert, Advert { vrid: Vrid::new(255).unwrap(), priority: 200, content });
}

/// By IPv6, an advert whose checksum leaves the pseudo-header out is none, nor is one of version 2 that has it.
#[test]
fn other_checksums_are_taken_nowhere_else() {
    let [_, (ipv6, path6), (v2, path4), _] = adverts();
    for (advert, path, change) in [(ipv6, path6, false), (v2, path4, true)] {
        let mut message = written(&advert, &path);
        let own = path.pseudo_header(message.len());
        message[6..8].fill(0);
        let sum = if change { sum_of(&message).plus(own) } else { sum_of(&message) };
        message[6..8].copy_from_slice(&sum.checksum().to_ne_bytes());
        assert_eq!(parse(&Arrival { path, ttl: TTL }, &message), Err(Invalid::Checksum));
    }
}

#[test]
fn what_is_wrong_is_told() {
    let [(v3, path), _, (v2, _), _] = adverts();
    let (v3, v2) = (written(&v3, &path), written(&v2, &path));
    let ipv6 = to_group6(Ipv6Addr::LOCALHOST);
    let ipv4 = Arrival { path, ttl: TTL };
    let changed = |message: &[u8], at: usize, byte: u8| {
        let mut message = message.to_vec();
        message[at] = byte;
        message
    };
    let cases = [
        (Arrival { ttl: 254, ..ipv4 }, v3.clone(), Invalid::Ttl),
        (ipv4, changed(&v3, 0, 0x41), Invalid::Version),
        (ipv4, changed(&v3, 0, 0x11), Invalid::Version),
        (ipv6, v2.clone(), Invalid::Version),
        (ipv4, changed(&v3, 0, 0x32), Invalid::Kind),
        (ipv4, changed(&v3, 3, 0), Invalid::Count),
        (ipv4, changed(&v3, 3, 1), Invalid::Length),
        (ipv4, changed(&v3, 3, 3), Invalid::Length),
        (ipv4, changed(&v3, 5, 0), Invalid::Interval),
        (ipv4, changed(&v2, 5, 0), Invalid::Interval),
        (ipv4, changed(&v2, 4, 2), Invalid::Auth),
        (ipv4, changed(&v3, 7, 1), Invalid::Checksum),
        (ipv4, changed(&v2, 19, 1), Invalid::Checksum),
        (to_group(10, 9, 0, 9), v3.clone(), Invalid::Checksum),
    ];
    for (arrival, message, invalid) in cases {
        assert_eq!(parse(&arrival, &message), Err(invalid), "{message:02x?}");
        assert!(!format!("{invalid}").is_empty());
    }
    for message in [v3, v2] {
        for len in 0..message.len() {
            assert_eq!(parse(&ipv4, &message[..len]), Err(Invalid::Length), "cut to {len} bytes");
        }
        assert_eq!(parse(&ipv4, &[&message[..], &[0; 4]].concat()), Err(Invalid::Length));
    }
}

/// RFC 9568, section 5.2.6: on reception, the reserved bits are ignored. The checksum covers them.
#[test]
fn reserved_bits_mean_nothing() {
    let [(advert, path), ..] = adverts();
    let mut message = written(&advert, &path);
    message[4] |= 0xf0;
    message[6..8].fill(0);
    let sum = sum_of(&message).plus(path.pseudo_header(message.len()));
    message[6..8].copy_from_slice(&sum.checksum().to_ne_bytes());
    assert_eq!(parse(&Arrival { path, ttl: TTL }, &message), Ok(advert));
}

/// RFC 9568, section 5.2.3: 1 to 255.
#[test]
fn virtual_router_0_is_none() {
    let [(advert, path), ..] = adverts();
    let mut message = written(&advert, &path);
    let vrid = core::mem::take(&mut message[1]);
    // The byte goes where the reserved bits are, and the sum stays what it was: both are low bytes of their words.
    message[5] = message[5].checked_add(vrid).unwrap();
    assert_eq!(parse(&Arrival { path, ttl: TTL }, &message), Err(Invalid::Vrid));
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "the low bits of random numbers are as good")]
fn whatever_is_written_is_read_as_the_same() {
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32
    };
    for _ in 0..3000 {
        let v4: Vec<[u8; 4]> = (0..=random() % 255).map(|_| random().to_be_bytes()).collect();
        let v6: Vec<[u8; 16]> = (0..=random() % 255).map(|_| [random() as u8; 16]).collect();
        let (v4, v6) = (List::new(&v4).unwrap(), List::new(&v6).unwrap());
        let source = Ipv4Addr::from(random());
        let source6 = Ipv6Addr::new(0xfe80, 0, 0, 0, random() as u16, random() as u16, 3, 4);
        let v4_path = Path::V4 { source, destination: Ipv4Addr::from(random()) };
        let v6_path = Path::V6 { source: source6, destination: GROUP_IPV6 };
        let interval = centiseconds(1 + (random() % 4095) as u16);
        let seconds = NonZeroU8::new(1 + (random() % 255) as u8).unwrap();
        let auth = if random().is_multiple_of(2) { Auth::None } else { Auth::Text([random() as u8; 8]) };
        let contents = [
            (Content::V2 { interval: seconds, auth, addresses: v4 }, v4_path),
            (Content::V3 { interval, addresses: Addresses::V4(v4) }, v4_path),
            (Content::V3 { interval, addresses: Addresses::V6(v6) }, v6_path),
        ];
        for (content, path) in contents {
            let vrid = Vrid::new(1 + (random() % 255) as u8).unwrap();
            let advert = Advert { vrid, priority: random() as u8, content };
            let mut message = written(&advert, &path);
            let arrival = Arrival { path, ttl: TTL };
            assert_eq!(parse(&arrival, &message), Ok(advert));
            let bit = random() as usize % (message.len() * 8);
            message[bit / 8] ^= 1 << (bit % 8);
            // Nobody sums up to another number by one bit, but for what is behind a version that does not use it.
            assert_ne!(parse(&arrival, &message), Ok(advert), "bit {bit}");
        }
    }
}

#[test]
fn an_advert_goes_no_way_of_the_other_family() {
    let [(ipv4, path), (ipv6, path6), ..] = adverts();
    assert_eq!(ipv4.write(&path6, &mut [0; MAX_LEN]), None);
    assert_eq!(ipv6.write(&path, &mut [0; MAX_LEN]), None);
}

/// RFC 9568, section 7.3.
#[test]
fn virtual_macs_are_those_of_the_rfc() {
    assert_eq!(VRID.virtual_mac(Family::V4), [0, 0, 0x5e, 0, 1, 51]);
    assert_eq!(VRID.virtual_mac(Family::V6), [0, 0, 0x5e, 0, 2, 51]);
}

#[test]
fn what_must_not_be_sent_cannot_be_said() {
    assert_eq!(Vrid::new(0), None);
    assert_eq!((Centiseconds::new(0), Centiseconds::new(4096)), (None, None));
    assert_eq!(List::<4>::new(&[]), None);
    assert_eq!(List::new(&[[0; 16]; 256]), None);
    assert_eq!(format!("{:?}", Auth::Text(*b"secret\0\0")), "Text(..)");
}
