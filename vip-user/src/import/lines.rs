//! keepalived's files as lines: comments gone, included files in their places, lines for other machines left out, and
//! parameters (`$NAME`), sequences (`~SEQ`) and lists (`~LST`) written out.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::remark::Place;
use crate::exit::Failure;

/// Files that include each other deeper than this do so for ever.
const MAX_DEPTH: usize = 32;
/// Lines of all files together, once sequences are written out.
const MAX_LINES: usize = 200_000;
/// Bytes of all of them.
const MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Values of one sequence: as many as there can be lines.
const MAX_VALUES: i64 = 200_000;

const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

/// Where files come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The files that a pattern with `*`, `?` and `[...]` stands for, in order; none, if there are none.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;
}

/// A line with something on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it is, or what it was made from.
    pub(super) place: Place,
    /// Without comment, and without space at either end.
    pub(super) text: String,
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// In their order.
    pub(super) lines: Vec<Line>,
    /// Included files that could not be read, and why.
    pub(super) missing: Vec<(Line, String)>,
    /// How many lines are for other machines (`@ID`).
    pub(super) skipped: usize,
}

/// Reads a configuration; `config_id` is what conditional lines (`@ID`) are compared with.
///
/// # Errors
/// The file cannot be read, or there is no end to it; with the place.
pub(super) fn read(files: &dyn Files, file: &Path, config_id: &str) -> Result<Lines, Failure> {
    let mut reader =
        Reader { files, config_id, parameters: HashMap::new(), bytes: 0, lines: Lines::default() };
    let text = files.read(file);
    let text =
        text.map_err(|error| Failure::configuration(format!("{}: cannot be read: {error}", file.display())))?;
    reader.read_file(file, &text, 0)?;
    Ok(reader.lines)
}

struct Reader<'r> {
    files: &'r dyn Files,
    config_id: &'r str,
    parameters: HashMap<String, String>,
    bytes: usize,
    lines: Lines,
}

impl Reader<'_> {
    fn read_file(&mut self, file: &Path, text: &str, depth: usize) -> Result<(), Failure> {
        let folder = file.parent().unwrap_or(Path::new(""));
        self.parameters.insert("_PWD".to_owned(), folder.display().to_string());
        let name = file.display().to_string();
        for (line, text) in joined(text) {
            let line = Line { place: Place { file: name.clone(), line }, text };
            match included(&line.text) {
                Some(pattern) => self.include(folder, &line, pattern, depth)?,
                None => self.read_line(line, 0)?,
            }
        }
        Ok(())
    }

    fn include(&mut self, folder: &Path, line: &Line, pattern: &str, depth: usize) -> Result<(), Failure> {
        if depth == MAX_DEPTH {
            return Err(endless(&line.place, "files include each other"));
        }
        let pattern = folder.join(pattern).display().to_string();
        let found = self.files.find(&pattern).unwrap_or_else(|why| {
            self.miss(line, why);
            Vec::new()
        });
        if found.is_empty() && self.lines.missing.last().is_none_or(|(missing, _)| missing != line) {
            self.miss(line, "there is no such file".to_owned());
        }
        for file in found {
            match self.files.read(&file) {
                Ok(text) => self.read_file(&file, &text, depth + 1)?,
                Err(error) => self.miss(line, format!("{} cannot be read: {error}", file.display())),
            }
        }
        self.parameters.insert("_PWD".to_owned(), folder.display().to_string());
        Ok(())
    }

    fn miss(&mut self, line: &Line, why: String) {
        self.lines.missing.push((line.clone(), why));
    }

    /// One line, which may become none or several.
    fn read_line(&mut self, line: Line, depth: usize) -> Result<(), Failure> {
        let Line { place, text } = line;
        self.bytes += text.len() + 1;
        if depth > MAX_DEPTH || self.bytes > MAX_BYTES || self.lines.lines.len() > MAX_LINES {
            return Err(endless(&place, "parameters or sequences stand for too much"));
        }
        let with = |text: &str| Line { place: place.clone(), text: text.trim().to_owned() };
        if let Some(conditional) = text.strip_prefix('@') {
            let (id, rest) = conditional.split_once(char::is_whitespace).unwrap_or((conditional, ""));
            let applies = match id.strip_prefix('^') {
                Some(other) => other != self.config_id,
                None => id == self.config_id,
            };
            if applies {
                return self.read_line(with(rest), depth + 1);
            }
            self.lines.skipped += 1;
            return Ok(());
        }
        if let Some((name, value)) = definition(&text) {
            self.parameters.insert(name.to_owned(), value.trim().to_owned());
            return Ok(());
        }
        if let Some(sequence) = Sequence::of(&text) {
            let sequence =
                sequence.map_err(|why| Failure::configuration(format!("{place}: {text}: {why}")))?;
            for values in &sequence.values {
                for (name, value) in sequence.names.iter().zip(values) {
                    self.parameters.insert(name.clone(), value.clone());
                }
                self.read_line(with(&sequence.rest), depth + 1)?;
            }
            return Ok(());
        }
        match self.substituted(&text) {
            Some(substituted) => {
                substituted.lines().try_for_each(|text| self.read_line(with(text), depth + 1))
            }
            None if text.is_empty() => Ok(()),
            None => {
                self.lines.lines.push(Line { place, text });
                Ok(())
            }
        }
    }

    /// The text with its parameters' values; `None`: there are none.
    fn substituted(&self, text: &str) -> Option<String> {
        let (mut out, mut rest, mut is_changed) = (String::new(), text, false);
        // What is longer than that is refused as soon as it is read.
        while let Some(at) = rest.find('$').filter(|_| out.len() <= MAX_BYTES) {
            let (before, after) = rest.split_at(at);
            out += before;
            match parameter(after).and_then(|(name, length)| Some((self.parameters.get(name)?, length))) {
                Some((value, length)) => {
                    out += value;
                    rest = &after[length..];
                    is_changed = true;
                }
                None => {
                    out.push('$');
                    rest = &after[1..];
                }
            }
        }
        is_changed.then(|| out + rest)
    }
}

