//! Names of nodes, clusters and groups: what fits a message, a log line and a terminal.

/// The longest name, in bytes.
const MAX_NAME_LEN: usize = 32;

/// Whether this can be a name.
pub(crate) fn is_name(name: &str) -> bool {
    check_name(name).is_ok()
}

/// Refuses a name that is empty, too long or has control characters, and says why.
pub(super) fn check_name(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        Err("the name is empty".to_owned())
    } else if name.len() > MAX_NAME_LEN {
        Err(format!("{name:?} has {} bytes; a name has at most {MAX_NAME_LEN}", name.len()))
    } else if name.chars().any(char::is_control) {
        Err(format!("{name:?} has a control character; use printable ones"))
    } else {
        Ok(name.to_owned())
    }
}
