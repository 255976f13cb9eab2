//! What has become of each directive.

use std::fmt;

use serde::Serialize;

/// A place in keepalived's configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What has become of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It means the same here.
    Carried,
    /// It means nearly the same, or has been replaced by something that serves the same end.
    Changed,
    /// What it is for is not needed here, or is done anyway.
    Unneeded,
    /// What it does is not done here: somebody has to look after it.
    Left,
}

impl Fate {
    /// The word for it in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Changed => "changed",
            Self::Unneeded => "unneeded",
            Self::Left => "LEFT OUT",
        }
    }
}

/// What has become of one directive, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Where the directive is; `None`: about the configuration as a whole.
    pub place: Option<Place>,
    /// The directive, without secrets.
    pub directive: String,
    /// What has become of it.
    pub fate: Fate,
    /// Why, or what to do; may be empty where it is carried over.
    pub why: String,
}

impl Remark {
    /// What files say must not command a terminal: control characters are replaced.
    pub(super) fn new(place: Option<Place>, directive: &str, fate: Fate, why: &str) -> Self {
        let [directive, why] = [directive, why].map(plain);
        Self { place, directive, fate, why }
    }
}

fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        let colon = if self.why.is_empty() { "" } else { ": " };
        let Self { directive, why, .. } = self;
        write!(f, "{:<8}  {}{directive}{colon}{why}", self.fate.as_str(), plain(&place))
    }
}
