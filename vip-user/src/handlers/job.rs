//! One event as the processes of its handlers get it.

use super::answer::Reply;
use crate::events::{Event, Own};

/// See the module. All handlers of an event share it.
#[derive(Debug)]
pub(super) struct Job {
    /// What has happened, for the log.
    pub(super) event: String,
    pub(super) environment: Vec<(String, String)>,
    pub(super) input: Vec<u8>,
    /// Of a query.
    pub(super) reply: Option<Reply>,
}

impl Job {
    pub(super) fn new(event: &Event, own: &Own, reply: Option<Reply>) -> Self {
        let (environment, input) = (event.environment(own), event.standard_input());
        Self { event: event.to_string(), environment, input, reply }
    }

    /// For a program that is told all by its arguments.
    pub(super) const fn without_event(event: String) -> Self {
        Self { event, environment: Vec::new(), input: Vec::new(), reply: None }
    }
}
