//! What the targets share: a node, a place for files, and what every message for people must be.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process;
use std::sync::LazyLock;

use vip_user::membership::{Identity, Rules};

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

/// The node with this id, by the product's defaults.
pub fn identity(id: u8, incarnation: u64) -> Identity {
    Identity {
        id: id.into(),
        incarnation,
        address: Ipv4Addr::new(10, 0, 0, id).into(),
        name: format!("lb{id}"),
        version: "0.1.0".into(),
        tags: BTreeMap::new(),
        priority: 100,
        expect: 3,
        interval_ns: 10_000_000,
        lease_ns: 50_000_000,
        groups: Vec::new(),
        rules: Rules::default(),
    }
}
