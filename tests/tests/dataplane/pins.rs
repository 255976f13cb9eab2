//! Places in the BPF file system for tests, which are gone with the test however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use vip_user::dataplane::Pins;

/// A directory that a test may use as `paths.bpffs`.
pub(super) struct BpfDirectory(PathBuf);

impl BpfDirectory {
    /// A name of its own; the loader makes the directory.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/sys/fs/bpf/vip-dataplane-test-{}-{count}", std::process::id()).into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn pins(&self) -> Pins {
        Pins::new(&self.0)
    }
}

impl Drop for BpfDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
