//! The cluster's keys, and the file they are kept in. Key bytes are never printed, and are in one place in memory, which is
//! wiped when the last one who has them lets go.
//!
//! What is signed with them is the wire format's business.

use std::{
    fmt,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use zeroize::Zeroizing;

/// The length of a key in bytes.
pub const KEY_LEN: usize = 16;

/// How many keys are valid at a time, at most.
const MAX_KEYS: usize = 2;

/// No valid key file is longer.
const MAX_FILE_LEN: usize = 4096;

/// One or two keys: the first signs, all verify. Two are valid at a time while keys are rotated.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// Of one key at least. On the heap, so that moving and cloning makes no copies.
    keys: Arc<Zeroizing<Vec<[u8; KEY_LEN]>>>,
}

impl KeyRing {
    /// A ring of the key that signs and, during a rotation, the other one that is accepted as well.
    #[must_use]
    pub fn new(signing: [u8; KEY_LEN], other: Option<[u8; KEY_LEN]>) -> Self {
        Self { keys: Arc::new(Zeroizing::new([signing].into_iter().chain(other).collect())) }
    }

    /// Reads a key file: 32 hex digits a line, one line or two, for its owner's eyes only.
    ///
    /// # Errors
    /// Says what is wrong with the file, and never shows what is in it.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let ring = read_private(path).and_then(|text| Self::parse(&text));
        ring.map_err(|fault| KeyFileError { path: path.to_owned(), fault })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &[u8; KEY_LEN] {
        &self.keys[0]
    }

    /// All keys that verify, the signing one first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; KEY_LEN]> {
        self.keys.iter()
    }

    fn parse(text: &[u8]) -> Result<Self, KeyFault> {
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        // Reserved in full at once, for the reason given below.
        let mut keys = Zeroizing::new(Vec::with_capacity(MAX_KEYS));
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            check_digits(index + 1, line)?;
            if keys.len() == MAX_KEYS {
                return Err(KeyFault::TooManyLines);
            }
            keys.push([0; KEY_LEN]);
            keys.last_mut().into_iter().for_each(|key| decode(line, key));
        }
        if keys.is_empty() { Err(KeyFault::Empty) } else { Ok(Self { keys: Arc::new(keys) }) }
    }
}

/// Reads a file that nobody but its owner may use.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let file = super::open_at_once(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFault::Missing,
        _ => KeyFault::Unreadable(error),
    })?;
    let metadata = file.metadata().map_err(KeyFault::Unreadable)?;
    if !metadata.is_file() {
        return Err(KeyFault::NotAFile);
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFault::Exposed(mode));
    }
    // Reserved in full at once, and a byte more: a buffer that grows would leave copies that nobody wipes.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN + 1));
    file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut text).map_err(KeyFault::Unreadable)?;
    if text.len() > MAX_FILE_LEN { Err(KeyFault::TooLong) } else { Ok(text) }
}

fn check_digits(line: usize, digits: &[u8]) -> Result<(), KeyFault> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(KeyFault::NotHex(line));
    }
    if digits.len() != 2 * KEY_LEN {
        return Err(KeyFault::Length { line, digits: digits.len() });
    }
    Ok(())
}

/// Puts the key where it stays.
fn decode(digits: &[u8], key: &mut [u8; KEY_LEN]) {
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |value, &digit| value << 4 | nibble(digit));
    }
}

/// The value of an ASCII hex digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.iter().count()).finish_non_exhaustive()
    }
}

/// A key file that is not used, and why.
#[derive(Debug)]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What can be wrong with a key file.
#[derive(Debug)]
pub enum KeyFault {
    /// There is none.
    Missing,
    /// The system does not give it.
    Unreadable(io::Error),
    /// A folder or a device.
    NotAFile,
    /// Others than its owner may use it; the mode.
    Exposed(u32),
    /// More bytes than two keys and any blank lines need.
    TooLong,
    /// No key in it.
    Empty,
    /// A line, counted from 1, has characters that are no hex digits.
    NotHex(usize),
    /// A line, counted from 1, is too short or too long.
    Length {
        /// The line.
        line: usize,
        /// How many digits it has.
        digits: usize,
    },
    /// More keys than can be valid at a time.
    TooManyLines,
}

