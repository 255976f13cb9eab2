//! What the XDP program and the daemon must agree on, each rule in one place.
//!
//! - [`wire`]: the message on the wire and its tag.
//! - [`lease`]: the rules of the lease: acceptor, quorum, lease word, replay.
//! - [`vote`]: what a node does with a message: who may speak, what is decided on, what is answered.
//! - [`vrrp`]: the advert of VRRP, and what is wrong with one.
//! - [`checksum`]: the sum that it and the answers of the data plane carry.
//! - [`forward`]: how a frame is marked that was sent on to the holder.
//! - [`maps`]: the layouts of the BPF maps.
//! - [`table`]: where the VIPs and the interfaces lie in theirs, and how they are found.
//!
//! Nothing here knows a clock, a socket, a map or a packet: every function takes plain state and `now`, or memory
//! that its caller has. The XDP program, the daemon, the simulator and the tests run these functions and no copies
//! of them.
//! Functions are `inline(always)` where they run in XDP, because a BPF spin lock forbids calls while it is held.
#![no_std]

pub mod checksum;
pub mod forward;
pub mod lease;
pub mod maps;
pub mod siphash;
pub mod table;
pub mod vote;
pub mod vrrp;
pub mod wire;
