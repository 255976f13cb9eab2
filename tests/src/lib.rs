//! The test bed: nodes, a switch and a client in network namespaces, real daemons on them, and the instruments
//! that watch what the client sees.
//!
//! Cluster tests and `cargo xtask demo` stand on the same parts, so that what the demo shows is what the tests
//! check. Nothing here asserts a time or knows the daemon's internals: the daemon is its command line, its
//! configuration file and its `status --json`.

pub mod bpf;
pub mod clock;
pub mod cluster;
pub mod faults;
pub mod flood;
pub mod fronts;
pub mod hog;
pub mod interrupt;
pub mod lab;
pub mod machine;
pub mod net;
pub mod oracle;
pub mod prober;
pub mod realtime;
pub mod recorder;
pub mod relay;
pub mod responder;
pub mod serf;
pub mod stalls;
pub mod tally;
pub mod traces;
mod unpacked;
pub mod visitors;
pub mod wait;
pub mod wall_clock;
pub mod watch;
mod worker;

#[cfg(test)]
mod instruments;