impl std::error::Error for KeyFileError {}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "key file {path} ")?;
        match &self.fault {
            KeyFault::Missing => write!(
                f,
                "does not exist; make it with `(umask 077; vip-user keygen > {path})` and copy it to every node"
            ),
            KeyFault::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "cannot be read by this user; run `chown USER {path}` for the one that the daemon runs as"
                )
            }
            KeyFault::Unreadable(error) => write!(f, "cannot be read: {error}"),
            KeyFault::NotAFile => f.write_str("is not a regular file"),
            KeyFault::Exposed(mode) => {
                write!(f, "has mode {mode:04o}, others than its owner may use it; run `chmod 600 {path}`")
            }
            KeyFault::TooLong => {
                write!(f, "has more than {MAX_FILE_LEN} bytes; a key is a line of 32 hex digits")
            }
            KeyFault::Empty => {
                write!(f, "has no key; make one with `(umask 077; vip-user keygen > {path})`")
            }
            KeyFault::NotHex(line) => {
                write!(
                    f,
                    "has characters in line {line} that are no hex digits; a key is a line of 32 of them"
                )
            }
            KeyFault::Length { line, digits } => {
                write!(f, "has {digits} hex digits in line {line}; a key is a line of 32")
            }
            KeyFault::TooManyLines => {
                f.write_str("has more than two keys; two can be valid at a time, remove the oldest")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;
    use crate::folder::Folder;

    const FIRST: &str = "000102030405060708090a0b0c0d0e0f";
    const SECOND: &str = "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF";

    #[test]
    fn the_first_line_signs_and_all_lines_verify() {
        let (_folder, path) = key_file(&format!("{FIRST}\n{SECOND}\n"), 0o600);
        let ring = KeyRing::load(&path).unwrap();
        let first = 0x000102030405060708090a0b0c0d0e0f_u128.to_be_bytes();
        assert_eq!(ring.signing(), &first);
        let second = first.map(|byte| byte + 0xf0);
        assert_eq!(ring.iter().collect::<Vec<_>>(), [&first, &second]);
    }

    #[test]
    fn one_line_without_a_line_break_is_a_key() {
        let (_folder, path) = key_file(FIRST, 0o400);
        assert_eq!(KeyRing::load(&path).unwrap().iter().count(), 1);
    }

    #[test]
    fn printing_a_key_ring_shows_no_key() {
        assert_eq!(format!("{:?}", KeyRing::new([0xab; 16], Some([0xcd; 16]))), "KeyRing { keys: 2, .. }");
    }

    #[test]
    fn a_wrong_key_file_is_refused_with_its_line_and_without_its_content() {
        let cases = [
            (String::new(), "has no key; make one with `(umask 077; vip-user keygen > {path})`"),
            ("\n\n".to_owned(), "has no key; make one"),
            (FIRST[..30].to_owned(), "has 30 hex digits in line 1; a key is a line of 32"),
            (format!("{FIRST}\n{SECOND}00\n"), "has 34 hex digits in line 2; a key is a line of 32"),
            (format!("{FIRST}\nxy{}", &FIRST[2..]), "has characters in line 2 that are no hex digits"),
            (format!("{FIRST}\n{SECOND}\n{FIRST}\n"), "has more than two keys"),
            (
                format!("{FIRST}\n{}{SECOND}\n", "\n".repeat(4096)),
                "has more than 4096 bytes; a key is a line of 32",
            ),
        ];
        for (text, expected) in cases {
            let (_folder, path) = key_file(&text, 0o600);
            let message = KeyRing::load(&path).unwrap_err().to_string();
            let expected = expected.replace("{path}", &path.display().to_string());
            assert!(message.contains(&format!("key file {} {expected}", path.display())), "{message}");
            assert!(!message.contains(&FIRST[2..10]), "{message}");
        }
    }

    #[test]
    fn a_key_file_that_others_may_use_is_refused_with_the_command_that_helps() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_folder, path) = key_file(FIRST, mode);
            let message = KeyRing::load(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
            assert!(message.ends_with(&format!("run `chmod 600 {}`", path.display())), "{message}");
        }
    }

    #[test]
    fn a_missing_key_file_is_refused_with_the_command_that_makes_one() {
        let folder = Folder::new();
        let path = folder.path().join("none");
        let message = KeyRing::load(&path).unwrap_err().to_string();
        assert!(message.contains(&format!("(umask 077; vip-user keygen > {})", path.display())), "{message}");
        let message = KeyRing::load(folder.path()).unwrap_err().to_string();
        assert!(message.ends_with("is not a regular file"), "{message}");
    }

    fn key_file(text: &str, mode: u32) -> (Folder, PathBuf) {
        let folder = Folder::new();
        let path = folder.path().join("cluster.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }
}
