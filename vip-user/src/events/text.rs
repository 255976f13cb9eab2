//! What a handler finds in its environment and on its standard input, byte for byte as Serf's handlers do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Event, GroupEvent, Node, ROLE};

/// This node, as its handlers are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What people call it.
    pub name: String,
    /// What it says of itself beyond that; see [`ROLE`].
    pub tags: BTreeMap<String, String>,
}

impl Event {
    /// The variables that a handler gets for it on the node `own`, beside those of the daemon itself.
    #[must_use]
    pub fn environment(&self, own: &Own) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        set("SERF_EVENT", self.kind());
        set("SERF_SELF_NAME", &own.name);
        set("SERF_SELF_ROLE", own.tags.get(ROLE).map_or("", String::as_str));
        for (tag, value) in &own.tags {
            set(&format!("SERF_TAG_{}", variable(tag)), value);
        }
        match self {
            Self::Members(_) => {}
            Self::Group(event) => event.set_variables(set),
            Self::Check(event) => set("VIP_CHECK", &event.check),
            Self::User(event) => {
                set("SERF_USER_EVENT", &event.name);
                set("SERF_USER_LTIME", &event.ltime.to_string());
            }
            Self::Query(query) => {
                set("SERF_QUERY_NAME", &query.name);
                set("SERF_QUERY_LTIME", &query.ltime.to_string());
            }
        }
        variables
    }

    /// What a handler reads from its standard input.
    #[must_use]
    pub fn standard_input(&self) -> Vec<u8> {
        match self {
            Self::Members(event) => event.nodes.iter().map(line).collect::<String>().into_bytes(),
            Self::Group(event) => event.vips.iter().map(|vip| format!("{vip}\n")).collect::<String>().into(),
            Self::Check(event) => with_newline(event.reason.as_bytes()),
            Self::User(event) => with_newline(&event.payload),
            Self::Query(query) => with_newline(&query.payload),
        }
    }
}

impl GroupEvent {
    fn set_variables(&self, mut set: impl FnMut(&str, &str)) {
        set("VIP_GROUP", &self.group);
        let known = [("VIP_NODE", &self.node), ("VIP_BALLOT", &self.ballot), ("VIP_MAC", &self.mac)];
        for (name, value) in known {
            if let Some(value) = value {
                set(name, value);
            }
        }
    }
}

