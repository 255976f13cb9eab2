//! The daemon's modules, as a library so that tests and tools use the same code.

pub mod announce;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
mod courier;
pub mod daemon;
pub mod dataplane;
pub mod departure;
mod descriptor;
pub mod election;
pub mod exit;
pub mod ipv6;
pub mod logging;
pub mod membership;
pub mod netlink;
pub mod pace;
mod packet_socket;
pub mod realtime;
pub mod signer;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod sysctl;
pub mod transport;
pub mod userplane;
mod virtual_mac;
