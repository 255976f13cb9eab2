//! Model checking: every state that a small cluster can come to, within stated bounds, looked at one by one.
//!
//! The simulation draws a few ways through a large space; here a small one is searched from end to end, by the model
//! checker `stateright`. What is real and what is played is said at the head of each model:
//!
//! - [`leases`]: acceptors and data planes, under proposers that do whatever the guards allow.
//! - [`elections`]: the same with the elections as they are, which shows that somebody is elected, too.
//! - [`succession`]: the choice of configurations by the memberships as they are.
//!
//! [`searches`] are the models with their bounds, and [`guards`] the rules that can be left out, each with a search that
//! then finds a promise broken. [`check`] runs them.

pub mod check;
pub mod elections;
pub mod flaw;
pub mod guards;
pub mod leases;
pub mod marks;
pub mod searches;
pub mod succession;

mod letters;
mod plane;
