//! The one thing that a command looks at before anything else: whether it may do what it is going to do.

use std::process::ExitCode;

use anyhow::Result;
use nix::unistd::geteuid;

/// The design's exit status for a missing privilege.
const EXIT_NO_PRIVILEGE: u8 = 77;

/// Runs `work` as root, or says in one line why it cannot.
pub(crate) fn as_root(command: &str, work: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    if geteuid().is_root() {
        return work();
    }
    eprintln!(
        "cargo xtask {command} needs root: it loads BPF programs and makes network namespaces; run it with sudo"
    );
    Ok(ExitCode::from(EXIT_NO_PRIVILEGE))
}
