//! What a person sees while trials run: a line per event, in milliseconds from the fault.

use std::io::{self, IsTerminal};

use vip_tests::{clock::Stamp, oracle::OracleReport};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "";
const RESET: &str = "\x1b[0m";

/// In place of a time.
const NO_TIME: &str = "              ";
/// The JSON has more of them.
const SHOWN_DOUBLES: usize = 5;

/// Prints events as they happen, or nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    shown: bool,
    colours: bool,
}

impl Timeline {
    /// For programs: prints nothing.
    pub(crate) fn silent() -> Self {
        Self { shown: false, colours: false }
    }

    /// For people; colours only on a terminal, and not if `NO_COLOR` is set (no-color.org).
    pub(crate) fn on_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { shown: true, colours: !refused && io::stdout().is_terminal() }
    }

    /// Begins a section.
    pub(crate) fn title(&self, text: &str) {
        self.print("\n", BOLD, text);
    }

    /// Something that has no time.
    pub(crate) fn note(&self, text: &str) {
        self.print(NO_TIME, PLAIN, text);
    }

    /// Something that happened at `time`, when the fault was at `zero`.
    pub(crate) fn event(&self, zero: Stamp, time: Stamp, text: &str) {
        self.at(zero, time, PLAIN, text);
    }

    /// The service ended.
    pub(crate) fn outage(&self, zero: Stamp, time: Stamp, text: &str) {
        self.at(zero, time, RED, text);
    }

    /// The service came back.
    pub(crate) fn service(&self, zero: Stamp, time: Stamp, text: &str) {
        self.at(zero, time, GREEN, text);
    }

    /// Requests that two nodes answered, if there were any; the first of them by time.
    pub(crate) fn doubles(&self, zero: Stamp, probes: u64, requests: &OracleReport) {
        if probes + requests.doubles > 0 {
            let text =
                format!("two nodes answered {probes} probes and {} broadcast requests", requests.doubles);
            self.print(NO_TIME, RED, &text);
        }
        for double in requests.described.iter().take(SHOWN_DOUBLES) {
            self.at(zero, double.sent, RED, &double.to_string());
        }
    }

    fn at(&self, zero: Stamp, time: Stamp, colour: &str, text: &str) {
        self.print(&format!("{:9.1} ms  ", milliseconds_after(zero, time)), colour, text);
    }

    fn print(&self, lead: &str, colour: &str, text: &str) {
        if !self.shown {
            return;
        }
        let (begin, end) = if self.colours && !colour.is_empty() { (colour, RESET) } else { ("", "") };
        println!("{lead}{begin}{text}{end}");
    }
}

/// How long `time` is after `zero`; negative if it is before.
pub(crate) fn milliseconds_after(zero: Stamp, time: Stamp) -> f64 {
    (time.since(zero).as_secs_f64() - zero.since(time).as_secs_f64()) * 1e3
}
