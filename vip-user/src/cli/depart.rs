//! `vip-user leave` and `vip-user forget`: ask the daemon until a voter is one no more.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    ForgetArgs, LeaveArgs,
    client::{find_daemon, print},
};
use crate::{
    control::{self, Request},
    departure::Departure,
    exit::Failure,
};

/// How long to wait for the voters. They need a fraction of a second, and a few seconds if they contend or lose
/// messages.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two requests.
const POLL: Duration = Duration::from_millis(100);

/// Takes the daemon's node out of the cluster. The daemon ends after that.
///
/// # Errors
/// If no daemon answers, if it refuses, or if the voters do not agree in time.
pub fn leave(args: &LeaveArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let left = await_departure(&socket, &Request::Leave)?;
    print(&format!("{} (id {}) is no voter any more, and its daemon ends\n", left.node, left.id))
}

/// Takes a node that has failed or left out of the voters.
///
/// # Errors
/// If no daemon answers, if it refuses, or if the voters do not agree in time.
pub fn forget(args: &ForgetArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let forgotten = await_departure(&socket, &Request::Forget { node: args.node.clone() })?;
    print(&format!("{} (id {}) is no voter any more\n", forgotten.node, forgotten.id))
}

fn await_departure(socket: &Path, request: &Request) -> Result<Departure, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let departure: Departure = control::request(socket, request.clone())?;
        if departure.done {
            return Ok(departure);
        }
        if Instant::now() >= deadline {
            return Err(Failure::refused(format!(
                "the voters have not agreed to count out {} within {} s, and are asked no longer: a majority of them \
                 has to be there and hear each other, see `vip-user members`, and to have room in its state directory, see \
                 its log; then try again",
                departure.node,
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(POLL);
    }
}
