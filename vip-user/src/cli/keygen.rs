//! `vip-user keygen`: a new key for the cluster.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::client::print;
use crate::{config::KEY_LEN, exit::Failure};

/// Prints a key file's line: 32 hex digits from the system's random numbers.
///
/// # Errors
/// If the system gives no random numbers, or standard output takes no text.
pub fn keygen() -> Result<(), Failure> {
    print(&new_line()?)
}

fn new_line() -> Result<Zeroizing<String>, Failure> {
    let mut key = Zeroizing::new([0_u8; KEY_LEN]);
    getrandom::fill(key.as_mut())
        .map_err(|error| Failure::refused(format!("the system gives no random numbers: {error}")))?;
    let mut line = Zeroizing::new(String::with_capacity(2 * KEY_LEN + 1));
    for byte in key.iter() {
        // Writing to a string cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_a_line_of_32_hex_digits_and_never_the_same() {
        let (one, other) = (new_line().unwrap(), new_line().unwrap());
        assert_eq!(one.len(), 33);
        assert!(one.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()), "{:?}", *one);
        assert_ne!(one, other);
    }
}
