//! To which node a group may be handed over.

use std::cmp::Reverse;

use crate::status::{Member, MemberStatus};

/// Where the nodes' names and ids are to be found.
const SEE: &str = "`vip-user members` lists the nodes";

/// The node that an operator means by its name or id, if it is another one than `me` that can hold a lease.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn named<'a>(members: &'a [Member], me: u16, node: &str) -> Result<&'a Member, String> {
    let mut by_name = members.iter().filter(|member| member.name == node);
    let member = match (by_name.next(), by_name.next()) {
        (Some(member), None) => member,
        (Some(_), Some(_)) => {
            return Err(format!("several nodes are called {node}: name one by its id, {SEE}"));
        }
        (None, _) => {
            let id: Option<u16> = node.parse().ok();
            let by_id = members.iter().find(|member| Some(member.id) == id);
            by_id.ok_or_else(|| format!("there is no node {node:?}; {SEE}"))?
        }
    };
    let name = &member.name;
    if member.id == me {
        return Err(format!("{name} is this node: name another one, or none for the fittest"));
    }
    if member.status != MemberStatus::Alive {
        return Err(format!("{name} is not alive: start its daemon, or choose another node; {SEE}"));
    }
    if !member.voter {
        return Err(format!("{name} is not a voter, so it cannot hold: choose a voter; {SEE}"));
    }
    Ok(member)
}

/// The node but `me` that is to hold a group next, by its `priority` there and then by id.
pub(super) fn fittest(members: &[Member], me: u16, priority: impl Fn(u16) -> u8) -> Option<u16> {
    let can_hold = |member: &&Member| {
        member.id != me && member.status == MemberStatus::Alive && member.voter && priority(member.id) > 0
    };
    let fittest =
        members.iter().filter(can_hold).max_by_key(|member| (priority(member.id), Reverse(member.id)));
    fittest.map(|member| member.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u16 = 1;

    fn member(id: u16, name: &str, status: MemberStatus, voter: bool) -> Member {
        let address = format!("10.77.0.{id}");
        Member { name: name.to_owned(), id, address, status, voter, priority: 100, last_heard_ms: None }
    }

    /// Two that can hold, one that is gone, one that does not vote, two of one name.
    fn members() -> Vec<Member> {
        use MemberStatus::{Alive, Failed};
        vec![
            member(1, "lb1", Alive, true),
            member(2, "lb2", Alive, true),
            member(3, "4", Alive, true),
            member(4, "gone", Failed, true),
            member(5, "new", Alive, false),
            member(6, "twin", Alive, true),
            member(7, "twin", Alive, true),
        ]
    }

    fn target(node: &str) -> Result<u16, String> {
        named(&members(), ME, node).map(|member| member.id)
    }

    #[test]
    fn a_node_is_meant_by_its_name_or_else_by_its_id() {
        assert_eq!(["lb2", "2", "4", "7"].map(|node| target(node).unwrap()), [2, 2, 3, 7]);
    }

    #[test]
    fn a_node_that_cannot_be_the_next_holder_is_refused_with_what_to_do() {
        let cases = [
            ("lb9", "there is no node \"lb9\"; `vip-user members` lists the nodes"),
            ("9", "there is no node \"9\"; "),
            ("lb1", "lb1 is this node: name another one, or none for the fittest"),
            (
                "gone",
                "gone is not alive: start its daemon, or choose another node; `vip-user members` lists the nodes",
            ),
            ("new", "new is not a voter, so it cannot hold: choose a voter; "),
            ("twin", "several nodes are called twin: name one by its id, "),
        ];
        for (node, expected) in cases {
            let reason = target(node).unwrap_err();
            assert!(reason.starts_with(expected), "{node}: {reason}");
        }
    }

    #[test]
    fn the_fittest_is_alive_votes_and_has_the_highest_priority_of_the_group_and_then_the_lowest_id() {
        let fittest = |priority: fn(u16) -> u8| fittest(&members(), ME, priority);
        assert_eq!(fittest(|_| 100), Some(2));
        assert_eq!(fittest(|id| if id == 6 { 120 } else { 100 }), Some(6));
        assert_eq!(fittest(|id| if id == 1 || id == 4 || id == 5 { 200 } else { 100 }), Some(2));
        assert_eq!(fittest(|id| if id == 7 { 1 } else { 0 }), Some(7));
        assert_eq!(fittest(|_| 0), None);
    }
}
