//! The journal on the disk: JSON lines in two files of bounded size, the older one replaced when the newer one is full.
//!
//! Nothing depends on it, so that a damaged line is passed over. All calls block on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Entry;

/// Longest file. Several thousands of entries fit.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Where the last entry is looked for: the longest one is a fraction of it.
const TAIL_BYTES: u64 = 64 * 1024;

/// The file that is written to, in the state directory.
#[must_use]
pub fn path(state: &Path) -> PathBuf {
    state.join("history.jsonl")
}

fn older(state: &Path) -> PathBuf {
    state.join("history.1.jsonl")
}

/// All entries that are on the disk, oldest first. None if there is no file.
///
/// # Errors
/// The system's, if a file cannot be read.
pub fn read(state: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for path in [older(state), path(state)] {
        entries.extend(parse(&read_from(&path, 0)?));
    }
    Ok(entries)
}

/// The last entry that is on the disk.
///
/// # Errors
/// As [`read`].
pub fn last(state: &Path) -> io::Result<Option<Entry>> {
    for path in [path(state), older(state)] {
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let tail = read_from(&path, length.saturating_sub(TAIL_BYTES))?;
        if let Some(entry) = parse(&tail).last() {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// What is in a file from `start` on, as far as it may have been written here; nothing if there is none.
fn read_from(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of these lines. What is none is passed over: a line that was cut short, or damaged.
fn parse(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// The end of the journal, where entries are added.
#[derive(Debug)]
pub struct Writer {
    state: PathBuf,
    limit: u64,
    open: Option<(File, u64)>,
}

impl Writer {
    /// That of the journal in this state directory. Opens it at the first entry.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), limit: MAX_FILE_BYTES, open: None }
    }

    /// Adds entries, all or none, and has them on the disk before it returns.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let length = lines.len() as u64;
        let (mut file, end) = self.with_room_for(length)?;
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A part of it may be there. If that cannot be cut off, the next opening ends its line.
            let _ = file.set_len(end);
            return Err(error);
        }
        self.open = Some((file, end + length));
        Ok(())
    }

    /// The file to write so much to, and its length.
    fn with_room_for(&mut self, more: u64) -> io::Result<(File, u64)> {
        let (file, end) = self.open.take().map_or_else(|| self.open_end(), Ok)?;
        if end == 0 || end + more <= self.limit {
            return Ok((file, end));
        }
        fs::rename(path(&self.state), older(&self.state))?;
        self.open_end()
    }

    /// Opens the file at its end; a last line that was cut short is ended.
    fn open_end(&self) -> io::Result<(File, u64)> {
        let path = path(&self.state);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let end = file.metadata()?.len();
        let mut last = [b'\n'];
        if end > 0 {
            file.seek(SeekFrom::Start(end - 1))?;
            file.read_exact(&mut last)?;
        }
        if last == [b'\n'] {
            return Ok((file, end));
        }
        file.write_all(b"\n")?;
        Ok((file, end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;
    use crate::journal::tests::entry;

    const AT: &str = "2026-01-01T00:00:00.000Z";

    fn numbers(state: &Path) -> Vec<u64> {
        read(state).unwrap().iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn what_was_written_is_read_back_also_by_the_next_run() {
        let folder = Folder::new();
        assert_eq!((numbers(folder.path()), last(folder.path()).unwrap()), (vec![], None));
        let mut writer = Writer::new(folder.path());
        writer.append(&[entry(1, AT), entry(2, AT)]).unwrap();
        writer.append(&[entry(3, AT)]).unwrap();
        Writer::new(folder.path()).append(&[entry(4, AT)]).unwrap();
        assert_eq!(numbers(folder.path()), [1, 2, 3, 4]);
        assert_eq!(last(folder.path()).unwrap(), Some(entry(4, AT)));
    }

    #[test]
    fn a_line_that_was_cut_short_costs_itself_alone() {
        let folder = Folder::new();
        Writer::new(folder.path()).append(&[entry(1, AT), entry(2, AT)]).unwrap();
        let file = File::options().write(true).open(path(folder.path())).unwrap();
        file.set_len(file.metadata().unwrap().len() - 9).unwrap();
        assert_eq!(last(folder.path()).unwrap(), Some(entry(1, AT)));
        Writer::new(folder.path()).append(&[entry(3, AT)]).unwrap();
        assert_eq!(numbers(folder.path()), [1, 3]);
    }

    #[test]
    fn two_files_of_bounded_size_have_the_newest_entries() {
        let folder = Folder::new();
        let line = serde_json::to_vec(&entry(10, AT)).unwrap().len() as u64 + 1;
        let mut writer = Writer { limit: 3 * line, ..Writer::new(folder.path()) };
        for number in 10..18 {
            writer.append(&[entry(number, AT)]).unwrap();
        }
        // Three, three, and two: the first three are gone.
        assert_eq!(numbers(folder.path()), [13, 14, 15, 16, 17]);
        assert_eq!(last(folder.path()).unwrap(), Some(entry(17, AT)));
    }
}
