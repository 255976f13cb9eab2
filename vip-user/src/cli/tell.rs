//! `vip-user event` and `vip-user query`: tell the members something, or ask them.

use std::io::{self, Write};

use super::{
    EventArgs, QueryArgs,
    client::{find_daemon, json_line, print},
};
use crate::{
    control::{self, Asked, Made, Request},
    exit::Failure,
};

/// Makes a user event.
///
/// # Errors
/// If no daemon answers, or if it refuses.
pub fn event(args: EventArgs) -> Result<(), Failure> {
    let EventArgs { name, payload, coalesce, json, daemon } = args;
    let socket = find_daemon(&daemon)?;
    let made: Made = control::request(&socket, Request::Event { name: name.clone(), payload, coalesce })?;
    let text = if json { json_line(&made)? } else { format!("{name}: sent, Lamport time {}\n", made.ltime) };
    print(&text)
}

/// Asks nodes, and shows what came of it: answers on standard output, who did not answer on standard error.
///
/// # Errors
/// If no daemon answers, if it refuses, or if a node was not reached or had not answered in time.
pub fn query(args: QueryArgs) -> Result<(), Failure> {
    let QueryArgs { name, payload, nodes, timeout, json, daemon } = args;
    let socket = find_daemon(&daemon)?;
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let asked: Asked = control::request(&socket, Request::Query { name, payload, nodes, timeout_ms })?;
    print(&if json { json_line(&asked)? } else { answers(&asked) })?;
    for node in &asked.late {
        // As for the last one, which `main` prints: nobody can be told that standard error is closed.
        let _ = writeln!(io::stderr(), "vip-user: {node} has got the query, and had not answered in time");
    }
    match (asked.silent.as_slice(), asked.late.len()) {
        ([], 0) => Ok(()),
        ([], late) => Err(Failure::refused(format!("{late} nodes had not answered in time"))),
        (silent, _) => Err(Failure::refused(format!("not reached: {}", silent.join(", ")))),
    }
}

fn answers(asked: &Asked) -> String {
    let mut text = String::new();
    for answer in &asked.answers {
        let end = if answer.payload.ends_with('\n') { "" } else { "\n" };
        text += &format!("{}: {}{end}", printable(&answer.node), printable(&answer.payload));
    }
    text + &format!("{} acknowledged, {} answered\n", asked.acks.len(), asked.answers.len())
}

/// Answers come from other machines: whatever is in them, it must not command the terminal.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::NodeAnswer;

    #[test]
    fn answers_are_shown_by_node_and_cannot_command_the_terminal() {
        let answer = |node: &str, payload: &str| NodeAnswer { node: node.into(), payload: payload.into() };
        let asked = Asked {
            acks: vec!["lb1".into(), "lb2".into(), "lb3".into()],
            answers: vec![answer("lb1", "up 3 days\n"), answer("lb2", "\x1b[2Jup")],
            silent: vec![],
            late: vec![],
        };
        let expected = "lb1: up 3 days\nlb2: \u{fffd}[2Jup\n3 acknowledged, 2 answered\n";
        assert_eq!(answers(&asked), expected);
    }
}
