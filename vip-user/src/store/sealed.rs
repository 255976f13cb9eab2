//! One item of state in one file: text that people can read, a checksum that finds damage, and a write that is there
//! as a whole or not at all.
//!
//! The file is TOML (version, kind of item, its owner, its content) and ends with a comment that holds the CRC-32 of
//! all bytes before it. Which items there are, and what to do about a damaged one, is in the parent module.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Owner;

const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 65_536;
const SEAL: &str = "# crc32 ";

/// What a file says before its checksum. The content comes last: it is a TOML table of its own.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    item: String,
    owner: Owner,
    content: T,
}

/// The part of an [`Envelope`] that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a file's bytes cannot be believed.
#[derive(Debug, Error)]
pub enum Damage {
    /// The last line, which holds the checksum, is not there.
    #[error("it is cut short: the checksum at its end is missing")]
    CutShort,
    /// The bytes are not the ones that were written.
    #[error("its checksum does not match: it was changed after it was written")]
    Checksum,
    /// It was written by a program that knows more than this one.
    #[error("it has version {0}, this program reads version {VERSION}: start the newer vip-user instead")]
    Version(u32),
    /// Another item's file was put in its place.
    #[error("it holds {0:?}")]
    OtherItem(String),
    /// Consent is given to first configurations only.
    #[error("it holds consent to a configuration of epoch {0}, which needs none")]
    LaterConsent(u32),
    /// It has a valid checksum, but its content makes no sense.
    #[error("{0}")]
    Content(#[from] toml::de::Error),
}

/// Why a file could not be written or read: what was being done to which path.
#[derive(Debug, Error)]
#[error("cannot {doing} {path}: {source}", path = path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Gives the error of `doing` something to `path` its context.
    pub(super) fn when(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { doing, path: path.to_owned(), source }
    }
}

/// The text of the file of `item`.
pub(super) fn seal<T: Serialize>(item: &str, owner: &Owner, content: T) -> Result<String, toml::ser::Error> {
    let envelope = Envelope { version: VERSION, item: item.to_owned(), owner: owner.clone(), content };
    let text = format!("# Written by vip-user. Do not edit.\n{}", toml::to_string(&envelope)?);
    let checksum = crc32(text.as_bytes());
    Ok(format!("{text}{SEAL}{checksum:08x}\n"))
}

/// The owner and content in the text of the file of `item`.
pub(super) fn unseal<T: DeserializeOwned>(item: &str, bytes: &[u8]) -> Result<(Owner, T), Damage> {
    let line = SEAL.len() + "00000000\n".len();
    let (covered, seal) = bytes.split_at_checked(bytes.len().wrapping_sub(line)).ok_or(Damage::CutShort)?;
    if !seal.starts_with(SEAL.as_bytes()) || !seal.ends_with(b"\n") {
        return Err(Damage::CutShort);
    }
    if seal != format!("{SEAL}{:08x}\n", crc32(covered)).as_bytes() {
        return Err(Damage::Checksum);
    }
    let Versioned { version } = toml::from_slice(covered)?;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    let envelope: Envelope<T> = toml::from_slice(covered)?;
    if envelope.item != item {
        return Err(Damage::OtherItem(envelope.item));
    }
    Ok((envelope.owner, envelope.content))
}

/// The bytes of `path`; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(FileError::when("open", path))?,
    };
    let mut bytes = Vec::new();
    // One byte more than any file of ours has: a longer one then fails its checksum, however long it is.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(FileError::when("read", path))?;
    Ok(Some(bytes))
}

/// Makes `text` the content of `dir/name`, durably: after a crash at any moment the file has its old or its new
/// content, and once this has returned, the new one.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<(), FileError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(FileError::when("create", &temporary))?;
    file.write_all(text.as_bytes()).map_err(FileError::when("write", &temporary))?;
    file.sync_all().map_err(FileError::when("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(FileError::when("replace", &path))?;
    sync_dir(dir)
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(FileError::when("sync", dir))
}

/// CRC-32 as in IEEE 802.3 (reflected polynomial 0xedb88320).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_found() {
        let owner = Owner { cluster: "edge".into(), node: 7 };
        let text = seal("number", &owner, 42_u32).unwrap();
        assert_eq!(unseal::<u32>("number", text.as_bytes()).unwrap(), (owner, 42));
        for length in 0..text.len() {
            assert!(unseal::<u32>("number", &text.as_bytes()[..length]).is_err(), "cut to {length} bytes");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 0x04;
            assert!(unseal::<u32>("number", &bytes).is_err(), "byte {at} changed");
        }
    }

    #[test]
    fn a_file_of_another_item_or_a_later_version_is_refused() {
        let owner = Owner { cluster: "edge".into(), node: 7 };
        let other = seal("letter", &owner, 42_u32).unwrap();
        assert!(matches!(unseal::<u32>("number", other.as_bytes()), Err(Damage::OtherItem(_))));
        // Input: a file whose fields this version does not know.
        let text = "version = 2\nnew = true\n";
        let sealed = format!("{text}{SEAL}{:08x}\n", crc32(text.as_bytes()));
        assert!(matches!(unseal::<u32>("number", sealed.as_bytes()), Err(Damage::Version(2))));
    }
}
