//! Whole clusters in simulated time, to look for two holders of a VIP, or any other promise broken.
//!
//! The elections, the memberships and the rules of the data plane are the real ones; their drivers, the network, the
//! disks, the clocks and everything that goes wrong are played, all from one seed. What must hold is judged by an
//! oracle that knows nothing of the protocol.
//!
//! - [`schedule`]: what a run is, drawn from a seed.
//! - [`world`]: the run.
//! - [`oracle`]: what must hold.
//! - [`shrink`]: the smallest schedule that still breaks a promise.
//! - [`search`]: many runs, on all processors.

pub mod clock;
pub mod oracle;
pub mod schedule;
pub mod search;
pub mod shrink;
pub mod world;

mod network;
mod plane;
mod process;
mod queue;
mod tape;
