//! What netlink's messages about addresses say, and what those for VIPs have to say.

use std::net::IpAddr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};

/// The address that the message says is ours: beside `IFA_LOCAL`, `IFA_ADDRESS` is that of a peer. IPv6 addresses
/// without a peer have no `IFA_LOCAL`.
pub(super) fn local(message: &AddressMessage) -> Option<IpAddr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
    .or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Whether the message is about an address that the kernel gives every interface that has IPv6 (RFC 4291, section
/// 2.8).
pub(super) fn is_link_local(message: &AddressMessage) -> bool {
    matches!(local(message), Some(IpAddr::V6(address)) if address.is_unicast_link_local())
}

/// Whether the address may turn out to be another station's (RFC 4862, section 5.4).
pub(super) fn is_tentative(message: &AddressMessage) -> bool {
    let tentative = AddressFlags::Tentative | AddressFlags::Dadfailed;
    message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Flags(flags) => {
            flags.intersects(tentative) && !flags.contains(AddressFlags::Optimistic)
        }
        _ => false,
    })
}

/// Length of the prefix that is all of an address.
pub(super) fn host_prefix(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Makes a new IPv6 address one that other machines have as well: no duplicates are looked for (RFC 4862, section
/// 5.4), and it is deprecated (section 5.5.4), so that the kernel takes it for the source of nothing by itself as
/// long as there is another one.
pub(super) fn share(message: &mut AddressMessage) {
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_preferred = 0;
    lifetimes.ifa_valid = u32::MAX;
    message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
}
