//! The sections `[[handler]]`: programs that are told what happens.

use std::{fmt, time::Duration};

use super::{
    document::{Field, Section},
    duration::format_duration,
};
use crate::{events::Filter, exit::Failure};

pub(super) const KEYS: &[&str] = &["on", "run", "shell", "timeout"];

/// The most handlers of a configuration.
pub const MAX_HANDLERS: usize = 16;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// Characters that are shown of a word in messages.
const MAX_SHOWN: usize = 60;
const SHELL: &str = "/bin/sh";

/// A program that is run for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Which events it is for; at least one filter.
    pub on: Vec<Filter>,
    /// What is run.
    pub run: Run,
    /// How long it may take for one event.
    pub timeout: Duration,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A program, by its absolute path, and its arguments.
    Program(String, Vec<String>),
    /// A text for `/bin/sh -c`.
    Shell(String),
}

impl Run {
    /// The program's path and its arguments.
    #[must_use]
    pub fn command(&self) -> (&str, Vec<&str>) {
        match self {
            Self::Program(path, arguments) => (path, arguments.iter().map(String::as_str).collect()),
            Self::Shell(text) => (SHELL, vec!["-c", text]),
        }
    }

    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let field = section.field("run");
        if section.field("shell").boolean()?.unwrap_or(false) {
            let text = field.string()?.filter(|text| !text.trim().is_empty());
            let text = text.ok_or_else(|| field.refuse("missing; say what the shell is to run"))?;
            check_word(&field, text)?;
            return Ok(Self::Shell(text.to_owned()));
        }
        let words = match field.is_list() {
            true => {
                field.strings()?.unwrap_or_default().into_iter().map(|(_, word)| word.to_owned()).collect()
            }
            false => field.string()?.map_or_else(Vec::new, |path| vec![path.to_owned()]),
        };
        Self::of_words(&field, words, "set shell = true")
    }

    /// A program, by its absolute path, and its arguments; `for_shell` is what to do if it is a shell's line instead.
    pub(super) fn of_words(field: &Field<'_>, words: Vec<String>, for_shell: &str) -> Result<Self, Failure> {
        words.iter().try_for_each(|word| check_word(field, word))?;
        let mut words = words.into_iter();
        match words.next() {
            None => {
                Err(field.refuse("missing; give the path of a program, or a list of it and its arguments"))
            }
            Some(path) if path.starts_with('/') => Ok(Self::Program(path, words.collect())),
            Some(path) => {
                let why = format!("{path:?} is not an absolute path; for a shell's line, {for_shell}");
                Err(field.refuse(why))
            }
        }
    }

    /// The same with more arguments at the end. For a shell's text, they are `$0`, `$1` and so on.
    #[must_use]
    pub fn with_arguments(&self, more: impl IntoIterator<Item = String>) -> Self {
        let (program, arguments) = self.command();
        let arguments = arguments.into_iter().map(str::to_owned).chain(more).collect();
        Self::Program(program.to_owned(), arguments)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(path, arguments) => {
                f.write_str(&shown(path))?;
                arguments.iter().try_for_each(|argument| write!(f, " {}", shown(argument)))
            }
            Self::Shell(text) => f.write_str(&shown(text)),
        }
    }
}

/// The beginning of a word, on one line.
fn shown(word: &str) -> String {
    let begin: String = word.chars().take(MAX_SHOWN).collect();
    let dots = if begin.len() < word.len() { "..." } else { "" };
    let is_plain = !begin.is_empty() && !begin.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_plain { format!("{begin}{dots}") } else { format!("{begin:?}{dots}") }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<String> = self.on.iter().map(ToString::to_string).collect();
        write!(f, "{}: on {}, {} at most", self.run, on.join(", "), format_duration(self.timeout))
    }
}

/// Programs get no text with a NUL.
fn check_word(field: &Field<'_>, word: &str) -> Result<(), Failure> {
    if word.contains('\0') { Err(field.refuse(format!("{word:?} has a NUL character"))) } else { Ok(()) }
}

/// Reads the handlers, in the order of the file.
pub(super) fn read(sections: &[Section<'_>]) -> Result<Vec<Handler>, Failure> {
    if let Some(first_too_many) = sections.get(MAX_HANDLERS) {
        let field = first_too_many.field("run");
        return Err(field.refuse(format!("there can be {MAX_HANDLERS} handlers at most")));
    }
    sections.iter().map(read_handler).collect()
}

fn read_handler(section: &Section<'_>) -> Result<Handler, Failure> {
    Ok(Handler {
        on: read_filters(&section.field("on"))?,
        run: Run::read(section)?,
        timeout: read_timeout(&section.field("timeout"))?.unwrap_or(DEFAULT_TIMEOUT),
    })
}

fn read_filters(field: &Field<'_>) -> Result<Vec<Filter>, Failure> {
    let Some(texts) = field.strings()? else { return Ok(vec![Filter::Any]) };
    if texts.is_empty() {
        return Err(field.refuse("the list is empty; leave it out, or write [\"*\"], for all events"));
    }
    texts.into_iter().map(|(place, text)| text.parse().map_err(|why| place.refuse(why))).collect()
}

/// How long a program may take.
pub(super) fn read_timeout(field: &Field<'_>) -> Result<Option<Duration>, Failure> {
    match field.duration()? {
        Some(timeout) if timeout.is_zero() || timeout > LONGEST_TIMEOUT => Err(field.refuse(format!(
            "{} is not more than 0s and at most {}",
            format_duration(timeout),
            format_duration(LONGEST_TIMEOUT)
        ))),
        timeout => Ok(timeout),
    }
}
