//! A TOML document as the readers of settings need it: sections and fields that know their place in the file.
//!
//! What the values mean is not known here.

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::duration::parse_duration;
use crate::exit::Failure;

/// Characters that are shown of a line that cannot be parsed.
const MAX_SHOWN: usize = 60;

/// A parsed file, all of whose top-level keys are known.
pub(super) struct Document<'d> {
    source: Source<'d>,
    root: DeTable<'d>,
}

/// The file's name and text, to tell places in it.
struct Source<'d> {
    file: &'d str,
    text: &'d str,
    /// The offsets of all line breaks: counting them anew for each of 10,000 VIPs takes seconds.
    line_breaks: Vec<usize>,
}

impl<'d> Document<'d> {
    pub(super) fn parse(file: &'d str, text: &'d str, known: &[&str]) -> Result<Self, Failure> {
        let line_breaks = text.match_indices('\n').map(|(offset, _)| offset).collect();
        let source = Source { file, text, line_breaks };
        let root = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?.into_inner();
        source.refuse_unknown_keys("", &root, known)?;
        Ok(Self { source, root })
    }

    /// The table `[name]`; without one, a section in which every key is missing.
    pub(super) fn section<'s>(&'s self, name: &'static str, known: &[&str]) -> Result<Section<'s>, Failure> {
        match self.root.get(name) {
            Some(value) => self.table(name, value, known),
            None => Ok(Section { source: &self.source, name, line: None, table: None }),
        }
    }

    /// The tables `[[name]]`, in the order of the file.
    pub(super) fn sections<'s>(
        &'s self,
        name: &'static str,
        known: &[&str],
    ) -> Result<Vec<Section<'s>>, Failure> {
        let Some(value) = self.root.get(name) else { return Ok(Vec::new()) };
        let Some(tables) = value.get_ref().as_array() else {
            let place = self.source.place(name, Some(self.source.line(value)));
            return Err(place.refuse(format!("is no list; write the section's header as [[{name}]]")));
        };
        tables.iter().map(|table| self.table(name, table, known)).collect()
    }

    fn table<'s>(
        &'s self,
        name: &'static str,
        value: &'s Spanned<DeValue<'d>>,
        known: &[&str],
    ) -> Result<Section<'s>, Failure> {
        let line = Some(self.source.line(value));
        let Some(table) = value.get_ref().as_table() else {
            return Err(self.source.place(name, line).refuse("is a section, not a single value"));
        };
        self.source.refuse_unknown_keys(name, table, known)?;
        Ok(Section { source: &self.source, name, line, table: Some(table) })
    }
}

impl<'d> Source<'d> {
    fn line(&self, value: &Spanned<impl Sized>) -> usize {
        self.line_at(value.span().start)
    }

    /// The line, counted from 1, that the byte at `offset` stands on.
    fn line_at(&self, offset: usize) -> usize {
        self.line_breaks.partition_point(|&line_break| line_break < offset) + 1
    }

    fn place(&self, key: impl Into<String>, line: Option<usize>) -> Place {
        Place::Key { file: self.file.to_owned(), line, key: key.into() }
    }

    fn refuse_unknown_keys(&self, section: &str, table: &DeTable<'d>, known: &[&str]) -> Result<(), Failure> {
        let unknown = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown else { return Ok(()) };
        let path = if section.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{section}.{}", key.get_ref())
        };
        let place = self.place(path, Some(self.line(key)));
        Err(place.refuse(format!("unknown key; known here: {}", known.join(", "))))
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Failure {
        let line = error.span().map_or(1, |span| self.line_at(span.start));
        let wrong = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        let wrong: String = wrong.chars().take(MAX_SHOWN).collect();
        let message = error.message();
        Failure::configuration(format!("{}:{line}: {wrong:?} is not valid TOML: {message}", self.file))
    }
}

/// One `[name]` or `[[name]]` of a document.
pub(super) struct Section<'s> {
    source: &'s Source<'s>,
    name: &'static str,
    line: Option<usize>,
    table: Option<&'s DeTable<'s>>,
}

impl<'s> Section<'s> {
    /// The field `key`, which may be missing.
    pub(super) fn field(&self, key: &'static str) -> Field<'s> {
        let value = self.table.and_then(|table| table.get(key));
        // A missing key is told by where its section starts, so that a list's sections can be told apart.
        let line = value.map(|value| self.source.line(value)).or(self.line);
        let place = self.source.place(format!("{}.{key}", self.name), line);
        Field { source: self.source, place, value }
    }
}

/// A field that is present or missing, with its place. The readers give `None` for a missing field.
pub(super) struct Field<'s> {
    source: &'s Source<'s>,
    place: Place,
    value: Option<&'s Spanned<DeValue<'s>>>,
}

