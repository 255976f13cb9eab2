//! keepalived's lines as directives, some of which have a block of further ones.

use super::lines::Line;
use super::remark::Place;
use crate::exit::Failure;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// Where it begins.
    pub(super) place: Place,
    /// What it is, and with what; at least one.
    pub(super) words: Vec<Word>,
    /// What is between its braces; `None`: it has none.
    pub(super) block: Option<Vec<Self>>,
}

/// A word, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says.
    pub(super) text: String,
    /// Whether any of it was in quotes.
    pub(super) is_quoted: bool,
}

impl Directive {
    /// What it is.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    /// Its first argument, if it has one.
    pub(super) fn value(&self) -> Option<&str> {
        self.words.get(1).map(|word| word.text.as_str())
    }

    /// All its words in a line.
    pub(super) fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }

    /// What is in its block; nothing if it has none.
    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        self.block.iter().flatten()
    }
}

/// Makes directives of lines.
///
/// # Errors
/// A brace that does not fit, with its place.
pub(super) fn parse(lines: &[Line]) -> Result<Vec<Directive>, Failure> {
    let mut builder = Builder::default();
    for line in lines {
        builder.add(line)?;
    }
    match builder.open.pop() {
        None => Ok(builder.done),
        Some((_, opener)) => {
            Err(refuse(&opener.place, &format!("the block of {} does not end", opener.text())))
        }
    }
}

/// What has been read so far. Blocks within blocks are kept here and not on the stack, however deep they are.
#[derive(Default)]
struct Builder {
    done: Vec<Directive>,
    /// The blocks that are open, from the outermost: what was before each in its own block, and whose it is.
    open: Vec<(Vec<Directive>, Directive)>,
}

/// Nobody nests blocks like this.
const MAX_NESTED: usize = 64;

impl Builder {
    fn add(&mut self, line: &Line) -> Result<(), Failure> {
        let mut words = Vec::new();
        for token in tokens(&line.text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    self.end(&line.place, &mut words);
                    self.open(&line.place)?;
                }
                Token::Close => {
                    self.end(&line.place, &mut words);
                    self.close(&line.place)?;
                }
            }
        }
        self.end(&line.place, &mut words);
        Ok(())
    }

    /// The words so far are a directive.
    fn end(&mut self, place: &Place, words: &mut Vec<Word>) {
        if !words.is_empty() {
            let words = std::mem::take(words);
            self.done.push(Directive { place: place.clone(), words, block: None });
        }
    }

    /// A block begins; it belongs to the directive before it, on this line or the last one.
    fn open(&mut self, place: &Place) -> Result<(), Failure> {
        let opener = self.done.pop().filter(|last| last.block.is_none());
        let opener = opener.ok_or_else(|| refuse(place, "a block that belongs to nothing"))?;
        if self.open.len() == MAX_NESTED {
            return Err(refuse(place, "too many blocks within each other"));
        }
        self.open.push((std::mem::take(&mut self.done), opener));
        Ok(())
    }

    fn close(&mut self, place: &Place) -> Result<(), Failure> {
        let (before, mut opener) = self.open.pop().ok_or_else(|| refuse(place, "a } without its {"))?;
        opener.block = Some(std::mem::replace(&mut self.done, before));
        self.done.push(opener);
        Ok(())
    }
}

fn refuse(place: &Place, why: &str) -> Failure {
    Failure::configuration(format!("{place}: {why}"))
}

enum Token {
    Word(Word),
    Open,
    Close,
}

/// The words and braces of a line. A quote that does not end ends with the line, as with keepalived.
fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_with(Word::empty).is_quoted = true;
            }
            (Some('"') | None, '\\') if characters.peek().is_some() => {
                let next = characters.next().into_iter();
                word.get_or_insert_with(Word::empty).text.extend(next);
            }
            (None, _) if character.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (None, '{' | '}') if !is_parameter(word.as_ref()) => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if character == '{' { Token::Open } else { Token::Close });
            }
            _ => word.get_or_insert_with(Word::empty).text.push(character),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

/// Whether a brace after this belongs to a parameter that is not defined.
fn is_parameter(word: Option<&Word>) -> bool {
    word.is_some_and(|word| word.text.rfind('$').is_some_and(|at| !word.text[at..].contains('}')))
}

impl Word {
    const fn empty() -> Self {
        Self { text: String::new(), is_quoted: false }
    }
}
