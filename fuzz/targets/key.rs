//! Key files.
//!
//! Promised: the keys are what the lines of the file say in hexadecimal, all of them, two at most. Neither an error nor the
//! ring itself shows anything of them.

#![no_main]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vip_fuzz::{assert_plain, directory};
use vip_user::config::{KEY_LEN, KeyRing};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = directory().join("cluster.key");
    fs::write(&path, "").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a private file");
    path
});

fuzz_target!(|text: &[u8]| {
    fs::write(&*FILE, text).expect("a file");
    let lines = || text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let shown = match KeyRing::load(&FILE) {
        Ok(ring) => {
            let hex = |key: &[u8; KEY_LEN]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let keys: Vec<String> = ring.iter().map(hex).collect();
            let said: Vec<String> =
                lines().map(|line| String::from_utf8_lossy(line).to_ascii_lowercase()).collect();
            assert_eq!(keys, said);
            assert!(keys.len() <= 2);
            assert_eq!(ring.iter().next(), Some(ring.signing()));
            format!("{ring:?}")
        }
        Err(error) => {
            assert_plain(&error.to_string());
            let path = FILE.display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
            // The path may be in the file, too.
            error.to_string().replace(&path, "")
        }
    };
    // Half a key is enough to tell it by, and is in no message by chance.
    let said =
        |line: &[u8]| line.len() >= KEY_LEN && shown.contains(&*String::from_utf8_lossy(&line[..KEY_LEN]));
    assert!(!lines().any(said), "the file's content is shown: {shown}");
});
