//! Notifications about links and addresses: of the kernel, but of any version of it, with attributes that nobody has seen.
//!
//! Promised: each message tells one change at most, and a datagram that cannot be read to its end counts as lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vip_user::netlink::{Change, changes_in};

/// netlink(7): the header of each message.
const HEADER: usize = 16;

fuzz_target!(|datagram: &[u8]| {
    let changes = changes_in(datagram);
    assert!(changes.len() <= datagram.len().div_ceil(HEADER), "{changes:?}");
    if !datagram.is_empty() && datagram.len() < HEADER {
        assert_eq!(changes, [Change::Resync]);
    }
});
