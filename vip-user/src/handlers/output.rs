//! What a handler writes: all of it is read, so that nothing keeps the handler waiting, and little of it is kept.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::sleep;

/// What is kept, in bytes, as much as Serf keeps.
const KEPT: usize = 8 * 1_024;
/// What is read at once: all that a pipe holds.
const CHUNK: usize = 64 * 1_024;
/// Who writes more than so many bytes is read from at a rate that leaves the daemon's thread to others.
const AT_FULL_SPEED: u64 = 1_024 * 1_024;
const PAUSE: Duration = Duration::from_millis(4);
/// What the log gets.
const LOGGED_LINES: usize = 10;
const LOGGED_LINE_LENGTH: usize = 200;

/// The beginning of what was written, and how much that was.
#[derive(Debug, Default)]
pub(crate) struct Output {
    kept: Vec<u8>,
    total: u64,
}

impl Output {
    /// Reads until the end, or a failure, which is one.
    pub(super) async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            self.take(&chunk[..length]);
            if self.total > AT_FULL_SPEED {
                sleep(PAUSE).await;
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// How many bytes were written.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The beginning of what was written: all of it, if that is no more than an answer can have.
    pub(super) fn into_beginning(self) -> Vec<u8> {
        self.kept
    }

    /// The first lines, in one; what no line of a log should have is escaped.
    pub(crate) fn first_lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines = text.lines().take(LOGGED_LINES);
        let shown = lines.map(|line| {
            let begin: String = line.chars().take(LOGGED_LINE_LENGTH).collect();
            begin.escape_debug().to_string()
        });
        shown.collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_its_beginning_is_kept() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.take(&[b'x'; 1_000]);
        }
        assert_eq!(output.total(), 100_000);
        assert_eq!(output.into_beginning(), [b'x'; KEPT]);
    }

    #[test]
    fn the_log_gets_the_first_lines_and_nothing_that_forges_one() {
        let mut output = Output::default();
        output.take(format!("one\n\u{1b}[2Jtwo\r\n{}\n", "x".repeat(500)).as_bytes());
        let expected = format!("one | \\u{{1b}}[2Jtwo | {}", "x".repeat(LOGGED_LINE_LENGTH));
        assert_eq!(output.first_lines(), expected);
        output.take("more\n".repeat(50).as_bytes());
        assert_eq!(output.first_lines().matches(" | ").count(), LOGGED_LINES - 1);
    }
}
