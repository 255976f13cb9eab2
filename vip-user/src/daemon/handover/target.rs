//! To which node a group may be handed over.

use std::cmp::Reverse;

use crate::daemon::lookup::{self, SEE};
use crate::status::{Member, MemberStatus};

/// The node that an operator means by its name or id, if it is another one than `me` that can hold the group: one of the
/// `candidates`, of priority above 0 there.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn named(
    members: &[Member],
    candidates: &[(u16, u8)],
    me: u16,
    node: &str,
) -> Result<u16, String> {
    let Member { id, name, status, voter, .. } = find(members, node)?;
    if *id == me {
        return Err(format!("{name} is this node: name another one, or none for the fittest"));
    }
    if *status != MemberStatus::Alive {
        return Err(format!("{name} is not alive: start its daemon, or choose another node; {SEE}"));
    }
    if !voter {
        return Err(format!("{name} is not a voter, so it cannot hold: choose a voter; {SEE}"));
    }
    match candidates.iter().find(|(candidate, _)| candidate == id) {
        Some((_, 0)) => Err(format!(
            "{name} has priority 0 in this group, or cannot serve: see `vip-user status` there, or choose another node"
        )),
        Some(_) => Ok(*id),
        None => Err(format!("{name} is about to leave the cluster: choose another node; {SEE}")),
    }
}

/// The node but `me` that is to hold a group next, by its priority there and then by id.
///
/// # Errors
/// That there is none.
pub(super) fn fittest(candidates: &[(u16, u8)], me: u16) -> Result<u16, String> {
    let others = candidates.iter().filter(|(id, priority)| *id != me && *priority > 0);
    let fittest = others.max_by_key(|(id, priority)| (*priority, Reverse(*id)));
    fittest.map(|(id, _)| *id).ok_or_else(|| {
        "no other node can take it: that has to be alive, a voter, and of priority above 0 in this group; see \
         `vip-user members`"
            .to_owned()
    })
}

fn find<'a>(members: &'a [Member], node: &str) -> Result<&'a Member, String> {
    let id = lookup::id_of(members.iter().map(|member| (member.id, member.name.as_str())), node)?;
    members.iter().find(|member| member.id == id).ok_or_else(|| lookup::unknown(node))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ME: u16 = 1;
    /// Ids and priorities.
    const CANDIDATES: [(u16, u8); 6] = [(1, 200), (2, 100), (3, 100), (6, 0), (7, 90), (8, 100)];

    fn member(id: u16, name: &str, status: MemberStatus, voter: bool) -> Member {
        let address = format!("10.77.0.{id}");
        Member {
            name: name.to_owned(),
            id,
            address,
            status,
            voter,
            priority: 100,
            last_heard_ms: None,
            version: String::new(),
            round_trip_ms: None,
            tags: BTreeMap::new(),
        }
    }

    /// One that is gone, one that does not vote, two of one name, one that leaves, and others.
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
            member(9, "leaver", Alive, true),
        ]
    }

    fn target(node: &str) -> Result<u16, String> {
        named(&members(), &CANDIDATES, ME, node)
    }

    #[test]
    fn a_node_is_meant_by_its_name_or_else_by_its_id() {
        assert_eq!(["lb2", "2", "4", "7"].map(|node| target(node).unwrap()), [2, 2, 3, 7]);
    }

    #[test]
    fn a_node_that_cannot_be_the_next_holder_is_refused_with_what_to_do() {
        let cases = [
            ("lb9", "there is no node \"lb9\"; `vip-user members` lists the nodes"),
            ("17", "there is no node \"17\"; "),
            ("lb1", "lb1 is this node: name another one, or none for the fittest"),
            (
                "gone",
                "gone is not alive: start its daemon, or choose another node; `vip-user members` lists the nodes",
            ),
            ("new", "new is not a voter, so it cannot hold: choose a voter; "),
            ("twin", "several nodes are called twin: name one by its id, "),
            (
                "6",
                "twin has priority 0 in this group, or cannot serve: see `vip-user status` there, or choose another node",
            ),
            ("leaver", "leaver is about to leave the cluster: choose another node; "),
        ];
        for (node, expected) in cases {
            let reason = target(node).unwrap_err();
            assert!(reason.starts_with(expected), "{node}: {reason}");
        }
    }

    #[test]
    fn the_fittest_has_the_highest_priority_of_the_group_and_then_the_lowest_id() {
        assert_eq!(fittest(&CANDIDATES, ME), Ok(2));
        assert_eq!(fittest(&CANDIDATES, 2), Ok(1));
        assert_eq!(fittest(&[(1, 100), (2, 100), (3, 101)], ME), Ok(3));
        for nobody in [&[(1, 100)][..], &[(1, 100), (6, 0)], &[]] {
            let reason = fittest(nobody, ME).unwrap_err();
            assert!(reason.starts_with("no other node can take it: "), "{reason}");
        }
    }
}
