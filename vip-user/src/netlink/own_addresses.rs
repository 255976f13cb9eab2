//! VIPs as addresses of the interface itself, for a node without XDP: each as a /32 or /128, which brings no
//! prefix route and is in no subnet of the interface's own addresses.

use std::collections::HashSet;
use std::net::IpAddr;

use futures_util::{StreamExt as _, stream};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};

use super::address::{host_prefix, local};
use super::{Netlink, Result, all_done, ask};

impl Netlink {
    /// Makes these addresses of the interface; again is no error. Those of IPv6 are used at once, without
    /// looking for duplicates.
    ///
    /// # Errors
    /// The first failure, after all were tried.
    pub async fn put_on(&self, iface: &str, index: u32, vips: &[IpAddr]) -> Result<()> {
        self.add_addresses(iface, index, vips).await
    }

    /// Takes these addresses off the interface, those that [`Self::put_on`] has made alone; none there is no
    /// error.
    ///
    /// # Errors
    /// The first failure, after all were tried.
    pub async fn take_off(&self, iface: &str, index: u32, vips: &[IpAddr]) -> Result<()> {
        let requests = stream::iter(vips).map(|vip| {
            let request = self.handle.address().del(host_address(index, *vip)).execute();
            ask(request, libc::EADDRNOTAVAIL, move || format!("removing {vip} from {iface}"))
        });
        all_done(requests).await
    }

    /// Those of `vips` that are no addresses of the interface.
    ///
    /// # Errors
    /// The exchange with the kernel failed.
    pub async fn missing(&self, index: u32, vips: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let present: HashSet<IpAddr> = self.addresses(index).await?.iter().filter_map(local).collect();
        Ok(vips.iter().copied().filter(|vip| !present.contains(vip)).collect())
    }
}

fn host_address(index: u32, vip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if vip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = host_prefix(&vip);
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(vip));
    message.attributes.push(AddressAttribute::Address(vip));
    message
}
