//! How a command ends when it does not succeed: the exit statuses and the one line said on standard error.
//!
//! What went wrong is decided, and worded, where it happened; only `main` prints and exits.

use std::{fmt, process::ExitCode};

/// Exit status of a command that did not succeed. Scripts and service managers rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The request was understood, and refused or failed.
    Refused = 1,
    /// The command line is wrong. The argument parser exits with the same status.
    Usage = 2,
    /// No daemon answers on the control socket (`EX_UNAVAILABLE`).
    NoDaemon = 69,
    /// A privilege is missing; the message names it (`EX_NOPERM`).
    NoPrivilege = 77,
    /// The configuration is wrong; the message names file, line and key (`EX_CONFIG`).
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command's failure: what `main` prints, and the status it exits with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status to exit with.
    pub exit: Exit,
    /// One line: what is wrong, where, and what to do about it.
    pub message: String,
}

impl Failure {
    /// A failure with any status. Line breaks in `message` become spaces, since callers parse one line; other control
    /// characters become U+FFFD, since what files and other programs say must not command the terminal.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = if message.contains(['\n', '\r']) {
            message.split_whitespace().collect::<Vec<_>>().join(" ")
        } else {
            message
        };
        Self { exit, message: message.replace(char::is_control, "\u{fffd}") }
    }

    /// The request was refused, or failed.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// The command line asks for something ambiguous or impossible.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// No daemon answers.
    pub fn no_daemon(message: impl Into<String>) -> Self {
        Self::new(Exit::NoDaemon, message)
    }

    /// A privilege is missing; `message` says which.
    pub fn no_privilege(message: impl Into<String>) -> Self {
        Self::new(Exit::NoPrivilege, message)
    }

    /// The configuration is wrong; `message` says in which file, line and key.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Exit::BadConfiguration, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_the_documented_numbers() {
        let statuses = [
            (Failure::refused(""), 1),
            (Failure::usage(""), 2),
            (Failure::no_daemon(""), 69),
            (Failure::no_privilege(""), 77),
            (Failure::configuration(""), 78),
        ];
        for (failure, status) in statuses {
            assert_eq!(failure.exit as u8, status, "{:?}", failure.exit);
        }
    }

    #[test]
    fn a_failure_is_always_one_line() {
        let failure = Failure::refused("the kernel said:\n  no\r\n  and no again\n");
        assert_eq!(failure.to_string(), "the kernel said: no and no again");
    }

    #[test]
    fn a_failure_cannot_command_the_terminal() {
        let failure = Failure::configuration("vip.toml:1: \x1b[2Jnode: unknown key\t\u{9b}");
        assert_eq!(failure.to_string(), "vip.toml:1: \u{fffd}[2Jnode: unknown key\u{fffd}\u{fffd}");
    }
}
