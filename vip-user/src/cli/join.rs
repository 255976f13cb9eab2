//! `vip-user join`: the daemon finds the cluster through members that are named.

use std::net::IpAddr;

use super::{
    JoinArgs,
    client::{find_daemon, print},
};
use crate::{
    control::{self, Joined, Request},
    exit::Failure,
};

/// Joins through each address, and says how that went: a line for each.
///
/// # Errors
/// If no daemon answers, or if a node was not found; the others are tried nevertheless.
pub fn join(args: &JoinArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let mut failures = Vec::new();
    for address in &args.addresses {
        match control::request::<Joined>(&socket, Request::Join { address: *address }) {
            Ok(joined) => print(&line(*address, &joined))?,
            Err(failure) => failures.push(failure),
        }
    }
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| eprintln!("vip-user: {failure}"));
    Err(last)
}

fn line(address: IpAddr, joined: &Joined) -> String {
    let members = match joined.members {
        1 => "1 member".to_owned(),
        many => format!("{many} members"),
    };
    format!("{address}: joined: {members}\n")
}
