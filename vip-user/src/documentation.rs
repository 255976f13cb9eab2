//! What the documentation quotes is what the program says.

use std::{fs, path::Path};

/// What stands for the parts of a message that differ.
const VARIABLE: char = '…';

#[test]
fn every_message_in_the_list_of_troubles_is_one_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    read_all(&root.join("src"), &mut sources);
    let sources = joined(&sources);
    let text = fs::read_to_string(root.join("../docs/TROUBLESHOOTING.md")).unwrap();
    // The first column of each table, without its title.
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| --- "));
    let quotes =
        rows.filter_map(|row| row.split(" | ").next()).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let parts: Vec<&str> = quotes.flat_map(|quote| quote.split(VARIABLE)).map(str::trim).collect();
    let words: Vec<_> = parts.into_iter().filter(|part| part.len() > 3).collect();
    assert!(words.len() > 50, "the tables have another form: {words:?}");
    let unknown: Vec<_> = words.into_iter().filter(|part| !sources.contains(part)).collect();
    assert!(unknown.is_empty(), "nobody says {unknown:#?}");
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).unwrap();
        }
    }
}

/// Strings that are written over several lines, as one.
fn joined(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}
