//! What a daemon answers to `leave` and `forget`: how far a voter is in being one no more.

use serde::{Deserialize, Serialize};

/// A voter on its way out. The command asks again and again until it is `done`: a wish that nobody repeats is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The node's name.
    pub node: String,
    /// Its id.
    pub id: u16,
    /// It is no voter any more, and a majority of those that are know it.
    pub done: bool,
}
