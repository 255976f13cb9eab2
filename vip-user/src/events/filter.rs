//! Which events a handler is for, as the configuration says it.

use std::fmt;
use std::str::FromStr;

use super::{CheckEventKind, Event, GroupEventKind, MemberEventKind};

/// What a filter can be, for messages.
pub const KNOWN_FILTERS: &str = "member-join, member-leave, member-failed, member-update, member-reap, promoted, demoted, \
                                 conflict, no-quorum, check-failed, check-passed, user, user:NAME, query, query:NAME, *";

/// Events of one kind, or of one kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `*`: every event.
    Any,
    /// Something that happens to nodes.
    Member(MemberEventKind),
    /// Something that happens to a group.
    Group(GroupEventKind),
    /// Something that becomes of a check.
    Check(CheckEventKind),
    /// `user`, or `user:NAME`.
    User(Option<String>),
    /// `query`, or `query:NAME`.
    Query(Option<String>),
}

impl Filter {
    /// Whether it lets this event through.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let is_named = |name: &Option<String>, its: &String| name.as_ref().is_none_or(|name| name == its);
        match (self, event) {
            (Self::Any, _) => true,
            (Self::Member(kind), Event::Members(event)) => *kind == event.kind,
            (Self::Group(kind), Event::Group(event)) => *kind == event.kind,
            (Self::Check(kind), Event::Check(event)) => *kind == event.kind,
            (Self::User(name), Event::User(event)) => is_named(name, &event.name),
            (Self::Query(_), Event::Query(query)) => self.answers(&query.name),
            _ => false,
        }
    }

    /// Whether it lets queries of this name through.
    #[must_use]
    pub fn answers(&self, query: &str) -> bool {
        match self {
            Self::Any | Self::Query(None) => true,
            Self::Query(Some(name)) => name == query,
            Self::Member(_) | Self::Group(_) | Self::Check(_) | Self::User(_) => false,
        }
    }
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event; known: {KNOWN_FILTERS}")]
pub struct UnknownFilter(String);

impl FromStr for Filter {
    type Err = UnknownFilter;

    fn from_str(text: &str) -> Result<Self, UnknownFilter> {
        let member = MemberEventKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        let group = GroupEventKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        let check = CheckEventKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        match (text, text.split_once(':')) {
            ("*", _) => Ok(Self::Any),
            ("user", _) => Ok(Self::User(None)),
            ("query", _) => Ok(Self::Query(None)),
            (_, Some(("user", name))) if is_name(name) => Ok(Self::User(Some(name.to_owned()))),
            (_, Some(("query", name))) if is_name(name) => Ok(Self::Query(Some(name.to_owned()))),
            _ => {
                let known = member.map(Self::Member).or(group.map(Self::Group)).or(check.map(Self::Check));
                known.ok_or_else(|| UnknownFilter(text.to_owned()))
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_control)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Member(kind) => f.write_str(kind.as_str()),
            Self::Group(kind) => f.write_str(kind.as_str()),
            Self::Check(kind) => f.write_str(kind.as_str()),
            Self::User(None) => f.write_str("user"),
            Self::Query(None) => f.write_str("query"),
            Self::User(Some(name)) => write!(f, "user:{name}"),
            Self::Query(Some(name)) => write!(f, "query:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CheckEvent, GroupEvent, MemberEvent, Query, UserEvent};
    use super::*;

    fn events() -> Vec<Event> {
        let member = MemberEventKind::ALL.map(|kind| Event::Members(MemberEvent { kind, nodes: Vec::new() }));
        let group = GroupEventKind::ALL.map(|kind| Event::Group(GroupEvent { kind, ..<_>::default() }));
        let (check, reason) = (String::new(), String::new());
        let check = CheckEventKind::ALL
            .map(|kind| Event::Check(CheckEvent { kind, check: check.clone(), reason: reason.clone() }));
        let user = |name: &str| {
            Event::User(UserEvent { name: name.into(), payload: Vec::new(), ltime: 1, coalesce: false })
        };
        let query =
            |name: &str| Event::Query(Query { id: 1, name: name.into(), payload: Vec::new(), ltime: 1 });
        let named = [user("deploy"), user("stop"), query("deploy"), query("uptime")];
        member.into_iter().chain(group).chain(check).chain(named).collect()
    }

    /// What the filter lets through, of all that there is.
    fn passed(filter: &str) -> Vec<String> {
        let filter: Filter = filter.parse().unwrap();
        events().iter().filter(|event| filter.matches(event)).map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_has_a_filter_of_its_name_that_lets_nothing_else_through() {
        for event in events().into_iter().filter(|event| !matches!(event, Event::User(_) | Event::Query(_))) {
            assert_eq!(passed(event.kind()), [event.to_string()]);
        }
        assert_eq!(passed("user"), ["user:\"deploy\"", "user:\"stop\""]);
        assert_eq!(passed("user:deploy"), ["user:\"deploy\""]);
        assert_eq!(passed("query"), ["query:\"deploy\"", "query:\"uptime\""]);
        assert_eq!(passed("query:uptime"), ["query:\"uptime\""]);
        assert_eq!(passed("*").len(), events().len());
    }

    #[test]
    fn filters_are_shown_as_they_are_written() {
        for known in KNOWN_FILTERS.split(", ") {
            assert_eq!(known.parse::<Filter>().unwrap().to_string(), known);
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_is() {
        for text in [
            "",
            "member",
            "member-joined",
            "user:",
            "query:",
            "users:x",
            "Member-join",
            " user",
            "**",
            "user:a\nb",
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no event; known: member-join, ")), "{error}");
        }
    }
}
