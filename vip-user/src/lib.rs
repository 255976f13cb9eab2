//! The daemon's modules, as a library so that tests and tools use the same code.

pub mod membership;
pub mod store;
