//! Packets of VRRP, as anybody on the segment can send them; the first byte chooses how one came.
//!
//! Promised: what is read is written as the same again, and in it, everything is in the protocol's ranges; once its checksum is
//! right, what a header's check lets by is read, and nothing else.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use vip_common::checksum::Sum;
use vip_common::vrrp::{
    Addresses, Advert, Arrival, GROUP_IPV4, GROUP_IPV6, Invalid, MAX_LEN, Path, TTL, parse,
};

fuzz_target!(|input: &[u8]| {
    let Some((first, packet)) = input.split_first() else { return };
    let (arrival, message) = match first % 3 {
        0 => match Arrival::of_ipv4(packet) {
            Ok(arrived) => arrived,
            Err(invalid) => return assert_eq!(invalid, Invalid::Length),
        },
        1 => (Arrival { path: to_group(), ttl: TTL }, packet),
        _ => (Arrival { path: to_group6(), ttl: TTL }, packet),
    };
    if let Ok(advert) = parse(&arrival, message) {
        is_read_again(&arrival, &advert);
    }
    let mut message = message.to_vec();
    if message.len() < 8 || !message.len().is_multiple_of(4) {
        return;
    }
    sum_up(&arrival.path, &mut message);
    match parse(&arrival, &message) {
        Ok(advert) => is_read_again(&arrival, &advert),
        Err(invalid) => assert_ne!(invalid, Invalid::Checksum, "{message:02x?}"),
    }
});

/// What is written has none of the bits that mean nothing, and is read as the same.
fn is_read_again(arrival: &Arrival, advert: &Advert<'_>) {
    let count = match advert.addresses() {
        Addresses::V4(list) => list.get().len(),
        Addresses::V6(list) => list.get().len(),
    };
    assert!((1..=255).contains(&count) && !advert.interval().is_zero());
    let mut buffer = [0; MAX_LEN];
    let written = advert.write(&arrival.path, &mut buffer).expect("an advert of the same family");
    assert_eq!(parse(arrival, written), Ok(*advert));
}

fn to_group() -> Path {
    Path::V4 { source: Ipv4Addr::new(10, 9, 0, 1), destination: GROUP_IPV4 }
}

fn to_group6() -> Path {
    Path::V6 { source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), destination: GROUP_IPV6 }
}

/// Makes the checksum right; by IPv4 that of the message alone, which is right in both versions.
fn sum_up(path: &Path, message: &mut [u8]) {
    message[6..8].fill(0);
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let sum = match path {
        Path::V4 { .. } => Sum::default(),
        Path::V6 { source, destination } => {
            let sum = Sum::of_pseudo_header(vip_common::vrrp::PROTOCOL, len);
            sum.and(&source.octets()).and(&destination.octets())
        }
    };
    let (pairs, _) = message.as_chunks::<4>();
    let sum = pairs.iter().fold(sum, |sum, pair| sum.and(pair));
    message[6..8].copy_from_slice(&sum.checksum().to_ne_bytes());
}