/// The part of a variable's name that stands for a tag: capitals, and `_` for all that a name cannot have.
fn variable(tag: &str) -> String {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    tag.to_uppercase().chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// A node: name, address, role and tags, with tabs in between.
fn line(node: &Node) -> String {
    let mut tags = String::new();
    for (tag, value) in &node.tags {
        let comma = if tags.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(tags, "{comma}{tag}={value}");
    }
    let role = node.tags.get(ROLE).map_or("", String::as_str);
    format!("{}\t{}\t{}\t{}\n", escaped(&node.name), node.address, escaped(role), escaped(&tags))
}

/// Without what would end a field or a line.
fn escaped(text: &str) -> String {
    text.replace('\t', "\\t").replace('\n', "\\n")
}

/// Many a shell's `read` wants a newline at the end of a line. What is empty stays so.
fn with_newline(payload: &[u8]) -> Vec<u8> {
    let is_open = payload.last().is_some_and(|last| *last != b'\n');
    let end: &[u8] = if is_open { b"\n" } else { b"" };
    [payload, end].concat()
}

#[cfg(test)]
mod tests {
    use super::super::{
        CheckEvent, CheckEventKind, GroupEventKind, MemberEvent, MemberEventKind, Query, UserEvent,
    };
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect()
    }

    fn node(name: &str, address: &str, pairs: &[(&str, &str)]) -> Node {
        Node { id: 1, name: name.into(), address: address.parse().unwrap(), tags: tags(pairs) }
    }

    fn environment(event: &Event, own: &Own) -> Vec<String> {
        event.environment(own).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn own() -> Own {
        Own { name: "lb1".into(), tags: BTreeMap::new() }
    }

    #[test]
    fn member_events_have_a_line_of_name_address_role_and_tags_per_node() {
        let nodes = vec![
            node("lb1", "10.77.0.1", &[]),
            node("lb2", "2001:db8::2", &[("role", "web"), ("dc", "east"), ("rack", "7")]),
        ];
        let event = Event::Members(MemberEvent { kind: MemberEventKind::Failed, nodes });
        let expected = "lb1\t10.77.0.1\t\t\nlb2\t2001:db8::2\tweb\tdc=east,rack=7,role=web\n";
        assert_eq!(event.standard_input(), expected.as_bytes());
        assert_eq!(
            environment(&event, &own()),
            ["SERF_EVENT=member-failed", "SERF_SELF_NAME=lb1", "SERF_SELF_ROLE="]
        );
    }

    #[test]
    fn tabs_and_newlines_in_names_and_tags_end_no_field() {
        let nodes = vec![node("a\tb\nc", "10.77.0.1", &[("role", "x\ty"), ("k", "1\n2")])];
        let event = Event::Members(MemberEvent { kind: MemberEventKind::Join, nodes });
        let expected = "a\\tb\\nc\t10.77.0.1\tx\\ty\tk=1\\n2,role=x\\ty\n";
        assert_eq!(String::from_utf8(event.standard_input()).unwrap(), expected);
    }

    #[test]
    fn tags_become_variables_with_names_that_a_shell_accepts() {
        let own = Own { name: "lb1".into(), tags: tags(&[("role", "web"), ("data-center.1", "a b")]) };
        let event = Event::Members(MemberEvent { kind: MemberEventKind::Join, nodes: Vec::new() });
        assert_eq!(
            environment(&event, &own)[2..],
            ["SERF_SELF_ROLE=web", "SERF_TAG_DATA_CENTER_1=a b", "SERF_TAG_ROLE=web"]
        );
    }

    #[test]
    fn user_events_and_queries_have_name_and_time_and_a_payload_that_ends_in_a_newline() {
        let user = |payload: &[u8]| {
            Event::User(UserEvent {
                name: "deploy".into(),
                payload: payload.into(),
                ltime: 7,
                coalesce: true,
            })
        };
        let cases: [(&[u8], &[u8]); 4] =
            [(b"", b""), (b"v1", b"v1\n"), (b"v1\n", b"v1\n"), (b"\xff\0", b"\xff\0\n")];
        for (payload, input) in cases {
            assert_eq!(user(payload).standard_input(), input);
        }
        assert_eq!(
            environment(&user(b""), &own())[..],
            [
                "SERF_EVENT=user",
                "SERF_SELF_NAME=lb1",
                "SERF_SELF_ROLE=",
                "SERF_USER_EVENT=deploy",
                "SERF_USER_LTIME=7"
            ]
        );
        let query = Event::Query(Query { id: 5, name: "load".into(), payload: b"1m".into(), ltime: 9 });
        assert_eq!(query.standard_input(), b"1m\n");
        assert_eq!(environment(&query, &own())[3..], ["SERF_QUERY_NAME=load", "SERF_QUERY_LTIME=9"]);
    }

    #[test]
    fn check_events_have_a_name_and_what_is_wrong() {
        let failed = CheckEvent {
            kind: CheckEventKind::Failed,
            check: "haproxy".into(),
            reason: "no process haproxy runs".into(),
        };
        let event = Event::Check(failed);
        assert_eq!(event.standard_input(), b"no process haproxy runs\n");
        assert_eq!(
            environment(&event, &own())[..],
            ["SERF_EVENT=check-failed", "SERF_SELF_NAME=lb1", "SERF_SELF_ROLE=", "VIP_CHECK=haproxy"]
        );
    }

    #[test]
    fn group_events_have_a_line_per_vip_and_what_is_known_of_the_holder() {
        let event = GroupEvent {
            kind: GroupEventKind::Promoted,
            group: "web".into(),
            vips: vec!["10.77.0.100/24".into(), "10.88.0.100/24 dev eth1".into()],
            node: Some("lb1".into()),
            ballot: Some("7.1".into()),
            mac: None,
        };
        let event = Event::Group(event);
        assert_eq!(event.standard_input(), b"10.77.0.100/24\n10.88.0.100/24 dev eth1\n");
        assert_eq!(
            environment(&event, &own()),
            [
                "SERF_EVENT=promoted",
                "SERF_SELF_NAME=lb1",
                "SERF_SELF_ROLE=",
                "VIP_GROUP=web",
                "VIP_NODE=lb1",
                "VIP_BALLOT=7.1"
            ]
        );
    }
}
