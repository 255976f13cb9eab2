//! The daemon's modules, as a library so that tests and tools use the same code.
//!
//! Without the feature `daemon`, only what decides is here, and nothing that touches the machine: for the simulation and
//! the model.

#[cfg(feature = "daemon")]
pub mod announce;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod confinement;
pub mod contacts;
#[cfg(feature = "daemon")]
pub mod control;
#[cfg(feature = "daemon")]
mod courier;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod dataplane;
#[cfg(feature = "daemon")]
pub mod departure;
#[cfg(feature = "daemon")]
mod descriptor;
#[cfg(test)]
mod documentation;
pub mod election;
pub mod events;
#[cfg(feature = "daemon")]
pub mod exit;
#[cfg(feature = "daemon")]
#[cfg(test)]
mod folder;
#[cfg(feature = "daemon")]
pub mod gateway;
pub mod gossip;
#[cfg(feature = "daemon")]
pub mod handlers;
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod histogram;
#[cfg(feature = "daemon")]
pub mod import;
#[cfg(feature = "daemon")]
pub mod ipv6;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod logging;
pub mod membership;
#[cfg(feature = "daemon")]
pub mod netlink;
pub mod pace;
#[cfg(feature = "daemon")]
mod packet_socket;
pub mod pair;
#[cfg(feature = "daemon")]
pub mod realtime;
#[cfg(feature = "daemon")]
pub mod service;
#[cfg(feature = "daemon")]
pub mod signer;
#[cfg(feature = "daemon")]
pub mod status;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod supervisor;
#[cfg(feature = "daemon")]
pub mod sysctl;
#[cfg(feature = "daemon")]
pub mod transport;
#[cfg(feature = "daemon")]
pub mod userplane;
#[cfg(feature = "daemon")]
mod virtual_mac;
#[cfg(feature = "daemon")]
pub mod vrrp;
#[cfg(feature = "daemon")]
mod vrrp_link;
#[cfg(feature = "daemon")]
pub mod web;
