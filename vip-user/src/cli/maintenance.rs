//! `vip-user maintenance on|off`: free a node of all groups, or let it take them again.

use std::fmt::Write as _;

use super::{
    MaintenanceArgs, Switch,
    client::{find_daemon, json_line, print},
};
use crate::{
    control::{self, Maintenance, Request},
    exit::Failure,
};

/// Asks the daemon, and shows what has become of the groups.
///
/// # Errors
/// If no daemon answers, if a group has stayed, or if the daemon could not keep it for its next start.
pub fn maintenance(args: &MaintenanceArgs) -> Result<(), Failure> {
    let socket = find_daemon(&args.daemon)?;
    let on = args.switch == Switch::On;
    let outcome: Maintenance = control::request(&socket, Request::Maintenance { on })?;
    print(&if args.json { json_line(&outcome)? } else { summary(&outcome) })?;
    match failure(&outcome) {
        Some(reason) => Err(Failure::refused(reason)),
        None => Ok(()),
    }
}

fn summary(Maintenance { node, on, groups, .. }: &Maintenance) -> String {
    let mut text = match on {
        true => format!("{node} is in maintenance: it takes nothing until `vip-user maintenance off`\n"),
        false => format!("{node} is not in maintenance\n"),
    };
    for group in groups {
        // Writing to a string does not fail.
        let _ = match &group.result {
            Ok(to) => writeln!(text, "{}: {to} holds it now", group.group),
            Err(reason) => {
                writeln!(text, "{}: served here until another node can take it: {reason}", group.group)
            }
        };
    }
    text
}

/// What is not as the operator wants it.
fn failure(Maintenance { groups, forgotten, .. }: &Maintenance) -> Option<String> {
    let stay: Vec<_> =
        groups.iter().filter(|group| group.result.is_err()).map(|group| group.group.as_str()).collect();
    if !stay.is_empty() {
        return Some(format!("this node still serves {}", stay.join(", ")));
    }
    let reason = forgotten.as_ref()?;
    Some(format!("a daemon that is started again will not know of it: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Handover;

    fn outcome(on: bool, groups: &[(&str, Result<&str, &str>)], forgotten: Option<&str>) -> Maintenance {
        let groups = groups.iter().map(|(group, result)| Handover {
            group: (*group).to_owned(),
            result: result.map(str::to_owned).map_err(str::to_owned),
        });
        Maintenance {
            node: "lb1".into(),
            on,
            groups: groups.collect(),
            forgotten: forgotten.map(str::to_owned),
        }
    }

    #[test]
    fn what_has_become_of_each_group_is_said_and_one_that_has_stayed_is_a_failure() {
        let gone = outcome(true, &[("web", Ok("lb2"))], None);
        assert_eq!(
            summary(&gone),
            "lb1 is in maintenance: it takes nothing until `vip-user maintenance off`\nweb: lb2 holds it now\n"
        );
        assert_eq!(failure(&gone), None);
        let stays = outcome(true, &[("web", Ok("lb2")), ("api", Err("nobody is there"))], None);
        assert!(
            summary(&stays).ends_with("\napi: served here until another node can take it: nobody is there\n")
        );
        assert_eq!(failure(&stays).as_deref(), Some("this node still serves api"));
    }

    #[test]
    fn what_does_not_survive_a_restart_is_a_failure_either_way() {
        for on in [true, false] {
            let failure = failure(&outcome(on, &[], Some("no space left"))).unwrap();
            assert_eq!(failure, "a daemon that is started again will not know of it: no space left");
        }
        assert_eq!(summary(&outcome(false, &[], None)), "lb1 is not in maintenance\n");
    }
}
