//! The frames of a gratuitous ARP, ready to send.

use std::net::Ipv4Addr;

use pnet::packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations};
use pnet::packet::ethernet::EtherTypes;

/// Length of a frame in bytes: 14 of Ethernet and 28 of ARP. The driver pads it.
pub(super) const LENGTH: usize = 42;

/// Frames for each VIP: one in request form, one in reply form.
pub(super) const PER_VIP: usize = 2;

/// Lengths of a MAC address and of an IPv4 address in bytes.
const HARDWARE_LENGTH: u8 = 6;
const PROTOCOL_LENGTH: u8 = 4;

const BROADCAST: [u8; 6] = [0xff; 6];

/// The frames of a group one after the other, each [`LENGTH`] bytes: both forms of the first VIP, of the second, …
///
/// Hosts differ in the form they listen to. The request form is the ARP Announcement of RFC 5227 section 2.3, whose
/// target hardware address is zero (2.1.1); section 3 has the reasons for it. In the reply form that address is the
/// sender's own, as RFC 5944 section 4.6 has it: only then does Linux take a reply for gratuitous (`arp_is_garp` in
/// net/ipv4/arp.c), which lets it replace an entry at once. With a broadcast address there it would not.
pub(super) fn build(mac: [u8; 6], vips: &[Ipv4Addr]) -> Vec<u8> {
    let forms = [(ArpOperations::Request, [0; 6]), (ArpOperations::Reply, mac)];
    vips.iter()
        .flat_map(|vip| forms.iter().flat_map(|(operation, target)| frame(mac, *vip, *operation, *target)))
        .collect()
}

/// One frame; the order of the fields is that of RFC 894 and RFC 826 ("Packet format").
fn frame(mac: [u8; 6], vip: Ipv4Addr, operation: ArpOperation, target: [u8; 6]) -> Vec<u8> {
    let fields: [&[u8]; 11] = [
        &BROADCAST,
        &mac,
        &EtherTypes::Arp.0.to_be_bytes(),
        &ArpHardwareTypes::Ethernet.0.to_be_bytes(),
        &EtherTypes::Ipv4.0.to_be_bytes(),
        &[HARDWARE_LENGTH, PROTOCOL_LENGTH],
        &operation.0.to_be_bytes(),
        &mac,
        &vip.octets(),
        &target,
        &vip.octets(),
    ];
    fields.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vip_has_its_frames_in_both_forms() {
        let mac = [2, 0, 0, 0, 0, 1];
        let vips = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let frames = build(mac, &vips);
        assert_eq!(frames.len(), vips.len() * PER_VIP * LENGTH);
        for (frame, expected) in
            frames.chunks_exact(LENGTH).zip([(1, vips[0]), (2, vips[0]), (1, vips[1]), (2, vips[1])])
        {
            assert_eq!((frame[21], &frame[38..42]), (expected.0, expected.1.octets().as_slice()));
        }
    }
}