impl<'s> Field<'s> {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// Whether its value is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_some_and(|value| value.get_ref().is_array())
    }

    /// Whether its value is a whole number.
    pub(super) fn is_integer(&self) -> bool {
        self.value.is_some_and(|value| value.get_ref().is_integer())
    }

    /// The error that this field's value is wrong.
    pub(super) fn refuse(&self, why: impl fmt::Display) -> Failure {
        self.place.refuse(why)
    }

    pub(super) fn string(&self) -> Result<Option<&'s str>, Failure> {
        self.read("a string in quotes", |value| value.as_str())
    }

    pub(super) fn boolean(&self) -> Result<Option<bool>, Failure> {
        self.read("true or false", |value| value.as_bool())
    }

    pub(super) fn integer<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Result<Option<T>, Failure> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.read(&expected, |value| value.as_integer())?;
        let Some(number) = number else { return Ok(None) };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok()) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(format!("{number} is not {expected}"))),
        }
    }

    /// As [`Field::integer`], of either sign.
    pub(super) fn signed(&self, range: RangeInclusive<i16>) -> Result<Option<i16>, Failure> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(number) = self.read(&expected, |value| value.as_integer())? else { return Ok(None) };
        let parsed = i16::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed.filter(|number| range.contains(number)) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(format!("{number} is not {expected}"))),
        }
    }

    pub(super) fn duration(&self) -> Result<Option<Duration>, Failure> {
        let text = self.read("a duration in quotes, as in \"10ms\"", |value| value.as_str())?;
        text.map(|text| parse_duration(text).map_err(|why| self.refuse(why))).transpose()
    }

    /// The strings of a list, each with its own place.
    pub(super) fn strings(&self) -> Result<Option<Vec<(Place, &'s str)>>, Failure> {
        let expected = "a list of strings, as in [\"a\", \"b\"]";
        let Some(list) = self.read(expected, |value| value.as_array())? else { return Ok(None) };
        let with_place = |item: &'s Spanned<DeValue<'s>>| {
            let place = self.place.at_line(self.source.line(item));
            match item.get_ref().as_str() {
                Some(text) => Ok((place, text)),
                None => Err(place.refuse(mismatch(expected, item.get_ref()))),
            }
        };
        list.iter().map(with_place).collect::<Result<_, _>>().map(Some)
    }

    /// The strings of a table, each by its key.
    pub(super) fn table_of_strings(&self) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let expected = "a table of strings, as in { role = \"web\" }";
        let Some(table) = self.read(expected, |value| value.as_table())? else { return Ok(None) };
        let with_key = |(key, value): (&'s Spanned<Cow<'s, str>>, &'s Spanned<DeValue<'s>>)| match value
            .get_ref()
            .as_str()
        {
            Some(text) => Ok((key.get_ref().to_string(), text.to_owned())),
            None => {
                let place = self.place.at_line(self.source.line(value));
                Err(place.refuse(mismatch(expected, value.get_ref())))
            }
        };
        table.iter().map(with_key).collect::<Result<_, _>>().map(Some)
    }

    fn read<T>(
        &self,
        expected: &str,
        read: impl FnOnce(&'s DeValue<'s>) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.value else { return Ok(None) };
        match read(value.get_ref()) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(mismatch(expected, value.get_ref()))),
        }
    }
}

fn mismatch(expected: &str, found: &DeValue<'_>) -> String {
    format!("expected {expected}, found a value of type {}", found.type_str())
}

/// Where a value was given, for messages.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A key of the file. Without a line, neither the key nor its section is there, and a default is meant.
    Key { file: String, line: Option<usize>, key: String },
    /// A flag of the command line.
    Flag(&'static str),
}

impl Place {
    /// The error that the value given here is wrong.
    pub(super) fn refuse(&self, why: impl fmt::Display) -> Failure {
        Failure::configuration(format!("{self}: {why}"))
    }

    /// The place without its key, to mention from another place.
    pub(super) fn position(&self) -> String {
        match self {
            Self::Key { file, line: Some(line), .. } => format!("{file}:{line}"),
            Self::Key { file, line: None, .. } => file.clone(),
            Self::Flag(flag) => (*flag).to_owned(),
        }
    }

    fn at_line(&self, line: usize) -> Self {
        match self {
            Self::Key { file, key, .. } => {
                Self::Key { file: file.clone(), line: Some(line), key: key.clone() }
            }
            Self::Flag(flag) => Self::Flag(flag),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.position())?;
        match self {
            Self::Key { key, .. } => write!(f, ": {key}"),
            Self::Flag(_) => Ok(()),
        }
    }
}
