//! What the machine is like that the test bed runs on. It is an ordinary one, unless the environment says otherwise, as in
//! the virtual machines of `cargo xtask test --vm`.

use std::env;

/// When this is in the environment, the machine is emulated, and many times slower than others.
pub const EMULATED: &str = "VIP_TESTS_EMULATED";
/// The names of network cards on one segment, with spaces between them, that the client and the nodes get in place of
/// cables: the client the first, node k the k-th after it.
pub const CARDS: &str = "VIP_TESTS_CARDS";

/// When this is in the environment, the kernel is to have a driver for every kind of interface that a test asks for.
pub const COMPLETE: &str = "VIP_TESTS_COMPLETE";

/// Whether a test fails whose kind of interface the kernel does not have.
pub(crate) fn is_complete() -> bool {
    env::var_os(COMPLETE).is_some()
}

/// How many times slower than others the machine counts as: leases are so many times longer, and clients ask so many times
/// less often.
pub(crate) fn slowness() -> u32 {
    if env::var_os(EMULATED).is_some() { 10 } else { 1 }
}

/// The cards of [`CARDS`]; none: cables.
pub(crate) fn cards() -> Vec<String> {
    let names = env::var(CARDS).unwrap_or_default();
    names.split_whitespace().map(str::to_owned).collect()
}
