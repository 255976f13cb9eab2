//! The daemon's modules, as a library so that tests and tools use the same code.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod exit;
pub mod logging;
pub mod status;
