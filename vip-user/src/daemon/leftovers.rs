//! Addresses that a former run without XDP has left on the interface, where nothing fences them.

use tracing::warn;

use super::start::{netlink_failure, refused};
use crate::exit::Failure;
use crate::netlink::{Interface, Netlink};
use crate::userplane::record::Record;

/// Takes them off; says whether there may have been any.
///
/// # Errors
/// They may still be there.
pub(super) async fn take_off(
    record: &Record,
    netlink: &Netlink,
    interface: &Interface,
) -> Result<bool, Failure> {
    let vips = record.read().map_err(refused)?;
    if vips.is_empty() {
        return Ok(false);
    }
    let Interface { name, index, .. } = interface;
    let left =
        vips.iter().filter(|vip| interface.addresses.iter().any(|(address, _)| address == *vip)).count();
    if left > 0 {
        warn!("a former run without XDP has left {left} VIPs on {name}; taken off");
    }
    netlink.take_off(name, *index, &vips).await.map_err(netlink_failure)?;
    record.remove().map_err(refused)?;
    Ok(true)
}
