//! The log: what of it is kept, and how it looks. It goes to standard error, for the service manager to
//! store.
//!
//! Nobody waits for that: a thread writes, and what it cannot keep up with is dropped and counted. Nor can anybody fill it:
//! how much is said from one place of the program is bounded, see [`flood`].

mod flood;

use std::{
    env,
    io::{self, IsTerminal},
    sync::OnceLock,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use self::flood::Flood;
use crate::exit::Failure;
use crate::pace::Pace;

/// Lines that wait to be written. Where nobody reads them, more are dropped.
const WAITING: usize = 4096;

/// How a log record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Time between two lines about lines that are not there, in ns.
const LOSSES_PERIOD: u64 = 10_000_000_000;

/// How many lines were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Tells of lines that are not in the log.
#[derive(Debug)]
pub struct Losses {
    pace: Pace,
    dropped: usize,
}

impl Default for Losses {
    fn default() -> Self {
        Self { pace: Pace::new(0, LOSSES_PERIOD), dropped: 0 }
    }
}

impl Losses {
    /// To be called now and then; `now` is CLOCK_BOOTTIME in ns.
    pub fn tell(&mut self, now: u64) {
        if !self.pace.allows(now) {
            return;
        }
        for (place, count) in flood::suppressed() {
            warn!("{count} more lines of {place} were not logged: too many of them came at once");
        }
        let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
        let lost = dropped.saturating_sub(self.dropped);
        if lost > 0 {
            warn!("{lost} lines of the log are lost: standard error is not read fast enough");
        }
        self.dropped = dropped;
    }
}

/// Starts logging for the whole process. When what this gives is dropped, what was logged is written first, unless that takes
/// longer than a second. Records of the `log` crate, as of the XDP program, are logged as
/// well.
///
/// `filter` is a level ("debug") or directives like "info,aya=debug"; without a level of its own it is
/// `info`.
///
/// # Errors
/// [`Exit::Usage`](crate::exit::Exit::Usage) if `filter` is not valid; refuses a second call.
pub fn init(filter: &str, format: LogFormat) -> Result<WorkerGuard, Failure> {
    let filter = parse_filter(filter)?;
    let failed = |why: io::Error| Failure::refused(format!("cannot start logging: {why}"));
    let (writer, guard) = start_writer().map_err(failed)?;
    let dropped = writer.error_counter();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // `try_init` also installs the bridge from the `log` crate, at this filter's level.
    let started = match format {
        LogFormat::Text => log
            .with_target(false)
            .with_ansi(has_colours(&io::stderr()))
            .finish()
            .with(Flood::default())
            .try_init(),
        LogFormat::Json => log.json().flatten_event(true).finish().with(Flood::default()).try_init(),
    };
    started.map_err(|error| failed(io::Error::other(error)))?;
    // The first time, or it would have failed.
    let _ = DROPPED.set(dropped);
    Ok(guard)
}

/// Starts the thread that writes. It takes no signals: one that is waited for elsewhere, by a signalfd, would come to this thread
/// and end the process.
fn start_writer() -> io::Result<(NonBlocking, WorkerGuard)> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let writer = NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("log");
    let started = writer.finish(io::stderr());
    mask.thread_set_mask()?;
    Ok(started)
}

/// How many lines were kept back since the process started, since there were too many like them.
#[must_use]
pub fn suppressed_lines() -> u64 {
    flood::all_suppressed()
}

/// Whether colours are welcome on `stream`: it is a terminal, and `NO_COLOR` is unset or empty
/// (<https://no-color.org>).
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Libraries that are talkative at `debug` about what no operator asks for; a directive of their own wins.
const QUIET: &str = "aya=info,aya_obj=info,netlink_proto=info";

fn parse_filter(text: &str) -> Result<EnvFilter, Failure> {
    let all = format!("{QUIET},{text}");
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(all);
    filter.map_err(|error| {
        Failure::usage(format!("--log: {text:?} is no log filter ({error}); use a level, as in --log debug"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_filter_without_a_level_of_its_own_keeps_info() {
        assert_eq!(parse_filter("").unwrap().max_level_hint(), Some(LevelFilter::INFO));
        assert_eq!(parse_filter("debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
        assert_eq!(parse_filter("warn,aya=trace").unwrap().max_level_hint(), Some(LevelFilter::TRACE));
    }

    #[test]
    fn a_library_is_quiet_unless_it_is_named() {
        assert!(parse_filter("debug").unwrap().to_string().contains("aya=info"));
        assert!(!parse_filter("debug,aya=trace").unwrap().to_string().contains("aya=info"));
    }

    #[test]
    fn a_filter_that_is_not_valid_is_a_usage_error_that_names_the_flag() {
        let failure = parse_filter("aya=loud").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("--log: \"aya=loud\" is no log filter"), "{failure}");
    }

    #[test]
    fn records_of_the_log_crate_are_kept_from_the_same_level() {
        let _guard = init("debug", LogFormat::Text).unwrap();
        assert_eq!(log::max_level(), log::LevelFilter::Debug);
        let failure = init("info", LogFormat::Text).unwrap_err();
        assert!(failure.message.starts_with("cannot start logging: "), "a second call: {failure}");
    }
}