/// The lines without comments, each with its number; those that end in `\` go on in the next one. In the definition of a
/// parameter they stay lines.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, text) in text.lines().enumerate() {
        let text = without_comment(text).trim();
        let (text, continues) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end(), true),
            None => (text, false),
        };
        match lines.last_mut() {
            Some((_, before)) if goes_on => {
                before.push(if defines(before) { '\n' } else { ' ' });
                before.push_str(text);
            }
            _ => lines.push((index + 1, text.to_owned())),
        }
        goes_on = continues;
    }
    lines
}

/// Comments begin with `#` or `!` anywhere but in double quotes.
fn without_comment(line: &str) -> &str {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in line.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '#' | '!' if !is_quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// What an include line includes.
fn included(text: &str) -> Option<&str> {
    let (word, file) = text.split_once(char::is_whitespace)?;
    INCLUDES.contains(&word).then(|| file.trim().trim_matches('"'))
}

/// Name and value of a parameter that is defined here.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    is_name(name).then_some((name, value))
}

/// Whether the line defines a parameter, on some machine.
fn defines(text: &str) -> bool {
    let unconditional = match text.strip_prefix('@') {
        Some(conditional) => {
            conditional.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start())
        }
        None => text,
    };
    definition(unconditional).is_some()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name of the parameter that `text` begins with, and how long that is with its `$`.
fn parameter(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix('$')?;
    if let Some(braced) = rest.strip_prefix('{') {
        let end = braced.find('}')?;
        return is_name(&braced[..end]).then(|| (&braced[..end], end + 3));
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let is_end = rest[end..].chars().next().is_none_or(char::is_whitespace);
    (is_end && is_name(&rest[..end])).then(|| (&rest[..end], end + 1))
}

/// `~SEQ(...)` or `~LST(...)` at the begin of a line.
struct Sequence {
    names: Vec<String>,
    /// What they stand for, one after the other.
    values: Vec<Vec<String>>,
    /// The line that is repeated.
    rest: String,
}

impl Sequence {
    fn of(text: &str) -> Option<Result<Self, String>> {
        let (kind, rest) = text.strip_prefix('~')?.split_once('(')?;
        let (arguments, rest) = rest.split_once(')')?;
        let (is_list, is_hex) = match kind {
            "SEQ" => (false, false),
            "SEQx" => (false, true),
            "LST" => (true, false),
            _ => return None,
        };
        let parts = if is_list { list(arguments) } else { sequence(arguments, is_hex) };
        Some(parts.map(|(names, values)| Self { names, values, rest: rest.to_owned() }))
    }
}

type Parts = (Vec<String>, Vec<Vec<String>>);

fn list(arguments: &str) -> Result<Parts, String> {
    let mut items = Vec::new();
    let mut rest = arguments.trim();
    while !rest.is_empty() {
        let (item, after) = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("a brace is not closed")?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        items.push(item.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>());
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    if items.len() < 2 || items.iter().any(|item| item.len() != items[0].len()) {
        return Err("is not a list of values, as many for each as there are names".to_owned());
    }
    let names = items.remove(0);
    Ok((names, items))
}

fn sequence(arguments: &str, is_hex: bool) -> Result<Parts, String> {
    let mut words = arguments.split(',').map(str::trim);
    let name = words.next().filter(|name| is_name(name)).ok_or("has no parameter's name")?;
    let numbers: Option<Vec<i64>> = words.map(number).collect();
    let numbers = numbers.ok_or("has something else than numbers")?;
    let toward = |start: i64, end: i64| if end >= start { 1 } else { -1 };
    let (start, step, end) = match *numbers {
        [end] => (toward(0, end), toward(0, end), end),
        [start, end] => (start, toward(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return Err("has not one to three numbers".to_owned()),
    };
    let count = end.checked_sub(start).and_then(|span| span.checked_div(step)).unwrap_or(-1);
    if !(0..MAX_VALUES).contains(&count) {
        return Err("has no end, or one too far away".to_owned());
    }
    let value = |index: i64| {
        if is_hex { format!("{:x}", start + index * step) } else { (start + index * step).to_string() }
    };
    Ok((vec![name.to_owned()], (0..=count).map(|index| vec![value(index)]).collect()))
}

fn number(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let parsed = match digits.strip_prefix("0x") {
        Some(digits) => i32::from_str_radix(digits, 16),
        None => digits.parse::<i32>(),
    };
    parsed.ok().map(|number| sign * i64::from(number))
}

fn endless(place: &Place, what: &str) -> Failure {
    Failure::configuration(format!("{place}: {what}, and so without end"))
}
