//! What the targets share: a place for files, and what every message for people must be.

use std::fs;
use std::path::Path;
use std::process;
use std::sync::LazyLock;

/// A directory of this process alone, below `TMPDIR`. Nobody removes it here: a target may end anywhere.
pub fn directory() -> &'static Path {
    static DIRECTORY: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
        let path = std::env::temp_dir().join(format!("vip-fuzz-{}", process::id()));
        fs::create_dir_all(&path).expect("a directory for files");
        path
    });
    &DIRECTORY
}

/// Checks that a message is one line that a log or terminal can show as it is.
#[track_caller]
pub fn assert_plain(message: &str) {
    assert!(!message.trim().is_empty());
    assert!(!message.contains(char::is_control), "{message:?}");
}
