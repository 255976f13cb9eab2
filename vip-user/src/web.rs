//! What those who watch a node get by HTTP (`node.metrics`): metrics, health, and a page for people. Read-only.
//!
//! It has a thread of its own: whoever asks, and however often, waits here, and neither the leases nor the control plane do.
//! What is shown comes in one piece, a [`Snapshot`], which is asked for when somebody wants to see it and not otherwise.

mod health;
mod metrics;
mod pages;
mod server;
mod snapshot;
mod source;

pub use self::metrics::exposition;
pub use self::server::Server;
pub use self::snapshot::{GroupFigures, HandlerFigures, Moment, Snapshot};
pub use self::source::{Asked, Source};

#[cfg(test)]
mod tests;
